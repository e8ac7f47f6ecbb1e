//! The token file: `{"version": 1, "tokens": [{id, team or operator, sha256, created_us, revoked_us}]}`, readable by its
//! owner alone.
//!
//! Replaced as a whole and durably; a lock file beside it keeps two editors from losing each other's change. A file
//! that is not valid is an error and is never written over.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use muster::atomic_file::{self, Access};
use muster::clock::WallTime;
use muster::credential::{Token, TokenHash, TokenId};
use muster::ids::Team;
use serde::{Deserialize, Serialize};

use super::Scope;

/// Most tokens, revoked ones included: one for each of 10,000 developers, and their replacements.
pub const TOKENS_MAX: usize = 50_000;
/// What as many tokens need at most.
const FILE_BYTES_MAX: u64 = 32 << 20;
const FILE_NAME: &str = "tokens.json";
const LOCK_NAME: &str = "tokens.lock";
const VERSION: u32 = 1;

/// One token as the collector keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Its name. Not secret.
    pub id: TokenId,
    /// Who shows it speaks for this team. `None`: it is an operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<Team>,
    /// Who shows it reads everything and speaks for nobody. Said in the file, so that a record whose team is missing is
    /// a broken one and not an operator's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub operator: bool,
    /// SHA-256 of its text.
    pub sha256: TokenHash,
    /// When it was made, in microseconds since the epoch.
    pub created_us: u64,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_us: Option<u64>,
}

/// The file, open for a change: nobody else can change it until this is dropped.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    records: Vec<TokenRecord>,
    _lock: File,
}

/// Why the token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It or its folder could not be read or written.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not what this program writes.
    #[error("{path} is not a valid token file: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// There are [`TOKENS_MAX`] tokens.
    #[error("there are {TOKENS_MAX} tokens: remove revoked ones from tokens.json first")]
    Full,
    /// No token has this id.
    #[error("no token has the id {0}; `muster token list` shows them")]
    NoSuchToken(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content<T> {
    version: u32,
    tokens: T,
}

/// Where it is.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE_NAME)
}

/// When and how large: enough to see that it is another.
pub(super) fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// All records; none when there is no file.
pub(super) fn read(path: &Path) -> Result<Vec<TokenRecord>, TokenFileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(TokenFileError::Io { what: "read", path: path.to_owned(), source }),
    };
    let mut text = Vec::new();
    let read = file.take(FILE_BYTES_MAX).read_to_end(&mut text);
    read.map_err(|source| TokenFileError::Io { what: "read", path: path.to_owned(), source })?;
    let invalid = |problem: String| TokenFileError::Invalid { path: path.to_owned(), problem };
    let content: Content<Vec<TokenRecord>> =
        serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
    if content.version != VERSION {
        return Err(invalid(format!("version {} is not {VERSION}", content.version)));
    }
    if let Some(record) = content.tokens.iter().find(|record| record.team.is_some() == record.operator) {
        return Err(invalid(format!("token {} needs either a team or operator", record.id)));
    }
    Ok(content.tokens)
}

impl TokenFile {
    /// Opens it for a change, and waits while another program has it.
    pub fn edit(data_dir: &Path) -> Result<Self, TokenFileError> {
        let io_error = |what, path: &Path| {
            let path = path.to_owned();
            move |source| TokenFileError::Io { what, path, source }
        };
        std::fs::create_dir_all(data_dir).map_err(io_error("make", data_dir))?;
        let lock_path = data_dir.join(LOCK_NAME);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let lock = options.open(&lock_path).map_err(io_error("open", &lock_path))?;
        lock.lock().map_err(io_error("lock", &lock_path))?;
        let path = path(data_dir);
        let records = read(&path)?;
        Ok(Self { path, records, _lock: lock })
    }

    /// All tokens, revoked ones included, oldest first.
    pub fn list(data_dir: &Path) -> Result<Vec<TokenRecord>, TokenFileError> {
        read(&path(data_dir))
    }

    /// Keeps a new token.
    pub fn add(mut self, token: &Token, scope: Scope, now: WallTime) -> Result<(), TokenFileError> {
        if self.records.len() >= TOKENS_MAX {
            return Err(TokenFileError::Full);
        }
        let record = TokenRecord {
            id: token.id().clone(),
            operator: scope == Scope::Operator,
            team: match scope {
                Scope::Team(team) => Some(team),
                Scope::Operator => None,
            },
            sha256: token.hash(),
            created_us: now.0,
            revoked_us: None,
        };
        self.records.push(record);
        self.save()
    }

    /// Revokes a token; again is no error.
    pub fn revoke(mut self, id: &str, now: WallTime) -> Result<(), TokenFileError> {
        let record = self.records.iter_mut().find(|record| record.id.as_str() == id);
        let record = record.ok_or_else(|| TokenFileError::NoSuchToken(id.chars().take(80).collect()))?;
        record.revoked_us.get_or_insert(now.0);
        self.save()
    }

    fn save(&self) -> Result<(), TokenFileError> {
        let content = Content { version: VERSION, tokens: &self.records };
        let io_error = |source| TokenFileError::Io { what: "write", path: self.path.clone(), source };
        let text = serde_json::to_vec_pretty(&content).map_err(|error| io_error(error.into()))?;
        atomic_file::replace(&self.path, &text, Access::Owner).map_err(io_error)
    }
}
