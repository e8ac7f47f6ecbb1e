//! The collector's log: numbered streams over a log, each with a high-water mark that moves in the same write as the data.
//! Beside them it takes OTLP payloads, which have no numbers ([`mod@payload`]).
//!
//! A stream is a [`StreamKey`]; a batch is a run of its sequence numbers and the bytes as they came. What is durable of a
//! stream is always a run without gaps, unless [`StreamLog::skip_to`] allowed one or damage made one.
//!
//! | batch, against the last number accepted | answer |
//! |---|---|
//! | begins right after it | `Appended`, once durable |
//! | ends at or before it | `Duplicate`, once what it repeats is durable |
//! | ends at a known batch's end with other content | `Fenced`: another history under the same name |
//! | begins before it and ends after it | `Fenced`: marks are at batch ends, so this is another history too |
//! | begins later | `Gap{expected}` |
//!
//! When an append fails, the last number accepted falls back to the durable one, and everything after it is refused
//! until it is sent again. Nothing here assumes that the log is local files.

mod checkpoint;
mod local;
mod meta;
mod payload;
mod state;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use muster::clock::WallTime;
use muster::ids::{Seq, SeqRange, StreamKey, Team};

use crate::completion::{Pending, Slot};
use crate::error::{AppendError, ReadError};
use crate::record::{GapReason, Position};

pub use local::{JournalStreamLog, StreamOpenError, StreamRecovery};
pub use meta::MetaError;
pub use payload::{KIND_OTLP, OtlpEntry, OtlpPart};

/// Kind of the records that hold a batch.
pub const KIND_BATCH: u8 = 1;
/// Kind of the records that hold all marks, at the beginning of each segment.
pub const KIND_CHECKPOINT: u8 = 2;
/// Default bound of streams: a team of thousands of machines, each with dozens of lives of its spool. A stream costs
/// about a kilobyte of memory.
pub const STREAMS_MAX: usize = 100_000;
/// Batches of a stream whose content is remembered, to tell a clone from a retry.
pub const RECENT_BATCHES_MAX: usize = muster::limits::RECENT_BATCHES_MAX;
/// Most repeats of one stream that wait for what they repeat.
pub const WAITING_MAX: usize = 256;

/// A batch as it is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The numbers of its events.
    pub seqs: SeqRange,
    /// CRC-32C of `bytes`; taken as given, and compared to tell a retry from another history.
    pub crc32c: u32,
    /// The batch as it came.
    pub bytes: Bytes,
}

/// What became of a batch. Given only when it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the log.
    Appended {
        /// The last durable number of the stream.
        durable: Seq,
    },
    /// It was in the log already.
    Duplicate {
        /// The last durable number of the stream.
        durable: Seq,
    },
    /// Something before it is missing: send from `expected` on.
    Gap {
        /// The number that must come next.
        expected: Seq,
    },
    /// It does not belong to the history that the log has under this key.
    Fenced,
}

/// A stream's high-water mark.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mark {
    /// The last durable number; 0 if there is none.
    pub durable: Seq,
    /// Last number and checksum of the newest batches, at most [`RECENT_BATCHES_MAX`], oldest first.
    pub recent: Vec<(Seq, u32)>,
}

/// A batch as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// Its place in the log.
    pub position: Position,
    /// Wall time of the append.
    pub appended_wall: WallTime,
    /// Whose it is.
    pub key: StreamKey,
    /// The numbers of its events.
    pub seqs: SeqRange,
    /// CRC-32C of `bytes`.
    pub crc32c: u32,
    /// The batch as it came; empty if the reader skips payloads.
    pub bytes: Bytes,
}

/// One step of a stream log's reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamItem {
    /// The next batch.
    Batch(StreamEntry),
    /// An OTLP payload that came without a stream.
    Otlp(OtlpEntry),
    /// Positions that are not there any more, both ends included.
    Gap {
        /// First position that is missing.
        from: Position,
        /// Last position that is missing.
        to: Position,
        /// Why.
        reason: GapReason,
    },
    /// A record that is neither (a checkpoint, or a kind of a newer program): pass over it.
    Other {
        /// Its place.
        position: Position,
        /// Its kind.
        kind: u8,
    },
}

/// Why a batch was neither appended nor answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StreamError {
    /// The log refused it; its variants say whether to retry.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// There are too many streams already.
    #[error("there are {0} streams already, and no room for a new one")]
    TooManyStreams(usize),
}

/// What will become of a batch. Comes true when it is durable, as a future or by [`Appending::wait`].
#[must_use = "a batch is acknowledged only when this comes true"]
pub struct Appending(State);

type Ending = Result<Outcome, StreamError>;

enum State {
    Known(Ending),
    Waiting(Arc<Slot<Ending>>),
}

/// A log of numbered streams. The first implementation is [`JournalStreamLog`].
pub trait StreamLog: Send + Sync {
    /// Appends a batch in its stream's order. Returns at once; the answer is given when it is durable.
    fn append(&self, key: &StreamKey, batch: Sealed) -> Result<Appending, StreamError>;

    /// Appends an OTLP payload, in parts that each fit into a record: after a crash all of them are there or none is.
    /// There is no number to tell a repeat by, so a sender that retries is stored again.
    fn append_otlp(&self, team: &Team, parts: Vec<OtlpPart>) -> Result<Pending, AppendError>;

    /// What came after a position, in order.
    fn read(&self, from: Position) -> Box<dyn Iterator<Item = Result<StreamItem, ReadError>> + Send>;

    /// How far a stream is durable.
    fn high_water_mark(&self, key: &StreamKey) -> Mark;

    /// Lets a stream go on at `next`, since what is missing before it can never come (the sender has it no more). Does
    /// nothing if `next` is not past what was accepted. Durable with the batch that comes next.
    fn skip_to(&self, key: &StreamKey, next: Seq) -> Result<(), StreamError>;
}

impl Appending {
    fn known(ending: Ending) -> Self {
        Self(State::Known(ending))
    }

    fn waiting(slot: Arc<Slot<Ending>>) -> Self {
        Self(State::Waiting(slot))
    }

    /// Blocks the thread until the answer is there.
    pub fn wait(self) -> Result<Outcome, StreamError> {
        match self.0 {
            State::Known(ending) => ending,
            State::Waiting(slot) => slot.wait(),
        }
    }
}

impl Future for Appending {
    type Output = Result<Outcome, StreamError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &self.0 {
            State::Known(ending) => Poll::Ready(ending.clone()),
            State::Waiting(slot) => slot.poll(context),
        }
    }
}

impl fmt::Debug for Appending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Known(ending) => f.debug_tuple("Appending").field(ending).finish(),
            State::Waiting(_) => f.write_str("Appending(waiting)"),
        }
    }
}

#[cfg(test)]
mod tests;
