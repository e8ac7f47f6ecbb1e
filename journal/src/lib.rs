//! The durable segment log: the agent's spool and the collector's journal are both one of these.
//!
//! # What it promises
//!
//! - A record that was acknowledged (a [`Pending`] that came true, a [`Journal::commit`] that returned) is on disk:
//!   `fdatasync` of it has returned. It survives the end of the process, of the system and of the power; not of the disk.
//! - Records have contiguous positions from 1. Readers see them in order, and only once they are durable.
//! - The records of one `commit` are all there after a crash, or none of them is.
//! - Whatever is missing is told by number ([`ReadItem::Gap`]); nothing is passed over in silence.
//! - A position, once seen by a reader, never means another record.
//!
//! # What it does on each failure
//!
//! | failure | what happens |
//! |---|---|
//! | crash or power loss while writing | what was not acknowledged may be gone, from the first byte that is missing on |
//! | a flipped bit | that record is set aside in `<segment>.corrupt`, counted and told as a gap; the rest is delivered |
//! | a segment is missing, or is not what its name says | told as a gap; a wrong file is renamed to `*.seg.corrupt` |
//! | a write or `fdatasync` fails | the handle is poisoned: nothing is acknowledged after it; opening anew heals |
//! | the disk is full | the tail is cut back to the durable end, the reserve is given up, appends say `DiskFull`; when room is back, the next append goes through and the reserve is made again |
//! | the segment or the folder is taken away, or the writer panics | poisoned |
//! | a second process opens it | refused: the folder is locked |
//! | a newer format | refused, and nothing is changed |
//! | an invalid configuration | refused before anything is touched |
//!
//! # How it works
//!
//! One thread writes. It takes everything that is queued, writes it with one vectored write, syncs once, and completes
//! all of it (group commit). Idle, it sleeps on a condition and never wakes. The bytes are specified in [`mod@format`].
//! [`stream`] is the collector's log over it: numbered streams with a high-water mark each.

mod backlog;
mod completion;
mod config;
mod cursor;
mod error;
#[doc(hidden)]
pub mod failpoint;
pub mod format;
pub mod fs;
mod health;
mod notify;
mod quarantine;
mod queue;
mod reader;
mod record;
mod recovery;
mod retention;
mod scan;
mod segments;
mod shared;
pub mod stream;
mod tail;
mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;

use muster::clock::Clock;

pub use completion::Pending;
pub use config::{Config, ConfigError, Retention, SlowReader, SyncMode};
pub use cursor::{Cursor, CursorError};
pub use error::{AppendError, Cause, OpenError, ReadError};
pub use health::{Health, Reason, Stats};
pub use notify::Subscription;
pub use reader::Reader;
pub use record::{Entry, GapReason, Position, ReadItem, Record};
pub use recovery::Recovery;
pub use retention::RetainReport;

use completion::Slot;
use fs::FileSystem;
use queue::Records;
use shared::Shared;

/// An open log. Share it in an [`Arc`]; dropping it writes what is queued, and ends the writer.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens or makes the log in `config.dir`, and repairs what a crash left.
    ///
    /// Reads the heads of all segments, the whole of the last one, and nothing else. A corrupt record never keeps it
    /// from opening; see [`OpenError`] for what does.
    pub fn open(
        config: Config,
        fs: Arc<dyn FileSystem>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Journal, Recovery), OpenError> {
        config.validate()?;
        let opened = recovery::open(config, fs, clock)?;
        let shared = opened.shared;
        let writer =
            opened.writer.spawn().map_err(|source| OpenError::Io { what: "start the writer", source })?;
        Ok((Journal { shared, writer: Some(writer) }, opened.recovery))
    }

    /// Queues one record for the next group. Returns at once; the [`Pending`] comes true when it is durable.
    pub fn append(&self, record: Record) -> Result<Pending, AppendError> {
        let slot = Arc::new(Slot::default());
        self.shared.submit(Records::One(record), slot.clone())?;
        Ok(Pending::new(slot))
    }

    /// Queues the records as one, with nothing between them. The position is the last one's. After a crash all of them
    /// are there or none is.
    ///
    /// No records is an error of the caller's, told as [`AppendError::Empty`].
    pub fn append_all(&self, records: Vec<Record>) -> Result<Pending, AppendError> {
        let slot = Arc::new(Slot::default());
        self.shared.submit(Records::Many(records), slot.clone())?;
        Ok(Pending::new(slot))
    }

    /// [`Journal::append_all`], and waits until the records are durable.
    pub fn commit(&self, records: Vec<Record>) -> Result<Position, AppendError> {
        self.append_all(records)?.wait()
    }

    /// Asks the writer whether it still comes round. Comes true, with the last durable position, when it has done with
    /// what it was writing; while the disk hangs it does not. Writes nothing. For a watchdog.
    pub fn probe(&self) -> Result<Pending, AppendError> {
        let slot = Arc::new(Slot::default());
        self.shared.probe(slot.clone())?;
        Ok(Pending::new(slot))
    }

    /// The last durable position.
    pub fn durable(&self) -> Position {
        self.shared.durable.position()
    }

    /// The first position that is still there, one past [`Journal::durable`] if none is.
    pub fn first(&self) -> Position {
        self.shared.segments.lock().first_position()
    }

    /// Wakes a thread or a task when more is durable.
    pub fn subscribe(&self) -> Subscription {
        Subscription::new(self.shared.durable.clone())
    }

    /// Reads the durable records after `from`.
    pub fn reader(&self, from: Position) -> Reader {
        Reader::new(self.shared.clone(), from)
    }

    /// The named cursor, made at position 0 if there is none.
    pub fn cursor(&self, name: &str) -> Result<Cursor, CursorError> {
        Cursor::claim(&self.shared, name, Position::ZERO)
    }

    /// The named cursor, made at `first` if there is none, and not moved there afterwards, so that no crash comes between.
    /// An error if `first` is not durable.
    pub fn cursor_from(&self, name: &str, first: Position) -> Result<Cursor, CursorError> {
        Cursor::claim(&self.shared, name, first)
    }

    /// Takes a cursor away, so that it holds nothing back any more. No such cursor is no error.
    pub fn remove_cursor(&self, name: &str) -> Result<(), CursorError> {
        cursor::remove(&self.shared, name)
    }

    /// The names of all cursors.
    pub fn cursor_names(&self) -> Vec<String> {
        self.shared.cursors.lock().keys().cloned().collect()
    }

    /// What tells this log from every other one; part of identities that are made from positions.
    pub fn id(&self) -> format::JournalId {
        self.shared.journal_id
    }

    /// Bytes of the records after `position`, about: inside a segment, records are taken to be of one size.
    pub fn bytes_after(&self, position: Position) -> u64 {
        backlog::bytes_after(&self.shared.segments.lock(), position)
    }

    /// The first position that has at most `bytes` after it, about, as [`Journal::bytes_after`] counts.
    pub fn position_before(&self, bytes: u64) -> Position {
        backlog::position_before(&self.shared.segments.lock(), bytes)
    }

    /// Applies the retention now. It is also applied whenever a new segment is begun.
    pub fn retain(&self) -> RetainReport {
        retention::apply(&self.shared)
    }

    /// The first positions of all segments, oldest first. A record at such a position begins a segment.
    pub fn segment_firsts(&self) -> Vec<Position> {
        self.shared.segments.lock().list.iter().map(|s| Position(s.first)).collect()
    }

    /// Figures of the log and of this handle.
    pub fn stats(&self) -> Stats {
        health::stats(&self.shared)
    }

    /// Whether it works, and if not, what is wrong. Costs two system calls: it looks whether the disk has room again
    /// and whether the folder is still ours.
    pub fn health(&self) -> Health {
        health::health(&self.shared)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(dir = %self.shared.config.dir.display(), "the journal's writer panicked");
        }
        self.shared.release();
    }
}

#[cfg(test)]
mod tests;
