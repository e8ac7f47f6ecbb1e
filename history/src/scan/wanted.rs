//! What a query wants of one data set: which columns, and which rows of a folder, a row group or a batch.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Int32Array, RecordBatch, Scalar, StringArray,
    new_null_array,
};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{ArrowError, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use muster::ids::Team;

use super::ScanError;
use crate::dataset::{Column, DataSet};
use crate::partition::{Day, Partition};
use crate::query::{Filter, Query, TimeRange};

/// Microseconds of a day.
pub(super) const DAY_US: i64 = 86_400_000_000;

/// A query, looked up in the tables.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) data_set: DataSet,
    pub(super) span: Span,
    team: Option<Team>,
    pub(super) equals: Vec<Equals>,
    /// Those of the files, in their order; `time` is the first.
    pub(super) columns: Vec<&'static Column>,
    /// Those, and `team` after `time`.
    pub(crate) schema: SchemaRef,
    /// Rows of no day are not wanted.
    is_dated: bool,
}

/// A range of time as files have it: microseconds, `from` in it, `to` not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: i64,
    pub(super) to: i64,
}

/// A column and the text that it must have.
#[derive(Debug, Clone)]
pub(super) struct Equals {
    pub(super) column: &'static Column,
    pub(super) text: String,
}

impl Span {
    pub(super) fn has(self, time: i64) -> bool {
        self.from <= time && time < self.to
    }

    /// Whether a time from `first` to `last` may be in it.
    pub(super) fn meets(self, first: i64, last: i64) -> bool {
        first < self.to && last >= self.from
    }

    /// Whether every time from `first` to `last` is in it.
    pub(super) fn holds(self, first: i64, last: i64) -> bool {
        self.has(first) && self.has(last)
    }
}

impl From<TimeRange> for Span {
    fn from(range: TimeRange) -> Self {
        let us = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        Self { from: us(range.from.0), to: us(range.to.0) }
    }
}

impl Wanted {
    pub(crate) fn new(query: &Query) -> Result<Self, ScanError> {
        let data_set = query.data_set;
        if query.range.from >= query.range.to {
            return Err(ScanError::EmptyRange);
        }
        let is_wanted = |column: &&'static Column| {
            column.name == "time"
                || query.columns.as_ref().is_none_or(|columns| columns.contains(&column.name))
        };
        if let Some(columns) = &query.columns {
            let unknown =
                columns.iter().find(|name| **name != "team" && data_set.column_index(name).is_none());
            if let Some(&column) = unknown {
                return Err(ScanError::NoColumn { data_set, column });
            }
        }
        Ok(Self::with_columns(
            data_set,
            query.range.into(),
            query.filter.team.clone(),
            equals(data_set, &query.filter)?,
            data_set.columns().filter(is_wanted).collect(),
        ))
    }

    fn with_columns(
        data_set: DataSet,
        span: Span,
        team: Option<Team>,
        equals: Vec<Equals>,
        columns: Vec<&'static Column>,
    ) -> Self {
        let all = data_set.row_schema();
        let fields = all.fields().iter().filter(|field| {
            field.name() == "team" || columns.iter().any(|column| column.name == field.name())
        });
        let schema = Schema::new_with_metadata(fields.cloned().collect::<Vec<_>>(), all.metadata().clone());
        Self { data_set, span, team, equals, columns, schema: Arc::new(schema), is_dated: false }
    }

    /// The same with columns more.
    pub(crate) fn with(&self, names: &[&str]) -> Self {
        let has = |column: &Column| {
            names.contains(&column.name) || self.columns.iter().any(|own| own.name == column.name)
        };
        let columns = self.data_set.columns().filter(|column| has(column)).collect();
        let more =
            Self::with_columns(self.data_set, self.span, self.team.clone(), self.equals.clone(), columns);
        Self { is_dated: self.is_dated, ..more }
    }

    /// The same with the columns that order rows.
    pub(crate) fn ordered(&self) -> Self {
        self.with(&super::order::KEYS)
    }

    /// The same of rows with a text in a column.
    pub(crate) fn equal(mut self, column: &'static str, text: &str) -> Result<Self, ScanError> {
        let data_set = self.data_set;
        let found = data_set.columns().find(|known| known.name == column);
        let column = found.ok_or(ScanError::NoColumn { data_set, column })?;
        self.equals.push(Equals { column, text: text.to_owned() });
        Ok(self)
    }

    /// The same without rows whose time cannot be true.
    pub(crate) fn dated(self) -> Self {
        Self { is_dated: true, ..self }
    }

    /// Whether rows of the folder may be wanted.
    pub(crate) fn reads(&self, partition: &Partition) -> bool {
        let is_in_time = match partition.day {
            Day::Undated => !self.is_dated,
            Day::Utc(day) => {
                let start = i64::from(day) * DAY_US;
                self.span.meets(start, start + DAY_US - 1)
            }
        };
        partition.data_set == self.data_set
            && is_in_time
            && self.team.as_ref().is_none_or(|team| *team == partition.team)
    }

    /// The wanted rows of a batch that has all columns of the files; `None`: there are none.
    pub(crate) fn select(&self, team: &Team, batch: &RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
        let mut keep = self.times(batch);
        for equals in &self.equals {
            let index = batch.schema_ref().index_of(equals.column.name)?;
            keep = arrow_and(&keep, &equals.matches(batch.column(index))?);
        }
        match keep.true_count() {
            0 => Ok(None),
            rows if rows == batch.num_rows() => self.rows(team, batch).map(Some),
            _ => self.rows(team, &filter_record_batch(batch, &keep)?).map(Some),
        }
    }

    /// The batch's rows with the wanted columns as today's tables have them. What it has not (an older file) is null,
    /// what is of another type (a file that another program wrote anew) is cast.
    pub(crate) fn rows(&self, team: &Team, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let column = |column: &&'static Column| -> Result<ArrayRef, ArrowError> {
            let wanted = column.values.data_type();
            match batch.column_by_name(column.name) {
                Some(values) if *values.data_type() == wanted => Ok(values.clone()),
                Some(values) => arrow_cast::cast(values, &wanted),
                None => Ok(new_null_array(&wanted, batch.num_rows())),
            }
        };
        let mut columns = self.columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        columns.insert(1, team_column(team, batch.num_rows()));
        RecordBatch::try_new(self.schema.clone(), columns)
    }

    fn times(&self, batch: &RecordBatch) -> BooleanArray {
        batch.column_by_name("time").map_or_else(
            || BooleanArray::new(BooleanBuffer::new_unset(batch.num_rows()), None),
            |times| in_span(times, self.span),
        )
    }
}

impl Equals {
    /// Which values are the text. Null is not.
    pub(super) fn matches(&self, values: &ArrayRef) -> Result<BooleanArray, ArrowError> {
        let text = Scalar::new(StringArray::from(vec![self.text.as_str()]));
        let equal = arrow_ord::cmp::eq(values, &text)?;
        Ok(match equal.nulls() {
            None => equal,
            Some(known) => BooleanArray::new(equal.values() & known.inner(), None),
        })
    }
}

/// Which times are in the span. What is no time is not.
pub(super) fn in_span(times: &ArrayRef, span: Span) -> BooleanArray {
    let Some(times) = times.as_primitive_opt::<TimestampMicrosecondType>() else {
        return BooleanArray::new(BooleanBuffer::new_unset(times.len()), None);
    };
    let values = times.values();
    BooleanArray::new(BooleanBuffer::collect_bool(values.len(), |row| span.has(values[row])), None)
}

fn arrow_and(a: &BooleanArray, b: &BooleanArray) -> BooleanArray {
    BooleanArray::new(a.values() & b.values(), None)
}

/// The team, for all rows of a folder.
fn team_column(team: &Team, rows: usize) -> ArrayRef {
    let values = StringArray::from(vec![team.as_str()]);
    // Key 0 is there: it is the only value.
    let keys = Int32Array::from(vec![0; rows]);
    Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(values)))
}

/// What the filter asks of columns. A question that no column of the data set can answer is an error, no empty answer.
fn equals(data_set: DataSet, filter: &Filter) -> Result<Vec<Equals>, ScanError> {
    let status = if data_set == DataSet::Events { "outcome" } else { "status" };
    let asked = [
        ("project", &filter.project),
        ("tool", &filter.tool),
        ("worker", &filter.worker),
        ("user", &filter.user),
        (status, &filter.status),
    ];
    let mut found = Vec::new();
    for (name, text) in asked {
        let Some(text) = text else { continue };
        let column = data_set.columns().find(|column| column.name == name);
        let column = column.ok_or(ScanError::NoColumn { data_set, column: name })?;
        found.push(Equals { column, text: text.clone() });
    }
    Ok(found)
}
