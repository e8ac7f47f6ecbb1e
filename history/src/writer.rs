//! From the journal into the store: read after the cursor, fold, encode, commit, move the journal's cursor.
//!
//! ```text
//! journal ──read──▶ rows ──encode──▶ files ──commit──▶ store's cursor ──then──▶ journal's cursor `history`
//! ```
//!
//! The store's cursor is the truth; the journal's holds retention back until rows are committed. What is between the
//! store's cursor and the journal's end is read from the journal by whoever asks, so a flush may be rare: every
//! [`Settings::flush_interval`], or as soon as a range is full ([`RANGE_BOUNDS`]). The writer has a thread of its own, at
//! a low priority, and holds nothing while it waits.
//!
//! | failure | what happens |
//! |---|---|
//! | a record gives no rows, or makes its reader panic | counted, said once, passed over |
//! | records are missing | counted, said, passed over |
//! | disk full, bucket away, no permission | counted by reason, said, tried again after 1 s to 60 s; the journal keeps what is not written |
//! | the journal does not go with the store | said; nothing is written any more until the next start |
//! | files cannot be merged, old days not deleted | counted, said, tried again at the next upkeep |

mod figures;
mod gather;
mod pace;
mod run;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use journal::stream::{StreamItem, StreamLog};
use journal::{Cursor, CursorError, Journal, Position, ReadError};
use muster::clock::{Clock, WallTime};
use tokio::sync::watch;

pub use figures::WriterFigures;
pub use gather::RangeBounds;
pub use run::{Archive, Settings, StartError, Writing};

use crate::file::{self, FileError};
use crate::partition::Partition;
use crate::store::{Encoded, FailureReason, Store, StoreError};
use gather::{GatherError, Gathered, gather};
use journal::failpoint::failpoint;

/// Where a flush ends, so that its memory has a bound: some 200 MB for the largest one.
pub const RANGE_BOUNDS: RangeBounds = RangeBounds {
    rows_max: 500_000,
    journal_bytes_max: 64 << 20,
    memory_bytes_max: 128 << 20,
    partitions_max: 4096,
};
/// Name of the history's cursor in the journal.
pub const HISTORY_CURSOR: &str = "history";
/// Records of one flush that may make their reader panic; with more, something else is wrong.
const POISONOUS_MAX: usize = 64;

/// What writes. Does nothing by itself: see [`Writing`] for the thread.
struct Writer {
    store: Arc<Store>,
    journal: Arc<Journal>,
    log: Arc<dyn StreamLog>,
    cursor: Cursor,
    clock: Arc<dyn Clock>,
    figures: Arc<WriterFigures>,
    bounds: RangeBounds,
    /// Looked at between records and pieces of files: a flush of a full range takes seconds.
    stop: watch::Receiver<bool>,
}

/// Why a flush did not come to its end. Nothing of it is committed.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("history: cannot read the journal: {0}")]
    Read(#[from] ReadError),
    #[error("history: cannot move its cursor in the journal: {0}")]
    Cursor(#[from] CursorError),
    #[error("history: cannot make a file of rows: {0}")]
    Rows(#[from] FileError),
    #[error("history: {POISONOUS_MAX} records of one range made their reader panic")]
    Poisonous,
    #[error("history: the collector stops")]
    Stopped,
}

impl Writer {
    /// Whether the journal is the one that the store was written from. Moves the journal's cursor to the store's if a
    /// crash came between the two.
    fn check(&self) -> Result<(), WriteError> {
        let (cursor, durable) = (self.store.cursor(), self.journal.durable());
        let reached = self.store.planned().map_or(cursor, |planned| planned.to);
        let place = || self.store.place().to_owned();
        if reached > durable {
            return Err(StoreError::JournalBehind { place: place(), cursor: reached, durable }.into());
        }
        if let Some(last) = self.store.last_record() {
            let position = Position(last.position);
            let first = self.log.read(Position(last.position.saturating_sub(1))).next().transpose()?;
            if first.is_some_and(|item| is_another(&item, position, WallTime(last.appended_us))) {
                return Err(StoreError::OtherJournal { place: place(), position }.into());
            }
        }
        Ok(self.cursor.advance(cursor)?)
    }

    /// Commits the next range. `None`: there is nothing to commit. `Some(true)`: there is more.
    async fn flush(&self) -> Result<Option<bool>, WriteError> {
        let cursor = self.store.cursor();
        // An earlier advance may have failed: no range is begun before the last one is told.
        self.cursor.advance(cursor)?;
        let Some(gathered) = self.gather(cursor)? else { return Ok(None) };
        let Gathered { range, fold, last, passed_over, missing, is_full } = gathered;
        let mut files = BTreeMap::new();
        for (partition, rows) in fold.into_batches() {
            let count = rows.num_rows() as u64;
            let pieces = file::pieces(&rows).take_while(|_| !self.is_stopped());
            let bytes = file::encode(partition.data_set, pieces, range)?;
            if self.is_stopped() {
                return Err(WriteError::Stopped);
            }
            files.insert(partition, Encoded { bytes, rows: count });
        }
        let rows: Vec<_> = files.iter().map(|(Partition { data_set, .. }, e)| (*data_set, e.rows)).collect();
        self.store.commit(range, files, last, self.clock.wall()).await?;
        rows.into_iter().for_each(|(data_set, rows)| self.figures.add_rows(data_set, rows));
        self.figures.add_flush(passed_over, missing);
        failpoint("history-before-cursor");
        self.cursor.advance(range.to)?;
        failpoint("history-after-cursor");
        Ok(Some(is_full && range.to < self.journal.durable()))
    }

    fn gather(&self, after: Position) -> Result<Option<Gathered>, WriteError> {
        let planned = self.store.planned();
        let mut poisonous = BTreeSet::new();
        while poisonous.len() < POISONOUS_MAX {
            let items = self.log.read(after);
            match gather(items, after, planned, &self.bounds, &poisonous, || self.is_stopped()) {
                Ok(gathered) => return Ok(gathered),
                Err(GatherError::Stopped) => return Err(WriteError::Stopped),
                Err(GatherError::Read(error)) => return Err(error.into()),
                Err(GatherError::Panicked(position)) => {
                    tracing::error!(%position, "journal record made the history's reader panic; passed over");
                    poisonous.insert(position);
                }
            }
        }
        Err(WriteError::Poisonous)
    }

    /// Once it is so it stays so.
    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Bytes of the journal that wait; `None`: nothing does.
    fn waiting_bytes(&self) -> Option<u64> {
        let cursor = self.store.cursor();
        (self.journal.durable() > cursor).then(|| self.journal.bytes_after(cursor))
    }
}

impl WriteError {
    fn reason(&self) -> FailureReason {
        match self {
            WriteError::Store(error) => error.reason(),
            WriteError::Read(_) | WriteError::Cursor(_) => FailureReason::Io,
            WriteError::Rows(_) | WriteError::Poisonous | WriteError::Stopped => FailureReason::Other,
        }
    }

    fn is_final(&self) -> bool {
        matches!(self, WriteError::Store(error) if error.is_final())
    }
}

/// Whether the record at `position` is another one than that which was appended at `appended`.
fn is_another(item: &StreamItem, position: Position, appended: WallTime) -> bool {
    match item {
        StreamItem::Batch(entry) => entry.position == position && entry.appended_wall != appended,
        StreamItem::Otlp(entry) => entry.position == position && entry.appended_wall != appended,
        StreamItem::Other { position: other, .. } => *other == position,
        // It is not there any more: nothing to compare with.
        StreamItem::Gap { .. } => false,
    }
}
