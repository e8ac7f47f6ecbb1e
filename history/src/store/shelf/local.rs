//! A folder whose files are whole and on disk before anybody is told of them.
//!
//! A file is written under `_unfinished/`, synced, and renamed to its place; then its folder is synced, and so is every
//! folder that had to be made. What a crash leaves under `_unfinished/` goes at the next opening.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use journal::failpoint::failpoint;
use object_store::path::Path;

use crate::store::name::{CORRUPT, UNFINISHED};

#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    next: AtomicU64,
}

impl Folder {
    pub(super) fn open(root: &FilePath) -> io::Result<Self> {
        make_folders(root)?;
        Ok(Self { root: root.to_owned(), next: AtomicU64::new(0) })
    }

    /// Puts a file in its place, durably.
    pub(super) fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let target = self.file_path(path);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.root.join(UNFINISHED).join(number.to_string());
        make_folders(parent(&unfinished)?)?;
        let written = write_synced(&unfinished, bytes).and_then(|()| move_durably(&unfinished, &target));
        if written.is_err() {
            // A full disk gets its room back; what cannot be removed goes at the next opening.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    /// Moves a file to `_corrupt/`, under the path that it had.
    pub(super) fn set_aside(&self, path: &Path) -> io::Result<()> {
        match move_durably(&self.file_path(path), &self.root.join(CORRUPT).join(path.as_ref())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn file_path(&self, path: &Path) -> PathBuf {
        self.root.join(path.as_ref())
    }
}

fn write_synced(path: &FilePath, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let (half, rest) = bytes.split_at(bytes.len() / 2);
    file.write_all(half)?;
    failpoint("history-mid-file");
    file.write_all(rest)?;
    file.sync_all()
}

#[expect(clippy::disallowed_methods, reason = "the file is synced before, the folder after")]
fn move_durably(from: &FilePath, to: &FilePath) -> io::Result<()> {
    make_folders(parent(to)?)?;
    fs::rename(from, to)?;
    File::open(parent(to)?)?.sync_all()
}

/// Makes a folder and those above it; each that was made is on disk.
fn make_folders(path: &FilePath) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        make_folders(above)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        // Everybody's telemetry is its owner's alone.
        builder.mode(0o700);
    }
    match builder.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        made => made?,
    }
    File::open(above.unwrap_or(FilePath::new(".")))?.sync_all()
}

fn parent(path: &FilePath) -> io::Result<&FilePath> {
    path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_put_is_there_and_leaves_nothing_unfinished() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let folder = Folder::open(&root.path().join("a/b"))?;
        folder.put(&Path::from("x/y/z"), b"one")?;
        folder.put(&Path::from("x/y/z"), b"two")?;
        assert_eq!(fs::read(root.path().join("a/b/x/y/z"))?, b"two");
        assert_eq!(fs::read_dir(root.path().join("a/b").join(UNFINISHED))?.count(), 0);
        Ok(())
    }

    #[test]
    fn a_file_that_is_set_aside_keeps_its_path_under_another_root() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let folder = Folder::open(root.path())?;
        folder.put(&Path::from("x/y"), b"one")?;
        folder.set_aside(&Path::from("x/y"))?;
        assert_eq!(fs::read(root.path().join(CORRUPT).join("x/y"))?, b"one");
        // Twice is no error: whoever found it first has moved it.
        folder.set_aside(&Path::from("x/y"))
    }
}
