//! The ways in which the watched tools write: truncate and write, temp file and rename, append.
//!
//! None of them syncs and two of the three can be caught half done. That is the point: a reader must live with it.
#![expect(clippy::disallowed_methods, reason = "writes as the watched tools write")]

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::DemoError;

/// A state directory of a tool; every path given to it is relative.
#[derive(Debug)]
pub(super) struct Tree {
    base: PathBuf,
}

impl Tree {
    /// Makes the directory and those under it.
    pub(super) fn create(base: PathBuf, folders: &[&str]) -> Result<Self, DemoError> {
        for folder in folders.iter().copied().chain([""]) {
            let path = base.join(folder);
            fs::create_dir_all(&path).map_err(|source| DemoError::Write { path, source })?;
        }
        Ok(Self { base })
    }

    /// The absolute path of a file of the tree.
    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.base.join(relative)
    }

    /// Truncates and writes: a reader can see the file empty or half written.
    pub(super) fn write(&self, relative: &str, text: &str) -> Result<(), DemoError> {
        self.at(relative, |path| fs::write(path, text))
    }

    /// Writes `text` to `temporary` and renames it over `relative`: a reader sees whole files.
    pub(super) fn write_renamed(&self, temporary: &str, relative: &str, text: &str) -> Result<(), DemoError> {
        self.write(temporary, text)?;
        self.at(relative, |path| fs::rename(self.base.join(temporary), path))
    }

    /// Appends one line with one write.
    pub(super) fn append_line(&self, relative: &str, line: &str) -> Result<(), DemoError> {
        self.at(relative, |path| {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(format!("{line}\n").as_bytes())
        })
    }

    /// Reads a file and truncates and writes it again with the same content, as a clean-up that finds nothing old.
    pub(super) fn rewrite(&self, relative: &str) -> Result<(), DemoError> {
        self.at(relative, |path| match fs::read(path) {
            Ok(content) => fs::write(path, content),
            Err(absent) if absent.kind() == ErrorKind::NotFound => Ok(()),
            Err(other) => Err(other),
        })
    }

    /// Renames inside the tree.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), DemoError> {
        self.at(from, |path| fs::rename(path, self.base.join(to)))
    }

    /// Removes a file; one that is not there is fine.
    pub(super) fn remove(&self, relative: &str) -> Result<(), DemoError> {
        self.at(relative, |path| match fs::remove_file(path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(source),
            _ => Ok(()),
        })
    }

    /// Whether a file is there.
    pub(super) fn has(&self, relative: &str) -> bool {
        self.base.join(relative).exists()
    }

    fn at(&self, relative: &str, act: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), DemoError> {
        let path = self.base.join(relative);
        act(&path).map_err(|source| DemoError::Write { path, source })
    }
}
