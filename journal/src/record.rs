//! What is written and what is read back.

use std::fmt;

use bytes::Bytes;
use muster::clock::WallTime;

/// The number of a record, from 1, contiguous. 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

/// What to append.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// What it is; the caller's own numbering.
    pub kind: u8,
    /// Small facts that a reader can have without the payload; at most [`crate::format::META_BYTES_MAX`].
    pub meta: Bytes,
    /// The content. Not copied when appended.
    pub payload: Bytes,
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub position: Position,
    /// Wall time of the append. Data: it may go back between records.
    pub appended_wall: WallTime,
    /// What it is.
    pub kind: u8,
    /// Its small facts.
    pub meta: Bytes,
    /// Its content: a slice of the block that was read, not a copy. Empty if the reader skips payloads.
    pub payload: Bytes,
}

/// One step of a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadItem {
    /// The next record.
    Entry(Entry),
    /// Records that are not there any more, both ends included.
    Gap {
        /// First position that is missing.
        from: Position,
        /// Last position that is missing.
        to: Position,
        /// Why, as far as it is known.
        reason: GapReason,
    },
}

/// Why records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// Their bytes were damaged; they are set aside in a `.corrupt` file.
    Corrupt,
    /// No bytes claim to be them: a segment is missing or short, or an older copy of the log was restored.
    Missing,
    /// Retention deleted them.
    Retention,
}

impl Position {
    /// Before the first record.
    pub const ZERO: Position = Position(0);

    /// The position after this one.
    pub const fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl GapReason {
    /// The word for it in labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            GapReason::Corrupt => "corrupt",
            GapReason::Missing => "missing",
            GapReason::Retention => "retention",
        }
    }
}
