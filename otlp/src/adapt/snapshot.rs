//! The state of an adapter as bytes.
//!
//! ```text
//! "MUAD" | version u16 = 1 | seen since: u8, u64 | streams u32 | stream* | CRC-32C of all before, u32
//! stream: id u128 | toward u8 | start u64 | time u64 | second u64 | kind u8 | value of that kind
//! value:  0 int i64 | 1 double | 2 summed, bounds, counts | 3 summed, scale i32, zero count u64, zero threshold, side, side
//! summed: count u64 | sum, min, max: u8 and double each      side: offset i32, counts      lists: length u32, elements
//! ```
//!
//! Integers are little-endian, doubles their bits. Streams are in the order of their last use, so the same state gives the
//! same bytes. Anything that is cut, changed or of another version is refused as a whole: half a state would count twice.

use super::identity::StreamId;
use super::streams::{Baseline, Streams, Toward};
use super::value::{Explicit, Exponential, Summed, Value};
use crate::proto::metrics::exponential_histogram_data_point::Buckets;

const MAGIC: &[u8; 4] = b"MUAD";
const VERSION: u16 = 1;

/// Why a snapshot cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not the bytes that were written.
    #[error("adapter snapshot is cut or changed")]
    Corrupt,
    /// Written by another version.
    #[error("adapter snapshot has version {0}, this program reads {VERSION}")]
    Version(u16),
}

/// The state as bytes.
pub(super) fn encode(streams: &Streams) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + streams.stats().streams * 64);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.push(u8::from(streams.raw_seen_since().is_some()));
    out.extend_from_slice(&streams.raw_seen_since().unwrap_or(0).to_le_bytes());
    let each = streams.by_use();
    put_len(&mut out, each.len());
    for (id, baseline) in each {
        out.extend_from_slice(&id.0.to_le_bytes());
        out.push(baseline.toward as u8);
        for number in [baseline.start, baseline.time, baseline.second] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        put_value(&mut out, &baseline.value);
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// The state that was encoded, within bounds that may be tighter now.
pub(super) fn decode(bytes: &[u8], streams_max: usize, bytes_max: usize) -> Result<Streams, SnapshotError> {
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or(SnapshotError::Corrupt)?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return Err(SnapshotError::Corrupt);
    }
    let mut reader = Reader { rest: body };
    if reader.array::<4>()? != *MAGIC {
        return Err(SnapshotError::Corrupt);
    }
    let version = u16::from_le_bytes(reader.array()?);
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let mut streams = Streams::new(streams_max, bytes_max);
    let (has_seen, seen_since) = (reader.byte()?, reader.u64()?);
    streams.set_seen_since((has_seen != 0).then_some(seen_since));
    for _ in 0..u32::from_le_bytes(reader.array()?) {
        let id = StreamId(u128::from_le_bytes(reader.array()?));
        let baseline = Baseline {
            toward: reader.toward()?,
            start: reader.u64()?,
            time: reader.u64()?,
            second: reader.u64()?,
            value: reader.value()?,
        };
        streams.put(id, baseline);
    }
    if reader.rest.is_empty() { Ok(streams) } else { Err(SnapshotError::Corrupt) }
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Int(int) => {
            out.push(0);
            out.extend_from_slice(&int.to_le_bytes());
        }
        Value::Double(double) => {
            out.push(1);
            out.extend_from_slice(&double.to_bits().to_le_bytes());
        }
        Value::Explicit(summed, explicit) => {
            out.push(2);
            put_summed(out, summed);
            put_list(out, explicit.bounds.iter().map(|bound| bound.to_bits()));
            put_list(out, explicit.counts.iter().copied());
        }
        Value::Exponential(summed, exponential) => {
            out.push(3);
            put_summed(out, summed);
            out.extend_from_slice(&exponential.scale.to_le_bytes());
            out.extend_from_slice(&exponential.zero_count.to_le_bytes());
            out.extend_from_slice(&exponential.zero_threshold.to_bits().to_le_bytes());
            for side in [&exponential.positive, &exponential.negative] {
                out.extend_from_slice(&side.offset.to_le_bytes());
                put_list(out, side.bucket_counts.iter().copied());
            }
        }
    }
}

fn put_summed(out: &mut Vec<u8>, summed: &Summed) {
    out.extend_from_slice(&summed.count.to_le_bytes());
    for number in [summed.sum, summed.min, summed.max] {
        out.push(u8::from(number.is_some()));
        out.extend_from_slice(&number.unwrap_or(0.0).to_bits().to_le_bytes());
    }
}

fn put_list(out: &mut Vec<u8>, list: impl ExactSizeIterator<Item = u64>) {
    put_len(out, list.len());
    list.for_each(|element| out.extend_from_slice(&element.to_le_bytes()));
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("streams and buckets are bounded far under 2^32");
    out.extend_from_slice(&len.to_le_bytes());
}

/// What is left to read.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(SnapshotError::Corrupt)?;
        self.rest = rest;
        Ok(*first)
    }

    fn byte(&mut self) -> Result<u8, SnapshotError> {
        self.array().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.array().map(u64::from_le_bytes)
    }

    fn double(&mut self) -> Result<f64, SnapshotError> {
        self.u64().map(f64::from_bits)
    }

    fn i32(&mut self) -> Result<i32, SnapshotError> {
        self.array().map(i32::from_le_bytes)
    }

    fn list<T>(&mut self, from: impl Fn(u64) -> T) -> Result<Vec<T>, SnapshotError> {
        let len = u32::from_le_bytes(self.array()?) as usize;
        if len > self.rest.len() / 8 {
            return Err(SnapshotError::Corrupt);
        }
        (0..len).map(|_| self.u64().map(&from)).collect()
    }

    fn toward(&mut self) -> Result<Toward, SnapshotError> {
        let all = [Toward::Delta, Toward::Cumulative, Toward::Delta1s];
        let byte = self.byte()?;
        all.into_iter().find(|toward| *toward as u8 == byte).ok_or(SnapshotError::Corrupt)
    }

    fn value(&mut self) -> Result<Value, SnapshotError> {
        Ok(match self.byte()? {
            0 => Value::Int(self.array().map(i64::from_le_bytes)?),
            1 => Value::Double(self.double()?),
            2 => Value::Explicit(
                self.summed()?,
                Explicit { bounds: self.list(f64::from_bits)?, counts: self.list(|count| count)? },
            ),
            3 => Value::Exponential(
                self.summed()?,
                Exponential {
                    scale: self.i32()?,
                    zero_count: self.u64()?,
                    zero_threshold: self.double()?,
                    positive: self.side()?,
                    negative: self.side()?,
                },
            ),
            _ => return Err(SnapshotError::Corrupt),
        })
    }

    fn summed(&mut self) -> Result<Summed, SnapshotError> {
        let count = self.u64()?;
        let mut optional = || -> Result<Option<f64>, SnapshotError> {
            let is_there = self.byte()? != 0;
            let number = self.double()?;
            Ok(is_there.then_some(number))
        };
        Ok(Summed { count, sum: optional()?, min: optional()?, max: optional()? })
    }

    fn side(&mut self) -> Result<Buckets, SnapshotError> {
        Ok(Buckets { offset: self.i32()?, bucket_counts: self.list(|count| count)? })
    }
}
