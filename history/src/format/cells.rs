//! The cells of a batch as text, in the words of a dialect.

use std::io::Write;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};

use super::FormatError;
use super::layout::{Content, Shown};
use super::timestamp::{Timestamps, write_milliseconds};
use crate::dataset::{DataSet, Values};

/// How a format of text writes what is no number.
pub(super) trait Dialect {
    /// What is not known.
    const NULL: &'static [u8];
    /// Before and after a time.
    const AROUND_TIME: &'static [u8];

    /// Writes a text.
    fn text(text: &str, out: &mut Vec<u8>);
}

/// A column of a batch.
#[derive(Debug)]
pub(super) enum Cells<'a> {
    Absent,
    Time(&'a TimestampMicrosecondArray),
    Word { keys: &'a Int32Array, words: Words<'a> },
    Text(&'a StringArray),
    Integer(&'a Int64Array),
    Milliseconds(&'a Int64Array),
    Number(&'a Float64Array),
    Truth(&'a BooleanArray),
}

/// The words of a dictionary, written once where rows use them more than once.
#[derive(Debug)]
pub(super) struct Words<'a> {
    values: &'a StringArray,
    written: Vec<u8>,
    ranges: Vec<Range<usize>>,
}

impl<'a> Cells<'a> {
    /// The column `shown` of a batch.
    pub(super) fn of<D: Dialect>(
        data_set: DataSet,
        shown: &Shown,
        batch: &'a RecordBatch,
    ) -> Result<Self, FormatError> {
        let Some(array) = batch.column_by_name(shown.from) else {
            return if shown.is_optional { Ok(Self::Absent) } else { Err(missing(data_set, shown)) };
        };
        let cells = match shown.content {
            Content::Milliseconds => array.as_primitive_opt::<Int64Type>().map(Self::Milliseconds),
            Content::Values(Values::Time) => {
                array.as_primitive_opt::<TimestampMicrosecondType>().map(Self::Time)
            }
            Content::Values(Values::Integer) => array.as_primitive_opt::<Int64Type>().map(Self::Integer),
            Content::Values(Values::Number) => array.as_primitive_opt::<Float64Type>().map(Self::Number),
            Content::Values(Values::Truth) => array.as_boolean_opt().map(Self::Truth),
            Content::Values(Values::Text) => array.as_string_opt::<i32>().map(Self::Text),
            Content::Values(Values::Word) => match array.as_dictionary_opt::<Int32Type>() {
                Some(words) => words.values().as_string_opt::<i32>().map(|values| Self::Word {
                    keys: words.keys(),
                    words: Words::new::<D>(values, batch.num_rows()),
                }),
                None => array.as_string_opt::<i32>().map(Self::Text),
            },
        };
        cells.ok_or_else(|| missing(data_set, shown))
    }

    /// Writes the cell of a row.
    pub(super) fn write<D: Dialect>(&self, row: usize, times: &mut Timestamps, out: &mut Vec<u8>) {
        match self {
            Self::Time(array) if array.is_valid(row) => {
                out.extend_from_slice(D::AROUND_TIME);
                times.write(array.value(row), out);
                out.extend_from_slice(D::AROUND_TIME);
            }
            Self::Word { keys, words } if keys.is_valid(row) => {
                // A negative key is in no dictionary that Arrow lets be made.
                words.write::<D>(usize::try_from(keys.value(row)).unwrap_or(usize::MAX), out);
            }
            Self::Text(array) if array.is_valid(row) => D::text(array.value(row), out),
            Self::Integer(array) if array.is_valid(row) => told(out, array.value(row)),
            Self::Milliseconds(array) if array.is_valid(row) => write_milliseconds(array.value(row), out),
            Self::Number(array) if array.is_valid(row) && array.value(row).is_finite() => {
                write_number(array.value(row), out);
            }
            Self::Truth(array) if array.is_valid(row) => told(out, array.value(row)),
            _ => out.extend_from_slice(D::NULL),
        }
    }
}

fn missing(data_set: DataSet, shown: &Shown) -> FormatError {
    let wanted = match shown.content {
        Content::Milliseconds | Content::Values(Values::Integer) => "Int64",
        Content::Values(Values::Time) => "Timestamp(us, UTC)",
        Content::Values(Values::Word) => "Dictionary(Int32, Utf8)",
        Content::Values(Values::Text) => "Utf8",
        Content::Values(Values::Number) => "Float64",
        Content::Values(Values::Truth) => "Boolean",
    };
    FormatError::Column { data_set, column: shown.from, wanted }
}

fn told(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{value}");
}

/// The fewest digits that read back as the same double; with an exponent where there would be many zeros.
fn write_number(value: f64, out: &mut Vec<u8>) {
    let size = value.abs();
    if size == 0.0 || (1e-5..1e16).contains(&size) {
        told(out, value);
    } else {
        // Writing to memory cannot fail.
        let _ = write!(out, "{value:e}");
    }
}

impl<'a> Words<'a> {
    fn new<D: Dialect>(values: &'a StringArray, row_count: usize) -> Self {
        let (mut written, mut ranges) = (Vec::new(), Vec::new());
        // A short part of a long batch carries the long one's dictionary.
        if values.len() <= row_count {
            for index in 0..values.len() {
                let start = written.len();
                if values.is_valid(index) {
                    D::text(values.value(index), &mut written);
                } else {
                    written.extend_from_slice(D::NULL);
                }
                ranges.push(start..written.len());
            }
        }
        Self { values, written, ranges }
    }

    fn write<D: Dialect>(&self, key: usize, out: &mut Vec<u8>) {
        match self.ranges.get(key) {
            Some(range) => out.extend_from_slice(&self.written[range.clone()]),
            None if key < self.values.len() && self.values.is_valid(key) => {
                D::text(self.values.value(key), out);
            }
            None => out.extend_from_slice(D::NULL),
        }
    }
}
