//! Reading a month back: all of it is in the range, one worker of ten is wanted.

use std::sync::Arc;

use history::dataset::DataSet;
use history::query::{Filter, Query, TimeRange};
use history::reader::{History, Log};
use history::store::Store;
use journal::stream::StreamItem;
use journal::{Position, ReadError};
use muster::clock::WallTime;

use crate::collector::started;

/// A journal that has nothing after the files.
struct Read(Position);

impl Log for Read {
    fn durable(&self) -> Position {
        self.0
    }

    fn read(&self, _: Position) -> Box<dyn Iterator<Item = Result<StreamItem, ReadError>> + Send> {
        Box::new(std::iter::empty())
    }
}

/// Scans and prints, best of three.
pub fn measure(store: &Arc<Store>) -> anyhow::Result<()> {
    let history = History::new(store.clone(), Arc::new(Read(store.cursor())))?;
    let few = ["time", "worker", "status", "duration_us"].to_vec();
    for (what, columns) in [("four columns", Some(few)), ("all columns", None)] {
        let query = Query {
            data_set: DataSet::Runs,
            range: TimeRange { from: WallTime(0), to: WallTime(u64::MAX) },
            filter: Filter { worker: Some("linter".to_owned()), ..Filter::default() },
            columns,
            is_sorted: false,
        };
        let mut best = f64::MAX;
        let mut rows = 0;
        for _ in 0..3 {
            let begun = started();
            rows = 0;
            for batch in history.scan(&query)? {
                rows += batch?.num_rows();
            }
            best = best.min(begun.elapsed().as_secs_f64());
        }
        println!("scan of the month filtered by worker, {what}: {rows} rows in {best:.2} s");
    }
    Ok(())
}
