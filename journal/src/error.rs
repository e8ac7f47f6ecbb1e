//! Errors at the boundary; each variant is a decision.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::ConfigError;
use crate::record::Position;

/// Why a log was not opened. Nothing was changed, except with `Io`.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The path is there and is no folder.
    #[error("{} is not a folder: name another, or move the file away", .0.display())]
    NotADirectory(PathBuf),
    /// Another process, or another handle of this one, has it open.
    #[error("{} is in use by another process: stop it, or name another folder", .0.display())]
    Locked(PathBuf),
    /// Written by a newer version of this program.
    #[error("{} has format version {version}, newer than {supported}: use the newer program", path.display())]
    NewerVersion {
        /// The file that says so.
        path: PathBuf,
        /// Its version.
        version: u16,
        /// The newest that we read.
        supported: u16,
    },
    /// The folder or a file in it could not be read or written.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// Why a record was not appended. Nothing of it is, or ever will be, in the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Too much waits for the disk. Retry when more is durable ([`crate::Journal::subscribe`]).
    #[error("journal queue is full: retry when more is durable")]
    Full,
    /// The disk is full. Retry later: it heals when room is back.
    #[error("disk is full: retry when there is room")]
    DiskFull,
    /// A write or sync failed: nothing is acknowledged any more. Open the log anew. Whether records that were
    /// in flight are durable is not known.
    #[error("journal is poisoned: {0}; open it anew")]
    Poisoned(Cause),
    /// The record can never be appended.
    #[error("record of {bytes} bytes is larger than {max}")]
    TooLarge {
        /// Size of its frame, or of its meta.
        bytes: usize,
        /// The bound that it passes.
        max: usize,
    },
    /// There was no record.
    #[error("no record to append")]
    Empty,
    /// The log was closed.
    #[error("journal is closed")]
    Closed,
}

/// Why a reader could not go on. It stays where it is and may be asked again.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk did not give the bytes.
    #[error("cannot read {} after position {after}: {source}", path.display())]
    Io {
        /// The segment.
        path: PathBuf,
        /// The last position that was read.
        after: Position,
        /// Why.
        source: io::Error,
    },
}

/// What poisoned a log: the first failure.
#[derive(Clone, PartialEq, Eq)]
pub struct Cause(Arc<CauseParts>);

#[derive(PartialEq, Eq)]
struct CauseParts {
    what: &'static str,
    path: PathBuf,
    kind: io::ErrorKind,
    message: String,
}

impl Cause {
    pub(crate) fn new(what: &'static str, path: &Path, error: &io::Error) -> Self {
        let (path, kind, message) = (path.to_owned(), error.kind(), error.to_string());
        Self(Arc::new(CauseParts { what, path, kind, message }))
    }

    /// The kind of the failure.
    pub fn kind(&self) -> io::ErrorKind {
        self.0.kind
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.0.what, self.0.path.display(), self.0.message)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cause({self})")
    }
}

/// Whether the disk, a quota or a file system has no room.
pub(crate) fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
