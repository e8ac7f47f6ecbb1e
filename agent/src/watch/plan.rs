//! Which folders must be watched so that every wanted path is heard.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::MISSING_LEVELS_MAX;
use crate::sources::WatchedPath;

/// A folder whatever its path: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FolderId {
    device: u64,
    inode: u64,
}

/// A folder in which something is to be heard: one name, or everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interest {
    id: FolderId,
    folder: PathBuf,
    name: Option<OsString>,
}

/// Who is to be told of what happens in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Route {
    /// Of everything in it.
    pub whole: BTreeSet<WatchedPath>,
    /// Of one name in it.
    pub names: BTreeMap<OsString, BTreeSet<WatchedPath>>,
}

impl Route {
    /// Everybody who is interested in this folder at all.
    pub fn everybody(&self) -> impl Iterator<Item = &WatchedPath> {
        self.whole.iter().chain(self.names.values().flatten())
    }
}

/// The folders to watch, each once, and their routes.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub folders: BTreeMap<PathBuf, FolderId>,
    pub routes: BTreeMap<PathBuf, Route>,
}

impl Plan {
    /// For these entries. Of several paths to one folder the one that is watched already is kept, else the first.
    pub fn new(
        entries: &BTreeMap<WatchedPath, Vec<Interest>>,
        watched: &BTreeMap<PathBuf, FolderId>,
    ) -> Self {
        let mut path_of: BTreeMap<FolderId, &Path> = BTreeMap::new();
        for interest in entries.values().flatten() {
            let is_watched = watched.get(&interest.folder) == Some(&interest.id);
            let path = path_of.entry(interest.id).or_insert(&interest.folder);
            if is_watched {
                *path = &interest.folder;
            }
        }
        let mut plan = Self::default();
        for (path, interest) in
            entries.iter().flat_map(|(path, needs)| needs.iter().map(move |need| (path, need)))
        {
            let folder = path_of[&interest.id];
            plan.folders.insert(folder.to_owned(), interest.id);
            let route = plan.routes.entry(folder.to_owned()).or_default();
            let told = match &interest.name {
                Some(name) => route.names.entry(name.clone()).or_default(),
                None => &mut route.whole,
            };
            told.insert(path.clone());
        }
        plan
    }

    /// The paths that hear through `folder`.
    pub fn paths_of(&self, folder: &Path) -> impl Iterator<Item = WatchedPath> {
        self.routes.get(folder).into_iter().flat_map(|route| route.everybody().cloned())
    }
}

/// What must be heard for `path`, as the file system is now. Empty if nothing near it exists.
pub(super) fn interests(path: &Path) -> Vec<Interest> {
    let is_link = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    let mut found = Vec::new();
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            found.extend(whole(path));
            if is_link {
                found.extend(named(path));
            }
        }
        Ok(_) => {
            found.extend(named(path));
            if is_link {
                found.extend(std::fs::canonicalize(path).ok().as_deref().and_then(named));
            }
        }
        // Missing, or not ours to look at: wait for the first missing name to appear.
        Err(_) => found.extend(path.ancestors().take(MISSING_LEVELS_MAX).find_map(named)),
    }
    found
}

fn whole(folder: &Path) -> Option<Interest> {
    let folder = std::fs::canonicalize(folder).ok()?;
    let metadata = std::fs::metadata(&folder).ok()?;
    let id = FolderId { device: metadata.dev(), inode: metadata.ino() };
    metadata.is_dir().then_some(Interest { id, folder, name: None })
}

fn named(path: &Path) -> Option<Interest> {
    let name = path.file_name()?.to_owned();
    Some(Interest { name: Some(name), ..whole(path.parent()?)? })
}
