//! Runs with what their worker used: the guide's `cpu_percent` and `memory_mb`.
//!
//! A tool measures its workers beside their runs, so the two are rows of two data sets. A run gets the reading of the same
//! team, agent, project and worker that is nearest to its end, at most [`NEAR_US`] away; of two equally near the earlier one.
//! Without one the cell is null. Memory is in MiB, as in `devloop_agent_memory_mb`.
//!
//! Both are read in the order of time, at one moment of the history, and only the readings around the run at hand are kept:
//! at most [`READINGS_MAX`], past which the oldest go.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use muster::clock::WallTime;
use rustc_hash::FxHashMap;

use crate::cells::{Words, times};
use crate::dataset::DataSet;
use crate::format::{CPU_PERCENT, MEMORY_MB};
use crate::query::{Filter, Query, TimeRange};
use crate::reader::History;
use crate::scan::{Cut, Notice, Scan, ScanError, Wanted};

/// How far from a run's end a reading may be.
pub const NEAR_US: i64 = 2_000_000;
/// Most readings that are kept around a run: those of thousands of workers at work in the same seconds.
pub const READINGS_MAX: usize = 200_000;
/// What names a worker.
const KEY: [&str; 4] = ["team", "agent_id", "project", "worker"];
const MIB: f64 = 1_048_576.0;

/// Runs in the order of their time, with their readings in two columns more.
pub struct RunsWithReadings {
    runs: Scan,
    readings: Readings,
    /// Columns of a run's batch that were asked for.
    asked: Vec<usize>,
    schema: SchemaRef,
    is_over: bool,
}

/// The readings around the run at hand.
struct Readings {
    scan: Scan,
    /// The batch at hand, and its next row.
    batch: Option<(RecordBatch, usize)>,
    near: FxHashMap<Box<str>, VecDeque<Reading>>,
    /// Those in `near`, oldest first.
    order: VecDeque<(i64, Box<str>)>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    time: i64,
    measure: Measure,
    value: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Cpu,
    Memory,
}

impl History {
    /// The runs of a query (its data set and order are not looked at), in the order of time, with their readings.
    pub fn runs_with_readings(&self, query: &Query) -> Result<RunsWithReadings, ScanError> {
        let query = Query { data_set: DataSet::Runs, is_sorted: true, ..query.clone() };
        let asked = Wanted::new(&query)?;
        let runs = asked.with(&KEY).ordered();
        let around = TimeRange {
            from: WallTime(query.range.from.0.saturating_sub(NEAR_US as u64)),
            to: WallTime(query.range.to.0.saturating_add(NEAR_US as u64)),
        };
        let samples = Wanted::new(&Query {
            data_set: DataSet::Samples,
            range: around,
            // Of a run's status its readings know nothing.
            filter: Filter { status: None, ..query.filter },
            columns: Some(vec!["agent_id", "project", "worker", "name", "scope", "value"]),
            is_sorted: true,
        })?;
        let samples = samples.equal("scope", "worker")?.ordered();
        let cut = Cut::take(self, &[runs.clone(), samples.clone()])?;
        let runs = Scan::forward(self, runs, &cut)?;
        let scan = Scan::forward(self, samples, &cut)?;
        let place = |field: &FieldRef| runs.schema().index_of(field.name());
        let places = asked.schema.fields().iter().map(place).collect::<Result<_, _>>()?;
        let readings = [CPU_PERCENT, MEMORY_MB].map(|name| Field::new(name, DataType::Float64, true).into());
        let fields: Vec<FieldRef> = asked.schema.fields().iter().cloned().chain(readings).collect();
        Ok(RunsWithReadings {
            schema: Arc::new(Schema::new_with_metadata(fields, asked.schema.metadata().clone())),
            asked: places,
            runs,
            readings: Readings { scan, batch: None, near: FxHashMap::default(), order: VecDeque::new() },
            is_over: false,
        })
    }
}

impl RunsWithReadings {
    /// The columns of its batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What is wrong with the answer so far.
    pub fn notices(&self) -> Vec<Notice> {
        let mut notices = self.runs.notices().to_vec();
        let of_readings = self.readings.scan.notices().iter().filter(|notice| !notices.contains(notice));
        let of_readings: Vec<Notice> = of_readings.cloned().collect();
        notices.extend(of_readings);
        notices
    }

    fn step(&mut self) -> Result<Option<RecordBatch>, ScanError> {
        let Some(batch) = self.runs.next().transpose()? else { return Ok(None) };
        let (mut cpu, mut memory) =
            (Vec::with_capacity(batch.num_rows()), Vec::with_capacity(batch.num_rows()));
        let keys = Keys::of(&batch);
        let mut key = String::new();
        for (row, &time) in times(&batch).iter().enumerate() {
            self.readings.go_to(time)?;
            keys.write(row, &mut key);
            let (of_cpu, of_memory) = self.readings.nearest(&key, time);
            cpu.push(of_cpu);
            memory.push(of_memory.map(|bytes| bytes / MIB));
        }
        let asked = batch.project(&self.asked)?;
        let mut columns = asked.columns().to_vec();
        columns.push(Arc::new(Float64Array::from(cpu)));
        columns.push(Arc::new(Float64Array::from(memory)));
        Ok(Some(RecordBatch::try_new(self.schema.clone(), columns)?))
    }
}

impl Iterator for RunsWithReadings {
    type Item = Result<RecordBatch, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let step = self.step();
        self.is_over = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

impl fmt::Debug for RunsWithReadings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunsWithReadings").field("runs", &self.runs).finish_non_exhaustive()
    }
}

impl Readings {
    /// Takes readings up to those after `time`, and lets go of those before.
    fn go_to(&mut self, time: i64) -> Result<(), ScanError> {
        while self.take(time.saturating_add(NEAR_US))? {}
        while self.order.front().is_some_and(|(first, _)| *first < time.saturating_sub(NEAR_US)) {
            self.drop_oldest();
        }
        Ok(())
    }

    /// Takes the next rows of a batch up to `last`; `false`: there are no more.
    fn take(&mut self, last: i64) -> Result<bool, ScanError> {
        let (batch, from) = match self.batch.take() {
            Some(held) => held,
            None => match self.scan.next().transpose()? {
                Some(batch) => (batch, 0),
                None => return Ok(false),
            },
        };
        let (keys, names, values) = (Keys::of(&batch), Words::of(&batch, "name"), values(&batch));
        let mut key = String::new();
        for (row, &time) in times(&batch).iter().enumerate().skip(from) {
            if time > last {
                self.batch = Some((batch.clone(), row));
                return Ok(false);
            }
            let measure = match names.as_ref().and_then(|names| names.get(row)) {
                Some("cpu_percent") => Measure::Cpu,
                Some("memory_bytes") => Measure::Memory,
                _ => continue,
            };
            let Some(value) = values.filter(|values| values.is_valid(row)).map(|values| values.value(row))
            else {
                continue;
            };
            if self.order.len() >= READINGS_MAX {
                self.drop_oldest();
            }
            keys.write(row, &mut key);
            self.order.push_back((time, key.as_str().into()));
            let reading = Reading { time, measure, value };
            self.near.entry(key.as_str().into()).or_default().push_back(reading);
        }
        Ok(true)
    }

    fn drop_oldest(&mut self) {
        let Some((_, key)) = self.order.pop_front() else { return };
        if let Some(readings) = self.near.get_mut(&key) {
            readings.pop_front();
            if readings.is_empty() {
                self.near.remove(&key);
            }
        }
    }

    fn nearest(&self, key: &str, time: i64) -> (Option<f64>, Option<f64>) {
        let Some(readings) = self.near.get(key) else { return (None, None) };
        let of = |measure| {
            let of_measure = readings.iter().filter(|reading| reading.measure == measure);
            // Of two that are as near, the first: the earlier one.
            of_measure.min_by_key(|reading| reading.time.abs_diff(time)).map(|reading| reading.value)
        };
        (of(Measure::Cpu), of(Measure::Memory))
    }
}

/// Whose rows these are.
struct Keys<'a>([Option<Words<'a>>; KEY.len()]);

impl<'a> Keys<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        Self(KEY.map(|name| Words::of(batch, name)))
    }

    /// Writes the row's key as one text.
    fn write(&self, row: usize, key: &mut String) {
        key.clear();
        for words in &self.0 {
            key.push_str(words.as_ref().and_then(|words| words.get(row)).unwrap_or_default());
            key.push('\0');
        }
    }
}

fn values(batch: &RecordBatch) -> Option<&Float64Array> {
    batch.column_by_name("value")?.as_primitive_opt::<Float64Type>()
}

#[cfg(test)]
mod tests;
