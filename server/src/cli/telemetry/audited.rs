//! Notes in a data folder's audit log who reads it without its collector, which would note it for its readers
//! (`crate::http`, `audited`).
//!
//! An export is one line when its rows begin to go out and one when it ends; one that was killed has no second line. A
//! summary and the newest events are a line each. Whoever may read the folder and not write to it (a backup, a mount that
//! is read-only) gets the rows all the same, and is told once that this is in no log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::audited;
use crate::audit::{END_CUT, END_WHOLE, Entry, What, Who};

/// A folder's audit log in the hands of one command.
#[derive(Debug, Clone)]
pub(super) struct FolderAudit {
    data_dir: PathBuf,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Rows that were read for the command.
    rows: AtomicU64,
    /// Somebody was told that nothing can be noted.
    is_told: AtomicBool,
}

/// What a command takes out.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    /// Which one it is.
    pub(super) command: &'static str,
    /// Data set, or what is made of it.
    pub(super) of: String,
    /// Range, filter and format, as they would be asked of a collector.
    pub(super) asked: String,
}

/// An export that has begun. Without a folder of its own there is nothing to note.
#[derive(Debug)]
#[must_use = "an export that has begun ends"]
pub(super) struct Begun(Option<(FolderAudit, Entry)>);

impl FolderAudit {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), state: Arc::default() }
    }

    /// Notes that rows were read.
    pub(super) fn add_rows(&self, count: usize) {
        self.state.rows.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Notes a read that is one answer.
    pub(super) fn read(&self, taken: &Taken) {
        self.append(&taken.entry(What::HistoryRead));
    }

    /// Notes an export whose rows go out `to` somewhere from now on.
    pub(super) fn begin(&self, taken: &Taken, to: &str) -> Begun {
        self.append(&taken.entry(What::ExportBegun).with("to", to));
        Begun(Some((self.clone(), taken.entry(What::ExportEnded).with("to", to))))
    }

    fn append(&self, entry: &Entry) {
        if !self.state.is_told.load(Ordering::Relaxed) && !audited(&self.data_dir, entry) {
            self.state.is_told.store(true, Ordering::Relaxed);
        }
    }
}

impl Taken {
    fn entry(&self, what: What) -> Entry {
        let entry = Entry::new(what, Who::Command(self.command)).with("of", self.of.as_str());
        entry.with("asked", self.asked.trim_start_matches('&'))
    }
}

impl Begun {
    /// Where a collector notes what it gives.
    pub(super) const fn elsewhere() -> Self {
        Self(None)
    }

    /// Notes the end, and whether all rows were taken.
    pub(super) fn end(self, is_whole: bool) {
        let Some((audit, entry)) = self.0 else { return };
        let rows = audit.state.rows.load(Ordering::Relaxed);
        let end = if is_whole { END_WHOLE } else { END_CUT };
        audit.append(&entry.with("rows", rows).with("end", end));
    }
}
