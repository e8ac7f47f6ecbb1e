//! Deletes old segments, never past the slowest cursor unless the policy says so.
//!
//! Age is the one thing here that needs the wall clock, and a clock that jumps must not purge a log. A segment that this
//! process closed is old only when both its records' wall time and the monotonic time since it was closed say so. One
//! that an earlier life closed is judged by wall time, but not before this process has run for half of the age (at
//! most an hour): time for somebody, or for NTP, to set a wrong clock right.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::SlowReader;
use crate::failpoint::failpoint;
use crate::segments::{Segment, corrupt_path};
use crate::shared::Shared;

/// Longest time that a process waits before it believes the wall clock about segments of an earlier life.
const GRACE_MAX: Duration = Duration::from_secs(3600);

/// What one pass of retention did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetainReport {
    /// Segments deleted.
    pub segments: u64,
    /// Positions deleted with them.
    pub records: u64,
    /// Bytes deleted.
    pub bytes: u64,
    /// Of the positions, those that the slowest cursor had not read.
    pub dropped_unread: u64,
    /// Segments that are due and stay, since a cursor has not read them.
    pub held_by_cursor: u64,
    /// The kind of failure that ended the pass early.
    pub failed: Option<io::ErrorKind>,
}

pub(crate) fn apply(shared: &Shared) -> RetainReport {
    let _one_at_a_time = shared.retaining.lock();
    let mut report = RetainReport::default();
    let slowest = shared.cursors.lock().values().map(|mark| mark.position).min().unwrap_or(u64::MAX);
    while let Some(segment) = next_due(shared) {
        if segment.last > slowest && shared.config.retention.slow_reader == SlowReader::Keep {
            report.held_by_cursor += 1;
            break;
        }
        if let Err(error) = delete(shared, &segment) {
            tracing::warn!(segment = segment.first, %error, "cannot delete an old segment");
            report.failed = Some(error.kind());
            break;
        }
        let unread = segment.last.saturating_sub(slowest.max(segment.first - 1));
        report.segments += 1;
        report.records += (segment.last + 1).saturating_sub(segment.first);
        report.bytes += segment.end;
        report.dropped_unread += unread;
        shared.counters.dropped_by_retention.fetch_add(unread, Ordering::Relaxed);
    }
    report
}

/// The oldest segment, if it is due. The active one never is.
fn next_due(shared: &Shared) -> Option<Segment> {
    let segments = shared.segments.lock();
    if segments.list.len() < 2 {
        return None;
    }
    let oldest = segments.list.first()?;
    let retention = &shared.config.retention;
    let is_too_much = retention.bytes_max.is_some_and(|max| segments.bytes() > max);
    let is_too_old = retention.age_max.is_some_and(|max| is_older(shared, oldest, max));
    (is_too_much || is_too_old).then(|| oldest.clone())
}

fn is_older(shared: &Shared, segment: &Segment, age_max: Duration) -> bool {
    let wall_age = Duration::from_micros(shared.clock.wall().0.saturating_sub(segment.last_wall_us));
    let now = shared.clock.monotonic().0;
    let (since, least) = match segment.closed_at {
        Some(closed_at) => (now.saturating_sub(closed_at), age_max),
        None => (now.saturating_sub(shared.opened_at), (age_max / 2).min(GRACE_MAX)),
    };
    wall_age > age_max && since >= least
}

fn delete(shared: &Shared, segment: &Segment) -> io::Result<()> {
    let dir = &shared.config.dir;
    unlink_if_there(shared, &segment.path(dir))?;
    failpoint("mid-delete");
    shared.segments.lock().list.retain(|s| s.first != segment.first);
    shared.quarantine.lock().forget(segment.first);
    unlink_if_there(shared, &corrupt_path(dir, segment.first))?;
    // One by one: after a crash the next segment must not be gone while this one is back.
    shared.fs.sync_dir(dir)
}

fn unlink_if_there(shared: &Shared, path: &std::path::Path) -> io::Result<()> {
    match shared.fs.unlink(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
