//! Which records were stated already, in bounded space.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Most records that are remembered one by one: a run has some tens.
const SEEN_MAX: usize = 256;

/// Records by their time and a tag that tells those of one time apart. Past [`SEEN_MAX`] the oldest are forgotten, and
/// from then on everything as old as they were counts as seen: new records have new times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    records: BTreeSet<(u64, u64)>,
    floor_us: Option<u64>,
}

impl Seen {
    /// Whether this record was stated.
    pub(super) fn contains(&self, time_us: u64, tag: u64) -> bool {
        self.floor_us.is_some_and(|floor| time_us <= floor) || self.records.contains(&(time_us, tag))
    }

    /// Remembers it; false when it was known.
    pub(super) fn insert(&mut self, time_us: u64, tag: u64) -> bool {
        if self.contains(time_us, tag) {
            return false;
        }
        self.records.insert((time_us, tag));
        while self.records.len() > SEEN_MAX {
            self.floor_us = self.records.pop_first().map(|(time_us, _)| time_us);
        }
        true
    }
}

/// A tag made of a text (FNV-1a, 32 bits): small in a position, and only records of the same time can be mixed up.
pub(super) fn tag(text: &str) -> u64 {
    u64::from(
        text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_new_once_and_the_memory_is_bounded() {
        let mut seen = Seen::default();
        for time in 1..=1000 {
            assert!(seen.insert(time, 7));
            assert!(!seen.insert(time, 7));
        }
        assert!(seen.insert(1000, 8));
        assert!(!seen.insert(5, 7), "forgotten, but too old to be new");
        assert_eq!(seen.records.len(), SEEN_MAX);
    }
}
