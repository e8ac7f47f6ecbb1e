//! The whole-depth check: a request is taken exactly if prost's decoder of `opentelemetry-proto` takes it.

use super::reader::{DEPTH_MAX, Reader, Wire};
use super::schema::{self, Kind, Table};
use super::{Tally, WireError, count};
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

/// Whether a text is UTF-8. Most texts of telemetry are short and ASCII, where the general check costs more than
/// the rest of the walk: these are looked at in words of 8 bytes, the last of which may overlap.
#[inline(always)]
fn is_utf8(text: &[u8]) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let mut high = 0;
    if let Some(last) = text.last_chunk::<8>() {
        high = u64::from_le_bytes(*last);
        for word in text.as_chunks::<8>().0 {
            high |= u64::from_le_bytes(*word);
        }
    } else {
        for &byte in text {
            high |= u64::from(byte);
        }
    }
    high & HIGH_BITS == 0 || std::str::from_utf8(text).is_ok()
}
