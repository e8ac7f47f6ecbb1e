//! Identities: who speaks, in which life of its spool, and which event.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The tenant. It comes from the credential alone, never from a message.
///
/// 1 to 64 characters of `a-z A-Z 0-9 . _ -`, so that it is a safe label, folder and URL part.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Team(String);

/// One installed agent: 128 random bits, made when its state directory is new.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentId([u8; 16]);

/// One life of an agent's spool: new when the spool is new or the agent was fenced. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(u64);

/// One life of an agent's process: tells a reconnect from a clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instance(pub u64);

/// The number of an event in its epoch, from 1 without gaps. 0 means "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Seq(pub u64);

/// A run of sequence numbers, both ends in it, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeqRange {
    first: Seq,
    last: Seq,
}

/// Whose sequence numbers these are: the key of a high-water mark.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// The tenant, from the credential.
    pub team: Team,
    /// The agent, from its hello.
    pub agent: AgentId,
    /// The life of its spool, from its hello.
    pub epoch: Epoch,
}

/// Why a text or number is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A team's name is empty, too long, or has a character outside the allowed ones.
    #[error("team name {0:?} is not 1 to 64 characters of a-z A-Z 0-9 . _ -")]
    Team(String),
    /// An agent id is not 32 hexadecimal digits or 16 bytes.
    #[error("agent id is not 16 bytes or 32 hexadecimal digits")]
    Agent,
    /// An epoch of 0.
    #[error("epoch 0 is not valid")]
    Epoch,
    /// A range that ends before it begins, or begins at 0.
    #[error("sequence range {first}..={last} is empty or starts at 0")]
    Range {
        /// First of the range as given.
        first: u64,
        /// Last of the range as given.
        last: u64,
    },
}

/// Longest team name in bytes: it is part of every series and journal record.
pub const TEAM_BYTES_MAX: usize = 64;

impl Team {
    /// The team of everybody on a loopback collector without credentials.
    pub fn default_team() -> Self {
        Self("default".to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Team {
    type Error = IdError;

    fn try_from(name: String) -> Result<Self, IdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > TEAM_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(IdError::Team(name.chars().take(80).collect()));
        }
        Ok(Self(name))
    }
}

impl FromStr for Team {
    type Err = IdError;

    fn from_str(name: &str) -> Result<Self, IdError> {
        Self::try_from(name.to_owned())
    }
}

impl From<Team> for String {
    fn from(team: Team) -> Self {
        team.0
    }
}

impl fmt::Display for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AgentId {
    /// An id from its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, as they stand on the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl TryFrom<&[u8]> for AgentId {
    type Error = IdError;

    fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
        bytes.try_into().map(Self).map_err(|_| IdError::Agent)
    }
}

impl TryFrom<String> for AgentId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl FromStr for AgentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(IdError::Agent);
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let nibble = |d: u8| (d as char).to_digit(16).ok_or(IdError::Agent);
            *byte = (nibble(pair[0])? * 16 + nibble(pair[1])?) as u8;
        }
        Ok(Self(bytes))
    }
}

impl From<AgentId> for String {
    fn from(id: AgentId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentId({self})")
    }
}

impl Epoch {
    /// The number, as it stands on the wire.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Epoch {
    type Error = IdError;

    fn try_from(number: u64) -> Result<Self, IdError> {
        if number == 0 { Err(IdError::Epoch) } else { Ok(Self(number)) }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Seq {
    /// Before the first event.
    pub const ZERO: Seq = Seq(0);

    /// The one after it.
    pub const fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl SeqRange {
    /// A range of both ends. `first` is at least 1 and at most `last`.
    pub fn new(first: Seq, last: Seq) -> Result<Self, IdError> {
        if first.0 == 0 || last < first {
            return Err(IdError::Range { first: first.0, last: last.0 });
        }
        Ok(Self { first, last })
    }

    /// First number in it.
    pub const fn first(self) -> Seq {
        self.first
    }

    /// Last number in it.
    pub const fn last(self) -> Seq {
        self.last
    }

    /// How many numbers are in it; at least 1.
    pub const fn count(self) -> u64 {
        self.last.0 - self.first.0 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_id_reads_back_what_it_prints() {
        let id = AgentId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(id.to_string().parse::<AgentId>(), Ok(id));
        assert_eq!("zz".repeat(16).parse::<AgentId>(), Err(IdError::Agent));
        assert_eq!("00".parse::<AgentId>(), Err(IdError::Agent));
    }

    #[test]
    fn a_team_name_that_could_break_a_path_or_a_label_is_refused() {
        for name in ["", "a/b", "a b", "ünïcode", "x\n", &"x".repeat(65)] {
            assert!(name.parse::<Team>().is_err(), "{name:?}");
        }
        assert!("platform-2.eu_west".parse::<Team>().is_ok());
    }

    #[test]
    fn a_range_is_never_empty_and_never_starts_at_zero() {
        assert!(SeqRange::new(Seq(0), Seq(1)).is_err());
        assert!(SeqRange::new(Seq(2), Seq(1)).is_err());
        assert_eq!(SeqRange::new(Seq(3), Seq(5)).map(SeqRange::count), Ok(3));
    }
}
