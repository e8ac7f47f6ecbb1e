//! The newest durable records in memory, so that readers who keep up read no file.
//!
//! Bounded by bytes: the oldest go first, and who reads later reads the file. A record comes in after its sync and before
//! it is published, so what is found here is durable. It is a run of positions without gaps; a record that does not
//! follow the last one (a new segment's checkpoint stands between) begins it anew.

use std::collections::VecDeque;

use crate::record::{Entry, Position};

/// What a record costs besides its bytes, roughly.
const ENTRY_OVERHEAD_BYTES: usize = 128;

#[derive(Debug)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    /// 0 keeps nothing.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.bytes_max > 0
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        if self.entries.back().is_some_and(|last| last.position.next() != entry.position) {
            self.entries.clear();
            self.bytes = 0;
        }
        self.bytes += cost(&entry);
        self.entries.push_back(entry);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= cost(&oldest);
        }
    }

    pub(crate) fn get(&self, position: u64) -> Option<Entry> {
        let Position(first) = self.entries.front()?.position;
        let index = usize::try_from(position.checked_sub(first)?).ok()?;
        self.entries.get(index).cloned()
    }
}

fn cost(entry: &Entry) -> usize {
    entry.payload.len() + entry.meta.len() + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use muster::clock::WallTime;

    use super::*;

    fn entry(position: u64, bytes: usize) -> Entry {
        Entry {
            position: Position(position),
            appended_wall: WallTime(position),
            kind: 1,
            meta: Bytes::new(),
            payload: vec![position as u8; bytes].into(),
        }
    }

    #[test]
    fn the_newest_records_are_found_until_newer_ones_need_their_room() {
        let mut tail = Tail::new(4 * (100 + ENTRY_OVERHEAD_BYTES));
        (10..20).for_each(|position| tail.push(entry(position, 100)));
        assert!(tail.get(15).is_none() && tail.get(20).is_none() && tail.get(0).is_none());
        assert_eq!(tail.get(16), Some(entry(16, 100)));
        assert_eq!(tail.get(19), Some(entry(19, 100)));
        tail.push(entry(20, 10_000));
        assert!(tail.get(19).is_none() && tail.get(20).is_none(), "one larger than the room is not kept");
    }

    #[test]
    fn a_record_that_does_not_follow_the_last_one_begins_the_run_anew() {
        let mut tail = Tail::new(1 << 20);
        tail.push(entry(1, 10));
        tail.push(entry(5, 10));
        assert!(tail.get(1).is_none() && tail.get(2).is_none());
        assert_eq!(tail.get(5), Some(entry(5, 10)));
    }
}
