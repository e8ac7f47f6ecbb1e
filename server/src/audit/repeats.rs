//! Equal entries within a minute become two lines at most: the first, and how many came after it.

use std::collections::HashMap;
use std::time::Duration;

use muster::clock::Monotonic;

use super::Entry;

/// Different entries that are told apart within a minute. At 250 bytes a line a guesser who changes address and token id
/// each time writes 45 MiB a day, and needs three days to drive the rest out of the files; past it, all others of a kind are one line.
pub const REPEATS_MAX: usize = 64;
/// How long equal ones are gathered.
const WINDOW: Duration = Duration::from_secs(60);

/// What was noted of late.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    noted: HashMap<Entry, Noted>,
}

#[derive(Debug)]
struct Noted {
    since: Monotonic,
    /// After the first.
    repeats: u64,
}

impl Repeats {
    /// Notes one. What is to be written at once: the entry itself when it is the first of its kind.
    pub(super) fn note(&mut self, entry: Entry, now: Monotonic) -> Option<Entry> {
        if let Some(noted) = self.noted.get_mut(&entry) {
            noted.repeats += 1;
            return None;
        }
        // One more for each kind, of which there are few.
        let (entry, is_first) =
            if self.noted.len() < REPEATS_MAX { (entry, true) } else { (entry.of_others(), false) };
        let noted = self.noted.entry(entry.clone()).or_insert(Noted { since: now, repeats: 0 });
        if is_first {
            return Some(entry);
        }
        noted.repeats += 1;
        None
    }

    /// What is to be written of minutes that are over, or of all.
    pub(super) fn over(&mut self, now: Monotonic, all: bool) -> Vec<Entry> {
        let mut over = Vec::new();
        self.noted.retain(|entry, noted| {
            if !all && now.0.saturating_sub(noted.since.0) < WINDOW {
                return true;
            }
            if noted.repeats > 0 {
                over.push(entry.clone().with("count", noted.repeats).with("seconds", WINDOW.as_secs()));
            }
            false
        });
        over
    }
}
