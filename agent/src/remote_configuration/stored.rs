//! `<state_dir>/remote_configuration.pb`: the offer that is in force, and who made it.
//!
//! Written whole or not at all, with mode 0600, and read as suspiciously as an offer that comes over the wire: a file that
//! this version would refuse is an error, and not an empty one.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use muster::atomic_file::{self, Access};
use muster::v1;
use prost::Message;

use super::Offer;
use super::offer::{self, Refusal};

/// Raised when an older file would be misread.
const VERSION: u32 = 1;
/// Largest file: an offer has 16 KiB at most.
const FILE_BYTES_MAX: u64 = 64 << 10;
const FILE: &str = "remote_configuration.pb";

/// Who made an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The collector's address.
    pub server: String,
    /// How it calls our team.
    pub team: String,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system does not let us.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no such file, or of a newer version.
    #[error("{} is damaged, or of a newer version", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It was taken by another version, and this one does not understand it.
    #[error("{}: {refusal}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        refusal: Refusal,
    },
}

/// The file.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
}

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(message, optional, tag = "2")]
    offer: Option<v1::ConfigurationOffer>,
    #[prost(string, tag = "3")]
    server: String,
    #[prost(string, tag = "4")]
    team: String,
}

impl Store {
    pub(super) fn new(state_dir: impl AsRef<Path>) -> Self {
        Self { path: state_dir.as_ref().join(FILE) }
    }

    /// What is in force; `None`: nothing.
    pub(super) fn load(&self) -> Result<Option<(Offer, Issuer)>, StoreError> {
        let mut bytes = Vec::new();
        match std::fs::File::open(&self.path) {
            Ok(file) => file
                .take(FILE_BYTES_MAX)
                .read_to_end(&mut bytes)
                .map_err(|source| self.error("read", source))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.error("read", source)),
        };
        let damaged = || StoreError::Damaged { path: self.path.clone() };
        let stored = Stored::decode(&bytes[..]).map_err(|_| damaged())?;
        let (VERSION, Some(offer)) = (stored.version, &stored.offer) else { return Err(damaged()) };
        match offer::read(offer) {
            Ok(Some(offer)) => Ok(Some((offer, Issuer { server: stored.server, team: stored.team }))),
            Ok(None) => Err(damaged()),
            Err(refusal) => Err(StoreError::Refused { path: self.path.clone(), refusal }),
        }
    }

    /// Makes an offer the one in force. After an error the one before is.
    pub(super) fn replace(&self, offer: &Offer, issuer: &Issuer) -> Result<(), StoreError> {
        let stored = Stored {
            version: VERSION,
            offer: Some(offer.as_sent()),
            server: issuer.server.clone(),
            team: issuer.team.clone(),
        };
        let before = std::fs::read(&self.path).ok();
        atomic_file::replace(&self.path, &stored.encode_to_vec(), Access::Owner).map_err(|source| {
            // The file may have its new content and not be known to be durable: what is said to be in force must be.
            let _ = match before {
                Some(before) => atomic_file::replace(&self.path, &before, Access::Owner),
                None => self.unlink(),
            };
            self.error("write", source)
        })
    }

    /// Makes nothing be in force.
    pub(super) fn remove(&self) -> Result<(), StoreError> {
        self.unlink().map_err(|source| self.error("remove", source))
    }

    /// A removal that a crash undoes brings back what is stricter, until the collector has said so again.
    fn unlink(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn error(&self, what: &'static str, source: io::Error) -> StoreError {
        StoreError::Io { what, path: self.path.clone(), source }
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for team {}", self.server, self.team)
    }
}
