//! Restarts, rewrites, locks and damage: nothing is lost, nothing is counted twice, and DevLoop is never disturbed.

use std::fs;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use super::super::seen::IDS_MAX;
use super::database::{Database, run};
use super::fixtures::unsample;
use super::reading::Reading;
use super::{Project, Watcher, read_all};

/// What must be the same however often the agent was restarted.
fn counted(reading: &Reading) -> impl PartialEq + std::fmt::Debug + use<> {
    let runs: Vec<_> = reading
        .runs
        .iter()
        .map(|(worker, runs)| (worker.clone(), runs.success, runs.skipped, runs.failure, runs.error))
        .collect();
    (
        (runs, reading.findings.clone(), reading.dismissed, reading.fixed, reading.active),
        (reading.files_changed, reading.bus_events, reading.pushes.clone(), reading.commits.clone()),
        reading.logs.clone(),
        (reading.build_saved_s, reading.developer_saved_s, reading.disk_bytes, reading.roundtrips_prevented),
    )
}

/// A project with more rows than one step reads.
fn long_project() -> (Project, Database) {
    let project = Project::copy_of("healthy");
    fs::remove_file(project.state().join("events.db")).expect("remove");
    let mut database = Database::create(&project);
    database.runs("linter", 1_000, 10);
    (project, database)
}

#[test]
fn a_restart_after_every_step_counts_nothing_twice_and_loses_nothing() {
    let (long, _database) = long_project();
    let fixtures = ["healthy", "failing", "sqlite-wal", "hot-journal", "restart-replay/after"];
    for project in fixtures.map(Project::copy_of).into_iter().chain([long]) {
        let whole = read_all(&project);
        let mut watcher = Watcher::of(&project);
        for _ in 0..2 {
            while watcher.step(true).more {
                watcher.restart();
                watcher.pass(Duration::from_secs(100));
            }
            watcher.restart();
        }
        assert_eq!(counted(&watcher.reading), counted(&whole));
    }
}

#[test]
fn facts_that_were_not_spooled_are_said_again_from_the_older_position() {
    let (project, _database) = long_project();
    let whole = read_all(&project);
    let mut watcher = Watcher::of(&project);
    let mut more = true;
    while more {
        let said = watcher.reading.clone();
        let position = watcher.source.position();
        watcher.step(false);
        // The spool refused: what was said is gone, and the source is opened from the position before it.
        watcher.reading = said;
        watcher.reopen(Some(&position));
        more = watcher.step(false).more;
    }
    assert_eq!(counted(&watcher.reading), counted(&whole));
}

#[test]
fn a_history_longer_than_the_memory_of_ids_is_counted_once_and_its_replay_not_at_all() {
    let project = Project::new();
    let mut database = Database::create(&project);
    let rows = IDS_MAX + 2_000;
    database.runs("linter", rows, 7);
    let first = "00000000-0000-4000-8000-000000000001";
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    assert_eq!(watcher.reading.run_count(), rows as u64);
    database.restart();
    let made_s = 1_773_133_200.0;
    database.store(first, "agent:linter:completed", &run("linter", true), made_s);
    database.run("linter", true);
    watcher.drain();
    assert_eq!(watcher.reading.run_count(), rows as u64 + 1);
    assert_eq!(watcher.reading.records_skipped, 1);
}

#[test]
fn a_writer_can_commit_between_any_two_steps() {
    let (project, mut database) = long_project();
    database.connection.busy_timeout(Duration::ZERO).expect("pragma");
    let mut watcher = Watcher::of(&project);
    let mut written = 0;
    while watcher.step(false).more || written < 5 {
        database.run("formatter", true);
        written += 1;
    }
    watcher.step(true);
    let runs = &watcher.reading.runs["formatter"];
    assert_eq!(runs.success, written);
}

#[test]
fn a_locked_database_keeps_what_was_read_and_is_read_later() {
    let project = Project::copy_of("healthy");
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    let before = counted(&watcher.reading);
    let path = project.state().join("events.db");
    let writer = Connection::open(&path).expect("open");
    writer
        .execute_batch("BEGIN EXCLUSIVE; UPDATE events SET id = 'new-' || id WHERE rowid = 70;")
        .expect("lock");
    let step = watcher.step(true);
    assert!(step.again_in.is_some_and(|wait| wait <= Duration::from_secs(1)), "{step:?}");
    assert_eq!(counted(&watcher.reading), before);
    assert_eq!(watcher.reading.read_errors, 0);
    writer.execute_batch("COMMIT").expect("commit");
    watcher.step(true);
    watcher.drain();
    assert_eq!(watcher.reading.bus_events, 71);
}

#[test]
fn a_change_right_after_a_read_is_not_missed_though_the_file_looks_the_same() {
    let project = Project::new();
    let mut database = Database::create(&project);
    let path = project.state().join("events.db");
    database.run("linter", true);
    let bytes = fs::metadata(&path).expect("metadata").len();
    let written = std::time::UNIX_EPOCH + Duration::from_micros(super::NOON.0 - 10_000);
    let set_written = || {
        let file = fs::File::options().write(true).open(&path).expect("open");
        file.set_modified(written).expect("set the time");
    };
    set_written();
    let mut watcher = Watcher::of(&project);
    assert_eq!(watcher.step(false).again_in, Some(Duration::from_millis(100)));
    database.run("linter", true);
    set_written();
    assert_eq!(fs::metadata(&path).expect("metadata").len(), bytes);
    watcher.wall.0 += 100_000;
    assert_eq!(watcher.step(false).again_in, Some(Duration::from_secs(30)));
    assert_eq!(watcher.reading.run_count(), 2);
}

#[test]
fn a_database_that_was_deleted_and_made_anew_goes_on_from_its_first_row() {
    let project = Project::new();
    let mut database = Database::create(&project);
    database.runs("linter", 20, 5);
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    let clock_s = database.clock_s;
    drop(database);
    fs::remove_file(project.state().join("events.db")).expect("remove");
    watcher.drain();
    let mut database = Database::create(&project);
    database.clock_s = clock_s + 100.0;
    database.next_id = 1_000;
    database.runs("linter", 30, 5);
    watcher.restart();
    watcher.drain();
    assert_eq!(watcher.reading.run_count(), 50);
}

#[test]
fn a_table_that_was_emptied_begins_at_row_one_again() {
    let project = Project::new();
    let mut database = Database::create(&project);
    database.runs("linter", 5, 9);
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    database.connection.execute_batch("DELETE FROM events").expect("delete");
    // More rows than there were: numbers alone would hide the first five.
    database.runs("linter", 8, 9);
    watcher.step(true);
    watcher.drain();
    assert_eq!(watcher.reading.run_count(), 13);
}

#[test]
fn the_old_schema_is_read_without_a_queue_depth() {
    let project = Project::new();
    let mut database = Database::create_legacy(&project);
    database.runs("linter", 12, 4);
    let reading = read_all(&project);
    let runs = &reading.runs["linter"];
    assert_eq!((runs.success, runs.failure), (9, 3));
    assert!(reading.depths.is_empty());
    assert_eq!(reading.read_errors, 0);
}

#[test]
fn a_live_database_in_wal_mode_is_followed_without_a_file_of_ours_beside_it() {
    let project = Project::new();
    let mut database = Database::create(&project);
    database.connection.pragma_update(None, "journal_mode", "wal").expect("pragma");
    database.runs("linter", 3, 9);
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    assert_eq!(watcher.reading.run_count(), 3);
    database.run("linter", true);
    let step = watcher.step(true);
    assert_eq!(watcher.reading.run_count(), 3, "not copied again at once");
    assert!(step.again_in.is_some_and(|wait| wait <= Duration::from_secs(2)));
    watcher.pass(Duration::from_secs(2));
    watcher.drain();
    assert_eq!(watcher.reading.run_count(), 4);
    // Closed cleanly the WAL is gone but the mode stays: opening it in place would create both files.
    drop(database);
    watcher.pass(Duration::from_secs(5));
    let before = project.snapshot();
    watcher.restart();
    watcher.step(true);
    assert_eq!(project.snapshot(), before);
    assert!(!project.state().join("events.db-shm").exists());
}

#[test]
fn rows_of_an_earlier_life_of_devloop_wait_for_nobody() {
    let project = Project::new();
    project.write("agents.json", br#"{"agents": {"linter": {"enabled": true, "triggers": ["file:*"]}}}"#);
    let mut database = Database::create(&project);
    let change = json!({"path": "/a.py"});
    for _ in 0..10 {
        database.event("file:modified", &change);
    }
    database.handled("linter");
    database.event("file:modified", &change);
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    assert_eq!(watcher.reading.depths["linter"], 1);
    database.restart();
    database.event("file:modified", &change);
    database.handled("linter");
    database.event("file:modified", &change);
    database.event("file:modified", &change);
    watcher.step(true);
    assert_eq!(watcher.reading.depths["linter"], 2, "rows 4 to 11 are of the life before");
    project.write("agents.json", br#"{"agents": {"linter": {"enabled": false}}}"#);
    database.event("file:modified", &change);
    watcher.step(true);
    assert_eq!(watcher.reading.depths["linter"], 0, "a worker that is switched off waits for nothing");
}

#[test]
fn sampling_scales_successes_and_keeps_each_failure() {
    let project = Project::new();
    let mut database = Database::create(&project);
    database.runs("linter", 4_000, 4);
    project.write("agents.json", br#"{"metrics": {"sampling": 0.1}}"#);
    let reading = read_all(&project);
    let runs = &reading.runs["linter"];
    assert_eq!(runs.failure, 1_000);
    assert!((2_500..3_500).contains(&runs.success), "{}", runs.success);
    assert_eq!(runs.success % 10, 0, "each kept run stands for ten");
    assert_eq!(reading.findings["linter/error"], 4_000);
    assert!((3_300..4_700).contains(&reading.bus_events), "{}", reading.bus_events);
}

#[test]
fn a_payload_too_large_to_take_still_counts_its_run() {
    let project = Project::new();
    let mut database = Database::create(&project);
    let issues: Vec<_> =
        (0..30_000).map(|n| json!({"code": "F401", "message": format!("issue {n:040}")})).collect();
    let mut payload = run("linter", false);
    payload["data"]["issues"] = json!(issues);
    payload["data"]["issue_count"] = json!(30_000);
    assert!(payload.to_string().len() > 2 * 1024 * 1024);
    database.event("agent:linter:completed", &payload);
    let reading = read_all(&project);
    assert_eq!(reading.runs["linter"].failure, 1);
    assert_eq!(reading.findings["linter/unknown"], 30_000);
}

#[test]
fn without_a_database_runs_come_from_lines_and_are_not_counted_again_when_there_is_one() {
    let project = Project::copy_of("healthy");
    let aside = project.root().join("aside.db");
    fs::copy(project.state().join("events.db"), &aside).expect("copy");
    fs::remove_file(project.state().join("events.db")).expect("remove");
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    assert_eq!(watcher.reading.run_count(), 58);
    assert_eq!(watcher.reading.runs["linter"].success + watcher.reading.runs["linter"].skipped, 10);
    assert_eq!(watcher.reading.runs["test-runner"].skipped, 5);
    assert_eq!(watcher.reading.findings.values().sum::<u64>(), 13);
    watcher.restart();
    fs::copy(&aside, project.state().join("events.db")).expect("copy");
    watcher.drain();
    assert_eq!(watcher.reading.run_count(), 58);
    assert_eq!(watcher.reading.findings.values().sum::<u64>(), 13);
    assert_eq!(watcher.reading.bus_events, 70);
}

#[test]
fn a_rewritten_metrics_file_counts_nothing_twice() {
    let project = Project::copy_of("healthy");
    let path = project.state().join("performance/metrics.jsonl");
    let content = fs::read(&path).expect("read");
    let half = content.iter().rposition(|&byte| byte == b'\n').expect("lines");
    let half = content[..half / 2].iter().rposition(|&byte| byte == b'\n').expect("lines") + 1;
    project.write("performance/metrics.jsonl", &content[..half]);
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    let before = watcher.reading.disk_bytes;
    let samples = watcher.reading.tool_samples.len();

    // DevLoop truncates, then writes line by line; the oldest two lines are gone, and new ones follow at once.
    let oldest = content.split_inclusive(|&byte| byte == b'\n').take(2).map(<[u8]>::len).sum::<usize>();
    fs::OpenOptions::new().write(true).truncate(true).open(&path).expect("truncate");
    assert!(watcher.drain().again_in.is_some_and(|wait| wait <= Duration::from_secs(1)));
    project.append("performance/metrics.jsonl", &content[oldest..half / 2]);
    watcher.pass(Duration::from_secs(2));
    watcher.restart();
    watcher.drain();
    project.append("performance/metrics.jsonl", &content[half / 2..half]);
    for _ in 0..4 {
        watcher.pass(Duration::from_secs(2));
        watcher.drain();
    }
    assert_eq!(watcher.reading.disk_bytes, before);
    assert_eq!(watcher.reading.tool_samples.len(), samples);
    assert_eq!(watcher.reading.parse_errors, 0);

    project.append("performance/metrics.jsonl", &content[half..]);
    watcher.pass(Duration::from_secs(2));
    watcher.drain();
    let whole = read_all(&Project::copy_of("healthy"));
    assert_eq!(watcher.reading.disk_bytes, whole.disk_bytes);
}

#[test]
fn torn_and_glued_lines_cost_themselves_alone() {
    let project = Project::new();
    let push = r#"{"event_type": "pre_push_check", "timestamp": "2026-03-10T09:15:00Z", "success": true}"#;
    project.write("events.jsonl", format!("{push}\n{{\"event_type\": \"pre_p").as_bytes());
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    assert_eq!((watcher.reading.pushes.total, watcher.reading.parse_errors), (1, 0));
    // The next writer goes on behind the torn line; after it there is a line with the same text as the first.
    project.append("events.jsonl", format!("{push}\n\0\0\0\n{push}\n{push}\n").as_bytes());
    watcher.drain();
    assert_eq!((watcher.reading.pushes.total, watcher.reading.parse_errors), (3, 2));
}

#[test]
fn a_log_that_was_cut_down_is_not_counted_again() {
    let project = Project::copy_of("failing");
    unsample(&project);
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    let before = counted(&watcher.reading);
    let content = fs::read(project.state().join("events.jsonl")).expect("read");
    let middle = content[..content.len() / 2].iter().rposition(|&byte| byte == b'\n').expect("lines") + 1;
    project.write("events.jsonl", &content[middle..]);
    watcher.drain();
    assert_eq!(counted(&watcher.reading), before);
    let later = r#"{"event_type": "pre_push_check", "timestamp": "2026-03-10T09:20:00Z", "success": true}"#;
    project.append("events.jsonl", format!("{later}\n").as_bytes());
    watcher.drain();
    assert_eq!(watcher.reading.pushes.total, 6);
}
