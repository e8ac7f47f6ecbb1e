//! Random bytes and random JSON in every file: no panic, and numbers that are numbers.

use muster::clock::WallTime;
use proptest::prelude::*;

use super::support::World;

const FILES: [&str; 20] = [
    "dashboard-state.json",
    "loki.pid",
    "run-1.pid",
    "sessions/x/loki.pid",
    "state/agents.json",
    "metrics/efficiency/iteration-1.json",
    "metrics/efficiency/a.json",
    "metrics/result-cost-1.json",
    "metrics/budget.json",
    "pricing.json",
    "autonomy-state.json",
    "session.json",
    "queue/pending.json",
    "queue/failed.json",
    "PAUSE",
    "signals/BUDGET_EXCEEDED",
    "events.jsonl",
    "events.jsonl",
    "events.jsonl",
    "events.jsonl.1",
];

/// Pieces of which the real files are made, in any order.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\n",
        "\r",
        "\\",
        " ",
        "NaN",
        "Infinity",
        "null",
        "true",
        "-",
        "0123",
        "12.",
        "7",
        "1e999",
        "\"type\":",
        "\"event\":",
        "\"timestamp\":\"2026-02-20T12:00:00Z\"",
        "\"data\":{",
        "\"payload\":{",
        "{\"timestamp\":",
        "\"iteration_complete\"",
        "\"session_start\"",
        "\"session_end\"",
        "\"claude_hook_pretooluse\"",
        "\"iteration\":",
        "\"pid\":",
        "\"mode\":\"running\"",
        "\"tasks\":{",
        "\"pending\":",
        "\"agents\":[",
        "\"status\":\"active\"",
        "\"cost_usd\":",
        "\"input_tokens\":",
        "\"model\":",
        "\"limit\":",
        "\\ud800",
        "\u{a0}",
        "\u{feff}",
        "\"agent_id\":\"a\"",
        "\"spawned_at\":\"2026-02-20T11:00:00Z\"",
        "\"completed_at\":",
        "4242",
    ]);
    prop_oneof![
        6 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(fragment(), 0..40).prop_map(|fragments| fragments.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_content_of_any_file_breaks_the_source(
        writes in prop::collection::vec((prop::sample::select(FILES.to_vec()), content(), any::<bool>()), 1..25),
    ) {
        let mut world = World::empty();
        world.processes.alive.extend([7, 4242]);
        for (file, content, append) in &writes {
            if *append {
                world.append_to(file, content);
            } else {
                world.write(file, content);
            }
            world.run();
            let series = world.reading.series(WallTime(0));
            prop_assert!(series.values().all(|value| value.is_finite()), "{:?}", series);
        }
        world.restart();
        world.wait(5);
        world.step(true);
    }
}

#[test]
fn a_position_of_any_bytes_is_a_first_time() {
    let mut world = World::fixture("running");
    world.run();
    let good = world.position();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x11;
        world.open_at(&bad[..]);
        world.open_at(&good[..at]);
    }
    world.open_at(b"");
    world.run();
}
