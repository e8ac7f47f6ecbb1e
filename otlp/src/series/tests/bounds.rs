//! What leaves, and what finds no room.

use std::collections::BTreeSet;

use metrics::aggregate::TeamSeriesMax;

use super::Bench;
use super::payload::{NOON, Resource, SECOND, at, delta, gauge, resource};
use crate::proto::metrics::AggregationTemporality::Cumulative;
use crate::series::{Dropped, ForeignConfig};

const HOUR: u64 = 3_600;
const T0: u64 = NOON - HOUR * SECOND;

fn of(name: &str, model: &str) -> Resource {
    later(name, model, 0)
}

fn later(name: &str, model: &str, seconds: u64) -> Resource {
    let point = at(T0, NOON + seconds * SECOND, 1.0).attributes(&[("model", model)]);
    resource(&[("user.name", "dana")]).sum(name, "", vec![point])
}

#[test]
fn an_agent_with_all_its_series_leaves_others_of_its_team_their_room() {
    let mut bench = Bench::with(ForeignConfig { agent_series_max: 3, ..Default::default() });
    let on = |host: &str, model: &str| {
        let point = at(T0, NOON, 1.0).attributes(&[("model", model)]);
        resource(&[("user.name", "da,\"na\\"), ("host.name", host)]).sum("a", "", vec![point])
    };
    (0..6).for_each(|model| bench.send(on("noisy", &model.to_string())));
    bench.send(on("quiet", "0"));
    let own = |bench: &Bench, host: &str| {
        bench.samples().iter().filter(|sample| sample.contains(&format!("host=\"{host}\""))).count()
    };
    assert_eq!((own(&bench, "noisy"), own(&bench, "quiet")), (3, 1), "{:?}", bench.samples());
    let overflow =
        "a_total{user=\"__overflow__\",host=\"__overflow__\",project=\"__overflow__\"} 3".to_owned();
    assert!(bench.samples().contains(&overflow), "{:?}", bench.samples());
    assert_eq!(bench.dropped(Dropped::AgentSeriesMax), 3);

    bench.restart();
    bench.send(on("noisy", "6"));
    bench.send(on("quiet", "1"));
    assert_eq!((own(&bench, "noisy"), own(&bench, "quiet")), (3, 2), "the bound is there after a restart");
    // Nobody in particular has no bound of their own.
    for model in 0..6 {
        let point = at(T0, NOON, 1.0).attributes(&[("model", &model.to_string())]);
        bench.send(resource(&[("service.name", "s")]).sum("b", "", vec![point]));
    }
    assert_eq!(bench.samples().iter().filter(|sample| sample.starts_with("b_total")).count(), 6);
}

#[test]
fn points_past_the_most_series_keep_their_sum_are_counted_and_others_go_on() {
    let mut bench = Bench::with(ForeignConfig {
        series_per_family_max: 2,
        team_series_max: TeamSeriesMax { all: 100, own: [("core".to_owned(), 4)].into() },
        ..Default::default()
    });
    for (name, model) in [("a", "1"), ("a", "2"), ("a", "3"), ("a", "4"), ("b", "1"), ("c", "1"), ("d", "1")]
    {
        bench.send(of(name, model));
    }
    bench.send(later("a", "3", 1));
    bench.send(later("c", "1", 1));
    let overflow = "user=\"__overflow__\",host=\"__overflow__\",project=\"__overflow__\"";
    let expected = [
        "a_total{user=\"dana\",model=\"1\"} 1".to_owned(),
        "a_total{user=\"dana\",model=\"2\"} 1".to_owned(),
        format!("a_total{{{overflow}}} 3"),
        "b_total{user=\"dana\",model=\"1\"} 1".to_owned(),
        format!("c_total{{{overflow}}} 2"),
        format!("d_total{{{overflow}}} 1"),
    ];
    assert_eq!(bench.samples().into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    let counted = (bench.dropped(Dropped::SeriesMax), bench.dropped(Dropped::TeamSeriesMax));
    assert_eq!(counted, (3, 3), "of `a`, and of the others when the team had four");
    for model in ["1", "2"] {
        bench.send_as("other", of("b", model));
    }
    assert_eq!(bench.series.stats().series, 6 + 2, "each team has its own room");
    assert_eq!((bench.dropped(Dropped::SeriesMax), bench.dropped(Dropped::TeamSeriesMax)), (3, 3));

    bench.restart();
    bench.send(of("a", "5"));
    assert!(bench.samples().contains(&format!("a_total{{{overflow}}} 4")), "{:?}", bench.samples());
    assert_eq!(bench.dropped(Dropped::SeriesMax), 4);
}

#[test]
fn cumulative_sums_past_the_most_series_add_up_and_gauges_are_left_out() {
    let mut bench = Bench::with(ForeignConfig { team_series_max: 1.into(), ..Default::default() });
    bench.send(of("first", "1"));
    for (session, values) in [("a", [5.0, 8.0]), ("b", [1.0, 2.0])] {
        for (time, value) in (1..).zip(values) {
            let point = at(T0, T0 + time * SECOND, value).attributes(&[("worker", session)]);
            bench.send(resource(&[]).sum_of("n", "", Cumulative, true, vec![point]));
        }
    }
    bench.send(resource(&[]).gauge("level", "", vec![gauge(7.0)]));
    let samples = bench.samples();
    assert!(
        samples.iter().any(|line| line.starts_with("n_total{user=\"__overflow__\"") && line.ends_with(" 10"))
    );
    assert!(!samples.iter().any(|line| line.starts_with("level")), "a gauge of many would be that of any");
    assert_eq!(bench.dropped(Dropped::TeamSeriesMax), 4 + 1);
}

#[test]
fn a_flood_of_labels_takes_no_stream_from_a_series_that_is_there() {
    let config = ForeignConfig { series_per_family_max: 1, streams_per_team_max: 8, ..Default::default() };
    let mut bench = Bench::with(config);
    let point = |worker: &str, time: u64, value: f64| {
        let point = at(T0, T0 + time * SECOND, value).attributes(&[("worker", worker)]);
        resource(&[]).sum_of("n", "", Cumulative, true, vec![point])
    };
    bench.send(point("healthy", 1, 10.0));
    for flood in 0..40 {
        bench.send(point(&format!("w{flood}"), 2 + flood, 1.0));
    }
    bench.send(point("healthy", 60, 25.0));
    let samples = bench.samples();
    assert!(samples.iter().any(|line| line.contains("healthy") && line.ends_with(" 25")), "{samples:?}");
    assert!(samples.iter().any(|line| line.contains("__overflow__") && line.ends_with(" 7")), "{samples:?}");
    assert_eq!(bench.dropped(Dropped::SeriesMax), 40, "with an overflow series or without");
}

#[test]
fn families_past_the_most_are_dropped_and_counted() {
    let mut bench = Bench::with(ForeignConfig { families_per_team_max: 1, ..Default::default() });
    bench.send(of("a", "1"));
    bench.send(of("b", "1"));
    assert_eq!(bench.dropped(Dropped::FamiliesMax), 1);
}

#[test]
fn streams_make_room_for_new_ones_and_nothing_counts_twice_when_they_come_back() {
    let mut bench = Bench::with(ForeignConfig { streams_per_team_max: 8, ..Default::default() });
    let mut send = |session: u64, time: u64, value: f64| {
        let point = at(T0, T0 + time * SECOND, value).attributes(&[("session.id", &session.to_string())]);
        bench.send(resource(&[]).sum_of("n", "", Cumulative, true, vec![point]));
    };
    for session in 0..8 {
        send(session, 1 + session, 10.0);
    }
    // The first stream is the one that was silent longest.
    send(8, 100, 1.0);
    send(0, 101, 13.0);
    send(0, 102, 14.0);
    assert_eq!(bench.series.stats().streams, 8);
    // 8 began before the first was let go: its first point may have been counted then. Of 0 only the last is new.
    assert_eq!(bench.samples(), ["n_total 81"]);
}

#[test]
fn a_series_leaves_a_day_after_its_last_point_and_its_family_with_it() {
    let mut bench = Bench::new();
    bench.send(resource(&[("service.name", "s"), ("os", "x")]).sum("n", "", vec![delta(1.0)]));
    bench.sleep(24 * HOUR);
    assert_eq!(bench.series.stats().series, 1);
    bench.sleep(1);
    let stats = bench.series.stats();
    assert_eq!((stats.series, stats.families, stats.streams), (0, 0, 0));
    assert_eq!(bench.samples(), [""; 0], "not even its target");
    // The name is free again.
    bench.send(resource(&[]).gauge("n", "", vec![gauge(1.0)]));
    assert_eq!(bench.samples(), ["n 1"]);
}

#[test]
fn a_session_that_slept_goes_on_where_it_was_while_others_kept_the_series() {
    let mut bench = Bench::new();
    let point = |session: &str, time: u64, value: f64| {
        let point = at(T0, T0 + time * SECOND, value).attributes(&[("session.id", session)]);
        resource(&[]).sum_of("n", "", Cumulative, true, vec![point])
    };
    bench.send(point("a", 1, 50.0));
    for hour in 1..=60 {
        bench.sleep(HOUR);
        bench.send(point("b", 1 + hour * HOUR, hour as f64));
    }
    bench.send(point("a", 61 * HOUR, 51.0));
    assert_eq!(bench.samples(), ["n_total 111"]);
}

#[test]
fn a_silent_sum_that_may_fall_takes_its_value_along_after_a_day() {
    let mut bench = Bench::new();
    let point = |session: &str, time: u64, value: f64| {
        let point = at(T0, T0 + time * SECOND, value).attributes(&[("session.id", session)]);
        resource(&[]).sum_of("n", "", Cumulative, false, vec![point])
    };
    bench.send(point("a", 1, 50.0));
    bench.sleep(23 * HOUR);
    bench.send(point("b", 2, 7.0));
    assert_eq!(bench.samples(), ["n 57"]);
    bench.sleep(2 * HOUR);
    assert_eq!(bench.samples(), ["n 7"]);
}

#[test]
fn too_many_labels_are_too_many() {
    let mut bench = Bench::new();
    let names: Vec<String> = (0..70).map(|n| format!("k{n}")).collect();
    let attributes: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    bench.send(resource(&[]).gauge("x", "", vec![gauge(1.0).attributes(&attributes)]));
    assert_eq!(bench.dropped(Dropped::TooManyLabels), 1);
}
