//! Stamping: attributes set in every Resource, and an id on every log record, while copying.
//!
//! A Resource that is written in pieces becomes one piece, at the start of its entry: to concatenate the pieces is
//! to merge them. What is not stamped is copied as it stands, unknown fields included.

use bytes::{BufMut, BytesMut};

use super::attribute::key_of;
use super::reader::{Field, Reader};
use super::schema::number;
use super::write::{Frame, delimited_key, put_delimited, put_fields, put_varint, varint_len};
use super::{Tally, WireError, count};
use crate::Signal;

/// The attribute that identifies a log record: its payload's identity, a dot, its index in the payload.
pub const ITEM_ID: &str = "muster.item.id";

/// What [`stamp`] puts in.
#[derive(Debug, Clone, Default)]
pub struct Stamp {
    attributes: Vec<Attribute>,
    record_ids: Option<String>,
}

#[derive(Debug, Clone)]
struct Attribute {
    key: String,
    /// The field of a Resource, with its key and length.
    field: BytesMut,
}

impl Stamp {
    /// A stamp that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a string attribute in every Resource, in place of those of that key.
    pub fn set(&mut self, key: &str, value: &str) -> &mut Self {
        let mut field = BytesMut::new();
        put_string_attribute(&mut field, number::RESOURCE_ATTRIBUTES, key, &[value.as_bytes()]);
        self.attributes.retain(|attribute| attribute.key != key);
        self.attributes.push(Attribute { key: key.to_owned(), field });
        self
    }

    /// Gives every log record the attribute [`ITEM_ID`] of value `<prefix>.<index>`, in place of one it has. The
    /// index counts the records of one call from 0. Other signals have no such ids.
    pub fn record_ids(&mut self, prefix: &str) -> &mut Self {
        self.record_ids = Some(prefix.to_owned());
        self
    }

    fn sets(&self, key: &[u8]) -> bool {
        self.attributes.iter().any(|attribute| attribute.key.as_bytes() == key)
    }
}

/// Appends a request to `out` with the stamp put in. On an error nothing is appended.
pub fn stamp(signal: Signal, request: &[u8], stamp: &Stamp, out: &mut BytesMut) -> Result<Tally, WireError> {
    let start = out.len();
    let ids = match (&stamp.record_ids, signal) {
        (Some(prefix), Signal::Logs) => Some(ItemIds::new(prefix, request)),
        _ => None,
    };
    // An id takes some 60 bytes, an eighth of a usual record.
    out.reserve(request.len() + request.len() / 8 * usize::from(ids.is_some()) + 512);
    let stamped = Stamper { signal, stamp, ids, out }.request(request);
    if stamped.is_err() {
        out.truncate(start);
    }
    stamped
}

struct Stamper<'a> {
    signal: Signal,
    stamp: &'a Stamp,
    ids: Option<ItemIds<'a>>,
    out: &'a mut BytesMut,
}

impl Stamper<'_> {
    fn request(&mut self, request: &[u8]) -> Result<Tally, WireError> {
        let mut tally = Tally::default();
        let mut reader = Reader::new(request);
        while let Some(field) = reader.field()? {
            if field.number() == number::ENTRIES {
                tally.resources = tally.resources.saturating_add(1);
                tally.items += self.entry(&field)?;
            } else {
                self.out.put_slice(field.whole());
            }
        }
        Ok(tally)
    }

    fn entry(&mut self, entry: &Field<'_>) -> Result<u64, WireError> {
        let mut items = 0;
        let frame = Frame::open(self.out, number::ENTRIES, entry.whole().len());
        if !self.stamp.attributes.is_empty() {
            self.resource(entry.message()?)?;
        }
        let mut reader = entry.message()?;
        while let Some(field) = reader.field()? {
            match field.number() {
                number::RESOURCE if !self.stamp.attributes.is_empty() => {}
                number::SCOPES if self.ids.is_some() => items += self.scope(&field)?,
                number::SCOPES => {
                    items += count::scope(self.signal, field.message()?)?;
                    self.out.put_slice(field.whole());
                }
                _ => self.out.put_slice(field.whole()),
            }
        }
        frame.close(self.out);
        Ok(items)
    }

    /// Writes the Resource of an entry: all pieces of it but the attributes that are set, then these.
    fn resource(&mut self, mut entry: Reader<'_>) -> Result<(), WireError> {
        // Two bytes of length hold all usual Resources.
        let frame = Frame::open(self.out, number::RESOURCE, 1 << 10);
        while let Some(piece) = entry.field()? {
            if piece.number() != number::RESOURCE {
                continue;
            }
            put_fields(self.out, piece.message()?, |field| {
                Ok(field.number() == number::RESOURCE_ATTRIBUTES && self.stamp.sets(key_of(field)?))
            })?;
        }
        for attribute in &self.stamp.attributes {
            self.out.put_slice(&attribute.field);
        }
        frame.close(self.out);
        Ok(())
    }

    /// Writes a scope's group with an id on each of its log records.
    fn scope(&mut self, scope: &Field<'_>) -> Result<u64, WireError> {
        let mut items = 0;
        let frame = Frame::open(self.out, number::SCOPES, scope.whole().len());
        let mut reader = scope.message()?;
        while let Some(field) = reader.field()? {
            match &mut self.ids {
                Some(ids) if field.number() == number::RECORDS => {
                    ids.put_record(&field, self.out)?;
                    items += 1;
                }
                _ => self.out.put_slice(field.whole()),
            }
        }
        frame.close(self.out);
        Ok(items)
    }
}

/// The ids of log records: the attribute of the next record, ready to be copied.
struct ItemIds<'a> {
    prefix: &'a str,
    index: u64,
    attribute: BytesMut,
    /// Whether [`ITEM_ID`] stands anywhere in the request: if not, no record need be searched for it.
    may_have_ids: bool,
}

impl<'a> ItemIds<'a> {
    fn new(prefix: &'a str, request: &[u8]) -> Self {
        let may_have_ids = memchr::memmem::find(request, ITEM_ID.as_bytes()).is_some();
        let mut ids = Self { prefix, index: 0, attribute: BytesMut::new(), may_have_ids };
        ids.write_attribute();
        ids
    }

    /// Writes a log record with its id as the last attribute.
    fn put_record(&mut self, record: &Field<'_>, out: &mut BytesMut) -> Result<(), WireError> {
        let value = record.value()?;
        if self.may_have_ids {
            let frame = Frame::open(out, number::RECORDS, value.len() + self.attribute.len());
            put_fields(out, record.message()?, |field| {
                Ok(field.number() == number::LOG_ATTRIBUTES && key_of(field)? == ITEM_ID.as_bytes())
            })?;
            out.put_slice(&self.attribute);
            frame.close(out);
        } else {
            out.put_u8(const { delimited_key(number::RECORDS) });
            put_varint(out, (value.len() + self.attribute.len()) as u64);
            out.put_slice(value);
            out.put_slice(&self.attribute);
        }
        self.advance();
        Ok(())
    }

    /// Counts up the digits in place; only where there is one digit more is the attribute written anew.
    fn advance(&mut self) {
        self.index += 1;
        for digit in self.attribute.iter_mut().rev() {
            match digit {
                b'9' => *digit = b'0',
                b'0'..=b'8' => {
                    *digit += 1;
                    return;
                }
                _ => break,
            }
        }
        self.write_attribute();
    }

    fn write_attribute(&mut self) {
        let index = self.index.to_string();
        let id = [self.prefix.as_bytes(), b".", index.as_bytes()];
        self.attribute.clear();
        put_string_attribute(&mut self.attribute, number::LOG_ATTRIBUTES, ITEM_ID, &id);
    }
}

/// Appends a KeyValue as field `number`, its value a string made of `pieces`.
fn put_string_attribute(out: &mut BytesMut, number: u32, key: &str, pieces: &[&[u8]]) {
    let string_len: usize = pieces.iter().map(|piece| piece.len()).sum();
    let value_len = 1 + varint_len(string_len as u64) + string_len;
    let attribute = Frame::open(out, number, key.len() + value_len + 4);
    put_delimited(out, number::KEY, key.as_bytes());
    out.put_u8(const { delimited_key(number::VALUE) });
    put_varint(out, value_len as u64);
    out.put_u8(const { delimited_key(number::STRING) });
    put_varint(out, string_len as u64);
    for piece in pieces {
        out.put_slice(piece);
    }
    attribute.close(out);
}
