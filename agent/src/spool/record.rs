//! The bytes of a spool record.
//!
//! A record is a journal record of kind [`KIND_STEP`] or [`KIND_CHECKPOINT`]:
//!
//! ```text
//! meta     version u8 = 1 | first_seq u64 | last_seq u64 | crc32c u32 | batch_bytes u32      (little-endian, 25 bytes)
//! payload  the sealed batch (batch_bytes long), then the positions
//! positions, each:  name_bytes u16 | name | position_bytes u32 | position
//! ```
//!
//! A step has a batch and the position of the source that it came from, so that both move together. A step without
//! events has `first_seq` = `last_seq` = 0 and no batch. A checkpoint has no batch, all positions, and `last_seq` is the
//! last event before it.

use bytes::{BufMut, Bytes, BytesMut};
use journal::Record;
use muster::batch::SealedBatch;
use muster::ids::{Seq, SeqRange};

/// Events of one step with the position after it.
pub const KIND_STEP: u8 = 1;
/// All positions, so that older segments may go.
pub const KIND_CHECKPOINT: u8 = 2;

const VERSION: u8 = 1;
const META_BYTES: usize = 25;

/// A decoded record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolRecord {
    /// The batch; `None` for a checkpoint and for a step that only moved a position.
    pub batch: Option<SealedBatch>,
    /// Last event before or in this record.
    pub last_seq: Seq,
    /// Positions that this record sets.
    pub positions: Vec<(String, Bytes)>,
}

/// A record whose bytes do not have this layout: damaged in a way that its checksum did not show, or newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("spool record is not in a layout that this version reads")]
pub struct LayoutError;

/// The record of a step.
pub fn step(batch: Option<&SealedBatch>, positions: &[(&str, Bytes)]) -> Record {
    encode(KIND_STEP, batch, Seq::ZERO, positions)
}

/// The record of a checkpoint.
pub fn checkpoint(last_seq: Seq, positions: &[(&str, Bytes)]) -> Record {
    encode(KIND_CHECKPOINT, None, last_seq, positions)
}

fn encode(kind: u8, batch: Option<&SealedBatch>, last_seq: Seq, positions: &[(&str, Bytes)]) -> Record {
    let mut meta = BytesMut::with_capacity(META_BYTES);
    meta.put_u8(VERSION);
    meta.put_u64_le(batch.map_or(0, |b| b.seqs.first().0));
    meta.put_u64_le(batch.map_or(last_seq.0, |b| b.seqs.last().0));
    meta.put_u32_le(batch.map_or(0, |b| b.crc32c));
    meta.put_u32_le(batch.map_or(0, |b| b.bytes.len() as u32));
    let batch_bytes = batch.map_or(&[][..], |b| &b.bytes);
    let positions_bytes: usize = positions.iter().map(|(name, p)| name.len() + p.len() + 6).sum();
    let mut payload = BytesMut::with_capacity(batch_bytes.len() + positions_bytes);
    payload.put_slice(batch_bytes);
    for (name, position) in positions {
        payload.put_u16_le(name.len() as u16);
        payload.put_slice(name.as_bytes());
        payload.put_u32_le(position.len() as u32);
        payload.put_slice(position);
    }
    Record { kind, meta: meta.freeze(), payload: payload.freeze() }
}

/// The numbers in a record's meta, without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolMeta {
    /// The events of the batch; `None` when there is none.
    pub seqs: Option<SeqRange>,
    /// Last event before or in this record; 0 for a step without events.
    pub last_seq: Seq,
    /// Checksum of the batch.
    pub crc32c: u32,
    batch_bytes: usize,
}

/// Reads a meta.
pub fn decode_meta(meta: &[u8]) -> Result<SpoolMeta, LayoutError> {
    let bytes: &[u8; META_BYTES] = meta.try_into().map_err(|_| LayoutError)?;
    if bytes[0] != VERSION {
        return Err(LayoutError);
    }
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| bytes[at + n]));
    let short = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| bytes[at + n]));
    let (first, last) = (Seq(number(1)), Seq(number(9)));
    let seqs =
        if first == Seq::ZERO { None } else { Some(SeqRange::new(first, last).map_err(|_| LayoutError)?) };
    Ok(SpoolMeta { seqs, last_seq: last, crc32c: short(17), batch_bytes: short(21) as usize })
}

/// Reads a record. The batch is a slice of `payload`, not a copy.
pub fn decode(meta: &[u8], payload: &Bytes) -> Result<SpoolRecord, LayoutError> {
    let meta = decode_meta(meta)?;
    if meta.batch_bytes > payload.len() || (meta.seqs.is_none() && meta.batch_bytes > 0) {
        return Err(LayoutError);
    }
    let batch = meta.seqs.map(|seqs| SealedBatch {
        seqs,
        crc32c: meta.crc32c,
        bytes: payload.slice(..meta.batch_bytes),
    });
    let mut positions = Vec::new();
    let mut rest = payload.slice(meta.batch_bytes..);
    while !rest.is_empty() {
        let name_bytes = take(&mut rest, 2)?;
        let name = take(&mut rest, usize::from(u16::from_le_bytes([name_bytes[0], name_bytes[1]])))?;
        let length = take(&mut rest, 4)?;
        let position = take(&mut rest, u32::from_le_bytes(std::array::from_fn(|n| length[n])) as usize)?;
        let name = std::str::from_utf8(&name).map_err(|_| LayoutError)?;
        positions.push((name.to_owned(), position));
    }
    Ok(SpoolRecord { batch, last_seq: meta.last_seq, positions })
}

fn take(rest: &mut Bytes, len: usize) -> Result<Bytes, LayoutError> {
    if len > rest.len() { Err(LayoutError) } else { Ok(rest.split_to(len)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_step_reads_back_with_its_batch_and_positions() {
        let seqs = SeqRange::new(Seq(5), Seq(9)).expect("valid");
        let batch = SealedBatch { seqs, crc32c: 77, bytes: Bytes::from_static(b"batch bytes") };
        let record = step(Some(&batch), &[("loki@a", Bytes::from_static(b"pos")), ("host", Bytes::new())]);
        let read = decode(&record.meta, &record.payload).expect("own layout");
        assert_eq!(read.batch, Some(batch));
        assert_eq!(read.last_seq, Seq(9));
        let expected = [("loki@a".to_owned(), Bytes::from_static(b"pos")), ("host".to_owned(), Bytes::new())];
        assert_eq!(read.positions, expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_an_error(meta in proptest::collection::vec(any::<u8>(), 0..40), payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&meta, &Bytes::from(payload));
        }
    }
}
