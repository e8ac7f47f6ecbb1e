//! Explicit little-endian fields.

use super::SnapshotError;

pub(super) fn put_u32(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(super) fn put_u64(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Counts of things in memory fit a u32: each has a u32 as its number.
pub(super) fn put_count(count: usize, out: &mut Vec<u8>) {
    put_u32(u32::try_from(count).unwrap_or(u32::MAX), out);
}

pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_count(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// What is left to read.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, SnapshotError> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, SnapshotError> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, SnapshotError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.take().map(u64::from_le_bytes)
    }

    /// A count of things of at least `bytes_each` bytes: never more than there can be.
    pub(super) fn count(&mut self, bytes_each: usize) -> Result<usize, SnapshotError> {
        let count = self.u32()? as usize;
        if count > self.0.len() / bytes_each { Err(CUT_SHORT) } else { Ok(count) }
    }

    pub(super) fn text(&mut self) -> Result<&'a str, SnapshotError> {
        let len = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(len).ok_or(CUT_SHORT)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| SnapshotError::Inconsistent("text is not UTF-8"))
    }
}

const CUT_SHORT: SnapshotError = SnapshotError::Inconsistent("cut short");
