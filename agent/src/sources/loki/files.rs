//! The shell over the file system: small files that are read again only when they changed.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use muster::clock::WallTime;

/// A file changed this shortly before we read it may change again within the same tick of its time stamp.
const RACY_US: u64 = 100_000;

/// What tells one state of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// When it was last written.
    pub written: WallTime,
    bytes: u64,
    /// Which file.
    pub identity: FileIdentity,
}

/// Which file this is, whatever its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
}

/// One look at a file.
#[derive(Debug)]
pub(super) enum Look {
    /// As at the look before.
    Same,
    /// It is not there.
    Missing,
    /// It is there but cannot be read, or is too large: what was known stays.
    Unreadable,
    /// New content.
    Content(Vec<u8>, Mark),
}

/// A small file and what it looked like when it was last read.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    bytes_max: u64,
    last: Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Never,
    Missing,
    Unreachable,
    Marked(Mark),
}

impl WatchedFile {
    /// A file that was not looked at yet.
    pub(super) fn new(path: PathBuf, bytes_max: u64) -> Self {
        Self { path, bytes_max, last: Last::Never }
    }

    /// Whether it was there at the last look.
    pub(super) fn is_there(&self) -> bool {
        self.last != Last::Missing
    }

    /// Reads it if it changed since the last look; `again` reads it in any case.
    pub(super) fn look(&mut self, now: WallTime, again: bool) -> Look {
        let mark = match fs::metadata(&self.path) {
            Ok(metadata) => mark_of(&metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let before = std::mem::replace(&mut self.last, Last::Missing);
                return if before == Last::Missing { Look::Same } else { Look::Missing };
            }
            Err(_) => {
                let before = std::mem::replace(&mut self.last, Last::Unreachable);
                return if before == Last::Unreachable { Look::Same } else { Look::Unreadable };
            }
        };
        if !again && self.last == Last::Marked(mark) {
            return Look::Same;
        }
        self.last = if is_racy(mark, now) { Last::Never } else { Last::Marked(mark) };
        match read_bounded(&self.path, self.bytes_max) {
            Ok(bytes) => Look::Content(bytes, mark),
            Err(_) => Look::Unreadable,
        }
    }
}

/// Whether a file may still change without its time stamp showing it.
pub(super) fn is_racy(mark: Mark, now: WallTime) -> bool {
    now.0.abs_diff(mark.written.0) < RACY_US
}

/// What `metadata` tells a file's states apart by.
pub(super) fn mark_of(metadata: &Metadata) -> Mark {
    Mark { written: written(metadata), bytes: metadata.len(), identity: identity_of(metadata) }
}

/// When a file was last written; the epoch where the system does not tell.
pub(super) fn written(metadata: &Metadata) -> WallTime {
    let since_epoch = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    WallTime(since_epoch.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
}

/// Which file `metadata` is of.
#[cfg(unix)]
pub(super) fn identity_of(metadata: &Metadata) -> FileIdentity {
    use std::os::unix::fs::MetadataExt;
    FileIdentity { device: metadata.dev(), inode: metadata.ino() }
}

/// Which file `metadata` is of: elsewhere the time of its creation has to do.
#[cfg(not(unix))]
pub(super) fn identity_of(metadata: &Metadata) -> FileIdentity {
    let created = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    FileIdentity { device: 0, inode: created.map_or(0, |time| time.as_nanos() as u64) }
}

/// Reads a whole regular file of at most `bytes_max`. A pipe or device is refused before it can block us.
pub(super) fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len().min(bytes_max)).unwrap_or(0));
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than is read"));
    }
    Ok(bytes)
}

/// Names in a folder, at most `names_max`; `None` when it cannot be listed.
pub(super) fn names_in(folder: &Path, names_max: usize) -> Option<Vec<String>> {
    let entries = fs::read_dir(folder).ok()?;
    Some(entries.flatten().take(names_max).filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// The mark of a path, for "did it change"; `None` when it is not there.
pub(super) fn mark(path: &Path) -> Option<Mark> {
    fs::metadata(path).ok().map(|metadata| mark_of(&metadata))
}
