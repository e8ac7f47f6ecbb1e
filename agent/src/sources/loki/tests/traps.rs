//! Traps 1, 2, 3, 9 and 10 of contracts/loki-mode.md section 6: files, times and values.

use std::fs;
use std::time::Duration;

use muster::clock::WallTime;
use muster::v1::SessionStatus;

use super::support::{World, fixtures, stamp, time};

const AGENTS: &str = r#"[{"agent_id":"a","agent_type":"eng-qa","status":"active"},{"status":"completed"}]"#;

/// Trap 1.
#[test]
fn a_file_that_is_empty_or_half_written_keeps_its_last_good_value_and_is_read_again_soon() {
    let mut world = World::live(7);
    world.write("state/agents.json", AGENTS);
    world.write("metrics/efficiency/iteration-1.json", r#"{"iteration":1,"cost_usd":1.5}"#);
    world.write("metrics/budget.json", r#"{"limit":5.0,"budget_used":1.0}"#);
    let before = world.run().series(WallTime(0));
    for torn in ["", "{\"mode\":\"auto", "[{\"agent_id\":"] {
        for file in [
            "dashboard-state.json",
            "state/agents.json",
            "metrics/efficiency/iteration-1.json",
            "metrics/budget.json",
            "autonomy-state.json",
            "loki.pid",
        ] {
            if file != "loki.pid" || torn.is_empty() {
                world.write(file, torn);
            }
        }
        assert_eq!(world.run().series(WallTime(0)), before, "after {torn:?}");
        assert_eq!(world.reading.budget.unwrap().limit_usd, Some(5.0));
        assert_eq!(world.last.again_in, Some(Duration::from_millis(100)));
    }
    world.write("dashboard-state.json", world.state("autonomous", 4, "[]"));
    assert_eq!(world.run().series(WallTime(0))["loki_iteration_current"], 4.0, "read again");
}

/// Trap 1, across a restart.
#[test]
fn the_last_good_state_outlives_a_restart() {
    let mut world = World::live(7);
    world.write("state/agents.json", AGENTS);
    let before = world.run().series(WallTime(0));
    world.write("dashboard-state.json", "");
    world.write("state/agents.json", "");
    world.restart();
    assert_eq!(world.run().series(WallTime(0)), before);
}

/// Trap 2.
#[test]
fn a_whole_but_invalid_state_file_does_not_drop_the_series_to_zero() {
    let mut world = World::live(7);
    let corrupt = fs::read(fixtures().join("corrupt/.loki/dashboard-state.json")).unwrap();
    let before = world.run().series(WallTime(0));
    world.write("dashboard-state.json", corrupt);
    world.advance(1000);
    assert_eq!(world.run().series(WallTime(0)), before);
    assert_eq!(world.status(), SessionStatus::Running);
}

/// Trap 3.
#[test]
fn workers_do_not_come_and_go_while_two_writers_fight_over_their_list() {
    let mut world = World::live(7);
    for _ in 0..5 {
        world.write("state/agents.json", AGENTS);
        world.wait(3);
        assert_eq!(world.reading.series(WallTime(0))["loki_agents_total"], 2.0);
        world.write("state/agents.json", "[]");
        world.wait(10);
        assert_eq!(world.reading.series(WallTime(0))["loki_agents_total"], 2.0);
    }
    world.wait(10);
    assert_eq!(world.reading.series(WallTime(0))["loki_agents_total"], 0.0, "the empty list has stood");
}

/// Trap 3.
#[test]
fn a_workers_run_is_told_once_though_its_entry_comes_and_goes() {
    let mut world = World::live(7);
    let spawned = stamp(world.now);
    let entry = |status: &str, completed: &str| {
        format!(
            r#"[{{"agent_id":"t","agent_type":"eng-qa","model":"sonnet","status":"{status}","spawned_at":"{spawned}"{completed}}}]"#
        )
    };
    world.write("state/agents.json", entry("active", ""));
    world.run();
    world.write("state/agents.json", "[]");
    world.wait(20);
    world.restart();
    let completed = format!(r#","completed_at":"{}""#, stamp(world.now));
    for _ in 0..3 {
        world.write("state/agents.json", entry("completed", &completed));
        world.wait(1);
        world.write("state/agents.json", "[]");
        world.restart();
        world.wait(1);
    }
    assert_eq!(world.reading.count("started eng-qa"), 1);
    assert_eq!(world.reading.count("run eng-qa SUCCESS #0 Some(20000000)"), 1, "{:#?}", world.reading.said);
}

/// Trap 9.
#[test]
fn times_of_all_kinds_are_read_and_wrong_ones_do_no_harm() {
    let mut world = World::live(7);
    for stamp in ["2026-02-20T10:00:00.5Z", "2026-02-20T10:00:00.000001+00:00", "2026-02-20T10:00:00+00:00Z"]
    {
        world.append("events.jsonl", format!("{{\"type\":\"t\",\"timestamp\":\"{stamp}\"}}\n"));
    }
    for stamp in ["\"2126-01-01T00:00:00Z\"", "\"yesterday\"", "17", "null", "\"2026-02-20\""] {
        world.append("events.jsonl", format!("{{\"type\":\"wrong\",\"timestamp\":{stamp}}}\n"));
    }
    let started = world.now.0 / 1_000_000 * 1_000_000;
    world.run();
    assert_eq!(world.reading.count(&format!("{started} log wrong")), 5, "{:#?}", world.reading.said);
    let at = time("2026-02-20T10:00:00.5Z").0;
    assert_eq!(world.reading.count(&format!("{at} log t")), 1);
    // A phase change after the end, and the iteration 0 of the monitor.
    world.append("events.jsonl", world.event("iteration_start", r#"{"iteration":5}"#));
    world.append("events.jsonl", world.event("phase_change", r#"{"from":"A","to":"B","iteration":0}"#));
    world.run();
    assert_eq!(world.reading.state.unwrap().iteration, 5);
    // The start of a project that never ran is no start of the live session.
    assert_eq!(world.reading.state.unwrap().started_time_us, Some(started));
    // The wall clock jumps back: nothing is said twice and nothing breaks.
    world.now.0 -= 3_600_000_000;
    world.wait(20);
    assert_eq!(world.reading.lines, Some(11));
}

/// Trap 10.
#[test]
fn values_of_every_kind_stay_numbers() {
    let odd = [
        "NaN",
        "-Infinity",
        "null",
        "\"7\\nevil 1\"",
        "-3",
        "1e400",
        "99999999999999999999999",
        "true",
        "[]",
        "{}",
        "\"x\"",
        "7.5",
    ];
    for value in odd {
        let mut world = World::empty();
        world.write(
            "dashboard-state.json",
            format!(
                "\u{feff}{{\"mode\":{value},\"iteration\":{value},\"startedAt\":{value},\"tasks\":{{\"pending\":{value}}},\
                 \"agents\":{value},\"phase\":{value},\"version\":{value}}}"
            ),
        );
        world.write("state/agents.json", format!("[{value},{{\"status\":{value},\"agent_id\":{value}}}]"));
        world.write(
            "metrics/efficiency/iteration-1.json",
            format!(
                "{{\"iteration\":{value},\"cost_usd\":{value},\"model\":{value},\"input_tokens\":{value},\"timestamp\":{value}}}"
            ),
        );
        world.write(
            "metrics/budget.json",
            format!("{{\"limit\":{value},\"budget_used\":{value},\"exceeded\":{value}}}"),
        );
        world.write(
            "pricing.json",
            format!("{{\"models\":{{\"sonnet\":{{\"input\":{value}}},\"x\":{value}}}}}"),
        );
        world.write("session.json", format!("{{\"status\":{value},\"updatedAt\":{value}}}"));
        world.write(
            "events.jsonl",
            format!(
                "{{\"type\":\"iteration_start\",\"timestamp\":{value},\"data\":{{\"iteration\":{value}}}}}\n"
            ),
        );
        let series = world.run().series(WallTime(0));
        assert!(series.values().all(|value| value.is_finite()), "{value}: {series:?}");
        assert_eq!(world.reading.lines, Some(1));
    }
}

#[test]
fn a_quiet_project_says_nothing_and_asks_for_few_steps() {
    let mut world = World::live(7);
    world.wait(15);
    let position = world.position();
    for _ in 0..10 {
        world.advance(5000);
        let batch = world.step(false);
        assert!(batch.events.is_empty(), "{batch:?}");
        assert_eq!(world.last.again_in, Some(Duration::from_secs(5)));
    }
    assert_eq!(world.position(), position, "so nothing is spooled");
    world.processes.alive.clear();
    world.wait(30);
    assert_eq!(world.last.again_in, Some(Duration::from_secs(30)));
}

#[test]
fn a_folder_that_vanishes_and_comes_back_is_survived() {
    let mut world = World::live(7);
    world.write("metrics/efficiency/iteration-1.json", r#"{"cost_usd":1}"#);
    world.run();
    fs::remove_dir_all(world.path("")).unwrap();
    world.wait(5);
    assert_eq!(world.status(), SessionStatus::Stopped);
    assert_eq!(world.reading.cost_usd, Some(0.0));
    assert_eq!(world.reading.lines, Some(1));
    assert!(world.watched().is_empty());
    fs::create_dir(world.path("")).unwrap();
    world.append("events.jsonl", world.event("back", "{}"));
    assert_eq!(world.run().lines, Some(2));
}
