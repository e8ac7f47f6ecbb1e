//! Tells a Loki project from a copy of one.
//!
//! Loki Mode's parallel mode copies a project's whole `.loki` into the worktrees `PROJECT-STREAM` beside it
//! (contracts/loki-mode.md section 1.12): pid file, events and costs are there twice. Read as a project of its own,
//! each worktree would count the project's cost once more. So it is not read.
//!
//! A state folder is a copy when its `dashboard-state.json` says that it belongs to a sibling folder that has a `.loki`
//! of its own, unless something shows a session of its own: another start than the sibling's, or another pid. A session
//! that Loki Mode starts in the worktree writes its own path there, and makes it a project. What cannot be read shows
//! nothing. A copy elsewhere than beside its original (a backup, a moved project) is a project.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The tool that copies its state.
pub(super) const TOOL: &str = "loki";

/// Largest state file that is read; it has lists of tasks in it.
const STATE_FILE_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, Default, Deserialize)]
struct DashboardState {
    #[serde(default)]
    project: Option<Project>,
    #[serde(default, rename = "startedAt")]
    started_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Project {
    path: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Orchestrator {
    #[serde(rename = "startedAt")]
    started_at: Option<String>,
}

/// Whether the Loki state in `root`, which is canonical, is a copy of a sibling's.
pub(super) fn is_copied_from_elsewhere(root: &Path) -> bool {
    let dashboard = dashboard_state(root);
    let Some(named) = dashboard.project.as_ref().and_then(|project| project.path.as_ref()) else {
        return false;
    };
    let Ok(original) = std::fs::canonicalize(named) else { return false };
    if original == root || original.parent() != root.parent() || !original.join(".loki").is_dir() {
        return false;
    }
    let starts = (started_at(root, dashboard), started_at(&original, dashboard_state(&original)));
    let pids = (pid(root), pid(&original));
    !differ(&starts) && !differ(&pids)
}

/// Both are known and they are not the same.
fn differ<T: PartialEq>(pair: &(Option<T>, Option<T>)) -> bool {
    matches!(pair, (Some(one), Some(other)) if one != other)
}

fn dashboard_state(root: &Path) -> DashboardState {
    let bytes = read_bounded(&root.join(".loki/dashboard-state.json"));
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// The project's first start; it is never reset (section 1.1). The dashboard repeats the orchestrator's.
fn started_at(root: &Path, dashboard: DashboardState) -> Option<String> {
    let bytes = read_bounded(&root.join(".loki/state/orchestrator.json"));
    let orchestrator: Option<Orchestrator> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let known = |text: Option<String>| text.filter(|text| !text.is_empty());
    known(orchestrator.and_then(|state| state.started_at)).or(known(dashboard.started_at))
}

fn pid(root: &Path) -> Option<u32> {
    let bytes = read_bounded(&root.join(".loki/loki.pid"))?;
    std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
}

fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(STATE_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
