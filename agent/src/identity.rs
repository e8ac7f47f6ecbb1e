//! Who this agent is: its id for life, and the epoch of its spool.
//!
//! `<state_dir>/identity.json` is written whole or not at all, with mode 0600. It names the epoch, and the epoch names the
//! spool's folder, so that switching to a new epoch is this one write. A file that cannot be read as an identity is an
//! error: a new id would make the collector take an old machine for a new one, and that is for a person to decide.

use std::io;
use std::path::{Path, PathBuf};

use muster::atomic_file::{self, Access};
use muster::ids::{AgentId, Epoch, Instance};
use serde::{Deserialize, Serialize};

/// The id and the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Made once for the state directory.
    pub agent_id: AgentId,
    /// New when the spool is new or the agent was fenced.
    pub epoch: Epoch,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is there and is no identity.
    #[error(
        "{} is damaged; restore it from a backup, or delete it together with the spool folder beside it to start as a new agent",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        source: serde_json::Error,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

impl Identity {
    /// A new agent in its first epoch.
    pub fn new_random() -> Result<Self, IdentityError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(IdentityError::Random)?;
        Ok(Self { agent_id: AgentId::from_bytes(id), epoch: random_epoch()? })
    }

    /// The same agent in a new epoch.
    pub fn next_epoch(self) -> Result<Self, IdentityError> {
        Ok(Self { epoch: random_epoch()?, ..self })
    }

    /// Reads the identity of `state_dir`; `None` when there is none yet.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = Self::path(state_dir);
        match std::fs::read(&path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(identity) => Ok(Some(identity)),
                Err(source) => Err(IdentityError::Damaged { path, source }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(IdentityError::Io { path, source }),
        }
    }

    /// Makes it the identity of `state_dir`, durably.
    pub fn store(&self, state_dir: &Path) -> Result<(), IdentityError> {
        let path = Self::path(state_dir);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| IdentityError::Damaged { path: path.clone(), source })?;
        atomic_file::replace(&path, &text, Access::Owner).map_err(|source| IdentityError::Io { path, source })
    }

    fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("identity.json")
    }
}

/// A new instance for this start of the process.
pub fn new_instance() -> Result<Instance, IdentityError> {
    getrandom::u64().map(Instance).map_err(IdentityError::Random)
}

fn random_epoch() -> Result<Epoch, IdentityError> {
    loop {
        let number = getrandom::u64().map_err(IdentityError::Random)?;
        if let Ok(epoch) = Epoch::try_from(number) {
            return Ok(epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_and_a_new_epoch_keeps_the_agent() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        assert_eq!(Identity::load(folder.path())?, None);
        let identity = Identity::new_random()?;
        identity.store(folder.path())?;
        assert_eq!(Identity::load(folder.path())?, Some(identity));
        let next = identity.next_epoch()?;
        assert_eq!(next.agent_id, identity.agent_id);
        assert_ne!(next.epoch, identity.epoch);
        Ok(())
    }

    #[test]
    fn a_damaged_identity_is_an_error_and_not_a_new_agent() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        atomic_file::replace(&folder.path().join("identity.json"), b"{\"agent_id\":", Access::Owner)?;
        assert!(matches!(Identity::load(folder.path()), Err(IdentityError::Damaged { .. })));
        Ok(())
    }
}
