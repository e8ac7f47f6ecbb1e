use super::*;
use crate::profile::PROFILES;
use crate::proto::collector_logs::ExportLogsServiceRequest;
use crate::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

fn temporality_out(profile: &str, data: Data) -> i32 {
    // A stream that began while it was watched, so that its first point goes out too.
    let mut adapter = adapter(profile);
    adapter.adapt(Signal::Metrics, &request(vec![gauge(vec![int(0, at(-20), 1)])]), wall(-20));
    let adapted = one(&mut adapter, data);
    assert_eq!(adapted.items, 1, "{profile}: {:?}", adapted.dropped);
    match metrics(&adapted.bytes).pop().and_then(|metric| metric.data) {
        Some(Data::Sum(sum)) => sum.aggregation_temporality,
        Some(Data::Histogram(histogram)) => histogram.aggregation_temporality,
        Some(Data::ExponentialHistogram(histogram)) => histogram.aggregation_temporality,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_vendor_gets_its_temporality() {
    // Monotonic sum, other sum, histogram: of cumulative points, then of deltas.
    let (d, c) = (DELTA, CUMULATIVE);
    let rows = [
        ("otlp", [c, c, c], [d, d, d]),
        ("newrelic", [d, c, d], [d, c, d]),
        ("elastic", [c, c, d], [d, d, d]),
        ("elasticsearch", [c, c, d], [d, d, d]),
        ("elastic-apm", [c, c, d], [d, d, d]),
        ("datadog", [d, c, d], [d, c, d]),
        ("datadog-agent", [d, c, d], [d, c, d]),
        ("grafana-cloud", [c, c, c], [c, c, c]),
        ("honeycomb", [c, c, c], [d, d, d]),
        ("prometheus", [c, c, c], [c, c, c]),
    ];
    assert_eq!(rows.len(), PROFILES.len());
    for (profile, of_cumulative, of_delta) in rows {
        for (is, wanted) in [(c, of_cumulative), (d, of_delta)] {
            let point = || vec![int(at(-10), at(0), 5)];
            let out = [
                temporality_out(profile, sum(is, true, point())),
                temporality_out(profile, sum(is, false, point())),
                temporality_out(profile, explicit(is, vec![histogram(at(-10), at(0), 1.0, &[1, 0])])),
            ];
            assert_eq!(out, wanted, "{profile} of {is}");
        }
    }
}

#[test]
fn only_what_a_rule_can_touch_is_decoded() {
    let identity = |profile| Signal::ALL.map(|signal| adapter(profile).is_identity(signal));
    // Logs, metrics, traces.
    assert_eq!(identity("otlp"), [true, true, true]);
    assert_eq!(identity("honeycomb"), [true, true, true]);
    assert_eq!(identity("newrelic"), [false, false, false]);
    assert_eq!(identity("elastic"), [true, false, true]);
    assert_eq!(identity("datadog"), [false, false, true]);
    assert_eq!(identity("grafana-cloud"), [true, false, true]);
}

#[test]
fn what_is_not_decoded_is_the_same_memory() {
    let bytes = request(vec![gauge(vec![int(0, at(0), 1), int(0, at(1), 1)])]);
    let out = adapter("otlp").adapt(Signal::Metrics, &bytes, wall(0));
    assert_eq!((out.items, out.bytes.as_ptr()), (2, bytes.as_ptr()));
}

#[test]
fn bytes_that_are_no_request_go_as_they_came() {
    let bytes = Bytes::from_static(&[0x0a, 0x05, 1]);
    for profile in ["otlp", "newrelic"] {
        let out = adapter(profile).adapt(Signal::Metrics, &bytes, wall(0));
        assert_eq!((out.items, out.bytes, out.dropped), (0, bytes.clone(), vec![]));
    }
}

#[test]
fn points_outside_a_vendors_window_are_dropped_by_reason() {
    use DropReason::{TooNew, TooOld};
    let rows = [
        ("newrelic", -48 * HOUR - 1, Some(TooOld)),
        ("newrelic", -48 * HOUR, None),
        ("newrelic", 24 * HOUR, None),
        ("newrelic", 24 * HOUR + 1, Some(TooNew)),
        ("datadog", -HOUR - 1, Some(TooOld)),
        ("datadog", -HOUR, None),
        ("datadog", 10 * MINUTE + 1, Some(TooNew)),
        ("prometheus", 10 * MINUTE + 1, Some(TooNew)),
        ("prometheus", -100 * HOUR, None),
        ("elastic", 30 * MINUTE + 1, Some(TooNew)),
        ("elastic", -3 * HOUR, None),
        ("honeycomb", -1000 * HOUR, None),
    ];
    for (profile, time, reason) in rows {
        let out = one(&mut adapter(profile), gauge(vec![int(0, at(time), 1)]));
        let dropped: Vec<_> = reason.into_iter().map(|reason| (reason, 1)).collect();
        assert_eq!(out.dropped, dropped, "{profile} {time}");
        assert_eq!(out.items, 1 - dropped.len() as u64);
    }
}

#[test]
fn logs_outside_datadogs_window_are_dropped_and_those_without_time_stay() {
    let record = |time_unix_nano, observed_time_unix_nano| LogRecord {
        time_unix_nano,
        observed_time_unix_nano,
        ..LogRecord::default()
    };
    let log_records = vec![
        record(at(-18 * HOUR - 1), 0),
        record(0, at(-18 * HOUR - 1)),
        record(at(-18 * HOUR), 0),
        record(0, 0),
    ];
    let scope = ScopeLogs { log_records, ..ScopeLogs::default() };
    let entry = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    let logs = ExportLogsServiceRequest { resource_logs: vec![entry] }.encode_to_vec().into();
    let out = adapter("datadog").adapt(Signal::Logs, &logs, wall(0));
    assert_eq!((out.items, out.dropped), (2, vec![(DropReason::TooOld, 2)]));
}

#[test]
fn a_cumulative_point_that_is_too_old_is_in_the_next_delta() {
    let mut adapter = adapter("datadog");
    let counter = |time, value| sum(CUMULATIVE, true, vec![int(at(-4 * HOUR), at(time), value)]);
    adapter.adapt(Signal::Metrics, &request(vec![counter(-3 * HOUR, 10)]), wall(-3 * HOUR));
    assert_eq!(one(&mut adapter, counter(-2 * HOUR, 20)).dropped, [(DropReason::TooOld, 1)]);
    let out = numbers(&one(&mut adapter, counter(0, 25)));
    assert_eq!(out, [int(at(-3 * HOUR), at(0), 15)]);
}

#[test]
fn numbers_that_are_none_are_dropped_where_the_vendor_would() {
    for (profile, kept) in [("newrelic", 1), ("elastic-apm", 1), ("prometheus", 3), ("datadog", 3)] {
        let points = vec![double(0, at(0), f64::NAN), double(0, at(0), f64::INFINITY), double(0, at(0), 1.0)];
        let out = one(&mut adapter(profile), gauge(points));
        assert_eq!(out.items, kept, "{profile}");
        let dropped = if kept == 1 { vec![(DropReason::NotFinite, 2)] } else { vec![] };
        assert_eq!(out.dropped, dropped, "{profile}");
    }
}

#[test]
fn deltas_of_one_second_are_added_up_for_datadog() {
    let half = SECOND / 2;
    let points = vec![int(at(0), at(1), 5), int(at(1), at(1) + half, 2), int(at(1) + half, at(2), 1)];
    let out = one(&mut adapter("datadog"), sum(DELTA, true, points));
    assert_eq!(numbers(&out), [int(at(0), at(1) + half, 7), int(at(1) + half, at(2), 1)]);
    assert_eq!(out.dropped, [(DropReason::Merged, 1)]);
}

#[test]
fn deltas_of_one_second_in_two_requests_get_a_second_each_for_datadog() {
    let mut adapter = adapter("datadog");
    let mut send = |time| numbers(&one(&mut adapter, sum(DELTA, true, vec![int(at(0), time, 1)])));
    assert_eq!(send(at(1))[0].time_unix_nano, at(1));
    assert_eq!(send(at(1) + 7)[0].time_unix_nano, at(2));
    assert_eq!(send(at(2) + 7)[0].time_unix_nano, at(3));
    assert_eq!(send(at(9))[0].time_unix_nano, at(9));
    // Far back: nothing of its stream is there, most likely.
    assert_eq!(send(at(-100))[0].time_unix_nano, at(-100));
}

#[test]
fn gauges_of_one_second_are_left_to_the_last() {
    let out = one(&mut adapter("datadog"), gauge(vec![int(0, at(1), 5), int(0, at(1), 6)]));
    assert_eq!((out.items, out.dropped), (2, vec![]));
}

#[test]
fn exponential_histograms_are_made_explicit_where_they_are_refused() {
    let point = |scale| ExponentialHistogramDataPoint {
        start_time_unix_nano: at(-10),
        time_unix_nano: at(0),
        count: 3,
        zero_count: 3,
        scale,
        ..ExponentialHistogramDataPoint::default()
    };
    // Kinds of the metrics that come out for points of scales 0 and -5.
    let kinds = |profile| {
        let adapted = one(&mut adapter(profile), exponential(DELTA, vec![point(0), point(-5)]));
        // Two points of one time: the second is not later where they are added up.
        let kinds = metrics(&adapted.bytes).into_iter().map(|metric| match metric.data {
            Some(Data::Histogram(histogram)) => ("explicit", histogram.data_points.len()),
            Some(Data::ExponentialHistogram(histogram)) => ("exponential", histogram.data_points.len()),
            other => panic!("{other:?}"),
        });
        kinds.collect::<Vec<_>>()
    };
    assert_eq!(kinds("newrelic"), [("exponential", 2)]);
    assert_eq!(kinds("elastic-apm"), [("explicit", 2)]);
    let mut low = adapter("prometheus");
    let out = one(&mut low, exponential(CUMULATIVE, vec![point(0), point(-5)]));
    let kinds: Vec<_> = metrics(&out.bytes)
        .iter()
        .map(|metric| (metric.name.clone(), matches!(metric.data, Some(Data::Histogram(_)))))
        .collect();
    assert_eq!(kinds, [("m0".to_owned(), true), ("m0".to_owned(), false)]);
    assert_eq!(out.items, 2);
}

#[test]
fn rules_of_attributes_alone_leave_temporality_alone() {
    let mut rules = Rules::from(find("otlp").expect("a profile"));
    rules.attributes = AttributeLimits { value_chars_max: Some(3), ..AttributeLimits::NONE };
    rules.ages = PerSignal::all(crate::profile::Age::ANY);
    let mut adapter = Adapter::new(rules);
    let point = NumberDataPoint { attributes: vec![text("k", "äöüß")], ..int(at(0), at(1), 1) };
    let out = one(&mut adapter, sum(DELTA, true, vec![point]));
    assert_eq!(numbers(&out)[0].attributes, [text("k", "äöü")]);
    assert_eq!((out.attributes_changed, adapter.stats().streams), (1, 0));
}
