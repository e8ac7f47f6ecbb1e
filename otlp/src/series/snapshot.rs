//! All of it as bytes: exactly what is held, so that a restart replays only what came after.
//!
//! Little-endian. A text is a u32 length and its bytes, a count is a u32, an amount two f64.
//!
//! ```text
//! magic "MUSTFOR1" | version u16 | now u32 (seconds of the timeline) | turn u64 | families made u64
//! teams      count, each:
//!   name text | items 3 x u64 | dropped: count, each u64 in the order of Dropped::ALL
//!   targets  count, each: labels text, project text, info text; later fields refer to them by number
//!   families count, each: name, unit, help texts, kind u8, born u64, series: count, each:
//!            labels text, target u32, created_us u64, touched_at u32, let_go_ns u64, value by kind:
//!              counter    amount
//!              gauge      shown u8, amount, writer 16 bytes
//!              histogram  distribution
//!              summary    count u64, sum amount, quantiles: count, each 2 x f64
//!   streams  count, each in the order of ids: id 16 bytes, family u32, series u32 (the number in its family), start u64,
//!            time u64, touched_at u32, turn u64, last u8: 0 nothing, 1 level amount, 2 count amount,
//!            3 distribution, 4 summary count u64 and sum amount
//! crc32c     u32 over everything before it
//!
//! distribution: bounds: count, each f64 | counts: one u64 more than bounds | has a sum u8 | sum amount
//! ```
//!
//! Anything that does not fit is an error and restores nothing.

mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;

const MAGIC: &[u8; 8] = b"MUSTFOR1";
const VERSION: u16 = 1;

/// Why bytes are no snapshot that can be used. In all cases: begin anew and replay the journal from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not written by [`ForeignSeries::snapshot`](super::ForeignSeries::snapshot).
    #[error("not a snapshot of series from OTLP")]
    Foreign,
    /// Written by another version.
    #[error("snapshot of series from OTLP has version {found}, this program reads {VERSION}")]
    Version {
        /// Its version.
        found: u16,
    },
    /// Damaged.
    #[error(
        "snapshot of series from OTLP is damaged: its checksum is {stored:08x}, its content has {computed:08x}"
    )]
    Checksum {
        /// As it says.
        stored: u32,
        /// As it is.
        computed: u32,
    },
    /// The checksum is right and the content is not: a fault of the program that wrote it.
    #[error("snapshot of series from OTLP is inconsistent: {0}")]
    Inconsistent(&'static str),
}
