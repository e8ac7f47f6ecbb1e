//! The rules, their cases and the configurations as `promtool` judges them.
//!
//! `MUSTER_TEST_PROMTOOL` names it; `scripts/test` sets it. Without it these tests skip with a visible line; in CI they
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

/// Files that the configurations take their secrets from.
const SECRETS: [&str; 3] = ["ca.pem", "proxy-password", "muster-token"];

fn promtool() -> Option<PathBuf> {
    tool("MUSTER_TEST_PROMTOOL")
}

#[track_caller]
fn run(promtool: &Path, folder: &Path, arguments: &[&str]) -> String {
    let output =
        Command::new(promtool).args(arguments).current_dir(folder).output().expect("promtool starts");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "promtool {}:\n{text}", arguments.join(" "));
    text
}

/// What would be exported, in a folder of its own.
fn exported(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&root);
    for file in dashboards::files().iter().filter(|file| file.path.starts_with("prometheus/")) {
        let path = root.join(&file.path);
        fs::create_dir_all(path.parent().expect("files lie in folders")).expect("a folder for it");
        fs::write(path, &file.content).expect("a file of its own");
    }
    root.join("prometheus")
}

fn names(folder: &Path, of: &str) -> Vec<String> {
    let entries = fs::read_dir(folder.join(of)).expect("the folder is there");
    let mut found: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.is_file())
        .map(|path| {
            path.strip_prefix(folder).expect("it lies in it").to_str().expect("plain names").to_owned()
        })
        .collect();
    found.sort();
    assert!(!found.is_empty(), "nothing in {of}");
    found
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    let Some(promtool) = promtool() else { return };
    let folder = exported("rules");
    for file in names(&folder, "rules") {
        run(&promtool, &folder, &["check", "rules", "--lint-fatal", &file]);
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_the_configurations() {
    let Some(promtool) = promtool() else { return };
    let folder = exported("configurations");
    fs::create_dir_all(folder.join("secrets")).expect("a folder for secrets");
    for name in SECRETS {
        fs::write(folder.join("secrets").join(name), "secret\n").expect("a secret");
    }
    let configurations = names(&folder, ".").into_iter().filter(|name| name.starts_with("prometheus-"));
    let mut seen = 0;
    for file in configurations {
        let text = fs::read_to_string(folder.join(&file)).expect("just written");
        fs::write(folder.join(&file), without_kubernetes(&text)).expect("a file of its own");
        let said = run(&promtool, &folder, &["check", "config", "--lint-fatal", &file]);
        assert!(said.contains("rule files found"), "{file} loads no rules:\n{said}");
        seen += 1;
    }
    assert_eq!(seen, 4);
}

/// Debian builds Prometheus without service discovery in Kubernetes: there the pods are written down, and the rest is
/// judged.
fn without_kubernetes(text: &str) -> String {
    let Some((before, block)) = text.split_once("    kubernetes_sd_configs:\n") else {
        return text.to_owned();
    };
    let (_, after) = block.split_once("    relabel_configs:\n").expect("pods are relabelled");
    format!("{before}    static_configs:\n      - targets: ['10.0.0.7:9464']\n    relabel_configs:\n{after}")
}

#[test]
fn each_rule_speaks_in_its_case_and_is_quiet_in_the_other() {
    let Some(promtool) = promtool() else { return };
    let folder = exported("cases");
    for file in names(&folder.join("tests"), ".") {
        run(&promtool, &folder.join("tests"), &["test", "rules", &file]);
    }
}

#[test]
fn each_rule_has_a_case_of_either_kind() {
    for file in dashboards::files().iter().filter(|file| file.path.starts_with("prometheus/rules/")) {
        let cases = file.path.replace("/rules/", "/tests/").replace(".yml", ".test.yml");
        let all = dashboards::files();
        let cases = all.iter().find(|file| file.path == cases).expect("cases for each file of rules");
        let count = |text: &str, word: &str| text.lines().filter(|line| line.contains(word)).count();
        let rules = count(&file.content, "- alert: ") + count(&file.content, "- record: ");
        let speaking = count(&cases.content, " fires'") + count(&cases.content, " has its value'");
        let quiet = count(&cases.content, " is quiet'") + count(&cases.content, " is absent'");
        assert!(
            rules > 0 && speaking >= rules && quiet >= rules,
            "{}: {rules} {speaking} {quiet}",
            file.path
        );
    }
}
