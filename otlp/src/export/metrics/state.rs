//! A metrics export as bytes.
//!
//! Little-endian throughout.
//!
//! ```text
//! magic "MUSTMEX1" | version u16 | delta u8 | cut u8 (0: none yet) | time u64 (microseconds) | mark u32
//! series     count u64, each: hash 16 bytes, created_us u64, value u64, count of counts u32, counts u64 each
//! aggregate  bytes u64, the aggregate's snapshot
//! crc32c     u32 over everything before it
//! ```
//!
//! Series are sorted by their hash, so the same state is the same bytes.

use hashbrown::HashMap;
use metrics::{Aggregate, AggregateConfig, Mark, SnapshotError};
use muster::clock::WallTime;

use super::baseline::{Baseline, Sent, SeriesHash};
use super::{MetricsExport, Temporality};

const MAGIC: &[u8; 8] = b"MUSTMEX1";
const VERSION: u16 = 1;

/// Why bytes are no state that can be used. In all cases: begin anew where the journal begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Not written by [`MetricsExport::snapshot`].
    #[error("not the state of a metrics export")]
    Foreign,
    /// Written by another version.
    #[error("state of a metrics export has version {found}, this program reads {VERSION}")]
    Version {
        /// Its version.
        found: u16,
    },
    /// Damaged.
    #[error(
        "state of a metrics export is damaged: its checksum is {stored:08x}, its content has {computed:08x}"
    )]
    Checksum {
        /// As it says.
        stored: u32,
        /// As it is.
        computed: u32,
    },
    /// The checksum is right and the content is not: a fault of the program that wrote it.
    #[error("state of a metrics export is cut short or too long")]
    Inconsistent,
    /// The aggregate in it cannot be used.
    #[error("state of a metrics export has no usable aggregate")]
    Aggregate(#[from] SnapshotError),
}

pub(super) fn write(export: &MetricsExport) -> Vec<u8> {
    let aggregate = export.aggregate.snapshot();
    let baseline = &export.baseline;
    let mut out = Vec::with_capacity(aggregate.len() + 64 * baseline.series.len() + 64);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.push(u8::from(export.temporality == Temporality::Delta));
    out.push(u8::from(baseline.cut.is_some()));
    let (time, mark) = baseline.cut.unwrap_or((WallTime(0), Mark(0)));
    out.extend_from_slice(&time.0.to_le_bytes());
    out.extend_from_slice(&mark.0.to_le_bytes());
    let mut series: Vec<_> = baseline.series.iter().collect();
    series.sort_unstable_by_key(|(hash, _)| **hash);
    out.extend_from_slice(&(series.len() as u64).to_le_bytes());
    for (hash, sent) in series {
        out.extend_from_slice(hash);
        out.extend_from_slice(&sent.created_us.to_le_bytes());
        out.extend_from_slice(&sent.value.to_le_bytes());
        out.extend_from_slice(&(sent.counts.len() as u32).to_le_bytes());
        sent.counts.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
    }
    out.extend_from_slice(&(aggregate.len() as u64).to_le_bytes());
    out.extend_from_slice(&aggregate);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

pub(super) fn read(temporality: Temporality, bytes: &[u8]) -> Result<MetricsExport, StateError> {
    let mut reader = Reader(checked(bytes)?);
    let [was_delta, has_cut] = reader.take()?;
    let (time, mark) = (WallTime(reader.u64()?), Mark(reader.u32()?));
    let mut series = HashMap::new();
    for _ in 0..reader.u64()? {
        let hash: SeriesHash = reader.take()?;
        let (created_us, value, counts) = (reader.u64()?, reader.u64()?, reader.u32()?);
        let counts = (0..counts).map(|_| reader.u64()).collect::<Result<_, _>>()?;
        series.insert(hash, Sent { created_us, value, counts });
    }
    let aggregate_bytes = usize::try_from(reader.u64()?).map_err(|_| StateError::Inconsistent)?;
    if aggregate_bytes != reader.0.len() {
        return Err(StateError::Inconsistent);
    }
    let aggregate = Aggregate::restore_as_heard(AggregateConfig::collector(), reader.0)?;
    let baseline = if (was_delta == 1) == (temporality == Temporality::Delta) {
        Baseline { cut: (has_cut == 1).then_some((time, mark)), series }
    } else {
        Baseline::default()
    };
    Ok(MetricsExport { aggregate, temporality, baseline })
}

/// What stands between version and checksum, when both are right.
fn checked(bytes: &[u8]) -> Result<&[u8], StateError> {
    let content = bytes.strip_prefix(MAGIC).ok_or(StateError::Foreign)?;
    let (content, stored) = content.split_last_chunk().ok_or(StateError::Foreign)?;
    let (version, content) = content.split_first_chunk().ok_or(StateError::Foreign)?;
    let found = u16::from_le_bytes(*version);
    if found != VERSION {
        return Err(StateError::Version { found });
    }
    let stored = u32::from_le_bytes(*stored);
    let computed = crc32c::crc32c(&bytes[..bytes.len() - size_of::<u32>()]);
    if stored != computed {
        return Err(StateError::Checksum { stored, computed });
    }
    Ok(content)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(StateError::Inconsistent)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, StateError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, StateError> {
        self.take().map(u64::from_le_bytes)
    }
}
