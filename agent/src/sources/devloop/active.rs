//! The issues that stand now: those of the newest run of each worker on each file. Pure.
//!
//! DevLoop never says that an issue is gone; a later run of the same worker on the same file does. Only files that have
//! issues are kept, at most [`FILES_MAX`]; past it the file that was looked at longest ago is forgotten.

use std::collections::HashMap;

use muster::clock::WallTime;
use muster::v1::{ActiveFindings, Severity};

/// Most (worker, file) pairs with issues that are kept.
pub(super) const FILES_MAX: usize = 1024;

/// Issues by Muster's severities: critical, high, medium, low.
pub(super) type Counts = [u32; 4];

/// A worker's newest word on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What it found.
    pub counts: Counts,
    /// When.
    pub time: WallTime,
}

/// All standing issues.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ActiveIssues {
    by_file: HashMap<u64, Verdict>,
}

/// The place of a severity in [`Counts`].
pub(super) fn place(severity: Severity) -> usize {
    match severity {
        Severity::Critical => 0,
        Severity::High => 1,
        Severity::Medium | Severity::Unspecified => 2,
        Severity::Low => 3,
    }
}

impl ActiveIssues {
    /// The issues as a position holds them.
    pub(super) fn restored(entries: impl Iterator<Item = (u64, Verdict)>) -> Self {
        Self { by_file: entries.take(FILES_MAX).collect() }
    }

    /// Each (worker, file) with what stands.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, Verdict)> + '_ {
        self.by_file.iter().map(|(&key, &verdict)| (key, verdict))
    }

    /// Takes over a run's result. An older run than the one that is known changes nothing.
    pub(super) fn note(&mut self, key: u64, verdict: Verdict) {
        if self.by_file.get(&key).is_some_and(|known| known.time > verdict.time) {
            return;
        }
        if verdict.counts == [0; 4] {
            self.by_file.remove(&key);
            return;
        }
        if self.by_file.len() >= FILES_MAX && !self.by_file.contains_key(&key) {
            let oldest =
                self.by_file.iter().min_by_key(|(key, known)| (known.time, **key)).map(|(&key, _)| key);
            oldest.map(|key| self.by_file.remove(&key));
        }
        self.by_file.insert(key, verdict);
    }

    /// The sums.
    pub(super) fn total(&self) -> ActiveFindings {
        let mut sums = [0u64; 4];
        for verdict in self.by_file.values() {
            for (sum, count) in sums.iter_mut().zip(verdict.counts) {
                *sum += u64::from(count);
            }
        }
        let [critical, high, medium, low] = sums;
        ActiveFindings { critical, high, medium, low }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(high: u32, time: u64) -> Verdict {
        Verdict { counts: [0, high, 0, 0], time: WallTime(time) }
    }

    #[test]
    fn the_newest_run_on_a_file_decides() {
        let mut active = ActiveIssues::default();
        active.note(1, verdict(3, 10));
        active.note(2, verdict(2, 11));
        active.note(1, verdict(1, 12));
        active.note(1, verdict(9, 5));
        assert_eq!(active.total().high, 3);
        active.note(2, verdict(0, 13));
        assert_eq!(active.total().high, 1);
    }

    #[test]
    fn at_the_bound_the_file_that_was_looked_at_longest_ago_goes() {
        let mut active = ActiveIssues::default();
        for n in 0..=FILES_MAX as u64 {
            active.note(n, verdict(1, 100 + n));
        }
        assert_eq!(active.total().high, FILES_MAX as u64);
        assert!(active.entries().all(|(key, _)| key != 0));
    }
}
