use std::sync::Arc;

#[path = "../../../tests/support/history_rows.rs"]
#[allow(dead_code, reason = "the tests of the whole system use the rest")]
mod by_hand;

pub(crate) use by_hand::{Row as TestRow, Value, batch, text};

use super::*;

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
