//! The formats that have types: a Parquet file and a stream of Arrow's IPC, with the schema of the rows.

use std::io::{self, Read, Write};

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::FormatError;
use super::layout::{CPU_PERCENT, Layout, MEMORY_MB};

/// Rows of a row group: what a Parquet file holds in memory while it is written.
const ROW_GROUP_ROWS_MAX: usize = 65_536;

pub(super) struct ParquetWriter<W: Write + Send> {
    schema: SchemaRef,
    inner: parquet::arrow::ArrowWriter<W>,
}

pub(super) struct ArrowWriter<W: Write> {
    schema: SchemaRef,
    inner: StreamWriter<W>,
}

/// The rows of a stream of Arrow's IPC.
pub struct ArrowRows<R: Read> {
    inner: StreamReader<Watched<R>>,
    is_over: bool,
}

/// Why rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It ended before its end marker, or the connection broke.
    #[error("the rows end in the middle: {0}")]
    Cut(String),
    /// It is no such stream.
    #[error("these are no rows: {0}")]
    NotRows(String),
}

impl<W: Write + Send> ParquetWriter<W> {
    pub(super) fn new(layout: Layout, out: W) -> Result<Self, FormatError> {
        let schema = layout.schema();
        let metadata = schema.metadata().iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
            .set_key_value_metadata(Some(metadata.collect()))
            .set_created_by(concat!("muster ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let inner = parquet::arrow::ArrowWriter::try_new(out, schema.clone(), Some(properties))?;
        Ok(Self { schema, inner })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        Ok(self.inner.write(&projected(&self.schema, batch)?)?)
    }

    pub(super) fn out_mut(&mut self) -> &mut W {
        self.inner.inner_mut()
    }

    pub(super) fn finish(self) -> Result<W, FormatError> {
        let mut out = self.inner.into_inner()?;
        out.flush()?;
        Ok(out)
    }
}

impl<W: Write> ArrowWriter<W> {
    pub(super) fn new(layout: Layout, out: W) -> Result<Self, FormatError> {
        let schema = layout.schema();
        let inner = StreamWriter::try_new(out, &schema)?;
        Ok(Self { schema, inner })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        Ok(self.inner.write(&projected(&self.schema, batch)?)?)
    }

    pub(super) fn out_mut(&mut self) -> &mut W {
        self.inner.get_mut()
    }

    pub(super) fn finish(self) -> Result<W, FormatError> {
        let mut out = self.inner.into_inner()?;
        out.flush()?;
        Ok(out)
    }
}

/// The columns of `schema` in its order. Readings that were not asked for are not known.
fn projected(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, FormatError> {
    let column = |name: &str| -> Result<ArrayRef, ArrowError> {
        match batch.column_by_name(name) {
            Some(array) => Ok(array.clone()),
            None if [CPU_PERCENT, MEMORY_MB].contains(&name) => {
                Ok(new_null_array(&arrow_schema::DataType::Float64, batch.num_rows()))
            }
            None => Err(ArrowError::SchemaError(format!("rows without a column {name:?}"))),
        }
    };
    let columns = schema.fields().iter().map(|field| column(field.name())).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

impl<R: Read> ArrowRows<R> {
    /// Reads the schema.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let input = Watched { input, is_at_end: false };
        let inner = StreamReader::try_new(input, None).map_err(read_error)?;
        Ok(Self { inner, is_over: false })
    }

    /// What the rows have.
    pub fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}

impl<R: Read> Iterator for ArrowRows<R> {
    type Item = Result<RecordBatch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.inner.next() {
            Some(batch) => Some(batch.map_err(read_error)),
            None if self.is_over => None,
            // Arrow takes the end of the input for the end of the rows; their end marker is read before it.
            None if self.inner.get_ref().is_at_end => {
                self.is_over = true;
                Some(Err(ReadError::Cut("their end marker is missing".to_owned())))
            }
            // What stands behind the marker is the end of the answer, with what its reader must know.
            None => {
                self.is_over = true;
                let rest = io::copy(&mut self.inner.get_mut().input, &mut io::sink());
                rest.err().map(|error| Err(ReadError::Cut(error.to_string())))
            }
        }
    }
}

fn read_error(error: ArrowError) -> ReadError {
    match error {
        ArrowError::IoError(words, error) => {
            let words = if words.is_empty() { error.to_string() } else { words };
            ReadError::Cut(words)
        }
        other => ReadError::NotRows(other.to_string()),
    }
}

impl<R: Read> std::fmt::Debug for ArrowRows<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArrowRows").finish_non_exhaustive()
    }
}

/// Knows whether its input has ended.
struct Watched<R> {
    input: R,
    is_at_end: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.is_at_end = count == 0 && !buffer.is_empty();
        Ok(count)
    }
}
