//! How many files DevLoop watches: a slow walk in small pieces.
//!
//! DevLoop does not say. Its rule is known: everything below the project whose path has none of [`IGNORED`] anywhere in
//! it. The walk runs on rescans alone and at most every [`INTERVAL`], looks at [`ENTRIES_A_STEP`] entries a step,
//! follows no links, and gives up over [`ENTRIES_MAX`] entries.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::clock::Monotonic;

/// Parts of a path that DevLoop ignores, wherever they are in it.
const IGNORED: [&str; 6] = [".git", "__pycache__", ".devloop", "node_modules", ".venv", "venv"];
/// Time between two walks.
const INTERVAL: Duration = Duration::from_secs(600);
/// Entries looked at in one step: a few milliseconds.
const ENTRIES_A_STEP: usize = 4_000;
/// Entries after which a walk gives up.
const ENTRIES_MAX: usize = 200_000;

/// The walk through one project.
#[derive(Debug, Default)]
pub(super) struct WatchedFiles {
    last: Option<Monotonic>,
    folders: Vec<PathBuf>,
    walking: bool,
    entries: usize,
    files: u64,
}

/// What a piece of the walk gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// It is not time.
    Idle,
    /// Go on.
    Going,
    /// All files were counted.
    Counted(u64),
}

impl WatchedFiles {
    /// Walks on, or begins when `rescan` and it is time.
    pub(super) fn step(&mut self, root: &Path, rescan: bool, now: Monotonic) -> Walk {
        if !self.walking {
            let is_time = self.last.is_none_or(|last| now.0.saturating_sub(last.0) >= INTERVAL);
            if !rescan || !is_time {
                return Walk::Idle;
            }
            *self =
                Self { last: Some(now), folders: vec![root.to_owned()], walking: true, ..Self::default() };
        }
        let end = self.entries + ENTRIES_A_STEP;
        while self.entries < end {
            let Some(folder) = self.folders.pop() else {
                self.walking = false;
                return Walk::Counted(self.files);
            };
            self.look_into(&folder);
            if self.entries > ENTRIES_MAX {
                self.walking = false;
                self.folders = Vec::new();
                return Walk::Idle;
            }
        }
        Walk::Going
    }

    fn look_into(&mut self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return;
            }
            let path = entry.path();
            let text = path.to_string_lossy();
            if IGNORED.iter().any(|ignored| text.contains(ignored)) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.folders.push(path),
                Ok(kind) if kind.is_file() => self.files += 1,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_folders_and_links_are_left_out() {
        let root = tempfile::Builder::new().prefix("project").tempdir().expect("a folder");
        for folder in ["src", ".git", "web/node_modules/x"] {
            fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        for file in ["a.py", "src/b.py", ".git/config", "web/node_modules/x/c.js"] {
            fs::File::create(root.path().join(file)).expect("a file");
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.path(), root.path().join("src/loop")).expect("a link");
        let mut walk = WatchedFiles::default();
        assert_eq!(walk.step(root.path(), false, Monotonic::default()), Walk::Idle);
        assert_eq!(walk.step(root.path(), true, Monotonic::default()), Walk::Counted(2));
        assert_eq!(walk.step(root.path(), true, Monotonic(Duration::from_secs(60))), Walk::Idle);
    }
}
