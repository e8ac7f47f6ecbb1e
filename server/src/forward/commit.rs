//! What of a destination's work is durable: its cursor, a part of a unit, its state.
//!
//! ```text
//! cursor destination-NAME           everything up to it has ended; one fdatasync for all units that ended meanwhile
//! cursor destination_state-NAME     where the state file holds; keeps the journal from there on
//! <data_dir>/destinations/NAME/progress   of the unit after the cursor, how many requests have ended
//! <data_dir>/destinations/NAME/state      what is kept between records
//! ```
//!
//! The cursor moves first, the state after it: a state is never ahead of the cursor, and what is between the two is read
//! again without being sent. The progress file holds for one unit under one configuration; any other is passed over, and
//! the unit is sent as a whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use journal::{Cursor, CursorError, Position};
use muster::atomic_file::{self, Access};
use muster::clock::WallTime;
use serde::{Deserialize, Serialize};

use super::window::{Due, Range};

const PROGRESS_NAME: &str = "progress";
const STATE_NAME: &str = "state";
const IDLE_CUT_NAME: &str = "idle";
const STATE_MAGIC: &[u8; 8] = b"MUSTFWD1";

/// Makes durable what has ended.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) cursor: Cursor,
    /// Only where there is a state.
    pub(super) state_cursor: Option<Cursor>,
    pub(super) folder: PathBuf,
    /// A state was given to be saved, and is not yet.
    pub(super) state_pending: AtomicBool,
    /// Stands for all that a unit's requests depend on besides the journal.
    pub(super) fingerprint: u32,
}

/// Why nothing became durable.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error("cannot write {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// The progress file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    after: u64,
    end: u64,
    done: usize,
    fingerprint: u32,
}

impl Committer {
    /// Blocks. An error leaves what was durable.
    pub(super) fn commit(&self, due: &Due) -> Result<(), CommitError> {
        match due {
            Due::Units { end, state, .. } => {
                self.cursor.advance(*end)?;
                if let (Some((position, bytes)), Some(cursor)) = (state, &self.state_cursor) {
                    self.save_state(*position, bytes, cursor)?;
                    self.state_pending.store(false, Ordering::Release);
                }
                Ok(())
            }
            Due::Part { range, done, .. } => {
                let progress = Progress {
                    after: range.after.0,
                    end: range.end.0,
                    done: *done,
                    fingerprint: self.fingerprint,
                };
                let bytes = serde_json::to_vec(&progress).unwrap_or_default();
                self.replace(PROGRESS_NAME, &bytes)
            }
        }
    }

    /// The unit after the cursor that was begun in an earlier life, and how many of its requests have ended.
    pub(super) fn progress(&self) -> Option<(Range, usize)> {
        let bytes = fs::read(self.folder.join(PROGRESS_NAME)).ok()?;
        let progress: Progress = serde_json::from_slice(&bytes).ok()?;
        let is_ours = progress.after == self.cursor.position().0
            && progress.end > progress.after
            && progress.fingerprint == self.fingerprint;
        let range = Range { after: Position(progress.after), end: Position(progress.end) };
        is_ours.then_some((range, progress.done))
    }

    /// Notes, before it is sent, what is said at a time that no record brings.
    pub(super) fn note_idle_cut(&self, time: WallTime) -> Result<(), CommitError> {
        self.replace(IDLE_CUT_NAME, &time.0.to_le_bytes())
    }

    /// The time of the newest such cut.
    pub(super) fn idle_cut(&self) -> Option<WallTime> {
        let bytes = fs::read(self.folder.join(IDLE_CUT_NAME)).ok()?;
        Some(WallTime(u64::from_le_bytes(bytes.try_into().ok()?)))
    }

    /// Whether a state waits to be saved.
    pub(super) fn is_state_pending(&self) -> bool {
        self.state_pending.load(Ordering::Acquire)
    }

    /// A state is on its way here.
    pub(super) fn expect_state(&self) {
        self.state_pending.store(true, Ordering::Release);
    }

    /// The state, and the position that it holds at. One that is ahead of the cursor is none.
    pub(super) fn state(&self) -> Option<(Position, Vec<u8>)> {
        state_at(&self.folder).filter(|(position, _)| *position <= self.cursor.position())
    }

    fn save_state(&self, position: Position, state: &[u8], cursor: &Cursor) -> Result<(), CommitError> {
        let mut bytes = Vec::with_capacity(state.len() + 24);
        bytes.extend_from_slice(STATE_MAGIC);
        bytes.extend_from_slice(&position.0.to_le_bytes());
        bytes.extend_from_slice(state);
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        self.replace(STATE_NAME, &bytes)?;
        Ok(cursor.advance(position)?)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), CommitError> {
        let path = self.folder.join(name);
        atomic_file::replace(&path, bytes, Access::Owner).map_err(|source| CommitError::Io { path, source })
    }
}

/// The state in a folder.
pub(super) fn state_at(folder: &Path) -> Option<(Position, Vec<u8>)> {
    let bytes = match fs::read(folder.join(STATE_NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "state of a destination cannot be read; it begins anew");
            return None;
        }
    };
    let state = decode_state(&bytes);
    if state.is_none() {
        tracing::warn!(folder = %folder.display(), "state of a destination is damaged; it begins anew");
    }
    state
}

/// Forgets what an earlier destination of the same name has left.
pub(super) fn forget(folder: &Path) {
    forget_file(&folder.join(PROGRESS_NAME));
    forget_file(&folder.join(IDLE_CUT_NAME));
    forget_state(folder);
}

/// Forgets the state.
pub(super) fn forget_state(folder: &Path) {
    forget_file(&folder.join(STATE_NAME));
}

fn forget_file(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "cannot delete an old file of a destination");
        }
        _ => {}
    }
}

fn decode_state(bytes: &[u8]) -> Option<(Position, Vec<u8>)> {
    let (body, checksum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (position, state) = body.strip_prefix(STATE_MAGIC)?.split_first_chunk::<8>()?;
    Some((Position(u64::from_le_bytes(*position)), state.to_vec()))
}
