//! Remote configuration with the real collector and the real agent (docs/remote-configuration.md).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use support::agent::{Agent, AgentOptions};
use support::collector::{Collector, CollectorOptions, config_path};
use support::{wait_for, wait_until};

const SETTLE: Duration = Duration::from_secs(30);

fn entry(keys: &str) -> String {
    format!("[[remote_configuration]]\nname = \"ci-machines\"\nlabels = {{ kind = \"ci\" }}\n{keys}\n")
}

fn collector(folder: &Path, config: String) -> Collector {
    Collector::spawn(&folder.join("collector"), CollectorOptions { config, ..Default::default() })
}

fn agent(folder: &Path, collector: &Collector, config: &str) -> Agent {
    let project = folder.join("shop");
    std::fs::create_dir_all(project.join(".loki")).unwrap();
    let options = AgentOptions {
        watch: vec![project],
        server: Some(format!("http://{}", collector.grpc)),
        config: config.to_owned(),
        ..AgentOptions::default()
    };
    Agent::spawn(&folder.join("agent"), options)
}

const TAKES: &str = "remote_configuration = true\n[agent.labels]\nkind = \"ci\"\n";

/// The agent's row, once its configuration is in this state.
#[track_caller]
fn row(collector: &Collector, state: &str) -> Value {
    wait_for(&format!("the configuration to be {state}"), SETTLE, || {
        let row = collector.rows("/api/v1/agents").into_iter().next()?;
        (row["configuration"]["state"] == state).then_some(row)
    })
}

/// Exchanges what is asked and tells the collector.
fn ask(collector: &Collector, before: &str, after: &str) {
    let path = config_path(&collector.folder);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(before), "{text}");
    std::fs::write(&path, text.replace(before, after)).unwrap();
    collector.process.signal(Signal::HUP);
}

fn status(collector: &Collector) -> String {
    let output = support::collector::muster()
        .args(["status", "--server", &collector.http.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_offer_is_applied_changed_rolled_back_and_ended_and_people_see_each_step() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = ("intervals = { rescan_seconds = 300 }", "intervals = { rescan_seconds = 200 }");
    let third = "privacy = { withhold_identity = [\"user\", \"host\"] }";
    let collector = collector(folder.path(), entry(first));
    let agent = agent(folder.path(), &collector, TAKES);
    let applied = row(&collector, "applied");
    assert_eq!(
        (&applied["configuration"]["name"], &applied["labels"]["kind"]),
        (&"ci-machines".into(), &"ci".into())
    );
    let hash = applied["configuration"]["hash"].as_str().unwrap().to_owned();
    assert!(
        status(&collector).contains(&format!("ci-machines {} applied", &hash[..12])),
        "{}",
        status(&collector)
    );
    let checked = collector_check(&collector);
    assert!(checked.contains(&hash), "{checked} has another hash than {hash}");

    // What cannot be kept is refused, and the one before stays in force.
    let kept = agent.state_dir().join("remote_configuration.pb");
    std::fs::remove_file(&kept).unwrap();
    std::fs::create_dir_all(kept.join("in the way")).unwrap();
    ask(&collector, first, second);
    let rejected = row(&collector, "rejected");
    assert_eq!(rejected["configuration"]["hash"], hash.as_str(), "what was in force is");
    let problem = rejected["configuration"]["problem"].as_str().unwrap().to_owned();
    assert!(!problem.is_empty() && status(&collector).contains(&problem), "{}", status(&collector));
    let page = collector.page();
    assert_eq!(page.sum("muster_server_agent_configurations", &[("state", "rejected")]), 1.0);
    let audited = String::from_utf8(collector.command(&["audit", "--json"]).stdout).unwrap();
    assert!(audited.contains("remote_configuration_rejected"), "{audited}");
    std::fs::remove_dir_all(&kept).unwrap();

    ask(&collector, second, third);
    let withheld = row(&collector, "applied");
    assert_ne!(withheld["configuration"]["hash"], hash.as_str());

    // Nothing asked any more.
    ask(&collector, third, "");
    let own = row(&collector, "own");
    assert_eq!(own["configuration"]["hash"], "");
    wait_until("the file to be gone", SETTLE, || !kept.exists());
}

fn collector_check(collector: &Collector) -> String {
    let path = config_path(&collector.folder);
    let output = support::collector::muster().arg("check-config").arg(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_was_applied_is_in_force_at_the_next_start_before_the_collector_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector =
        collector(folder.path(), entry("privacy = { withhold_identity = [\"user\", \"host\"] }"));
    let mut agent = agent(folder.path(), &collector, TAKES);
    let hash = row(&collector, "applied")["configuration"]["hash"].clone();
    collector.process.kill9();
    agent.restart();
    collector.restart();
    let row = row(&collector, "applied");
    assert_eq!(row["configuration"]["hash"], hash);
    // The hello of the new process already withheld them.
    for part in ["user", "host"] {
        assert!(row[part].as_str().unwrap().starts_with("withheld"), "{row}");
    }
}

#[test]
fn an_agent_whose_file_does_not_say_so_keeps_to_its_own_file() {
    let folder = tempfile::tempdir().unwrap();
    let collector = collector(folder.path(), entry("privacy = { withhold_identity = [\"user\"] }"));
    let agent = agent(folder.path(), &collector, "[agent.labels]\nkind = \"ci\"\n");
    let row = row(&collector, "not_taken");
    assert!(!row["user"].as_str().unwrap().starts_with("withheld"), "{row}");
    assert_eq!(row["labels"], serde_json::json!({}), "labels are for the choice alone");
    assert!(!agent.state_dir().join("remote_configuration.pb").exists());
}
