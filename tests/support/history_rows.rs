//! Rows as a scan of the history gives them, made by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use history::dataset::{Column, DataSet, Values};
use history::row::columns_of_rows;

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Truth(bool),
}

/// A row by its columns' names. What is not there is null, or 1 or `unknown` in a column that never is.
pub type Row = BTreeMap<&'static str, Value>;

/// A text.
pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A run of a worker.
pub fn run(time_us: i64, worker: &str, status: &str, seq: i64) -> Row {
    Row::from([
        ("time", Value::Integer(time_us)),
        ("team", text("platform")),
        ("agent_id", text("0123456789abcdef0123456789abcdef")),
        ("epoch", text("00000000000000aa")),
        ("seq", Value::Integer(seq)),
        ("tool", text("devloop")),
        ("project", text("api")),
        ("user", text("ada")),
        ("host", text("dev-1")),
        ("worker", text(worker)),
        ("status", text(status)),
        ("duration_us", Value::Integer(1000 + seq)),
    ])
}

/// Rows as batches of at most `size`.
pub fn batches(data_set: DataSet, rows: &[Row], size: usize) -> Vec<RecordBatch> {
    rows.chunks(size).map(|rows| batch(data_set, rows)).collect()
}

/// Rows as one batch.
pub fn batch(data_set: DataSet, rows: &[Row]) -> RecordBatch {
    let arrays = columns_of_rows(data_set).map(|column| array(column, rows)).collect();
    RecordBatch::try_new(data_set.row_schema(), arrays).unwrap()
}

fn array(column: &Column, rows: &[Row]) -> ArrayRef {
    let cells = || rows.iter().map(|row| row.get(column.name));
    let default = (!column.is_nullable).then_some(1);
    let integers = || cells().map(|cell| if let Some(Value::Integer(n)) = cell { Some(*n) } else { default });
    let unknown = (!column.is_nullable).then_some("unknown");
    let texts =
        || cells().map(|cell| if let Some(Value::Text(t)) = cell { Some(t.as_str()) } else { unknown });
    let numbers = || cells().map(|cell| if let Some(Value::Number(n)) = cell { Some(*n) } else { None });
    let truths = || cells().map(|cell| Some(matches!(cell, Some(Value::Truth(true)))));
    match column.values {
        Values::Time => Arc::new(integers().collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Values::Word => {
            let mut words = StringDictionaryBuilder::<Int32Type>::new();
            words.extend(texts());
            Arc::new(words.finish())
        }
        Values::Text => Arc::new(texts().collect::<StringArray>()),
        Values::Integer => Arc::new(integers().collect::<Int64Array>()),
        Values::Number => Arc::new(numbers().collect::<Float64Array>()),
        Values::Truth => Arc::new(truths().collect::<BooleanArray>()),
    }
}
