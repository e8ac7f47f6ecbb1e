//! The shell around `events.jsonl`: which file to read next, through rotation, replacement, truncation and deletion.
//!
//! The file is held open, so that what was written just before it was renamed or deleted is still read. After a
//! restart it is known again by its inode or, where it was restored from a copy, by its first bytes.
//!
//! | found | done |
//! |---|---|
//! | renamed to `events.jsonl.1` | its tail is read, then the new file from its start |
//! | another file with the same first bytes, at least as long (restored, edited in place) | read on at the same offset |
//! | the same first bytes, but shorter (rolled back) | read on at its end: its records are known |
//! | another file | read from its start |
//! | first sight | read from its start; an old `events.jsonl.1` is left alone, as the real endpoint leaves it |

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use muster::clock::WallTime;
use sha2::{Digest, Sha256};

use super::events_log::{Cursors, RECORD_BYTES_MAX};
use super::files::{self, FileIdentity, Mark};

/// Most bytes of the log that one step reads.
const CHUNK_BYTES_MAX: usize = 512 * 1024;
const _: () = assert!(CHUNK_BYTES_MAX > 2 * RECORD_BYTES_MAX, "a chunk holds at least one whole record");
/// The first bytes of a log tell it from another: they hold its first time stamps.
const HEAD_BYTES_MAX: u64 = 1024;

/// Where we are in the log, to find it again after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct LogPlace {
    /// How far it was read.
    pub cursors: Cursors,
    identity: Option<FileIdentity>,
    head: Head,
}

/// The first bytes of the log, as a hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Head {
    bytes: u64,
    hash: u64,
}

/// Bytes that begin at `cursors.parsed`.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The file ended here when it was read.
    pub at_end: bool,
    /// The log was renamed or replaced since: after this file there is another one.
    pub more_files: bool,
}

/// The log and the file that is open.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    open: Option<File>,
    /// Where we are.
    pub place: LogPlace,
    /// How the file looked when it was last read to its end.
    exhausted: Option<Mark>,
}

impl LogFile {
    /// The log at `path`, read up to `place`.
    pub(super) fn new(path: PathBuf, place: LogPlace) -> Self {
        Self { path, open: None, place, exhausted: None }
    }

    /// The next bytes, or `None` when nothing is new.
    pub(super) fn next_chunk(&mut self, now: WallTime) -> io::Result<Option<Chunk>> {
        if self.open.is_none() && !self.open_file()? {
            return Ok(None);
        }
        let Some(file) = self.open.as_mut() else { return Ok(None) };
        let metadata = file.metadata()?;
        let mark = files::mark_of(&metadata);
        let current = match fs::metadata(&self.path) {
            Ok(current) => Some(files::identity_of(&current)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let replaced = current != self.place.identity;
        if self.exhausted == Some(mark) {
            if !replaced {
                return Ok(None);
            }
            self.leave_file();
            return if current.is_some() && self.open_file()? { self.next_chunk(now) } else { Ok(None) };
        }
        self.check_content(metadata.len())?;
        let chunk = self.read_chunk(metadata.len())?;
        self.exhausted = (chunk.at_end && (replaced || !files::is_racy(mark, now))).then_some(mark);
        Ok(Some(Chunk { more_files: replaced && current.is_some(), ..chunk }))
    }

    /// Says that the chunk was not read to its end, so that the next one is asked for again.
    pub(super) fn stopped_early(&mut self) {
        self.exhausted = None;
    }

    /// Opens the file to read next; false when there is none.
    fn open_file(&mut self) -> io::Result<bool> {
        self.exhausted = None;
        let rotated = rotated_path(&self.path);
        if let Some(file) = self.try_open(&rotated)?
            && self.place.identity == Some(files::identity_of(&file.metadata()?))
            && self.has_head(&file)?
        {
            self.open = Some(file);
            return Ok(true);
        }
        let Some(file) = self.try_open(&self.path)? else { return Ok(false) };
        let metadata = file.metadata()?;
        if self.place.identity.is_some() && !self.has_head(&file)? {
            self.place = LogPlace::default();
        }
        self.place.identity = Some(files::identity_of(&metadata));
        self.open = Some(file);
        Ok(true)
    }

    /// The file was read to its end and is not the log any more. What it left torn nobody completes.
    fn leave_file(&mut self) {
        self.open = None;
        self.exhausted = None;
        let rotated = files::mark(&rotated_path(&self.path)).map(|mark| mark.identity);
        if rotated.is_some() && rotated == self.place.identity {
            self.place = LogPlace::default();
        }
    }

    fn try_open(&self, path: &Path) -> io::Result<Option<File>> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => File::open(path).map(Some),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "the event log is no regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that the file of `bytes` bytes still is the one that was read, and as long.
    fn check_content(&mut self, bytes: u64) -> io::Result<()> {
        let (place, Some(file)) = (&self.place, &self.open) else { return Ok(()) };
        if place.head.bytes > 0 && !self.has_head(file)? {
            self.place = LogPlace { identity: place.identity, ..LogPlace::default() };
        } else if bytes < place.cursors.counted {
            let ends_line = matches!(last_byte(file, bytes)?, Some(b'\n' | b'\r'));
            self.place.cursors =
                Cursors { parsed: bytes, counted: bytes, line_counted: !ends_line, skipping: false };
        }
        Ok(())
    }

    fn read_chunk(&mut self, file_bytes: u64) -> io::Result<Chunk> {
        let Some(mut file) = self.open.as_ref() else {
            return Ok(Chunk { bytes: Vec::new(), at_end: true, more_files: false });
        };
        let from = self.place.cursors.parsed;
        let len = usize::try_from(file_bytes.saturating_sub(from)).unwrap_or(usize::MAX).min(CHUNK_BYTES_MAX);
        let mut bytes = Vec::with_capacity(len);
        file.seek(SeekFrom::Start(from))?;
        file.take(len as u64).read_to_end(&mut bytes)?;
        if self.place.head.bytes < HEAD_BYTES_MAX.min(file_bytes) {
            self.place.head = head_of(file, HEAD_BYTES_MAX.min(file_bytes))?;
        }
        let at_end = from + bytes.len() as u64 >= file_bytes;
        Ok(Chunk { bytes, at_end, more_files: false })
    }

    fn has_head(&self, file: &File) -> io::Result<bool> {
        let head = self.place.head;
        Ok(head.bytes > 0 && head_of(file, head.bytes)? == head)
    }
}

fn rotated_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

fn head_of(mut file: &File, bytes: u64) -> io::Result<Head> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(bytes).read_to_end(&mut head)?;
    let digest = Sha256::digest(&head);
    let hash = digest.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    Ok(Head { bytes: head.len() as u64, hash })
}

fn last_byte(mut file: &File, file_bytes: u64) -> io::Result<Option<u8>> {
    let Some(at) = file_bytes.checked_sub(1) else { return Ok(None) };
    let mut byte = [0];
    file.seek(SeekFrom::Start(at))?;
    Ok((file.read(&mut byte)? == 1).then_some(byte[0]))
}
