//! Writing messages whose length is known only at their end.

use bytes::{BufMut, BytesMut};

use super::WireError;
use super::reader::{Field, Reader};

/// Longest field number written as one byte of key.
const ONE_BYTE_NUMBER_MAX: u32 = 15;

/// The key of a length-delimited field.
pub(super) const fn delimited_key(number: u32) -> u8 {
    assert!(number <= ONE_BYTE_NUMBER_MAX);
    ((number << 3) | 2) as u8
}

/// How many bytes a variable-length integer takes.
pub(super) const fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends a variable-length integer.
pub(super) fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Appends a length-delimited field.
pub(super) fn put_delimited(out: &mut BytesMut, number: u32, value: &[u8]) {
    out.put_u8(delimited_key(number));
    put_varint(out, value.len() as u64);
    out.put_slice(value);
}

/// Appends the fields of a message but those that `leaves_out` names; what stands together is copied together.
#[inline]
pub(super) fn put_fields(
    out: &mut BytesMut,
    mut message: Reader<'_>,
    leaves_out: impl Fn(&Field<'_>) -> Result<bool, WireError>,
) -> Result<(), WireError> {
    let mut start = message.at();
    while let Some(field) = message.field()? {
        if leaves_out(&field)? {
            out.put_slice(message.between(start, field.start()));
            start = field.end();
        }
    }
    out.put_slice(message.between(start, message.at()));
    Ok(())
}

/// A length-delimited field that is being written: its length is put in at the end. The room left for it is a
/// guess; a wrong one costs moving the value by a byte or two, never a length with needless bytes.
#[must_use]
pub(super) struct Frame {
    value_at: usize,
    width: usize,
}

impl Frame {
    /// Appends the field's key and leaves room for a length of about `likely` bytes.
    pub(super) fn open(out: &mut BytesMut, number: u32, likely: usize) -> Self {
        let width = varint_len(likely as u64);
        out.put_u8(delimited_key(number));
        out.put_bytes(0, width);
        Self { value_at: out.len(), width }
    }

    /// Puts the length in: all that was appended since [`Frame::open`].
    pub(super) fn close(self, out: &mut BytesMut) {
        let length = out.len() - self.value_at;
        let width = varint_len(length as u64);
        let value_at = self.value_at - self.width + width;
        if width > self.width {
            out.put_bytes(0, width - self.width);
        }
        if width != self.width {
            out.copy_within(self.value_at..self.value_at + length, value_at);
            out.truncate(value_at + length);
        }
        let mut rest = length as u64;
        for byte in &mut out[value_at - width..value_at - 1] {
            *byte = (rest as u8) | 0x80;
            rest >>= 7;
        }
        out[value_at - 1] = rest as u8;
    }
}
