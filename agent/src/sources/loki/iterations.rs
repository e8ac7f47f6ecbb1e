//! Iterations as runs of the worker `orchestrator`, each counted once though two places tell of it.
//!
//! The event log says that iteration N is over and how; `metrics/efficiency/iteration-N.json` says how long it took and
//! what it cost. Either can be missing: the log in a wiped project, the file when a later run overwrote it. The two
//! carry slightly different times and no session, so they are matched one to one by number and nearness in time.
//! What comes alone waits a moment for the other; what comes later than that adds nothing to what was said.

use std::collections::VecDeque;
use std::time::Duration;

use muster::clock::{Monotonic, WallTime};
use serde::{Deserialize, Serialize};

/// The two times of one iteration are at most this far apart.
const MATCH_WINDOW: Duration = Duration::from_secs(120);
/// How long one half waits for the other: the tool writes them one right after the other.
const SETTLE: Duration = Duration::from_secs(1);
/// Most iterations that wait or are remembered; past it the oldest is said as it is.
const REMEMBERED_MAX: usize = 64;

/// Which of the two places a fact came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Told {
    /// `events.jsonl`.
    ByEvent,
    /// The efficiency file.
    ByFile,
}

/// An iteration that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finished {
    /// Its number.
    pub iteration: u32,
    /// When.
    pub time_us: u64,
    /// How it ended, where it is said.
    pub failed: Option<bool>,
    /// How long it took.
    pub duration_us: Option<u64>,
    /// The model it ran on, "" when not known.
    pub model: String,
    /// The session's name.
    pub session: String,
    /// Identity of the run.
    pub run_id: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    told: Told,
    finished: Finished,
    #[serde(skip)]
    since: Option<Monotonic>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    iteration: u32,
    time_us: u64,
}

/// Iterations that are not over, wait for their other half, or were said with one half.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Iterations {
    open: VecDeque<Open>,
    waiting: VecDeque<Waiting>,
    /// (told, iteration, time) of runs that were said by one half.
    halves: VecDeque<(Told, u32, u64)>,
}

impl Iterations {
    /// An iteration has begun.
    pub(super) fn begin(&mut self, iteration: u32, time: WallTime) {
        if self.open.len() >= REMEMBERED_MAX {
            self.open.pop_front();
        }
        self.open.push_back(Open { iteration, time_us: time.0 });
    }

    /// How long the iteration that ends now has run by the event log's own times.
    pub(super) fn end(&mut self, iteration: u32, time: WallTime) -> Option<u64> {
        let at = self.open.iter().rposition(|open| open.iteration == iteration)?;
        let begun = self.open.remove(at)?;
        time.0.checked_sub(begun.time_us)
    }

    /// No iteration of an older session can end any more.
    pub(super) fn new_session(&mut self) {
        self.open.clear();
    }

    /// One place says that an iteration is over. Answers what can be said now.
    pub(super) fn told(&mut self, told: Told, finished: Finished, now: Monotonic) -> Option<Finished> {
        if let Some(at) = nearest(
            self.waiting.iter().map(|w| (w.told, w.finished.iteration, w.finished.time_us)),
            told,
            &finished,
        ) {
            let other = self.waiting.remove(at)?;
            return Some(match told {
                Told::ByEvent => both(finished, other.finished),
                Told::ByFile => both(other.finished, finished),
            });
        }
        if let Some(at) = nearest(self.halves.iter().copied(), told, &finished) {
            self.halves.remove(at);
            return None;
        }
        self.waiting.push_back(Waiting { told, finished, since: Some(now) });
        if self.waiting.len() > REMEMBERED_MAX { self.say_oldest() } else { None }
    }

    /// What has waited long enough. After a restart the waiting begins anew.
    pub(super) fn settled(&mut self, now: Monotonic) -> Option<Finished> {
        for waiting in &mut self.waiting {
            waiting.since.get_or_insert(now);
        }
        let since = self.waiting.front()?.since?;
        if now.0.saturating_sub(since.0) < SETTLE {
            return None;
        }
        self.say_oldest()
    }

    /// When to ask [`Iterations::settled`] again.
    pub(super) fn settles_in(&self) -> Option<Duration> {
        (!self.waiting.is_empty()).then_some(SETTLE)
    }

    fn say_oldest(&mut self) -> Option<Finished> {
        let oldest = self.waiting.pop_front()?;
        self.remember_half(oldest.told, oldest.finished.iteration, oldest.finished.time_us);
        Some(oldest.finished)
    }

    fn remember_half(&mut self, told: Told, iteration: u32, time_us: u64) {
        if self.halves.len() >= REMEMBERED_MAX {
            self.halves.pop_front();
        }
        self.halves.push_back((told, iteration, time_us));
    }
}

/// Whether two times can be those of one iteration.
pub(super) fn is_near(a: WallTime, b: WallTime) -> bool {
    a.0.abs_diff(b.0) <= MATCH_WINDOW.as_micros() as u64
}

/// The other half of `finished` among `candidates`.
fn nearest(
    candidates: impl Iterator<Item = (Told, u32, u64)>,
    told: Told,
    finished: &Finished,
) -> Option<usize> {
    candidates
        .enumerate()
        .filter(|(_, (by, iteration, time_us))| {
            *by != told
                && *iteration == finished.iteration
                && is_near(WallTime(*time_us), WallTime(finished.time_us))
        })
        .min_by_key(|(_, (_, _, time_us))| time_us.abs_diff(finished.time_us))
        .map(|(at, _)| at)
}

/// What both halves know: the event's account of how it ended, the file's of how long it took.
pub(super) fn both(event: Finished, file: Finished) -> Finished {
    Finished {
        failed: event.failed.or(file.failed),
        duration_us: file.duration_us.or(event.duration_us),
        model: if file.model.is_empty() { event.model } else { file.model },
        ..event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(iteration: u32, second: u64) -> Finished {
        Finished {
            iteration,
            time_us: second * 1_000_000,
            failed: None,
            duration_us: None,
            model: String::new(),
            session: String::new(),
            run_id: 0,
        }
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic(Duration::from_millis(ms))
    }

    #[test]
    fn an_iteration_that_both_places_tell_of_is_said_once_in_either_order() {
        for (first, second) in [(Told::ByEvent, Told::ByFile), (Told::ByFile, Told::ByEvent)] {
            for late in [false, true] {
                let mut iterations = Iterations::default();
                let mut said = 0;
                said += usize::from(iterations.told(first, run(3, 100), at(0)).is_some());
                if late {
                    said += usize::from(iterations.settled(at(1500)).is_some());
                }
                said += usize::from(iterations.told(second, run(3, 130), at(1600)).is_some());
                said += usize::from(iterations.settled(at(9000)).is_some());
                assert_eq!(said, 1, "{first:?} first, late: {late}");
            }
        }
    }

    #[test]
    fn a_number_that_comes_again_in_a_later_run_is_another_iteration() {
        let mut iterations = Iterations::default();
        assert_eq!(iterations.told(Told::ByEvent, run(1, 100), at(0)), None);
        assert_eq!(iterations.told(Told::ByFile, run(1, 1000), at(0)), None);
        let said: Vec<_> = std::iter::from_fn(|| iterations.settled(at(2000))).map(|r| r.time_us).collect();
        assert_eq!(said, [100_000_000, 1_000_000_000]);
    }
}
