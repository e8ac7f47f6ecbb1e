//! When to do what. Pure: it is told the time and what is there, and says what is next.

use std::time::Duration;

use muster::clock::{Monotonic, WallTime};

/// First wait after a failure; each further one doubles it.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// How often waiting records are looked at: there may be so many by now that they are written before their time.
const LOOK: Duration = Duration::from_secs(1);
/// How often old days are looked for, and files to merge although none was written.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// A wall clock is believed about what is too old when it has gone evenly for so long: time for somebody, or for NTP,
/// to set a wrong one right.
const CLOCK_TRUSTED_AFTER: Duration = Duration::from_secs(3600);
/// Between a wall clock that goes evenly and one that was set.
const CLOCK_DRIFT_MAX: Duration = Duration::from_secs(600);

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Write what waits.
    Flush,
    /// Merge files and look for old days.
    Upkeep,
    /// Wait so long.
    Wait(Duration),
    /// Wait so long, or until there is something to write.
    WaitForMore(Duration),
}

/// When it was done last, and how that went.
#[derive(Debug)]
pub(super) struct Pace {
    flush_interval: Duration,
    journal_bytes_max: u64,
    /// Since when something waits.
    waiting_since: Option<Monotonic>,
    /// Whether what waits is written at once, however young: after a start, and while there is much.
    is_urgent: bool,
    failures: u32,
    not_before: Monotonic,
    upkeep_at: Monotonic,
}

/// Whether the wall clock can be believed.
#[derive(Debug)]
pub(super) struct ClockTrust {
    wall: WallTime,
    since: Monotonic,
}

impl Pace {
    pub(super) fn new(flush_interval: Duration, journal_bytes_max: u64, now: Monotonic) -> Self {
        Self {
            flush_interval,
            journal_bytes_max,
            waiting_since: None,
            is_urgent: true,
            failures: 0,
            not_before: now,
            upkeep_at: now,
        }
    }

    /// What is next, if `waiting_bytes` of the journal wait; `None`: nothing does.
    pub(super) fn next(&mut self, now: Monotonic, waiting_bytes: Option<u64>) -> Next {
        self.waiting_since = waiting_bytes.map(|_| self.waiting_since.unwrap_or(now));
        if now < self.not_before {
            return Next::Wait(after(self.not_before, now));
        }
        if let (Some(bytes), Some(since)) = (waiting_bytes, self.waiting_since) {
            let waited = after(now, since);
            if self.is_urgent || waited >= self.flush_interval || bytes >= self.journal_bytes_max {
                return Next::Flush;
            }
        }
        if now >= self.upkeep_at {
            return Next::Upkeep;
        }
        let upkeep = after(self.upkeep_at, now);
        let Some(since) = self.waiting_since else { return Next::WaitForMore(upkeep) };
        let due = after(Monotonic(since.0 + self.flush_interval), now);
        Next::Wait(due.min(upkeep).min(LOOK))
    }

    /// Something was written; `has_more`: the range was full, and more waits.
    pub(super) fn flushed(&mut self, has_more: bool) {
        self.failures = 0;
        self.waiting_since = None;
        self.is_urgent = has_more;
        if !has_more {
            // What was written may go with what is there.
            self.upkeep_at = Monotonic::default();
        }
    }

    /// Upkeep ended, well or not.
    pub(super) fn kept_up(&mut self, now: Monotonic) {
        self.upkeep_at = Monotonic(now.0 + UPKEEP_INTERVAL);
    }

    /// Something failed. Returns how long nothing is tried.
    pub(super) fn failed(&mut self, now: Monotonic) -> Duration {
        let wait = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(10)).min(BACKOFF_MAX);
        self.failures += 1;
        self.not_before = Monotonic(now.0 + wait);
        wait
    }

    /// How long the oldest that waits has waited.
    pub(super) fn waited(&self, now: Monotonic) -> Duration {
        self.waiting_since.map_or(Duration::ZERO, |since| after(now, since))
    }
}

impl ClockTrust {
    pub(super) fn new(wall: WallTime, now: Monotonic) -> Self {
        Self { wall, since: now }
    }

    /// Whether `wall` has gone evenly for long. A clock that was set begins anew.
    pub(super) fn is_trusted(&mut self, wall: WallTime, now: Monotonic) -> bool {
        let elapsed = after(now, self.since);
        let expected = self.wall.0.saturating_add(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX));
        if Duration::from_micros(wall.0.abs_diff(expected)) > CLOCK_DRIFT_MAX {
            *self = Self::new(wall, now);
            return false;
        }
        elapsed >= CLOCK_TRUSTED_AFTER
    }
}

fn after(later: Monotonic, earlier: Monotonic) -> Duration {
    later.0.saturating_sub(earlier.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    fn pace() -> Pace {
        let mut pace = Pace::new(Duration::from_secs(600), 1000, at(0));
        assert_eq!(pace.next(at(0), Some(1)), Next::Flush, "what an earlier life left is written at once");
        pace.flushed(false);
        assert_eq!(pace.next(at(0), None), Next::Upkeep);
        pace.kept_up(at(0));
        pace
    }

    #[test]
    fn what_waits_is_written_when_it_is_old_enough_or_large_enough() {
        let mut pace = pace();
        assert_eq!(pace.next(at(100), Some(1)), Next::Wait(LOOK));
        assert_eq!(pace.next(at(699), Some(999)), Next::Wait(LOOK));
        assert_eq!(pace.waited(at(699)), Duration::from_secs(599));
        assert_eq!(pace.next(at(700), Some(1)), Next::Flush);
        let mut pace = self::pace();
        assert_eq!(pace.next(at(100), Some(1000)), Next::Flush);
    }

    #[test]
    fn with_nothing_to_write_it_wakes_for_upkeep_alone() {
        let mut pace = pace();
        assert_eq!(pace.next(at(0), None), Next::WaitForMore(UPKEEP_INTERVAL));
        assert_eq!(pace.next(at(900), None), Next::Upkeep);
    }

    #[test]
    fn failures_are_tried_again_later_and_later_and_a_success_ends_that() {
        let mut pace = pace();
        let waits: Vec<_> = (0..9).map(|_| pace.failed(at(1000)).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pace.next(at(1030), Some(5000)), Next::Wait(Duration::from_secs(30)));
        assert_eq!(pace.next(at(1060), Some(5000)), Next::Flush);
        pace.flushed(false);
        assert_eq!(pace.failed(at(2000)).as_secs(), 1);
    }

    #[test]
    fn a_wall_clock_is_believed_only_after_it_went_evenly_for_an_hour() {
        let wall = |seconds: u64| WallTime(1_795_000_000_000_000 + seconds * 1_000_000);
        let mut trust = ClockTrust::new(wall(0), at(0));
        assert!(!trust.is_trusted(wall(60), at(60)));
        assert!(trust.is_trusted(wall(3700), at(3600)));
        assert!(!trust.is_trusted(wall(400 * 86_400), at(3700)), "it was set");
        assert!(!trust.is_trusted(wall(400 * 86_400 + 60), at(3760)));
        assert!(trust.is_trusted(wall(400 * 86_400 + 3600), at(7300)));
    }
}
