//! An aggregate as bytes: exactly what it holds, so that a restart replays only what came after.
//!
//! Little-endian throughout. A text is a u32 length and its bytes, a count is a u32.
//!
//! ```text
//! magic "MUSTAGG1" | version u16 | scope u8 | now u32 (seconds of the timeline) | totals 3 x u64
//! texts      count, each a text (escaped, as pages show it); later fields refer to them by number
//! origins    count, each: team text, user text, host text, project text (numbers), is_project u8, alive_at u32,
//!            disabled: count, each a family's name as text
//! agents     count, each: team text (number), id 16 bytes, heard_at u32, silent u8
//! owners     count, each live: agent u32, origin u32, tool text (number)
//! families   count, each: name text, stride u32, labels u8, series count, each series:
//!            origin u32, labels x text number, value u64, created_us u64, touched_at u32, owner u32 (u32::MAX: none),
//!            stride x u64
//! crc32c     u32 over everything before it
//! ```
//!
//! A collector's agents are silent when they are restored, until they are heard: the timeline stands still between
//! writing and reading, and their gauges may be of any age.
//!
//! Series are in the order of the page. A family that this version does not have, or has with other labels or
//! buckets, is passed over: its series begin anew. Everything else that does not fit is an error and restores nothing.

mod bytes;
mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;

const MAGIC: &[u8; 8] = b"MUSTAGG1";
const VERSION: u16 = 1;

/// Why bytes are no snapshot that can be used. In all cases: begin anew and replay the journal from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not written by [`Aggregate::snapshot`](crate::Aggregate::snapshot).
    #[error("not a snapshot of an aggregate")]
    Foreign,
    /// Written by another version.
    #[error("snapshot has version {found}, this program reads {VERSION}")]
    Version {
        /// Its version.
        found: u16,
    },
    /// Damaged.
    #[error("snapshot is damaged: its checksum is {stored:08x}, its content has {computed:08x}")]
    Checksum {
        /// As it says.
        stored: u32,
        /// As it is.
        computed: u32,
    },
    /// Of the other side: a collector's at an agent or the other way round.
    #[error("snapshot is of another label scope")]
    Scope,
    /// The checksum is right and the content is not: a fault of the program that wrote it.
    #[error("snapshot is inconsistent: {0}")]
    Inconsistent(&'static str),
}
