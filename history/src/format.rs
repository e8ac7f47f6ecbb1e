//! Rows as bytes: what `muster telemetry export` and `/api/v1/history/` give out.
//!
//! A [`RowWriter`] takes record batches of [`DataSet::row_schema`] and writes them as they come: no format holds more than
//! a batch, but Parquet, which holds a row group.
//!
//! What all formats of text agree on:
//! - a time is RFC 3339 in UTC with six digits of a second (`2026-11-21T08:00:00.000123Z`): texts sort as times do;
//! - what is not known is an empty cell (CSV) or `null` (JSON). A text that is empty and known is `""` in both;
//! - a number that is not finite is written as not known, since JSON has no word for it;
//! - milliseconds of a duration are exact to the microsecond: `245`, `245.5`, `0.007`;
//! - numbers have a point, no grouping, and the fewest digits that read back as the same double.
//!
//! A file that was cut short can be told: CSV and NDJSON end with an end of line, JSON with `]`, Parquet with its footer and
//! an Arrow stream with its end marker.

mod cells;
mod columnar;
mod csv;
mod json;
mod layout;
mod tagged;
#[cfg(test)]
mod tests;
mod text;
mod timestamp;

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use parquet::errors::ParquetError;

pub use columnar::{ArrowRows, ReadError};
pub use layout::{CPU_PERCENT, Detail, Layout, MEMORY_MB};
pub use tagged::tagged_lines;

use crate::dataset::DataSet;
use columnar::{ArrowWriter, ParquetWriter};
use csv::Csv;
use json::Json;
use text::TextWriter;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a header.
    Csv,
    /// One array of objects.
    Json,
    /// An object a line.
    Ndjson,
    /// One Parquet file.
    Parquet,
    /// A stream of Arrow's IPC.
    Arrow,
}

/// A name that is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no format: there are csv, json, ndjson, parquet and arrow")]
pub struct UnknownFormat(String);

/// Why rows are not written.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The output does not take them.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A batch does not have what its data set has.
    #[error("rows of {data_set} without a column {column:?} of type {wanted}")]
    Column {
        /// Of what.
        data_set: DataSet,
        /// Which.
        column: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// Arrow's word.
    #[error("{0}")]
    Arrow(ArrowError),
    /// Parquet's word.
    #[error("{0}")]
    Parquet(ParquetError),
}

/// Writes rows to `W`. Without [`RowWriter::finish`] what was written is not complete.
pub struct RowWriter<W: Write + Send> {
    inner: Inner<W>,
    row_count: u64,
}

enum Inner<W: Write + Send> {
    Csv(TextWriter<W, Csv>),
    Json(TextWriter<W, Json>),
    Parquet(ParquetWriter<W>),
    Arrow(ArrowWriter<W>),
}

impl<W: Write + Send> RowWriter<W> {
    /// Writes what stands before the first row.
    pub fn new(format: Format, layout: Layout, out: W) -> Result<Self, FormatError> {
        let inner = match format {
            Format::Csv => Inner::Csv(csv::writer(layout, out)?),
            Format::Json => Inner::Json(json::array(layout, out)?),
            Format::Ndjson => Inner::Json(json::lines(layout, out)?),
            Format::Parquet => Inner::Parquet(ParquetWriter::new(layout, out)?),
            Format::Arrow => Inner::Arrow(ArrowWriter::new(layout, out)?),
        };
        Ok(Self { inner, row_count: 0 })
    }

    /// Writes the rows of a batch.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        match &mut self.inner {
            Inner::Csv(writer) => writer.write(batch)?,
            Inner::Json(writer) => writer.write(batch)?,
            Inner::Parquet(writer) => writer.write(batch)?,
            Inner::Arrow(writer) => writer.write(batch)?,
        }
        self.row_count += batch.num_rows() as u64;
        Ok(())
    }

    /// Rows that were written.
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// What it writes to: for whoever takes out what has gathered there.
    pub fn out_mut(&mut self) -> &mut W {
        match &mut self.inner {
            Inner::Csv(writer) => writer.out_mut(),
            Inner::Json(writer) => writer.out_mut(),
            Inner::Parquet(writer) => writer.out_mut(),
            Inner::Arrow(writer) => writer.out_mut(),
        }
    }

    /// Writes what stands after the last row.
    pub fn finish(self) -> Result<W, FormatError> {
        match self.inner {
            Inner::Csv(writer) => writer.finish(),
            Inner::Json(writer) => writer.finish(),
            Inner::Parquet(writer) => writer.finish(),
            Inner::Arrow(writer) => writer.finish(),
        }
    }
}

impl<W: Write + Send> fmt::Debug for RowWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowWriter").field("row_count", &self.row_count).finish_non_exhaustive()
    }
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 5] = [Format::Csv, Format::Json, Format::Ndjson, Format::Parquet, Format::Arrow];

    /// Its name in `format=` and `--format`.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Json => "json",
            Format::Ndjson => "ndjson",
            Format::Parquet => "parquet",
            Format::Arrow => "arrow",
        }
    }

    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            // RFC 4180 section 3.
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Parquet => "application/vnd.apache.parquet",
            Format::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

impl From<ArrowError> for FormatError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, error) => Self::Io(error),
            ArrowError::ExternalError(inner) => match inner.downcast::<io::Error>() {
                Ok(error) => Self::Io(*error),
                Err(inner) => Self::Arrow(ArrowError::ExternalError(inner)),
            },
            other => Self::Arrow(other),
        }
    }
}

impl From<ParquetError> for FormatError {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(error) => Self::Io(*error),
                Err(inner) => Self::Parquet(ParquetError::External(inner)),
            },
            other => Self::Parquet(other),
        }
    }
}
