//! OTLP payloads that came to the collector itself: they belong to no stream and have no numbers.
//!
//! Their meta, little-endian, version 1; more bytes may follow in a later minor version and are passed over:
//!
//! | size | field |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | length of the team's name |
//! | | the team's name |
//! | 1 | signal, the number of `muster.v1.OtlpSignal` |
//! | 4 | items: log records, spans or data points |

use bytes::{BufMut, Bytes, BytesMut};
use muster::clock::WallTime;
use muster::ids::Team;
use muster::v1::OtlpSignal;

use super::meta::{Fields, MetaError};
use crate::record::{Entry, Position, Record};

/// Kind of the records that hold an OTLP payload.
pub const KIND_OTLP: u8 = 3;
const VERSION: u8 = 1;

/// An OTLP request, or a part of one, as it is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpPart {
    /// What it holds.
    pub signal: OtlpSignal,
    /// Log records, spans or data points in it.
    pub items: u32,
    /// An `Export*ServiceRequest` as protobuf. Not copied.
    pub bytes: Bytes,
}

/// An OTLP payload as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEntry {
    /// Its place in the log.
    pub position: Position,
    /// Wall time of the append.
    pub appended_wall: WallTime,
    /// Whose it is, by the credential that it came with.
    pub team: Team,
    /// What it holds.
    pub signal: OtlpSignal,
    /// Log records, spans or data points in it.
    pub items: u32,
    /// An `Export*ServiceRequest` as protobuf; empty if the reader skips payloads.
    pub bytes: Bytes,
}

pub(super) fn record(team: &Team, part: OtlpPart) -> Record {
    let mut meta = BytesMut::with_capacity(7 + team.as_str().len());
    meta.put_u8(VERSION);
    // A team's name is at most 64 bytes (muster::ids).
    meta.put_u8(team.as_str().len() as u8);
    meta.put_slice(team.as_str().as_bytes());
    meta.put_u8(part.signal as u8);
    meta.put_u32_le(part.items);
    Record { kind: KIND_OTLP, meta: meta.freeze(), payload: part.bytes }
}

impl TryFrom<&Entry> for OtlpEntry {
    type Error = MetaError;

    fn try_from(entry: &Entry) -> Result<Self, MetaError> {
        if entry.kind != KIND_OTLP {
            return Err(MetaError::Kind(entry.kind));
        }
        let mut fields = Fields(&entry.meta);
        match fields.u8()? {
            VERSION => {}
            version => return Err(MetaError::Version(version)),
        }
        let team = fields.team()?;
        let signal = OtlpSignal::try_from(i32::from(fields.u8()?)).map_err(|_| MetaError::Malformed)?;
        let items = fields.u32()?;
        Ok(Self {
            position: entry.position,
            appended_wall: entry.appended_wall,
            team,
            signal,
            items,
            bytes: entry.payload.clone(),
        })
    }
}
