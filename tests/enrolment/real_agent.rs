//! The real agent against the real collector: from the token to events that are counted once, over certificates that end
//! every few seconds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{collector, said, token};
use crate::support::agent::{Agent, AgentOptions, state_dir};
use crate::support::collector::{Collector, muster};
use crate::support::live_project::line;
use crate::support::{is_long, wait_until};

const PATIENCE: Duration = Duration::from_secs(40);

fn append(project: &std::path::Path, numbers: std::ops::Range<u64>) {
    use std::io::Write;
    std::fs::create_dir_all(project.join(".loki")).unwrap();
    let log = project.join(".loki/events.jsonl");
    let mut log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    numbers.for_each(|number| log.write_all(line(number, 10).as_bytes()).unwrap());
}

/// Enrols the agent of `folder` by the authority's fingerprint, which a wrong one is refused for before.
fn enrol(collector: &Collector, folder: &Path) -> String {
    let once = token(collector, &["--enroll"]);
    let shown: serde_json::Value =
        serde_json::from_str(&said(collector, &["authority", "show", "--json"])).unwrap();
    std::fs::create_dir_all(folder).unwrap();
    let token_file = folder.join("enroll.token");
    muster::atomic_file::replace(&token_file, once.as_bytes(), muster::atomic_file::Access::Owner).unwrap();
    let server = format!("https://localhost:{}", collector.grpc.port());
    let enrol = |fingerprint: &str| {
        let mut command = muster();
        command.args(["agent", "enroll", "--server", &server, "--name", "danas", "--json"]);
        command.args(["--ca-fingerprint", fingerprint]);
        command.arg("--enroll-token-file").arg(&token_file).arg("--state-dir").arg(state_dir(folder));
        command.output().unwrap()
    };
    let wrong = enrol(&"00".repeat(32));
    assert!(!wrong.status.success(), "another collector's fingerprint: {wrong:?}");
    let output = enrol(shown["fingerprint"].as_str().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["team"], &told["name"], &told["server"]),
        (&"red".into(), &"danas".into(), &format!("{server}/").into())
    );
    assert_eq!(super::agents(collector)[0]["serial"], told["serial"]);
    server
}

fn watching(project: PathBuf, server: &str) -> AgentOptions {
    AgentOptions {
        watch: vec![project],
        server: Some(server.to_owned()),
        config: "rescan_interval_seconds = 5\n".to_owned(),
        ..AgentOptions::default()
    }
}

/// Row D2: certificates rotate under load and nothing is lost; then the agent is revoked. With `MUSTER_LONG` they live for
/// 60 s, as the row has it.
#[test]
fn the_agent_enrols_by_fingerprint_renews_under_load_and_is_revoked() {
    let (certificate_seconds, load) =
        if is_long() { (60, Duration::from_secs(150)) } else { (8, Duration::from_secs(30)) };
    let folder = tempfile::tempdir().unwrap();
    let (collector, _) = collector(&folder.path().join("collector"), certificate_seconds);
    let agent_folder = folder.path().join("agent");
    let server = enrol(&collector, &agent_folder);
    append(&folder.path().join("shop"), 0..10);
    let agent = Agent::spawn(&agent_folder, watching(folder.path().join("shop"), &server));
    let (began, mut lines) = (Instant::now(), 10);
    while began.elapsed() < load {
        append(&folder.path().join("shop"), lines..lines + 10);
        lines += 10;
        std::thread::sleep(Duration::from_millis(200));
    }
    let page = || collector.page();
    wait_until("all lines, each once", PATIENCE, || {
        page().sum("loki_events_total", &[("team", "red")]) == lines as f64
    });
    let renewed = page().sum("muster_server_enrolments_total", &[("outcome", "renewed")]);
    println!("{lines} lines over {renewed} renewals");
    assert!(renewed >= 3.0, "{renewed} renewals in {load:?} of certificates of {certificate_seconds} s");

    said(&collector, &["agents", "revoke", "danas"]);
    let revoked = |page: crate::support::scrape::Page| {
        page.sum("muster_server_streams_ended_total", &[("reason", "revoked")]) >= 1.0
    };
    wait_until("the stream to be cut", Duration::from_secs(5), || revoked(page()));
    append(&folder.path().join("shop"), lines..lines + 10);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(page().sum("loki_events_total", &[("team", "red")]), lines as f64);
    drop(agent);
}

/// Row D5: both halves of a cloned machine have the same certificate. The newcomer is fenced, takes an epoch of its own,
/// and what either saw is counted once.
#[test]
fn a_cloned_folder_of_an_enrolled_agent_is_fenced_and_both_sides_count() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, _) = collector(&folder.path().join("collector"), 3_600);
    let place = |name: &str| folder.path().join(name);
    let server = enrol(&collector, &place("first"));
    let count = |project: &str| collector.page().sum("loki_events_total", &[("project", project)]);
    append(&place("one"), 0..50);
    let mut first = Agent::spawn(&place("first"), watching(place("one"), &server));
    wait_until("the first's lines", PATIENCE, || count("one") == 50.0);
    assert!(first.process.terminate(Duration::from_secs(10)).success());

    let (original, copy) = (state_dir(&place("first")), state_dir(&place("second")));
    std::fs::create_dir_all(place("second")).unwrap();
    let copied = Command::new("cp").arg("--archive").args([&original, &copy]).status().unwrap();
    assert!(copied.success(), "{copied}");
    first.restart();
    let _second = Agent::spawn(&place("second"), watching(place("two"), &server));
    for lines in (50..300).step_by(50) {
        append(&place("one"), lines..lines + 50);
        append(&place("two"), lines..lines + 50);
        std::thread::sleep(Duration::from_millis(500));
    }
    wait_until("both sides' lines", PATIENCE, || (count("one"), count("two")) == (300.0, 250.0));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((count("one"), count("two")), (300.0, 250.0), "counted once, on both sides");
    let fenced = collector.page().sum("muster_server_batches_total", &[("outcome", "fenced")]);
    assert!(fenced >= 1.0, "nobody was fenced");
}
