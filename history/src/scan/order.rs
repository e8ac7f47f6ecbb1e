//! Rows in the order of their time, in constant memory, whatever the number of files.
//!
//! A day is cut into windows of about [`WINDOW_ROWS`] rows by what the footers say. The rows of one window are read, file
//! after file, sorted, and given out, so that one file is open at a time and a window is what is in memory. A window with
//! more rows than [`WINDOW_ROWS_MAX`] is halved; only rows of the same microsecond cannot be parted.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch, UInt32Array};
use arrow_schema::{FieldRef, Schema};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;

use super::part::GroupTimes;
use super::wanted::{DAY_US, Span, Wanted};
use super::{Reading, ScanError};
use crate::cells::Words;
use crate::partition::Day;
use crate::store::FileEntry;

/// Rows that a window is planned for.
pub(super) const WINDOW_ROWS: u64 = 32_768;
/// Rows at which a window is halved.
const WINDOW_ROWS_MAX: usize = 2 * WINDOW_ROWS as usize;
/// Rows of a batch that is read for a window.
const READ_ROWS: usize = 4_096;
/// Rows of a batch that is given out.
pub(super) const BATCH_ROWS: usize = 8_192;
/// The columns that order rows, besides time and team.
pub(super) const KEYS: [&str; 3] = ["agent_id", "epoch", "seq"];

/// Which end of the range comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// Rows in order.
pub(super) struct Ordered {
    /// With the columns that order.
    wanted: Arc<Wanted>,
    /// Columns of `wanted` that were asked for.
    asked: Vec<usize>,
    direction: Direction,
    window_rows: u64,
    /// Days to come.
    days: VecDeque<Span>,
    /// Files of no day, with their times.
    undated: Vec<Timed>,
    /// Files of the day at hand.
    day: Vec<Timed>,
    windows: VecDeque<Span>,
    /// The window at hand, sorted, and how much of it was given out.
    rows: Option<(RecordBatch, UInt32Array, usize)>,
}

/// A file and the times of its row groups.
struct Timed {
    entry: Arc<FileEntry>,
    groups: Vec<GroupTimes>,
}

impl Ordered {
    /// `reading` wants the columns that order; `asked` are those to give out.
    pub(super) fn new(
        reading: &mut Reading,
        asked: &Schema,
        direction: Direction,
        window_rows: u64,
    ) -> Result<Self, ScanError> {
        let wanted = reading.wanted.clone();
        let place = |field: &FieldRef| wanted.schema.index_of(field.name());
        let columns = asked.fields().iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let mut ordered = Self {
            wanted,
            asked: columns,
            direction,
            window_rows,
            days: VecDeque::new(),
            undated: Vec::new(),
            day: Vec::new(),
            windows: VecDeque::new(),
            rows: None,
        };
        ordered.plan_days(reading)?;
        Ok(ordered)
    }

    /// The next batch in order.
    pub(super) fn next(&mut self, reading: &mut Reading) -> Result<Option<RecordBatch>, ScanError> {
        loop {
            if let Some(batch) = self.give()? {
                return Ok(Some(batch));
            }
            if let Some(window) = self.windows.pop_front() {
                self.read(reading, window)?;
                continue;
            }
            let Some(day) = self.days.pop_front() else { return Ok(None) };
            self.plan_windows(reading, day)?;
        }
    }

    /// Gives out a part of the window at hand.
    fn give(&mut self) -> Result<Option<RecordBatch>, ScanError> {
        let Some((rows, order, given)) = &mut self.rows else { return Ok(None) };
        let count = BATCH_ROWS.min(order.len() - *given);
        if count == 0 {
            self.rows = None;
            return Ok(None);
        }
        let batch = take_record_batch(rows, &order.slice(*given, count))?;
        *given += count;
        Ok(Some(batch.project(&self.asked)?))
    }
}

/// Planning.
impl Ordered {
    /// The days that have files or rows. Rows of no day may be of any time, so between and around the days there are
    /// spans too.
    fn plan_days(&mut self, reading: &mut Reading) -> Result<(), ScanError> {
        let cut = reading.cut.clone();
        for entry in cut.files.iter().filter(|entry| entry.partition.day == Day::Undated) {
            if let Some(part) = reading.open(entry)? {
                self.undated.push(Timed { entry: entry.clone(), groups: part.times().collect() });
            }
        }
        let partitions = cut.files.iter().map(|entry| &entry.partition);
        let partitions = partitions.chain(cut.tail.iter().map(|rest| &rest.partition));
        let mut days: Vec<i64> = partitions
            .filter_map(|partition| match partition.day {
                Day::Utc(day) => Some(i64::from(day) * DAY_US),
                Day::Undated => None,
            })
            .collect();
        days.sort_unstable();
        days.dedup();
        let asked = self.wanted.span;
        let mut from = asked.from;
        for start in days {
            // What is before a day and after the one before it: undated rows alone.
            self.days.extend(within(asked, Span { from, to: start }));
            self.days.extend(within(asked, Span { from: start, to: start + DAY_US }));
            from = start + DAY_US;
        }
        self.days.extend(within(asked, Span { from, to: asked.to }));
        if self.direction == Direction::Backward {
            self.days.make_contiguous().reverse();
        }
        Ok(())
    }

    /// Cuts a day into windows.
    fn plan_windows(&mut self, reading: &mut Reading, day: Span) -> Result<(), ScanError> {
        let cut = reading.cut.clone();
        self.day.clear();
        let is_of_day = |entry: &&Arc<FileEntry>| match entry.partition.day {
            Day::Utc(number) => {
                i64::from(number) * DAY_US < day.to && i64::from(number) * DAY_US + DAY_US > day.from
            }
            Day::Undated => false,
        };
        for entry in cut.files.iter().filter(is_of_day) {
            if let Some(part) = reading.open(entry)? {
                self.day.push(Timed { entry: entry.clone(), groups: part.times().collect() });
            }
        }
        let of_files = self.day.iter().chain(&self.undated).flat_map(|timed| timed.groups.iter().copied());
        let of_tail = cut.tail.iter().filter_map(|rest| batch_times(&rest.rows));
        let groups: Vec<GroupTimes> = of_files.chain(of_tail).collect();
        self.windows = windows(day, &groups, self.window_rows).into();
        if self.direction == Direction::Backward {
            self.windows.make_contiguous().reverse();
        }
        Ok(())
    }
}

/// Reading.
impl Ordered {
    /// Reads the rows of a window and sorts them, or cuts it in two when they are too many.
    fn read(&mut self, reading: &mut Reading, window: Span) -> Result<(), ScanError> {
        let Some(batches) = self.collect(reading, window)? else {
            let middle = window.from + (window.to - window.from) / 2;
            let (early, late) = (Span { to: middle, ..window }, Span { from: middle, ..window });
            let (first, second) = match self.direction {
                Direction::Forward => (early, late),
                Direction::Backward => (late, early),
            };
            self.windows.push_front(second);
            self.windows.push_front(first);
            return Ok(());
        };
        let rows = concat_batches(&self.wanted.schema, &batches)?;
        drop(batches);
        let mut order = sorted(&rows);
        if self.direction == Direction::Backward {
            order.reverse();
        }
        self.rows = Some((rows, order.into(), 0));
        Ok(())
    }

    /// The rows of a window as they lie. `None`: too many.
    fn collect(
        &mut self,
        reading: &mut Reading,
        window: Span,
    ) -> Result<Option<Vec<RecordBatch>>, ScanError> {
        let can_halve = window.to - window.from > 1;
        let (mut batches, mut rows) = (Vec::new(), 0);
        let cut = reading.cut.clone();
        for rest in &cut.tail {
            if batch_times(&rest.rows).is_some_and(|times| window.meets(times.first, times.last)) {
                let part = in_window(&rest.rows, window)?;
                rows += part.num_rows();
                batches.push(part);
            }
        }
        for timed in self.undated.iter().chain(&self.day) {
            if !timed.groups.iter().any(|group| window.meets(group.first, group.last)) {
                continue;
            }
            let Some(part) = reading.open(&timed.entry)? else { continue };
            let Some(mut part) = reading.rows(part, window, READ_ROWS)? else { continue };
            while let Some(batch) = reading.next_of(&mut part)? {
                rows += batch.num_rows();
                batches.push(batch);
                if rows > WINDOW_ROWS_MAX && can_halve {
                    return Ok(None);
                }
            }
        }
        Ok(if rows > WINDOW_ROWS_MAX && can_halve { None } else { Some(batches) })
    }
}

fn within(asked: Span, span: Span) -> Option<Span> {
    let cut = Span { from: span.from.max(asked.from), to: span.to.min(asked.to) };
    (cut.from < cut.to).then_some(cut)
}

/// Times of a batch whose rows are sorted by time.
fn batch_times(batch: &RecordBatch) -> Option<GroupTimes> {
    let times = batch.column_by_name("time")?.as_primitive_opt::<TimestampMicrosecondType>()?.values();
    Some(GroupTimes { first: *times.first()?, last: *times.last()?, rows: times.len() as u64 })
}

fn in_window(batch: &RecordBatch, window: Span) -> Result<RecordBatch, ScanError> {
    let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
    let from = times.partition_point(|time| *time < window.from);
    let to = times.partition_point(|time| *time < window.to);
    Ok(batch.slice(from, to - from))
}

/// Cuts `day` so that each window has about `window_rows` rows, if rows lie evenly between the first and the last time of
/// their group. Windows without rows are left out.
pub(super) fn windows(day: Span, groups: &[GroupTimes], window_rows: u64) -> Vec<Span> {
    let mut edges: Vec<(i64, f64)> = Vec::with_capacity(2 * groups.len());
    for group in groups.iter().filter(|group| day.meets(group.first, group.last)) {
        let (first, end) = (group.first.max(i64::MIN / 4), group.last.min(i64::MAX / 4) + 1);
        let density = group.rows as f64 / (end - first) as f64;
        edges.push((first.max(day.from), density));
        edges.push((end.min(day.to), -density));
    }
    edges.sort_by_key(|edge| edge.0);
    let (mut windows, mut from, mut rows, mut density) = (Vec::new(), None, 0.0, 0.0);
    let most = window_rows as f64;
    for (edge, next) in edges.iter().zip(edges.iter().skip(1).map(Some).chain([None])) {
        from.get_or_insert(edge.0);
        density += edge.1;
        let Some(next) = next else { break };
        let mut at = edge.0;
        while density > 0.0 && rows + density * (next.0 - at) as f64 > most {
            // At least a microsecond, so that it ends.
            let step = ((most - rows) / density).max(1.0).min((next.0 - at) as f64) as i64;
            at += step.max(1);
            windows.push(Span { from: from.unwrap_or(edge.0), to: at.min(next.0) });
            (from, rows) = (Some(at.min(next.0)), 0.0);
            if at >= next.0 {
                break;
            }
        }
        rows += density.max(0.0) * (next.0 - at).max(0) as f64;
    }
    if let (Some(from), Some(last)) = (from, edges.last())
        && from < last.0
    {
        windows.push(Span { from, to: last.0 });
    }
    windows
}

/// The numbers of the rows in order: by time, team, agent, epoch, seq (null before all), and else as they lie.
fn sorted(rows: &RecordBatch) -> Vec<u32> {
    let times = rows.column(0).as_primitive::<TimestampMicrosecondType>().values();
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    let texts: Vec<Words<'_>> =
        ["team", "agent_id", "epoch"].iter().filter_map(|name| Words::of(rows, name)).collect();
    let seqs = rows.column_by_name("seq").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let seq = |row: u32| seqs.filter(|seqs| seqs.is_valid(row as usize)).map(|seqs| seqs.value(row as usize));
    order.sort_unstable_by(|&a, &b| {
        times[a as usize].cmp(&times[b as usize]).then_with(|| {
            let by_text = texts.iter().fold(Ordering::Equal, |order, words| {
                order.then_with(|| words.get(a as usize).cmp(&words.get(b as usize)))
            });
            by_text.then_with(|| seq(a).cmp(&seq(b))).then(a.cmp(&b))
        })
    });
    order
}
