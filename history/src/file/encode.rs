//! How rows are laid down.

use std::io::Write;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{
    DeltaBinaryPackedEncoderOptions, EnabledStatistics, WriterProperties, WriterVersion,
};
use parquet::schema::types::ColumnPath;

use super::FileError;
use crate::dataset::{DATA_SET_KEY, DataSet, SCHEMA_VERSION, SCHEMA_VERSION_KEY, Values};
use crate::partition::JournalRange;

/// Most rows of a row group: what a reader that skips has to read at least, and what a writer keeps in memory.
pub const ROW_GROUP_ROWS_MAX: usize = 131_072;
/// Most rows of a page: what a reader with the page index has to decode at least.
pub const PAGE_ROWS_MAX: usize = 20_000;
/// Key of the last record before the file's range in its metadata.
pub const JOURNAL_AFTER_KEY: &str = "muster.journal_after";
/// Key of the last record of the file's range in its metadata.
pub const JOURNAL_TO_KEY: &str = "muster.journal_to";

/// Above it a few parts in a hundred are gained for twice the time.
const ZSTD_LEVEL: i32 = 9;
/// Values of a block of differences and blocks in it that have a width of their own: the smallest there are, since
/// the numbers of one agent's events are close to each other and those of two are not.
const DIFFERENCES: (usize, usize) = (128, 4);
/// Longest text in the statistics of pages and row groups.
const STATISTICS_BYTES_MAX: usize = 64;
/// What the files are sorted by.
pub(super) const SORTED_BY: [&str; 4] = ["time", "agent_id", "epoch", "seq"];

/// Writes one file, a row group in memory at a time.
pub struct Encoder<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
}

impl<W: Write + Send> Encoder<W> {
    /// A file of `range` on `out`.
    pub fn new(data_set: DataSet, range: JournalRange, out: W) -> Result<Self, FileError> {
        // The schema's own metadata would come twice.
        let schema = Arc::new(Schema::new(data_set.file_schema().fields().clone()));
        let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties(data_set, range)?))?;
        Ok(Self { writer, schema })
    }

    /// Adds rows, which come after those before.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), FileError> {
        let batch = RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec())?;
        Ok(self.writer.write(&batch)?)
    }

    /// Bytes written so far and those still in memory, roughly.
    pub fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Ends the file; gives back what it was written on.
    pub fn finish(self) -> Result<W, FileError> {
        Ok(self.writer.into_inner()?)
    }
}

fn properties(data_set: DataSet, range: JournalRange) -> Result<WriterProperties, FileError> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL)?;
    let differences = DeltaBinaryPackedEncoderOptions::try_new(DIFFERENCES.0, DIFFERENCES.1)?;
    let mut properties = WriterProperties::builder()
        .set_delta_binary_packed_encoder_options(differences)
        .set_created_by(concat!("muster version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(STATISTICS_BYTES_MAX))
        .set_column_index_truncate_length(Some(STATISTICS_BYTES_MAX))
        .set_sorting_columns(Some(sorting_columns(data_set)))
        .set_key_value_metadata(Some(metadata(data_set, range)));
    for column in data_set.columns() {
        let path = ColumnPath::from(column.name);
        properties = match (column.name, column.values) {
            // Hardly two are equal. Other encodings would be smaller yet (BYTE_STREAM_SPLIT), but not every reader
            // knows them for integers.
            ("time" | "seq" | "duration_us" | "queued_us", _) => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            (_, Values::Text) => properties.set_column_dictionary_enabled(path, false),
            _ => properties,
        };
    }
    Ok(properties.build())
}

fn sorting_columns(data_set: DataSet) -> Vec<SortingColumn> {
    SORTED_BY
        .iter()
        .filter_map(|name| data_set.column_index(name))
        .map(|index| SortingColumn { column_idx: index as i32, descending: false, nulls_first: true })
        .collect()
}

fn metadata(data_set: DataSet, range: JournalRange) -> Vec<KeyValue> {
    [
        (SCHEMA_VERSION_KEY, SCHEMA_VERSION.to_string()),
        (DATA_SET_KEY, data_set.name().to_owned()),
        (JOURNAL_AFTER_KEY, range.after.0.to_string()),
        (JOURNAL_TO_KEY, range.to.0.to_string()),
    ]
    .map(|(key, value)| KeyValue::new(key.to_owned(), value))
    .to_vec()
}
