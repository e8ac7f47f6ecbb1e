//! The real agent against the real collector: from the token to events that are counted once, over certificates that end
//! every few seconds.

use std::time::{Duration, Instant};

use super::{collector, said, token};
use crate::support::agent::{Agent, AgentOptions, state_dir};
use crate::support::collector::muster;
use crate::support::live_project::line;
use crate::support::wait_until;

const PATIENCE: Duration = Duration::from_secs(40);

fn append(project: &std::path::Path, numbers: std::ops::Range<u64>) {
    use std::io::Write;
    std::fs::create_dir_all(project.join(".loki")).unwrap();
    let log = project.join(".loki/events.jsonl");
    let mut log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    numbers.for_each(|number| log.write_all(line(number, 10).as_bytes()).unwrap());
}

/// Row D2: certificates rotate under load and nothing is lost; then the agent is revoked.
#[test]
fn the_agent_enrols_by_fingerprint_renews_under_load_and_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, _) = collector(&folder.path().join("collector"), 8);
    let once = token(&collector, &["--enroll"]);
    let shown: serde_json::Value =
        serde_json::from_str(&said(&collector, &["authority", "show", "--json"])).unwrap();
    let token_file = folder.path().join("enroll.token");
    muster::atomic_file::replace(&token_file, once.as_bytes(), muster::atomic_file::Access::Owner).unwrap();
    let server = format!("https://localhost:{}", collector.grpc.port());
    let agent_folder = folder.path().join("agent");
    let enrol = |fingerprint: &str| {
        let mut command = muster();
        command.args([
            "agent",
            "enroll",
            "--server",
            &server,
            "--name",
            "danas",
            "--json",
            "--ca-fingerprint",
            fingerprint,
        ]);
        command.arg("--enroll-token-file").arg(&token_file).arg("--state-dir").arg(state_dir(&agent_folder));
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
    assert_eq!(super::agents(&collector)[0]["serial"], told["serial"]);

    let options = AgentOptions {
        watch: vec![folder.path().join("shop")],
        server: Some(server.clone()),
        config: "rescan_interval_seconds = 5\n".to_owned(),
        ..AgentOptions::default()
    };
    append(&folder.path().join("shop"), 0..10);
    let agent = Agent::spawn(&agent_folder, options);
    let (began, mut lines) = (Instant::now(), 10);
    while began.elapsed() < Duration::from_secs(30) {
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
    assert!(renewed >= 3.0, "{renewed} renewals in 30 s of certificates of 8 s");

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
