//! Every format is read back here by a reader that shares nothing with its writer; tests/telemetry.rs has others read them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::DataType;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const WORDS: [&str; 12] = [
    "linter",
    "a,b",
    "say \"hi\"",
    "two\r\nlines",
    "",
    " padded ",
    "naïve 🎉",
    "\u{0}\u{7f}\u{2028}",
    "null",
    "=1+1",
    "\\",
    "'",
];
const NUMBERS: [f64; 9] = [0.0, -0.0, 1.5, 12.25, 1e300, 1e-300, f64::NAN, f64::INFINITY, 0.1 + 0.2];

/// Rows of a data set, with its readings if there are any, from a seed.
fn rows(data_set: DataSet, row_count: usize, seed: u64) -> RecordBatch {
    let mut random = fastrand::Rng::with_seed(seed);
    let schema = Layout { data_set, detail: Detail::Full }.schema();
    let column = |data_type: &DataType, is_nullable: bool| -> ArrayRef {
        let mut some = |value: usize| (!is_nullable || random.u8(..) > 50).then_some(value);
        let picks: Vec<Option<usize>> = (0..row_count).map(&mut some).collect();
        let mut integer = |_| random.i64(..) >> random.u32(0..63);
        match data_type {
            DataType::Timestamp(..) => {
                let times = picks.iter().map(|pick| pick.map(|_| integer(0) % 4_000_000_000_000_000));
                let array: TimestampMicrosecondArray = times.collect();
                Arc::new(array.with_timezone("UTC"))
            }
            DataType::Dictionary(..) => {
                let words: DictionaryArray<Int32Type> = picks
                    .iter()
                    .map(|pick| pick.map(|_| WORDS[integer(0).rem_euclid(12) as usize]))
                    .collect();
                Arc::new(words)
            }
            DataType::Utf8 => {
                let texts = picks.iter().map(|pick| pick.map(|_| WORDS[integer(0).rem_euclid(12) as usize]));
                Arc::new(texts.collect::<StringArray>())
            }
            DataType::Int64 => {
                Arc::new(picks.iter().map(|pick| pick.map(&mut integer)).collect::<Int64Array>())
            }
            DataType::Float64 => {
                let numbers =
                    picks.iter().map(|pick| pick.map(|_| NUMBERS[integer(0).rem_euclid(9) as usize]));
                Arc::new(numbers.collect::<Float64Array>())
            }
            DataType::Boolean => {
                Arc::new(picks.iter().map(|pick| pick.map(|_| integer(0) & 1 == 0)).collect::<BooleanArray>())
            }
            other => panic!("{other}"),
        }
    };
    let mut column = column;
    let columns: Vec<ArrayRef> =
        schema.fields().iter().map(|field| column(field.data_type(), field.is_nullable())).collect();
    RecordBatch::try_new(schema, columns).expect("as the schema has it")
}

fn written(format: Format, layout: Layout, batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = RowWriter::new(format, layout, Vec::new()).expect("begins");
    for batch in batches {
        writer.write(batch).expect("is written");
    }
    assert_eq!(writer.row_count(), batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>());
    writer.finish().expect("ends")
}

/// RFC 4180, by its grammar: records of fields; `None` is an empty field without quotes.
fn read_csv(text: &str) -> Vec<Vec<Option<String>>> {
    let (mut records, mut record, mut rest) = (Vec::new(), Vec::new(), text);
    while !rest.is_empty() {
        if let Some(mut quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            loop {
                let (inside, after) = quoted.split_once('"').expect("a closing quote");
                field.push_str(inside);
                match after.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        quoted = more;
                    }
                    None => {
                        rest = after;
                        break;
                    }
                }
            }
            record.push(Some(field));
        } else {
            let end = rest.find([',', '\r']).expect("a field ends");
            let field = &rest[..end];
            assert!(!field.contains(['"', '\n']), "{field:?} is not quoted");
            record.push((!field.is_empty()).then(|| field.to_owned()));
            rest = &rest[end..];
        }
        if let Some(after) = rest.strip_prefix("\r\n") {
            records.push(std::mem::take(&mut record));
            rest = after;
        } else {
            rest = rest.strip_prefix(',').expect("a comma or the end of the line");
        }
    }
    assert!(record.is_empty(), "the last line has an end");
    records
}

/// What a cell must say, from Arrow's values; texts as they are.
fn expected(batch: &RecordBatch, from: &str, is_milliseconds: bool, row: usize) -> Option<Told> {
    let array = batch.column_by_name(from)?;
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Timestamp(..) => {
            let us = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let time = jiff::Timestamp::from_microsecond(us).expect("a time");
            Told::Text(time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        }
        DataType::Dictionary(..) => {
            let words = array.as_dictionary::<Int32Type>();
            let words = words.downcast_dict::<StringArray>().expect("texts");
            Told::Text(words.into_iter().nth(row).flatten().expect("valid").to_owned())
        }
        DataType::Utf8 => Told::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Int64 if is_milliseconds => {
            Told::Microseconds(array.as_primitive::<Int64Type>().value(row))
        }
        DataType::Int64 => Told::Integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => {
            let number = array.as_primitive::<Float64Type>().value(row);
            return number.is_finite().then_some(Told::Number(number));
        }
        DataType::Boolean => Told::Truth(array.as_boolean().value(row)),
        other => panic!("{other}"),
    })
}

#[derive(Debug, PartialEq)]
enum Told {
    Text(String),
    Integer(i64),
    Microseconds(i64),
    Number(f64),
    Truth(bool),
}

impl Told {
    /// Whether the digits of a cell say it.
    fn is_told_by(&self, text: &str) -> bool {
        match self {
            Told::Text(own) => own == text,
            Told::Integer(own) => text.parse() == Ok(*own),
            Told::Microseconds(own) => microseconds(text) == i128::from(*own),
            Told::Number(own) => text.parse() == Ok(*own),
            Told::Truth(own) => text.parse() == Ok(*own),
        }
    }
}

/// Decimal milliseconds, exactly.
fn microseconds(text: &str) -> i128 {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    assert!(rest.len() <= 3 && !rest.ends_with('0'), "{text}");
    sign * format!("{whole}{rest:0<3}").parse::<i128>().expect("digits")
}

fn layouts() -> impl Strategy<Value = Layout> {
    (0..5_usize, any::<bool>()).prop_map(|(set, is_full)| Layout {
        data_set: DataSet::ALL[set],
        detail: if is_full { Detail::Full } else { Detail::Guide },
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn csv_says_every_cell_whatever_stands_in_it(layout in layouts(), counts in prop::collection::vec(0..9_usize, 0..4), seed: u64) {
        let batches: Vec<_> = counts.iter().zip(seed..).map(|(count, seed)| rows(layout.data_set, *count, seed)).collect();
        let text = String::from_utf8(written(Format::Csv, layout, &batches)).expect("text");
        let mut records = read_csv(&text).into_iter();
        let shown = layout.shown();
        let header: Vec<_> = records.next().expect("a header").into_iter().flatten().collect();
        prop_assert_eq!(header, shown.iter().map(|column| column.name.to_owned()).collect::<Vec<_>>());
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let record = records.next().expect("a record a row");
                prop_assert_eq!(record.len(), shown.len());
                for (column, cell) in shown.iter().zip(record) {
                    let is_milliseconds = column.content == layout::Content::Milliseconds;
                    match (expected(batch, column.from, is_milliseconds, row), cell) {
                        (None, None) => {}
                        (Some(told), Some(cell)) => prop_assert!(told.is_told_by(&cell), "{told:?}: {cell:?}"),
                        (told, cell) => prop_assert!(false, "{}: {told:?} is {cell:?}", column.name),
                    }
                }
            }
        }
        prop_assert!(records.next().is_none());
    }

    #[test]
    fn json_and_ndjson_have_the_same_objects_and_every_key(layout in layouts(), counts in prop::collection::vec(0..9_usize, 0..4), seed: u64) {
        let batches: Vec<_> = counts.iter().zip(seed..).map(|(count, seed)| rows(layout.data_set, *count, seed)).collect();
        let array: Vec<Value> = serde_json::from_slice(&written(Format::Json, layout, &batches)).expect("JSON");
        let lines = String::from_utf8(written(Format::Ndjson, layout, &batches)).expect("text");
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        prop_assert_eq!(&array, &lines);
        let all = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
        let shown = layout.shown();
        prop_assert_eq!(array.len(), all.clone().count());
        for ((batch, row), object) in all.zip(array) {
            let object = object.as_object().expect("an object").clone();
            prop_assert_eq!(object.len(), shown.len());
            for column in &shown {
                let is_milliseconds = column.content == layout::Content::Milliseconds;
                match (expected(batch, column.from, is_milliseconds, row), &object[column.name]) {
                    (None, Value::Null) => {}
                    (Some(Told::Text(own)), Value::String(text)) => prop_assert_eq!(&own, text),
                    (Some(Told::Truth(own)), Value::Bool(truth)) => prop_assert_eq!(own, *truth),
                    (Some(Told::Integer(own)), Value::Number(number)) => prop_assert_eq!(Some(own), number.as_i64()),
                    // A reader has doubles here; the exact digits are tested with CSV, which has the same.
                    (Some(Told::Microseconds(own)), Value::Number(number)) => {
                        let (own, read) = (own as f64 / 1e3, number.as_f64().expect("a double"));
                        prop_assert!((own - read).abs() <= own.abs() * 1e-12, "{own} {read}");
                    }
                    (Some(Told::Number(own)), Value::Number(number)) => {
                        let read = number.as_f64().expect("a double");
                        prop_assert!((own - read).abs() <= own.abs() * 1e-15, "{own} {read}");
                    }
                    (told, value) => prop_assert!(false, "{}: {told:?} is {value}", column.name),
                }
            }
        }
    }

    #[test]
    fn parquet_and_arrow_give_back_the_rows_they_took(layout in layouts(), counts in prop::collection::vec(0..9_usize, 0..4), seed: u64) {
        let schema = layout.schema();
        let batches: Vec<_> = counts.iter().zip(seed..).map(|(count, seed)| rows(layout.data_set, *count, seed)).collect();
        let all = batches.iter().map(|batch| {
            let columns = schema.fields().iter().map(|field| batch.column_by_name(field.name()).expect("there").clone());
            RecordBatch::try_new(schema.clone(), columns.collect()).expect("fits")
        });
        let all = arrow_select::concat::concat_batches(&schema, &all.collect::<Vec<_>>()).expect("one schema");
        let file = Bytes::from(written(Format::Parquet, layout, &batches));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
        prop_assert_eq!(reader.schema(), &schema);
        let read: Vec<_> = reader.build().expect("reads").map(|batch| batch.expect("a batch")).collect();
        let read = arrow_select::concat::concat_batches(&schema, &read).expect("one schema");
        same(&read, &all)?;
        let stream = written(Format::Arrow, layout, &batches);
        let rows = ArrowRows::new(stream.as_slice()).expect("Arrow");
        prop_assert_eq!(rows.schema(), schema.clone());
        let read: Vec<_> = rows.map(|batch| batch.expect("a batch")).collect();
        let read = arrow_select::concat::concat_batches(&schema, &read).expect("one schema");
        same(&read, &all)?;
        // Wherever it is cut, it is told.
        let cut = fastrand::Rng::with_seed(seed).usize(..stream.len());
        let is_told = match ArrowRows::new(&stream[..cut]) {
            Err(_) => true,
            Ok(mut rows) => rows.any(|batch| batch.is_err()),
        };
        prop_assert!(is_told, "cut at {cut} of {}", stream.len());
    }
}

/// Equal cell by cell; a number that is none is itself.
fn same(read: &RecordBatch, wanted: &RecordBatch) -> Result<(), TestCaseError> {
    prop_assert_eq!(read.num_rows(), wanted.num_rows());
    for field in wanted.schema().fields() {
        for row in 0..wanted.num_rows() {
            let of = |batch: &RecordBatch| expected(batch, field.name(), false, row);
            prop_assert_eq!(of(read), of(wanted), "{} {}", field.name(), row);
        }
    }
    Ok(())
}

#[test]
fn the_guides_header_is_the_guides() {
    let layout = Layout { data_set: DataSet::Runs, detail: Detail::Guide };
    let header = "timestamp,agent,execution_time_ms,status,cpu_percent,memory_mb\r\n";
    assert_eq!(written(Format::Csv, layout, &[]), header.as_bytes());
    let full = written(Format::Csv, Layout { detail: Detail::Full, ..layout }, &[]);
    let wanted = header.replace("\r\n", ",team,agent_id,");
    assert!(full.starts_with(wanted.as_bytes()), "{}", String::from_utf8_lossy(&full));
}

#[test]
fn no_rows_are_a_complete_file_of_each_format() {
    let layout = Layout { data_set: DataSet::Usage, detail: Detail::Full };
    assert_eq!(written(Format::Json, layout, &[]), b"[]\n");
    assert_eq!(written(Format::Ndjson, layout, &[]), b"");
    let file = Bytes::from(written(Format::Parquet, layout, &[]));
    assert_eq!(
        ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").metadata().num_row_groups(),
        0
    );
    let stream = written(Format::Arrow, layout, &[]);
    assert_eq!(ArrowRows::new(stream.as_slice()).expect("Arrow").count(), 0);
}

#[test]
fn readings_that_were_not_asked_for_are_not_known() {
    let batch = rows(DataSet::Runs, 3, 7);
    let bare = batch.project(&(0..batch.num_columns() - 2).collect::<Vec<_>>()).expect("a part");
    let layout = Layout { data_set: DataSet::Runs, detail: Detail::Full };
    for line in
        read_csv(&String::from_utf8(written(Format::Csv, layout, std::slice::from_ref(&bare))).expect("text"))
            .iter()
            .skip(1)
    {
        assert_eq!((&line[4], &line[5]), (&None, &None));
    }
    let stream = written(Format::Arrow, layout, &[bare]);
    let read = ArrowRows::new(stream.as_slice()).expect("Arrow").next().expect("a batch").expect("whole");
    assert_eq!(read.column_by_name(CPU_PERCENT).map(|column| column.null_count()), Some(3));
}

#[test]
fn a_batch_of_another_data_set_is_refused_by_name() {
    let layout = Layout { data_set: DataSet::Usage, detail: Detail::Full };
    for format in Format::ALL {
        let mut writer = RowWriter::new(format, layout, Vec::new()).expect("begins");
        let refused = writer.write(&rows(DataSet::Samples, 1, 1)).expect_err("refused").to_string();
        assert!(refused.contains("without a column"), "{format}: {refused}");
    }
}

#[test]
fn an_output_that_takes_no_more_is_an_error_of_the_output() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let layout = Layout { data_set: DataSet::Runs, detail: Detail::Full };
    for format in Format::ALL {
        let write = || -> Result<(), FormatError> {
            let mut writer = RowWriter::new(format, layout, Full(700))?;
            for seed in 0..100 {
                writer.write(&rows(DataSet::Runs, 1_000, seed))?;
            }
            writer.finish().map(drop)
        };
        match write() {
            Err(FormatError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
            other => panic!("{format}: {other:?}"),
        }
    }
}
