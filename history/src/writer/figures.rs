//! What the writer counts, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::dataset::DataSet;
use crate::store::{Compacted, FailureReason, Retained};

/// Counters since the start.
#[derive(Debug, Default)]
pub struct WriterFigures {
    rows: [AtomicU64; DataSet::ALL.len()],
    failures: [AtomicU64; FailureReason::ALL.len()],
    flushes: AtomicU64,
    compactions: AtomicU64,
    files_compacted: AtomicU64,
    records_passed_over: AtomicU64,
    records_missing: AtomicU64,
    files_expired: AtomicU64,
    bytes_expired: AtomicU64,
    waiting_us: AtomicU64,
}

impl WriterFigures {
    /// Rows that were committed.
    pub fn rows(&self, data_set: DataSet) -> u64 {
        read(&self.rows[data_set as usize])
    }

    /// Times that something failed and was, or will be, tried again.
    pub fn failures(&self, reason: FailureReason) -> u64 {
        read(&self.failures[reason as usize])
    }

    /// Ranges of the journal that were committed.
    pub fn flushes(&self) -> u64 {
        read(&self.flushes)
    }

    /// Times that files were merged into one.
    pub fn compactions(&self) -> u64 {
        read(&self.compactions)
    }

    /// Files that were merged into others.
    pub fn files_compacted(&self) -> u64 {
        read(&self.files_compacted)
    }

    /// Journal records that gave no rows because they cannot be read.
    pub fn records_passed_over(&self) -> u64 {
        read(&self.records_passed_over)
    }

    /// Journal records that were gone before they were read.
    pub fn records_missing(&self) -> u64 {
        read(&self.records_missing)
    }

    /// Files that retention took away.
    pub fn files_expired(&self) -> u64 {
        read(&self.files_expired)
    }

    /// Their bytes.
    pub fn bytes_expired(&self) -> u64 {
        read(&self.bytes_expired)
    }

    /// How long the oldest record that is in no file has waited, in seconds, when the writer last looked.
    pub fn waiting_seconds(&self) -> u64 {
        read(&self.waiting_us) / 1_000_000
    }

    pub(super) fn add_rows(&self, data_set: DataSet, by: u64) {
        add(&self.rows[data_set as usize], by);
    }

    pub(super) fn add_failure(&self, reason: FailureReason) {
        add(&self.failures[reason as usize], 1);
    }

    pub(super) fn add_flush(&self, passed_over: u64, missing: u64) {
        add(&self.flushes, 1);
        add(&self.records_passed_over, passed_over);
        add(&self.records_missing, missing);
    }

    pub(super) fn add_compaction(&self, done: &Compacted) {
        // Setting a corrupt file aside merges none.
        add(&self.compactions, u64::from(done.files > 0));
        add(&self.files_compacted, done.files);
    }

    pub(super) fn add_retained(&self, retained: &Retained) {
        add(&self.files_expired, retained.files);
        add(&self.bytes_expired, retained.bytes);
    }

    pub(super) fn set_waiting(&self, waiting: std::time::Duration) {
        self.waiting_us.store(u64::try_from(waiting.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
