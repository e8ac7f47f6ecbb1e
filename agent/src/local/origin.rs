//! Whose an event is that a command states in some folder.
//!
//! The project is the nearest folder at or above that is named in `[agent.projects]`, holds the state of a watched tool,
//! or is a repository. The home folder and `/` are none, however many dotfiles they hold; without a project the folder's
//! own name stands. The running agent and a command without one find the same, but for the names that the agent makes up
//! to tell two clones of one repository apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::protocol::Request;
use crate::project::{self, Machine};
use crate::sources::{ProjectContext, TOOLS};

/// How far above a folder its project is looked for.
const LEVELS_MAX: usize = 32;

/// The project that a folder belongs to. `watched` are the agent's projects, where one runs.
pub(crate) fn project_of(
    folder: &Path,
    names: &BTreeMap<PathBuf, String>,
    watched: &[ProjectContext],
    machine: &Machine,
) -> ProjectContext {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let home = muster::settings::process_environment("HOME");
    let is_home = |folder: &Path| folder.parent().is_none() || home.as_deref() == Some(folder);
    let is_project = |folder: &&Path| {
        names.contains_key(*folder)
            || !is_home(folder)
                && (folder.join(".git").exists() || TOOLS.iter().any(|tool| tool.is_in(folder)))
    };
    let root = folder.ancestors().take(LEVELS_MAX).find(is_project);
    if let Some(known) = root.and_then(|root| watched.iter().find(|project| project.root == root)) {
        return known.clone();
    }
    let place = root.unwrap_or(&folder);
    let mut found = project::context(place, names.get(place).map(String::as_str), machine);
    if root.is_none() && is_home(&folder) {
        found.name.clear();
    }
    found
}

/// The context of a request: its folder's, with what it says itself.
pub(super) fn context(
    request: &Request,
    names: &BTreeMap<PathBuf, String>,
    watched: &[ProjectContext],
    machine: &Machine,
) -> ProjectContext {
    let mut found = project_of(Path::new(&request.folder), names, watched, machine);
    // A checkout in CI has no branch, and a folder of any name.
    for (told, known) in [(&request.repository, &mut found.repository), (&request.branch, &mut found.branch)]
    {
        if known.is_empty() {
            known.clone_from(told);
        }
    }
    if let Some(name) = request.project.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
        name.clone_into(&mut found.name);
    }
    found
}
