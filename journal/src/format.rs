//! The bytes on disk, format version 1. All numbers are little-endian; all checksums are CRC-32C (Castagnoli,
//! check value `0xE3069283` for `"123456789"`).
//!
//! # The folder
//!
//! | name | what |
//! |---|---|
//! | `<first position, 20 digits>.seg` | a segment |
//! | `<first position, 20 digits>.corrupt` | what was set aside from that segment |
//! | `<first position, 20 digits>.seg.corrupt` | a segment that was not what its name says, as a whole |
//! | `<name>.cursor` | a named cursor |
//! | `reserve` | allocated room that is given up when the disk is full; its content means nothing |
//!
//! The folder itself is locked (`flock`), so there is no lock file.
//!
//! # A segment
//!
//! Bytes 0..1024 are its head: two copies of the same 64 bytes at offsets 0 and 512, so that neither a flipped bit
//! nor a lost sector costs the segment; the rest is zero. These 64 bytes keep their place in every version, so that an
//! older program can tell a newer format from damage.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `MUSTERJL` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | zero |
//! | 12 | 4 | size of the head: where the frames begin, 1024 |
//! | 16 | 16 | journal id: random, the same in all segments of one log |
//! | 32 | 8 | first position: that of the first record, as in the name |
//! | 40 | 8 | wall time of its making, microseconds since 1970 |
//! | 48 | 12 | zero |
//! | 60 | 4 | CRC of bytes 0..60 |
//!
//! Frames follow without padding, until the end of the file or until zeros (room that was allocated ahead).
//!
//! # A frame
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `F5 4D 4A 52` |
//! | 4 | 4 | payload length |
//! | 8 | 2 | meta length |
//! | 10 | 1 | type: 1 a record, 2 a seal, 3 a record whose unit goes on with the next frame |
//! | 11 | 1 | kind (the caller's) |
//! | 12 | 8 | position |
//! | 20 | 8 | wall time, microseconds since 1970 |
//! | 28 | 8 | synced: the last position that was durable when this was written |
//! | 36 | 4 | CRC of the payload |
//! | 40 | 4 | CRC of: journal id, first position of the segment, bytes 0..40 of the frame, meta |
//! | 44 | | meta, then payload |
//!
//! The second checksum begins with who the segment is. A frame of another segment, of another log, or of an earlier use
//! of the same blocks is therefore no frame here, and neither is one that stands in a payload.
//!
//! A *unit* is what was committed together: frames of type 3 and then one of type 1. A unit without its end, at the end
//! of the log, was never acknowledged and is cut off.
//!
//! A *seal* has no meta and no payload, does not use up a position (it repeats the last one), and says that everything
//! before it is synced. One stands at the end of a closed segment. In the open segment one is written, unsynced, after
//! a group when nothing waits; the next group overwrites it.
//!
//! # What recovery concludes
//!
//! Let S be the largest `synced` of any valid frame in the last segment, or its first position less 1. A damaged or
//! missing record at or before S had been durable: it is set aside and told as a gap. Past S, nothing is known to have
//! been acknowledged: the log is cut at the first byte that does not make sense, since a disk may persist a later part
//! of an unsynced write and not an earlier one, and a gap there would claim that something was acknowledged. What
//! remains past S is written again and synced before it counts as durable: after a failed `fdatasync` the system's
//! cache may show bytes that the disk does not have. When S is the last position, nothing is written or synced.
//!
//! # Set-aside bytes
//!
//! A `.corrupt` file is a sequence of entries: offset in the segment (8), length (8), first position lost (8), last
//! position lost (8), and the bytes as they were found. An entry is written once for one offset.
//!
//! # A cursor
//!
//! Two slots of 64 bytes at offsets 0 and 512. An advance overwrites the older slot and syncs; the valid slot with the
//! larger generation counts. One flipped bit costs one advance.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `MUSTERJC` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 6 | zero |
//! | 16 | 16 | journal id |
//! | 32 | 8 | position: the last one that the reader has done with |
//! | 40 | 8 | generation |
//! | 48 | 12 | zero |
//! | 60 | 4 | CRC of bytes 0..60 |

/// The version that we write, and the newest that we read.
pub const FORMAT_VERSION: u16 = 1;
/// Size of a segment's head, and where its frames begin.
pub const SEGMENT_HEAD_BYTES: usize = 1024;
/// Where the second copy of a head or a cursor stands: another sector than the first.
pub const SECOND_COPY_OFFSET: usize = 512;
/// Size of one copy of a head, and of a cursor's slot.
pub const HEAD_COPY_BYTES: usize = 64;
/// Size of a frame without meta and payload.
pub const FRAME_HEAD_BYTES: usize = 44;
/// Largest meta: its length is a `u16`.
pub const META_BYTES_MAX: usize = u16::MAX as usize;

const SEGMENT_MAGIC: [u8; 8] = *b"MUSTERJL";
const CURSOR_MAGIC: [u8; 8] = *b"MUSTERJC";
pub(crate) const FRAME_MAGIC: [u8; 4] = [0xF5, b'M', b'J', b'R'];

/// Random bytes that all segments of one log share.
pub type JournalId = [u8; 16];

/// What a segment's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHead {
    /// The log that it belongs to.
    pub journal_id: JournalId,
    /// Position of its first record.
    pub first: u64,
    /// When it was made.
    pub created_wall_us: u64,
}

/// What one copy of a head or a slot turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<T> {
    /// Valid.
    Valid(T),
    /// Valid, of a version that we do not know.
    Newer(u16),
    /// Not one of ours, or damaged.
    Damaged,
}

/// One slot of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorSlot {
    /// The log that it belongs to.
    pub journal_id: JournalId,
    /// The last position that the reader has done with.
    pub position: u64,
    /// The larger one counts.
    pub generation: u64,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameType {
    /// A record that ends its unit.
    Record,
    /// Everything before it is synced.
    Seal,
    /// A record whose unit goes on.
    RecordWithMore,
}

/// A frame's fixed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// What it is.
    pub frame_type: FrameType,
    /// The caller's kind.
    pub kind: u8,
    /// Length of the meta.
    pub meta_len: u16,
    /// Length of the payload.
    pub payload_len: u32,
    /// Its position.
    pub position: u64,
    /// Wall time of the append.
    pub wall_us: u64,
    /// The last position that was durable when it was written.
    pub synced: u64,
    /// Checksum of the payload.
    pub payload_crc: u32,
}

/// The beginning of every frame checksum of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt(u32);

impl Salt {
    /// Of the segment that begins at `first`.
    pub fn new(journal_id: &JournalId, first: u64) -> Self {
        Self(crc32c::crc32c_append(crc32c::crc32c(journal_id), &first.to_le_bytes()))
    }
}

impl SegmentHead {
    /// The whole head, both copies.
    pub fn encode(&self) -> [u8; SEGMENT_HEAD_BYTES] {
        let mut copy = [0; HEAD_COPY_BYTES];
        copy[0..8].copy_from_slice(&SEGMENT_MAGIC);
        copy[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        copy[12..16].copy_from_slice(&(SEGMENT_HEAD_BYTES as u32).to_le_bytes());
        copy[16..32].copy_from_slice(&self.journal_id);
        copy[32..40].copy_from_slice(&self.first.to_le_bytes());
        copy[40..48].copy_from_slice(&self.created_wall_us.to_le_bytes());
        seal_copy(&mut copy);
        let mut head = [0; SEGMENT_HEAD_BYTES];
        head[..HEAD_COPY_BYTES].copy_from_slice(&copy);
        head[SECOND_COPY_OFFSET..SECOND_COPY_OFFSET + HEAD_COPY_BYTES].copy_from_slice(&copy);
        head
    }

    /// From the first bytes of a segment; either copy will do.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        either_copy(bytes, |copy| match check_copy(copy, &SEGMENT_MAGIC) {
            Decoded::Valid(copy) if le_u32(copy, 12) as usize == SEGMENT_HEAD_BYTES => Decoded::Valid(Self {
                journal_id: array(copy, 16),
                first: le_u64(copy, 32),
                created_wall_us: le_u64(copy, 40),
            }),
            Decoded::Newer(version) => Decoded::Newer(version),
            _ => Decoded::Damaged,
        })
    }
}

impl CursorSlot {
    /// The 64 bytes of one slot.
    pub fn encode(&self) -> [u8; HEAD_COPY_BYTES] {
        let mut slot = [0; HEAD_COPY_BYTES];
        slot[0..8].copy_from_slice(&CURSOR_MAGIC);
        slot[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        slot[16..32].copy_from_slice(&self.journal_id);
        slot[32..40].copy_from_slice(&self.position.to_le_bytes());
        slot[40..48].copy_from_slice(&self.generation.to_le_bytes());
        seal_copy(&mut slot);
        slot
    }

    /// From the bytes at a slot's offset on.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        match check_copy(bytes, &CURSOR_MAGIC) {
            Decoded::Valid(slot) => Decoded::Valid(Self {
                journal_id: array(slot, 16),
                position: le_u64(slot, 32),
                generation: le_u64(slot, 40),
            }),
            Decoded::Newer(version) => Decoded::Newer(version),
            Decoded::Damaged => Decoded::Damaged,
        }
    }
}

impl FrameType {
    const fn code(self) -> u8 {
        match self {
            FrameType::Record => 1,
            FrameType::Seal => 2,
            FrameType::RecordWithMore => 3,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(FrameType::Record),
            2 => Some(FrameType::Seal),
            3 => Some(FrameType::RecordWithMore),
            _ => None,
        }
    }
}

impl FrameHead {
    /// Appends the frame's fixed part and its meta to `out`. The payload follows it on disk.
    pub fn encode(&self, salt: Salt, meta: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&FRAME_MAGIC);
        out.extend_from_slice(&self.payload_len.to_le_bytes());
        out.extend_from_slice(&self.meta_len.to_le_bytes());
        out.push(self.frame_type.code());
        out.push(self.kind);
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&self.wall_us.to_le_bytes());
        out.extend_from_slice(&self.synced.to_le_bytes());
        out.extend_from_slice(&self.payload_crc.to_le_bytes());
        let crc = head_crc(salt, &out[start..], meta);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(meta);
    }

    /// The fields of a frame that may begin `bytes`, which are at least [`FRAME_HEAD_BYTES`]. Not yet to be trusted:
    /// see [`FrameHead::is_valid`].
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < FRAME_HEAD_BYTES || bytes[0..4] != FRAME_MAGIC {
            return None;
        }
        let head = Self {
            frame_type: FrameType::from_code(bytes[10])?,
            kind: bytes[11],
            meta_len: u16::from_le_bytes([bytes[8], bytes[9]]),
            payload_len: le_u32(bytes, 4),
            position: le_u64(bytes, 12),
            wall_us: le_u64(bytes, 20),
            synced: le_u64(bytes, 28),
            payload_crc: le_u32(bytes, 36),
        };
        let is_seal = head.frame_type == FrameType::Seal;
        (!is_seal || head.frame_len() == FRAME_HEAD_BYTES as u64).then_some(head)
    }

    /// Whether `bytes`, which begin with this head and its meta, belong to the segment of `salt` and are undamaged.
    pub fn is_valid(&self, salt: Salt, bytes: &[u8]) -> bool {
        let meta = &bytes[FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + self.meta_len as usize];
        head_crc(salt, &bytes[..40], meta) == le_u32(bytes, 40)
    }

    /// Size of the whole frame.
    pub fn frame_len(&self) -> u64 {
        frame_len(self.meta_len as usize, self.payload_len as usize)
    }
}

/// Size of a frame of these lengths.
pub fn frame_len(meta_len: usize, payload_len: usize) -> u64 {
    (FRAME_HEAD_BYTES + meta_len + payload_len) as u64
}

fn head_crc(salt: Salt, fixed: &[u8], meta: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(salt.0, fixed), meta)
}

fn seal_copy(copy: &mut [u8; HEAD_COPY_BYTES]) {
    let crc = crc32c::crc32c(&copy[..60]);
    copy[60..64].copy_from_slice(&crc.to_le_bytes());
}

fn check_copy<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Decoded<&'a [u8]> {
    let Some(copy) = bytes.get(..HEAD_COPY_BYTES) else { return Decoded::Damaged };
    if copy[0..8] != *magic || crc32c::crc32c(&copy[..60]) != le_u32(copy, 60) {
        return Decoded::Damaged;
    }
    match u16::from_le_bytes([copy[8], copy[9]]) {
        FORMAT_VERSION => Decoded::Valid(copy),
        version if version > FORMAT_VERSION => Decoded::Newer(version),
        _ => Decoded::Damaged,
    }
}

fn either_copy<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Decoded<T>) -> Decoded<T> {
    match decode(bytes) {
        Decoded::Damaged => decode(bytes.get(SECOND_COPY_OFFSET..).unwrap_or_default()),
        known => known,
    }
}

fn le_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn le_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests;
