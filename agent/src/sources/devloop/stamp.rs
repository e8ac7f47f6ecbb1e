//! What the file system tells about a file without opening it.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use muster::clock::WallTime;

/// A file's identity, size and time of change. Two equal stamps mean the same content, unless the file was changed
/// within [`RACY_US`] before it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Its size.
    pub bytes: u64,
    /// When it was changed.
    pub modified: WallTime,
    /// Device and inode; zeros where the system has none.
    pub identity: Identity,
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Identity {
    pub device: u64,
    pub inode: u64,
}

/// A file can change again within this time without its time of change showing it.
const RACY_US: u64 = 50_000;

impl Stamp {
    /// The stamp of the file at `path`; `None` when there is no file.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(Self::from_metadata(&metadata))),
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The stamp of an open file.
    pub(super) fn from_metadata(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified_us = modified.and_then(|since| u64::try_from(since.as_micros()).ok()).unwrap_or(0);
        Self { bytes: metadata.len(), modified: WallTime(modified_us), identity: identity(metadata) }
    }

    /// Changed so shortly before (or after) `now` that an equal stamp may later hide another change.
    pub(super) fn is_racy(&self, now: WallTime) -> bool {
        now.0.abs_diff(self.modified.0) < RACY_US
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    Identity { device: metadata.dev(), inode: metadata.ino() }
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {
    Identity::default()
}
