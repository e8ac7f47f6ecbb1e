//! One moment of the history: the files of a snapshot, and what the journal has after them.
//!
//! First the snapshot is taken, then the journal's durable end, then the records between the two are folded. What is
//! flushed meanwhile is in the journal for us and in the files for who comes later; nothing is in both or in neither.
//! Only wanted rows are kept. The records may be deleted while they are read, when they are in files by then: then a newer
//! snapshot is taken.

use std::sync::Arc;

use arrow_array::RecordBatch;
use journal::stream::StreamItem;
use journal::{GapReason, Position};

use super::wanted::Wanted;
use super::{Notice, ScanError};
use crate::fold::Fold;
use crate::partition::Partition;
use crate::reader::History;
use crate::store::FileEntry;

/// Rows that are folded at once.
const FOLD_ROWS_MAX: u64 = 32_768;
/// Bytes of rows that are folded at once.
const FOLD_BYTES_MAX: usize = 8 << 20;
/// Most bytes of wanted rows of the journal's rest that one query keeps. The rest is as long as a flush's interval, or as
/// the store is away.
pub const TAIL_BYTES_MAX: usize = 256 << 20;
/// How often a snapshot that was overtaken is taken anew.
const TRIES_MAX: usize = 5;

/// What a query sees.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Files with wanted rows, by day and path.
    pub(super) files: Vec<Arc<FileEntry>>,
    /// Rows that are in no file yet.
    pub(super) tail: Vec<Rest>,
    /// What is wrong with it.
    pub(super) notices: Vec<Notice>,
    /// The last record that is in it.
    pub(crate) end: Position,
}

/// Wanted rows of a folder.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    pub(super) partition: Partition,
    pub(super) rows: RecordBatch,
}

/// How folding went.
enum Folded {
    Whole,
    /// Retention deleted records of it, which newer files have.
    Overtaken,
}

impl Cut {
    /// A cut for all of `wanted`, in one reading of the journal.
    pub(crate) fn take(history: &History, wanted: &[Wanted]) -> Result<Self, ScanError> {
        for tries in 1.. {
            let snapshot = match wanted {
                [one] => history.files.snapshot_of(one.data_set),
                _ => history.files.snapshot(),
            };
            let is_wanted = |file: &Arc<FileEntry>| wanted.iter().any(|one| one.reads(&file.partition));
            let mut files: Vec<_> = snapshot.files.into_iter().filter(is_wanted).collect();
            files.sort_by(|a, b| (a.partition.day, a.path.as_ref()).cmp(&(b.partition.day, b.path.as_ref())));
            let end = history.log.durable();
            let mut cut = Self { files, tail: Vec::new(), notices: Vec::new(), end };
            match cut.fold(history, wanted, snapshot.covered_to, tries < TRIES_MAX)? {
                Folded::Whole => return Ok(cut),
                Folded::Overtaken => tracing::debug!(tries, "the journal was cut back while it was read"),
            }
        }
        unreachable!("the last try is never overtaken")
    }

    /// The same moment for one data set alone.
    pub(crate) fn of(&self, wanted: &Wanted) -> Self {
        let files = self.files.iter().filter(|file| wanted.reads(&file.partition));
        let tail = self.tail.iter().filter(|rest| rest.partition.data_set == wanted.data_set);
        Self {
            files: files.cloned().collect(),
            tail: tail.cloned().collect(),
            notices: self.notices.clone(),
            end: self.end,
        }
    }

    /// Folds what came after `after`. Where retention was faster, either a newer snapshot has it, or it is told as gone.
    fn fold(
        &mut self,
        history: &History,
        wanted: &[Wanted],
        after: Position,
        may_retry: bool,
    ) -> Result<Folded, ScanError> {
        let end = self.end;
        let (mut fold, mut unreadable) = (Fold::new(), 0_u64);
        if end <= after {
            return Ok(Folded::Whole);
        }
        for item in history.log.read(after) {
            let item = item.map_err(ScanError::Journal)?;
            let position = match &item {
                StreamItem::Batch(entry) => entry.position,
                StreamItem::Otlp(entry) => entry.position,
                StreamItem::Other { position, .. } => *position,
                StreamItem::Gap { to, reason: GapReason::Retention, .. }
                    if may_retry && history.files.covered_to() >= *to =>
                {
                    return Ok(Folded::Overtaken);
                }
                StreamItem::Gap { from, to, reason } => {
                    self.notices.push(Notice::RecordsMissing { from: *from, to: *to, reason: *reason });
                    *to
                }
            };
            if position > end {
                break;
            }
            unreadable += u64::from(fold.take(&item).is_err());
            if fold.row_count() >= FOLD_ROWS_MAX || fold.memory_bytes() >= FOLD_BYTES_MAX {
                self.keep(std::mem::take(&mut fold), wanted)?;
            }
            if position == end {
                break;
            }
        }
        self.keep(fold, wanted)?;
        if unreadable > 0 {
            self.notices.push(Notice::RecordsUnreadable(unreadable));
        }
        Ok(Folded::Whole)
    }

    /// Keeps the wanted rows.
    fn keep(&mut self, fold: Fold, wanted: &[Wanted]) -> Result<(), ScanError> {
        for (partition, batch) in fold.into_batches() {
            for one in wanted.iter().filter(|one| one.reads(&partition)) {
                if let Some(rows) = one.select(&partition.team, &batch)? {
                    self.tail.push(Rest { partition: partition.clone(), rows });
                }
            }
        }
        let bytes: usize = self.tail.iter().map(|rest| rest.rows.get_array_memory_size()).sum();
        if bytes > TAIL_BYTES_MAX {
            return Err(ScanError::TailTooLong { bytes, bytes_max: TAIL_BYTES_MAX });
        }
        Ok(())
    }
}
