//! What `expected.json` of each fixture says, against what the source states.
//!
//! Not compared, and why:
//! - `config`, `context_index`: inputs that carry no figure of their own (the index sums up the tiers);
//! - `events_db.*` but its rows, types and resource events: facts about SQLite, not about DevLoop's work;
//! - `events_jsonl.agent_executed`: these runs are counted from events.db, which is the truth;
//! - `feedback_performance_json`, `security_audit`: never read (contracts/devloop.md section 0.6; no metric derives
//!   from the audit log);
//! - `performance_metrics_jsonl.success_false_rows`: true for runs that failed (section 0.5), so of no use;
//! - `performance_metrics_jsonl.host_disk_io_bytes_last`: the host's counter since boot, only its growth is stated;
//! - `context.*.raw_by_severity`, `distinct_by_severity`: native words, which the tiers' facts carry mapped;
//! - `daemon_heartbeat.timestamp`: local time without a zone, not used;
//! - `stray_files`: nothing reads them.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::super::active::place;
use super::super::issues;
use super::reading::{Pushes, Reading, Runs};
use super::{Project, Watcher, fixture_path, read_all};

fn expected(fixture: &str) -> Value {
    let text = fs::read(fixture_path(fixture).join("expected.json")).expect("expected.json");
    serde_json::from_slice(&text).expect("JSON")
}

fn counts(value: &Value) -> BTreeMap<String, u64> {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(key, count)| (key.clone(), count.as_u64().expect("a count"))).collect()
}

fn assert_close(actual: f64, expected: f64, what: &str) {
    assert!((actual - expected).abs() < 0.5, "{what}: {actual}, expected {expected}");
}

/// Everything that comes from events.db.
fn compare_database(expected: &Value, reading: &Reading) {
    for (worker, statuses) in expected["agent_runs_total"].as_object().expect("workers") {
        let runs = reading.runs.get(worker).cloned().unwrap_or_default();
        assert_eq!(runs.success + runs.skipped, statuses["success"].as_u64().expect("success"), "{worker}");
        assert_eq!(runs.failure, statuses["failure"].as_u64().expect("failure"), "{worker}");
        assert_eq!(runs.error, statuses["error"].as_u64().expect("error"), "{worker}");
        compare_durations(&expected["agent_execution_duration_ms"][worker], &runs, worker);
        compare_last_run(&expected["agent_last_run"][worker], &runs, worker);
    }
    assert_eq!(reading.runs.len(), expected["agent_runs_total"].as_object().expect("workers").len());
    compare_findings(expected, reading);
    assert_eq!(reading.depths, counts(&expected["agent_queue_depth_estimate"]));
    assert_eq!(reading.files_changed, expected["files_changed_total"].as_u64().expect("a count"));
    assert_eq!(reading.bus_events, expected["events_processed_total"].as_u64().expect("a count"));
    assert_eq!(reading.bus_events, expected["events_db"]["rows"].as_u64().expect("a count"));
    let latency = &expected["event_store_latency_ms"];
    let latencies: Vec<(f64, u64)> = reading.latencies_ms.iter().map(|&ms| (ms, 1)).collect();
    compare_histogram(latency, &latencies, "latency");
    let limits = expected["events_db"]["resource_limit_events"].as_array().map_or(0, Vec::len);
    let logged = reading.logs.iter().filter(|(name, _)| name.starts_with("devloop.resource_limit_")).count();
    assert_eq!(logged, limits);
}

fn compare_durations(expected: &Value, runs: &Runs, worker: &str) {
    compare_histogram(expected, &runs.durations_ms, worker);
}

fn compare_histogram(expected: &Value, values: &[(f64, u64)], what: &str) {
    let count: u64 = values.iter().map(|(_, weight)| weight).sum();
    assert_eq!(count, expected["count"].as_u64().expect("a count"), "{what}");
    let sum: f64 = values.iter().map(|(value, weight)| value * *weight as f64).sum();
    assert_close(sum, expected["sum"].as_f64().expect("a sum"), what);
    for (bound, expected) in expected["buckets"].as_object().expect("buckets") {
        let bound: f64 = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a bound") };
        let below: u64 = values.iter().filter(|(value, _)| *value <= bound).map(|(_, weight)| weight).sum();
        assert_eq!(below, expected.as_u64().expect("a count"), "{what} up to {bound}");
    }
}

fn compare_last_run(expected: &Value, runs: &Runs, worker: &str) {
    let last = runs.last.as_ref().expect("a last run");
    let status = if last.status == "skipped" { "success" } else { last.status };
    assert_eq!(status, expected["status"], "{worker}");
    assert_close(last.duration_ms.unwrap_or(-1.0), expected["last_run_ms"].as_f64().expect("ms"), worker);
    assert_close(last.time_s, expected["timestamp"].as_f64().expect("seconds"), worker);
}

fn compare_findings(expected: &Value, reading: &Reading) {
    let by_severity = counts(&expected["issues_found_by_agent_severity"]);
    assert_eq!(reading.findings, by_severity);
    let mut mapped = BTreeMap::new();
    for (key, count) in &by_severity {
        let (worker, native) = key.split_once('/').expect("worker/severity");
        *mapped.entry(issues::severity(worker, native) as i32).or_default() += count;
    }
    assert_eq!(reading.findings_by_severity, mapped);
    let by_worker = counts(&expected["issues_found_by_agent"]);
    for (worker, count) in by_worker {
        let found = reading.findings.iter().filter(|(key, _)| key.starts_with(&format!("{worker}/")));
        assert_eq!(found.map(|(_, count)| count).sum::<u64>(), count, "{worker}");
    }
    let mut active = [0u64; 4];
    for (key, severities) in expected["active_issues_latest_run_per_file"].as_object().expect("files") {
        let (worker, _) = key.split_once('|').expect("worker|file");
        for (native, count) in counts(severities) {
            active[place(issues::severity(worker, &native))] += count;
        }
    }
    let said = reading.active.expect("active findings");
    assert_eq!([said.critical, said.high, said.medium, said.low], active);
}

/// Everything that comes from the other files.
fn compare_files(expected: &Value, reading: &Reading) {
    let pushes = &expected["pushes"];
    let said = Pushes {
        total: pushes["total"].as_u64().expect("a count"),
        allowed: pushes["successful"].as_u64().expect("a count"),
        prevented: pushes["prevented"].as_u64().expect("a count"),
        reasons: counts(&pushes["reasons"]),
    };
    assert_eq!(reading.pushes, said);
    assert_eq!(reading.commits.total, expected["pre_commit"]["total"].as_u64().expect("a count"));
    assert_eq!(reading.commits.allowed, expected["pre_commit"]["passed"].as_u64().expect("a count"));
    let value = &expected["value"];
    let prevented = reading.pushes.prevented + reading.roundtrips_prevented;
    assert_eq!(prevented, value["ci_failures_prevented"].as_u64().expect("a count"));
    assert_eq!(reading.build_saved_s, value["build_time_saved_seconds_at_900s_each"].as_f64().expect("s"));
    let developer = value["developer_time_saved_seconds_value_events"].as_f64().expect("s");
    assert_eq!(reading.developer_saved_s, developer);
    let dismissed = expected["feedback_jsonl"]["false_positive_candidates"].as_u64().unwrap_or(0);
    assert_eq!(reading.dismissed, dismissed);
    assert_eq!(reading.fixed, expected["autofixed_change_log"]["changes"].as_u64().expect("a count"));
    compare_performance(&expected["performance_metrics_jsonl"], reading);
    for tier in ["immediate", "relevant", "background", "auto_fixed"] {
        let expected = &expected["context"][tier];
        let said = reading.logs_named("devloop.context_tier").into_iter().find(|log| log["tier"] == tier);
        assert_eq!(said.map(|log| log["listed"].clone()), expected["raw"].as_u64().map(|n| n.to_string()));
        let distinct = expected["distinct_ids"].as_u64().map(|n| n.to_string());
        assert_eq!(said.map(|log| log["distinct"].clone()), distinct);
    }
}

fn compare_performance(expected: &Value, reading: &Reading) {
    let mebibytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / 1_048_576.0);
    let last = reading.tool_samples.last();
    assert_eq!(last.and_then(|sample| sample.cpu_percent), expected["last"]["process_cpu_percent"].as_f64());
    let memory = last.and_then(|sample| mebibytes(sample.memory_bytes));
    assert_eq!(memory, expected["last"]["process_memory_mb"].as_f64());
    assert_eq!(reading.disk_bytes, expected["host_disk_io_bytes_delta"].as_u64().unwrap_or(0));
    let workers = expected["last_per_agent"].as_object();
    assert_eq!(reading.worker_samples.len(), workers.map_or(0, serde_json::Map::len));
    for (worker, expected) in workers.into_iter().flatten() {
        let sample = reading.worker_samples.get(worker).expect("a sample");
        assert_eq!(sample.cpu_percent, expected["cpu_percent"].as_f64(), "{worker}");
        assert_eq!(mebibytes(sample.memory_bytes), expected["memory_mb"].as_f64(), "{worker}");
    }
}

fn noops(reading: &Reading) -> BTreeMap<String, u64> {
    let skipped = reading.runs.iter().map(|(worker, runs)| (worker.clone(), runs.skipped));
    skipped.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn the_healthy_project_reads_as_expected() {
    let expected = expected("healthy");
    let reading = read_all(&Project::copy_of("healthy"));
    compare_database(&expected, &reading);
    compare_files(&expected, &reading);
    assert_eq!(noops(&reading), counts(&expected["agent_noop_runs"]));
    assert_eq!((reading.parse_errors, reading.read_errors, reading.records_skipped), (0, 0, 0));
    assert_eq!(reading.version, "0.10.3");
}

#[test]
fn the_failing_project_reads_as_expected_when_it_is_not_sampled() {
    let expected = expected("failing");
    let project = Project::copy_of("failing");
    unsample(&project);
    let reading = read_all(&project);
    compare_database(&expected, &reading);
    compare_files(&expected, &reading);
    // Three of the eleven runs that did nothing are reported by DevLoop as failures (a file that is gone): those stay
    // failures, and are not skipped.
    let mut successes = counts(&expected["agent_noop_runs"]);
    for worker in ["type-checker", "security-scanner", "performance-profiler"] {
        *successes.get_mut(worker).expect("a worker") -= 1;
    }
    assert_eq!(noops(&reading), successes);
    assert_eq!((reading.parse_errors, reading.read_errors), (0, 0));
}

#[test]
fn the_failing_project_as_it_is_thins_only_what_succeeded() {
    let expected = expected("failing");
    let reading = read_all(&Project::copy_of("failing"));
    let (names, settings) = reading.settings.clone().expect("settings");
    assert_eq!(names, ["event_latency_histogram"]);
    assert_eq!(settings.sample_rate, 0.5);
    for (worker, statuses) in expected["agent_runs_total"].as_object().expect("workers") {
        let runs = reading.runs.get(worker).cloned().unwrap_or_default();
        assert_eq!(runs.failure, statuses["failure"].as_u64().expect("failure"), "{worker}");
        assert_eq!(runs.error, statuses["error"].as_u64().expect("error"), "{worker}");
    }
    compare_findings(&expected, &reading);
    compare_files(&expected, &reading);
    let all = expected["events_processed_total"].as_f64().expect("a count");
    assert!(reading.latencies_ms.len() as f64 <= 0.7 * all, "{} of {all}", reading.latencies_ms.len());
    assert!((reading.bus_events as f64 - all).abs() < 0.4 * all, "{} for {all}", reading.bus_events);
}

#[test]
fn rows_that_are_only_in_the_wal_are_read_and_the_project_is_not_written_to() {
    let expected = expected("sqlite-wal");
    let project = Project::copy_of("sqlite-wal");
    let before = project.snapshot();
    let reading = read_all(&project);
    compare_database(&expected, &reading);
    compare_files(&expected, &reading);
    assert_eq!(project.snapshot(), before);
}

#[test]
fn a_hot_journal_is_recovered_elsewhere_and_uncommitted_rows_are_not_believed() {
    let expected = expected("hot-journal");
    let project = Project::copy_of("hot-journal");
    let before = project.snapshot();
    let reading = read_all(&project);
    // A reader in place gets nothing, which is what the fixture's own figures say; after recovery it is the healthy
    // project's database.
    let mut recovered = self::expected("healthy");
    recovered["events_db"] = expected["events_db_after_recovery_on_private_writable_copy"].clone();
    compare_database(&recovered, &reading);
    compare_files(&expected, &reading);
    assert_eq!(project.snapshot(), before);
}

#[test]
fn the_corrupt_project_gives_what_can_be_read_and_no_runs_from_half_a_database() {
    let expected = expected("corrupt");
    let reading = read_all(&Project::copy_of("corrupt"));
    compare_files(&expected, &reading);
    assert_eq!(reading.run_count(), 0);
    assert_eq!(reading.bus_events, 0);
    assert_eq!(reading.active, None, "unknown is not zero");
    assert_eq!(reading.read_errors, 1, "events.db");
    let bad_lines = expected["events_jsonl"]["bad_lines"].as_u64().expect("a count");
    // The fixture counts the last line as bad too; to us it may still be in the writing. And there is one bad tier.
    assert_eq!(reading.parse_errors, bad_lines - 1 + 1);
    assert_eq!(
        reading.settings.map(|(_, settings)| settings.sample_rate),
        Some(0.1),
        "comments are no error"
    );
}

#[test]
fn each_half_of_the_restart_reads_as_expected_by_itself() {
    let expected = expected("restart-replay");
    for half in ["before", "after"] {
        let reading = read_all(&Project::copy_of(&format!("restart-replay/{half}")));
        compare_database(&expected[half], &reading);
        assert_eq!(noops(&reading), counts(&expected[half]["agent_noop_runs"]));
        let replayed: u64 = reading.runs.values().map(|runs| runs.replayed).sum();
        // Six runs and two file events were stored again.
        assert_eq!(replayed, if half == "before" { 0 } else { 6 });
    }
}

#[test]
fn a_restart_of_devloop_counts_each_run_once() {
    let expected = expected("restart-replay");
    let project = Project::copy_of("restart-replay/before");
    let mut watcher = Watcher::of(&project);
    watcher.drain();
    compare_database(&expected["before"], &watcher.reading);
    project.replace_by("restart-replay/after");
    watcher.drain();
    for (worker, first) in expected["scenario"]["runs_session1"].as_object().expect("workers") {
        let second = &expected["scenario"]["runs_session2_caused_only_by_replay"][worker]["success"];
        let both = first["success"].as_u64().expect("a count") + second.as_u64().expect("a count");
        let runs = &watcher.reading.runs[worker];
        assert_eq!(runs.success + runs.skipped, both, "{worker}");
    }
    // 23 rows, then 20 of which 8 are old.
    assert_eq!(watcher.reading.bus_events, 35);
    assert_eq!(watcher.reading.files_changed, 5);
    assert_eq!(watcher.reading.depths, counts(&expected["after"]["agent_queue_depth_estimate"]));
}

/// Takes the sample rate out of a project's settings.
pub(super) fn unsample(project: &Project) {
    let text = fs::read_to_string(project.state().join("agents.json")).expect("agents.json");
    assert!(text.contains("\"sampleRate\": 0.5,"));
    project.write("agents.json", text.replace("\"sampleRate\": 0.5,", "").as_bytes());
}
