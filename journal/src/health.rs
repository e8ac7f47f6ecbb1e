//! What the log says about itself.

use std::sync::atomic::Ordering;

use crate::error::Cause;
use crate::queue::Condition;
use crate::record::Position;
use crate::shared::Shared;

/// Figures of a log and of the handle that is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of all segments, without room that is allocated ahead.
    pub bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Positions that segments hold, damaged records among them.
    pub records: u64,
    /// First position that is there.
    pub first: Position,
    /// Last durable position.
    pub last: Position,
    /// Records lost to damage, as far as it was come across, by this life and by earlier ones.
    pub quarantined_records: u64,
    /// Damaged bytes that were set aside.
    pub corrupt_bytes: u64,
    /// Segments that were set aside as a whole.
    pub quarantined_segments: u64,
    /// Positions that no segment has, between the first and the last.
    pub missing_records: u64,
    /// Syncs by this handle: groups, segments, cursors.
    pub fsyncs: u64,
    /// Records that this handle made durable.
    pub records_appended: u64,
    /// Bytes of their frames.
    pub bytes_appended: u64,
    /// Records that retention deleted before the slowest cursor had read them.
    pub dropped_by_retention: u64,
    /// How often the disk was full.
    pub disk_full_events: u64,
    /// Cursors of which a slot was damaged when the log was opened.
    pub cursors_damaged: u64,
    /// Bytes that wait for the disk.
    pub queued_bytes: usize,
    /// Whether appends are refused for want of room.
    pub is_disk_full: bool,
    /// Whether nothing is acknowledged any more.
    pub is_poisoned: bool,
}

/// Whether a log works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Ok,
    /// It works; somebody should look.
    Degraded {
        /// What is wrong.
        reasons: Vec<Reason>,
    },
    /// Appends are refused until there is room.
    DiskFull,
    /// Nothing is acknowledged until it is opened anew.
    Poisoned(Cause),
}

/// What somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Damaged records were set aside. Settled when the log is opened anew after retention has deleted their segments
    /// (or somebody the `*.seg.corrupt` files).
    #[error(
        "{records} damaged records ({bytes} bytes) and {segments} segments are set aside in .corrupt files"
    )]
    Quarantined {
        /// Records lost.
        records: u64,
        /// Bytes set aside.
        bytes: u64,
        /// Whole segments set aside.
        segments: u64,
    },
    /// Positions that should be there are not.
    #[error("positions {from} to {to} are missing")]
    Missing {
        /// First one missing.
        from: Position,
        /// Last one missing.
        to: Position,
    },
    /// Cursors had to fall back to an earlier position.
    #[error("{0} cursors were damaged and may have fallen back")]
    CursorsDamaged(u64),
    /// The reserve could not be made.
    #[error("there is no room for the reserve file")]
    NoReserve,
    /// The folder was moved, deleted or replaced.
    #[error("the folder was moved, deleted or replaced")]
    FolderReplaced,
}

/// Most missing ranges that are told one by one.
const MISSING_TOLD_MAX: usize = 16;

pub(crate) fn stats(shared: &Shared) -> Stats {
    let segments = shared.segments.lock();
    let last = shared.durable.position();
    let mut stats = Stats {
        bytes: segments.bytes(),
        segments: segments.list.len() as u64,
        records: segments.list.iter().map(|s| (s.last + 1).saturating_sub(s.first)).sum(),
        first: segments.first_position(),
        last,
        missing_records: segments.missing().map(|(from, to)| to - from + 1).sum(),
        ..Stats::default()
    };
    drop(segments);
    let quarantine = shared.quarantine.lock();
    stats.quarantined_records = quarantine.records;
    stats.corrupt_bytes = quarantine.bytes;
    stats.quarantined_segments = quarantine.segments;
    drop(quarantine);
    let counters = &shared.counters;
    stats.fsyncs = counters.fsyncs.load(Ordering::Relaxed);
    stats.records_appended = counters.records_appended.load(Ordering::Relaxed);
    stats.bytes_appended = counters.bytes_appended.load(Ordering::Relaxed);
    stats.dropped_by_retention = counters.dropped_by_retention.load(Ordering::Relaxed);
    stats.disk_full_events = counters.disk_full_events.load(Ordering::Relaxed);
    stats.cursors_damaged = counters.cursors_damaged.load(Ordering::Relaxed);
    let queue = shared.queue.lock();
    stats.queued_bytes = queue.bytes;
    stats.is_disk_full = matches!(queue.condition, Condition::DiskFull { .. });
    stats.is_poisoned = matches!(queue.condition, Condition::Poisoned(_));
    stats
}

pub(crate) fn health(shared: &Shared) -> Health {
    let mut queue = shared.queue.lock();
    match &queue.condition {
        Condition::Poisoned(cause) => return Health::Poisoned(cause.clone()),
        Condition::DiskFull { is_settled } if !is_settled || !shared.has_room(0) => return Health::DiskFull,
        Condition::DiskFull { .. } => queue.condition = Condition::Open,
        Condition::Open => {}
    }
    drop(queue);
    let reasons = reasons(shared);
    if reasons.is_empty() { Health::Ok } else { Health::Degraded { reasons } }
}

fn reasons(shared: &Shared) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let quarantine = shared.quarantine.lock();
    let (records, bytes, segments) = (quarantine.records, quarantine.bytes, quarantine.segments);
    drop(quarantine);
    if records + bytes + segments > 0 {
        reasons.push(Reason::Quarantined { records, bytes, segments });
    }
    for (from, to) in shared.segments.lock().missing().take(MISSING_TOLD_MAX) {
        reasons.push(Reason::Missing { from: Position(from), to: Position(to) });
    }
    let damaged = shared.counters.cursors_damaged.load(Ordering::Relaxed);
    if damaged > 0 {
        reasons.push(Reason::CursorsDamaged(damaged));
    }
    if shared.config.reserve_bytes > 0 && !shared.counters.has_reserve.load(Ordering::Relaxed) {
        reasons.push(Reason::NoReserve);
    }
    if !matches!(shared.is_dir_current(), Ok(true)) {
        reasons.push(Reason::FolderReplaced);
    }
    reasons
}
