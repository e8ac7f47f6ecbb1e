//! Series and fleet on disk, with the journal position that they stand for.
//!
//! ```text
//! magic "MUSTSNP2" | position u64 | aggregate: u64 length, bytes | fleet: u64 length, JSON
//!                  | series from OTLP: u64 length, bytes | crc32c u32 of all before
//! ```
//!
//! Little-endian. "MUSTSNP1", of before there were series from OTLP, is read as well and has none. Replaced as a whole: after a crash the file is the old one or the new one.

use std::io;
use std::path::{Path, PathBuf};

use journal::Position;
use metrics::{Aggregate, SnapshotError};
use muster::atomic_file::{self, Access};
use otlp::series::{ForeignSeries, SnapshotError as ForeignError};

use super::{AllSeries, Bounds, View};
use crate::fleet::Fleet;

/// The file's name in the data folder.
pub const SNAPSHOT_NAME: &str = "aggregate.snapshot";
const MAGIC: &[u8; 8] = b"MUSTSNP2";
const MAGIC_WITHOUT_FOREIGN: &[u8; 8] = b"MUSTSNP1";

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// It is there and cannot be read.
    #[error("cannot read the snapshot: {0}")]
    Io(#[from] io::Error),
    /// Not what this program writes, or damaged.
    #[error("the snapshot is damaged")]
    Damaged,
    /// Its series cannot be used.
    #[error("the snapshot's series: {0}")]
    Aggregate(#[from] SnapshotError),
    /// Its series from OTLP cannot be used.
    #[error("the snapshot's series from OTLP: {0}")]
    Foreign(#[from] ForeignError),
    /// Its fleet cannot be used.
    #[error("the snapshot's fleet: {0}")]
    Fleet(#[from] serde_json::Error),
}

/// A snapshot as it was read.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) position: Position,
    pub(super) series: AllSeries,
    pub(super) fleet: Fleet,
}

pub(super) fn write(data_dir: &Path, view: &View, position: Position) -> io::Result<()> {
    let aggregate = view.aggregate.read().snapshot();
    let foreign = view.foreign.read().snapshot();
    let fleet = view.fleet.save();
    let mut bytes = Vec::with_capacity(aggregate.len() + fleet.len() + foreign.len() + 64);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&position.0.to_le_bytes());
    for part in [&aggregate, &fleet, &foreign] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    atomic_file::replace(&data_dir.join(SNAPSHOT_NAME), &bytes, Access::Owner)
}

/// The snapshot; `None` when there is none.
pub(super) fn load(data_dir: &Path, bounds: Bounds) -> Result<Option<Saved>, SnapshotFileError> {
    let bytes = match std::fs::read(data_dir.join(SNAPSHOT_NAME)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(SnapshotFileError::Damaged)?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*checksum) {
        return Err(SnapshotFileError::Damaged);
    }
    let (magic, rest) = content.split_first_chunk::<8>().ok_or(SnapshotFileError::Damaged)?;
    let has_foreign = magic == MAGIC;
    if !has_foreign && magic != MAGIC_WITHOUT_FOREIGN {
        return Err(SnapshotFileError::Damaged);
    }
    let (position, rest) = number(rest)?;
    let (aggregate, rest) = part(rest)?;
    let (fleet, rest) = part(rest)?;
    let foreign = match has_foreign {
        true => ForeignSeries::restore(bounds.foreign, part(rest)?.0)?,
        false => ForeignSeries::new(bounds.foreign),
    };
    Ok(Some(Saved {
        position: Position(position),
        series: AllSeries { aggregate: Aggregate::restore(bounds.aggregate, aggregate)?, foreign },
        fleet: Fleet::restore(fleet)?,
    }))
}

/// Keeps a snapshot that cannot be used for whoever wants to look at it. The one set aside before makes room.
pub(super) fn set_aside(data_dir: &Path) -> io::Result<PathBuf> {
    let (path, aside) = (data_dir.join(SNAPSHOT_NAME), data_dir.join(format!("{SNAPSHOT_NAME}.corrupt")));
    atomic_file::replace(&aside, &std::fs::read(&path)?, Access::Owner)?;
    std::fs::remove_file(&path)?;
    Ok(aside)
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), SnapshotFileError> {
    let (number, rest) = bytes.split_first_chunk::<8>().ok_or(SnapshotFileError::Damaged)?;
    Ok((u64::from_le_bytes(*number), rest))
}

fn part(bytes: &[u8]) -> Result<(&[u8], &[u8]), SnapshotFileError> {
    let (length, rest) = number(bytes)?;
    let length = usize::try_from(length).map_err(|_| SnapshotFileError::Damaged)?;
    rest.split_at_checked(length).ok_or(SnapshotFileError::Damaged)
}
