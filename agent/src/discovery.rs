//! Finds the projects below the watched folders, and tells which came and went.
//!
//! A watched path is a project or a folder of projects, [`Bounds::levels`] deep. Nested projects are projects; one that
//! is reached on two ways counts once, by its canonical path.
//!
//! | folder | what happens |
//! |---|---|
//! | hidden, `node_modules`, `target`, `venv`, `__pycache__` | not entered: dependencies and build output. A watched path itself may have any name |
//! | a symlink | followed; a folder that was visited is not visited again, so loops end |
//! | the home folder | no project: `~/.loki` and `~/.devloop` belong to the tools. It may be a folder of projects |
//! | unreadable, gone | named in [`Skipped`]; the rest goes on |
//! | a worktree that Loki Mode copied its state into | no Loki project: its figures are the original's; counted in [`Skipped`] |
//! | past [`Bounds::folders_max`] or [`Bounds::entries_max`] | the search ends, nearest folders first, and says so |
//!
//! A known project is lost when its tool says that it is not there, not when a search could not get to it.
//!
//! All calls block on the file system: on the runtime they belong into `spawn_blocking`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sources::{Tool, WatchedPath};

mod copies;

/// Where a search ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// How far below a watched path a project may lie.
    pub levels: usize,
    /// Most folders that are visited in one search, over all watched paths. A developer's folder of a hundred
    /// repositories has some thousand within four levels; each costs some microseconds when cached.
    pub folders_max: usize,
    /// Most names that are read in one search: a folder of a million files must not hold it up.
    pub entries_max: usize,
    /// The user's home folder, which is no project.
    pub home: Option<PathBuf>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { levels: 4, folders_max: 20_000, entries_max: 500_000, home: std::env::home_dir() }
    }
}

/// A project and the tools that keep state in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundProject {
    /// Its folder, canonical.
    pub root: PathBuf,
    /// [`Tool::name`] of each, in the order of the tools.
    pub tools: Vec<&'static str>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// By path.
    pub projects: Vec<FoundProject>,
    /// What was left out, and why.
    pub skipped: Skipped,
    /// Folders that were visited.
    pub folders_visited: usize,
}

/// What a search left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Skipped {
    /// Watched paths that are not there (yet).
    pub missing: Vec<PathBuf>,
    /// Folders that could not be read: how many.
    pub unreadable: usize,
    /// The first of them, [`UNREADABLE_NAMED_MAX`] at most.
    pub unreadable_first: Vec<PathBuf>,
    /// Loki Mode's copies of a project's state in its worktrees.
    pub worktree_copies: BTreeSet<PathBuf>,
    /// The search ended at a bound: there may be projects that it did not get to.
    pub is_cut_short: bool,
}

/// Most unreadable folders that are named; they go into a log line.
pub const UNREADABLE_NAMED_MAX: usize = 8;
/// Most folders in which [`Discovery::watched_paths`] waits for a tool's state folder to appear.
pub const CANDIDATES_MAX: usize = 256;

/// Folders that hold others' code and build output, never projects of one's own.
const NEVER_ENTERED: [&str; 4] = ["node_modules", "target", "venv", "__pycache__"];

/// Searches `roots` for projects of `tools`.
pub fn find_projects(roots: &[PathBuf], tools: &[&dyn Tool], bounds: &Bounds) -> Found {
    let mut search = Search::new(tools, bounds);
    for root in roots {
        search.begin_at(root);
    }
    search.run();
    search.found
}

/// The known projects, kept up to date.
#[derive(Debug)]
pub struct Discovery {
    roots: Vec<PathBuf>,
    bounds: Bounds,
    known: BTreeMap<PathBuf, BTreeSet<&'static str>>,
    waited_for: BTreeSet<WatchedPath>,
}

/// What changed from one search to the next. A project with two tools may gain and lose each by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rescanned {
    /// Tools that were not known, by project.
    pub added: Vec<FoundProject>,
    /// Tools that are gone, by project.
    pub lost: Vec<FoundProject>,
    /// What the search left out.
    pub skipped: Skipped,
}

impl Discovery {
    /// Knows nothing yet.
    pub fn new(roots: Vec<PathBuf>, bounds: Bounds) -> Self {
        Self { roots, bounds, known: BTreeMap::new(), waited_for: BTreeSet::new() }
    }

    /// Searches again and tells what came and what went.
    pub fn rescan(&mut self, tools: &[&dyn Tool]) -> Rescanned {
        let mut search = Search::new(tools, &self.bounds);
        for root in &self.roots {
            search.begin_at(root);
        }
        search.run();
        let Search { found, candidates, .. } = search;
        let mut now: BTreeMap<PathBuf, BTreeSet<&'static str>> = found
            .projects
            .into_iter()
            .map(|project| (project.root, project.tools.into_iter().collect()))
            .collect();
        // A search that was cut short or met a closed door must not end the sources behind it.
        if found.skipped.is_cut_short || found.skipped.unreadable > 0 {
            self.keep_unseen(&mut now, tools, &found.skipped);
        }
        let added = difference(&now, &self.known, tools);
        let lost = difference(&self.known, &now, tools);
        self.known = now;
        self.wait_for(tools, &candidates, &found.skipped);
        Rescanned { added, lost, skipped: found.skipped }
    }

    /// The known projects, by path.
    pub fn projects(&self, tools: &[&dyn Tool]) -> Vec<FoundProject> {
        difference(&self.known, &BTreeMap::new(), tools)
    }

    /// What should wake the next rescan before its time: where state folders may appear, in known projects and in and
    /// one level below the watched paths; [`CANDIDATES_MAX`] folders at most, the rest waits for the slow rescan. A
    /// watched path that is no project itself is watched for new folders too.
    ///
    /// State folders that are known are not among them, since every write in them would wake a search: that one is
    /// gone is told to its source. As of the last rescan.
    pub fn watched_paths(&self) -> &BTreeSet<WatchedPath> {
        &self.waited_for
    }

    fn wait_for(&mut self, tools: &[&dyn Tool], candidates: &BTreeSet<PathBuf>, skipped: &Skipped) {
        let is_there = |folder: &Path, tool: &dyn Tool| {
            let known = self.known.get(folder).is_some_and(|known| known.contains(tool.name()));
            known || (copies::TOOL == tool.name() && skipped.worktree_copies.contains(folder))
        };
        let home = self.bounds.home.as_ref().and_then(|home| std::fs::canonicalize(home).ok());
        let is_home = |folder: &Path| home.as_deref() == Some(folder);
        let mut paths = BTreeSet::new();
        let folders: BTreeSet<&PathBuf> = self.known.keys().chain(candidates).take(CANDIDATES_MAX).collect();
        for folder in folders.into_iter().filter(|folder| !is_home(folder)) {
            let absent = tools.iter().filter(|tool| !is_there(folder, **tool));
            paths.extend(absent.map(|tool| WatchedPath(folder.join(tool.state_folder()))));
        }
        for root in &self.roots {
            match std::fs::canonicalize(root) {
                // A project's own files, and a home's, change all the time.
                Ok(canonical) if self.known.contains_key(&canonical) || is_home(&canonical) => {}
                _ => {
                    paths.insert(WatchedPath(root.clone()));
                }
            }
        }
        self.waited_for = paths;
    }

    fn keep_unseen(
        &self,
        now: &mut BTreeMap<PathBuf, BTreeSet<&'static str>>,
        tools: &[&dyn Tool],
        skipped: &Skipped,
    ) {
        for (root, known) in &self.known {
            for tool in tools.iter().filter(|tool| known.contains(tool.name())) {
                let is_copy = skipped.worktree_copies.contains(root) && copies::TOOL == tool.name();
                if !is_copy && tool.is_in(root) {
                    now.entry(root.clone()).or_default().insert(tool.name());
                }
            }
        }
    }
}

/// The tools of `these` that `those` has not.
fn difference(
    these: &BTreeMap<PathBuf, BTreeSet<&'static str>>,
    those: &BTreeMap<PathBuf, BTreeSet<&'static str>>,
    tools: &[&dyn Tool],
) -> Vec<FoundProject> {
    let only_here = |root: &Path, names: &BTreeSet<&'static str>| -> Vec<&'static str> {
        let others = those.get(root);
        let is_new =
            |name: &&'static str| names.contains(name) && !others.is_some_and(|names| names.contains(name));
        tools.iter().map(|tool| tool.name()).filter(is_new).collect()
    };
    these
        .iter()
        .map(|(root, names)| FoundProject { root: root.clone(), tools: only_here(root, names) })
        .filter(|project| !project.tools.is_empty())
        .collect()
}

/// A search breadth first, so that a bound cuts off what is farthest away.
struct Search<'a> {
    tools: &'a [&'a dyn Tool],
    bounds: &'a Bounds,
    home: Option<PathBuf>,
    waiting: VecDeque<(PathBuf, usize)>,
    /// Projects that were named by their state folder: looked at last, and not entered.
    alone: Vec<PathBuf>,
    visited: BTreeSet<(u64, u64)>,
    entries_read: usize,
    /// Folders at most one level down, where a project may begin.
    candidates: BTreeSet<PathBuf>,
    found: Found,
}

impl<'a> Search<'a> {
    fn new(tools: &'a [&'a dyn Tool], bounds: &'a Bounds) -> Self {
        let home = bounds.home.as_ref().and_then(|home| std::fs::canonicalize(home).ok());
        Self {
            tools,
            bounds,
            home,
            waiting: VecDeque::new(),
            alone: Vec::new(),
            visited: BTreeSet::new(),
            entries_read: 0,
            candidates: BTreeSet::new(),
            found: Found::default(),
        }
    }

    fn begin_at(&mut self, root: &Path) {
        let is_state_folder =
            self.tools.iter().any(|tool| root.file_name() == Some(tool.state_folder().as_os_str()));
        // Whoever names the state folder (as LOKI_DIR does) means the project around it, and no more.
        let project = root.parent().filter(|_| is_state_folder);
        match std::fs::canonicalize(project.unwrap_or(root)) {
            Ok(folder) if project.is_some() => self.alone.push(folder),
            Ok(folder) => self.waiting.push_back((folder, 0)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.found.skipped.missing.push(root.to_owned());
            }
            Err(_) => self.found.skipped.unreadable(root),
        }
    }

    fn run(&mut self) {
        while let Some((folder, level)) = self.waiting.pop_front() {
            if self.found.folders_visited >= self.bounds.folders_max
                || self.entries_read >= self.bounds.entries_max
            {
                self.found.skipped.is_cut_short = true;
                break;
            }
            self.visit(&folder, level);
        }
        for folder in std::mem::take(&mut self.alone) {
            self.visit(&folder, self.bounds.levels);
        }
        self.found.projects.sort_unstable();
    }

    fn visit(&mut self, folder: &Path, level: usize) {
        match std::fs::metadata(folder) {
            Ok(metadata) if !metadata.is_dir() => return,
            Ok(metadata) => {
                if !self.visited.insert((metadata.dev(), metadata.ino())) {
                    return;
                }
            }
            // Gone since its name was read.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(_) => return self.found.skipped.unreadable(folder),
        }
        self.found.folders_visited += 1;
        if level <= 1 && self.candidates.len() < CANDIDATES_MAX {
            self.candidates.insert(folder.to_owned());
        }
        self.look_for_tools(folder);
        if level < self.bounds.levels {
            self.enter(folder, level + 1);
        }
    }

    fn look_for_tools(&mut self, folder: &Path) {
        if self.home.as_deref() == Some(folder) {
            return;
        }
        let mut tools: Vec<&'static str> =
            self.tools.iter().filter(|tool| tool.is_in(folder)).map(|tool| tool.name()).collect();
        if tools.contains(&copies::TOOL) && copies::is_copied_from_elsewhere(folder) {
            tools.retain(|tool| *tool != copies::TOOL);
            self.found.skipped.worktree_copies.insert(folder.to_owned());
        }
        if !tools.is_empty() {
            self.found.projects.push(FoundProject { root: folder.to_owned(), tools });
        }
    }

    fn enter(&mut self, folder: &Path, level: usize) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return self.found.skipped.unreadable(folder);
        };
        // The order in which a file system gives names differs from call to call; at a bound it must not matter.
        let mut folders = Vec::new();
        for entry in entries {
            if self.entries_read >= self.bounds.entries_max {
                self.found.skipped.is_cut_short = true;
                break;
            }
            self.entries_read += 1;
            let Ok(entry) = entry else {
                self.found.skipped.unreadable(folder);
                break;
            };
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name();
            let is_hidden = name.as_encoded_bytes().first() == Some(&b'.');
            if !(kind.is_dir() || kind.is_symlink())
                || is_hidden
                || NEVER_ENTERED.iter().any(|never| name == *never)
            {
                continue;
            }
            let path = entry.path();
            match kind.is_symlink() {
                false => folders.push(path),
                // To a file, to nothing or to itself: there is no project there.
                true => folders.extend(std::fs::canonicalize(path).ok().filter(|target| target.is_dir())),
            }
        }
        folders.sort_unstable();
        let room = self.bounds.folders_max.saturating_sub(self.waiting.len());
        self.found.skipped.is_cut_short |= folders.len() > room;
        self.waiting.extend(folders.into_iter().take(room).map(|folder| (folder, level)));
    }
}

impl Skipped {
    fn unreadable(&mut self, folder: &Path) {
        self.unreadable += 1;
        if self.unreadable_first.len() < UNREADABLE_NAMED_MAX {
            self.unreadable_first.push(folder.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
