mod counters;
pub(crate) mod random;

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use muster::v1::OtlpSignal;
use muster::v1::event::Kind;
use proptest::prelude::*;
use random::{DAY_US, NOW, batch, event, hostile_event, item, key, tame_event};

use super::*;

/// A column's values as texts; null is "-".
pub(crate) fn column(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = batch.column_by_name(name).expect("the batch has the column");
    let text = |row: usize| {
        if column.is_null(row) {
            return "-".to_owned();
        }
        if let Some(words) = column.as_dictionary_opt::<Int32Type>() {
            let key = words.key(row).unwrap();
            return words.values().as_string::<i32>().value(key).to_owned();
        }
        if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
            return times.value(row).to_string();
        }
        match column.as_primitive_opt::<Int64Type>() {
            Some(numbers) => numbers.value(row).to_string(),
            None => arrow_cast::display::array_value_to_string(column, row).unwrap(),
        }
    };
    (0..batch.num_rows()).map(text).collect()
}

pub(crate) fn fold(items: &[StreamItem]) -> BTreeMap<Partition, RecordBatch> {
    let mut fold = Fold::new();
    items.iter().for_each(|item| fold.take(item).unwrap());
    fold.finish()
}

fn of_set(rows: &BTreeMap<Partition, RecordBatch>, set: DataSet) -> Vec<&RecordBatch> {
    rows.iter().filter(|(partition, _)| partition.data_set == set).map(|(_, batch)| batch).collect()
}

fn one(kind: Kind) -> BTreeMap<Partition, RecordBatch> {
    fold(&[item(1, key("a", 1, 1), &batch(1, vec![event(kind)]))])
}

fn run(worker: u32, status: v1::RunStatus) -> Kind {
    Kind::RunFinished(v1::RunFinished { worker, status: status.into(), ..Default::default() })
}

#[test]
fn a_run_says_who_did_what_for_how_long_and_what_is_not_known_is_null() {
    let finished = v1::RunFinished {
        worker: 9,
        status: v1::RunStatus::Success.into(),
        duration_us: Some(0),
        iteration: 3,
        ..Default::default()
    };
    let rows = one(Kind::RunFinished(finished));
    let (partition, rows) = rows.first_key_value().unwrap();
    assert_eq!((partition.data_set, partition.day.to_string().as_str()), (DataSet::Runs, "2026-11-18"));
    let expected = [
        ("agent_id", "01010101010101010101010101010101"),
        ("epoch", "0000000000000001"),
        ("seq", "1"),
        ("weight", "1"),
        ("tool", "devloop"),
        ("project", "shop"),
        ("user", "ada"),
        ("host", "host-1"),
        ("os", "linux"),
        ("repository", "repo"),
        ("branch", "main"),
        ("tool_version", "1.2"),
        ("worker", "linter"),
        ("status", "success"),
        ("duration_us", "0"),
        ("queued_us", "-"),
        ("session", "-"),
        ("iteration", "3"),
        ("model", "-"),
        ("replayed", "false"),
    ];
    for (name, value) in expected {
        assert_eq!(column(rows, name), [value], "{name}");
    }
    assert_eq!(rows.column(0).as_primitive::<TimestampMicrosecondType>().value(0), NOW.0 as i64);
}

#[test]
fn rows_are_sorted_by_time_then_agent_then_number_whatever_order_they_came_in() {
    let at = |delta: i64, worker: u32| v1::Event {
        time_delta_us: delta,
        ..event(run(worker, v1::RunStatus::Success))
    };
    let items = [
        item(1, key("a", 9, 1), &batch(1, vec![at(50, 9), at(-50, 9)])),
        item(2, key("a", 1, 2), &batch(7, vec![at(0, 9), at(0, 9)])),
        item(3, key("a", 1, 1), &batch(100, vec![at(0, 9)])),
    ];
    let rows = fold(&items);
    let rows = rows.values().next().unwrap();
    let agents: Vec<String> = column(rows, "agent_id").iter().map(|id| id[..2].to_owned()).collect();
    assert_eq!(agents, ["01", "01", "01", "09", "09"]);
    assert_eq!(column(rows, "seq"), ["100", "7", "8", "2", "1"]);
}

#[test]
fn teams_and_days_lie_apart_and_a_time_that_cannot_be_true_lies_among_the_undated() {
    let mut before =
        batch(1, vec![event(run(9, v1::RunStatus::Success)), event(run(9, v1::RunStatus::Error))]);
    before.base_time_us = NOW.0 - DAY_US;
    before.events[1].time_delta_us = i64::MAX;
    let rows = fold(&[
        item(1, key("a", 1, 1), &before),
        item(2, key("b", 1, 1), &batch(1, vec![event(run(9, v1::RunStatus::Success))])),
    ]);
    let folders: Vec<String> = rows.keys().map(|p| format!("{}/{}", p.team, p.day)).collect();
    assert_eq!(folders, ["a/2026-11-17", "a/__HIVE_DEFAULT_PARTITION__", "b/2026-11-18"]);
    let undated = rows.values().nth(1).unwrap();
    assert_eq!(column(undated, "time"), [TIME_US_MAX.to_string()]);
}

#[test]
fn a_finding_counts_once_when_its_count_is_not_said_and_a_sum_of_lines_may_be_nothing() {
    let finding = v1::Finding { severity: 2, change: 1, count: 0, ..Default::default() };
    let rows = one(Kind::Finding(finding));
    let rows = rows.values().next().unwrap();
    assert_eq!((&column(rows, "count")[0][..], &column(rows, "severity")[0][..]), ("1", "high"));
    let rows = one(Kind::LinesRecorded(v1::LinesRecorded { count: 0 }));
    assert_eq!(column(rows.values().next().unwrap(), "count"), ["0"]);
}

#[test]
fn a_weight_is_kept_so_that_sampled_rows_stand_for_what_was_not_sent() {
    let sampled = v1::Event { weight: 20, ..event(run(9, v1::RunStatus::Success)) };
    let rows = fold(&[item(1, key("a", 1, 1), &batch(1, vec![sampled]))]);
    assert_eq!(column(rows.values().next().unwrap(), "weight"), ["20"]);
}

#[test]
fn what_no_column_can_say_is_said_as_near_as_it_can() {
    let usage = v1::Usage {
        input_tokens: u64::MAX,
        reported_cost_microusd: Some(-1),
        computed_cost_microusd: Some(5),
        model: 9_999,
        ..Default::default()
    };
    let rows = one(Kind::Usage(usage));
    let rows = rows.values().next().unwrap();
    assert_eq!(column(rows, "input_tokens"), [i64::MAX.to_string()]);
    assert_eq!(column(rows, "reported_cost_microusd"), ["-"]);
    assert_eq!(column(rows, "computed_cost_microusd"), ["5"]);
    assert_eq!(column(rows, "model"), ["-"]);
    let rows = one(Kind::CostTotal(v1::CostTotal { cost_usd: f64::NAN }));
    assert_eq!(column(rows.values().next().unwrap(), "value"), ["-"]);
    let session = v1::SessionState { started_time_us: Some(u64::MAX), ..Default::default() };
    let rows = one(Kind::SessionState(session));
    assert_eq!(column(rows.values().next().unwrap(), "started_time"), ["-"]);
}

#[test]
fn a_state_of_a_tool_is_a_sample_for_each_of_its_readings() {
    let state = v1::ToolState { status: 2, iteration: 7, phase: 9, ..Default::default() };
    let rows = one(Kind::ToolState(state));
    let rows = rows.values().next().unwrap();
    assert_eq!(
        column(rows, "name"),
        ["session_status", "sessions_live", "session_iteration", "session_phase"]
    );
    assert_eq!(column(rows, "value"), ["1.0", "0.0", "7.0", "-"]);
    assert_eq!(column(rows, "text"), ["running", "-", "-", "linter"]);
    assert_eq!(column(rows, "seq"), ["1", "1", "1", "1"]);
}

#[test]
fn a_log_event_keeps_its_attributes_as_json_within_a_bound() {
    use v1::attribute::Value;
    let attribute = |key, value| v1::Attribute { key, value: Some(value) };
    let record = |attributes| Kind::LogRecord(v1::LogRecord { name: 9, attributes, ..Default::default() });
    let rows = one(record(vec![
        attribute(1, Value::Text(2)),
        attribute(1, Value::Integer(1)),
        attribute(3, Value::Number(f64::NAN)),
        attribute(4, Value::Truth(true)),
    ]));
    let json = r#"{"devloop":"shop","ada":null,"host-1":true}"#;
    assert_eq!(column(rows.values().next().unwrap(), "attributes"), [json]);

    let mut long =
        batch(1, vec![event(record((0..40).map(|key| attribute(key + 1, Value::Text(0))).collect()))]);
    long.strings.extend((0..100).map(|number| format!("{number}{}", "k".repeat(4000))));
    let Some(Kind::LogRecord(record)) = &mut long.events[0].kind else { unreachable!() };
    record.attributes = (12..40).map(|key| attribute(key, Value::Text(key))).collect();
    let rows = fold(&[item(1, key("a", 1, 1), &long)]);
    let attributes = &column(rows.values().next().unwrap(), "attributes")[0];
    assert!(
        attributes.len() < 17_000 && attributes.ends_with(r#","muster.cut":true}"#),
        "{}",
        attributes.len()
    );
    serde_json::from_str::<serde_json::Value>(attributes).unwrap();
}

#[test]
fn otlp_that_came_straight_to_the_collector_has_a_row_without_an_agent() {
    let entry = OtlpEntry {
        position: Position(4),
        appended_wall: NOW,
        team: "a".parse().unwrap(),
        signal: OtlpSignal::Traces,
        items: 12,
        bytes: Bytes::new(),
    };
    let rows = fold(&[StreamItem::Otlp(entry)]);
    let rows = rows.values().next().unwrap();
    let cells =
        ["kind", "name", "count", "agent_id", "seq", "project"].map(|name| column(rows, name)[0].clone());
    assert_eq!(cells, ["otlp", "traces", "12", "-", "-", "-"]);
}

#[test]
fn an_event_of_a_newer_agent_has_a_row_too() {
    let unknown = v1::Event { kind: None, ..event(run(9, v1::RunStatus::Success)) };
    let rows = fold(&[item(1, key("a", 1, 1), &batch(1, vec![unknown]))]);
    assert_eq!(column(rows.values().next().unwrap(), "kind"), ["unknown"]);
}

#[test]
fn a_record_that_is_no_batch_is_passed_over_whole_and_the_rows_so_far_stay() {
    let good = item(1, key("a", 1, 1), &batch(1, vec![event(run(9, v1::RunStatus::Success))]));
    let mut outside =
        batch(2, vec![event(run(9, v1::RunStatus::Success)), event(run(9, v1::RunStatus::Error))]);
    outside.events[1].source = 1;
    let mut fold = Fold::new();
    fold.take(&good).unwrap();
    let error = fold.take(&item(2, key("a", 1, 1), &outside)).unwrap_err();
    assert_eq!(error.to_string(), "record 2 of the journal is no batch");
    assert_eq!((fold.row_count(), fold.partitions()), (1, 1));
    assert_eq!(fold.finish().values().next().unwrap().num_rows(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_event_has_its_rows_once_sorted_and_under_its_day(seed: u64, is_hostile: bool) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut items = Vec::new();
        let mut expected = BTreeSet::new();
        for agent in 1..4 {
            let mut seq = 1;
            for position in 0..random.u64(1..4) {
                let count = random.usize(1..60);
                let event = if is_hostile { hostile_event } else { tame_event };
                let events = std::iter::repeat_with(|| event(&mut random)).take(count).collect();
                items.push(item(position, key("a", agent, 1), &batch(seq, events)));
                expected.extend((seq..seq + count as u64).map(|seq| (format!("{agent:02}").repeat(16), seq.to_string())));
                seq += count as u64;
            }
        }
        let mut folding = Fold::new();
        for item in &items {
            folding.take(item).unwrap();
        }
        let (row_count, memory_bytes) = (folding.row_count(), folding.memory_bytes());
        let rows = folding.finish();
        prop_assert_eq!(rows.values().map(|batch| batch.num_rows() as u64).sum::<u64>(), row_count);
        prop_assert!(memory_bytes >= row_count as usize * 24);
        let mut seen = BTreeSet::new();
        for (partition, batch) in &rows {
            prop_assert_eq!(batch.schema(), partition.data_set.file_schema());
            let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            let (agents, seqs) = (column(batch, "agent_id"), batch.column_by_name("seq").unwrap());
            let seqs = seqs.as_primitive::<Int64Type>();
            let keys: Vec<_> = (0..batch.num_rows()).map(|row| (times.value(row), &agents[row], seqs.value(row))).collect();
            prop_assert!(keys.is_sorted());
            if let Day::Utc(day) = partition.day {
                prop_assert!(times.iter().flatten().all(|time| time as u64 / DAY_US == u64::from(day)));
            }
            if partition.data_set != DataSet::Samples {
                prop_assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "an event has two rows");
            }
            seen.extend(keys.into_iter().map(|(_, agent, seq)| (agent.clone(), seq.to_string())));
        }
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn the_same_records_give_the_same_rows(seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let events = std::iter::repeat_with(|| hostile_event(&mut random)).take(200).collect();
        let items = [item(1, key("a", 1, 1), &batch(1, events))];
        prop_assert_eq!(fold(&items), fold(&items));
    }
}

#[test]
fn every_kind_of_event_has_a_row() {
    let mut random = fastrand::Rng::with_seed(7);
    let events: Vec<_> = std::iter::repeat_with(|| tame_event(&mut random)).take(2000).collect();
    let kinds: BTreeSet<_> = events
        .iter()
        .map(|event| std::mem::discriminant(event.kind.as_ref().unwrap()))
        .map(|kind| format!("{kind:?}"))
        .collect();
    assert_eq!(kinds.len(), random::KINDS as usize, "the generator makes all of them");
    let rows = fold(&[item(1, key("a", 1, 1), &batch(1, events))]);
    let kinds: BTreeSet<String> =
        of_set(&rows, DataSet::Events).iter().flat_map(|batch| column(batch, "kind")).collect();
    assert_eq!(kinds.len(), 13, "{kinds:?}");
    let names: BTreeSet<String> =
        of_set(&rows, DataSet::Samples).iter().flat_map(|batch| column(batch, "name")).collect();
    assert_eq!(names.len(), 33, "{names:?}");
}
