use std::collections::BTreeMap;

use super::*;
use crate::row::tests::{TestRow, Value as Of, batch, text};

const AT_US: i64 = 1_795_000_000_000_000;

fn add_all(encoder: &mut DatadogEncoder, data_set: DataSet, rows: &[TestRow]) {
    let batch = batch(data_set, rows);
    let rows = Rows::new(data_set, &batch).expect("rows");
    for row in 0..rows.len() {
        encoder.add(&rows, row).expect("few series");
    }
}

fn series(data_set: DataSet, rows: &[TestRow]) -> Vec<Series> {
    let mut encoder = DatadogEncoder::new(data_set);
    add_all(&mut encoder, data_set, rows);
    encoder.take()
}

fn run(time_us: i64, worker: &str, duration_us: i64, weight: i64) -> TestRow {
    TestRow::from([
        ("time", Of::Integer(time_us)),
        ("team", text("platform")),
        ("host", text("Dev-1")),
        ("worker", text(worker)),
        ("status", text("success")),
        ("duration_us", Of::Integer(duration_us)),
        ("weight", Of::Integer(weight)),
    ])
}

/// Values of a metric, by time.
fn points(series: &[Series], metric: &str) -> BTreeMap<i64, f64> {
    let mut points = BTreeMap::new();
    for (at, value) in series.iter().filter(|one| one.metric == metric).flat_map(|one| &one.points) {
        *points.entry(*at).or_default() += value;
    }
    points
}

#[test]
fn runs_of_an_interval_are_added_up_with_their_weight() {
    let rows = [
        run(AT_US, "linter", 1_000_000, 1),
        run(AT_US + 9_999_999, "linter", 3_000_000, 4),
        run(AT_US + 10_000_000, "linter", 500_000, 1),
    ];
    let series = series(DataSet::Runs, &rows);
    let at = AT_US / 1_000_000;
    assert_eq!(points(&series, "muster.runs"), BTreeMap::from([(at, 5.0), (at + 10, 1.0)]));
    assert_eq!(points(&series, "muster.runs.duration_seconds"), BTreeMap::from([(at, 13.0), (at + 10, 0.5)]));
    assert_eq!(
        points(&series, "muster.runs.duration_max_seconds"),
        BTreeMap::from([(at, 3.0), (at + 10, 0.5)])
    );
    assert_eq!(points(&series, "muster.runs.queued_seconds"), BTreeMap::new(), "not known is not 0");
}

#[test]
fn series_are_written_as_both_apis_read_them() {
    let series = series(DataSet::Runs, &[run(AT_US, "linter", 1_500_000, 1)]);
    let of = |metric: &str, api| series.iter().find(|one| one.metric == metric).expect("there").json(api);
    let tags = ["team:platform", "worker:linter", "status:success"];
    let expected = json!({ "metric": "muster.runs", "type": 1, "interval": 10, "tags": tags,
        "points": [{ "timestamp": 1_795_000_000, "value": 1.0 }], "resources": [{ "name": "dev-1", "type": "host" }] });
    assert_eq!(of("muster.runs", Api::V2), expected);
    let expected = json!({ "metric": "muster.runs.duration_max_seconds", "type": "gauge", "tags": tags,
        "points": [[1_795_000_000, 1.5]], "host": "dev-1" });
    assert_eq!(of("muster.runs.duration_max_seconds", Api::V1), expected);
}

#[test]
fn workers_that_datadog_takes_for_one_are_added_up_before_it_does() {
    let rows = [run(AT_US, "Lint ER", 1, 1), run(AT_US, "lint_er", 1, 1), run(AT_US, "lint,er", 1, 1)];
    let series = series(DataSet::Runs, &rows);
    let runs: Vec<_> = series.iter().filter(|one| one.metric == "muster.runs").collect();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0].points, [(1_795_000_000, 3.0)]);
}

#[test]
fn every_row_of_every_data_set_is_counted() {
    for (set, metric) in [
        (DataSet::Runs, "muster.runs"),
        (DataSet::Events, "muster.events"),
        (DataSet::Sessions, "muster.sessions"),
        (DataSet::Usage, "muster.usage.input_tokens"),
    ] {
        let rows: Vec<_> =
            (0..100).map(|n| TestRow::from([("time", Of::Integer(AT_US + n * 1_000_000))])).collect();
        let points = points(&series(set, &rows), metric);
        assert_eq!(points.len(), 10, "{set}");
        assert_eq!(points.values().sum::<f64>(), 100.0, "{set}");
    }
    let sample = |n: i64| {
        TestRow::from([
            ("time", Of::Integer(AT_US + n)),
            ("name", text("cpu percent")),
            ("value", Of::Number(n as f64)),
        ])
    };
    let last = points(&series(DataSet::Samples, &[sample(1), sample(2)]), "muster.samples.cpu_percent");
    assert_eq!(last.into_values().collect::<Vec<_>>(), [2.0]);
}

#[test]
fn a_row_says_when_all_before_it_is_whole() {
    let rows = [run(AT_US, "w", 1, 1), run(AT_US + 9_999_999, "w", 1, 1), run(AT_US + 10_000_000, "w", 1, 1)];
    let batch = batch(DataSet::Runs, &rows);
    let rows = Rows::new(DataSet::Runs, &batch).expect("rows");
    let mut encoder = DatadogEncoder::new(DataSet::Runs);
    let begins = [0, 1, 2].map(|row| {
        let begins = encoder.begins_interval(&rows, row);
        encoder.add(&rows, row).expect("few series");
        begins
    });
    assert_eq!(begins, [true, false, true]);
}

#[test]
fn what_somebody_may_want_to_see_is_an_event() {
    let events = |set, row: TestRow| {
        let batch = batch(set, &[row]);
        let rows = Rows::new(set, &batch).expect("rows");
        DatadogEncoder::new(set).event(&rows, 0).map(|event| event.body)
    };
    let event = |kind: &str, outcome: &str, severity: &str| {
        TestRow::from([
            ("time", Of::Integer(AT_US)),
            ("project", text("api")),
            ("kind", text(kind)),
            ("outcome", text(outcome)),
            ("severity", text(severity)),
        ])
    };
    let body = events(DataSet::Events, event("push_checked", "prevented", "")).expect("an event");
    assert_eq!((&body["title"], &body["alert_type"]), (&json!("api: push prevented"), &json!("success")));
    assert_eq!(body["date_happened"], 1_795_000_000);
    assert!(events(DataSet::Events, event("finding", "found", "critical")).is_some());
    for (kind, outcome, severity) in [
        ("push_checked", "allowed", ""),
        ("finding", "found", "low"),
        ("finding", "fixed", "critical"),
        ("log", "", ""),
    ] {
        assert_eq!(
            events(DataSet::Events, event(kind, outcome, severity)),
            None,
            "{kind} {outcome} {severity}"
        );
    }
    let mut session =
        TestRow::from([("time", Of::Integer(AT_US)), ("session", text("s-1")), ("status", text("running"))]);
    assert_eq!(events(DataSet::Sessions, session.clone()), None);
    session.extend([("ended_time", Of::Integer(AT_US)), ("exit_code", Of::Integer(1))]);
    let body = events(DataSet::Sessions, session).expect("an event");
    assert_eq!((&body["alert_type"], &body["aggregation_key"]), (&json!("error"), &json!("s-1")));
}
