//! The example for Alertmanager as Alertmanager's own `amtool` judges it.
//!
//! `MUSTER_TEST_AMTOOL` names it; `scripts/test` sets it. Without it these tests skip with a visible line; in CI they
//! fail.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test: its files are its own, and skipping is said"
)]

#[path = "../../tests/support/tool.rs"]
mod tool;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tool::tool;

const FILE: &str = "alertmanager.yml";

fn amtool() -> Option<PathBuf> {
    tool("MUSTER_TEST_AMTOOL")
}

/// Whether it ended well, and what it said.
fn run(amtool: &Path, folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(amtool).args(arguments).current_dir(folder).output().expect("amtool starts");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The file as it would be exported, in a folder of its own, and its text.
fn exported(name: &str) -> (PathBuf, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for it");
    let files = dashboards::files();
    let file = files.iter().find(|file| file.path == format!("prometheus/{FILE}")).expect("it is shipped");
    fs::write(folder.join(FILE), &file.content).expect("a file of its own");
    (folder, file.content.clone())
}

/// What a notification of one alert gives to a template.
const NOTIFICATION: &str = r#"{
  "receiver": "on-call", "status": "firing", "externalURL": "http://localhost:9093",
  "alerts": [{
    "status": "firing", "labels": { "alertname": "LokiBudgetCritical", "severity": "critical" },
    "annotations": { "summary": "the summary", "description": "the description", "runbook_url": "the runbook" },
    "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2026-01-01T00:10:00Z", "generatorURL": "", "fingerprint": "0"
  }],
  "groupLabels": { "alertname": "LokiBudgetCritical" },
  "commonLabels": { "alertname": "LokiBudgetCritical", "severity": "critical" },
  "commonAnnotations": { "runbook_url": "the runbook" }
}"#;

#[test]
fn amtool_takes_the_example_and_refuses_the_guides() {
    let Some(amtool) = amtool() else { return };
    let (folder, text) = exported("amtool-check");
    let (ok, said) = run(&amtool, &folder, &["check-config", FILE]);
    assert!(ok && said.contains("SUCCESS"), "{said}");
    // What `cat >> alertmanager.yml` in the guide makes: a second key of that name.
    fs::write(folder.join("twice.yml"), format!("{text}\nreceivers:\n  - name: slack\n")).expect("written");
    let (ok, said) = run(&amtool, &folder, &["check-config", "twice.yml"]);
    assert!(!ok && said.contains("receivers"), "{said}");
}

#[test]
fn alerts_go_to_whom_the_documentation_says() {
    let Some(amtool) = amtool() else { return };
    let (folder, _) = exported("amtool-routes");
    for (labels, receiver) in [
        (&["severity=critical", "environment=production"][..], "on-call"),
        (&["severity=critical"], "on-call"),
        (&["severity=critical", "environment=staging"], "tickets"),
        (&["severity=critical", "environment=development"], "tickets"),
        (&["severity=warning", "environment=production"], "tickets"),
        (&["severity=info", "environment=production"], "log"),
    ] {
        let file = format!("--config.file={FILE}");
        let arguments = [&["config", "routes", "test", file.as_str()], labels].concat();
        let (ok, said) = run(&amtool, &folder, &arguments);
        assert!(
            ok && said.lines().any(|line| line == receiver),
            "{labels:?} should go to {receiver}: {said}"
        );
    }
}

#[test]
fn every_text_of_a_notification_can_be_filled_in() {
    let Some(amtool) = amtool() else { return };
    let (folder, text) = exported("amtool-templates");
    fs::write(folder.join("none.tmpl"), "").expect("written");
    fs::write(folder.join("notification.json"), NOTIFICATION).expect("written");
    let fill = |template: &str| {
        let template = format!("--template.text={template}");
        let data = "--template.data=notification.json";
        run(&amtool, &folder, &["template", "render", "--template.glob=none.tmpl", data, &template])
    };
    let quoted = |line: &str| Some(line.split_once(": '")?.1.strip_suffix('\'')?.to_owned());
    let templates: Vec<_> = text.lines().filter(|line| line.contains("{{")).filter_map(quoted).collect();
    assert!(templates.len() >= 6, "{templates:?}");
    for template in templates {
        let (ok, said) = fill(&template);
        let fills = ["LokiBudgetCritical", "critical", "the summary", "the description", "the runbook"];
        assert!(ok && fills.iter().any(|text| said.contains(text)), "{template}: {said}");
    }
    // The guide's: a notification has no such field.
    let (ok, said) = fill("{{ .Annotations.description }}");
    assert!(!ok, "{said}");
}
