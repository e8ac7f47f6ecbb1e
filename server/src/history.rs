//! The history of a running collector: its writer, and what the pages read.
//!
//! It never keeps the collector from starting or from taking events: a place that cannot be opened or written is tried
//! again, told on `/readyz`, `/metrics` and by `muster status`, and the journal keeps what is not written. Only secrets
//! that cannot be read, which an operator has just named, are an error of the start.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use history::dataset::DataSet;
use history::reader::History;
use history::store::FailureReason;
use history::writer::{Archive, HISTORY_CURSOR, Settings, StartError as WriterError, Writing};
use journal::stream::JournalStreamLog;
use journal::{CursorError, Journal};
use muster::clock::Clock;

use crate::config::{HistorySettings, PlaceSettingsError};

/// A history that is written, for the pages.
#[derive(Debug)]
pub struct ServedHistory {
    archive: Arc<Archive>,
    log: Arc<JournalStreamLog>,
    journal: Arc<Journal>,
    reader_stall: Duration,
    reader: OnceLock<History>,
}

/// The history's part of a running collector.
#[derive(Debug)]
pub struct HistoryKeeping {
    /// For the pages; `None` when it is off.
    pub served: Option<Arc<ServedHistory>>,
    writing: Option<Writing>,
}

/// Why the history does not start.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Its place cannot be used as configured.
    #[error(transparent)]
    Place(#[from] PlaceSettingsError),
    /// Its writer cannot start.
    #[error(transparent)]
    Writer(#[from] WriterError),
    /// Its cursor cannot be taken away.
    #[error("history: {0}")]
    Cursor(#[from] CursorError),
}

/// Why the history cannot be read now.
#[derive(Debug, thiserror::Error)]
pub enum NotReadable {
    /// Its place could not be opened yet.
    #[error("the history is not open yet: {0}")]
    NotOpen(String),
    /// There is nothing to read with.
    #[error("the history cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// What an operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HistoryState {
    /// Where it is.
    pub place: String,
    /// What keeps it from being written.
    pub problem: Option<String>,
    /// Files of rows.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that could not be read, since the start.
    pub files_set_aside: u64,
    /// Records of the journal that are in no file yet; queries read these from the journal.
    pub lag_records: u64,
    /// How long the oldest of these has waited.
    pub lag_seconds: u64,
    /// Rows written since the start, by data set.
    pub rows: std::collections::BTreeMap<&'static str, u64>,
    /// Failures since the start, by reason.
    pub failures: std::collections::BTreeMap<&'static str, u64>,
}

impl HistoryKeeping {
    /// Begins to write, if it is on. Call it inside the collector's runtime.
    pub fn start(
        settings: &HistorySettings,
        journal: &Arc<Journal>,
        log: &Arc<JournalStreamLog>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, HistoryError> {
        if !settings.enabled {
            // Its cursor would hold the journal for ever.
            journal.remove_cursor(HISTORY_CURSOR)?;
            return Ok(Self { served: None, writing: None });
        }
        let how = Settings {
            place: settings.place.read()?,
            flush_interval: settings.flush_interval,
            compaction: settings.compaction,
            retention: settings.retention(),
        };
        let writing = Writing::start(how, journal, log.clone(), clock)?;
        let served = ServedHistory {
            archive: writing.archive.clone(),
            log: log.clone(),
            journal: journal.clone(),
            reader_stall: settings.reader_stall,
            reader: OnceLock::new(),
        };
        Ok(Self { served: Some(Arc::new(served)), writing: Some(writing) })
    }

    /// Ends the writer. What is not written is in the journal. Blocks.
    pub fn finish(self) {
        if let Some(writing) = self.writing {
            writing.finish();
        }
    }
}

impl ServedHistory {
    /// What to read with. Call it inside the collector's runtime.
    pub fn reader(&self) -> Result<History, NotReadable> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader.clone());
        }
        let Some(store) = self.archive.store() else {
            let place = || format!("{} is being opened", self.archive.place());
            return Err(NotReadable::NotOpen(self.archive.problem().unwrap_or_else(place)));
        };
        let reader = History::new(store, self.log.clone())?;
        Ok(self.reader.get_or_init(|| reader).clone())
    }

    /// How long a reader of rows may take nothing.
    pub fn reader_stall(&self) -> Duration {
        self.reader_stall
    }

    /// The writer's side: figures, and what is wrong.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Records of the journal that are in no file yet.
    pub fn lag_records(&self) -> u64 {
        let cursor = self.archive.store().map_or(0, |store| store.cursor().0);
        self.journal.durable().0.saturating_sub(cursor)
    }

    /// How it is.
    pub fn state(&self) -> HistoryState {
        let figures = self.archive.figures();
        let size = self.archive.store().map(|store| store.size()).unwrap_or_default();
        HistoryState {
            place: self.archive.place().to_owned(),
            problem: self.archive.problem(),
            files: size.files,
            bytes: size.bytes,
            files_set_aside: size.files_set_aside,
            lag_records: self.lag_records(),
            lag_seconds: figures.waiting_seconds(),
            rows: DataSet::ALL.into_iter().map(|set| (set.name(), figures.rows(set))).collect(),
            failures: FailureReason::ALL.into_iter().map(|r| (r.name(), figures.failures(r))).collect(),
        }
    }
}
