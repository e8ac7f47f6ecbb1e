use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::{ArrayRef, Float64Array, Int64Array, TimestampMicrosecondArray};

use super::*;

/// A cell of a test's row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Truth(bool),
}

/// A row by its columns' names; what is not there is null, or what a column that is never null needs.
pub(crate) type TestRow = BTreeMap<&'static str, Value>;

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A batch as a scan gives it.
pub(crate) fn batch(data_set: DataSet, rows: &[TestRow]) -> RecordBatch {
    let arrays = columns_of_rows(data_set).map(|column| array(column, rows)).collect();
    RecordBatch::try_new(data_set.row_schema(), arrays).expect("rows of the schema")
}

fn array(column: &Column, rows: &[TestRow]) -> ArrayRef {
    let cells = || rows.iter().map(|row| row.get(column.name));
    let integers = || {
        let default = if column.is_nullable { None } else { Some(1) };
        cells().map(move |cell| match cell {
            Some(Value::Integer(integer)) => Some(*integer),
            _ => default,
        })
    };
    let texts = || {
        let default = if column.is_nullable { None } else { Some("unknown") };
        cells().map(move |cell| match cell {
            Some(Value::Text(text)) => Some(text.as_str()),
            _ => default,
        })
    };
    match column.values {
        Values::Time => Arc::new(integers().collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        Values::Word => {
            let mut words = StringDictionaryBuilder::<Int32Type>::new();
            words.extend(texts());
            Arc::new(words.finish())
        }
        Values::Text => Arc::new(texts().collect::<StringArray>()),
        Values::Integer => Arc::new(integers().collect::<Int64Array>()),
        Values::Number => Arc::new(
            cells()
                .map(|cell| if let Some(Value::Number(number)) = cell { Some(*number) } else { None })
                .collect::<Float64Array>(),
        ),
        Values::Truth => Arc::new(
            cells().map(|cell| Some(matches!(cell, Some(Value::Truth(true))))).collect::<BooleanArray>(),
        ),
    }
}

#[test]
fn a_cell_is_what_its_row_has() {
    let row = TestRow::from([
        ("time", Value::Integer(1_795_000_000_000_000)),
        ("team", text("platform")),
        ("worker", text("linter")),
        ("duration_us", Value::Integer(1500)),
        ("replayed", Value::Truth(true)),
        ("project", text("")),
    ]);
    let batch = batch(DataSet::Runs, &[row]);
    let rows = Rows::new(DataSet::Runs, &batch).expect("rows");
    assert_eq!(rows.time_us(0), 1_795_000_000_000_000);
    assert_eq!(rows.named("team", 0), Cell::Text("platform"));
    assert_eq!(rows.named("duration_us", 0), Cell::Integer(1500));
    assert_eq!(rows.named("replayed", 0), Cell::Truth(true));
    assert_eq!(rows.named("queued_us", 0), Cell::Null);
    assert_eq!(rows.named("project", 0), Cell::Null, "an empty text is none");
    assert_eq!(rows.named("nothing", 0), Cell::Null);
    assert_eq!(rows.named("worker", 1), Cell::Null, "a row outside");
}

#[test]
fn a_column_that_was_left_out_reads_as_null_and_one_of_another_type_is_refused() {
    let whole = batch(DataSet::Samples, &[TestRow::from([("value", Value::Number(0.5))])]);
    let projected = whole.project(&[0, 1]).expect("projection");
    let rows = Rows::new(DataSet::Samples, &projected).expect("rows");
    assert_eq!(rows.named("value", 0), Cell::Null);
    // `duration_us` of runs is an integer, in events too; `count` of events is none of runs'.
    let mut schema = arrow_schema::SchemaBuilder::from(whole.schema().as_ref());
    schema.push(arrow_schema::Field::new("duration_us", arrow_schema::DataType::Float64, true));
    let mut columns = whole.columns().to_vec();
    columns.push(whole.column_by_name("value").expect("a double").clone());
    let strange = RecordBatch::try_new(Arc::new(schema.finish()), columns).expect("batch");
    let refused = Rows::new(DataSet::Runs, &strange).expect_err("duration_us is a double");
    assert_eq!(refused.column, "duration_us");
}

#[test]
fn rows_compare_to_keys_as_a_scan_sorts_them() {
    let row = |time: i64, agent: Option<&str>, seq: i64| {
        let mut row = TestRow::from([("time", Value::Integer(time)), ("team", text("t"))]);
        if let Some(agent) = agent {
            row.insert("agent_id", text(agent));
            row.insert("seq", Value::Integer(seq));
        }
        row
    };
    let sorted =
        [row(1, Some("b"), 9), row(2, None, 0), row(2, Some("a"), 3), row(2, Some("a"), 4), row(3, None, 0)];
    let batch = batch(DataSet::Runs, &sorted);
    let rows = Rows::new(DataSet::Runs, &batch).expect("rows");
    for left in 0..rows.len() {
        for right in 0..rows.len() {
            assert_eq!(rows.compare(left, &rows.key(right)), left.cmp(&right), "{left} {right}");
            assert_eq!(rows.key(left).cmp(&rows.key(right)), left.cmp(&right), "{left} {right}");
        }
    }
}

#[test]
fn the_shared_columns_are_where_they_are_looked_for() {
    for set in DataSet::ALL {
        let names: Vec<_> = columns_of_rows(set).map(|column| column.name).collect();
        let looked_for = [TIME, TEAM_PLACE, AGENT_ID, EPOCH, SEQ].map(|place| names[place]);
        assert_eq!(looked_for, ["time", "team", "agent_id", "epoch", "seq"], "{set}");
        let schema = set.row_schema();
        assert!(names.iter().eq(schema.fields().iter().map(|field| field.name())), "{set}");
    }
}
