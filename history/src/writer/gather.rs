//! The next range of the journal as rows. Pure: records in, one range out.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use journal::stream::StreamItem;
use journal::{Position, ReadError};
use muster::clock::WallTime;

use crate::fold::Fold;
use crate::partition::JournalRange;
use crate::store::LastRecord;

/// Where a range ends that is not planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeBounds {
    /// Rows, about.
    pub rows_max: u64,
    /// Bytes of the journal's payloads.
    pub journal_bytes_max: u64,
    /// Bytes of the rows in memory.
    pub memory_bytes_max: usize,
    /// Folders: each is a file.
    pub partitions_max: usize,
}

/// A range that is read and not yet written.
#[derive(Debug)]
pub(super) struct Gathered {
    /// Which records.
    pub(super) range: JournalRange,
    /// Their rows.
    pub(super) fold: Fold,
    /// The last of them that says when it was appended.
    pub(super) last: Option<LastRecord>,
    /// Records that could not be folded.
    pub(super) passed_over: u64,
    /// Records that were not there any more.
    pub(super) missing: u64,
    /// Whether it ended because it was full: there is more to read at once.
    pub(super) is_full: bool,
}

/// Why there is no range.
#[derive(Debug, thiserror::Error)]
pub(super) enum GatherError {
    /// The journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record made its reader panic: begin again, and pass over it.
    #[error("journal record {0} made its reader panic")]
    Panicked(Position),
    /// The collector stops.
    #[error("the collector stops")]
    Stopped,
}

/// Reads on after `after`, up to the end, a bound, or exactly to `planned`. Passes over the records in `poisonous`. Looks
/// at each record whether it is to stop.
pub(super) fn gather(
    items: impl Iterator<Item = Result<StreamItem, ReadError>>,
    after: Position,
    planned: Option<JournalRange>,
    bounds: &RangeBounds,
    poisonous: &BTreeSet<Position>,
    is_stopped: impl Fn() -> bool,
) -> Result<Option<Gathered>, GatherError> {
    let mut gathered = Gathered {
        range: JournalRange { after, to: after },
        fold: Fold::new(),
        last: None,
        passed_over: 0,
        missing: 0,
        is_full: false,
    };
    let mut journal_bytes = 0;
    for item in items {
        if is_stopped() {
            return Err(GatherError::Stopped);
        }
        let item = item?;
        let (position, appended, bytes) = told(&item);
        // What is missing may reach past the plan; the plan holds.
        let position = planned.map_or(position, |planned| position.min(planned.to));
        gathered.take(&item, position, poisonous)?;
        gathered.range.to = position;
        if let Some(appended) = appended {
            gathered.last = Some(LastRecord::new(position, appended));
        }
        journal_bytes += bytes;
        gathered.is_full = match planned {
            Some(planned) => position >= planned.to,
            None => bounds.are_reached(&gathered.fold, journal_bytes),
        };
        if gathered.is_full {
            break;
        }
    }
    let is_whole = planned.is_none_or(|planned| gathered.range == planned);
    Ok((gathered.range.to > after && is_whole).then_some(gathered))
}

impl RangeBounds {
    fn are_reached(&self, fold: &Fold, journal_bytes: u64) -> bool {
        fold.row_count() >= self.rows_max
            || journal_bytes >= self.journal_bytes_max
            || fold.partitions() >= self.partitions_max
            || fold.memory_bytes() >= self.memory_bytes_max
    }
}

impl Gathered {
    /// One record must cost one record, whatever is in it.
    fn take(
        &mut self,
        item: &StreamItem,
        position: Position,
        poisonous: &BTreeSet<Position>,
    ) -> Result<(), GatherError> {
        if let StreamItem::Gap { from, reason, .. } = item {
            self.missing += position.0.saturating_sub(from.0) + 1;
            let reason = reason.as_str();
            tracing::error!(%from, to = %position, reason, "journal records are missing; the history has no rows of them");
        }
        if poisonous.contains(&position) {
            self.passed_over += 1;
            return Ok(());
        }
        let fold = &mut self.fold;
        match catch_unwind(AssertUnwindSafe(|| fold.take(item))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                if self.passed_over == 0 {
                    tracing::error!(%position, %error, "journal record gives no rows; passed over, as others like it are");
                }
                self.passed_over += 1;
                Ok(())
            }
            Err(_) => Err(GatherError::Panicked(position)),
        }
    }
}

/// An item's last position, when it was appended, and how large it is.
fn told(item: &StreamItem) -> (Position, Option<WallTime>, u64) {
    match item {
        StreamItem::Batch(entry) => (entry.position, Some(entry.appended_wall), entry.bytes.len() as u64),
        StreamItem::Otlp(entry) => (entry.position, Some(entry.appended_wall), entry.bytes.len() as u64),
        StreamItem::Other { position, .. } => (*position, None, 0),
        StreamItem::Gap { to, .. } => (*to, None, 0),
    }
}

#[cfg(test)]
mod tests {
    use journal::GapReason;

    use super::*;

    const BOUNDS: RangeBounds =
        RangeBounds { rows_max: 10, journal_bytes_max: 1000, memory_bytes_max: 1 << 20, partitions_max: 10 };

    fn other(position: u64) -> Result<StreamItem, ReadError> {
        Ok(StreamItem::Other { position: Position(position), kind: 9 })
    }

    fn gap(from: u64, to: u64) -> Result<StreamItem, ReadError> {
        let (from, to) = (Position(from), Position(to));
        Ok(StreamItem::Gap { from, to, reason: GapReason::Missing })
    }

    fn range(after: u64, to: u64) -> JournalRange {
        JournalRange { after: Position(after), to: Position(to) }
    }

    fn gathered(
        items: Vec<Result<StreamItem, ReadError>>,
        after: u64,
        planned: Option<JournalRange>,
    ) -> Option<Gathered> {
        gather(items.into_iter(), Position(after), planned, &BOUNDS, &BTreeSet::new(), || false)
            .expect("it reads")
    }

    #[test]
    fn without_records_there_is_no_range() {
        assert!(gathered(vec![], 4, None).is_none());
    }

    #[test]
    fn a_planned_range_is_read_to_its_end_and_no_further() {
        let items = || (5..=9).map(other).collect();
        assert_eq!(gathered(items(), 4, Some(range(4, 7))).map(|g| g.range), Some(range(4, 7)));
        assert!(gathered(items(), 4, Some(range(4, 12))).is_none(), "the journal is too short for it");
        assert_eq!(gathered(items(), 4, None).map(|g| g.range), Some(range(4, 9)));
    }

    #[test]
    fn what_is_missing_is_counted_and_does_not_move_the_end_of_a_plan() {
        let gathered = gathered(vec![other(5), gap(6, 20)], 4, Some(range(4, 8))).expect("a range");
        assert_eq!((gathered.range, gathered.missing), (range(4, 8), 3));
    }

    #[test]
    fn a_record_that_is_known_to_be_poisonous_is_passed_over_and_counted() {
        let poisonous = BTreeSet::from([Position(6)]);
        let items = (5..=7).map(other);
        let gathered = gather(items, Position(4), None, &BOUNDS, &poisonous, || false)
            .expect("it reads")
            .expect("a range");
        assert_eq!((gathered.range, gathered.passed_over), (range(4, 7), 1));
    }
}
