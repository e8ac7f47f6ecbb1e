//! Rows a page at a time.
//!
//! The cursor names the last row of the page before by what orders rows, `TIME~TEAM~AGENT~EPOCH~SEQ~COUNT`: the time in
//! microseconds, and in the end how many rows of that name have been given, since readings that were told together share one and rows that
//! came straight to the collector have none. Rows that arrive later and stand before it are not on later pages.

use std::cmp::Ordering;
use std::fmt;
use std::io;
use std::str::FromStr;

use arrow_array::RecordBatch;
use history::format::{Format, FormatError, Layout, RowWriter};
use history::row::{RowKey, Rows};
use muster::clock::WallTime;

use crate::delivery::position::Place;

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    key: RowKey,
    /// Rows of that key that have been given.
    count: u64,
}

/// What is being put together.
pub(super) struct Page {
    writer: RowWriter<Vec<u8>>,
    layout: Layout,
    room: usize,
    /// Up to which row the pages before were, until a row is past it.
    after: Option<Cursor>,
    /// Rows of its key that were met.
    met: u64,
    place: Place,
    last: Option<Cursor>,
    has_more: bool,
}

impl Page {
    pub(super) fn new(layout: Layout, after: Option<Cursor>, limit: usize) -> Result<Self, FormatError> {
        Ok(Self {
            writer: RowWriter::new(Format::Json, layout, Vec::new())?,
            layout,
            room: limit,
            after,
            met: 0,
            place: Place::default(),
            last: None,
            has_more: false,
        })
    }

    /// Takes what there is room for. False: the page is full, and there is more.
    pub(super) fn take(&mut self, batch: &RecordBatch) -> Result<bool, FormatError> {
        let rows = Rows::new(self.layout.data_set, batch)
            .map_err(|error| FormatError::Io(io::Error::other(error)))?;
        let from = (0..rows.len()).find(|row| !self.is_given(&rows, *row)).unwrap_or(rows.len());
        let count = self.room.min(rows.len() - from);
        if count > 0 {
            self.writer.write(&batch.slice(from, count))?;
            self.room -= count;
        }
        if let Some(last) = (from + count).checked_sub(1) {
            let place = self.place.at(&rows, last);
            self.place.leave(&place);
            if count > 0 {
                let (key, count) = place.into_parts();
                self.last = Some(Cursor { key, count });
            }
        }
        self.has_more = from + count < rows.len();
        Ok(!self.has_more)
    }

    /// Whether the pages before had a row. Asked in order.
    fn is_given(&mut self, rows: &Rows<'_>, row: usize) -> bool {
        let Some(after) = &self.after else { return false };
        let is_given = match rows.compare(row, &after.key) {
            Ordering::Less => true,
            Ordering::Equal => self.met < after.count,
            Ordering::Greater => false,
        };
        self.met += u64::from(is_given && rows.compare(row, &after.key) == Ordering::Equal);
        if !is_given {
            self.after = None;
        }
        is_given
    }

    /// `{"rows": [...], "next": "...", "notices": [...]}`
    pub(super) fn finish(self, notices: &[String]) -> Result<Vec<u8>, FormatError> {
        let mut page = b"{\"rows\":".to_vec();
        page.extend_from_slice(self.writer.finish()?.trim_ascii_end());
        if let (true, Some(last)) = (self.has_more, self.last) {
            page.extend_from_slice(format!(",\"next\":{}", serde_json::json!(last.to_string())).as_bytes());
        }
        if !notices.is_empty() {
            page.extend_from_slice(format!(",\"notices\":{}", serde_json::json!(notices)).as_bytes());
        }
        page.push(b'}');
        Ok(page)
    }
}

impl Cursor {
    /// Where the next page begins.
    pub(super) fn time(&self) -> WallTime {
        // No row is before 1970.
        WallTime(u64::try_from(self.key.time_us).unwrap_or(0))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key: RowKey { time_us, team, agent_id, epoch, seq }, count } = self;
        let (agent, epoch) = (agent_id.as_deref().unwrap_or_default(), epoch.as_deref().unwrap_or_default());
        let seq = seq.map(|seq| seq.to_string()).unwrap_or_default();
        write!(f, "{time_us}~{team}~{agent}~{epoch}~{seq}~{count}")
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split('~').collect();
        let [time_us, team, agent, epoch, seq, count] = parts.try_into().map_err(drop)?;
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let seq = known(seq).map(|seq| seq.parse()).transpose().map_err(drop)?;
        let time_us = time_us.parse().map_err(drop)?;
        let key = RowKey { time_us, team: team.to_owned(), agent_id: known(agent), epoch: known(epoch), seq };
        Ok(Self { key, count: count.parse().map_err(drop)? })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::{
        ArrayRef, DictionaryArray, Int64Array, RecordBatch, TimestampMicrosecondArray, new_null_array,
    };
    use history::dataset::DataSet;
    use history::format::Detail;
    use serde_json::Value;

    use super::*;

    const LAYOUT: Layout = Layout { data_set: DataSet::Runs, detail: Detail::Guide };

    /// A run's time, agent and number; some have no names.
    type Run = (i64, Option<&'static str>, Option<i64>);

    /// Runs; nothing else is looked at here.
    fn batch(runs: &[Run]) -> RecordBatch {
        let words = |word: fn(&Run) -> Option<&'static str>| -> ArrayRef {
            Arc::new(runs.iter().map(word).collect::<DictionaryArray<Int32Type>>())
        };
        let column = |name: &str, empty: ArrayRef| -> ArrayRef {
            match name {
                "time" => {
                    let times = runs.iter().map(|run| run.0);
                    Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
                }
                "team" => words(|_| Some("red")),
                "agent_id" => words(|run| run.1),
                "seq" | "duration_us" => Arc::new(runs.iter().map(|run| run.2).collect::<Int64Array>()),
                _ => empty,
            }
        };
        let schema = DataSet::Runs.row_schema();
        let columns = schema.fields().iter().map(|field| {
            let empty = new_null_array(field.data_type(), runs.len());
            (field.name(), column(field.name(), empty), true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).expect("fits")
    }

    /// All pages of what a sorted scan has, as a client goes through them. `grow` is called between two pages.
    fn paged(
        runs: &mut Vec<Run>,
        limit: usize,
        batch_rows: usize,
        mut grow: impl FnMut(&mut Vec<Run>),
    ) -> Vec<i64> {
        let (mut after, mut seen) = (None::<Cursor>, Vec::new());
        loop {
            let from = after.as_ref().map_or(0, |after| after.time().0);
            let scanned: Vec<Run> = runs.iter().copied().filter(|run| run.0 >= from as i64).collect();
            let mut page = Page::new(LAYOUT, after, limit).expect("begins");
            for chunk in scanned.chunks(batch_rows) {
                if !page.take(&batch(chunk)).expect("fits") {
                    break;
                }
            }
            let page: Value = serde_json::from_slice(&page.finish(&[]).expect("ends")).expect("JSON");
            let rows = page["rows"].as_array().expect("rows");
            assert!(rows.len() <= limit);
            seen.extend(
                rows.iter().map(|row| (row["execution_time_ms"].as_f64().expect("a number") * 1e3) as i64),
            );
            match page["next"].as_str() {
                Some(next) => after = Some(next.parse().expect("a cursor")),
                None => return seen,
            }
            grow(runs);
            assert!(seen.len() <= 2 * runs.len(), "it goes on for ever");
        }
    }

    /// Runs of few times and agents, in order, each with a number of its own; every third has no name.
    fn runs() -> Vec<Run> {
        let mut runs: Vec<Run> = (0..24)
            .map(|n| {
                (1 + n % 3, [None, Some("a"), Some("b")][n as usize % 2 + usize::from(n % 5 == 0)], Some(n))
            })
            .collect();
        runs.sort();
        runs
    }

    #[test]
    fn pages_have_every_row_once_however_many_share_a_time_and_a_name() {
        let wanted: Vec<i64> = runs().iter().filter_map(|run| run.2).collect();
        for limit in 1..27 {
            for batch_rows in 1..7 {
                assert_eq!(paged(&mut runs(), limit, batch_rows, |_| ()), wanted, "{limit} {batch_rows}");
            }
        }
    }

    #[test]
    fn a_row_that_arrives_between_two_pages_moves_no_other() {
        for limit in 1..8 {
            for batch_rows in 1..5 {
                // What is first is given first: rows before it do not shift what comes.
                let mut number = 100;
                let mut all = runs();
                let seen = paged(&mut all, limit, batch_rows, |runs| {
                    if number < 110 {
                        runs.insert(0, (1, None, Some(-number)));
                        number += 1;
                    }
                });
                let old: Vec<i64> = seen.into_iter().filter(|n| *n >= 0).collect();
                let wanted: Vec<i64> = runs().iter().filter_map(|run| run.2).collect();
                assert_eq!(old, wanted, "{limit} {batch_rows}");
            }
        }
    }

    #[test]
    fn what_is_no_cursor_is_told_from_one() {
        for text in ["12~red~a~b~7~1", "12~red~~~~3"] {
            assert_eq!(text.parse::<Cursor>().map(|cursor| cursor.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["", "~", "1-2", "~~~~~", "1~red~a~b~7", "1~red~a~b~c~1", "x~red~a~b~7~1", "1~red~a~b~7~1~1"]
        {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
    }
}
