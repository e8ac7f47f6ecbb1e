//! The dashboards against Grafana's own types of dashboards, panels and options (npm: @grafana/schema).

#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::path::Path;
use std::process::{Command, Output};

use muster::atomic_file::{Access, replace};

#[test]
fn every_dashboard_is_what_grafana_itself_would_write() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
    let files = dashboards::files();
    let dashboards =
        files.iter().filter_map(|file| file.path.strip_prefix("grafana/")?.strip_suffix(".json"));
    let paths: Vec<_> = dashboards.map(|name| folder.join(format!("{name}.json"))).collect();
    assert!(paths.len() >= 9);
    let Some(output) = check(&paths) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_misspelt_option_is_refused() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join("misspelt.json");
    let sound =
        dashboards::files().into_iter().find(|file| file.path == "grafana/loki-mode.json").expect("there");
    let misspelt = sound.content.replacen("\"graphMode\"", "\"graphmode\"", 1);
    assert_ne!(misspelt, sound.content);
    replace(&path, misspelt.as_bytes(), Access::Umask).expect("the target folder can be written");
    let Some(output) = check(&[path]) else { return };
    let faults = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && faults.contains("graphmode"), "{faults}");
}

/// What Grafana's types say of these files; `None` where they are not installed, which in CI is a failure.
fn check(paths: &[impl AsRef<Path>]) -> Option<Output> {
    let Some(script) = std::env::var_os("MUSTER_TEST_GRAFANA_SCHEMA") else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "MUSTER_TEST_GRAFANA_SCHEMA is not set: run scripts/install-grafana-schema"
        );
        println!(
            "SKIPPED: MUSTER_TEST_GRAFANA_SCHEMA is not set; scripts/install-grafana-schema says to what"
        );
        return None;
    };
    let mut command = Command::new("node");
    command.arg(script).args(paths.iter().map(AsRef::as_ref));
    Some(command.output().expect("node runs"))
}
