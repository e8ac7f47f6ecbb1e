//! Reading fields off a message: keys, varints, lengths, and skipping what is not known.
//!
//! A reader holds the request up to the end of its message, and where it stands: positions count from the
//! request's start, so that an error needs no other context. The rules are prost's (`prost::encoding`), down to
//! integers with needless zero bytes at their end, which are taken.

use super::WireError;

/// How deep messages and groups may nest: prost's `RECURSION_LIMIT`.
pub(super) const DEPTH_MAX: u32 = 100;

/// The wire types of protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Varint,
    Fixed64,
    Delimited,
    GroupStart,
    GroupEnd,
    Fixed32,
}

/// A field's key: which field, in which form, and where the key begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) number: u32,
    pub(super) wire: Wire,
    pub(super) at: usize,
}

impl Key {
    /// Fails unless the field has this wire type.
    #[inline(always)]
    pub(super) fn expect(self, wire: Wire) -> Result<(), WireError> {
        if self.wire == wire { Ok(()) } else { Err(WireError::WireType { number: self.number, at: self.at }) }
    }
}

/// One field of a message, read whole but not looked into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) key: Key,
    /// The request up to this field's end.
    bytes: &'a [u8],
    /// Where the value begins; of a length-delimited field, what follows the length.
    value_at: usize,
}

impl<'a> Field<'a> {
    /// The field's number in its message.
    #[inline]
    pub(super) fn number(&self) -> u32 {
        self.key.number
    }

    /// Where the field's key begins.
    #[inline]
    pub(super) fn start(&self) -> usize {
        self.key.at
    }

    /// Where the field ends.
    #[inline]
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    /// The field with its key and length.
    #[inline]
    pub(super) fn whole(&self) -> &'a [u8] {
        &self.bytes[self.key.at..]
    }

    /// The value of a length-delimited field.
    #[inline]
    pub(super) fn value(&self) -> Result<&'a [u8], WireError> {
        self.key.expect(Wire::Delimited)?;
        Ok(&self.bytes[self.value_at..])
    }

    /// A reader of the message that the field holds.
    #[inline]
    pub(super) fn message(&self) -> Result<Reader<'a>, WireError> {
        self.key.expect(Wire::Delimited)?;
        Ok(Reader { bytes: self.bytes, at: self.value_at })
    }
}

/// Stands somewhere in a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    /// The request up to the message's end.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the start of a whole request, or of a message that is looked at alone.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next field, whole; `None` at the message's end.
    #[inline(always)]
    pub(super) fn field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.is_at_end() {
            return Ok(None);
        }
        let key = self.key()?;
        let value_at = match key.wire {
            Wire::Delimited => {
                let value = self.delimited()?;
                self.at = value.bytes.len();
                value.at
            }
            _ => {
                let value_at = self.at;
                self.skip(key, DEPTH_MAX)?;
                value_at
            }
        };
        Ok(Some(Field { key, bytes: &self.bytes[..self.at], value_at }))
    }

    /// Whether the message is read to its end.
    #[inline(always)]
    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Where the reader stands.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What stands between two positions that the reader has passed.
    #[inline]
    pub(super) fn between(&self, from: usize, to: usize) -> &'a [u8] {
        &self.bytes[from..to]
    }

    /// What is left of the message.
    #[inline(always)]
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// A field's key.
    #[inline(always)]
    pub(super) fn key(&mut self) -> Result<Key, WireError> {
        let at = self.at;
        let key = self.varint()?;
        let wire = match key & 7 {
            0 => Wire::Varint,
            1 => Wire::Fixed64,
            2 => Wire::Delimited,
            3 => Wire::GroupStart,
            4 => Wire::GroupEnd,
            5 => Wire::Fixed32,
            _ => return Err(WireError::Key { at }),
        };
        match u32::try_from(key >> 3) {
            Ok(number) if number > 0 && key <= u64::from(u32::MAX) => Ok(Key { number, wire, at }),
            _ => Err(WireError::Key { at }),
        }
    }

    /// A variable-length integer.
    #[inline(always)]
    pub(super) fn varint(&mut self) -> Result<u64, WireError> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.varint_long(),
        }
    }

    fn varint_long(&mut self) -> Result<u64, WireError> {
        let start = self.at;
        let mut value = 0;
        for (index, &byte) in self.bytes[start..].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                // The tenth byte has room for the 64th bit only.
                if index == 9 && byte > 1 {
                    break;
                }
                self.at = start + index + 1;
                return Ok(value);
            }
        }
        Err(WireError::Varint { at: start })
    }

    /// A length, and a reader of as many bytes after it. This reader does not move past them: see [`Self::resume`].
    #[inline(always)]
    pub(super) fn delimited(&mut self) -> Result<Reader<'a>, WireError> {
        let start = self.at;
        let length = self.varint()?;
        let room = self.bytes.len() - self.at;
        match usize::try_from(length) {
            Ok(length) if length <= room => {
                Ok(Reader { bytes: &self.bytes[..self.at + length], at: self.at })
            }
            _ => Err(WireError::Truncated { at: start }),
        }
    }

    /// Moves on behind what [`Self::delimited`] gave.
    #[inline(always)]
    pub(super) fn resume(&mut self, inner: &Reader<'a>) {
        self.at = inner.bytes.len();
    }

    /// Moves `width` bytes on.
    #[inline(always)]
    pub(super) fn fixed(&mut self, width: usize) -> Result<(), WireError> {
        if self.bytes.len() - self.at < width {
            return Err(WireError::Truncated { at: self.at });
        }
        self.at += width;
        Ok(())
    }

    /// Moves behind the value of a field that nobody looks at; `depth` is how many levels may still nest.
    #[inline(always)]
    pub(super) fn skip(&mut self, key: Key, depth: u32) -> Result<(), WireError> {
        if depth == 0 {
            return Err(WireError::Depth { at: key.at });
        }
        match key.wire {
            Wire::Varint => self.varint().map(drop),
            Wire::Fixed32 => self.fixed(4),
            Wire::Fixed64 => self.fixed(8),
            Wire::Delimited => self.delimited().map(|value| self.resume(&value)),
            Wire::GroupEnd => Err(WireError::GroupEnd { at: key.at }),
            Wire::GroupStart => self.skip_group(key, depth),
        }
    }

    #[cold]
    fn skip_group(&mut self, key: Key, depth: u32) -> Result<(), WireError> {
        loop {
            let inner = self.key()?;
            match inner.wire {
                Wire::GroupEnd if inner.number == key.number => return Ok(()),
                Wire::GroupEnd => return Err(WireError::GroupEnd { at: inner.at }),
                _ => self.skip(inner, depth - 1)?,
            }
        }
    }
}
