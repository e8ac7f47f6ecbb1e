//! The enrolment token: from a file that is private or from a variable, and only into the one header it travels in.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use muster::private_file;
use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::{Ascii, MetadataValue};

/// What every enrolment token starts with.
pub const PREFIX: &str = "mst_enr_";
/// What the token of an agent starts with, which people take for it.
const AGENT_PREFIX: &str = muster::credential::TOKEN_PREFIX;
/// A token file is one line; more is a mistake and is not read into memory.
const FILE_BYTES_MAX: u64 = 4096;
const TOKEN_BYTES_MAX: usize = 256;

/// An enrolment token with its secret.
#[derive(Clone)]
pub struct EnrolToken(SecretString);

/// Why there is no enrolment token. No variant carries what was read.
#[derive(Debug, thiserror::Error)]
pub enum EnrolTokenError {
    /// Neither a file nor the variable.
    #[error(
        "no enrolment token: name its file with --enroll-token-file, or set MUSTER_ENROLL_TOKEN; one is made at the \
         collector with `muster token create --enroll --team TEAM`"
    )]
    None,
    /// Another prefix, or signs that no token has.
    #[error(
        "not an enrolment token: expected {PREFIX}<id>_<secret>_<checksum>; was it cut when it was copied?"
    )]
    Malformed,
    /// The other kind.
    #[error(
        "this is an agent's own token ({AGENT_PREFIX}...), which needs no enrolment: put it into token_file, or make an \
         enrolment token with `muster token create --enroll --team TEAM`"
    )]
    AgentToken,
    /// Others than the owner can read the file.
    #[error("enrolment token file can be read by others (mode {mode:o}); run: chmod 600 {}", path.display())]
    LooseFile {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file could not be read.
    #[error("cannot read enrolment token file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl EnrolToken {
    /// Reads a token's text and checks its outer form; the collector checks the rest.
    pub fn parse(text: &str) -> Result<Self, EnrolTokenError> {
        let text = text.trim();
        if text.starts_with(AGENT_PREFIX) {
            return Err(EnrolTokenError::AgentToken);
        }
        let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !text.starts_with(PREFIX) || !is_plain || text.len() > TOKEN_BYTES_MAX {
            return Err(EnrolTokenError::Malformed);
        }
        Ok(Self(text.to_owned().into()))
    }

    /// Reads a token from the value of `MUSTER_ENROLL_TOKEN`.
    pub fn from_variable(value: Option<String>) -> Result<Self, EnrolTokenError> {
        let value = value.filter(|text| !text.trim().is_empty()).map(SecretString::from);
        Self::parse(value.ok_or(EnrolTokenError::None)?.expose_secret())
    }

    /// Reads a token from a file that is private ([`private_file`]).
    pub fn from_file(path: &Path) -> Result<Self, EnrolTokenError> {
        let io_error = |source| EnrolTokenError::Io { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(io_error)?;
        if let Some(mode) = private_file::loose_mode(&file).map_err(io_error)? {
            return Err(EnrolTokenError::LooseFile { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(io_error)?;
        let text = SecretString::from(text);
        Self::parse(text.expose_secret())
    }

    /// The header that it travels in.
    pub(super) fn authorization(&self) -> Result<MetadataValue<Ascii>, EnrolTokenError> {
        let header = SecretString::from(format!("Bearer {}", self.0.expose_secret()));
        let mut value: MetadataValue<Ascii> =
            header.expose_secret().parse().map_err(|_| EnrolTokenError::Malformed)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for EnrolToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnrolToken([REDACTED])")
    }
}
