//! Rows of a scan, one cell at a time: what the encoders of destinations read.
//!
//! A [`Rows`] looks the columns of a batch up once; a cell is then read without a search. A batch whose columns are not
//! those of [`DataSet::row_schema`] is refused. A column that a projection left out reads as null.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, BooleanArray, DictionaryArray, PrimitiveArray, RecordBatch, StringArray};

use crate::dataset::{Column, DataSet, TEAM, Values};

/// A batch of a scan's rows.
#[derive(Debug)]
pub struct Rows<'a> {
    data_set: DataSet,
    columns: Vec<Cells<'a>>,
    count: usize,
}

/// Places of the columns that are the same in all data sets.
const TIME: usize = 0;
const TEAM_PLACE: usize = 1;
const AGENT_ID: usize = 2;
const EPOCH: usize = 3;
const SEQ: usize = 4;

/// What a row has in a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// It was not known.
    Null,
    /// Microseconds since the epoch.
    Time(i64),
    /// A text, never empty.
    Text(&'a str),
    /// An integer.
    Integer(i64),
    /// A double.
    Number(f64),
    /// True or false.
    Truth(bool),
}

/// What orders the rows of a sorted scan, and names a row that an agent saw.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
pub struct RowKey {
    /// Microseconds since the epoch.
    pub time_us: i64,
    /// The team.
    pub team: String,
    /// The agent, its spool's life and the number in it; null of what was sent straight to the collector.
    pub agent_id: Option<String>,
    /// See `agent_id`.
    pub epoch: Option<String>,
    /// See `agent_id`.
    pub seq: Option<i64>,
}

/// A batch that no scan of this data set gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rows of {data_set} have a column {column} of another type than they should")]
pub struct UnexpectedColumn {
    /// Whose rows they should be.
    pub data_set: DataSet,
    /// Which column.
    pub column: &'static str,
}

#[derive(Debug)]
enum Cells<'a> {
    Absent,
    Time(&'a PrimitiveArray<TimestampMicrosecondType>),
    Word(&'a DictionaryArray<Int32Type>, &'a StringArray),
    Text(&'a StringArray),
    Integer(&'a PrimitiveArray<Int64Type>),
    Number(&'a PrimitiveArray<Float64Type>),
    Truth(&'a BooleanArray),
}

impl<'a> Rows<'a> {
    /// Looks the columns up.
    pub fn new(data_set: DataSet, batch: &'a RecordBatch) -> Result<Self, UnexpectedColumn> {
        let columns = columns_of_rows(data_set).map(|column| {
            let Some(array) = batch.column_by_name(column.name) else { return Ok(Cells::Absent) };
            Cells::of(column.values, array.as_ref()).ok_or(UnexpectedColumn { data_set, column: column.name })
        });
        Ok(Self { data_set, columns: columns.collect::<Result<_, _>>()?, count: batch.num_rows() })
    }

    /// Whose rows they are.
    pub fn data_set(&self) -> DataSet {
        self.data_set
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A cell by its column's place in [`columns_of_rows`]. A place or row outside reads as null.
    pub fn cell(&self, column: usize, row: usize) -> Cell<'a> {
        match self.columns.get(column) {
            Some(cells) if row < self.count => cells.get(row),
            _ => Cell::Null,
        }
    }

    /// A cell by its column's name.
    pub fn named(&self, name: &str, row: usize) -> Cell<'a> {
        let column = columns_of_rows(self.data_set).position(|column| column.name == name);
        column.map_or(Cell::Null, |column| self.cell(column, row))
    }

    /// The time of a row, in microseconds since the epoch.
    pub fn time_us(&self, row: usize) -> i64 {
        // It is never null.
        match self.cell(TIME, row) {
            Cell::Time(us) => us,
            _ => 0,
        }
    }

    /// How a row compares to a key.
    pub fn compare(&self, row: usize, key: &RowKey) -> Ordering {
        let text = |column| self.cell(column, row).text();
        (self.time_us(row).cmp(&key.time_us))
            .then_with(|| text(TEAM_PLACE).unwrap_or_default().cmp(&key.team))
            .then_with(|| text(AGENT_ID).cmp(&key.agent_id.as_deref()))
            .then_with(|| text(EPOCH).cmp(&key.epoch.as_deref()))
            .then_with(|| self.cell(SEQ, row).integer().cmp(&key.seq))
    }

    /// What orders a row.
    pub fn key(&self, row: usize) -> RowKey {
        let text = |column| self.cell(column, row).text().map(str::to_owned);
        RowKey {
            time_us: self.time_us(row),
            team: text(TEAM_PLACE).unwrap_or_default(),
            agent_id: text(AGENT_ID),
            epoch: text(EPOCH),
            seq: self.cell(SEQ, row).integer(),
        }
    }
}

/// The columns of a scan's rows in their order: those of the files, with `team` after `time`.
pub fn columns_of_rows(data_set: DataSet) -> impl Iterator<Item = &'static Column> {
    let mut columns = data_set.columns();
    columns.next().into_iter().chain([&TEAM]).chain(columns)
}

impl<'a> Cells<'a> {
    fn of(values: Values, array: &'a dyn Array) -> Option<Self> {
        Some(match values {
            Values::Time => Self::Time(array.as_primitive_opt()?),
            Values::Word => {
                let dictionary = array.as_dictionary_opt::<Int32Type>()?;
                Self::Word(dictionary, dictionary.values().as_string_opt()?)
            }
            Values::Text => Self::Text(array.as_string_opt()?),
            Values::Integer => Self::Integer(array.as_primitive_opt()?),
            Values::Number => Self::Number(array.as_primitive_opt()?),
            Values::Truth => Self::Truth(array.as_boolean_opt()?),
        })
    }

    fn get(&self, row: usize) -> Cell<'a> {
        let is_null = match self {
            Cells::Absent => true,
            Cells::Time(array) => array.is_null(row),
            Cells::Word(array, _) => array.is_null(row),
            Cells::Text(array) => array.is_null(row),
            Cells::Integer(array) => array.is_null(row),
            Cells::Number(array) => array.is_null(row),
            Cells::Truth(array) => array.is_null(row),
        };
        if is_null {
            return Cell::Null;
        }
        match self {
            Cells::Absent => Cell::Null,
            Cells::Time(array) => Cell::Time(array.value(row)),
            Cells::Word(array, words) => {
                array.key(row).map_or(Cell::Null, |key| Cell::of_text(words.value(key)))
            }
            Cells::Text(array) => Cell::of_text(array.value(row)),
            Cells::Integer(array) => Cell::Integer(array.value(row)),
            Cells::Number(array) => Cell::Number(array.value(row)),
            Cells::Truth(array) => Cell::Truth(array.value(row)),
        }
    }
}

impl<'a> Cell<'a> {
    fn of_text(text: &'a str) -> Self {
        if text.is_empty() { Cell::Null } else { Cell::Text(text) }
    }

    /// The text, if it is one.
    pub fn text(self) -> Option<&'a str> {
        if let Cell::Text(text) = self { Some(text) } else { None }
    }

    /// The time in microseconds since the epoch, if it is one.
    pub fn time(self) -> Option<i64> {
        if let Cell::Time(us) = self { Some(us) } else { None }
    }

    /// Whether it is true, if it is a truth.
    pub fn truth(self) -> Option<bool> {
        if let Cell::Truth(truth) = self { Some(truth) } else { None }
    }

    /// The integer, if it is one.
    pub fn integer(self) -> Option<i64> {
        if let Cell::Integer(integer) = self { Some(integer) } else { None }
    }
}

#[cfg(test)]
pub(crate) mod tests;
