//! Rows as InfluxDB line protocol.
//!
//! ```text
//! muster_runs,project=api,status=success,team=platform,tool=devloop,worker=linter weight=1i,duration_us=1500i 1795000000000000000
//! ```
//!
//! A data set is a measurement, `muster_` and its name. What rows are grouped by is a tag, what is counted is a field with
//! its unit in its name. Ids and texts that differ from row to row are fields, and there only with [`Detail::All`]: as tags
//! they would make a series a row.
//!
//! **No row overwrites another.** InfluxDB keeps one point for a series and a time, and a tool whose clock shows seconds
//! gives many runs at once. Times of the history are microseconds, times of the protocol nanoseconds: the three digits
//! beneath are no time but the row's number among those of its series in that microsecond, from 0. Cut to microseconds, the time
//! is what it was. The 1,001st row of a series in one microsecond has number 0 again and the tag `lap=1`. Rows must come
//! in the order of a sorted scan: then the same rows are the same points, and what is sent twice is there once.
//!
//! What the protocol cannot say:
//! - A line break or control character in a text is a space. A `\` before `,`, `=`, ` `, another `\` or the end of a
//!   tag is a `/`: InfluxDB and VictoriaMetrics understand it differently, and the latter drops the line without a word.
//! - A tag is cut after [`TAG_CHARS_MAX`] characters, a text field after [`TEXT_CHARS_MAX`].
//! - NaN and infinite numbers are left out. A row whose time nanoseconds cannot hold is [`Unsayable`].

use std::hash::Hasher;

use rustc_hash::{FxHashMap, FxHasher};

use crate::dataset::{Column, DataSet};
use crate::row::{Cell, Rows, columns_of_rows};

/// Longest tag, in characters.
pub const TAG_CHARS_MAX: usize = 512;
/// Longest text field, in characters. InfluxDB takes 64 KiB.
pub const TEXT_CHARS_MAX: usize = 8192;
/// Rows of a series in a microsecond before the next lap.
const LAP_ROWS: u32 = 1000;
/// Series of one microsecond that are counted apart; of the ones after it some share a counter, which keeps their
/// points apart, but may give them other numbers when rows came late and all are sent again.
const SERIES_COUNTED_MAX: usize = 1 << 16;
/// What InfluxDB takes as a time, in nanoseconds: it keeps the ends for itself.
const TIME_NS_MAX: i64 = i64::MAX - 1;

/// How much of a row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Tags, and fields that are numbers or truths.
    Figures,
    /// All columns.
    All,
}

/// A row that line protocol has no words for: its time is before the epoch or after the year 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time {time_us} us is outside of what InfluxDB takes (1970 to 2262)")]
pub struct Unsayable {
    /// Its time.
    pub time_us: i64,
}

/// Writes rows that come in the order of their time.
#[derive(Debug)]
pub struct LineEncoder {
    measurement: String,
    columns: Vec<Placed>,
    /// Of the microsecond that is at hand.
    time_us: i64,
    seen: FxHashMap<u64, u32>,
    series: Vec<u8>,
}

#[derive(Debug)]
struct Placed {
    index: usize,
    column: &'static Column,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Tag,
    Field,
}

impl LineEncoder {
    /// For rows of a data set.
    pub fn new(data_set: DataSet, detail: Detail) -> Self {
        let placed = columns_of_rows(data_set).enumerate().filter_map(|(index, column)| {
            let place = place(data_set, column, detail)?;
            Some(Placed { index, column, place })
        });
        let mut columns: Vec<_> = placed.collect();
        // Tags first, by name: InfluxDB sorts them otherwise.
        columns.sort_by_key(|placed| {
            (placed.place == Place::Field, (placed.place == Place::Tag).then_some(placed.column.name))
        });
        Self {
            measurement: format!("muster_{data_set}"),
            columns,
            time_us: i64::MIN,
            seen: FxHashMap::default(),
            series: Vec::with_capacity(256),
        }
    }

    /// Writes a row's line, with its end.
    pub fn encode(&mut self, rows: &Rows<'_>, row: usize, out: &mut Vec<u8>) -> Result<(), Unsayable> {
        let (number, time_us) = self.take(rows, row)?;
        let lap = number / LAP_ROWS;
        out.extend_from_slice(&self.series);
        if lap > 0 {
            out.extend_from_slice(format!(",lap={lap}").as_bytes());
        }
        let mut separator = b' ';
        for placed in self.columns.iter().filter(|placed| placed.place == Place::Field) {
            write_field(placed.column.name, rows.cell(placed.index, row), &mut separator, out);
        }
        let time_ns = time_us * 1000 + i64::from(number % LAP_ROWS);
        out.extend_from_slice(format!(" {time_ns}\n").as_bytes());
        Ok(())
    }

    /// Takes note of a row without writing it: what comes after it in its microsecond gets the number that it would have
    /// got.
    pub fn pass_over(&mut self, rows: &Rows<'_>, row: usize) {
        // One that has no line has no number.
        let _ = self.take(rows, row);
    }

    /// Leaves the row's series in `self.series`, and says its number in it and its time.
    fn take(&mut self, rows: &Rows<'_>, row: usize) -> Result<(u32, i64), Unsayable> {
        let time_us = rows.time_us(row);
        if !(0..TIME_NS_MAX / 1000).contains(&time_us) {
            return Err(Unsayable { time_us });
        }
        if time_us != self.time_us {
            self.time_us = time_us;
            self.seen.clear();
        }
        self.series.clear();
        self.series.extend_from_slice(self.measurement.as_bytes());
        for placed in self.columns.iter().filter(|placed| placed.place == Place::Tag) {
            write_tag(placed.column.name, rows.cell(placed.index, row), &mut self.series);
        }
        let mut hasher = FxHasher::default();
        hasher.write(&self.series);
        let mut series = hasher.finish();
        if self.seen.len() >= SERIES_COUNTED_MAX && !self.seen.contains_key(&series) {
            series %= SERIES_COUNTED_MAX as u64;
        }
        let next = self.seen.entry(series).or_default();
        let number = *next;
        *next = next.saturating_add(1);
        Ok((number, time_us))
    }
}

/// Where a column goes; `None`: nowhere.
fn place(data_set: DataSet, column: &Column, detail: Detail) -> Option<Place> {
    use crate::dataset::Values::{Integer, Number, Text, Time, Truth, Word};
    const SHARED_TAGS: [&str; 5] = ["team", "tool", "project", "user", "host"];
    let tags: &[&str] = match data_set {
        DataSet::Runs => &["worker", "status", "model"],
        DataSet::Events => &["kind", "name", "worker", "severity", "outcome"],
        DataSet::Sessions => &["status", "provider"],
        DataSet::Usage => &["worker", "model"],
        DataSet::Samples => &["name", "scope", "worker"],
    };
    let is_tag = SHARED_TAGS.contains(&column.name) || tags.contains(&column.name);
    match column.values {
        // The point's own time.
        Time if column.name == "time" => None,
        Word if is_tag => Some(Place::Tag),
        // A name, and no figure.
        Integer if column.name == "seq" => (detail == Detail::All).then_some(Place::Field),
        Time | Integer | Number | Truth => Some(Place::Field),
        Word | Text => (detail == Detail::All).then_some(Place::Field),
    }
}

fn write_tag(name: &str, cell: Cell<'_>, out: &mut Vec<u8>) {
    let Cell::Text(text) = cell else { return };
    out.push(b',');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    let mut chars = text.chars().take(TAG_CHARS_MAX).peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' | '=' | ' ' => out.extend_from_slice(&[b'\\', c as u8]),
            c if c.is_control() => out.extend_from_slice(b"\\ "),
            '\\' if is_ambiguous_before(chars.peek().copied()) => out.push(b'/'),
            c => push(c, out),
        }
    }
}

fn is_ambiguous_before(next: Option<char>) -> bool {
    next.is_none_or(|next| matches!(next, ',' | '=' | ' ' | '\\') || next.is_control())
}

/// Writes `separator name=value`, and nothing for what is not known.
fn write_field(name: &str, cell: Cell<'_>, separator: &mut u8, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(*separator);
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    match cell {
        Cell::Integer(integer) | Cell::Time(integer) => {
            out.extend_from_slice(integer.to_string().as_bytes());
            out.push(b'i');
        }
        Cell::Number(number) if number.is_finite() => out.extend_from_slice(number.to_string().as_bytes()),
        Cell::Truth(truth) => out.extend_from_slice(if truth { b"true" } else { b"false" }),
        Cell::Text(text) => write_quoted(text, out),
        Cell::Null | Cell::Number(_) => return out.truncate(start),
    }
    *separator = b',';
}

fn write_quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars().take(TEXT_CHARS_MAX) {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            c if c.is_control() => out.push(b' '),
            c => push(c, out),
        }
    }
    out.push(b'"');
}

fn push(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests;
