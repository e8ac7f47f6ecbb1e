//! All marks in records of their own at the beginning of each segment, so that older segments can go.
//!
//! A checkpoint is one unit of one or more records of kind 2. Meta: version (1 byte, 1), number of this part from 0 (4),
//! number of parts (4). Payload: for each stream its key as in a batch's meta, the last durable number (8), how many
//! recent batches follow (1), and for each of these its last number (8) and CRC-32C (4), oldest first.

use bytes::{BufMut, Bytes, BytesMut};
use muster::ids::{Seq, StreamKey};

use super::meta::{Fields, MetaError, put_key};
use super::{KIND_CHECKPOINT, Mark, RECENT_BATCHES_MAX};
use crate::record::{Entry, Record};

const VERSION: u8 = 1;
/// Payload at which another part is begun: small against any record bound that a collector has.
const PART_BYTES: usize = 256 << 10;
/// Largest encoding of one stream without its recent batches.
const STREAM_BYTES_MAX: usize = 1 + 64 + 16 + 8 + 8 + 1;
const RECENT_BYTES: usize = 12;

/// The largest part that can come about: what a log's record bound must allow for.
pub(super) const PART_BYTES_MAX: usize = PART_BYTES + STREAM_BYTES_MAX + RECENT_BATCHES_MAX * RECENT_BYTES;

/// The records of a checkpoint. With many streams each gets fewer recent batches, so that all of it stays near
/// `bytes_max`.
pub(super) fn encode<'a>(
    marks: impl ExactSizeIterator<Item = (&'a StreamKey, Mark)>,
    bytes_max: usize,
) -> Vec<Record> {
    let share = bytes_max / marks.len().max(1);
    let recent_max = (share.saturating_sub(STREAM_BYTES_MAX) / RECENT_BYTES).clamp(1, RECENT_BATCHES_MAX);
    let mut parts = Vec::new();
    let mut part = BytesMut::new();
    for (key, mark) in marks {
        put_mark(&mut part, key, &mark, recent_max);
        if part.len() >= PART_BYTES {
            parts.push(part.split().freeze());
        }
    }
    if !part.is_empty() || parts.is_empty() {
        parts.push(part.freeze());
    }
    let count = parts.len() as u32;
    let records = parts.into_iter().enumerate();
    records
        .map(|(i, payload)| Record { kind: KIND_CHECKPOINT, meta: part_meta(i as u32, count), payload })
        .collect()
}

/// Which part of how many an entry of kind 2 is.
pub(super) fn part_of(entry: &Entry) -> Result<(u32, u32), MetaError> {
    let mut fields = Fields(&entry.meta);
    match fields.u8()? {
        VERSION => Ok((fields.u32()?, fields.u32()?)),
        version => Err(MetaError::Version(version)),
    }
}

/// The marks of one part.
pub(super) fn decode(payload: &[u8]) -> Result<Vec<(StreamKey, Mark)>, MetaError> {
    let mut fields = Fields(payload);
    let mut marks = Vec::new();
    while !fields.0.is_empty() {
        let key = fields.key()?;
        let durable = Seq(fields.u64()?);
        let count = fields.u8()? as usize;
        let mut recent = Vec::with_capacity(count);
        for _ in 0..count {
            recent.push((Seq(fields.u64()?), fields.u32()?));
        }
        marks.push((key, Mark { durable, recent }));
    }
    Ok(marks)
}

fn put_mark(out: &mut BytesMut, key: &StreamKey, mark: &Mark, recent_max: usize) {
    put_key(out, key);
    out.put_u64_le(mark.durable.0);
    let recent = &mark.recent[mark.recent.len().saturating_sub(recent_max)..];
    out.put_u8(recent.len() as u8);
    for &(last, crc) in recent {
        out.put_u64_le(last.0);
        out.put_u32_le(crc);
    }
}

fn part_meta(part: u32, count: u32) -> Bytes {
    let mut meta = BytesMut::with_capacity(9);
    meta.put_u8(VERSION);
    meta.put_u32_le(part);
    meta.put_u32_le(count);
    meta.freeze()
}
