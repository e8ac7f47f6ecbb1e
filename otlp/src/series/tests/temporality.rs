//! What points do to series (contracts/otlp.md section 2.5).

use super::Bench;
use super::payload::{NOON, SECOND, at, delta, gauge, histogram_at, resource};
use crate::proto::metrics::AggregationTemporality::{Cumulative, Delta, Unspecified};
use crate::proto::metrics::exponential_histogram_data_point::Buckets;
use crate::proto::metrics::metric::Data;
use crate::proto::metrics::summary_data_point::ValueAtQuantile;
use crate::proto::metrics::{ExponentialHistogram, ExponentialHistogramDataPoint, Metric, SummaryDataPoint};
use crate::series::Dropped;

const T0: u64 = NOON - 3_600 * SECOND;

fn count(bench: &mut Bench, session: &str, start: u64, time: u64, value: f64) {
    let point = at(start, time, value).attributes(&[("session.id", session)]);
    bench.send(resource(&[]).sum_of("n", "", Cumulative, true, vec![point]));
}

fn level(bench: &mut Bench, session: &str, time: u64, value: f64) {
    let point = at(T0, time, value).attributes(&[("session.id", session)]);
    bench.send(resource(&[]).sum_of("n", "", Cumulative, false, vec![point]));
}

#[test]
fn deltas_of_all_sessions_add_up_and_the_same_delivery_counts_once() {
    let mut bench = Bench::new();
    let first = delta(1.5).attributes(&[("session.id", "a")]);
    for point in [first.clone(), first.clone().attribute("session.id", "b"), first] {
        bench.send(resource(&[]).sum("n", "", vec![point]));
    }
    assert_eq!(bench.samples(), ["n_total 3"]);
    assert_eq!(bench.dropped(Dropped::Duplicate), 1);
    // Late, and another interval: counts.
    bench.send(resource(&[]).sum("n", "", vec![at(T0, T0 + SECOND, 4.0).attributes(&[("session.id", "a")])]));
    assert_eq!(bench.samples(), ["n_total 7"]);
}

#[test]
fn a_cumulative_sum_reads_as_its_source_says_it() {
    let mut bench = Bench::new();
    for (second, value) in [(1, 0.1), (2, 0.3), (3, 0.3), (4, 123_456.700_1)] {
        count(&mut bench, "a", T0, T0 + second * SECOND, value);
        assert_eq!(bench.samples(), [format!("n_total {value}")]);
    }
    let page = bench.page(metrics::Format::OpenMetrics100);
    assert!(page.contains("n_created{team=\"core\"} 1771585200\n"), "{page}");
}

#[test]
fn cumulative_sums_of_sessions_are_summed_and_resets_keep_what_was_counted() {
    let mut bench = Bench::new();
    count(&mut bench, "a", T0, T0 + SECOND, 10.0);
    count(&mut bench, "b", T0, T0 + SECOND, 100.0);
    count(&mut bench, "a", T0, T0 + 2 * SECOND, 15.0);
    assert_eq!(bench.samples(), ["n_total 115"]);
    // A new start.
    count(&mut bench, "a", T0 + 3 * SECOND, T0 + 4 * SECOND, 2.0);
    assert_eq!(bench.samples(), ["n_total 117"]);
    // A fall without one.
    count(&mut bench, "b", T0, T0 + 5 * SECOND, 1.0);
    assert_eq!(bench.samples(), ["n_total 118"]);
    // Late and repeated points say nothing.
    count(&mut bench, "b", T0, T0 + 5 * SECOND, 1.0);
    count(&mut bench, "b", T0, T0 + 4 * SECOND, 0.5);
    assert_eq!(bench.samples(), ["n_total 118"]);
    assert_eq!((bench.dropped(Dropped::Duplicate), bench.dropped(Dropped::OutOfOrder)), (1, 1));
}

#[test]
fn two_writers_that_do_not_know_of_each_other_are_no_resets() {
    let mut bench = Bench::new();
    for step in 1..=5 {
        count(&mut bench, "a", T0, T0 + step * SECOND, 100.0 + step as f64);
        count(&mut bench, "a", T0 + 7, T0 + step * SECOND + 1, step as f64);
    }
    assert_eq!(bench.samples(), ["n_total 110"]);
}

#[test]
fn a_first_point_of_unknown_start_adds_nothing_to_a_series_that_is_there() {
    let mut bench = Bench::new();
    count(&mut bench, "a", T0, T0, 1_000.0);
    assert_eq!(bench.samples(), ["n_total 1000"]);
    count(&mut bench, "b", T0 + SECOND, T0 + SECOND, 500.0);
    assert_eq!(bench.samples(), ["n_total 1000"]);
    count(&mut bench, "b", T0 + SECOND, T0 + 2 * SECOND, 503.0);
    assert_eq!(bench.samples(), ["n_total 1003"]);
}

#[test]
fn sums_that_may_fall_are_gauges_and_take_their_part_along_when_they_end() {
    let mut bench = Bench::new();
    level(&mut bench, "a", T0 + SECOND, 5.0);
    level(&mut bench, "b", T0 + SECOND, 7.0);
    level(&mut bench, "a", T0 + 2 * SECOND, 3.0);
    assert_eq!(bench.samples(), ["n 10"]);
    let ended = at(T0, T0 + 3 * SECOND, 0.0).attributes(&[("session.id", "b")]).without_value();
    bench.send(resource(&[]).sum_of("n", "", Cumulative, false, vec![ended.clone()]));
    assert_eq!(bench.samples(), ["n 3"]);
    bench.send(resource(&[]).sum_of("n", "", Cumulative, false, vec![ended.attribute("session.id", "a")]));
    assert_eq!(bench.samples(), [""; 0]);
    assert_eq!(bench.series.stats().series, 0);
}

#[test]
fn deltas_that_may_fall_add_up_to_a_gauge() {
    let mut bench = Bench::new();
    for (second, value) in [(1, 5.0), (2, -7.5)] {
        let point = at(T0, T0 + second * SECOND, value);
        bench.send(resource(&[]).sum_of("queue", "1", Delta, false, vec![point]));
    }
    assert_eq!(bench.samples(), ["queue -2.5"]);
}

#[test]
fn a_gauge_is_the_last_that_came_and_one_point_without_a_value_ends_only_its_own() {
    let mut bench = Bench::new();
    let point = |room: &str, value| gauge(value).attributes(&[("room", room)]);
    bench.send(resource(&[]).gauge("heat", "Cel", vec![point("a", 20.5), point("b", f64::NAN)]));
    assert_eq!(bench.samples(), ["heat_celsius{room=\"a\"} 20.5", "heat_celsius{room=\"b\"} NaN"]);
    // The Go exporter stops at the first such point and loses what comes after it.
    let ended = at(0, NOON + SECOND, 0.0).attributes(&[("room", "a")]).without_value();
    let later = at(0, NOON + SECOND, 19.0).attributes(&[("room", "b")]);
    bench.send(resource(&[]).gauge("heat", "Cel", vec![ended, later]));
    assert_eq!(bench.samples(), ["heat_celsius{room=\"b\"} 19"]);
}

#[test]
fn numbers_that_a_counter_cannot_have_are_dropped_and_counted() {
    let mut bench = Bench::new();
    let points =
        vec![delta(1.0), delta(f64::NAN), delta(f64::INFINITY), delta(-1.0), delta(1.0).without_value()];
    bench.send(resource(&[]).sum("n", "", points));
    bench.send(resource(&[]).sum_of("m", "", Unspecified, true, vec![delta(1.0)]));
    assert_eq!(bench.samples(), ["n_total 1"]);
    let dropped =
        [Dropped::NotFinite, Dropped::Negative, Dropped::Malformed].map(|reason| bench.dropped(reason));
    assert_eq!(dropped, [2, 1, 1]);
    assert_eq!(bench.series.stats().items, [0, 6, 0]);
}

#[test]
fn delta_histograms_accumulate_over_changed_bounds() {
    let mut bench = Bench::new();
    let first = histogram_at(T0, T0 + SECOND, &[1, 2, 3], &[0.5, 1.0], 6.5);
    let second = histogram_at(T0 + SECOND, T0 + 2 * SECOND, &[4, 5], &[2.0], 8.0);
    bench.send(resource(&[]).histogram("took", Delta, vec![first, second.clone(), second]));
    assert_eq!(
        bench.samples(),
        [
            "took_seconds_bucket{le=\"0.5\"} 1",
            "took_seconds_bucket{le=\"1\"} 3",
            "took_seconds_bucket{le=\"2\"} 7",
            "took_seconds_bucket{le=\"+Inf\"} 15",
            "took_seconds_sum 14.5",
            "took_seconds_count 15"
        ]
    );
    assert_eq!(bench.dropped(Dropped::Duplicate), 1);
}

#[test]
fn cumulative_histograms_of_sessions_are_summed_by_bucket() {
    let mut bench = Bench::new();
    let mut send = |session: &str, time: u64, counts: &[u64], sum: f64| {
        let mut point = histogram_at(T0, T0 + time * SECOND, counts, &[1.0], sum);
        point.attributes = super::payload::key_values(&[("session.id", session)]);
        bench.send(resource(&[]).histogram("took", Cumulative, vec![point]));
        bench.samples()
    };
    send("a", 1, &[1, 1], 3.0);
    send("b", 1, &[10, 0], 5.0);
    assert_eq!(
        send("a", 2, &[2, 3], 9.0),
        [
            "took_seconds_bucket{le=\"1\"} 12",
            "took_seconds_bucket{le=\"+Inf\"} 15",
            "took_seconds_sum 14",
            "took_seconds_count 15"
        ]
    );
    // Reset without a new start.
    assert_eq!(send("a", 3, &[0, 1], 2.0)[3], "took_seconds_count 16");
}

#[test]
fn an_exponential_histogram_is_classic_and_has_no_sum_beside_negative_bounds_in_openmetrics() {
    let mut bench = Bench::new();
    let point = ExponentialHistogramDataPoint {
        start_time_unix_nano: T0,
        time_unix_nano: NOON,
        count: 6,
        sum: Some(3.0),
        zero_count: 1,
        scale: 2,
        positive: Some(Buckets { offset: 0, bucket_counts: vec![1, 1, 1, 1] }),
        negative: Some(Buckets { offset: 0, bucket_counts: vec![1] }),
        ..Default::default()
    };
    let data = ExponentialHistogram { data_points: vec![point], aggregation_temporality: Delta as i32 };
    let data = Some(Data::ExponentialHistogram(data));
    bench.send(resource(&[]).metric(Metric { name: "x".to_owned(), data, ..Default::default() }));
    assert_eq!(
        bench.samples(),
        [
            "x_bucket{le=\"-2\"} 0",
            "x_bucket{le=\"-1\"} 1",
            "x_bucket{le=\"0\"} 2",
            "x_bucket{le=\"1\"} 2",
            "x_bucket{le=\"2\"} 6",
            "x_bucket{le=\"+Inf\"} 6",
            "x_sum 3",
            "x_count 6"
        ]
    );
    let page = bench.page(metrics::Format::OpenMetrics100);
    assert!(page.contains("x_bucket{team=\"core\",le=\"-1.0\"} 1\n"), "{page}");
    assert!(!page.contains("x_sum") && !page.contains("x_count"), "{page}");
}

#[test]
fn a_summary_passes_through() {
    let mut bench = Bench::new();
    let point = |time: u64, count, sum, median| SummaryDataPoint {
        start_time_unix_nano: T0,
        time_unix_nano: T0 + time * SECOND,
        count,
        sum,
        quantile_values: vec![
            ValueAtQuantile { quantile: 1.0, value: f64::NAN },
            ValueAtQuantile { quantile: 0.5, value: median },
        ],
        ..Default::default()
    };
    bench.send(resource(&[]).summary("s", vec![point(1, 10, 20.0, 2.5), point(2, 12, 25.0, 3.5)]));
    assert_eq!(
        bench.samples(),
        ["s{quantile=\"0.5\"} 3.5", "s{quantile=\"1\"} NaN", "s_sum 25", "s_count 12"]
    );
}

#[test]
fn openmetrics_has_no_negative_sums_and_quantiles() {
    let mut bench = Bench::new();
    let value_at = |quantile, value| ValueAtQuantile { quantile, value };
    let point = SummaryDataPoint {
        time_unix_nano: NOON,
        count: 2,
        sum: -1.0,
        quantile_values: vec![value_at(0.0, -2.0), value_at(1.0, 1.0)],
        ..Default::default()
    };
    bench.send(resource(&[]).summary("s", vec![point]));
    bench.send(resource(&[]).histogram("h", Delta, vec![histogram_at(T0, NOON, &[1, 1], &[0.0], -1.0)]));
    let page = bench.page(metrics::Format::OpenMetrics100);
    assert!(!page.contains("} -"), "{page}");
    assert!(page.contains("h_seconds_bucket") && page.contains("quantile=\"1.0\"} 1\n"), "{page}");
    assert_eq!(bench.samples().iter().filter(|line| line.contains(" -")).count(), 3);
}
