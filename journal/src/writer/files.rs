//! Makes the files that the writer needs: segments and the reserve.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use muster::clock::WallTime;

use super::frames::{Piece, encode};
use super::{Active, RESERVE_NAME};
use crate::format::{JournalId, SEGMENT_HEAD_BYTES, SegmentHead};
use crate::fs::{File, FileSystem, OpenMode, write_full};
use crate::record::Record;
use crate::segments::segment_path;
use crate::shared::Shared;

/// Makes the segment that begins at `first`, durable with its name, its head and its first records.
pub(super) fn create_segment(
    shared: &Shared,
    first: u64,
    wall: WallTime,
    head_records: &[Record],
    arena: &mut Vec<u8>,
) -> Result<(Active, u64), (PathBuf, io::Error)> {
    let path = segment_path(&shared.config.dir, first);
    let made = (|| {
        let file = new_segment_file(&*shared.fs, &path, shared.journal_id, first, wall)?;
        let count = head_records.len();
        let records = head_records.iter().enumerate().map(|(i, record)| (record, i + 1 < count));
        let (pieces, _, bytes) = encode(arena, shared.salt(first), first, wall, records);
        let mut slices = Piece::slices(&pieces, arena);
        write_full(&*file, &mut slices, SEGMENT_HEAD_BYTES as u64)?;
        file.sync_data()?;
        shared.fs.sync_dir(&shared.config.dir)?;
        let head_end = SEGMENT_HEAD_BYTES as u64 + bytes;
        Ok((Active { file, first, end: SEGMENT_HEAD_BYTES as u64, allocated: head_end, head_end }, bytes))
    })();
    made.map_err(|error| (path, error))
}

/// A new segment's file with its head, not yet synced.
pub(crate) fn new_segment_file(
    fs: &dyn FileSystem,
    path: &Path,
    journal_id: JournalId,
    first: u64,
    wall: WallTime,
) -> io::Result<Box<dyn File>> {
    let file = fs.open(path, OpenMode::Create)?;
    let head = SegmentHead { journal_id, first, created_wall_us: wall.0 }.encode();
    write_full(&*file, &mut [IoSlice::new(&head)], 0)?;
    Ok(file)
}

/// Allocates the reserve. Half a reserve is taken away again.
pub(crate) fn make_reserve(shared: &Shared) -> io::Result<()> {
    let path = shared.config.dir.join(RESERVE_NAME);
    let made = shared.fs.open(&path, OpenMode::Create).and_then(|file| {
        match file.allocate(0, shared.config.reserve_bytes) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                write_zeros(&*file, shared.config.reserve_bytes)?;
            }
            allocated => allocated?,
        }
        file.sync_data()
    });
    match made {
        Ok(()) => shared.counters.has_reserve.store(true, Ordering::Relaxed),
        Err(_) => _ = shared.fs.unlink(&path),
    }
    made
}

/// What takes room on a file system that cannot allocate.
fn write_zeros(file: &dyn File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; 64 << 10];
    let mut at = 0;
    while at < bytes {
        let most = (bytes - at).min(zeros.len() as u64) as usize;
        write_full(file, &mut [IoSlice::new(&zeros[..most])], at)?;
        at += most as u64;
    }
    Ok(())
}
