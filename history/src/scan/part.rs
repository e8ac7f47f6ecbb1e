//! One file: its footer, which of its rows may be wanted, and those rows batch after batch.
//!
//! Nothing of a file is in memory but its footer and the wanted pages of the row group at hand. The footer's statistics
//! leave out row groups, the page index pages, and what is left is decided on the columns that the filter names, before
//! any other column is read.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowPredicate, ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, RowFilter, RowGroupSelection,
    RowSelection, RowSelector,
};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataPushDecoder, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::wanted::{Equals, Span, Wanted, in_span};
use crate::reader::History;
use crate::store::FileEntry;

/// Bytes at a file's end that are read at once: a footer of a day's file is in them.
const FOOTER_BYTES: u64 = 64 << 10;

/// Why a file gave no more rows.
#[derive(Debug)]
pub(super) enum PartError {
    /// It is not what it was when it was written.
    Damaged(String),
    /// It could not be fetched.
    Away(object_store::Error),
}

/// A file whose footer was read.
pub(super) struct Part {
    entry: Arc<FileEntry>,
    metadata: ArrowReaderMetadata,
    /// Leaf of the time.
    time: usize,
}

/// Times and number of the rows of a row group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupTimes {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) rows: u64,
}

/// The wanted rows of a file.
pub(super) struct PartRows {
    entry: Arc<FileEntry>,
    decoder: ParquetPushDecoder,
}

impl From<ParquetError> for PartError {
    fn from(error: ParquetError) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl Part {
    /// Reads the footer.
    pub(super) fn open(
        history: &History,
        objects: &Arc<dyn ObjectStore>,
        entry: &Arc<FileEntry>,
    ) -> Result<Self, PartError> {
        let footer = entry.bytes.saturating_sub(FOOTER_BYTES)..entry.bytes;
        let mut decoder = ParquetMetaDataPushDecoder::try_new(entry.bytes)?;
        let mut wanted = vec![footer];
        let metadata = loop {
            let data = fetch(history, objects, entry, &wanted)?;
            decoder.push_ranges(wanted, data)?;
            match decoder.try_decode()? {
                DecodeResult::NeedsData(ranges) => wanted = ranges,
                DecodeResult::Data(metadata) => break metadata,
                DecodeResult::Finished => return Err(PartError::Damaged("footer without an end".to_owned())),
            }
        };
        let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())?;
        let time = leaf(&metadata, "time").ok_or_else(|| PartError::Damaged("no column time".to_owned()))?;
        Ok(Self { entry: entry.clone(), metadata, time })
    }

    /// The file.
    pub(super) fn entry(&self) -> &Arc<FileEntry> {
        &self.entry
    }

    /// The times of its row groups. One without statistics may have any.
    pub(super) fn times(&self) -> impl Iterator<Item = GroupTimes> + '_ {
        self.file().row_groups().iter().map(|group| group_times(group, self.time))
    }

    /// Its wanted rows in `span`, as they lie; `None`: it has none, as far as its footer says.
    pub(super) fn rows(
        self,
        wanted: &Wanted,
        span: Span,
        batch_rows: usize,
    ) -> Result<Option<PartRows>, PartError> {
        let mut is_cut = false;
        let mut selections = Vec::new();
        for (index, group) in self.file().row_groups().iter().enumerate() {
            let times = group_times(group, self.time);
            if !span.meets(times.first, times.last) || self.is_without(group, wanted) {
                continue;
            }
            let is_inside = span.holds(times.first, times.last);
            is_cut |= !is_inside;
            let pages = if is_inside { None } else { self.pages(index, span) };
            selections.push(RowGroupSelection::new(index, pages));
        }
        if selections.is_empty() {
            return Ok(None);
        }
        let names = wanted.columns.iter().map(|column| column.name);
        let leaves: Vec<usize> = names.filter_map(|name| leaf(&self.metadata, name)).collect();
        let mut predicates = Vec::new();
        for equals in &wanted.equals {
            // A column that an older file has not is null, which equals nothing.
            let Some(leaf) = leaf(&self.metadata, equals.column.name) else { return Ok(None) };
            predicates.push(self.text_is(leaf, equals.clone()));
        }
        if is_cut {
            predicates.push(self.time_in(span));
        }
        let mask = ProjectionMask::leaves(self.file().file_metadata().schema_descr(), leaves);
        let decoder = ParquetPushDecoderBuilder::new_with_metadata(self.metadata)
            .with_batch_size(batch_rows)
            .with_projection(mask)
            .with_row_group_selections(selections)
            .with_row_filter(RowFilter::new(predicates))
            .build()?;
        Ok(Some(PartRows { entry: self.entry, decoder }))
    }

    fn file(&self) -> &Arc<ParquetMetaData> {
        self.metadata.metadata()
    }

    /// Whether statistics say that no row of the group has a text that is asked for.
    fn is_without(&self, group: &RowGroupMetaData, wanted: &Wanted) -> bool {
        wanted.equals.iter().any(|equals| {
            let Some(leaf) = leaf(&self.metadata, equals.column.name) else { return true };
            let Some(Statistics::ByteArray(texts)) = group.column(leaf).statistics() else { return false };
            let text = equals.text.as_bytes();
            // A shortened minimum is not above the true one, a shortened maximum not below.
            texts.min_bytes_opt().is_some_and(|min| text < min)
                || texts.max_bytes_opt().is_some_and(|max| text > max)
        })
    }

    /// Which pages of a row group may have times in `span`; `None`: all, or it is not known.
    fn pages(&self, group: usize, span: Span) -> Option<RowSelection> {
        let (file, arrow) = (self.file(), self.metadata.schema());
        let index = file.page_index()?.as_ref();
        let converter = StatisticsConverter::try_new("time", arrow, self.metadata.parquet_schema()).ok()?;
        let groups = [group];
        let first = converter.data_page_mins(index, &groups).ok()?;
        let last = converter.data_page_maxes(index, &groups).ok()?;
        let rows = converter.data_page_row_counts(index, file.row_groups(), &groups).ok()??;
        let first = first.as_primitive_opt::<TimestampMicrosecondType>()?;
        let last = last.as_primitive_opt::<TimestampMicrosecondType>()?;
        if rows.null_count() > 0 || rows.len() != first.len() || rows.len() != last.len() {
            return None;
        }
        let selectors = (0..rows.len()).map(|page| {
            let is_known = first.is_valid(page) && last.is_valid(page);
            let row_count = usize::try_from(rows.value(page)).unwrap_or(usize::MAX);
            if !is_known || span.meets(first.value(page), last.value(page)) {
                RowSelector::select(row_count)
            } else {
                RowSelector::skip(row_count)
            }
        });
        Some(selectors.collect::<Vec<_>>().into())
    }

    fn text_is(&self, leaf: usize, equals: Equals) -> Box<dyn ArrowPredicate> {
        let matches = move |batch: RecordBatch| equals.matches(batch.column(0));
        Box::new(ArrowPredicateFn::new(self.only(leaf), matches))
    }

    fn time_in(&self, span: Span) -> Box<dyn ArrowPredicate> {
        let matches = move |batch: RecordBatch| Ok(in_span(batch.column(0), span));
        Box::new(ArrowPredicateFn::new(self.only(self.time), matches))
    }

    fn only(&self, leaf: usize) -> ProjectionMask {
        ProjectionMask::leaves(self.file().file_metadata().schema_descr(), [leaf])
    }
}

impl PartRows {
    /// The next batch, as `wanted` has columns.
    pub(super) fn next(
        &mut self,
        history: &History,
        objects: &Arc<dyn ObjectStore>,
        wanted: &Wanted,
    ) -> Result<Option<RecordBatch>, PartError> {
        loop {
            match self.decoder.try_decode()? {
                DecodeResult::Finished => return Ok(None),
                DecodeResult::Data(batch) if batch.num_rows() == 0 => {}
                DecodeResult::Data(batch) => {
                    let rows = wanted.rows(&self.entry.partition.team, &batch);
                    return rows.map(Some).map_err(|error| PartError::Damaged(error.to_string()));
                }
                DecodeResult::NeedsData(ranges) => {
                    let data = fetch(history, objects, &self.entry, &ranges)?;
                    self.decoder.push_ranges(ranges, data)?;
                }
            }
        }
    }

    /// Whose rows these are.
    pub(super) fn entry(&self) -> &Arc<FileEntry> {
        &self.entry
    }
}

fn leaf(metadata: &ArrowReaderMetadata, name: &str) -> Option<usize> {
    metadata.parquet_schema().columns().iter().position(|column| column.name() == name)
}

fn group_times(group: &RowGroupMetaData, time: usize) -> GroupTimes {
    let rows = u64::try_from(group.num_rows()).unwrap_or(0);
    let (first, last) = match group.column(time).statistics() {
        Some(Statistics::Int64(times)) => {
            (times.min_opt().copied().unwrap_or(i64::MIN), times.max_opt().copied().unwrap_or(i64::MAX))
        }
        _ => (i64::MIN, i64::MAX),
    };
    GroupTimes { first, last, rows }
}

fn fetch(
    history: &History,
    objects: &Arc<dyn ObjectStore>,
    entry: &FileEntry,
    ranges: &[Range<u64>],
) -> Result<Vec<Bytes>, PartError> {
    if let Some(past) = ranges.iter().find(|range| range.end > entry.bytes || range.start > range.end) {
        return Err(PartError::Damaged(format!("its footer points to {past:?} of {} bytes", entry.bytes)));
    }
    history.wait(objects.get_ranges(&entry.path, ranges)).map_err(|error| {
        match history.wait(objects.head(&entry.path)) {
            Ok(found) if found.size != entry.bytes => {
                PartError::Damaged(format!("it has {} bytes and had {}", found.size, entry.bytes))
            }
            Err(object_store::Error::NotFound { .. }) => PartError::Damaged("it is gone".to_owned()),
            _ => PartError::Away(error),
        }
    })
}
