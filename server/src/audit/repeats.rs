//! Equal entries within a minute become two lines at most: the first, and how many came after it.
//!
//! | of one kind ([`What`]) within a minute | becomes |
//! |---|---|
//! | the first [`REPEATS_MAX`] different ones | a line each |
//! | more, of the first [`WHO_MAX`] that they come from | a line an address, with how many |
//! | more | one line of others, with how many |
//!
//! No kind takes room from another, and who tries many things takes none from another address: neither pages that are read
//! nor a guesser hide who was refused.

use std::collections::HashMap;
use std::time::Duration;

use muster::clock::Monotonic;

use super::{Entry, What};

/// Different entries of a kind that are told apart within a minute. At 250 bytes a line a guesser who changes address and
/// token id each time writes 35 MiB a day, and needs more than three days to drive the rest out of the files.
pub const REPEATS_MAX: usize = 64;
/// Addresses that are told apart past that.
pub const WHO_MAX: usize = 32;
/// How long equal ones are gathered.
const WINDOW: Duration = Duration::from_secs(60);

/// What was noted of late.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    kinds: HashMap<What, Kind>,
}

/// What becomes of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// It is written at once.
    Write(Entry),
    /// It is counted with its equals.
    Counted,
    /// It is counted with others, and what it says is not in the log.
    Merged,
}

/// Entries of one kind.
#[derive(Debug, Default)]
struct Kind {
    whole: HashMap<Entry, Noted>,
    merged: HashMap<Entry, Noted>,
}

#[derive(Debug)]
struct Noted {
    since: Monotonic,
    /// After the first that was written.
    repeats: u64,
}

impl Repeats {
    /// Notes one.
    pub(super) fn note(&mut self, entry: Entry, now: Monotonic) -> Note {
        let Kind { whole, merged } = self.kinds.entry(entry.what()).or_default();
        if let Some(noted) = whole.get_mut(&entry) {
            noted.repeats += 1;
            return Note::Counted;
        }
        if whole.len() < REPEATS_MAX {
            whole.insert(entry.clone(), Noted { since: now, repeats: 0 });
            return Note::Write(entry);
        }
        let of_who = entry.of_who();
        let has_room = merged.len() < WHO_MAX || merged.contains_key(&of_who);
        let entry = if has_room { of_who } else { entry.of_others() };
        merged.entry(entry).or_insert(Noted { since: now, repeats: 0 }).repeats += 1;
        Note::Merged
    }

    /// What is to be written of minutes that are over, or of all.
    pub(super) fn over(&mut self, now: Monotonic, all: bool) -> Vec<Entry> {
        let mut over = Vec::new();
        for noted in self.kinds.values_mut().flat_map(|kind| [&mut kind.whole, &mut kind.merged]) {
            noted.retain(|entry, noted| {
                if !all && now.0.saturating_sub(noted.since.0) < WINDOW {
                    return true;
                }
                if noted.repeats > 0 {
                    over.push(entry.clone().with("count", noted.repeats).with("seconds", WINDOW.as_secs()));
                }
                false
            });
        }
        over
    }
}
