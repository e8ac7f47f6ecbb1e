//! KeyValues: most of what a request consists of.

use super::WireError;
use super::reader::{Field, Wire};
use super::schema::number;

/// Key and AnyValue of a KeyValue that is written as nearly all are: both once, in this order, each under 128 bytes,
/// and nothing else. `None` says nothing: it may be valid, written in another way.
#[inline(always)]
pub(super) fn plain(attribute: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x0a, key_len @ 0..0x80, rest @ ..] = attribute else { return None };
    match rest.split_at_checked(usize::from(*key_len)) {
        Some((key, [0x12, value_len @ 0..0x80, value @ ..])) if value.len() == usize::from(*value_len) => {
            Some((key, value))
        }
        _ => None,
    }
}

/// The key of a KeyValue: the last one, should there be several; empty without.
#[inline]
pub(super) fn key_of<'a>(attribute: &Field<'a>) -> Result<&'a [u8], WireError> {
    if let Some((key, _)) = plain(attribute.value()?) {
        return Ok(key);
    }
    let mut key: &[u8] = &[];
    let mut reader = attribute.message()?;
    while let Some(field) = reader.field()? {
        if field.number() == number::KEY {
            key = field.value()?;
        }
    }
    Ok(key)
}

/// The value of a KeyValue if it is a string. A value may come in pieces, and an AnyValue may name several values:
/// the last one counts.
pub(super) fn string_of<'a>(attribute: &Field<'a>) -> Result<Option<&'a str>, WireError> {
    let mut string = None;
    let mut reader = attribute.message()?;
    while let Some(field) = reader.field()? {
        if field.number() != number::VALUE {
            continue;
        }
        let mut value = field.message()?;
        while let Some(field) = value.field()? {
            if field.number() == number::STRING && field.key.wire == Wire::Delimited {
                string = std::str::from_utf8(field.value()?).ok();
            } else if number::is_any_value(field.number()) {
                string = None;
            }
        }
    }
    Ok(string)
}
