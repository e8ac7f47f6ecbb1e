use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, Int64Array};
use arrow_schema::Schema;
use arrow_select::concat::concat_batches;
use journal::Position;
use journal::stream::StreamItem;
use muster::ids::StreamKey;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::PageIndexPolicy;
use proptest::prelude::*;

use super::*;
use crate::fold::tests::random::{batch, item, key, tame_event};
use crate::fold::tests::{column, fold};
use crate::partition::Partition;

const RANGE: JournalRange = JournalRange { after: Position(4), to: Position(9) };

fn items(seed: u64, key: StreamKey, first_seq: u64, events: usize) -> Vec<StreamItem> {
    let mut random = fastrand::Rng::with_seed(seed);
    let events = std::iter::repeat_with(|| tame_event(&mut random)).take(events).collect();
    vec![item(1, key, &batch(first_seq, events))]
}

/// The rows of one folder a data set: whatever day they are of.
fn rows(seed: u64, agent: u8, first_seq: u64, events: usize) -> BTreeMap<DataSet, RecordBatch> {
    let folders = fold(&items(seed, key("a", agent, 1), first_seq, events));
    let mut first = BTreeMap::new();
    for (Partition { data_set, .. }, batch) in folders {
        first.entry(data_set).or_insert(batch);
    }
    first
}

fn all(batches: impl Iterator<Item = Result<RecordBatch, FileError>>) -> RecordBatch {
    let batches: Vec<_> = batches.collect::<Result<_, _>>().unwrap();
    concat_batches(batches[0].schema_ref(), &batches).unwrap()
}

fn assert_same(a: &RecordBatch, b: &RecordBatch) {
    assert_eq!(a.num_rows(), b.num_rows());
    for field in a.schema().fields() {
        assert_eq!(column(a, field.name()), column(b, field.name()), "{}", field.name());
    }
}

#[test]
fn a_file_reads_back_as_it_was_written_and_the_same_rows_give_the_same_bytes() {
    for (data_set, rows) in rows(1, 1, 1, 1000) {
        let bytes = encode(data_set, [rows.clone()], RANGE).unwrap();
        assert_eq!(bytes, encode(data_set, [rows.clone()], RANGE).unwrap(), "{data_set}");
        let middle = rows.num_rows() / 2;
        let in_parts = [rows.slice(0, middle), rows.slice(middle, rows.num_rows() - middle)];
        assert_eq!(all(read(data_set, encode(data_set, in_parts, RANGE).unwrap()).unwrap()), rows);
        assert_same(&all(read(data_set, bytes).unwrap()), &rows);
    }
}

#[test]
fn a_file_says_what_it_is_and_how_it_is_sorted() {
    let rows = rows(2, 1, 1, 500).remove(&DataSet::Runs).unwrap();
    let bytes = encode(DataSet::Runs, [rows], RANGE).unwrap();
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    let metadata = ArrowReaderMetadata::load(&bytes, options).unwrap();
    let file = metadata.metadata().file_metadata();
    assert!(file.created_by().is_some_and(|by| by.starts_with("muster version ")), "{:?}", file.created_by());
    let said: BTreeMap<_, _> = file
        .key_value_metadata()
        .unwrap()
        .iter()
        .filter(|pair| pair.key.starts_with("muster."))
        .map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap()))
        .collect();
    let expected = [
        ("muster.schema_version", "1"),
        ("muster.data_set", "runs"),
        ("muster.journal_after", "4"),
        ("muster.journal_to", "9"),
    ];
    assert_eq!(said, BTreeMap::from(expected));
    let group = metadata.metadata().row_group(0);
    let sorted_by: Vec<_> = group.sorting_columns().unwrap().iter().map(|column| column.column_idx).collect();
    assert_eq!(sorted_by, [0, 1, 2, 3]);
    assert!(group.columns().iter().all(|column| column.statistics().is_some()));
    assert!(metadata.metadata().page_index().is_some());
}

#[test]
fn a_file_of_pieces_is_as_one_of_the_whole() {
    let rows = rows(2, 1, 1, 3000).remove(&DataSet::Samples).unwrap();
    let times = 2 * PIECE_ROWS / rows.num_rows() + 1;
    let rows = concat_batches(&rows.schema(), std::iter::repeat_n(&rows, times)).unwrap();
    assert_eq!(pieces(&rows).count(), 3);
    let whole = encode(DataSet::Samples, [rows.clone()], RANGE).unwrap();
    let in_pieces = encode(DataSet::Samples, pieces(&rows), RANGE).unwrap();
    println!("{} bytes, in pieces {}", whole.len(), in_pieces.len());
    assert_eq!(all(read(DataSet::Samples, in_pieces.clone()).unwrap()), rows);
    assert!(in_pieces.len() * 100 <= whole.len() * 101, "{} bytes, whole {}", in_pieces.len(), whole.len());
}

#[test]
fn a_long_file_is_in_row_groups_that_a_reader_can_skip() {
    let rows = rows(2, 1, 1, 3000).remove(&DataSet::Samples).unwrap();
    let times = ROW_GROUP_ROWS_MAX / rows.num_rows() + 1;
    let bytes = encode(DataSet::Samples, std::iter::repeat_n(rows.clone(), times), RANGE).unwrap();
    let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).unwrap();
    let groups: Vec<_> = metadata.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [ROW_GROUP_ROWS_MAX as i64, (rows.num_rows() * times - ROW_GROUP_ROWS_MAX) as i64]);
}

#[test]
fn a_file_without_a_column_has_null_there_and_one_that_is_not_known_is_left_out() {
    let rows = rows(3, 1, 1, 200).remove(&DataSet::Runs).unwrap();
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    let model = DataSet::Runs.column_index("model").unwrap();
    fields.remove(model);
    columns.remove(model);
    fields.push(std::sync::Arc::new(arrow_schema::Field::new("future", arrow_schema::DataType::Int64, true)));
    columns.push(std::sync::Arc::new(Int64Array::from(vec![1; rows.num_rows()])));
    let tool = DataSet::Runs.column_index("tool").unwrap();
    let plain = arrow_cast::cast(&columns[tool], &arrow_schema::DataType::LargeUtf8).unwrap();
    fields[tool] =
        std::sync::Arc::new(fields[tool].as_ref().clone().with_data_type(plain.data_type().clone()));
    columns[tool] = plain;
    let other = RecordBatch::try_new(std::sync::Arc::new(Schema::new(fields)), columns).unwrap();

    let adapted = adapt(other.clone(), DataSet::Runs).unwrap();
    assert_eq!(adapted.schema(), DataSet::Runs.file_schema());
    assert_eq!(adapted.column(model).null_count(), adapted.num_rows());
    assert_eq!(column(&adapted, "tool"), column(&rows, "tool"));

    let without_time = other.project(&[1, 2, 3]).unwrap();
    let error = adapt(without_time, DataSet::Runs).unwrap_err();
    assert_eq!(error.to_string(), "a file of runs has no column time: no version of Muster wrote it");
}

#[test]
fn bytes_that_are_no_file_are_an_error() {
    let rows = rows(4, 1, 1, 300).remove(&DataSet::Events).unwrap();
    let good = encode(DataSet::Events, [rows], RANGE).unwrap();
    for bad in [Bytes::new(), Bytes::from_static(b"PAR1PAR1"), good.slice(..good.len() / 2), good.slice(10..)]
    {
        let result: Result<Vec<_>, _> = read(DataSet::Events, bad).and_then(Iterator::collect);
        assert!(matches!(result, Err(FileError::Parquet(_) | FileError::Arrow(_))), "{result:?}");
    }
}

fn parts(
    rows: &RecordBatch,
    batch_rows: usize,
) -> impl Iterator<Item = Result<RecordBatch, FileError>> + use<> {
    let (rows, count) = (rows.clone(), rows.num_rows());
    (0..count).step_by(batch_rows).map(move |from| Ok(rows.slice(from, batch_rows.min(count - from))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_merge_of_folds_is_the_fold_of_all_records(seed: u64, batch_rows in 1_usize..200) {
        let keys = [key("a", 1, 1), key("a", 2, 1), key("a", 1, 2)];
        let records: Vec<_> =
            keys.into_iter().enumerate().flat_map(|(n, key)| items(seed ^ n as u64, key, 1, 150)).collect();
        let whole = fold(&records);
        let folds: Vec<_> = records.iter().map(|item| fold(std::slice::from_ref(item))).collect();
        for (partition, whole) in &whole {
            let inputs = folds.iter().filter_map(|fold| fold.get(partition)).map(|rows| {
                let time_us_min = Some(rows.column(0).as_primitive::<TimestampMicrosecondType>().value(0));
                MergeInput { time_us_min: time_us_min.filter(|_| seed % 2 == 0), batches: parts(rows, batch_rows) }
            });
            assert_same(&all(merge(inputs.collect())), whole);
        }
    }
}

#[test]
fn an_input_is_opened_when_its_time_has_come() {
    let early = rows(5, 1, 1, 400).remove(&DataSet::Runs).unwrap();
    let times = early.column(0).as_primitive::<TimestampMicrosecondType>();
    let last = times.value(early.num_rows() - 1);
    let opened = std::cell::Cell::new(false);
    let late = std::iter::once_with(|| {
        opened.set(true);
        Ok::<_, FileError>(early.slice(early.num_rows() - 1, 1))
    });
    let boxed: Vec<MergeInput<Box<dyn Iterator<Item = _>>>> = vec![
        MergeInput { time_us_min: Some(last), batches: Box::new(late) },
        MergeInput {
            time_us_min: None,
            batches: Box::new(parts(&early, 1).inspect(|_| assert!(!opened.get()))),
        },
    ];
    let merged = all(merge(boxed));
    assert!(opened.get());
    assert_eq!(merged.num_rows(), early.num_rows() + 1);
}

#[test]
fn a_merge_ends_with_the_first_error() {
    let rows = rows(6, 1, 1, 100).remove(&DataSet::Runs).unwrap();
    let no_column = || FileError::NoColumn { data_set: DataSet::Runs, column: "time" };
    let broken = parts(&rows, 10).take(2).chain([Err(no_column())]).chain(parts(&rows, 10));
    let results: Vec<_> = merge(vec![MergeInput::from(broken)]).collect();
    assert!(matches!(results.last(), Some(Err(FileError::NoColumn { .. }))));
    assert!(results.iter().filter(|result| result.is_err()).count() == 1);
}
