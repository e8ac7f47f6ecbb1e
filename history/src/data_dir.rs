//! A collector's data folder, opened to read from it while no collector runs on it.
//!
//! The journal is opened as a collector would open it, with its lock, so what a crash left half-written at its end is cut
//! off; nothing else is changed, and nothing in the history is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::fs::RealFs;
use journal::stream::{JournalStreamLog, StreamOpenError};
use journal::{Journal, OpenError};
use muster::clock::Clock;

use crate::store::{Place, Store, StoreError};

/// The folder of the journal in a data folder.
pub const JOURNAL_FOLDER: &str = "journal";
/// The folder of the history in a data folder, unless it has another place.
pub const HISTORY_FOLDER: &str = "history";

/// An open data folder. A collector can start on it again when this is dropped.
pub struct DataDir {
    /// The files.
    pub store: Arc<Store>,
    /// What is in no file yet.
    pub log: Arc<JournalStreamLog>,
    /// The journal, for its durable end.
    pub journal: Arc<Journal>,
}

/// Why a data folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// There is no journal in it.
    #[error("{} is no data folder of a collector: it has no folder {JOURNAL_FOLDER}", .0.display())]
    NotThere(PathBuf),
    /// A collector runs on it.
    #[error(
        "{} is in use by a running collector: ask that one, with --server ADDRESS (its pages, 127.0.0.1:9464 by default)",
        .0.display()
    )]
    InUse(PathBuf),
    /// The journal cannot be opened.
    #[error("journal: {0}")]
    Journal(#[from] OpenError),
    /// The journal's streams cannot be known.
    #[error("journal: {0}")]
    Streams(#[from] StreamOpenError),
    /// The history cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DataDir {
    /// Opens a data folder. `place` is where its history is, if that is not in it. Call it inside a tokio runtime with
    /// threads of its own, which runs the requests to a bucket.
    pub async fn open(
        path: &Path,
        place: Option<&Place>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DataDirError> {
        let folder = path.join(JOURNAL_FOLDER);
        if !folder.is_dir() {
            return Err(DataDirError::NotThere(path.to_owned()));
        }
        let (journal, _) = match Journal::open(journal::Config::new(folder), Arc::new(RealFs), clock) {
            Err(OpenError::Locked(_)) => return Err(DataDirError::InUse(path.to_owned())),
            opened => opened?,
        };
        let journal = Arc::new(journal);
        let (log, _) = JournalStreamLog::open(journal.clone())?;
        let own = Place::Local(path.join(HISTORY_FOLDER));
        let store = Store::open_for_reading(place.unwrap_or(&own), journal.id()).await?;
        Ok(Self { store: Arc::new(store), log: Arc::new(log), journal })
    }
}

#[cfg(test)]
mod tests {
    use muster::clock::SystemClock;

    use super::*;

    fn clock() -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
    }

    #[tokio::test]
    async fn a_folder_without_a_journal_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let error = DataDir::open(folder.path(), None, clock()).await.err().expect("it is empty");
        assert!(matches!(error, DataDirError::NotThere(_)), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_folder_that_a_collector_runs_on_is_refused_with_the_flag_that_helps() {
        let folder = tempfile::tempdir().unwrap();
        let config = journal::Config::new(folder.path().join(JOURNAL_FOLDER));
        let running = Journal::open(config, Arc::new(RealFs), clock()).unwrap();
        let error =
            DataDir::open(folder.path(), None, clock()).await.err().expect("it is locked").to_string();
        assert!(error.contains("--server"), "{error}");
        drop(running);
        assert!(DataDir::open(folder.path(), None, clock()).await.is_ok());
    }
}
