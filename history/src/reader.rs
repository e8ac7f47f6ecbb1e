//! The history to read from: files and the journal's rest as one.
//!
//! A [`History`] is cheap to clone and may be read by many at once while files are written, compacted and dropped. All of
//! its readers block: call them from a thread of their own (`spawn_blocking`), never from a task.

use std::fmt;
use std::io;
use std::sync::Arc;

use journal::stream::{JournalStreamLog, StreamItem, StreamLog};
use journal::{Position, ReadError};
use object_store::ObjectStore;

use crate::dataset::DataSet;
use crate::query::Query;
use crate::scan::{Scan, ScanError};
use crate::store::{FileEntry, Snapshot, Store};

mod drive;
#[cfg(test)]
pub(crate) mod fake;
mod newest;

use drive::Driver;

pub use newest::{NEWEST_ROWS_MAX, Newest};

/// What is read of a store.
pub trait Files: Send + Sync {
    /// The files of a data set, and how far the journal's records are in them: one consistent pair. No file of it is
    /// deleted while somebody holds its entry.
    fn snapshot_of(&self, data_set: DataSet) -> Snapshot;

    /// The files of all data sets, as one.
    fn snapshot(&self) -> Snapshot;

    /// How far the journal's records are in files.
    fn covered_to(&self) -> Position;

    /// What the paths of the entries are paths of.
    fn objects(&self) -> Arc<dyn ObjectStore>;

    /// Whether they are files of this machine, which need no runtime to be read.
    fn is_local(&self) -> bool {
        false
    }

    /// Passes a file over from now on, since it cannot be read.
    fn set_aside(&self, file: &FileEntry, why: &str);
}

/// What is read of a journal.
pub trait Log: Send + Sync {
    /// The last durable record.
    fn durable(&self) -> Position;

    /// What came after a position, in order, up to the durable end.
    fn read(&self, after: Position) -> Box<dyn Iterator<Item = Result<StreamItem, ReadError>> + Send>;
}

/// Files and journal, to be read.
#[derive(Clone)]
pub struct History {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) log: Arc<dyn Log>,
    driver: Arc<Driver>,
}

impl History {
    /// Reads from `files` and what `log` has after them. Inside a tokio runtime requests run on that one, which must live
    /// as long as this; outside, on one of its own, or on none when the files are this machine's.
    pub fn new(files: Arc<dyn Files>, log: Arc<dyn Log>) -> io::Result<Self> {
        let driver = Arc::new(Driver::of_here(files.is_local())?);
        Ok(Self { files, log, driver })
    }

    /// The rows of a data set in a range.
    pub fn scan(&self, query: &Query) -> Result<Scan, ScanError> {
        Scan::new(self, query)
    }

    /// The last record that a query would see now.
    pub fn position(&self) -> Position {
        self.log.durable()
    }

    /// Waits for requests to the files.
    pub(crate) fn wait<T>(&self, request: impl Future<Output = T>) -> T {
        self.driver.run(request)
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("position", &self.log.durable()).finish_non_exhaustive()
    }
}

impl Files for Store {
    fn snapshot_of(&self, data_set: DataSet) -> Snapshot {
        self.snapshot_of(data_set)
    }

    fn snapshot(&self) -> Snapshot {
        self.snapshot()
    }

    fn covered_to(&self) -> Position {
        self.cursor()
    }

    fn objects(&self) -> Arc<dyn ObjectStore> {
        self.objects()
    }

    fn is_local(&self) -> bool {
        self.is_local()
    }

    fn set_aside(&self, file: &FileEntry, why: &str) {
        self.set_aside(file, why);
    }
}

impl Log for JournalStreamLog {
    fn durable(&self) -> Position {
        self.journal().durable()
    }

    fn read(&self, after: Position) -> Box<dyn Iterator<Item = Result<StreamItem, ReadError>> + Send> {
        StreamLog::read(self, after)
    }
}
