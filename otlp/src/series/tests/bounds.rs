//! What leaves, and what finds no room.

use super::Bench;
use super::payload::{NOON, SECOND, at, delta, gauge, resource};
use crate::proto::metrics::AggregationTemporality::Cumulative;
use crate::series::{Dropped, ForeignConfig};

const HOUR: u64 = 3_600;
const T0: u64 = NOON - HOUR * SECOND;

#[test]
fn series_past_the_most_are_dropped_and_counted_and_the_others_go_on() {
    let mut bench = Bench::with(ForeignConfig {
        series_per_family_max: 2,
        series_per_team_max: 3,
        families_per_team_max: 2,
        ..Default::default()
    });
    let of = |name: &str, model: &str| {
        resource(&[]).sum(name, "", vec![delta(1.0).attributes(&[("model", model)])])
    };
    for (name, model) in [("a", "1"), ("a", "2"), ("a", "3"), ("b", "1"), ("b", "2")] {
        bench.send(of(name, model));
    }
    assert_eq!((bench.series.stats().series, bench.dropped(Dropped::SeriesMax)), (3, 2));
    bench.send_as("other", of("a", "1"));
    assert_eq!(bench.series.stats().series, 4, "each team has its own room");

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
