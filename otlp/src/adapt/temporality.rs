//! From cumulative to delta and back, one stream at a time (OpenTelemetry's metrics data model; contracts/otlp.md section 2.5).
//!
//! ```text
//! cumulative -> delta   first point: all of it, if it says since when it counts and that is since streams are seen here;
//!                       otherwise it is the baseline for the next
//!                       more than before: the difference, since the point before
//!                       less than before, or a start after the point before: a new start, all of it
//!                       another layout of buckets: a new baseline
//! delta -> cumulative   first point: all of it, since its own start
//!                       later point: added, since the first one's start; a gap between is taken as nothing recorded
//!                       another layout of buckets: a new start
//! both                  a point that is not after the one before is dropped
//! ```
//!
//! A source without start times (zero, or the point's own time) is one whose start is unknown: it adds nothing.

use super::DropReason;
use super::streams::{Baseline, Toward};
use super::value::{Change, Value};

/// A point's times and value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub start: u64,
    pub time: u64,
    pub value: Value,
}

impl Reading {
    /// Whether it says since when it counts.
    fn has_start(&self) -> bool {
        self.start != 0 && self.start < self.time
    }

    fn baseline(&self, toward: Toward, second: u64) -> Baseline {
        Baseline { toward, start: self.start, time: self.time, second, value: self.value.clone() }
    }

    /// The sum of this delta alone, which starts at `after` or later. What a delta adds was recorded before its time even
    /// where it does not say since when.
    fn first_sum(&self, after: u64) -> Baseline {
        let start = self.start.max(after);
        let known = start != 0 && start < self.time;
        let start = if known { start } else { self.time.saturating_sub(1) };
        Baseline { start, ..self.baseline(Toward::Cumulative, 0) }
    }
}

/// The delta of a cumulative reading, and what to remember of the stream.
pub(super) fn to_delta(
    known: Option<Baseline>,
    reading: Reading,
    seen_since: u64,
) -> (Baseline, Result<Reading, DropReason>) {
    let known = known.filter(|known| known.toward == Toward::Delta);
    let Some(known) = known else {
        let next = reading.baseline(Toward::Delta, 0);
        let whole = reading.has_start() && reading.start >= seen_since;
        return (next, if whole { Ok(reading) } else { Err(DropReason::Baseline) });
    };
    if reading.time <= known.time {
        return (known, Err(DropReason::OutOfOrder));
    }
    let next = reading.baseline(Toward::Delta, known.second);
    let began_after = reading.has_start() && reading.start >= known.time;
    let delta = match reading.value.since(&known.value) {
        _ if began_after => Ok(reading),
        Change::Grown(value) => Ok(Reading { start: known.time, time: reading.time, value }),
        Change::Fallen if reading.has_start() => Ok(Reading { start: known.time, ..reading }),
        Change::Fallen | Change::Other => Err(DropReason::Baseline),
    };
    (next, delta)
}

/// The sum with a delta reading, and what to remember of the stream.
pub(super) fn to_cumulative(
    known: Option<Baseline>,
    reading: Reading,
) -> (Baseline, Result<Reading, DropReason>) {
    let sum = match known.filter(|known| known.toward == Toward::Cumulative) {
        None => reading.first_sum(0),
        Some(known) if reading.time <= known.time => return (known, Err(DropReason::OutOfOrder)),
        Some(mut known) => {
            if known.value.add(&reading.value) {
                Baseline { time: reading.time, ..known }
            } else {
                reading.first_sum(known.time)
            }
        }
    };
    let cumulative = Reading { start: sum.start, time: sum.time, value: sum.value.clone() };
    (sum, Ok(cumulative))
}
