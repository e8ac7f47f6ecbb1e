//! Rows as they become durable: what `recent?follow=true` gives out.
//!
//! A [`Follow`] reads the journal after where it stands and folds what is new. It sees every record once, in the journal's
//! order, whether the history has written it or not; records that retention deleted before it came to them are passed
//! over, which takes a reader who is slower than days.

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use journal::Position;
use journal::stream::StreamItem;
use muster::clock::WallTime;

use crate::cells::Words;
use crate::dataset::DataSet;
use crate::fold::Fold;
use crate::query::{Filter, Query, TimeRange};
use crate::reader::History;
use crate::scan::{ScanError, Wanted};

/// Rows that are folded for one step, about.
const STEP_ROWS_MAX: u64 = 8_192;

/// The kinds of rows that are events; samples are readings, of which there are thousands.
pub const FOLLOWED: [DataSet; 4] = [DataSet::Runs, DataSet::Events, DataSet::Sessions, DataSet::Usage];

/// Counts of a tool's own bus, of which there are more than of everything else together.
const UNTOLD_KIND: &str = "bus_events";

/// The rows that a person who looks at what happens wants to see.
pub(crate) fn told(data_set: DataSet, rows: RecordBatch) -> Result<RecordBatch, ScanError> {
    let kinds = match data_set {
        DataSet::Events => Words::of(&rows, "kind"),
        _ => None,
    };
    let Some(kinds) = kinds else { return Ok(rows) };
    let keep: BooleanArray =
        (0..rows.num_rows()).map(|row| Some(kinds.get(row) != Some(UNTOLD_KIND))).collect();
    Ok(filter_record_batch(&rows, &keep)?)
}

/// A reader of what is new.
#[derive(Debug)]
pub struct Follow {
    history: History,
    wanted: Vec<Wanted>,
    after: Position,
}

impl History {
    /// Follows what comes after `after` ([`History::position`]). A kind of rows that a filter does not fit (sessions know
    /// no worker) is left out.
    pub fn follow(&self, filter: &Filter, after: Position) -> Follow {
        let wanted = |data_set| {
            let range = TimeRange { from: WallTime(0), to: WallTime(u64::MAX) };
            let query = Query { data_set, range, filter: filter.clone(), columns: None, is_sorted: false };
            Wanted::new(&query).ok()
        };
        let wanted = FOLLOWED.into_iter().filter_map(wanted).collect();
        Follow { history: self.clone(), wanted, after }
    }
}

impl Follow {
    /// Whether there is something that [`Follow::step`] has not looked at.
    pub fn is_behind(&self) -> bool {
        self.history.position() > self.after
    }

    /// The wanted ones of the next rows, in the columns of [`DataSet::row_schema`]. Blocks for reading, never for something
    /// new. None of them does not mean that it is at the end.
    pub fn step(&mut self) -> Result<Vec<(DataSet, RecordBatch)>, ScanError> {
        let end = self.history.position();
        let mut fold = Fold::new();
        if end <= self.after {
            return Ok(Vec::new());
        }
        for item in self.history.log.read(self.after) {
            let item = item.map_err(ScanError::Journal)?;
            let position = match &item {
                StreamItem::Batch(entry) => entry.position,
                StreamItem::Otlp(entry) => entry.position,
                StreamItem::Other { position, .. } | StreamItem::Gap { to: position, .. } => *position,
            };
            // A record that cannot be folded has no rows; scans tell of it.
            let _ = fold.take(&item);
            self.after = self.after.max(position);
            if position >= end || fold.row_count() >= STEP_ROWS_MAX {
                break;
            }
        }
        let mut rows = Vec::new();
        for (partition, batch) in fold.into_batches() {
            let wanted = self.wanted.iter().find(|wanted| wanted.reads(&partition));
            let Some(wanted) = wanted else { continue };
            if let Some(selected) = wanted.select(&partition.team, &batch)? {
                let selected = told(partition.data_set, selected)?;
                if selected.num_rows() > 0 {
                    rows.push((partition.data_set, selected));
                }
            }
        }
        Ok(rows)
    }
}
