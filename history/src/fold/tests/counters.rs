//! The sums of rows against the counters of the metrics, which are made from the same batches by other code.

use std::collections::BTreeMap;

use metrics::{Aggregate, AggregateConfig, Applied, SeriesValue};
use muster::clock::Monotonic;

use super::*;

/// Totals by family and labels.
type Totals = BTreeMap<(String, Vec<String>), u64>;

/// A family, the data set it is counted from, the rows that are in it, its labels and the number that is summed
/// (`None`: one a row).
struct Count {
    family: &'static str,
    set: DataSet,
    kind: Option<&'static str>,
    labels: &'static [&'static str],
    number: Option<&'static str>,
}

const fn event_count(family: &'static str, kind: &'static str, labels: &'static [&'static str]) -> Count {
    Count { family, set: DataSet::Events, kind: Some(kind), labels, number: Some("count") }
}

const COUNTS: &[Count] = &[
    Count {
        family: "muster_runs_total",
        set: DataSet::Runs,
        kind: None,
        labels: &["tool", "worker", "status"],
        number: None,
    },
    event_count("muster_runs_started_total", "run_started", &["tool", "worker"]),
    event_count("muster_tool_calls_total", "tool_call", &["tool", "name", "outcome"]),
    event_count("muster_findings_total", "finding", &["tool", "severity", "outcome"]),
    event_count("muster_findings_autofixed_total", "findings_fixed", &["tool"]),
    event_count("muster_file_changes_total", "file_activity", &["tool", "outcome"]),
    event_count("muster_lines_recorded_total", "lines_recorded", &["tool"]),
    event_count("muster_bus_events_total", "bus_events", &["tool"]),
    event_count("muster_tool_events_total", "log", &["tool", "name"]),
    event_count("muster_otlp_items_total", "otlp", &["tool", "name"]),
    Count {
        number: Some("duration_us"),
        ..event_count("muster_time_saved_seconds_total", "time_saved", &["tool", "name", "outcome"])
    },
];

fn counters(items: &[v1::Batch]) -> Totals {
    let mut aggregate = Aggregate::new(AggregateConfig::collector());
    let key = key("a", 1, 1);
    for batch in items {
        aggregate.apply(&key.team, key.agent, batch, Applied { wall: NOW, monotonic: Monotonic::default() });
    }
    let mut totals = Totals::new();
    aggregate.for_each_series(NOW, |series| {
        let SeriesValue::Counter { units, .. } = series.value else { return };
        let labels = series.labels().map(|(name, value)| match (name, value) {
            ("modelled", "true") => "modelled".to_owned(),
            ("modelled", "false") => "measured".to_owned(),
            (_, "") => "-".to_owned(),
            (_, value) => value.to_owned(),
        });
        totals.insert((series.family.name.to_owned(), labels.collect()), units);
    });
    totals
}

fn sums(rows: &BTreeMap<Partition, RecordBatch>, count: &Count) -> Totals {
    let mut totals = Totals::new();
    for batch in of_set(rows, count.set) {
        let labels: Vec<_> = count.labels.iter().map(|label| column(batch, label)).collect();
        let kinds = count.kind.map(|_| column(batch, "kind"));
        let (weights, numbers) = (column(batch, "weight"), count.number.map(|name| column(batch, name)));
        for row in 0..batch.num_rows() {
            if kinds.as_ref().is_some_and(|kinds| Some(&kinds[row][..]) != count.kind) {
                continue;
            }
            let number: u64 = numbers.as_ref().map_or(1, |numbers| numbers[row].parse().unwrap());
            let labels = labels.iter().map(|label| label[row].clone()).collect();
            *totals.entry((count.family.to_owned(), labels)).or_default() +=
                number * weights[row].parse::<u64>().unwrap();
        }
    }
    totals
}

fn tame_batches(seed: u64) -> Vec<v1::Batch> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..3)
        .map(|number| {
            let events = std::iter::repeat_with(|| tame_event(&mut random)).take(300).collect();
            batch(1 + number * 300, events)
        })
        .collect()
}

fn fold_batches(batches: &[v1::Batch]) -> BTreeMap<Partition, RecordBatch> {
    let items: Vec<_> = batches.iter().map(|batch| item(batch.first_seq, key("a", 1, 1), batch)).collect();
    fold(&items)
}

#[test]
fn the_sums_of_rows_are_the_counters() {
    for seed in 0..8 {
        let batches = tame_batches(seed);
        let (counters, rows) = (counters(&batches), fold_batches(&batches));
        for count in COUNTS {
            let of_family: Totals = counters
                .iter()
                .filter(|((name, _), _)| name == count.family)
                .map(|(k, v)| (k.clone(), *v))
                .collect();
            assert!(!of_family.is_empty(), "{}", count.family);
            assert_eq!(sums(&rows, count), of_family, "{} of seed {seed}", count.family);
        }
    }
}

#[test]
fn tokens_and_costs_of_rows_are_the_counters() {
    let batches = tame_batches(99);
    let (counters, rows) = (counters(&batches), fold_batches(&batches));
    let total = |family: &str, label: Option<&str>| -> u64 {
        let is_it = |((name, labels), _): &(&(String, Vec<String>), &u64)| {
            name == family && label.is_none_or(|label| labels.iter().any(|value| value == label))
        };
        counters.iter().filter(is_it).map(|(_, units)| *units).sum()
    };
    let (mut input, mut reported, mut computed, mut unknown) = (0, 0, 0, 0);
    for batch in of_set(&rows, DataSet::Usage) {
        let numbers =
            |name| column(batch, name).into_iter().map(|text| text.parse::<u64>().ok()).collect::<Vec<_>>();
        let (weights, tokens) = (numbers("weight"), numbers("input_tokens"));
        let (said, priced) = (numbers("reported_cost_microusd"), numbers("computed_cost_microusd"));
        for row in 0..batch.num_rows() {
            let weight = weights[row].unwrap();
            input += tokens[row].unwrap() * weight;
            match (said[row], priced[row]) {
                (Some(cost), _) => reported += cost * weight,
                (None, Some(cost)) => computed += cost * weight,
                (None, None) => unknown += weight,
            }
        }
    }
    assert!(input > 0 && reported > 0 && computed > 0 && unknown > 0);
    assert_eq!(input, total("muster_usage_tokens_total", Some("input")));
    assert_eq!(reported, total("muster_usage_cost_usd_total", Some("reported")));
    assert_eq!(computed, total("muster_usage_cost_usd_total", Some("computed")));
    assert_eq!(unknown, total("muster_usage_cost_unknown_total", None));
}

#[test]
fn pushes_of_rows_are_the_counters() {
    let batches = tame_batches(5);
    let (counters, rows) = (counters(&batches), fold_batches(&batches));
    let mut sums = Totals::new();
    for batch in of_set(&rows, DataSet::Events) {
        let columns = ["kind", "name", "outcome", "weight"].map(|name| column(batch, name));
        for row in 0..batch.num_rows() {
            let [kind, gate, outcome, weight] = columns.each_ref().map(|column| column[row].clone());
            if kind != "push_checked" {
                continue;
            }
            let weight: u64 = weight.parse().unwrap();
            let result = if outcome == "allowed" { "allowed" } else { "blocked" };
            let checked = (
                "muster_pushes_checked_total".to_owned(),
                vec!["devloop".to_owned(), gate.clone(), result.to_owned()],
            );
            *sums.entry(checked).or_default() += weight;
            let prevented =
                ("muster_bad_pushes_prevented_total".to_owned(), vec!["devloop".to_owned(), gate]);
            *sums.entry(prevented).or_default() += if outcome == "prevented" { weight } else { 0 };
        }
    }
    assert!(sums.len() >= 8, "{sums:?}");
    for (series, sum) in sums {
        assert_eq!(counters.get(&series), Some(&sum), "{series:?}");
    }
}
