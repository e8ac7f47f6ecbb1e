//! Protobuf to JSON in one pass over the bytes. What protobuf allows beyond the plain form is read as prost reads it:
//! fields in any order, a message in several pieces (merged), the last of several scalars, packed or single numbers,
//! unknown fields (left out), the last member of a oneof.

use std::io::Write as _;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::decode::MESSAGE_LEVELS_MAX;
use super::schema::{Field, Kind, Message, Presence};

/// Bytes that are not a request of their signal.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JsonEncodeError {
    /// Not protobuf.
    #[error("the request is not protobuf: {0}")]
    Wire(#[from] prost::DecodeError),
    /// A length or a number that reaches beyond the end of its message.
    #[error("the request is not protobuf: it ends within a field")]
    Truncated,
    /// Protobuf of something else.
    #[error("the request is not of its signal: field {field} has another wire type")]
    WireType {
        /// Its name in JSON.
        field: &'static str,
    },
    /// A string that is none.
    #[error("field {field} is not UTF-8")]
    NotUtf8 {
        /// Its name in JSON.
        field: &'static str,
    },
    /// Messages in messages beyond what prost reads.
    #[error("nested deeper than {MESSAGE_LEVELS_MAX} levels")]
    TooDeep,
}

/// Writes the request that `bytes` are to `out`.
pub(super) fn request(
    bytes: &[u8],
    root: &'static Message,
    out: &mut Vec<u8>,
) -> Result<(), JsonEncodeError> {
    let whole = Occurrence { field: 0, value: Value::Bytes(bytes) };
    Encoder { occurrences: vec![whole], out }.message(0..1, root, MESSAGE_LEVELS_MAX)
}

struct Encoder<'b, 'o> {
    /// The fields of the messages that are being written: of the outermost first, each message's own at the end.
    occurrences: Vec<Occurrence<'b>>,
    out: &'o mut Vec<u8>,
}

/// A field as it is once on the wire.
#[derive(Clone, Copy)]
struct Occurrence<'b> {
    /// Index in the message's table.
    field: u8,
    value: Value<'b>,
}

#[derive(Clone, Copy)]
enum Value<'b> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(&'b [u8]),
}

impl<'b> Encoder<'b, '_> {
    /// Writes the message whose pieces are the occurrences `pieces`.
    fn message(
        &mut self,
        pieces: Range<usize>,
        message: &'static Message,
        levels: u32,
    ) -> Result<(), JsonEncodeError> {
        let base = self.occurrences.len();
        self.collect(pieces, message, base)?;
        self.out.push(b'{');
        let end = self.occurrences.len();
        let mut from = base;
        while from < end {
            let index = self.occurrences[from].field;
            let same = self.occurrences[from..end].iter().take_while(|other| other.field == index).count();
            self.field(from..from + same, &message.fields[usize::from(index)], levels)?;
            from += same;
        }
        self.occurrences.truncate(base);
        self.out.push(b'}');
        Ok(())
    }

    /// Puts the known fields of a message behind `base`, sorted by the table, those of one field in the order of the wire.
    fn collect(
        &mut self,
        pieces: Range<usize>,
        message: &'static Message,
        base: usize,
    ) -> Result<(), JsonEncodeError> {
        let mut chosen = None;
        let mut chosen_from = base;
        for piece in pieces {
            let Value::Bytes(mut rest) = self.occurrences[piece].value else { continue };
            while !rest.is_empty() {
                let (number, wire_type) = decode_key(&mut rest)?;
                let Some((index, field)) = message.by_number(number) else {
                    skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
                    continue;
                };
                if !accepts(field, wire_type) {
                    return Err(JsonEncodeError::WireType { field: field.name });
                }
                if field.presence == Presence::Oneof && chosen.replace(index) != Some(index) {
                    chosen_from = self.occurrences.len();
                }
                let value = value(wire_type, &mut rest)?;
                self.occurrences.push(Occurrence { field: index as u8, value });
            }
        }
        // What came before the last change of mind about a oneof is gone.
        let occurrences = &mut self.occurrences;
        let mut kept = base;
        for at in base..occurrences.len() {
            let field = &message.fields[usize::from(occurrences[at].field)];
            if at >= chosen_from || field.presence != Presence::Oneof {
                occurrences[kept] = occurrences[at];
                kept += 1;
            }
        }
        occurrences.truncate(kept);
        if !occurrences[base..].is_sorted_by_key(|occurrence| occurrence.field) {
            occurrences[base..].sort_by_key(|occurrence| occurrence.field);
        }
        Ok(())
    }

    /// Writes a field that is there in `range` of the occurrences.
    fn field(
        &mut self,
        range: Range<usize>,
        field: &'static Field,
        levels: u32,
    ) -> Result<(), JsonEncodeError> {
        if field.presence == Presence::Repeated {
            return self.repeated(range, field, levels);
        }
        if let Kind::Message(message) = field.kind {
            self.name(field);
            let levels = levels.checked_sub(1).ok_or(JsonEncodeError::TooDeep)?;
            return self.message(range, message, levels);
        }
        let value = self.occurrences[range.end - 1].value;
        if field.presence == Presence::Implicit && value.is_default(field.kind) {
            return Ok(());
        }
        self.name(field);
        self.scalar(field, value)
    }

    fn repeated(
        &mut self,
        range: Range<usize>,
        field: &'static Field,
        levels: u32,
    ) -> Result<(), JsonEncodeError> {
        self.name(field);
        self.out.push(b'[');
        let mut first = true;
        for at in range {
            match (field.kind, self.occurrences[at].value) {
                (Kind::Message(message), _) => {
                    self.comma(&mut first);
                    let levels = levels.checked_sub(1).ok_or(JsonEncodeError::TooDeep)?;
                    self.message(at..at + 1, message, levels)?;
                }
                (kind, Value::Bytes(mut packed)) if field.is_packed() => {
                    while !packed.is_empty() {
                        self.comma(&mut first);
                        let value = value(wire_type(kind), &mut packed)?;
                        self.scalar(field, value)?;
                    }
                }
                (_, value) => {
                    self.comma(&mut first);
                    self.scalar(field, value)?;
                }
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn comma(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.push(b',');
        }
    }

    /// Writes a field's name, with a comma if it is not the first of its object.
    fn name(&mut self, field: &'static Field) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(field.name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn scalar(&mut self, field: &'static Field, value: Value<'b>) -> Result<(), JsonEncodeError> {
        match (field.kind, value) {
            (Kind::Bool, Value::Varint(value)) => self.print(format_args!("{}", value != 0)),
            (Kind::Enum | Kind::Int32, Value::Varint(value)) => self.print(format_args!("{}", value as i32)),
            (Kind::Uint32, Value::Varint(value)) => self.print(format_args!("{}", value as u32)),
            (Kind::Sint32, Value::Varint(value)) => {
                let value = value as u32;
                self.print(format_args!("{}", (value >> 1) as i32 ^ -((value & 1) as i32)));
            }
            (Kind::Fixed32, Value::Fixed32(value)) => self.print(format_args!("{value}")),
            (Kind::Int64, Value::Varint(value)) | (Kind::Sfixed64, Value::Fixed64(value)) => {
                self.print(format_args!("\"{}\"", value as i64));
            }
            (Kind::Uint64, Value::Varint(value)) | (Kind::Fixed64, Value::Fixed64(value)) => {
                self.print(format_args!("\"{value}\""));
            }
            (Kind::Double, Value::Fixed64(bits)) => self.double(f64::from_bits(bits)),
            (Kind::String, Value::Bytes(text)) => {
                let text =
                    std::str::from_utf8(text).map_err(|_| JsonEncodeError::NotUtf8 { field: field.name })?;
                serde_json::to_writer(&mut *self.out, text).expect("a Vec takes what is written to it");
            }
            (Kind::Bytes, Value::Bytes(bytes)) => self.print(format_args!("\"{}\"", STANDARD.encode(bytes))),
            (Kind::TraceId | Kind::SpanId, Value::Bytes(id)) => {
                self.out.push(b'"');
                for byte in id {
                    self.print(format_args!("{byte:02x}"));
                }
                self.out.push(b'"');
            }
            _ => return Err(JsonEncodeError::WireType { field: field.name }),
        }
        Ok(())
    }

    fn double(&mut self, value: f64) {
        match value {
            value if value.is_nan() => self.out.extend_from_slice(b"\"NaN\""),
            f64::INFINITY => self.out.extend_from_slice(b"\"Infinity\""),
            f64::NEG_INFINITY => self.out.extend_from_slice(b"\"-Infinity\""),
            // The shortest digits that mean this number, with an exponent where it is long: always a number of JSON.
            value => self.print(format_args!("{value:?}")),
        }
    }

    fn print(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a Vec takes what is written to it");
    }
}

impl Value<'_> {
    /// Whether it is what an absent field means.
    fn is_default(self, kind: Kind) -> bool {
        match self {
            // Numbers of 32 bits are the lower half of what the wire has.
            Value::Varint(value) => match kind {
                Kind::Enum | Kind::Int32 | Kind::Uint32 | Kind::Sint32 => value as u32 == 0,
                _ => value == 0,
            },
            Value::Fixed32(value) => value == 0,
            Value::Fixed64(value) => value == 0,
            Value::Bytes(bytes) => bytes.is_empty(),
        }
    }
}

fn accepts(field: &Field, found: WireType) -> bool {
    found == wire_type(field.kind) || field.is_packed() && found == WireType::LengthDelimited
}

fn wire_type(kind: Kind) -> WireType {
    match kind {
        Kind::Bool | Kind::Enum | Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Int64 | Kind::Uint64 => {
            WireType::Varint
        }
        Kind::Fixed32 => WireType::ThirtyTwoBit,
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => WireType::SixtyFourBit,
        Kind::String | Kind::Bytes | Kind::TraceId | Kind::SpanId | Kind::Message(_) => {
            WireType::LengthDelimited
        }
    }
}

/// Takes a value of a wire type that some field has.
fn value<'b>(wire_type: WireType, rest: &mut &'b [u8]) -> Result<Value<'b>, JsonEncodeError> {
    Ok(match wire_type {
        WireType::Varint => Value::Varint(decode_varint(rest)?),
        WireType::ThirtyTwoBit => Value::Fixed32(u32::from_le_bytes(*fixed(rest)?)),
        WireType::SixtyFourBit => Value::Fixed64(u64::from_le_bytes(*fixed(rest)?)),
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(rest)?).map_err(|_| JsonEncodeError::Truncated)?;
            let (bytes, after) = rest.split_at_checked(length).ok_or(JsonEncodeError::Truncated)?;
            *rest = after;
            Value::Bytes(bytes)
        }
        WireType::StartGroup | WireType::EndGroup => return Err(JsonEncodeError::Truncated),
    })
}

fn fixed<'b, const N: usize>(rest: &mut &'b [u8]) -> Result<&'b [u8; N], JsonEncodeError> {
    let (bytes, after) = rest.split_first_chunk().ok_or(JsonEncodeError::Truncated)?;
    *rest = after;
    Ok(bytes)
}
