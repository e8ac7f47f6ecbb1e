//! The newest rows of several data sets: what `recent` begins with.
//!
//! Days are read from the newest on, and of a day the last windows first, until there are enough; a filter that little
//! matches makes that long, and `since` ends it. Rows whose time cannot be true are left out: one from the year 9999
//! would be the newest for ever.

use std::collections::BinaryHeap;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use journal::Position;
use muster::clock::WallTime;

use super::History;
use crate::dataset::DataSet;
use crate::follow::told;
use crate::query::{Filter, Query, TimeRange};
use crate::scan::{Cut, Notice, Scan, ScanError, Wanted};

/// Most rows that are asked for at once.
pub const NEWEST_ROWS_MAX: usize = 10_000;
/// Rows of the first window, for each row that is asked for.
const WINDOW_FACTOR: u64 = 4;

/// The newest rows.
#[derive(Debug)]
pub struct Newest {
    /// One row each, all its columns, the newest last.
    pub rows: Vec<(DataSet, RecordBatch)>,
    /// The last record that was seen: who follows goes on after it.
    pub position: Position,
    /// What is wrong with the answer.
    pub notices: Vec<Notice>,
}

impl History {
    /// The newest rows of `data_sets` since a time, at most `count` and at most [`NEWEST_ROWS_MAX`]. A data set that has
    /// not what the filter asks for (sessions know no worker) is left out, and so are events of a tool's own bus.
    pub fn newest(
        &self,
        data_sets: &[DataSet],
        filter: &Filter,
        since: WallTime,
        count: usize,
    ) -> Result<Newest, ScanError> {
        let range = TimeRange { from: since, to: WallTime(u64::MAX) };
        let query =
            |data_set| Query { data_set, range, filter: filter.clone(), columns: None, is_sorted: true };
        let wanted = data_sets.iter().map(|data_set| Wanted::new(&query(*data_set)).map(Wanted::dated));
        let wanted: Vec<Wanted> = wanted
            .filter(|wanted| !matches!(wanted, Err(ScanError::NoColumn { .. })))
            .collect::<Result<_, _>>()?;
        let cut = Cut::take(self, &wanted)?;
        let count = count.min(NEWEST_ROWS_MAX);
        let mut notices = Vec::new();
        let mut found = BinaryHeap::new();
        let mut rows = Vec::new();
        for (set, wanted) in wanted.iter().enumerate() {
            let mut scan = Scan::backward(self, wanted, &cut, WINDOW_FACTOR * count.max(1) as u64)?;
            let mut left = count;
            while left > 0
                && let Some(batch) = scan.next().transpose()?
            {
                let batch = told(wanted.data_set, batch)?;
                let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
                for (row, time) in times.iter().take(left).enumerate() {
                    // The heap's top is the newest; of the same time the first data set, and there the last row.
                    found.push((*time, usize::MAX - set, usize::MAX - rows.len()));
                    rows.push((wanted.data_set, batch.slice(row, 1)));
                }
                left -= times.len().min(left);
            }
            for notice in scan.notices() {
                if !notices.contains(notice) {
                    notices.push(notice.clone());
                }
            }
        }
        let mut newest = Vec::with_capacity(count.min(rows.len()));
        while newest.len() < count
            && let Some((.., row)) = found.pop()
        {
            newest.push(rows[usize::MAX - row].clone());
        }
        newest.reverse();
        Ok(Newest { rows: newest, position: cut.end, notices })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::fake::{Fake, START, texts};

    const SETS: [DataSet; 4] = [DataSet::Runs, DataSet::Events, DataSet::Sessions, DataSet::Usage];

    #[test]
    fn the_newest_rows_of_all_kinds_come_from_files_and_journal_in_order() {
        let fake = Fake::with_events(&mut fastrand::Rng::with_seed(8), 60, 30, 2);
        let mut all: Vec<(i64, DataSet)> = Vec::new();
        for set in SETS {
            let dated = fake.truth(set).into_iter();
            for (_, batch) in dated.filter(|(partition, _)| partition.day != crate::partition::Day::Undated) {
                let batch = told(set, batch).unwrap();
                let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
                all.extend(times.values().iter().map(|time| (*time, set)));
            }
        }
        all.sort_by_key(|row| row.0);
        for count in [0, 1, 20, 100, 5_000] {
            let newest = fake.history.newest(&SETS, &Filter::default(), WallTime(0), count).unwrap();
            let time =
                |batch: &RecordBatch| batch.column(0).as_primitive::<TimestampMicrosecondType>().value(0);
            let got: Vec<i64> = newest.rows.iter().map(|(_, row)| time(row)).collect();
            let from = all.len().saturating_sub(count);
            assert_eq!(got, all[from..].iter().map(|row| row.0).collect::<Vec<_>>(), "{count}");
            assert_eq!(newest.position, fake.history.position());
            assert_eq!(newest.notices, []);
        }
    }

    #[test]
    fn a_filter_that_a_data_set_cannot_answer_leaves_it_out() {
        let fake = Fake::with_events(&mut fastrand::Rng::with_seed(9), 40, 10, 1);
        let filter = Filter { worker: Some("linter".to_owned()), ..Filter::default() };
        let newest = fake.history.newest(&SETS, &filter, WallTime(0), 50).unwrap();
        assert!(newest.rows.len() > 10);
        assert!(
            newest
                .rows
                .iter()
                .all(|(set, row)| *set != DataSet::Sessions && texts(row)[0].contains("|linter|"))
        );
        let late = WallTime(START.0 + 1_000 * crate::reader::fake::HOUR_US);
        assert!(fake.history.newest(&SETS, &filter, late, 50).unwrap().rows.is_empty());
    }
}
