//! What is said and when: liveness, gauges, privacy, floods.

use super::database::Database;
use super::fixtures::unsample;
use super::{Facts, FakeProcesses, Project, Watcher, read_all};
use crate::facts::{ContentField, Privacy};
use muster::clock::WallTime;
use muster::v1::SessionStatus;
use serde_json::json;
use std::fs;
use std::time::Duration;

#[test]
fn devloop_is_alive_while_its_process_is_and_a_reused_number_is_not_it() {
    let project = Project::new();
    project.write(
        "daemon.heartbeat",
        br#"{"timestamp": "2026-03-10T22:00:00", "pid": 77, "uptime_seconds": 30.0}"#,
    );
    let written = WallTime(super::NOON.0 - 20_000_000);
    let set_written = |time: WallTime| {
        let file =
            fs::File::options().write(true).open(project.state().join("daemon.heartbeat")).expect("open");
        let since = Duration::from_micros(time.0);
        file.set_modified(std::time::UNIX_EPOCH + since).expect("set the time");
    };
    set_written(written);
    let mut watcher = Watcher::of(&project);
    let status = |watcher: &Watcher| watcher.reading.tool.expect("a state").status();
    watcher.drain();
    assert_eq!(status(&watcher), SessionStatus::Stopped);

    let started = WallTime(written.0 - 30_000_000);
    watcher.processes = FakeProcesses { alive: [(77, started)].into() };
    assert_eq!(watcher.drain().again_in, Some(Duration::from_secs(10)));
    assert_eq!(status(&watcher), SessionStatus::Running);
    let tool = watcher.reading.tool.expect("a state");
    assert_eq!((tool.started_time_us, tool.sessions_live), (Some(started.0), 1));

    watcher.processes = FakeProcesses { alive: [(77, WallTime(written.0 + 5_000_000))].into() };
    assert_eq!(watcher.drain().again_in, Some(Duration::from_secs(30)));
    assert_eq!(status(&watcher), SessionStatus::Stopped);

    project.write("devloop.pid", b"78");
    watcher.processes = FakeProcesses { alive: [(78, started)].into() };
    watcher.drain();
    assert_eq!(status(&watcher), SessionStatus::Running);
    project.write("devloop.pid", b"");
    watcher.drain();
    assert_eq!(status(&watcher), SessionStatus::Stopped);
}

#[test]
fn granularity_holds_gauges_back_and_then_says_the_last() {
    let project = Project::copy_of("failing");
    unsample(&project);
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    let (samples, depths) = (watcher.reading.tool_samples.len(), watcher.reading.depth_facts);
    let disk = watcher.reading.disk_bytes;
    let line = |time: f64, disk: f64| {
        format!(
            "{}\n",
            json!({"operation_name": "agent.linter.handle", "start_time": time, "end_time": time + 0.5,
                   "metadata": {"agent_name": "linter"},
                   "resource_usage_end": {"cpu_percent": 7.5, "memory_mb": 10.0, "disk_read_mb": 0.0,
                                          "disk_write_mb": disk}})
        )
    };
    let base = 8_227_258_368.0 / 1_048_576.0;
    for n in 1..=3 {
        let now = 1_773_133_400.0 + f64::from(n);
        project.append("performance/metrics.jsonl", line(now, base + f64::from(n)).as_bytes());
        watcher.pass(Duration::from_secs(5));
        assert!(watcher.drain().again_in.is_some_and(|wait| wait <= Duration::from_secs(60)));
    }
    assert_eq!(watcher.reading.tool_samples.len(), samples);
    watcher.pass(Duration::from_secs(60));
    watcher.drain();
    assert_eq!(watcher.reading.tool_samples.len(), samples + 1);
    assert_eq!(watcher.reading.tool_samples.last().and_then(|sample| sample.cpu_percent), Some(7.5));
    assert_eq!(watcher.reading.disk_bytes, disk + 3 * 1_048_576);
    assert!(watcher.reading.depth_facts >= depths);
}

#[test]
fn a_quiet_project_says_nothing_more() {
    let project = Project::copy_of("healthy");
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    for _ in 0..5 {
        watcher.pass(Duration::from_secs(30));
        let mut facts = Facts::new(Privacy::default());
        let moment = crate::sources::Moment {
            wall: watcher.wall,
            monotonic: muster::clock::Monotonic(watcher.monotonic),
            processes: &watcher.processes,
            rescan: false,
        };
        let step = watcher.source.step(&moment, &mut facts);
        assert!(facts.is_empty(), "{:?}", facts.builder().as_batch());
        assert_eq!((step.more, step.again_in), (false, Some(Duration::from_secs(30))));
    }
}

#[test]
fn files_leave_only_when_opted_in_and_then_relative() {
    let project = Project::new();
    let mut database = Database::create(&project);
    let inside = project.root().join("src/cart.py");
    database.event("file:modified", &json!({"path": inside}));
    database.event("file:modified", &json!({"path": "/home/dana/secret/plan.md"}));
    assert_eq!(read_all(&project).files, ["".to_owned()].into());
    let mut watcher = Watcher::of(&project);
    watcher.privacy = Privacy::including([ContentField::Files]);
    watcher.drain();
    assert_eq!(watcher.reading.files, ["".to_owned(), "src/cart.py".to_owned()].into());
}

#[test]
fn a_rescan_counts_the_watched_files_and_the_end_is_said() {
    let project = Project::new();
    fs::create_dir_all(project.root().join("src")).expect("a folder");
    fs::File::create(project.root().join("src/a.py")).expect("a file");
    let mut watcher = Watcher::of(&project);
    watcher.step(true);
    watcher.drain();
    assert_eq!(watcher.reading.files_watched, Some(1));
    let mut facts = Facts::new(Privacy::default());
    let moment = crate::sources::Moment {
        wall: watcher.wall,
        monotonic: muster::clock::Monotonic(watcher.monotonic),
        processes: &watcher.processes,
        rescan: false,
    };
    watcher.source.end(&moment, &mut facts);
    watcher.read(facts);
    assert_eq!(watcher.reading.ended, 1);
}

#[test]
fn a_database_that_is_none_is_counted_once_and_does_not_keep_the_source_busy() {
    for content in
        [&b""[..], b"not a database at all, but long enough to look like one to nobody", &[0; 4096]]
    {
        let project = Project::new();
        project.write("events.db", content);
        let mut watcher = Watcher::of(&project);
        for _ in 0..3 {
            assert!(!watcher.step(true).more);
        }
        assert_eq!(watcher.reading.read_errors, u64::from(!content.is_empty()), "{} bytes", content.len());
    }
}

#[test]
fn a_flood_is_read_in_steps_that_each_fit_in_a_batch() {
    let project = Project::new();
    project.write("events.jsonl", "{\"event_type\":\"x\"}\n".repeat(40_000).as_bytes());
    project.write("feedback/feedback.jsonl", "{\"feedback_type\":\"dismiss\"}\n".repeat(40_000).as_bytes());
    let mut database = Database::create(&project);
    let issues: Vec<_> = (0..40).map(|n| json!({"severity": format!("s{n}")})).collect();
    database.connection.execute_batch("BEGIN").expect("begin");
    for n in 0..1_000 {
        let payload =
            json!({"success": true, "message": "", "data": {"file": n.to_string(), "issues": issues}});
        database.event("agent:custom:completed", &payload);
    }
    database.connection.execute_batch("COMMIT").expect("commit");
    // The watcher seals what each step said.
    let reading = read_all(&project);
    assert_eq!(reading.logs_named("devloop.x").len(), 40_000);
    assert_eq!(reading.dismissed, 40_000);
    assert_eq!(reading.findings.values().sum::<u64>(), 40_000);
}

#[test]
fn automatic_fixes_are_counted_once_and_a_rolled_back_one_never() {
    let project = Project::new();
    project.write(
        "backups/change_log.json",
        br#"{"changes": [{"backup_id": "a"}, {"backup_id": "b", "rolled_back": true}]}"#,
    );
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    watcher.restart();
    project.write("backups/change_log.json", br#"{"changes": [{"backup_id": "a"}, {"backup_id": "c"}]}"#);
    watcher.drain();
    assert_eq!(watcher.reading.fixed, 2);
}
