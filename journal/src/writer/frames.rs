//! Lays records out as frames: heads and small payloads in one buffer, large payloads where they are.

use std::io::IoSlice;
use std::ops::Range;

use bytes::Bytes;
use muster::clock::WallTime;

use crate::format::{FrameHead, FrameType, Salt};
use crate::record::Record;

/// Payloads up to this size are copied next to their head: one buffer of the write instead of two.
const COPY_BYTES_MAX: usize = 512;

/// A piece of the group: a range of the arena, or a payload where it is.
pub(super) enum Piece {
    Arena(Range<usize>),
    Payload(Bytes),
}

impl Piece {
    /// What to write.
    pub(super) fn slices<'a>(pieces: &'a [Piece], arena: &'a [u8]) -> Vec<IoSlice<'a>> {
        let slice = |piece: &'a Piece| match piece {
            Piece::Arena(range) => IoSlice::new(&arena[range.clone()]),
            Piece::Payload(payload) => IoSlice::new(payload),
        };
        pieces.iter().map(slice).collect()
    }
}

pub(super) fn seal_head(position: u64, wall: WallTime) -> FrameHead {
    FrameHead {
        frame_type: FrameType::Seal,
        kind: 0,
        meta_len: 0,
        payload_len: 0,
        position,
        wall_us: wall.0,
        synced: position,
        payload_crc: 0,
    }
}

/// Lays the frames of `records` out, from position `next` on, each with whether its unit goes on. The pieces, how many
/// records, how many bytes.
pub(super) fn encode<'a>(
    arena: &mut Vec<u8>,
    salt: Salt,
    next: u64,
    wall: WallTime,
    records: impl Iterator<Item = (&'a Record, bool)>,
) -> (Vec<Piece>, u64, u64) {
    arena.clear();
    let mut pieces = Vec::new();
    let (mut count, mut bytes, mut start) = (0, 0, 0);
    for (record, has_more) in records {
        let head = FrameHead {
            frame_type: if has_more { FrameType::RecordWithMore } else { FrameType::Record },
            kind: record.kind,
            // Both were checked when the record was queued.
            meta_len: record.meta.len() as u16,
            payload_len: record.payload.len() as u32,
            position: next + count,
            wall_us: wall.0,
            synced: next - 1,
            payload_crc: crc32c::crc32c(&record.payload),
        };
        head.encode(salt, &record.meta, arena);
        if record.payload.len() <= COPY_BYTES_MAX {
            arena.extend_from_slice(&record.payload);
        } else {
            pieces.push(Piece::Arena(start..arena.len()));
            pieces.push(Piece::Payload(record.payload.clone()));
            start = arena.len();
        }
        count += 1;
        bytes += head.frame_len();
    }
    if start < arena.len() {
        pieces.push(Piece::Arena(start..arena.len()));
    }
    (pieces, count, bytes)
}
