//! The ten traps of contracts/loki-mode.md section 6, and the rules of liveness.

use std::fs;
use std::time::Duration;

use muster::clock::WallTime;
use muster::v1::SessionStatus;

use super::support::{World, stamp, time};
use crate::facts::{ContentField, Privacy};
use crate::sources::Tool;
use crate::sources::loki::Loki;

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
    let corrupt = fs::read(super::support::fixtures().join("corrupt/.loki/dashboard-state.json")).unwrap();
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

/// Trap 4.
#[test]
fn an_orphan_monitor_that_keeps_the_state_fresh_does_not_make_a_dead_run_alive() {
    let mut world = World::live(7);
    assert_eq!(world.status(), SessionStatus::Running);
    world.processes.alive.clear();
    for _ in 0..10 {
        world.write("dashboard-state.json", world.state("autonomous", 3, "[]"));
        world.wait(2);
        assert_eq!(world.status(), SessionStatus::Stopped);
    }
    assert_eq!(world.reading.count("STOPPED"), 1);
    assert_eq!(world.reading.state.unwrap().started_time_us, None);
}

/// Trap 4.
#[test]
fn a_run_that_exits_normally_is_dead_at_once_though_its_state_file_is_fresh() {
    for pid_is_in_autonomy_state in [false, true] {
        let mut world = World::live(7);
        if pid_is_in_autonomy_state {
            world.write("autonomy-state.json", r#"{"status":"running","pid":7}"#);
            world.run();
        }
        world.append("events.jsonl", world.event("session_end", r#"{"result":0,"iterations":2}"#));
        world.processes.alive.clear();
        world.remove("loki.pid");
        world.write("dashboard-state.json", world.state("autonomous", 3, "[]"));
        world.run();
        assert_eq!(world.status(), SessionStatus::Stopped);
        world.wait(70);
        assert_eq!(world.status(), SessionStatus::Stopped);
        assert_eq!(world.reading.count("STOPPED completed Some(0)"), 1, "{:#?}", world.reading.said);
        assert_eq!(world.reading.count("session"), 2);
    }
}

/// Trap 4.
#[test]
fn a_process_that_started_after_the_pid_file_was_written_is_another_one() {
    let mut world = World::live(7);
    let written = world.now;
    world.processes.started.insert(7, WallTime(written.0 - 1_000_000));
    world.run();
    assert_eq!(world.status(), SessionStatus::Running);
    assert_eq!(world.reading.state.unwrap().started_time_us, Some(written.0 - 1_000_000));
    world.processes.started.insert(7, WallTime(written.0 + 10_000_000));
    world.run();
    assert_eq!(world.status(), SessionStatus::Stopped);
}

/// Trap 5.
#[test]
fn a_pid_file_that_names_no_process_proves_nothing() {
    for content in ["0\n", "-1", "99999999999999999999", "4242 4243", "\u{ff}42", "NaN", "2147483648"] {
        let mut world = World::empty();
        world.processes.alive.extend([0, 1, 4242, 42, u32::MAX]);
        world.write("loki.pid", content);
        world.write("dashboard-state.json", world.state("autonomous", 1, "[]"));
        world.run();
        assert_eq!(world.status(), SessionStatus::Stopped, "{content:?}");
    }
}

/// Trap 6.
#[test]
fn the_log_is_counted_through_torn_lines_rotation_deletion_and_damage() {
    let mut world = World::live(7);
    assert_eq!(world.reading.lines, Some(1));
    world.append(
        "events.jsonl",
        b"{\"type\":\"a\",\"data\":{\"s\":\"one\ntwo\"}}\n\0\0\n\xff\xfe\n{\"type\":\"to",
    );
    assert_eq!(world.run().lines, Some(6), "the torn line counts");
    world.append("events.jsonl", b"rn\"}\n");
    assert_eq!(world.run().lines, Some(6), "and counts once");
    assert_eq!(world.reading.count("log torn"), 1);
    assert_eq!(world.reading.count("log a"), 1);
    // Written just before the rotation and not seen until after it.
    world.append("events.jsonl", world.event("late", "{}"));
    world.rename("events.jsonl", "events.jsonl.1");
    world.append("events.jsonl", world.event("new", "{}"));
    assert_eq!(world.run().lines, Some(8));
    assert_eq!((world.reading.count("log late"), world.reading.count("log new")), (1, 1));
    world.remove("events.jsonl");
    assert_eq!(world.run().lines, Some(8), "it does not fall");
    world.append("events.jsonl", world.event("again", "{}"));
    assert_eq!(world.run().lines, Some(9));
    assert_eq!(world.reading.count("log again"), 1);
    world.wait(11);
    assert_eq!(world.reading.health.parse_errors, 2);
}

/// Trap 6.
#[test]
fn a_rotation_while_the_agent_was_down_loses_nothing() {
    let mut world = World::live(7);
    world.append("events.jsonl", world.event("before", "{}"));
    world.run();
    world.append("events.jsonl", world.event("tail", "{}"));
    world.rename("events.jsonl", "events.jsonl.1");
    world.append("events.jsonl", world.event("new", "{}"));
    world.restart();
    assert_eq!(world.run().lines, Some(4));
    for kind in ["before", "tail", "new"] {
        assert_eq!(world.reading.count(&format!("log {kind}")), 1, "{kind}");
    }
    world.restart();
    assert_eq!(world.run().lines, Some(4));
}

/// Trap 6.
#[test]
fn a_log_that_was_copied_back_or_cut_short_is_not_counted_again() {
    let mut world = World::live(7);
    for n in 0..50 {
        world.append("events.jsonl", world.event("note", &format!("{{\"n\":{n}}}")));
    }
    assert_eq!(world.run().lines, Some(51));
    let content = fs::read(world.path("events.jsonl")).unwrap();
    world.write("copy", &content);
    world.rename("copy", "events.jsonl");
    assert_eq!(world.run().lines, Some(51), "the same log under another inode");
    world.append("events.jsonl", world.event("after", "{}"));
    assert_eq!(world.run().lines, Some(52));
    world.write("events.jsonl", &content[..content.len() / 2]);
    assert_eq!(world.run().lines, Some(52), "rolled back");
    world.append("events.jsonl", format!("\n{}", world.event("later", "{}")));
    assert_eq!(world.run().lines, Some(53));
    assert_eq!(world.reading.count("log later"), 1);
}

/// Trap 6.
#[test]
fn a_huge_payload_is_skipped_and_counted_and_the_next_record_is_read() {
    let mut world = World::live(7);
    world.append("events.jsonl", format!("{{\"type\":\"big\",\"x\":\"{}\"}}\n", "y".repeat(3 << 20)));
    world.append("events.jsonl", world.event("next", "{}"));
    assert_eq!(world.run().lines, Some(3));
    assert_eq!((world.reading.count("log big"), world.reading.count("log next")), (0, 1));
    world.wait(11);
    assert_eq!(world.reading.health.records_skipped, 1);
}

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

/// Trap 8.
#[test]
fn several_sessions_of_one_project_are_told_apart_by_their_processes() {
    let mut world = World::fixture("multi-session");
    world.run();
    let state = world.reading.state.unwrap();
    assert_eq!(state.sessions_live, 2);
    world.wait(5);
    assert_eq!(world.reading.count("session 52 RUNNING"), 1, "{:#?}", world.reading.said);
    assert_eq!(world.reading.count("session 54 RUNNING"), 1);
    assert_eq!(world.reading.count("session 54 STOPPED"), 1, "its process is dead");
    assert_eq!(world.reading.count("session pid-70077-"), 1, "the legacy form");
    world.processes.alive.remove(&70052);
    world.wait(5);
    assert_eq!(world.reading.count("session 52 STOPPED"), 1);
    assert_eq!(world.status(), SessionStatus::Running, "the other one lives");
    assert_eq!(world.reading.state.unwrap().sessions_live, 1);
}

/// Trap 8.
#[test]
fn the_end_of_one_of_several_sessions_is_the_end_of_the_one_whose_process_goes() {
    let mut world = World::live(7);
    world.processes.alive.insert(8);
    world.write("sessions/b/loki.pid", "8");
    world.append("events.jsonl", world.event("session_start", r#"{"pid":8}"#));
    world.run();
    world.append("events.jsonl", world.event("session_end", r#"{"result":143,"reason":"interrupted"}"#));
    world.run();
    assert_eq!(world.reading.count("STOPPED"), 0, "both still live");
    world.processes.alive.remove(&7);
    world.wait(5);
    assert_eq!(world.reading.count("STOPPED interrupted Some(143)"), 1, "{:#?}", world.reading.said);
    assert_eq!(world.reading.count("session pid-7-"), 2);
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

/// The rule for `loki_session_status` where there is no pid file.
#[test]
fn without_a_pid_file_only_a_fresh_state_file_proves_a_run() {
    for (mode, age_s, status) in [
        ("autonomous", 0, SessionStatus::Running),
        ("running", 59, SessionStatus::Running),
        ("running", 61, SessionStatus::Stopped),
        ("paused", 0, SessionStatus::Stopped),
        ("demo", 0, SessionStatus::Stopped),
    ] {
        let mut world = World::empty();
        world.write("dashboard-state.json", world.state(mode, 1, "[]"));
        world.advance(age_s * 1000);
        world.run();
        assert_eq!(world.status(), status, "{mode}, {age_s} s old");
    }
}

#[test]
fn a_session_of_a_skill_lives_for_300_s_after_its_last_turn_and_its_queue_is_counted() {
    let mut world = World::empty();
    let at = stamp(world.now);
    world.write(
        "session.json",
        format!(
            r#"{{"pid":null,"status":"running","invokedVia":"skill","startedAt":"{at}","updatedAt":"{at}"}}"#
        ),
    );
    world.write("queue/pending.json", r#"{"tasks":[{"id":"a"},{"id":"b"}]}"#);
    world.write("queue/completed.json", r#"[{"id":"c"}]"#);
    world.run();
    assert_eq!(world.status(), SessionStatus::Running);
    assert_eq!(world.reading.state.unwrap().started_time_us, Some(time(&at).0));
    assert_eq!(world.reading.tasks.unwrap().pending, 2);
    assert_eq!(world.reading.tasks.unwrap().completed, 1);
    world.advance(301_000);
    world.run();
    assert_eq!(world.status(), SessionStatus::Stopped);
}

#[test]
fn a_pause_is_told_when_it_comes_and_when_it_goes() {
    let mut world = World::live(7);
    world.write("PAUSE", "");
    world.run();
    assert_eq!(world.status(), SessionStatus::Paused);
    world.append("events.jsonl", world.event("session_pause", r#"{"pid":7}"#));
    world.wait(2);
    world.remove("PAUSE");
    world.run();
    assert_eq!(world.status(), SessionStatus::Running);
    let statuses: Vec<_> = world.reading.said.iter().filter_map(|fact| fact.split(' ').nth(3)).collect();
    assert_eq!(statuses, ["RUNNING", "PAUSED", "RUNNING"].to_vec(), "{:#?}", world.reading.said);
}

#[test]
fn the_limit_of_iterations_is_what_the_run_was_started_with_if_that_is_known() {
    let mut world = World::live(7);
    assert_eq!(world.reading.state.unwrap().iteration_max, 1000);
    world.write("metrics/budget.json", r#"{"limit":5.0,"max_iterations":60}"#);
    world.wait(1);
    assert_eq!(world.reading.state.unwrap().iteration_max, 60);
    world.processes.alive.insert(8);
    world.processes.limits.insert(8, " 1_0 ".to_owned());
    world.write("loki.pid", "8");
    world.wait(1);
    assert_eq!(world.reading.state.unwrap().iteration_max, 10);
    world.processes.alive.clear();
    world.wait(1);
    world.restart();
    world.wait(1);
    assert_eq!(world.reading.state.unwrap().iteration_max, 10, "it stays what the last run had");
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

#[test]
fn content_and_paths_stay_on_the_machine_unless_they_are_opted_in() {
    let line = |world: &World| {
        world.event(
            "task_completion_claim",
            r#"{"statement":"alpha beta secret","prd":"docs/prd-shop.md","status":"done","reason":"because I said so","weird key":1,"evidence_length":12,"path":"/home/dana/x"}"#,
        )
    };
    let mut world = World::live(7);
    world.append("events.jsonl", line(&world));
    world.run();
    assert_eq!(
        world.reading.count("log task_completion_claim status=done evidence_length=12"),
        1,
        "{:#?}",
        world.reading.said
    );
    let mut world = World::live(7);
    world.privacy = Privacy::including([ContentField::Messages, ContentField::Prompts]);
    world.append("events.jsonl", line(&world));
    world.run();
    assert_eq!(world.reading.count("prd=docs/prd-shop.md"), 1, "{:#?}", world.reading.said);
}

#[test]
fn hooks_that_come_before_and_after_a_call_count_it_once() {
    let mut world = World::live(7);
    let hook = |kind: &str| {
        format!(
            "{{\"type\":\"claude_hook_{kind}\",\"source\":\"claude_cli\",\"payload\":{{\"tool_name\":\"Bash\",\"tool_input\":{{\"command\":\"rm\"}}}}}}\n"
        )
    };
    for kind in ["pretooluse", "posttooluse", "pretooluse", "posttoolusefailure", "pretooluse", "posttooluse"]
    {
        world.append("events.jsonl", hook(kind));
        world.run();
    }
    assert_eq!(world.reading.count("call Bash"), 3, "{:#?}", world.reading.said);
    assert_eq!(world.reading.count("call Bash Error"), 1);
}

#[test]
fn the_registry_in_the_home_folder_is_no_project() {
    let world = World::empty();
    assert!(Loki.is_in(world.folder.path()));
    world.write("dashboard/projects.json", "{}");
    assert!(!Loki.is_in(world.folder.path()));
    world.write("events.jsonl", "");
    assert!(Loki.is_in(world.folder.path()));
    assert!(!Loki.is_in(&world.path("dashboard")));
}
