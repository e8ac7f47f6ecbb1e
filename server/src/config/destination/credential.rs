//! Where a destination's credential is kept.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use muster::private_file;
use secrecy::SecretString;
use zeroize::Zeroize;

/// A credential is one line; more is a mistake and is not read into memory.
const CREDENTIAL_BYTES_MAX: u64 = 16 << 10;

/// Where a credential is kept. Holds none itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// In a private file ([`private_file`]); read again when the destination refuses what was read.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
}

/// Why there is no credential. No variant carries what was read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The file could not be read.
    #[error("cannot read credential file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner can read the file.
    #[error("credential file {path} can be read by others (mode {mode:o}); run: chmod 600 {path}")]
    LooseFile {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The variable is not set, or is no text.
    #[error("variable {0} (credential_env) is not set")]
    Variable(String),
}

impl Credential {
    /// Reads it, without the white space around it.
    pub fn read(&self) -> Result<SecretString, CredentialError> {
        match self {
            Credential::File(path) => read_file(path),
            Credential::Variable(name) => {
                let mut text = std::env::var(name).map_err(|_| CredentialError::Variable(name.clone()))?;
                let secret = SecretString::from(text.trim());
                text.zeroize();
                Ok(secret)
            }
        }
    }
}

fn read_file(path: &Path) -> Result<SecretString, CredentialError> {
    let io_error = |source| CredentialError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io_error)?;
    if let Some(mode) = private_file::loose_mode(&file).map_err(io_error)? {
        return Err(CredentialError::LooseFile { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(CREDENTIAL_BYTES_MAX).read_to_string(&mut text).map_err(io_error)?;
    let secret = SecretString::from(text.trim());
    text.zeroize();
    Ok(secret)
}
