//! Requests that a destination will never take, kept for an operator.
//!
//! ```text
//! <data_dir>/destinations/NAME/dead-letter/<time, 16 digits>-<number, 6 digits>.otlp
//! <data_dir>/destinations/NAME/retry/                what is to be tried again; the running forwarder looks every 2 s
//! ```
//!
//! A file is one line of JSON ([`Head`]), a newline, and the request as protobuf. The folder is bounded in bytes: the
//! oldest files go, and are counted. What cannot be written is counted as dropped all the same; it never holds the queue.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use muster::atomic_file::{self, Access};
use muster::clock::WallTime;
use otlp::Signal;
use serde::{Deserialize, Serialize};

use super::window::Range;

/// Bytes of dead letters that a destination may keep.
pub const DEAD_LETTER_BYTES_MAX: u64 = 64 << 20;
const SUFFIX: &str = ".otlp";
const FOLDER: &str = "dead-letter";
const RETRY_FOLDER: &str = "retry";

/// What a dead letter says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Format, 1.
    pub version: u32,
    /// When it was given up, in microseconds since the epoch.
    pub time_us: u64,
    /// What it holds.
    pub signal: Signal,
    /// How many.
    pub items: u64,
    /// Of these, those that the destination rejected.
    pub rejected: u64,
    /// Why.
    pub reason: String,
    /// It was made of what comes after this position of the journal ...
    pub after: u64,
    /// ... up to this.
    pub end: u64,
}

/// A dead letter as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its file's name without the ending.
    pub id: String,
    /// Size of its file.
    pub bytes: u64,
    /// What it says of itself.
    #[serde(flatten)]
    pub head: Head,
}

/// Why a dead letter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The disk.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not what this program writes.
    #[error("{0} is no dead letter")]
    Malformed(PathBuf),
    /// There is none of that id.
    #[error("there is no dead letter {0}")]
    Unknown(String),
}

/// The dead letters of one destination.
#[derive(Debug)]
pub struct DeadLetters {
    folder: PathBuf,
    retry_folder: PathBuf,
    bytes_max: u64,
    number: AtomicU64,
}

impl DeadLetters {
    /// Those under a destination's folder. Makes nothing.
    pub fn of(destination_folder: &Path) -> Self {
        Self::bounded(destination_folder, DEAD_LETTER_BYTES_MAX)
    }

    fn bounded(destination_folder: &Path, bytes_max: u64) -> Self {
        Self {
            folder: destination_folder.join(FOLDER),
            retry_folder: destination_folder.join(RETRY_FOLDER),
            bytes_max,
            number: AtomicU64::new(0),
        }
    }

    /// Keeps a request, and says how many others had to go.
    pub(super) fn put(&self, head: &Head, request: &[u8]) -> Result<u64, DeadLetterError> {
        make_folder(&self.folder)?;
        let bytes = encode(head, request);
        let deleted = self.make_room(bytes.len() as u64)?;
        // Unique in this process by the number, and against an earlier one by the time.
        let number = self.number.fetch_add(1, Ordering::Relaxed) % 1_000_000;
        let path = self.folder.join(format!("{:016}-{number:06}{SUFFIX}", head.time_us));
        write(&path, &bytes)?;
        Ok(deleted)
    }

    /// All of them, oldest first.
    pub fn list(&self) -> Result<Vec<Listed>, DeadLetterError> {
        let mut all = Vec::new();
        for (path, bytes) in files(&self.folder)? {
            // Deleted meanwhile by the forwarder, or no dead letter: not ours to fail on.
            let Ok((head, _)) = read(&path) else { continue };
            all.push(Listed { id: id_of(&path), bytes, head });
        }
        Ok(all)
    }

    /// Has the running forwarder try it again.
    pub fn retry(&self, id: &str) -> Result<(), DeadLetterError> {
        let path = self.path(id)?;
        let (head, request) = read(&path)?;
        make_folder(&self.retry_folder)?;
        // Written anew and then deleted: after a crash it is in both places, and may be sent twice, never lost.
        write(&self.retry_folder.join(format!("{id}{SUFFIX}")), &encode(&head, &request))?;
        remove(&path)
    }

    /// Deletes it.
    pub fn discard(&self, id: &str) -> Result<(), DeadLetterError> {
        remove(&self.path(id)?)
    }

    /// The oldest that an operator wants tried again.
    pub(super) fn next_retry(&self) -> Result<Option<(PathBuf, Head, Bytes)>, DeadLetterError> {
        for (path, _) in files(&self.retry_folder)? {
            match read(&path) {
                Ok((head, request)) => return Ok(Some((path, head, request))),
                Err(DeadLetterError::Malformed(path)) => {
                    tracing::warn!(path = %path.display(), "no dead letter; deleted");
                    remove(&path)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// A retry has ended.
    pub(super) fn retried(path: &Path) -> Result<(), DeadLetterError> {
        remove(path)
    }

    fn path(&self, id: &str) -> Result<PathBuf, DeadLetterError> {
        let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let path = self.folder.join(format!("{id}{SUFFIX}"));
        if is_id && path.is_file() { Ok(path) } else { Err(DeadLetterError::Unknown(id.to_owned())) }
    }

    fn make_room(&self, bytes: u64) -> Result<u64, DeadLetterError> {
        let files = files(&self.folder)?;
        let mut total: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        let mut deleted = 0;
        for (path, freed) in files {
            if total + bytes <= self.bytes_max {
                break;
            }
            remove(&path)?;
            total -= freed;
            deleted += 1;
        }
        Ok(deleted)
    }
}

impl Head {
    pub(super) fn new(
        at: WallTime,
        signal: Signal,
        items: u64,
        rejected: u64,
        reason: &str,
        range: Range,
    ) -> Self {
        Self {
            version: 1,
            time_us: at.0,
            signal,
            items,
            rejected,
            reason: reason.to_owned(),
            after: range.after.0,
            end: range.end.0,
        }
    }
}

fn encode(head: &Head, request: &[u8]) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(head).unwrap_or_default();
    bytes.push(b'\n');
    bytes.extend_from_slice(request);
    bytes
}

fn read(path: &Path) -> Result<(Head, Bytes), DeadLetterError> {
    let bytes = Bytes::from(fs::read(path).map_err(|source| io_error(path, source))?);
    let malformed = || DeadLetterError::Malformed(path.to_owned());
    let line = bytes.iter().position(|b| *b == b'\n').ok_or_else(malformed)?;
    let head: Head = serde_json::from_slice(&bytes[..line]).map_err(|_| malformed())?;
    Ok((head, bytes.slice(line + 1..)))
}

/// The files of a folder with their sizes, oldest first; none if there is no folder.
fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>, DeadLetterError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io_error(folder, source)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| io_error(folder, source))?;
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == &SUFFIX[1..])
            && let Ok(metadata) = entry.metadata()
        {
            files.push((path, metadata.len()));
        }
    }
    files.sort();
    Ok(files)
}

fn id_of(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DeadLetterError> {
    atomic_file::replace(path, bytes, Access::Owner).map_err(|source| io_error(path, source))
}

fn remove(path: &Path) -> Result<(), DeadLetterError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, error)),
        _ => Ok(()),
    }
}

/// Makes a folder that its owner alone can read: it holds everybody's telemetry.
pub(super) fn make_folder(path: &Path) -> Result<(), DeadLetterError> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path).map_err(|source| io_error(path, source))?;
    // A destination whose folder is gone is new, and begins at the journal's end.
    #[cfg(unix)]
    for folder in path.ancestors().skip(1).take(2) {
        fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| io_error(folder, source))?;
    }
    Ok(())
}

fn io_error(path: &Path, source: io::Error) -> DeadLetterError {
    DeadLetterError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::Position;

    fn head(time: u64) -> Head {
        let range = Range { after: Position(1), end: Position(2) };
        Head::new(WallTime(time), Signal::Logs, 3, 1, "HTTP 400", range)
    }

    #[test]
    fn the_folder_keeps_its_bound_and_counts_what_had_to_go() {
        let folder = tempfile::tempdir().expect("folder");
        let letters = DeadLetters::bounded(folder.path(), 1_000);
        let deleted: u64 = (0..5).map(|n| letters.put(&head(n), &[7; 300]).expect("written")).sum();
        let kept = letters.list().expect("readable");
        assert_eq!((deleted, kept.len()), (3, 2));
        assert_eq!(kept.iter().map(|letter| letter.head.time_us).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn a_dead_letter_that_is_tried_again_moves_and_one_that_is_dropped_is_gone() {
        let folder = tempfile::tempdir().expect("folder");
        let letters = DeadLetters::of(folder.path());
        letters.put(&head(1), b"one").expect("written");
        letters.put(&head(2), b"two").expect("written");
        let ids: Vec<_> = letters.list().expect("readable").into_iter().map(|letter| letter.id).collect();
        letters.retry(&ids[0]).expect("there");
        letters.discard(&ids[1]).expect("there");
        assert_eq!(letters.list().expect("readable"), []);
        let (path, read, request) = letters.next_retry().expect("readable").expect("one");
        assert_eq!((read, request.as_ref()), (head(1), b"one".as_slice()));
        DeadLetters::retried(&path).expect("removed");
        assert!(letters.next_retry().expect("readable").is_none());
        assert!(matches!(letters.retry("../../tokens"), Err(DeadLetterError::Unknown(_))));
    }
}
