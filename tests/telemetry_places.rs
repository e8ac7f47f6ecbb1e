//! The history in places that fail: a full disk, a bucket that is away, that refuses, whose key is wrong. The collector takes
//! events all the while, every row is served, and what could not be written is written when it can be.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use muster::v1::RunStatus;
use muster::v1::verdict::Outcome;
use support::collector::{Collector, CollectorOptions, muster};
use support::fault_proxy::{Fault, FaultProxy};
use support::raw_agent::{Identity, RawAgent, run_finished};
use support::seaweed::Seaweed;

const DEADLINE: Duration = Duration::from_secs(60);

/// A small disk of its own; gone when it is dropped. Only root can have one.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(path)
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            println!("SKIPPED: only root can mount a small disk");
        }
        mounted.then_some(Self(path))
    }

    fn resize(&self, size: &str) {
        let option = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &option]).arg(self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

/// Sends `batches` of a thousand runs of workers with long names of their own.
fn feed(collector: &Collector, batches: usize) {
    let mut agent = RawAgent::connect(collector.grpc, &Identity::random()).unwrap();
    for _ in 0..batches {
        let names: Vec<String> =
            (0..1_000).map(|_| std::iter::repeat_with(fastrand::alphanumeric).take(40).collect()).collect();
        let runs = names.iter().map(|name| run_finished(name, RunStatus::Success)).collect();
        assert_eq!(agent.send("devloop", "api", runs).outcome(), Outcome::Appended);
    }
}

fn runs(collector: &Collector) -> usize {
    collector.get("/api/v1/history/runs?format=ndjson&detailed=false").text().lines().count()
}

/// What no other row has.
fn identity(line: &str) -> (u64, String) {
    let row: serde_json::Value = serde_json::from_str(line).unwrap();
    let (seq, agent) = (row["seq"].as_u64(), row["agent_id"].as_str());
    (seq.expect("its number"), agent.expect("whose it is").to_owned())
}

/// Waits until the history says that it fails for a reason.
fn wait_failing(collector: &Collector, reason: &str) {
    collector.wait_page(reason, DEADLINE, |page| {
        page.sum("muster_history_failures_total", &[("reason", reason)]) >= 1.0
            && page.sum("muster_history_up", &[]) == 0.0
    });
}

fn wait_written(collector: &Collector) {
    collector.wait_page("everything to be in files", DEADLINE, |page| {
        page.sum("muster_history_lag_records", &[]) == 0.0 && page.sum("muster_history_up", &[]) == 1.0
    });
}

#[test]
fn a_full_disk_costs_no_row_and_is_written_to_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("small");
    let Some(disk) = SmallDisk::mount(&place, "64k") else { return };
    let config = format!("[history]\nplace = {:?}\nflush_interval_seconds = 1\n", place.join("history"));
    let collector =
        Collector::spawn(&folder.path().join("collector"), CollectorOptions { config, ..Default::default() });
    feed(&collector, 5);
    wait_failing(&collector, "disk_full");
    assert_eq!(runs(&collector), 5_000, "what is in no file is read from the journal");
    feed(&collector, 1);
    assert_eq!(runs(&collector), 6_000);
    let state = collector.get("/api/v1/history").text();
    assert!(state.contains("no room on the disk"), "{state}");

    // An export to it leaves nothing either.
    let path = place.join("runs.csv");
    let mut command = muster();
    command.args(["telemetry", "export", "--detailed", "--server", &collector.http.to_string(), "--output"]);
    let output = command.arg(&path).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("runs.csv") && told.contains("No space left"), "{told}");
    let names: Vec<_> = std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["history"]);

    disk.resize("64m");
    wait_written(&collector);
    assert_eq!(runs(&collector), 6_000);
    drop(collector);
}

fn bucket(endpoint: &str, name: &str) -> String {
    format!(
        "[history]\nplace = \"s3://{name}/places\"\nendpoint = {endpoint:?}\nallow_http = true\n\
         region = \"us-east-1\"\nflush_interval_seconds = 1\n"
    )
}

fn key(access: &str, secret: &str) -> Vec<(String, String)> {
    let pairs = [("AWS_ACCESS_KEY_ID", access), ("AWS_SECRET_ACCESS_KEY", secret)];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

#[test]
fn a_bucket_that_goes_away_refuses_or_is_not_there_costs_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let Some(store) = Seaweed::spawn(&folder.path().join("weed")) else { return };
    let target = store.endpoint.trim_start_matches("http://").parse().unwrap();
    let proxy = FaultProxy::spawn(target);
    let config = bucket(&format!("http://{}", proxy.address), "history");
    let options =
        CollectorOptions { config, environment: key("writer-key", "writer-secret"), ..Default::default() };
    let mut collector = Collector::spawn(&folder.path().join("collector"), options);
    feed(&collector, 2);
    wait_written(&collector);

    // Away in the middle: what comes is kept in the journal, and what is in the bucket cannot be read.
    proxy.set(Fault::Refuse);
    feed(&collector, 2);
    wait_failing(&collector, "away");
    let path = folder.path().join("runs.csv");
    let mut command = muster();
    command.args(["telemetry", "export", "--server", &collector.http.to_string(), "--output"]);
    let output = command.arg(&path).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("stopped answering"), "{told}");
    assert!(!path.exists());
    proxy.set(Fault::Pass);
    wait_written(&collector);
    assert_eq!(runs(&collector), 4_000);

    // In the middle of a request: of an early one's head, and of a file.
    for (round, bytes) in (1..).zip([1_500, 40_000]) {
        proxy.set(Fault::RefuseAfter(proxy.bytes_up() + bytes));
        feed(&collector, 2);
        wait_failing(&collector, "away");
        proxy.set(Fault::Pass);
        wait_written(&collector);
        let rows = collector.get("/api/v1/history/runs?format=ndjson&detailed=true").text();
        let names: BTreeSet<(u64, String)> = rows.lines().map(identity).collect();
        let count = 4_000 + round * 2_000;
        assert_eq!(
            (rows.lines().count(), names.len()),
            (count, count),
            "each row once, cut after {bytes} bytes"
        );
    }
    let before = 8_000;

    // A key that may read and not write, and one that is wrong: told, and written with the right one.
    for (access, secret, count) in
        [("reader-key", "reader-secret", before + 1_000), ("writer-key", "wrong-secret", before + 2_000)]
    {
        collector.options.environment = key(access, secret);
        collector.restart();
        feed(&collector, 1);
        wait_failing(&collector, "denied");
        let problem = collector.get("/api/v1/history").text();
        assert!(problem.contains("s3://history/places") && !problem.contains(secret), "{problem}");
        collector.options.environment = key("writer-key", "writer-secret");
        collector.restart();
        wait_written(&collector);
        assert_eq!(runs(&collector), count);
    }
    drop(collector);

    // A bucket that is not there, for one who may not make it.
    let options = CollectorOptions {
        config: bucket(&store.endpoint, "nowhere"),
        environment: key("reader-key", "reader-secret"),
        ..Default::default()
    };
    let collector = Collector::spawn(&folder.path().join("other"), options);
    feed(&collector, 1);
    let page = collector.wait_page("it to fail", DEADLINE, |page| page.sum("muster_history_up", &[]) == 0.0);
    assert!(page.sum("muster_history_failures_total", &[]) >= 1.0);
    let state = collector.get("/api/v1/history").text();
    assert!(state.contains("s3://nowhere/places"), "{state}");
}
