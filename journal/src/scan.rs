//! Walks the frames of one segment, in blocks, and finds the next good one after damage.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::format::{FRAME_HEAD_BYTES, FRAME_MAGIC, FrameHead, FrameType, Salt};
use crate::fs::{File, read_full};

/// Block that is read when only heads are wanted and payloads are large.
const HEADS_BLOCK_BYTES: usize = 4096;

/// One valid frame. Its head is checked; its payload only if it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) offset: u64,
    pub(crate) head: FrameHead,
    pub(crate) meta: Bytes,
    /// None if payloads are skipped.
    pub(crate) payload: Option<Bytes>,
}

/// One step of the walk.
#[derive(Debug)]
pub(crate) enum Scan {
    Frame(Frame),
    /// The head is valid and the payload is not.
    BadPayload {
        offset: u64,
        head: FrameHead,
    },
    /// These bytes are no frame; at `to` the next one begins, or the segment ends.
    Bad {
        offset: u64,
        to: u64,
    },
    /// Nothing but zeros, or nothing at all, from here to the end.
    End,
}

#[derive(Debug)]
pub(crate) struct Scanner {
    file: Arc<dyn File>,
    salt: Salt,
    /// The next frame is expected here.
    pub(crate) offset: u64,
    /// Nothing is read past it.
    pub(crate) end: u64,
    block: Bytes,
    block_offset: u64,
    block_bytes: usize,
    /// Whether payloads are passed over unread and unchecked.
    pub(crate) skip_payloads: bool,
}

impl Scanner {
    pub(crate) fn new(file: Arc<dyn File>, salt: Salt, offset: u64, end: u64, block_bytes: usize) -> Self {
        let block = Bytes::new();
        Self { file, salt, offset, end, block, block_offset: 0, block_bytes, skip_payloads: false }
    }

    pub(crate) fn next(&mut self) -> io::Result<Scan> {
        if self.offset >= self.end {
            return Ok(Scan::End);
        }
        let offset = self.offset;
        let Some((head, meta)) = self.head_at(offset)? else { return self.resync() };
        self.offset = offset + head.frame_len();
        if self.skip_payloads {
            return Ok(Scan::Frame(Frame { offset, head, meta, payload: None }));
        }
        let frame_bytes = head.frame_len() as usize;
        // The head said that all of it is before the end, so less is a file that became shorter.
        let Some(frame) = self.bytes_at(offset, frame_bytes)? else {
            return Ok(Scan::BadPayload { offset, head });
        };
        // Sliced again from this block: the first one may have ended with the meta.
        let meta = frame.slice(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + head.meta_len as usize);
        let payload = frame.slice(frame_bytes - head.payload_len as usize..);
        if crc32c::crc32c(&payload) != head.payload_crc {
            return Ok(Scan::BadPayload { offset, head });
        }
        Ok(Scan::Frame(Frame { offset, head, meta, payload: Some(payload) }))
    }

    /// The valid head at `offset`, if there is one and its frame ends within the segment.
    fn head_at(&mut self, offset: u64) -> io::Result<Option<(FrameHead, Bytes)>> {
        let Some(fixed) = self.bytes_at(offset, FRAME_HEAD_BYTES)? else { return Ok(None) };
        let Some(head) = FrameHead::decode(&fixed) else { return Ok(None) };
        if head.frame_len() > self.end - offset {
            return Ok(None);
        }
        let head_bytes = FRAME_HEAD_BYTES + head.meta_len as usize;
        let Some(bytes) = self.bytes_at(offset, head_bytes)? else { return Ok(None) };
        let meta = bytes.slice(FRAME_HEAD_BYTES..);
        Ok(head.is_valid(self.salt, &bytes).then_some((head, meta)))
    }

    /// Looks for the next valid head after `self.offset`, and goes there.
    fn resync(&mut self) -> io::Result<Scan> {
        let from = self.offset;
        let mut has_content = false;
        let mut at = from;
        while at < self.end {
            let most = (self.end - at).min(self.block_bytes as u64) as usize;
            let Some(bytes) = self.bytes_at(at, most)? else { break };
            // Room that was allocated ahead is most of what is looked through when a log is opened, and holds no magic.
            let is_zero = bytes.chunks(ZEROS.len()).all(|chunk| chunk == &ZEROS[..chunk.len()]);
            has_content = has_content || !is_zero;
            let searched = if is_zero { &[][..] } else { &bytes[..] };
            for candidate in magics(searched).map(|i| at + i as u64).filter(|&c| c > from) {
                if self.head_at(candidate)?.is_some() {
                    self.offset = candidate;
                    return Ok(Scan::Bad { offset: from, to: candidate });
                }
            }
            // The magic may lie across two blocks.
            let step = if most > FRAME_MAGIC.len() { most - (FRAME_MAGIC.len() - 1) } else { most };
            at += step as u64;
        }
        self.offset = self.end;
        Ok(if has_content { Scan::Bad { offset: from, to: self.end } } else { Scan::End })
    }

    /// `len` bytes at `offset`, from the block or from a new one that begins there. None if the segment ends before.
    fn bytes_at(&mut self, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
        if self.end.saturating_sub(offset) < len as u64 {
            return Ok(None);
        }
        let is_in_block =
            offset >= self.block_offset && offset + len as u64 <= self.block_offset + self.block.len() as u64;
        if !is_in_block {
            let wanted =
                if self.skip_payloads { HEADS_BLOCK_BYTES.min(self.block_bytes) } else { self.block_bytes };
            let size = (wanted.max(len) as u64).min(self.end - offset) as usize;
            // The block before, if nobody holds a piece of it any more: filling a new one with zeros costs as much as reading.
            let mut block = std::mem::take(&mut self.block).try_into_mut().unwrap_or_default();
            block.resize(size, 0);
            let got = read_full(&*self.file, &mut block, offset)?;
            block.truncate(got);
            self.block = block.freeze();
            self.block_offset = offset;
            if got < len {
                return Ok(None);
            }
        }
        let start = (offset - self.block_offset) as usize;
        Ok(Some(self.block.slice(start..start + len)))
    }
}

/// Compared with a block at once, which is many times faster than byte by byte.
const ZEROS: [u8; 4096] = [0; 4096];

/// Where a frame's magic stands in `bytes`.
fn magics(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let is_magic = |i: &usize| bytes[*i..].starts_with(&FRAME_MAGIC);
    (0..bytes.len()).filter(|&i| bytes[i] == FRAME_MAGIC[0]).filter(is_magic)
}

impl Frame {
    pub(crate) fn is_seal(&self) -> bool {
        self.head.frame_type == FrameType::Seal
    }

    pub(crate) fn end(&self) -> u64 {
        self.offset + self.head.frame_len()
    }
}
