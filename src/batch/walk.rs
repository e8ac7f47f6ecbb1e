//! Checking a batch's bytes without decoding them into structs.
//!
//! The collector journals the bytes as they came; before that it must know that they will decode, that every event
//! names a source that is there, and how many events they hold. The walk reads tags and lengths alone, keeps nothing
//! and allocates nothing, so that a hostile length can cost nothing.

use super::BatchError;
use crate::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, SOURCES_MAX, TEXT_BYTES_MAX, TEXTS_MAX};

/// What the walk learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// `Batch.first_seq`.
    pub first_seq: u64,
    /// Number of events; at least 1.
    pub event_count: u64,
}

/// Field numbers of `muster.v1.Batch` and `muster.v1.Event`.
mod field {
    pub(super) const FIRST_SEQ: u64 = 1;
    pub(super) const BASE_TIME: u64 = 2;
    pub(super) const STRINGS: u64 = 3;
    pub(super) const SOURCES: u64 = 4;
    pub(super) const EVENTS: u64 = 5;
    pub(super) const EVENT_SOURCE: u64 = 2;
}

/// Checks that `bytes` are a batch within all bounds.
pub fn check(bytes: &[u8]) -> Result<BatchHead, BatchError> {
    bound("bytes", bytes.len(), BATCH_BYTES_MAX)?;
    let mut head = BatchHead { first_seq: 0, event_count: 0 };
    let (mut texts, mut sources, mut source_index_max) = (0_usize, 0_usize, 0_u64);
    let mut walk = Walk { bytes };
    while let Some((number, value)) = walk.next_field()? {
        match (number, value) {
            (field::FIRST_SEQ, Value::Number(n)) => head.first_seq = n,
            (field::BASE_TIME, Value::Number(_)) => {}
            (field::STRINGS, Value::Bytes(text)) => {
                texts += 1;
                bound("bytes of text", text.len(), TEXT_BYTES_MAX)?;
                std::str::from_utf8(text).map_err(|_| BatchError::Malformed("text is not UTF-8"))?;
            }
            (field::SOURCES, Value::Bytes(source)) => {
                sources += 1;
                scalars_only(source)?;
            }
            (field::EVENTS, Value::Bytes(event)) => {
                head.event_count += 1;
                source_index_max = source_index_max.max(event_source(event)?);
            }
            (1..=5, _) => return Err(BatchError::Malformed("known field with the wrong wire type")),
            _ => {}
        }
    }
    bound("texts", texts, TEXTS_MAX)?;
    bound("sources", sources, SOURCES_MAX)?;
    bound("events", head.event_count as usize, BATCH_EVENTS_MAX)?;
    if head.event_count == 0 || head.first_seq == 0 || head.first_seq.checked_add(head.event_count).is_none()
    {
        return Err(BatchError::Sequence);
    }
    if source_index_max >= sources as u64 {
        let index = u32::try_from(source_index_max).unwrap_or(u32::MAX);
        return Err(BatchError::Index { what: "source", index, len: sources });
    }
    Ok(head)
}

fn bound(what: &'static str, count: usize, max: usize) -> Result<(), BatchError> {
    if count > max { Err(BatchError::TooMany { what, count, max }) } else { Ok(()) }
}

/// A source holds numbers alone.
fn scalars_only(bytes: &[u8]) -> Result<(), BatchError> {
    let mut walk = Walk { bytes };
    while let Some((number, value)) = walk.next_field()? {
        if (1..=8).contains(&number) && !matches!(value, Value::Number(_)) {
            return Err(BatchError::Malformed("source field with the wrong wire type"));
        }
    }
    Ok(())
}

/// Walks an event and the message of its kind; answers its source index.
fn event_source(bytes: &[u8]) -> Result<u64, BatchError> {
    let mut source = 0;
    let mut walk = Walk { bytes };
    while let Some((number, value)) = walk.next_field()? {
        match (number, value) {
            (field::EVENT_SOURCE, Value::Number(n)) => source = n,
            (1 | 3, Value::Number(_)) => {}
            (1..=3, _) => return Err(BatchError::Malformed("event field with the wrong wire type")),
            (_, _) => {}
        }
    }
    Ok(source)
}

enum Value<'a> {
    Number(u64),
    Fixed,
    Bytes(&'a [u8]),
}

struct Walk<'a> {
    bytes: &'a [u8],
}

impl<'a> Walk<'a> {
    fn next_field(&mut self) -> Result<Option<(u64, Value<'a>)>, BatchError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        if key > u64::from(u32::MAX) || key >> 3 == 0 {
            return Err(BatchError::Malformed("field number out of range"));
        }
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| CUT_SHORT)?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(BatchError::Malformed("group or unknown wire type")),
        };
        Ok(Some((key >> 3, value)))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], BatchError> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(CUT_SHORT)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, BatchError> {
        let mut number = 0_u64;
        for (index, &byte) in self.bytes.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                if index == 9 && byte > 1 {
                    break;
                }
                self.bytes = &self.bytes[index + 1..];
                return Ok(number);
            }
        }
        Err(CUT_SHORT)
    }
}

const CUT_SHORT: BatchError = BatchError::Malformed("cut short");
