//! What is counted of each destination, and what is told about it.
//!
//! At rest, for each signal: `accepted = delivered + dropped + pending`. Accepted is what came out of the journal and was
//! wanted; what was not wanted is counted apart, as filtered. Counters begin anew with the process, and
//! when a reload changes the destination.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use journal::{Journal, Position};
use muster::clock::{Clock, WallTime};
use otlp::Signal;
use parking_lot::Mutex;
use serde::Serialize;

use crate::figures::{Count, Counts, Label};

crate::figures::label! {
    /// What became of one attempt to send a request.
    Attempt {
        /// Taken, at least in part.
        Delivered = "delivered",
        /// To be tried again.
        Retry = "retry",
        /// The credential was not accepted.
        Refused = "refused",
        /// Too large: sent again in halves.
        TooLarge = "too_large",
        /// Never to be taken.
        Permanent = "permanent",
    }
}

/// Why items were dropped that no answer was about.
pub(super) mod reason {
    /// The queue's bound was reached.
    pub(in crate::forward) const QUEUE_FULL: &str = "queue_full";
    /// The destination rejected some of a request's items.
    pub(in crate::forward) const REJECTED: &str = "rejected";
    /// The destination will never take the request.
    pub(in crate::forward) const PERMANENT: &str = "permanent";
    /// A single item is over a limit.
    pub(in crate::forward) const TOO_LARGE: &str = "too_large";
    /// Sending it panicked: a defect of ours.
    pub(in crate::forward) const PANICKED: &str = "panicked";
    /// A kind of event that this version does not know.
    pub(in crate::forward) const UNKNOWN_EVENT: &str = "unknown_event";
    /// The payload is no OTLP.
    pub(in crate::forward) const MALFORMED: &str = "malformed";
}

/// Counters of one destination.
#[derive(Debug, Default)]
pub struct DestinationFigures {
    /// Items that came out of the journal and are wanted.
    pub accepted: Counts<Signal>,
    /// Items that the destination took.
    pub delivered: Counts<Signal>,
    /// Items that filters and signals left out.
    pub filtered: Counts<Signal>,
    /// Items that were taken at a later attempt by an operator; they were counted as dropped before.
    pub retried: Counts<Signal>,
    /// Attempts by what became of them.
    pub attempts: Counts<Attempt>,
    /// Journal records that were gone before they were read.
    pub records_missing: Count,
    /// Dead letters that were deleted to keep their folder's bound.
    pub dead_letters_deleted: Count,
    dropped: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    committed: AtomicU64,
    oldest_us: AtomicU64,
    condition: Mutex<Condition>,
}

#[derive(Debug, Default, Clone)]
struct Condition {
    is_up: Option<bool>,
    error: Option<(WallTime, String)>,
}

/// A destination as `/api/v1/destinations` and `muster status` show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DestinationRow {
    /// Its name.
    pub destination: String,
    /// Its profile.
    pub profile: &'static str,
    /// How requests travel.
    pub transport: &'static str,
    /// Whether the last attempt succeeded; nothing before the first.
    pub up: Option<bool>,
    /// Journal records that it has not yet got.
    pub queued_records: u64,
    /// Bytes of these, about.
    pub queued_bytes: u64,
    /// How long the oldest of these waits.
    pub oldest_age_seconds: u64,
    /// Items by signal.
    pub delivered: BTreeMap<&'static str, u64>,
    /// Items by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_us: Option<u64>,
}

/// What rows are made of.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Its name.
    pub name: String,
    /// Its profile.
    pub profile: &'static str,
    /// How requests travel.
    pub transport: &'static str,
    /// Counters.
    pub figures: Arc<DestinationFigures>,
    /// What it reads.
    pub journal: Arc<Journal>,
    /// For ages.
    pub clock: Arc<dyn Clock>,
}

impl DestinationFigures {
    /// Counts items that it will never get.
    pub fn drop_items(&self, signal: Signal, reason: &'static str, items: u64) {
        if items > 0 {
            *self.dropped.lock().entry((signal.name(), reason)).or_default() += items;
        }
    }

    /// Items that were dropped, by signal and reason.
    pub fn dropped(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.dropped.lock().clone()
    }

    /// Items of a signal that are on their way.
    pub fn pending(&self, signal: Signal) -> u64 {
        let dropped: u64 =
            self.dropped.lock().iter().filter(|((name, _), _)| *name == signal.name()).map(|(_, n)| n).sum();
        self.accepted.value(signal).saturating_sub(self.delivered.value(signal) + dropped)
    }

    pub(super) fn set_committed(&self, position: Position) {
        self.committed.store(position.0, Ordering::Release);
    }

    /// The last journal position that it is done with.
    pub fn committed(&self) -> Position {
        Position(self.committed.load(Ordering::Acquire))
    }

    pub(super) fn set_oldest(&self, oldest: Option<WallTime>) {
        self.oldest_us.store(oldest.map_or(0, |wall| wall.0), Ordering::Relaxed);
    }

    pub(super) fn succeeded(&self) {
        self.condition.lock().is_up = Some(true);
    }

    pub(super) fn failed(&self, at: WallTime, why: &str) {
        let mut condition = self.condition.lock();
        condition.is_up = Some(false);
        condition.error = Some((at, why.to_owned()));
    }

    /// Something is wrong, and yet requests are taken.
    pub(super) fn warned(&self, at: WallTime, why: &str) {
        self.condition.lock().error = Some((at, why.to_owned()));
    }

    /// Whether the last attempt succeeded; nothing before the first.
    pub fn is_up(&self) -> Option<bool> {
        self.condition.lock().is_up
    }
}

impl Observed {
    /// Records that wait.
    pub fn queued_records(&self) -> u64 {
        self.journal.durable().0.saturating_sub(self.figures.committed().0)
    }

    /// Bytes of these, about.
    pub fn queued_bytes(&self) -> u64 {
        self.journal.bytes_after(self.figures.committed())
    }

    /// How long the oldest of these waits.
    pub fn oldest_age_seconds(&self) -> u64 {
        match self.figures.oldest_us.load(Ordering::Relaxed) {
            0 => 0,
            oldest => self.clock.wall().since(WallTime(oldest)).as_secs(),
        }
    }

    /// All that is told of it.
    pub fn row(&self) -> DestinationRow {
        let condition = self.figures.condition.lock().clone();
        let mut dropped = BTreeMap::new();
        for ((_, reason), items) in self.figures.dropped() {
            *dropped.entry(reason).or_default() += items;
        }
        DestinationRow {
            destination: self.name.clone(),
            profile: self.profile,
            transport: self.transport,
            up: condition.is_up,
            queued_records: self.queued_records(),
            queued_bytes: self.queued_bytes(),
            oldest_age_seconds: self.oldest_age_seconds(),
            delivered: self.figures.delivered.iter().collect(),
            dropped,
            last_error_us: condition.error.as_ref().map(|(at, _)| at.0),
            last_error: condition.error.map(|(_, why)| why),
        }
    }
}
