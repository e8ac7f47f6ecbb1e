//! `muster-agent` stays slim: nothing of the collector comes into it. Its size is checked where it is built to be handed
//! out, by `scripts/package`.

#![allow(clippy::disallowed_methods, reason = "a test: it runs cargo")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What only the collector needs, and what would make the agent several times as large.
const OF_THE_COLLECTOR: [&str; 7] =
    ["server", "history", "dashboards", "parquet", "object_store", "reqwest", "comfy-table"];

/// The crates that are linked into `muster-agent`.
fn crates() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(env!("CARGO"));
    command.args(["tree", "--offline", "--locked", "--package", "agent", "--edges", "normal"]);
    command.args(["--prefix", "none", "--format", "{p}"]);
    let output = command.current_dir(root).output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("names of crates");
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn the_agent_has_no_code_of_the_collector() {
    let crates = crates();
    assert!(crates.contains("journal") && crates.contains("tonic"), "a tree that says something: {crates:?}");
    let strangers: Vec<_> = crates
        .iter()
        .filter(|name| OF_THE_COLLECTOR.contains(&name.as_str()) || name.starts_with("arrow"))
        .collect();
    assert!(strangers.is_empty(), "`cargo tree -p agent -e normal -i NAME` tells what brings {strangers:?}");
}
