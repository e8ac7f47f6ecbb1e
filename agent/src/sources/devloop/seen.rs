//! Which rows have been counted: a bounded memory of ids and an age for what it forgot. Pure.
//!
//! DevLoop's database is not append-only. A restart replays old rows of any age under new row numbers, so a row is
//! known by its id alone (contracts/devloop.md section 6.1 and 6.2). All ids of 30 days do not fit in a position, and
//! need not:
//!
//! - The ids of the last [`IDS_MAX`] rows are remembered. DevLoop stores at most some 350 rows a minute (50 file events
//!   with six runs each), so they reach back more than ten minutes at its highest rate.
//! - Of forgotten rows the newest time is kept. A row that is stored again is stored with its old time, so a row that is
//!   not newer than the forgotten ones and was stored more than [`REPLAY_AGE`] after its time is one of them. The
//!   slowest honest row that was ever seen took 55 s.

use std::collections::VecDeque;
use std::time::Duration;

use muster::clock::WallTime;
use sha2::{Digest, Sha256};

/// A row's id, shortened: the first eight bytes of SHA-256 over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RowId(pub u64);

/// Most ids that are remembered: 32 KiB of a position.
pub(super) const IDS_MAX: usize = 4_096;
const BLOCK_IDS: usize = 512;

/// A row stored so long after its time was stored again, not late.
pub(super) const REPLAY_AGE: Duration = Duration::from_secs(60);

/// The ids of the newest rows, and how far back they reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SeenRows {
    /// Oldest first. Ids are forgotten a block at a time, so that one time a block is enough.
    blocks: VecDeque<Block>,
    forgotten_through: WallTime,
}

/// Up to [`BLOCK_IDS`] ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// In order of arrival.
    pub ids: Vec<u64>,
    /// The newest time of its rows.
    pub newest: WallTime,
}

impl RowId {
    /// The short form of a tool's own id.
    pub(super) fn of(id: &[u8]) -> Self {
        let digest = Sha256::digest(id);
        let mut first = [0u8; 8];
        first.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(first))
    }
}

impl SeenRows {
    /// The memory as a position holds it.
    pub(super) fn restored(blocks: Vec<Block>, forgotten_through: WallTime) -> Self {
        let mut seen = Self { blocks: blocks.into(), forgotten_through };
        seen.forget_the_oldest();
        seen
    }

    /// Its blocks, oldest first.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter()
    }

    /// The newest time among the rows whose ids are forgotten; the epoch when none is.
    pub(super) fn forgotten_through(&self) -> WallTime {
        self.forgotten_through
    }

    /// Remembers a row of `time`. The caller gives no time from the future: it would make every later row look old.
    pub(super) fn insert(&mut self, id: RowId, time: WallTime) {
        if self.blocks.back().is_none_or(|block| block.ids.len() >= BLOCK_IDS) {
            self.blocks.push_back(Block { ids: Vec::with_capacity(BLOCK_IDS), newest: WallTime(0) });
            self.forget_the_oldest();
        }
        if let Some(block) = self.blocks.back_mut() {
            block.ids.push(id.0);
            block.newest = block.newest.max(time);
        }
    }

    /// Whether the id is among those remembered.
    pub(super) fn contains(&self, id: RowId) -> bool {
        self.blocks.iter().rev().any(|block| block.ids.contains(&id.0))
    }

    /// Whether a row whose id is not remembered may be one that was forgotten, going by its time alone.
    pub(super) fn reaches_into_the_forgotten(&self, time: WallTime) -> bool {
        self.forgotten_through.0 > 0 && time <= self.forgotten_through
    }

    fn forget_the_oldest(&mut self) {
        while self.blocks.len() > IDS_MAX / BLOCK_IDS {
            if let Some(block) = self.blocks.pop_front() {
                self.forgotten_through = self.forgotten_through.max(block.newest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_ids_are_known_and_the_forgotten_leave_their_time() {
        let mut seen = SeenRows::default();
        let rows = (IDS_MAX + 2 * BLOCK_IDS) as u64;
        for n in 1..=rows {
            seen.insert(RowId(n), WallTime(n * 1_000_000));
        }
        assert!(seen.contains(RowId(rows)));
        assert!(seen.contains(RowId(rows - (IDS_MAX - BLOCK_IDS) as u64)));
        assert!(!seen.contains(RowId(1)));
        assert!(seen.blocks().map(|block| block.ids.len()).sum::<usize>() <= IDS_MAX);
        assert!(seen.reaches_into_the_forgotten(WallTime(1_000_000)));
        assert!(!seen.reaches_into_the_forgotten(WallTime(rows * 1_000_000)));
    }

    #[test]
    fn an_empty_memory_takes_no_row_for_an_old_one() {
        assert!(!SeenRows::default().reaches_into_the_forgotten(WallTime(0)));
    }
}
