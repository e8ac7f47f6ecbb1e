use super::*;

/// What comes out for cumulative points of one monotonic sum, one request each, when the adapter begins at [`NOW`].
fn deltas(points: &[(i64, i64, i64)]) -> Vec<Result<(i64, i64, i64), DropReason>> {
    let mut adapter = toward(Temporality::Delta);
    let mut out = Vec::new();
    for (start, time, value) in points {
        let start = if *start == i64::MIN { 0 } else { at(*start) };
        let adapted = one(&mut adapter, sum(CUMULATIVE, true, vec![int(start, at(*time), *value)]));
        out.push(outcome(&adapted));
    }
    out
}

fn outcome(adapted: &Adapted) -> Result<(i64, i64, i64), DropReason> {
    if let Some((reason, 1)) = adapted.dropped.first() {
        assert!(adapted.bytes.is_empty(), "an empty request has no envelope");
        return Err(*reason);
    }
    let points = numbers(adapted);
    let Some(Number::AsInt(value)) = points[0].value else { panic!("no integer: {points:?}") };
    let seconds = |ns: u64| (ns / SECOND) as i64 - NOW as i64;
    Ok((seconds(points[0].start_time_unix_nano), seconds(points[0].time_unix_nano), value))
}

#[test]
fn a_counter_that_began_while_we_watched_counts_in_full() {
    assert_eq!(deltas(&[(0, 10, 5), (0, 20, 7)]), [Ok((0, 10, 5)), Ok((10, 20, 2))]);
}

#[test]
fn a_counter_from_before_is_a_baseline_first() {
    use DropReason::Baseline;
    assert_eq!(deltas(&[(-60, 10, 5), (-60, 20, 7)]), [Err(Baseline), Ok((10, 20, 2))]);
}

#[test]
fn a_counter_without_a_start_is_a_baseline_first() {
    use DropReason::Baseline;
    let unknown = i64::MIN;
    assert_eq!(deltas(&[(unknown, 10, 5), (unknown, 20, 7)]), [Err(Baseline), Ok((10, 20, 2))]);
    assert_eq!(deltas(&[(10, 10, 5), (20, 20, 7)]), [Err(Baseline), Ok((10, 20, 2))]);
}

#[test]
fn a_counter_that_falls_began_anew() {
    assert_eq!(deltas(&[(0, 10, 50), (15, 20, 7)])[1], Ok((15, 20, 7)));
    // The same start, as sources have it that set it once.
    assert_eq!(deltas(&[(0, 10, 50), (0, 20, 7)])[1], Ok((10, 20, 7)));
    // A start that is not known adds nothing.
    assert_eq!(
        deltas(&[(0, 10, 50), (20, 20, 7), (30, 30, 9)])[1..],
        [Err(DropReason::Baseline), Ok((20, 30, 2))]
    );
}

#[test]
fn a_restart_that_has_caught_up_is_seen_by_its_start() {
    assert_eq!(deltas(&[(0, 10, 50), (12, 20, 60)])[1], Ok((12, 20, 60)));
}

#[test]
fn a_point_that_is_not_later_is_dropped_and_leaves_the_baseline() {
    use DropReason::OutOfOrder;
    let out = deltas(&[(0, 10, 5), (0, 10, 5), (0, 5, 3), (0, 20, 9)]);
    assert_eq!(out, [Ok((0, 10, 5)), Err(OutOfOrder), Err(OutOfOrder), Ok((10, 20, 4))]);
}

#[test]
fn streams_are_told_apart_by_attributes_in_any_order() {
    let mut adapter = toward(Temporality::Delta);
    let with = |attributes: Vec<KeyValue>, time, value| NumberDataPoint {
        attributes,
        ..int(at(0), at(time), value)
    };
    let (a, b) = (text("a", "1"), text("b", "2"));
    let first = vec![with(vec![a.clone(), b.clone()], 10, 5), with(vec![a.clone()], 10, 100)];
    one(&mut adapter, sum(CUMULATIVE, true, first));
    let second = vec![with(vec![b, a.clone()], 20, 6), with(vec![a], 20, 130)];
    let out = numbers(&one(&mut adapter, sum(CUMULATIVE, true, second)));
    assert_eq!(
        out.iter().map(|point| point.value).collect::<Vec<_>>(),
        [Some(Number::AsInt(1)), Some(Number::AsInt(30))]
    );
}

#[test]
fn a_histogram_becomes_the_difference_of_its_buckets() {
    let mut adapter = toward(Temporality::Delta);
    one(&mut adapter, explicit(CUMULATIVE, vec![histogram(at(0), at(10), 3.0, &[1, 2, 0])]));
    let later = HistogramDataPoint { min: Some(0.5), ..histogram(at(0), at(20), 10.0, &[1, 4, 3]) };
    let out = histograms(&one(&mut adapter, explicit(CUMULATIVE, vec![later])));
    assert_eq!(out, [histogram(at(10), at(20), 7.0, &[0, 2, 3])], "least and greatest are not known");
}

#[test]
fn a_histogram_with_other_bounds_is_a_new_baseline() {
    let mut adapter = toward(Temporality::Delta);
    one(&mut adapter, explicit(CUMULATIVE, vec![histogram(at(0), at(10), 3.0, &[1, 2, 0])]));
    let other = histogram(at(0), at(20), 10.0, &[4, 4]);
    let out = one(&mut adapter, explicit(CUMULATIVE, vec![other]));
    assert_eq!(out.dropped, [(DropReason::Baseline, 1)]);
}

#[test]
fn deltas_add_up_since_the_first_ones_start() {
    let mut adapter = toward(Temporality::Cumulative);
    // Aligned, after a gap, overlapping, and one that is not later.
    let deltas = [(0, 10, 5), (10, 20, 2), (40, 50, 1), (45, 60, 1), (50, 60, 9)];
    let out = deltas.map(|(start, time, value)| {
        outcome(&one(&mut adapter, sum(DELTA, true, vec![int(at(start), at(time), value)])))
    });
    let sums = [Ok((0, 10, 5)), Ok((0, 20, 7)), Ok((0, 50, 8)), Ok((0, 60, 9)), Err(DropReason::OutOfOrder)];
    assert_eq!(out, sums);
}

#[test]
fn a_delta_without_a_start_is_counted_too() {
    let mut adapter = toward(Temporality::Cumulative);
    let out = numbers(&one(&mut adapter, sum(DELTA, true, vec![int(0, at(10), 5)])));
    assert_eq!(out, [int(at(10) - 1, at(10), 5)]);
}

#[test]
fn delta_histograms_add_up_with_least_and_greatest() {
    let mut adapter = toward(Temporality::Cumulative);
    let with =
        |point: HistogramDataPoint, min, max| HistogramDataPoint { min: Some(min), max: Some(max), ..point };
    let first = with(histogram(at(0), at(10), 3.0, &[1, 2, 0]), 0.5, 2.0);
    let second = with(histogram(at(10), at(20), 4.0, &[0, 1, 1]), 1.5, 7.0);
    one(&mut adapter, explicit(DELTA, vec![first]));
    let out = histograms(&one(&mut adapter, explicit(DELTA, vec![second])));
    assert_eq!(out, [with(histogram(at(0), at(20), 7.0, &[1, 3, 1]), 0.5, 7.0)]);
}

#[test]
fn deltas_with_other_bounds_begin_a_sum_after_the_one_before() {
    let mut adapter = toward(Temporality::Cumulative);
    one(&mut adapter, explicit(DELTA, vec![histogram(at(0), at(10), 3.0, &[1, 2, 0])]));
    let other = histogram(at(5), at(20), 4.0, &[4, 4]);
    let out = histograms(&one(&mut adapter, explicit(DELTA, vec![other])));
    assert_eq!(out, [histogram(at(10), at(20), 4.0, &[4, 4])]);
}

#[test]
fn a_sum_past_64_bits_goes_on_as_a_double() {
    let mut adapter = toward(Temporality::Cumulative);
    one(&mut adapter, sum(DELTA, true, vec![int(at(0), at(10), i64::MAX)]));
    let out = numbers(&one(&mut adapter, sum(DELTA, true, vec![int(at(10), at(20), 1)])));
    assert_eq!(out[0].value, Some(Number::AsDouble(i64::MAX as f64 + 1.0)));
}

#[test]
fn what_cannot_be_added_is_dropped_and_counted() {
    let mut adapter = toward(Temporality::Cumulative);
    let no_value = NumberDataPoint { flags: 1, value: None, ..int(at(0), at(1), 0) };
    let mut crooked = histogram(at(0), at(1), 1.0, &[1, 2, 3]);
    crooked.explicit_bounds.pop();
    let out = adapter.adapt(
        Signal::Metrics,
        &request(vec![
            sum(DELTA, true, vec![no_value, double(at(0), at(1), f64::NAN), int(at(0), 0, 1)]),
            sum(0, true, vec![int(at(0), at(1), 1)]),
            explicit(DELTA, vec![crooked, histogram(at(0), at(1), 1.0, &vec![1; 5000])]),
        ]),
        wall(0),
    );
    assert_eq!(out.items, 0);
    assert_eq!(out.dropped, [(DropReason::NotFinite, 1), (DropReason::NoValue, 1), (DropReason::Invalid, 4)]);
}

#[test]
fn points_of_the_wanted_temporality_go_as_they_are() {
    for (wanted, is) in [(Temporality::Delta, DELTA), (Temporality::Cumulative, CUMULATIVE)] {
        let mut adapter = toward(wanted);
        let data = request(vec![sum(is, true, vec![int(at(0), at(10), 5), int(at(0), at(10), 5)])]);
        let out = adapter.adapt(Signal::Metrics, &data, wall(0));
        assert_eq!((out.items, out.bytes), (2, data));
        assert_eq!(adapter.stats().streams, 0);
    }
}
