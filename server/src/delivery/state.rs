//! The file that says where a delivery is, so that it can go on.
//!
//! One small JSON file a kind of delivery, replaced by rename after every request that was taken, and gone when the
//! last row was delivered. It holds what is delivered and to where, so that nothing else goes on from it. No secrets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use muster::atomic_file::{self, Access};
use muster::settings;
use sha2::{Digest, Sha256};

use super::position::Position;

/// The version of what is written.
const VERSION: u32 = 1;
/// A state is some hundred bytes; more is no state.
const STATE_BYTES_MAX: u64 = 64 << 10;

/// A place to write positions of a delivery down.
#[derive(Debug, Clone)]
pub struct StateFile {
    path: PathBuf,
    what: What,
}

/// What is delivered, and where to. Two deliveries with the same go on from each other.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct What {
    /// Where the rows come from, in words that do not change from call to call.
    pub source: String,
    /// Where to, as in messages.
    pub destination: String,
    /// The rows: data set, filter and columns, in words that do not change from call to call.
    pub query: String,
    /// First microsecond of the range.
    pub from_us: u64,
    /// First microsecond after it.
    pub to_us: u64,
}

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file.
    #[error("cannot {doing} {path}, where it is written down how far the delivery is: {source}")]
    Io {
        /// `read`, `write` or `remove`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is none.
    #[error("there is nothing to resume: {path} is not there. Without --resume the delivery begins anew")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It is none.
    #[error("{path} does not say where a delivery is; delete it, and deliver without --resume")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// Another delivery.
    #[error("{path} is of another delivery: {what} was {there:?} and is now {now:?}")]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// In the file.
        there: String,
        /// As asked.
        now: String,
    },
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Written {
    version: u32,
    #[serde(flatten)]
    what: What,
    position: Position,
}

impl StateFile {
    /// A place that is written to from the first request on.
    pub fn new(path: PathBuf, what: What) -> Self {
        Self { path, what }
    }

    /// Reads how far the delivery was that this one goes on from. Its range is that one's: `24h ago` has moved since.
    pub fn resume(path: PathBuf, now: What) -> Result<(Self, Position), StateError> {
        let written = read(&path)?;
        let differs = |what, there: &str, now: &str| StateError::Other {
            path: path.clone(),
            what,
            there: there.to_owned(),
            now: now.to_owned(),
        };
        if written.what.source != now.source {
            return Err(differs("the source", &written.what.source, &now.source));
        }
        if written.what.destination != now.destination {
            return Err(differs("the destination", &written.what.destination, &now.destination));
        }
        if written.what.query != now.query {
            return Err(differs("the query", &written.what.query, &now.query));
        }
        Ok((Self { path, what: written.what }, written.position))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is delivered.
    pub fn what(&self) -> &What {
        &self.what
    }

    /// Writes a position down.
    pub fn write(&self, position: &Position) -> Result<(), StateError> {
        let written = Written { version: VERSION, what: self.what.clone(), position: position.clone() };
        let text = serde_json::to_vec_pretty(&written).map_err(|error| self.error("write", error.into()))?;
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(|error| self.error("write", error))?;
        }
        atomic_file::replace(&self.path, &text, Access::Owner).map_err(|error| self.error("write", error))
    }

    /// Takes the file away, since everything is delivered.
    pub fn remove(&self) -> Result<(), StateError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.error("remove", error)),
            _ => Ok(()),
        }
    }

    fn error(&self, doing: &'static str, source: io::Error) -> StateError {
        StateError::Io { doing, path: self.path.clone(), source }
    }
}

fn read(path: &Path) -> Result<Written, StateError> {
    use io::Read;
    let io_error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => StateError::Missing { path: path.to_owned() },
        _ => StateError::Io { doing: "read", path: path.to_owned(), source },
    };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(io_error)?;
    file.take(STATE_BYTES_MAX).read_to_end(&mut bytes).map_err(io_error)?;
    let written: Option<Written> = serde_json::from_slice(&bytes).ok();
    written
        .filter(|written| written.version == VERSION)
        .ok_or_else(|| StateError::Malformed { path: path.to_owned() })
}

/// The file of a kind of delivery, where this user's programs keep their state ([`settings::default_state_dir`]).
pub fn default_path(what: &What, environment: settings::Environment<'_>) -> PathBuf {
    // The range is left out: `--resume` finds the file although `24h ago` has moved.
    let mut hasher = Sha256::new();
    for text in [&what.source, &what.destination] {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    }
    hasher.update(&what.query);
    let name: String = hasher.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    settings::default_state_dir(environment, "deliveries").join(format!("delivery-{name}.json"))
}
