//! The whole-depth check: a request is taken exactly if prost's decoder of `opentelemetry-proto` takes it.

use super::reader::{DEPTH_MAX, Reader, Wire};
use super::schema::{self, Kind, Table};
use super::{Tally, WireError, attribute, count};
use crate::Signal;

/// Checks a request down to its last field and counts what it holds. Takes exactly what prost decodes: right wire
/// types, lengths that fit, texts in UTF-8, no more than 100 levels; unknown fields and groups are skipped.
pub fn check(signal: Signal, request: &[u8]) -> Result<Tally, WireError> {
    message(schema::request(signal), Reader::new(request), DEPTH_MAX)?;
    count::request(signal, request)
}

/// Checks one message and all below; `depth` is how many levels may still nest, as prost counts them.
fn message(table: &Table, mut reader: Reader<'_>, depth: u32) -> Result<(), WireError> {
    while !reader.is_at_end() {
        let key = reader.key()?;
        match table.kind(key.number) {
            Kind::Message(inner) => {
                key.expect(Wire::Delimited)?;
                let value = reader.delimited()?;
                if depth == 0 {
                    return Err(WireError::Depth { at: key.at });
                }
                message(inner, value, depth - 1)?;
                reader.resume(&value);
            }
            Kind::Attribute => {
                key.expect(Wire::Delimited)?;
                let value = reader.delimited()?;
                // The KeyValue, the AnyValue in it, and one to be safe.
                if depth < 3 || !is_plain_attribute(value.rest()) {
                    if depth == 0 {
                        return Err(WireError::Depth { at: key.at });
                    }
                    message(&schema::KEY_VALUE, value, depth - 1)?;
                }
                reader.resume(&value);
            }
            Kind::Text => {
                key.expect(Wire::Delimited)?;
                let value = reader.delimited()?;
                if !is_utf8(value.rest()) {
                    return Err(WireError::Text { at: value.at() });
                }
                reader.resume(&value);
            }
            Kind::Bytes => {
                key.expect(Wire::Delimited)?;
                let value = reader.delimited()?;
                reader.resume(&value);
            }
            Kind::Varint => {
                key.expect(Wire::Varint)?;
                reader.varint()?;
            }
            Kind::Fixed64 => {
                key.expect(Wire::Fixed64)?;
                reader.fixed(8)?;
            }
            Kind::Fixed32 => {
                key.expect(Wire::Fixed32)?;
                reader.fixed(4)?;
            }
            Kind::Varints if key.wire == Wire::Delimited => {
                let mut value = reader.delimited()?;
                reader.resume(&value);
                while !value.is_at_end() {
                    value.varint()?;
                }
            }
            Kind::Varints => {
                key.expect(Wire::Varint)?;
                reader.varint()?;
            }
            Kind::Fixed64s if key.wire == Wire::Delimited => {
                let value = reader.delimited()?;
                reader.resume(&value);
                if !value.rest().len().is_multiple_of(8) {
                    return Err(WireError::Truncated { at: value.at() });
                }
            }
            Kind::Fixed64s => {
                key.expect(Wire::Fixed64)?;
                reader.fixed(8)?;
            }
            Kind::Unknown => reader.skip(key, depth)?,
        }
    }
    Ok(())
}

/// Whether a KeyValue is valid at a glance: its key in ASCII, its value an ASCII string, a bool, an integer or a
/// double. What is not may still be valid.
#[inline(always)]
fn is_plain_attribute(attribute: &[u8]) -> bool {
    let Some((key, value)) = attribute::plain(attribute) else { return false };
    let valid = match value {
        [0x0a, len, text @ ..] => text.len() == usize::from(*len) && is_ascii(text),
        [0x10 | 0x18, leading @ .., 0..0x80] => leading.len() < 9 && leading.iter().all(|&byte| byte >= 0x80),
        [0x21, number @ ..] => number.len() == 8,
        _ => false,
    };
    valid && is_ascii(key)
}

#[inline(always)]
fn is_utf8(text: &[u8]) -> bool {
    is_ascii(text) || std::str::from_utf8(text).is_ok()
}

/// Whether a text is ASCII. Most texts of telemetry are short, where the general check costs more than the rest of
/// the walk: these are looked at in words, the last of which overlaps the one before.
#[inline(always)]
fn is_ascii(text: &[u8]) -> bool {
    const HIGH_BITS: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;
    let high = if let Some(last) = text.last_chunk::<16>() {
        let (words, _) = text.as_chunks::<16>();
        words.iter().fold(u128::from_le_bytes(*last), |high, word| high | u128::from_le_bytes(*word))
    } else if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        u128::from(u64::from_le_bytes(*first) | u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        u128::from(u32::from_le_bytes(*first) | u32::from_le_bytes(*last))
    } else {
        text.iter().fold(0, |high, &byte| high | u128::from(byte))
    };
    high & HIGH_BITS == 0
}
