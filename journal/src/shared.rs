//! What the handle, its writer and its readers share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use muster::clock::Clock;
use parking_lot::{Condvar, Mutex};

use crate::completion::Completion;
use crate::config::Config;
use crate::cursor::CursorMark;
use crate::error::{AppendError, Cause};
use crate::format::{JournalId, META_BYTES_MAX, Salt, frame_len};
use crate::fs::{DirLock, FileSystem};
use crate::notify::Durable;
use crate::quarantine::Quarantine;
use crate::queue::{Condition, Queue, Records, Unit};
use crate::record::Record;
use crate::segments::Segments;
use crate::tail::Tail;

/// Makes the records that every new segment begins with.
pub(crate) type SegmentHeadRecords = Box<dyn Fn() -> Vec<Record> + Send + Sync>;

/// Room that must be there besides the reserve and the record before a full disk counts as free again.
const ROOM_SLACK_BYTES: u64 = 64 << 10;

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journal_id: JournalId,
    pub(crate) queue: Mutex<Queue>,
    /// The writer sleeps on it.
    pub(crate) work: Condvar,
    pub(crate) durable: Arc<Durable>,
    pub(crate) segments: Mutex<Segments>,
    pub(crate) tail: Mutex<Tail>,
    pub(crate) cursors: Mutex<BTreeMap<String, CursorMark>>,
    pub(crate) quarantine: Mutex<Quarantine>,
    /// One retention at a time; also held while a reader looks whether a missing file was deleted by one.
    pub(crate) retaining: Mutex<()>,
    pub(crate) segment_head: Mutex<Option<SegmentHeadRecords>>,
    pub(crate) counters: Counters,
    /// On the monotonic clock.
    pub(crate) opened_at: std::time::Duration,
    lock: Mutex<Option<Box<dyn DirLock>>>,
}

/// Figures that only go up, and the state of the reserve.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) fsyncs: AtomicU64,
    pub(crate) records_appended: AtomicU64,
    pub(crate) bytes_appended: AtomicU64,
    pub(crate) dropped_by_retention: AtomicU64,
    pub(crate) disk_full_events: AtomicU64,
    pub(crate) cursors_damaged: AtomicU64,
    pub(crate) has_reserve: AtomicBool,
}

impl Shared {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts that recovery has found, put together in one place"
    )]
    pub(crate) fn new(
        config: Config,
        fs: Arc<dyn FileSystem>,
        clock: Arc<dyn Clock>,
        journal_id: JournalId,
        durable: u64,
        segments: Segments,
        cursors: BTreeMap<String, CursorMark>,
        quarantine: Quarantine,
        lock: Box<dyn DirLock>,
    ) -> Self {
        let opened_at = clock.monotonic().0;
        let tail = Tail::new(config.tail_bytes_max);
        Self {
            config,
            fs,
            clock,
            journal_id,
            queue: Mutex::new(Queue::new()),
            work: Condvar::new(),
            durable: Arc::new(Durable::at(durable)),
            segments: Mutex::new(segments),
            tail: Mutex::new(tail),
            cursors: Mutex::new(cursors),
            quarantine: Mutex::new(quarantine),
            retaining: Mutex::new(()),
            segment_head: Mutex::new(None),
            counters: Counters::default(),
            opened_at,
            lock: Mutex::new(Some(lock)),
        }
    }

    pub(crate) fn salt(&self, first: u64) -> Salt {
        Salt::new(&self.journal_id, first)
    }

    /// Queues a unit and wakes the writer.
    pub(crate) fn submit(&self, records: Records, done: Arc<dyn Completion>) -> Result<(), AppendError> {
        self.check_size(records.as_slice())?;
        let mut queue = self.queue.lock();
        if let Condition::DiskFull { is_settled: true } = queue.condition
            && self.has_room(records.frame_bytes())
        {
            queue.condition = Condition::Open;
        }
        queue.admits(&records, self.config.queue_bytes_max)?;
        queue.push(Unit::new(records, done));
        drop(queue);
        self.work.notify_one();
        Ok(())
    }

    /// Queues a probe and wakes the writer.
    pub(crate) fn probe(&self, done: Arc<dyn Completion>) -> Result<(), AppendError> {
        self.queue.lock().push_probe(done)?;
        self.work.notify_one();
        Ok(())
    }

    fn check_size(&self, records: &[Record]) -> Result<(), AppendError> {
        if records.is_empty() {
            return Err(AppendError::Empty);
        }
        let mut total = 0;
        for record in records {
            if record.meta.len() > META_BYTES_MAX {
                return Err(AppendError::TooLarge { bytes: record.meta.len(), max: META_BYTES_MAX });
            }
            let (bytes, max) =
                (frame_len(record.meta.len(), record.payload.len()), self.config.record_bytes_max);
            if bytes > u64::from(max) {
                return Err(AppendError::TooLarge { bytes: bytes as usize, max: max as usize });
            }
            total += bytes as usize;
        }
        if records.len() > 1 && total > self.config.queue_bytes_max {
            return Err(AppendError::TooLarge { bytes: total, max: self.config.queue_bytes_max });
        }
        Ok(())
    }

    /// Whether the disk has room for the reserve, if it was given up, for `bytes`, and for some more: a disk that is
    /// full again at once would only make noise.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let has_reserve = self.counters.has_reserve.load(Ordering::Relaxed);
        let reserve = if has_reserve { 0 } else { self.config.reserve_bytes };
        match self.fs.available(&self.config.dir) {
            Ok(available) => available >= reserve + bytes + ROOM_SLACK_BYTES,
            Err(error) => {
                tracing::warn!(dir = %self.config.dir.display(), %error, "cannot ask for the free room");
                false
            }
        }
    }

    /// Whether the folder is still the one that was opened.
    pub(crate) fn is_dir_current(&self) -> std::io::Result<bool> {
        self.lock.lock().as_ref().map_or(Ok(true), |lock| lock.is_current())
    }

    /// Asks the writer to end once the queue is empty.
    pub(crate) fn close(&self) {
        self.queue.lock().is_closing = true;
        self.work.notify_one();
    }

    /// Lets the folder go. Readers that are still there go on reading what is durable.
    pub(crate) fn release(&self) {
        self.durable.close();
        *self.lock.lock() = None;
    }

    /// Refuses everything from now on, and tells all that wait.
    pub(crate) fn poison(&self, cause: &Cause) {
        tracing::error!(%cause, "journal is poisoned; nothing is acknowledged until it is opened anew");
        let mut queue = self.queue.lock();
        queue.condition = Condition::Poisoned(cause.clone());
        queue.answer_probes(&Err(AppendError::Poisoned(cause.clone())));
        let units = std::mem::take(&mut queue.units);
        queue.bytes = 0;
        drop(queue);
        for unit in units {
            unit.complete(&Err(AppendError::Poisoned(cause.clone())));
        }
        self.durable.close();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("dir", &self.config.dir).finish_non_exhaustive()
    }
}
