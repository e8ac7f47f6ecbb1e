use proptest::prelude::*;

use super::*;
use crate::profile::PROFILES;
use crate::proto::metrics::exponential_histogram_data_point::Buckets;

/// What one stream counts in one interval: how much, and in which buckets.
type Added = (u32, [u8; 3]);

fn cumulative_requests(added: &[Added]) -> Vec<Bytes> {
    let (mut total, mut counts, mut value_sum) = (0_i64, [0_u64; 3], 0.0);
    let mut requests = Vec::new();
    for (index, (more, buckets)) in added.iter().enumerate() {
        total += i64::from(*more);
        counts.iter_mut().zip(buckets).for_each(|(count, more)| *count += u64::from(*more));
        // Quarters are exact in binary, so that sums can be compared to the bit.
        value_sum += f64::from(*more) / 4.0;
        let time = at(10 * (index as i64 + 1));
        let exponential_point = ExponentialHistogramDataPoint {
            start_time_unix_nano: at(0),
            time_unix_nano: time,
            count: counts.iter().sum(),
            sum: Some(value_sum),
            scale: 2,
            zero_count: counts[0],
            positive: Some(trimmed(4, &counts[1..2])),
            negative: Some(trimmed(-7, &counts[2..])),
            ..ExponentialHistogramDataPoint::default()
        };
        requests.push(request(vec![
            sum(CUMULATIVE, true, vec![int(at(0), time, total)]),
            sum(CUMULATIVE, true, vec![double(at(0), time, value_sum)]),
            explicit(CUMULATIVE, vec![histogram(at(0), time, value_sum, &counts)]),
            exponential(CUMULATIVE, vec![exponential_point]),
        ]));
    }
    requests
}

/// As the adapter writes them: nothing, at no offset, when all are empty.
fn trimmed(offset: i32, counts: &[u64]) -> Buckets {
    if counts.iter().all(|count| *count == 0) {
        return Buckets::default();
    }
    Buckets { offset, bucket_counts: counts.to_vec() }
}

fn any_point() -> impl Strategy<Value = NumberDataPoint> {
    let value = prop_oneof![
        any::<i64>().prop_map(|int| Some(Number::AsInt(int))),
        any::<f64>().prop_map(|double| Some(Number::AsDouble(double))),
        Just(None)
    ];
    (0..5_u8, 0..40_i64, 0..40_i64, value, 0..2_u32).prop_map(|(stream, start, time, value, flags)| {
        let attributes = vec![text("stream", &stream.to_string()), text("value", "x")];
        let start = if stream % 2 == 0 { 0 } else { at(start) };
        NumberDataPoint { attributes, value, flags, ..int(start, at(time), 0) }
    })
}

fn any_histogram() -> impl Strategy<Value = HistogramDataPoint> {
    let counts = proptest::collection::vec(any::<u64>(), 0..4);
    (0..3_u8, 0..40_i64, counts, any::<Option<f64>>(), 0..4_usize).prop_map(
        |(stream, time, counts, sum, bounds)| HistogramDataPoint {
            attributes: vec![text("stream", &stream.to_string())],
            time_unix_nano: at(time),
            count: counts.iter().fold(0, |sum: u64, count| sum.wrapping_add(*count)),
            sum,
            bucket_counts: counts,
            explicit_bounds: (0..bounds).map(|bound| bound as f64).collect(),
            ..HistogramDataPoint::default()
        },
    )
}

fn any_exponential() -> impl Strategy<Value = ExponentialHistogramDataPoint> {
    let side = || (any::<i32>(), proptest::collection::vec(any::<u64>(), 0..5));
    let numbers = (0..40_i64, any::<i32>(), any::<u64>(), any::<f64>());
    (numbers, side(), side()).prop_map(|((time, scale, zero_count, zero_threshold), positive, negative)| {
        let buckets = |(offset, bucket_counts)| Some(Buckets { offset, bucket_counts });
        ExponentialHistogramDataPoint {
            time_unix_nano: at(time),
            scale,
            zero_count,
            zero_threshold: if zero_count % 2 == 0 { 0.0 } else { zero_threshold },
            positive: buckets(positive),
            negative: buckets(negative),
            ..ExponentialHistogramDataPoint::default()
        }
    })
}

fn any_data() -> impl Strategy<Value = Data> {
    let numbers = || proptest::collection::vec(any_point(), 0..8);
    prop_oneof![
        numbers().prop_map(gauge),
        (0..4_i32, any::<bool>(), numbers()).prop_map(|(is, monotonic, points)| sum(is, monotonic, points)),
        (0..3_i32, proptest::collection::vec(any_histogram(), 0..8))
            .prop_map(|(is, points)| explicit(is, points)),
        (0..3_i32, proptest::collection::vec(any_exponential(), 0..8))
            .prop_map(|(is, points)| exponential(is, points)),
    ]
}

fn any_requests() -> impl Strategy<Value = Vec<Bytes>> {
    proptest::collection::vec(proptest::collection::vec(any_data(), 0..4).prop_map(request), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cumulative_to_delta_to_cumulative_gives_back_the_input(
        added in proptest::collection::vec((any::<u32>(), any::<[u8; 3]>()), 1..12)
    ) {
        let (mut to_delta, mut back) = (toward(Temporality::Delta), toward(Temporality::Cumulative));
        for request in cumulative_requests(&added) {
            let deltas = to_delta.adapt(Signal::Metrics, &request, wall(0));
            prop_assert_eq!(deltas.items, 4);
            let sums = back.adapt(Signal::Metrics, &deltas.bytes, wall(0));
            prop_assert_eq!(metrics(&sums.bytes), metrics(&request));
        }
    }

    #[test]
    fn the_same_requests_give_the_same_bytes_and_no_item_is_lost_uncounted(
        requests in any_requests(),
        profile in 0..PROFILES.len(),
        restart_at in 0..5_usize,
    ) {
        let rules = Rules::from(&PROFILES[profile]);
        let (mut one, mut other) = (Adapter::new(rules.clone()), Adapter::new(rules.clone()));
        for (index, request) in requests.iter().enumerate() {
            if index == restart_at {
                other = Adapter::restore(rules.clone(), &other.snapshot()).expect("a snapshot");
            }
            let items = crate::wire::check(Signal::Metrics, request).expect("a request").items;
            let adapted = one.adapt(Signal::Metrics, request, wall(20));
            let dropped: u64 = adapted.dropped.iter().map(|(_, items)| items).sum();
            prop_assert_eq!(adapted.items + dropped, items);
            let tally = crate::wire::check(Signal::Metrics, &adapted.bytes).expect("a request");
            prop_assert_eq!(tally.items, adapted.items);
            prop_assert_eq!(&adapted, &other.adapt(Signal::Metrics, request, wall(20)));
        }
        prop_assert_eq!(one.snapshot(), other.snapshot());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), profile in 0..PROFILES.len()) {
        let mut adapter = Adapter::new(Rules::from(&PROFILES[profile]));
        for signal in Signal::ALL {
            adapter.adapt(signal, &bytes.clone().into(), wall(0));
        }
    }
}
