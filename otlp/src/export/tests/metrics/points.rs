//! What a point says.

use muster::v1;
use muster::v1::event::Kind;

use super::*;
use crate::export::metrics::points::unit;

fn without_end(t: &mut dyn FnMut(&str) -> u32) -> Vec<Kind> {
    full(t).into_iter().filter(|kind| !matches!(kind, Kind::SourceEnded(_))).collect()
}

#[test]
fn every_family_is_as_the_catalogue_has_it() {
    let mut told = String::new();
    let key = key();
    for tool in ["loki", "devloop"] {
        let mut export = MetricsExport::new(Temporality::Cumulative);
        export.apply(&key.team, key.agent, &batch(tool, without_end), applied(60));
        let cut = cut(&export, 60).expect("something was counted");
        for point in points(&cut) {
            let age_us = (point.time - point.start.min(point.time)) / 1000;
            let from = if point.start == 0 { String::new() } else { format!(" since {age_us} us") };
            told.push_str(&format!(
                "{} {} [{}]{from} {:?}\n",
                point.series, point.kind, point.unit, point.numbers
            ));
        }
    }
    assert_is_file("src/export/tests/metrics.golden", &told);
}

#[test]
fn a_unit_never_makes_prometheus_rename_a_metric() {
    for family in ::metrics::catalogue::families() {
        let suffix = match unit(family) {
            "" | "{USD}" => continue,
            "s" => "seconds",
            "By" => "bytes",
            "%" => "percent",
            other => panic!("{} has the unit {other}", family.name),
        };
        assert!(family.name.split('_').any(|word| word == suffix), "{} and {suffix}", family.name);
    }
}

#[test]
fn hostile_label_values_come_out_as_they_went_in() {
    let key = key();
    let mut export = MetricsExport::new(Temporality::Cumulative);
    let batch =
        batch("devloop", |t| vec![Kind::QueueDepth(v1::QueueDepth { worker: t("a\"b\\n\nc\\"), depth: 1 })]);
    export.apply(&key.team, key.agent, &batch, applied(0));
    let series = points(&cut(&export, 1).expect("one gauge")).into_iter().map(|point| point.series);
    let wanted = "devloop_agent_queue_depth{team=\"core\",user=\"dana\",host=\"laptop-17\",project=\"shop\",agent=\"a\"b\\n\nc\\\"}";
    assert!(series.into_iter().any(|series| series == wanted));
}

#[test]
fn a_filter_sees_team_tool_project_and_family() {
    let key = key();
    let mut export = MetricsExport::new(Temporality::Delta);
    export.apply(&key.team, key.agent, &batch("loki", without_end), applied(60));
    let mut seen = std::collections::BTreeSet::new();
    let filtered = export.cut(applied(60).wall, |facts| {
        assert_eq!(
            (facts.team, facts.project, facts.tool),
            ("core", "shop", Some("loki")),
            "{}",
            facts.family
        );
        seen.insert(facts.family);
        facts.family == "loki_events_total"
    });
    assert!(seen.len() > 40, "{seen:?}");
    let filtered = filtered.expect("one series is wanted");
    assert_eq!(filtered.items, 1);
    export.commit(filtered);
    // What was refused is not thereby sent.
    let rest = cut(&export, 61).expect("the others");
    assert!(points(&rest).iter().all(|point| !point.series.starts_with("loki_events_total")));
    assert!(points(&rest).iter().any(|point| point.series.starts_with("muster_runs_total")));
}

#[test]
fn the_start_of_a_delta_is_the_end_of_the_one_before() {
    let key = key();
    let mut export = MetricsExport::new(Temporality::Delta);
    let lines = |_: &mut dyn FnMut(&str) -> u32| vec![Kind::LinesRecorded(v1::LinesRecorded { count: 3 })];
    export.apply(&key.team, key.agent, &batch("loki", lines), applied(10));
    let first = cut(&export, 20).expect("new");
    let times = |cut: &Cut| points(cut).iter().map(|point| (point.start, point.time)).collect::<Vec<_>>();
    let at = |seconds: u64| (NOON.0 + seconds * 1_000_000) * 1000;
    // The event's own time is in the first interval.
    assert!(times(&first).iter().all(|(start, time)| (*start, *time) == (at(0) - 1000, at(20))));
    export.commit(first);
    export.apply(&key.team, key.agent, &batch("loki", lines), applied(30));
    let second = cut(&export, 40).expect("new");
    assert!(times(&second).iter().all(|(start, time)| (*start, *time) == (at(20), at(40))));
    // A clock that was put back does not make an interval that ends before it begins.
    let back = cut(&export, 5).expect("new");
    assert!(times(&back).iter().all(|(start, time)| (*start, *time) == (at(5) - 1000, at(5))));
}
