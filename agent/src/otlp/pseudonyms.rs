//! Names for what may not be named: `redacted-` and 32 bits of a keyed checksum.
//!
//! The key is random, lies in `<state_dir>/otlp.key` (0600) and never leaves the machine, so nobody can find a text by
//! trying candidates; being the same after a restart, it lets a cumulative series go on as itself. Without the file (it
//! cannot be read, written or is of another size) a key of this process is used: such series begin anew at a restart.

use std::path::Path;

use muster::atomic_file::{self, Access};
use sha2::{Digest, Sha256};

use crate::facts::redact::REDACTED;
use crate::identity::IdentityError;

const KEY_BYTES: usize = 32;

/// The key.
pub struct Pseudonyms([u8; KEY_BYTES]);

impl Pseudonyms {
    /// Those of `state_dir`, made at the first time.
    pub fn load(state_dir: &Path) -> Result<Self, IdentityError> {
        let path = state_dir.join("otlp.key");
        if let Some(key) = std::fs::read(&path).ok().and_then(|bytes| bytes.try_into().ok()) {
            return Ok(Self(key));
        }
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(IdentityError::Random)?;
        if let Err(error) = atomic_file::replace(&path, &key, Access::Owner) {
            tracing::warn!(path = %path.display(), %error, "cannot keep the key of redacted attributes; their series begin anew at each start");
        }
        Ok(Self(key))
    }

    /// Those of a given key.
    #[cfg(test)]
    pub fn of_key(key: [u8; KEY_BYTES]) -> Self {
        Self(key)
    }

    /// What stands for `text`.
    pub fn of(&self, text: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(self.0);
        digest.update(text.as_bytes());
        let digest = digest.finalize();
        let number = u32::from_be_bytes(std::array::from_fn(|n| digest[n]));
        format!("{REDACTED}-{number:08x}")
    }
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_name_across_restarts_and_another_on_another_machine()
    -> Result<(), Box<dyn std::error::Error>> {
        let (here, there) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let first = Pseudonyms::load(here.path())?.of("src/a.rs");
        assert_eq!(Pseudonyms::load(here.path())?.of("src/a.rs"), first);
        assert_ne!(Pseudonyms::load(here.path())?.of("src/b.rs"), first);
        assert_ne!(Pseudonyms::load(there.path())?.of("src/a.rs"), first);
        Ok(())
    }
}
