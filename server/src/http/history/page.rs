//! Rows a page at a time.
//!
//! The cursor `TIME-COUNT` says where the page before ended: the time of its last row in microseconds, and how many rows of
//! that time have been given. Rows that arrive later with an earlier time are not on later pages.

use std::str::FromStr;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use history::format::{Format, FormatError, Layout, RowWriter};
use muster::clock::WallTime;

/// Where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Time of its last row, in microseconds.
    pub(super) time_us: u64,
    /// Rows of that time that have been given.
    pub(super) count: u64,
}

/// What is being put together.
pub(super) struct Page {
    writer: RowWriter<Vec<u8>>,
    room: usize,
    /// Rows of the cursor's time that have been given before.
    to_skip: u64,
    last: Option<Cursor>,
    has_more: bool,
}

impl Page {
    pub(super) fn new(layout: Layout, after: Option<Cursor>, limit: usize) -> Result<Self, FormatError> {
        Ok(Self {
            writer: RowWriter::new(Format::Json, layout, Vec::new())?,
            room: limit,
            to_skip: after.map_or(0, |after| after.count),
            last: after,
            has_more: false,
        })
    }

    /// Takes what there is room for. False: the page is full, and there is more.
    pub(super) fn take(&mut self, batch: &RecordBatch) -> Result<bool, FormatError> {
        let times =
            batch.column_by_name("time").and_then(|time| time.as_primitive_opt::<TimestampMicrosecondType>());
        // Every scan has times; without them nothing could be given.
        let Some(times) = times else { return Ok(false) };
        let mut from = 0;
        while self.to_skip > 0 && from < batch.num_rows() {
            if Some(microseconds(times.value(from))) != self.last.map(|last| last.time_us) {
                // Fewer rows of that time than there were: those after it are new all the same.
                self.to_skip = 0;
                break;
            }
            self.to_skip -= 1;
            from += 1;
        }
        let count = self.room.min(batch.num_rows() - from);
        if count > 0 {
            self.writer.write(&batch.slice(from, count))?;
            self.room -= count;
            for row in from..from + count {
                let time_us = microseconds(times.value(row));
                let before = self.last.filter(|last| last.time_us == time_us).map_or(0, |last| last.count);
                self.last = Some(Cursor { time_us, count: before + 1 });
            }
        }
        self.has_more = from + count < batch.num_rows();
        Ok(!self.has_more)
    }

    /// `{"rows": [...], "next": "...", "notices": [...]}`
    pub(super) fn finish(self, notices: &[String]) -> Result<Vec<u8>, FormatError> {
        let mut page = b"{\"rows\":".to_vec();
        page.extend_from_slice(self.writer.finish()?.trim_ascii_end());
        if let (true, Some(last)) = (self.has_more, self.last) {
            page.extend_from_slice(format!(",\"next\":\"{}-{}\"", last.time_us, last.count).as_bytes());
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
    pub(super) fn time(self) -> WallTime {
        WallTime(self.time_us)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (time_us, count) = text.split_once('-').ok_or(())?;
        Ok(Self { time_us: time_us.parse().map_err(drop)?, count: count.parse().map_err(drop)? })
    }
}

/// No row is before 1970.
fn microseconds(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, new_null_array};
    use history::dataset::DataSet;
    use history::format::Detail;
    use serde_json::Value;

    use super::*;

    const LAYOUT: Layout = Layout { data_set: DataSet::Runs, detail: Detail::Guide };

    /// Runs at these times; nothing else is looked at here.
    fn batch(times: &[i64]) -> RecordBatch {
        let column = |name: &str, empty: ArrayRef| -> ArrayRef {
            match name {
                "time" => Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC")),
                _ => empty,
            }
        };
        let schema = DataSet::Runs.row_schema();
        let columns = schema.fields().iter().map(|field| {
            let empty = new_null_array(field.data_type(), times.len());
            (field.name(), column(field.name(), empty), true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).expect("fits")
    }

    /// All pages of what a sorted scan has, as a client goes through them.
    fn paged(times: &[i64], limit: usize, batch_rows: usize) -> Vec<String> {
        let (mut after, mut seen) = (None::<Cursor>, Vec::new());
        loop {
            let from = after.map_or(0, |after| after.time_us);
            let scanned: Vec<i64> = times.iter().copied().filter(|time| *time >= from as i64).collect();
            let mut page = Page::new(LAYOUT, after, limit).expect("begins");
            for chunk in scanned.chunks(batch_rows) {
                if !page.take(&batch(chunk)).expect("fits") {
                    break;
                }
            }
            let page: Value = serde_json::from_slice(&page.finish(&[]).expect("ends")).expect("JSON");
            let rows = page["rows"].as_array().expect("rows");
            assert!(rows.len() <= limit);
            seen.extend(rows.iter().map(|row| row["timestamp"].as_str().expect("a time").to_owned()));
            match page["next"].as_str() {
                Some(next) => after = Some(next.parse().expect("a cursor")),
                None => return seen,
            }
            assert!(seen.len() <= times.len(), "it goes on for ever");
        }
    }

    #[test]
    fn pages_have_every_row_once_however_many_share_a_time() {
        let times = [1, 2, 2, 2, 2, 2, 3, 3, 7, 7, 7, 8];
        for limit in 1..14 {
            for batch_rows in 1..5 {
                let seen = paged(&times, limit, batch_rows);
                let wanted: Vec<_> =
                    times.iter().map(|us| format!("1970-01-01T00:00:00.00000{us}Z")).collect();
                assert_eq!(seen, wanted, "{limit} {batch_rows}");
            }
        }
    }

    #[test]
    fn what_is_no_cursor_is_told_from_one() {
        assert_eq!("12-3".parse(), Ok(Cursor { time_us: 12, count: 3 }));
        for text in ["", "-", "1", "1-", "-1", "1-2-3", "x-1"] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
    }
}
