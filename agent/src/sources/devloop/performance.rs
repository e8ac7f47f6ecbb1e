//! performance/metrics.jsonl: what DevLoop's process used while its workers ran.
//!
//! DevLoop truncates the file and writes it again every five minutes, with the same lines but for the oldest
//! (contracts/devloop.md section 6.4). So a file that is no longer at the reader's place is first left alone until its
//! size has settled, then read backwards to the newest line that is known, and on from there. A line is known by its
//! operation and start; one that ended before the newest known one is not new.
//!
//! Lines tell of the whole host's disk counters since boot: the difference between lines is what is stated, and where a
//! counter fell (a boot, another machine), what the one run itself saw.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use muster::clock::{Monotonic, WallTime};
use muster::v1::event::Kind;
use muster::v1::{ResourceSample, ResourceScope};
use serde_json::Value;

use super::report::{Health, Report};
use super::seen::RowId;
use super::stamp::Stamp;
use super::tail::{Piece, Tail, TailCursor, read_at};
use super::times;

/// Keys of the newest lines that are remembered.
pub(super) const KEYS_MAX: usize = 256;
/// Workers of which a sample is kept.
const WORKERS_MAX: usize = 64;
/// How long a rewritten file's size must stand still.
const SETTLE: Duration = Duration::from_secs(1);
/// How far one look goes back in a rewritten file.
const LOOK_BACK_BYTES: u64 = 256 * 1024;
const BYTES_A_MIB: f64 = 1_048_576.0;

/// How far the file has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PerformanceCursor {
    pub tail: TailCursor,
    /// The newest end of a run.
    pub newest_end: WallTime,
    /// Keys of the newest lines, oldest first.
    pub keys: Vec<u64>,
    /// Lines up to `newest_end` come again.
    pub catching_up: bool,
    /// The host's bytes read and written since boot, at `newest_end`.
    pub disk_bytes: Option<u64>,
    /// Bytes that no sample has carried yet.
    pub disk_bytes_unsaid: u64,
}

/// The newest samples that were not stated yet. Pure.
#[derive(Debug, Default)]
pub(super) struct Samples {
    tool: Option<(WallTime, Usage)>,
    workers: BTreeMap<String, (WallTime, Usage)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Usage {
    cpu_percent: Option<f64>,
    memory_bytes: Option<u64>,
}

/// Follows the file.
#[derive(Debug, Default)]
pub(super) struct Performance {
    tail: Tail,
    unsettled: Option<(u64, Monotonic)>,
}

/// What a look gave.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub piece: Option<Piece>,
    pub again_in: Option<Duration>,
}

impl Performance {
    /// Reads what is new, once the file has settled.
    pub(super) fn look(
        &mut self,
        path: &Path,
        cursor: &mut PerformanceCursor,
        now: Monotonic,
        look_closer: bool,
    ) -> io::Result<Look> {
        let before = cursor.tail;
        if self.unsettled.is_none() {
            match self.tail.read(path, &mut cursor.tail, look_closer)? {
                Some(piece) if piece.rewritten => {
                    cursor.tail = before;
                    self.unsettled = Some((u64::MAX, now));
                }
                piece => return Ok(Look { piece, again_in: None }),
            }
        }
        let Some(stamp) = Stamp::of(path)? else {
            self.unsettled = None;
            return Ok(Look::default());
        };
        match self.unsettled {
            Some((bytes, since)) if bytes == stamp.bytes && now.0.saturating_sub(since.0) >= SETTLE => {}
            Some((bytes, since)) if bytes == stamp.bytes => {
                let again_in = Some(SETTLE.saturating_sub(now.0.saturating_sub(since.0)));
                return Ok(Look { piece: None, again_in });
            }
            _ => {
                self.unsettled = Some((stamp.bytes, now));
                return Ok(Look { piece: None, again_in: Some(SETTLE) });
            }
        }
        self.unsettled = None;
        cursor.tail =
            TailCursor { offset: resume_at(path, stamp.bytes, cursor.newest_end)?, ..Default::default() };
        cursor.tail = Tail::anchored(path, cursor.tail)?;
        cursor.catching_up = true;
        let piece = self.tail.read(path, &mut cursor.tail, true)?;
        Ok(Look { piece, again_in: None })
    }
}

/// The start of a line at or before the first one that ended after `known`. Lines are in the order of their ends.
fn resume_at(path: &Path, bytes: u64, known: WallTime) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut start = bytes;
    while start > 0 {
        start = start.saturating_sub(LOOK_BACK_BYTES);
        let look = read_at(&mut file, start, LOOK_BACK_BYTES)?;
        let first_line = match (start, look.iter().position(|&byte| byte == b'\n')) {
            (0, _) => return Ok(0),
            (_, Some(end)) => end + 1,
            (_, None) => continue,
        };
        let line = look[first_line..].split(|&byte| byte == b'\n').next().unwrap_or_default();
        let ended = serde_json::from_slice::<Value>(line).ok();
        let ended = ended.and_then(|line| line["end_time"].as_f64()).and_then(times::from_epoch_seconds);
        if ended.is_some_and(|ended| ended <= known) {
            return Ok(start + first_line as u64);
        }
    }
    Ok(0)
}

impl Samples {
    /// Takes over the new ones among whole lines. Answers with the newest time, for the source's health.
    pub(super) fn take(
        &mut self,
        piece: &Piece,
        cursor: &mut PerformanceCursor,
        now: WallTime,
        health: &mut Health,
    ) {
        health.records_skipped += piece.skipped;
        for line in piece.bytes.split(|&byte| byte == b'\n') {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match serde_json::from_slice::<Value>(line) {
                Ok(line) if line.is_object() => self.take_line(&line, cursor, now),
                _ => health.parse_errors += 1,
            }
        }
        health.newest_data_time = health.newest_data_time.max(cursor.newest_end);
        if !piece.more {
            cursor.catching_up = false;
        }
    }

    fn take_line(&mut self, line: &Value, cursor: &mut PerformanceCursor, now: WallTime) {
        let operation = line["operation_name"].as_str().unwrap_or("");
        let key = RowId::of(format!("{operation} {}", line["start_time"]).as_bytes()).0;
        let ended = line["end_time"].as_f64().and_then(times::from_epoch_seconds);
        let ended = times::believable(ended, now).min(now);
        if cursor.keys.contains(&key) || (cursor.catching_up && ended < cursor.newest_end) {
            return;
        }
        if cursor.keys.len() >= KEYS_MAX {
            cursor.keys.remove(0);
        }
        cursor.keys.push(key);
        cursor.newest_end = cursor.newest_end.max(ended);
        let (start, end) = (&line["resource_usage_start"], &line["resource_usage_end"]);
        note_disk(disk_bytes(start), disk_bytes(end), cursor);
        let usage = Usage { cpu_percent: percent(&end["cpu_percent"]), memory_bytes: mib(&end["memory_mb"]) };
        self.tool = Some((ended, usage));
        let worker = line["metadata"]["agent_name"].as_str();
        let worker = worker.or_else(|| operation.strip_prefix("agent.")?.strip_suffix(".handle"));
        if let Some(worker) = worker
            && (self.workers.len() < WORKERS_MAX || self.workers.contains_key(worker))
        {
            self.workers.insert(worker.to_owned(), (ended, usage));
        }
    }

    /// Nothing waits to be stated.
    pub(super) fn is_empty(&self) -> bool {
        self.tool.is_none() && self.workers.is_empty()
    }

    /// States the newest sample of the tool and of each worker.
    pub(super) fn state(&mut self, cursor: &mut PerformanceCursor, report: &mut Report<'_>) {
        for (worker, (time, usage)) in std::mem::take(&mut self.workers) {
            let worker = report.facts.word(&worker);
            let sample = ResourceSample { worker, ..usage.sample(ResourceScope::Worker) };
            report.facts.push(time, Kind::ResourceSample(sample));
        }
        if let Some((time, usage)) = self.tool.take() {
            let disk_io_bytes = cursor.disk_bytes.map(|_| std::mem::take(&mut cursor.disk_bytes_unsaid));
            let sample = ResourceSample { disk_io_bytes, ..usage.sample(ResourceScope::Tool) };
            report.facts.push(time, Kind::ResourceSample(sample));
        }
    }
}

impl Usage {
    fn sample(self, scope: ResourceScope) -> ResourceSample {
        ResourceSample {
            scope: scope.into(),
            cpu_percent: self.cpu_percent,
            memory_bytes: self.memory_bytes,
            ..ResourceSample::default()
        }
    }
}

fn note_disk(at_start: Option<u64>, at_end: Option<u64>, cursor: &mut PerformanceCursor) {
    let Some(at_end) = at_end else { return };
    let from = match cursor.disk_bytes {
        Some(known) if known <= at_end => known,
        _ => at_start.unwrap_or(at_end),
    };
    cursor.disk_bytes_unsaid = cursor.disk_bytes_unsaid.saturating_add(at_end.saturating_sub(from));
    cursor.disk_bytes = Some(at_end);
}

fn disk_bytes(usage: &Value) -> Option<u64> {
    mib(&usage["disk_read_mb"])?.checked_add(mib(&usage["disk_write_mb"])?)
}

fn mib(value: &Value) -> Option<u64> {
    let mib = value.as_f64().filter(|mib| (0.0..1e12).contains(mib))?;
    Some((mib * BYTES_A_MIB).round() as u64)
}

fn percent(value: &Value) -> Option<f64> {
    value.as_f64().filter(|percent| (0.0..1e6).contains(percent))
}
