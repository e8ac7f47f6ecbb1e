//! JSON to protobuf in one pass: no tree, no structs. A message is written as its fields come, which protobuf allows.

use super::error::{Fault, Reason};
use super::lexer::Lexer;
use super::scalar::{self, Scalar};
use super::schema::{Field, Kind, Message, Presence};

use prost::encoding::{WireType, encode_key, encode_varint};

/// Messages in messages, at most: what prost reads.
pub(super) const MESSAGE_LEVELS_MAX: u32 = 100;

/// Writes the request that `text` is into `out`.
pub(super) fn request(text: &[u8], root: &'static Message, out: &mut Vec<u8>) -> Result<(), Fault> {
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(Fault::new(0, Reason::ByteOrderMark));
    }
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => return Err(Fault::new(error.valid_up_to(), Reason::NotUtf8)),
    };
    let mut lexer = Lexer::new(text);
    if lexer.next_offset() == text.len() {
        return Err(Fault::new(text.len(), Reason::Empty));
    }
    Decoder { lexer: &mut lexer, out }.message(root, MESSAGE_LEVELS_MAX)?;
    lexer.finish()
}

struct Decoder<'a, 't> {
    lexer: &'a mut Lexer<'t>,
    out: &'a mut Vec<u8>,
}

impl Decoder<'_, '_> {
    /// Takes an object and writes its fields. `levels`: how deep messages may still nest in it.
    fn message(&mut self, message: &'static Message, levels: u32) -> Result<(), Fault> {
        self.lexer.open_object("an object")?;
        let mut first = true;
        let mut seen = 0u32;
        let mut chosen: Option<&'static str> = None;
        while let Some(key) = self.lexer.key(&mut first)? {
            let Some((index, field)) = message.by_name(&key.name) else {
                self.lexer.skip()?;
                continue;
            };
            if seen & 1 << index != 0 {
                return Err(Fault::new(key.offset, Reason::GivenTwice).in_field(field.name));
            }
            seen |= 1 << index;
            // A null is as good as no field: it does not choose among the members of a oneof either.
            if self.lexer.null().map_err(|fault| fault.in_field(field.name))? {
                continue;
            }
            if field.presence == Presence::Oneof
                && let Some(first) = chosen.replace(field.name)
            {
                return Err(Fault::new(key.offset, Reason::OneofTwice { first }).in_field(field.name));
            }
            self.field(field, levels).map_err(|fault| fault.in_field(field.name))?;
        }
        Ok(())
    }

    fn field(&mut self, field: &'static Field, levels: u32) -> Result<(), Fault> {
        if field.presence == Presence::Repeated {
            return self.repeated(field, levels);
        }
        if let Kind::Message(message) = field.kind {
            return self.nested(field, message, levels);
        }
        let value = scalar::read(self.lexer, field.kind)?;
        if field.presence != Presence::Implicit || !value.is_default() {
            self.tagged(field, &value);
        }
        Ok(())
    }

    fn repeated(&mut self, field: &'static Field, levels: u32) -> Result<(), Fault> {
        self.lexer.open_array("an array")?;
        if field.is_packed() {
            let start = self.out.len();
            encode_key(field.number, WireType::LengthDelimited, self.out);
            let empty = self.out.len() + 1;
            self.delimited(|decoder| decoder.elements(|decoder| decoder.packed(field)))?;
            if self.out.len() == empty {
                self.out.truncate(start);
            }
            return Ok(());
        }
        self.elements(|decoder| match field.kind {
            Kind::Message(message) => decoder.nested(field, message, levels),
            kind => {
                let value = scalar::read(decoder.lexer, kind)?;
                decoder.tagged(field, &value);
                Ok(())
            }
        })
    }

    /// Each element of the open array.
    fn elements(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut first = true;
        let mut index = 0;
        while self.lexer.element(&mut first)? {
            let offset = self.lexer.next_offset();
            if self.lexer.null().map_err(|fault| fault.in_element(index))? {
                return Err(Fault::new(offset, Reason::NullElement).in_element(index));
            }
            element(self).map_err(|fault| fault.in_element(index))?;
            index += 1;
        }
        Ok(())
    }

    fn packed(&mut self, field: &'static Field) -> Result<(), Fault> {
        let value = scalar::read(self.lexer, field.kind)?;
        self.value(&value);
        Ok(())
    }

    fn nested(&mut self, field: &'static Field, message: &'static Message, levels: u32) -> Result<(), Fault> {
        if levels == 0 {
            let offset = self.lexer.next_offset();
            return Err(Fault::new(offset, Reason::TooDeep { levels: MESSAGE_LEVELS_MAX }));
        }
        encode_key(field.number, WireType::LengthDelimited, self.out);
        self.delimited(|decoder| decoder.message(message, levels - 1))
    }

    /// Writes what `content` writes with its length before it. One byte is kept free for the length; what is longer than
    /// 127 bytes moves up, once for each level of nesting.
    fn delimited(&mut self, content: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        let length_at = self.out.len();
        self.out.push(0);
        content(self)?;
        let end = self.out.len();
        let length = end - length_at - 1;
        if length < 0x80 {
            self.out[length_at] = length as u8;
            return Ok(());
        }
        let mut prefix = [0u8; 10];
        let mut rest = &mut prefix[..];
        encode_varint(length as u64, &mut rest);
        let prefix_length = 10 - rest.len();
        self.out.resize(end + prefix_length - 1, 0);
        self.out.copy_within(length_at + 1..end, length_at + prefix_length);
        self.out[length_at..length_at + prefix_length].copy_from_slice(&prefix[..prefix_length]);
        Ok(())
    }

    fn tagged(&mut self, field: &'static Field, value: &Scalar<'_>) {
        let wire_type = match value {
            Scalar::Varint(_) => WireType::Varint,
            Scalar::Fixed32(_) => WireType::ThirtyTwoBit,
            Scalar::Fixed64(_) => WireType::SixtyFourBit,
            Scalar::Text(text) => {
                encode_key(field.number, WireType::LengthDelimited, self.out);
                encode_varint(text.len() as u64, self.out);
                self.out.extend_from_slice(text);
                return;
            }
        };
        encode_key(field.number, wire_type, self.out);
        self.value(value);
    }

    fn value(&mut self, value: &Scalar<'_>) {
        match value {
            Scalar::Varint(value) => encode_varint(*value, self.out),
            Scalar::Fixed32(value) => self.out.extend_from_slice(&value.to_le_bytes()),
            Scalar::Fixed64(value) => self.out.extend_from_slice(&value.to_le_bytes()),
            Scalar::Text(text) => self.out.extend_from_slice(text),
        }
    }
}
