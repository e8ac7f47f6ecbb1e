//! Traps 4, 5 and 8 of contracts/loki-mode.md section 6: which sessions live, and when they start, pause and end.

use muster::clock::WallTime;
use muster::v1::SessionStatus;

use super::support::{World, stamp, time};
use crate::sources::Tool;
use crate::sources::loki::Loki;

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
fn a_run_that_ended_just_before_the_agent_came_never_reads_as_running() {
    let mut world = World::empty();
    world.write("dashboard-state.json", world.state("autonomous", 3, "[]"));
    let start = world.event("session_start", r#"{"provider":"claude"}"#);
    world.append("events.jsonl", start + &world.event("session_end", r#"{"result":0}"#));
    world.run();
    assert_eq!(world.status(), SessionStatus::Stopped);
    assert_eq!(world.reading.count("session "), 2, "{:#?}", world.reading.said);
    world.wait(70);
    assert_eq!(world.status(), SessionStatus::Stopped);
    // A new session in the same folder, long after.
    world.write("dashboard-state.json", world.state("autonomous", 1, "[]"));
    world.run();
    assert_eq!(world.status(), SessionStatus::Running);
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

/// An agent that was there from the start and one that comes later (`muster agent preview`) speak of one session.
#[test]
fn a_live_session_has_the_same_name_whether_its_process_or_its_event_is_seen_first() {
    for process_first in [true, false] {
        let mut world = World::empty();
        let started = WallTime(world.now.0 - 2_000_000);
        world.processes.alive.insert(7);
        world.processes.started.insert(7, started);
        world.write("loki.pid", "7");
        if process_first {
            world.run();
        }
        world.append("events.jsonl", world.event("session_start", r#"{"pid":7}"#));
        world.run();
        world.wait(5);
        let name = format!("session pid-7-{} RUNNING", started.0 / 1_000_000);
        assert_eq!(world.reading.count(&name), 1, "{:#?}", world.reading.said);
        assert_eq!(world.reading.count("session "), 1, "{:#?}", world.reading.said);
    }
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
fn the_registry_in_the_home_folder_is_no_project() {
    let world = World::empty();
    assert!(Loki.is_in(world.folder.path()));
    world.write("dashboard/projects.json", "{}");
    assert!(!Loki.is_in(world.folder.path()));
    world.write("events.jsonl", "");
    assert!(Loki.is_in(world.folder.path()));
    assert!(!Loki.is_in(&world.path("dashboard")));
}
