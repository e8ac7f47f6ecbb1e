use super::super::exponential::{EXPLICIT_BUCKETS_MAX, to_explicit};
use super::*;
use crate::proto::metrics::exponential_histogram_data_point::Buckets;

fn buckets(offset: i32, counts: &[u64]) -> Option<Buckets> {
    Some(Buckets { offset, bucket_counts: counts.to_vec() })
}

fn point(
    scale: i32,
    zero: u64,
    positive: Option<Buckets>,
    negative: Option<Buckets>,
) -> ExponentialHistogramDataPoint {
    let counted = |side: &Option<Buckets>| side.iter().flat_map(|side| &side.bucket_counts).sum::<u64>();
    ExponentialHistogramDataPoint {
        start_time_unix_nano: at(0),
        time_unix_nano: at(10),
        count: zero + counted(&positive) + counted(&negative),
        sum: Some(1.0),
        scale,
        zero_count: zero,
        positive,
        negative,
        ..ExponentialHistogramDataPoint::default()
    }
}

#[test]
fn every_bucket_keeps_its_bounds() {
    // (1,2] 3 values, (4,8] 1; zeros 2; [-4,-2) 5.
    let explicit = to_explicit(point(0, 2, buckets(0, &[3, 0, 1]), buckets(1, &[5])));
    assert_eq!(explicit.explicit_bounds, [-4.0, -2.0, 0.0, 1.0, 2.0, 4.0, 8.0]);
    assert_eq!(explicit.bucket_counts, [0, 5, 2, 0, 3, 0, 1, 0]);
    assert_eq!((explicit.count, explicit.sum, explicit.time_unix_nano), (11, Some(1.0), at(10)));
}

#[test]
fn scales_above_and_below_zero_have_the_bases_of_the_data_model() {
    let fine = to_explicit(point(1, 0, buckets(1, &[1]), None));
    assert_eq!(fine.explicit_bounds, [2f64.sqrt(), 2.0]);
    let coarse = to_explicit(point(-1, 0, buckets(1, &[1]), None));
    assert_eq!(coarse.explicit_bounds, [4.0, 16.0]);
}

#[test]
fn zeros_alone_are_under_their_threshold() {
    let explicit =
        to_explicit(ExponentialHistogramDataPoint { zero_threshold: 0.25, ..point(3, 4, None, None) });
    assert_eq!((explicit.explicit_bounds, explicit.bucket_counts), (vec![0.25], vec![4, 0]));
    let empty = to_explicit(point(3, 0, None, None));
    assert_eq!((empty.explicit_bounds, empty.bucket_counts), (vec![], vec![0]));
}

#[test]
fn explicit_histograms_are_always_well_formed() {
    let ends = [i32::MIN, -5000, -1, 0, 1, 5000, i32::MAX - 400];
    for scale in [i32::MIN, -40, -11, -1, 0, 3, 20, 60, i32::MAX] {
        for positive in ends {
            for negative in ends {
                let histogram = point(scale, 1, buckets(positive, &[1; 300]), buckets(negative, &[1; 300]));
                let count = histogram.count;
                let explicit = to_explicit(histogram);
                let what = format!("scale {scale}, offsets {positive} and {negative}: {explicit:?}");
                assert_eq!(explicit.bucket_counts.len(), explicit.explicit_bounds.len() + 1, "{what}");
                assert!(explicit.explicit_bounds.is_sorted_by(|a, b| a < b), "{what}");
                assert!(explicit.explicit_bounds.iter().all(|bound| bound.is_finite()), "{what}");
                assert_eq!(explicit.bucket_counts.iter().sum::<u64>(), count, "{what}");
                assert!(explicit.bucket_counts.len() <= 2 * EXPLICIT_BUCKETS_MAX + 4, "{what}");
            }
        }
    }
}

#[test]
fn exponential_deltas_add_up_at_the_lower_scale() {
    let mut adapter = toward(Temporality::Cumulative);
    one(&mut adapter, exponential(DELTA, vec![point(1, 1, buckets(-2, &[1, 1, 1, 1]), None)]));
    let later = ExponentialHistogramDataPoint {
        start_time_unix_nano: at(10),
        time_unix_nano: at(20),
        ..point(0, 2, buckets(1, &[7]), None)
    };
    let out = one(&mut adapter, exponential(DELTA, vec![later]));
    let Some(Data::ExponentialHistogram(sum)) = metrics(&out.bytes).remove(0).data else {
        panic!("a histogram")
    };
    let sum = &sum.data_points[0];
    assert_eq!((sum.start_time_unix_nano, sum.time_unix_nano), (at(0), at(20)));
    assert_eq!((sum.count, sum.zero_count, sum.scale), (14, 3, 0));
    assert_eq!(sum.positive, buckets(-1, &[2, 2, 7]));
}

#[test]
fn far_buckets_do_not_make_a_wide_sum() {
    let mut adapter = toward(Temporality::Cumulative);
    for (time, offset) in [(10, i32::MIN), (20, 0), (30, i32::MAX)] {
        let delta = ExponentialHistogramDataPoint {
            time_unix_nano: at(time),
            ..point(0, 0, buckets(offset, &[1]), None)
        };
        let out = one(&mut adapter, exponential(DELTA, vec![delta]));
        assert_eq!(out.items, 1);
    }
    assert!(adapter.stats().state_bytes < 5000);
}

#[test]
fn an_exponential_difference_survives_a_change_of_scale() {
    let mut adapter = toward(Temporality::Delta);
    adapter.adapt(Signal::Metrics, &request(vec![]), wall(-60));
    let first = point(1, 1, buckets(0, &[1, 2]), None);
    one(&mut adapter, exponential(CUMULATIVE, vec![first]));
    let later =
        ExponentialHistogramDataPoint { time_unix_nano: at(20), ..point(0, 1, buckets(0, &[5, 1]), None) };
    let out = one(&mut adapter, exponential(CUMULATIVE, vec![later]));
    let Some(Data::ExponentialHistogram(delta)) = metrics(&out.bytes).remove(0).data else {
        panic!("a histogram")
    };
    let delta = &delta.data_points[0];
    assert_eq!((delta.count, delta.zero_count, delta.scale), (3, 0, 0));
    assert_eq!(delta.positive, buckets(0, &[2, 1]));
    assert_eq!(delta.start_time_unix_nano, at(10));
}
