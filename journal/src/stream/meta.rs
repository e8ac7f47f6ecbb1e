//! The meta of a batch's record: little-endian, version 1.
//!
//! | size | field |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | length of the team's name |
//! | | the team's name |
//! | 16 | agent |
//! | 8 | epoch |
//! | 8 | first sequence number |
//! | 8 | last sequence number |
//! | 4 | CRC-32C of the batch |
//!
//! More bytes may follow in a later minor version; they are passed over.

use bytes::{BufMut, Bytes, BytesMut};
use muster::ids::{AgentId, Epoch, Seq, SeqRange, StreamKey, Team};

use super::{KIND_BATCH, StreamEntry};
use crate::record::Entry;

const VERSION: u8 = 1;

/// Why an entry is not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// Its kind is another.
    #[error("record of kind {0} holds something else")]
    Kind(u8),
    /// Its meta has a version that we do not know.
    #[error("the record's meta has version {0}")]
    Version(u8),
    /// Its meta is too short, or a field is not valid.
    #[error("the record's meta is malformed")]
    Malformed,
}

impl TryFrom<&Entry> for StreamEntry {
    type Error = MetaError;

    fn try_from(entry: &Entry) -> Result<Self, MetaError> {
        if entry.kind != KIND_BATCH {
            return Err(MetaError::Kind(entry.kind));
        }
        let (key, seqs, crc32c) = decode(&entry.meta)?;
        Ok(Self {
            position: entry.position,
            appended_wall: entry.appended_wall,
            key,
            seqs,
            crc32c,
            bytes: entry.payload.clone(),
        })
    }
}

pub(super) fn encode(key: &StreamKey, seqs: SeqRange, crc32c: u32) -> Bytes {
    let mut meta = BytesMut::with_capacity(46 + key.team.as_str().len());
    meta.put_u8(VERSION);
    put_key(&mut meta, key);
    meta.put_u64_le(seqs.first().0);
    meta.put_u64_le(seqs.last().0);
    meta.put_u32_le(crc32c);
    meta.freeze()
}

fn decode(meta: &[u8]) -> Result<(StreamKey, SeqRange, u32), MetaError> {
    let mut fields = Fields(meta);
    match fields.u8()? {
        VERSION => {}
        version => return Err(MetaError::Version(version)),
    }
    let key = fields.key()?;
    let (first, last) = (Seq(fields.u64()?), Seq(fields.u64()?));
    let seqs = SeqRange::new(first, last).map_err(|_| MetaError::Malformed)?;
    Ok((key, seqs, fields.u32()?))
}

/// A key as it stands in metas and checkpoints.
pub(super) fn put_key(out: &mut BytesMut, key: &StreamKey) {
    // A team's name is at most 64 bytes (muster::ids).
    out.put_u8(key.team.as_str().len() as u8);
    out.put_slice(key.team.as_str().as_bytes());
    out.put_slice(key.agent.as_bytes());
    out.put_u64_le(key.epoch.get());
}

/// Takes fields from the front.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], MetaError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(MetaError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, MetaError> {
        Ok(self.bytes(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, MetaError> {
        let bytes = self.bytes(4)?.try_into().map_err(|_| MetaError::Malformed)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, MetaError> {
        let bytes = self.bytes(8)?.try_into().map_err(|_| MetaError::Malformed)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn team(&mut self) -> Result<Team, MetaError> {
        let len = self.u8()? as usize;
        let name = std::str::from_utf8(self.bytes(len)?).map_err(|_| MetaError::Malformed)?;
        name.parse().map_err(|_| MetaError::Malformed)
    }

    pub(super) fn key(&mut self) -> Result<StreamKey, MetaError> {
        let team = self.team()?;
        let agent = AgentId::try_from(self.bytes(16)?).map_err(|_| MetaError::Malformed)?;
        let epoch = Epoch::try_from(self.u64()?).map_err(|_| MetaError::Malformed)?;
        Ok(StreamKey { team, agent, epoch })
    }
}
