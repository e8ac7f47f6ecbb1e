//! How far the database has been read, and which of its rows are new. Pure.
//!
//! The cursor is a row number and the id that stood there. As long as the same id stands at it, everything up to it has
//! been read. When the file is another one, when the row is gone or is another one, or when the numbers end before it,
//! nothing can be said from numbers, and the table is searched from its start; rows are then known by their ids alone
//! ([`super::seen`]).

use muster::clock::WallTime;

use super::rows::Row;
use super::seen::{RowId, SeenRows};
use super::stamp::Identity;

/// How far the table `events` has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DatabaseCursor {
    /// The file that the numbers belong to; `None` before the first look.
    pub file: Option<Identity>,
    /// The newest row that was read, 0 before the first.
    pub rowid: i64,
    /// What stood there.
    pub id: Option<RowId>,
    /// The newest row at the first look ever. An id is there only once in a table, so up to here each row is new.
    pub history_end: i64,
    /// The newest row when the table was last searched from its start. Up to here an old time is reason enough to take
    /// an unknown row for a forgotten one.
    pub search_end: i64,
    /// Rows that were counted.
    pub seen: SeenRows,
}

/// What the table says about the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Landmark {
    pub file: Identity,
    /// Highest row number, 0 when the table is empty.
    pub rowid_max: i64,
    /// The id that stands at the cursor now.
    pub id_at_cursor: Option<RowId>,
}

/// Which of some rows are to be stated.
#[derive(Debug, Default, PartialEq)]
pub(super) struct NewRows {
    /// Those that were never counted.
    pub rows: Vec<Row>,
    /// Rows beyond the cursor whose ids are forgotten and that are too old to be new.
    pub forgotten: u64,
}

impl DatabaseCursor {
    /// Settles where to read on. Answers whether the table is to be searched from its start.
    pub(super) fn settle(&mut self, landmark: Landmark) -> bool {
        match self.file {
            None => {
                self.file = Some(landmark.file);
                self.history_end = landmark.rowid_max;
                return false;
            }
            Some(file) if file == landmark.file && self.id == landmark.id_at_cursor => return false,
            Some(_) => {}
        }
        self.file = Some(landmark.file);
        self.rowid = 0;
        self.id = None;
        self.history_end = 0;
        self.search_end = landmark.rowid_max;
        true
    }

    /// Takes rows in the order of their numbers, and answers those that are new.
    pub(super) fn take(&mut self, rows: Vec<Row>, now: WallTime) -> NewRows {
        let mut new = NewRows::default();
        for row in rows {
            self.rowid = row.rowid;
            self.id = Some(row.id);
            if self.seen.contains(row.id) {
                continue;
            }
            let made = row.made.unwrap_or_default();
            let is_history = row.rowid <= self.history_end;
            let may_be_old = row.rowid <= self.search_end || row.is_replayed();
            if !is_history && may_be_old && self.seen.reaches_into_the_forgotten(made) {
                // Where the table is searched from its start, most rows are old; that is no news.
                new.forgotten += u64::from(row.rowid > self.search_end);
                continue;
            }
            self.seen.insert(row.id, made.min(now));
            new.rows.push(row);
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::super::seen::IDS_MAX;
    use super::*;

    const FILE: Identity = Identity { device: 1, inode: 1 };
    const NOW: WallTime = WallTime(10_000_000_000_000);

    fn row(rowid: i64, id: u64, made_s: u64, stored_s: u64) -> Row {
        Row {
            rowid,
            id: RowId(id),
            kind: "file:modified".into(),
            made: Some(WallTime(made_s * 1_000_000)),
            stored: Some(WallTime(stored_s * 1_000_000)),
            payload: None,
        }
    }

    fn landmark(rowid_max: i64, id_at_cursor: Option<u64>) -> Landmark {
        Landmark { file: FILE, rowid_max, id_at_cursor: id_at_cursor.map(RowId) }
    }

    fn long_history() -> DatabaseCursor {
        let mut cursor = DatabaseCursor::default();
        let rows = 2 * IDS_MAX as i64;
        assert!(!cursor.settle(landmark(rows, None)));
        let history = (1..=rows).map(|n| row(n, n as u64, 1_000 + n as u64, 1_000 + n as u64)).collect();
        assert_eq!(cursor.take(history, NOW).rows.len(), rows as usize);
        cursor
    }

    #[test]
    fn a_row_that_comes_back_under_a_new_number_is_counted_once_however_old_it_is() {
        let mut cursor = long_history();
        let last = cursor.rowid;
        let again = vec![
            row(last + 1, last as u64, 1_000 + last as u64, 90_000),
            row(last + 2, 1, 1_001, 90_000),
            row(last + 3, u64::MAX, 90_000, 90_001),
        ];
        let new = cursor.take(again, NOW);
        assert_eq!(new.rows.iter().map(|row| row.id.0).collect::<Vec<_>>(), [u64::MAX]);
        assert_eq!(new.forgotten, 1);
    }

    #[test]
    fn a_row_that_was_stored_late_is_still_new() {
        let mut cursor = long_history();
        let last = cursor.rowid;
        // Its time lies among the forgotten ones', but it was stored 55 s after it, as honest rows are.
        assert_eq!(cursor.take(vec![row(last + 1, u64::MAX, 1_002, 1_057)], NOW).rows.len(), 1);
    }

    #[test]
    fn another_file_or_another_row_at_the_cursor_is_searched_from_its_start() {
        let mut cursor = long_history();
        let (rowid, id) = (cursor.rowid, cursor.id);
        assert!(!cursor.settle(landmark(rowid + 5, id.map(|id| id.0))));
        assert!(cursor.settle(landmark(rowid, Some(77))), "another row stands at the cursor");
        assert_eq!(cursor.rowid, 0);
        let rows = vec![row(1, 1, 1_001, 1_001), row(2, u64::MAX, 99_000, 99_000)];
        assert_eq!(cursor.take(rows, NOW).rows.len(), 1, "the forgotten row is not counted again");

        let mut cursor = long_history();
        let other = Landmark { file: Identity { device: 1, inode: 2 }, rowid_max: 3, id_at_cursor: None };
        assert!(cursor.settle(other));
        assert_eq!(cursor.search_end, 3);
    }

    #[test]
    fn history_is_counted_even_where_a_replay_stored_it_late() {
        let mut cursor = DatabaseCursor::default();
        cursor.settle(landmark(IDS_MAX as i64 * 2, None));
        let rows = (1..=IDS_MAX as i64 * 2).map(|n| row(n, n as u64, 500_000 - n as u64, 900_000)).collect();
        assert_eq!(cursor.take(rows, NOW).rows.len(), IDS_MAX * 2);
    }
}
