//! Where a delivery is in the order of its rows.
//!
//! Rows that an agent saw have names ([`RowKey`]). Those that were sent straight to the collector have none but their
//! time and team, and many may have the same: a position says after how many of them it is.

use std::cmp::Ordering;
use std::fmt;

use history::row::{RowKey, Rows};

/// A row and what was delivered with it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// The last row that was delivered or passed over.
    pub key: RowKey,
    /// How many rows of this key.
    pub of_key: u64,
    /// Rows that were delivered up to here.
    pub rows: u64,
}

/// A row's place: its key, and how many rows of that key there were up to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    key: RowKey,
    of_key: u64,
}

impl Place {
    /// The place of a row, where `self` is the place of the last row of the batch before.
    pub(crate) fn at(&self, rows: &Rows<'_>, row: usize) -> Place {
        let key = rows.key(row);
        let before = (0..row).rev().take_while(|&row| rows.compare(row, &key) == Ordering::Equal).count();
        let carried = if before == row && self.key == key { self.of_key } else { 0 };
        Place { key, of_key: carried + before as u64 + 1 }
    }

    /// Goes to the next batch.
    pub(crate) fn leave(&mut self, last: &Place) {
        self.clone_from(last);
    }

    /// The key, and how many rows of it there were.
    pub(crate) fn into_parts(self) -> (RowKey, u64) {
        (self.key, self.of_key)
    }

    /// With how much was delivered.
    pub(super) fn with_rows(self, rows: u64) -> Position {
        Position { key: self.key, of_key: self.of_key, rows }
    }
}

/// Tells rows that were delivered from those that were not.
#[derive(Debug)]
pub(super) struct Order<'a> {
    after: Option<&'a Position>,
    passed_of_key: u64,
}

impl<'a> Order<'a> {
    pub(super) fn after(after: Option<&'a Position>) -> Self {
        Self { after, passed_of_key: 0 }
    }

    /// Asked once for every row, in order.
    pub(super) fn is_done(&mut self, rows: &Rows<'_>, row: usize) -> bool {
        let Some(after) = self.after else { return false };
        match rows.compare(row, &after.key) {
            Ordering::Less => true,
            Ordering::Equal if self.passed_of_key < after.of_key => {
                self.passed_of_key += 1;
                true
            }
            Ordering::Equal => false,
            Ordering::Greater => {
                // Sorted: nothing after it is done.
                self.after = None;
                false
            }
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.key.time_us) {
            Ok(time) => write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))?,
            Err(_) => write!(f, "{} us", self.key.time_us)?,
        }
        match (&self.key.agent_id, self.key.seq) {
            (Some(agent), Some(seq)) => write!(f, " (event {seq} of agent {agent})"),
            _ => Ok(()),
        }
    }
}
