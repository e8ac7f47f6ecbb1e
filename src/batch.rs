//! Building and checking batches.
//!
//! A [`BatchBuilder`] interns strings and turns absolute times into deltas; what it seals is self-contained. A reader
//! that only needs to know that bytes are a batch uses [`check`], which walks them without building anything; a reader
//! that needs the events decodes them with [`decode`], which checks every index first.

mod builder;
mod view;
mod walk;

pub use builder::{BatchBuilder, SealedBatch, SourceIdentity, SourceIndex, TextRef};
pub use view::{BatchView, EventView, SourceView};
pub use walk::{BatchHead, check};

use prost::Message;

use crate::v1;

/// Why bytes are no batch that may be accepted. All are final: the same bytes will never be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Not protobuf, or cut short.
    #[error("batch is not valid protobuf: {0}")]
    Malformed(&'static str),
    /// A bound of [`crate::limits`] is passed.
    #[error("batch has {count} {what}, more than {max}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// An index points outside its table.
    #[error("{what} {index} is outside the table of {len}")]
    Index {
        /// Which table.
        what: &'static str,
        /// The index.
        index: u32,
        /// The table's length.
        len: usize,
    },
    /// No events, or a sequence number that is 0 or would overflow.
    #[error("batch has no events or no valid sequence numbers")]
    Sequence,
}

/// Decodes a batch and checks its bounds and sources, so that [`BatchView`] can never point outside.
///
/// A text index outside the table reads as "not known" (""), since a newer agent may have kinds of reference we
/// do not know; a source index outside is an error, since an event without an origin cannot be counted.
pub fn decode(bytes: &[u8]) -> Result<v1::Batch, BatchError> {
    check(bytes)?;
    v1::Batch::decode(bytes).map_err(|_| BatchError::Malformed("field of the wrong type"))
}

#[cfg(test)]
mod tests;
