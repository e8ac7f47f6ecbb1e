//! Trap 7 of contracts/loki-mode.md section 6: iterations and what they cost, each once.

use muster::clock::WallTime;

use super::support::{World, stamp};

/// Trap 7.
#[test]
fn usage_is_counted_once_through_the_wipe_at_start_and_the_reuse_of_numbers() {
    let mut world = World::live(7);
    let file = |n: u32, time: &str, cost: f64| {
        format!(
            r#"{{"iteration":{n},"model":"opus","duration_ms":5000,"status":"completed","input_tokens":10,"output_tokens":1,"cost_usd":{cost},"timestamp":"{time}"}}"#
        )
    };
    let mut cost = 0.0;
    for (n, usd) in [(1, 0.5), (2, 0.25)] {
        world.write(&format!("metrics/efficiency/iteration-{n}.json"), file(n, &stamp(world.now), usd));
        world.wait(3);
        cost += usd;
        assert_eq!(world.reading.cost_usd, Some(cost));
    }
    // A second session starts: the folder is wiped under the first one, and its number 1 is another iteration.
    world.remove("metrics/efficiency/iteration-1.json");
    world.remove("metrics/efficiency/iteration-2.json");
    world.wait(3);
    assert_eq!(world.reading.cost_usd, Some(0.0), "the gauge reads as the real endpoint's");
    world.wait(200);
    let second = file(1, &stamp(world.now), 2.0);
    world.write("metrics/efficiency/iteration-1.json", &second);
    world.wait(3);
    world.restart();
    world.write("metrics/efficiency/iteration-1.json", second + " ");
    world.wait(3);
    let reported: i64 = world.reading.usage.iter().filter_map(|usage| usage.reported_cost_microusd).sum();
    assert_eq!(reported, 2_750_000);
    assert_eq!(world.reading.count("run orchestrator"), 3, "{:#?}", world.reading.said);
}

/// Trap 7.
#[test]
fn an_iteration_is_counted_once_whichever_of_log_and_efficiency_file_comes_first() {
    for event_first in [true, false] {
        for pause in [0, 3] {
            let mut world = World::live(7);
            world.append("events.jsonl", world.event("iteration_start", r#"{"iteration":1}"#));
            world.wait(30);
            let event =
                world.event("iteration_complete", r#"{"iteration":1,"status":"failed","exitCode":1}"#);
            let at = stamp(world.now);
            let file =
                format!(r#"{{"iteration":1,"duration_ms":29500,"status":"failed","timestamp":"{at}"}}"#);
            for turn in [event_first, !event_first] {
                if turn {
                    world.append("events.jsonl", &event);
                } else {
                    world.write("metrics/efficiency/iteration-1.json", &file);
                }
                world.wait(pause);
            }
            world.wait(3);
            assert_eq!(world.reading.count("run orchestrator FAILURE #1"), 1, "{:#?}", world.reading.said);
            if pause == 0 {
                assert_eq!(world.reading.count("Some(29500000)"), 1, "{:#?}", world.reading.said);
            }
            assert_eq!(world.reading.series(WallTime(0))["loki_iteration_current"], 3.0);
        }
    }
}

/// Trap 7 and section 1.4.
#[test]
fn the_result_cost_file_is_the_truth_where_it_belongs_to_the_iteration() {
    let mut world = World::live(7);
    world.write(
        "metrics/result-cost-1.json",
        r#"{"total_cost_usd":0.5,"input_tokens":1,"output_tokens":2,"cache_read_tokens":3,"cache_creation_tokens":4}"#,
    );
    let at = stamp(world.now);
    world.write(
        "metrics/efficiency/iteration-1.json",
        format!(r#"{{"iteration":1,"model":"m","input_tokens":9,"cost_usd":0.1,"timestamp":"{at}"}}"#),
    );
    world.wait(2);
    assert_eq!(world.reading.count("usage #1 m 1+2+3+4 Some(500000)"), 1, "{:#?}", world.reading.said);
    let later = stamp(WallTime(world.now.0 + 3_600_000_000));
    world.now.0 += 3_600_000_000;
    world.write(
        "metrics/efficiency/iteration-1.json",
        format!(r#"{{"iteration":1,"model":"m","input_tokens":9,"cost_usd":0.1,"timestamp":"{later}"}}"#),
    );
    world.wait(2);
    assert_eq!(world.reading.count("usage #1 m 9+0+0+0 Some(100000)"), 1, "an older run's result");
}
