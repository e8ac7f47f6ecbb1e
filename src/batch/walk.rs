//! Checking a batch's bytes without decoding them into structs.
//!
//! The collector journals the bytes as they came; before that it must know that they will decode, that every event
//! names a source that is there, and how many events they hold. The walk reads tags and lengths alone, keeps nothing
//! and allocates nothing, so that a hostile length can cost nothing.

use Field::{Bytes, Fixed64, Message, Varint, Varints};

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
                message(source, SOURCE)?;
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

/// Checks a message against what its fields must be. Fields that are not in `shape` are a newer agent's.
fn message(bytes: &[u8], shape: &[Field]) -> Result<(), BatchError> {
    let mut walk = Walk { bytes };
    while let Some((number, value)) = walk.next_field()? {
        let Some(field) = usize::try_from(number - 1).ok().and_then(|index| shape.get(index)) else {
            continue;
        };
        match (field, value) {
            (Field::Varint, Value::Number(_))
            | (Field::Fixed64, Value::Fixed64)
            | (Field::Bytes, Value::Bytes(_)) => {}
            (Field::Varints, Value::Number(_)) => {}
            (Field::Varints, Value::Bytes(packed)) => varints(packed)?,
            (Field::Message(inner), Value::Bytes(bytes)) => message(bytes, inner)?,
            _ => return Err(BatchError::Malformed("known field with the wrong wire type")),
        }
    }
    Ok(())
}

fn varints(packed: &[u8]) -> Result<(), BatchError> {
    let mut walk = Walk { bytes: packed };
    while !walk.bytes.is_empty() {
        walk.varint()?;
    }
    Ok(())
}

/// What a field must be on the wire, by `proto/muster/v1/event.proto`.
enum Field {
    Varint,
    Fixed64,
    Bytes,
    /// A repeated number, packed or not.
    Varints,
    Message(&'static [Field]),
}

const SOURCE: &[Field] = &[Varint, Varint, Varint, Varint, Varint, Varint, Varint, Varint];
const ATTRIBUTE: &[Field] = &[Varint, Varint, Varint, Fixed64, Varint];
/// Kinds whose fields are all varints, by how many there are.
const VARINTS: [&[Field]; 12] = [
    &[],
    &[Varint],
    &[Varint, Varint],
    &[Varint, Varint, Varint],
    &[Varint, Varint, Varint, Varint],
    &[Varint, Varint, Varint, Varint, Varint],
    &[Varint, Varint, Varint, Varint, Varint, Varint],
    &[Varint, Varint, Varint, Varint, Varint, Varint, Varint],
    &[Varint, Varint, Varint, Varint, Varint, Varint, Varint, Varint],
    &[Varint, Varint, Varint, Varint, Varint, Varint, Varint, Varint, Varint],
    &[Varint, Varint, Varint, Varint, Varint, Varint, Varint, Varint, Varint, Varint],
    &[Varint, Varint, Varint, Varint, Varint, Varint, Varint, Varint, Varint, Varint, Varint],
];

/// The fields of the kind with this number in `Event.kind`; `None` for one that we do not know.
fn kind_shape(number: u64) -> Option<&'static [Field]> {
    Some(match number {
        4 => &[Varint, Varint, Varint, Fixed64, Varint, Varint, Varint, Varint, Varint],
        5 => &[Varint, Fixed64, Varint, Varint],
        6 | 11 => VARINTS[6],
        7 => VARINTS[10],
        8 | 10 | 25 => VARINTS[2],
        9 | 21 => VARINTS[5],
        12 | 15 | 18 => VARINTS[4],
        13 | 20 => VARINTS[3],
        14 | 24 | 29 => VARINTS[1],
        16 => VARINTS[11],
        17 => &[Fixed64],
        19 => &[Varint, Varint, Fixed64, Varint, Varint, Varint, Varint],
        22 => &[Varint, Varint, Message(ATTRIBUTE), Varint],
        23 => &[Varint, Bytes, Varint],
        26 => VARINTS[0],
        27 => &[Fixed64, Fixed64, Varint],
        28 => &[Varints, Fixed64],
        _ => return None,
    })
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
            (kind, value) => {
                let Some(shape) = kind_shape(kind) else { continue };
                let Value::Bytes(bytes) = value else {
                    return Err(BatchError::Malformed("kind of event with the wrong wire type"));
                };
                message(bytes, shape)?;
            }
        }
    }
    Ok(source)
}

enum Value<'a> {
    Number(u64),
    Fixed64,
    Fixed32,
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
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| CUT_SHORT)?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed32)?,
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
