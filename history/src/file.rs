//! Rows as a Parquet file and back: what a file of the history is, whoever stores it.
//!
//! | property | value |
//! |---|---|
//! | rows | sorted by (time, agent_id, epoch, seq), nulls first; `sorting_columns` says so |
//! | row groups | at most [`ROW_GROUP_ROWS_MAX`] rows, with a page index and statistics of every column |
//! | encodings | dictionaries for words and for numbers that repeat, differences for times and numbers of events |
//! | compression | zstd |
//! | metadata | `muster.schema_version`, `muster.data_set`, `muster.journal_after`, `muster.journal_to` |
//!
//! **The same rows and range give the same bytes**, with the same version of the program. Nothing here does I/O but
//! through the writer it is given; a file is read by [`read`] when it is in memory, or by any Parquet reader.

mod adapt;
mod encode;
mod merge;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

use crate::dataset::DataSet;
use crate::partition::JournalRange;

pub use adapt::adapt;
pub use encode::{Encoder, JOURNAL_AFTER_KEY, JOURNAL_TO_KEY, PAGE_ROWS_MAX, ROW_GROUP_ROWS_MAX};
pub use merge::{BATCH_ROWS, Merge, MergeInput, merge};

/// A multiple of the rows that the encoder takes at once.
const PIECE_ROWS: usize = 16 * 1024;

/// Why a file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Its bytes are no Parquet file, or are damaged, or could not be written.
    #[error("parquet: {0}")]
    Parquet(#[from] ParquetError),
    /// Its rows are not what they must be.
    #[error("rows: {0}")]
    Arrow(#[from] ArrowError),
    /// It has no column that every version of its data set has.
    #[error("a file of {data_set} has no column {column}: no version of Muster wrote it")]
    NoColumn {
        /// What it should hold.
        data_set: DataSet,
        /// The name of what is missing.
        column: &'static str,
    },
}

/// A file of these batches, which are in the data set's file schema and together in the order of the files.
pub fn encode(
    data_set: DataSet,
    batches: impl IntoIterator<Item = RecordBatch>,
    range: JournalRange,
) -> Result<Bytes, FileError> {
    let mut encoder = Encoder::new(data_set, range, Vec::new())?;
    for batch in batches {
        encoder.write(&batch)?;
    }
    Ok(encoder.finish()?.into())
}

/// The rows in pieces, for who has to look at something else now and then. A file of them has its pages elsewhere.
pub fn pieces(rows: &RecordBatch) -> impl Iterator<Item = RecordBatch> + '_ {
    let starts = (0..rows.num_rows()).step_by(PIECE_ROWS);
    starts.map(|start| rows.slice(start, PIECE_ROWS.min(rows.num_rows() - start)))
}

/// How many rows a file that is in memory says it has.
pub fn row_count(bytes: Bytes) -> Result<u64, FileError> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes)?;
    Ok(u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0))
}

/// The rows of a file that is in memory, in today's schema, in the order in which they lie.
pub fn read(
    data_set: DataSet,
    bytes: Bytes,
) -> Result<impl Iterator<Item = Result<RecordBatch, FileError>> + Send, FileError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(BATCH_ROWS).build()?;
    Ok(reader.map(move |batch| adapt(batch?, data_set)))
}

#[cfg(test)]
mod tests;
