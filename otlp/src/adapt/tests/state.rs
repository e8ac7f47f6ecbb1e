use super::super::SnapshotError;
use super::super::exponential::ADDED_BUCKETS_MAX;
use super::*;
use crate::proto::metrics::exponential_histogram_data_point::Buckets;

fn rules(streams_max: usize) -> Rules {
    Rules { streams_max, ..toward(Temporality::Delta).rules }
}

fn counter(name: &str, start: i64, time: i64, value: i64) -> Data {
    let point = NumberDataPoint { attributes: vec![text("stream", name)], ..int(at(start), at(time), value) };
    sum(CUMULATIVE, true, vec![point])
}

#[test]
fn past_the_bound_the_stream_silent_longest_is_forgotten_and_never_counted_twice() {
    let mut adapter = Adapter::new(rules(2));
    for name in ["a", "b", "a", "c"] {
        let time = 10 + adapter.generation() as i64;
        one(&mut adapter, counter(name, 0, time, 5));
    }
    let stats = adapter.stats();
    assert_eq!((stats.streams, stats.streams_forgotten), (2, 1));
    // `a` and `c` are known; `b` comes back with all that it counted, which went out before.
    assert_eq!(
        numbers(&one(&mut adapter, counter("a", 0, 100, 6))),
        [NumberDataPoint { attributes: vec![text("stream", "a")], ..int(at(13), at(100), 1) }]
    );
    assert_eq!(one(&mut adapter, counter("b", 0, 100, 6)).dropped, [(DropReason::Baseline, 1)]);
}

#[test]
fn bytes_are_bounded_as_streams_are() {
    let mut adapter = Adapter::new(Rules { state_bytes_max: 10_000, ..rules(1000) });
    for index in 0..100 {
        let attributes = vec![text("stream", &index.to_string())];
        let point = HistogramDataPoint { attributes, ..histogram(at(0), at(10), 1.0, &[1; 100]) };
        one(&mut adapter, explicit(CUMULATIVE, vec![point]));
    }
    let stats = adapter.stats();
    assert!(stats.state_bytes <= 10_000 && stats.streams > 1, "{stats:?}");
    assert_eq!(stats.streams as u64 + stats.streams_forgotten, 100);
}

/// One with a stream of each kind and direction.
fn full() -> Adapter {
    let mut adapter = Adapter::new(Rules::from(find("datadog").expect("a profile")));
    let side = Some(Buckets { offset: -3, bucket_counts: vec![1; ADDED_BUCKETS_MAX] });
    let exponential_point = ExponentialHistogramDataPoint {
        time_unix_nano: at(10),
        positive: side.clone(),
        negative: side,
        min: Some(-1.0),
        ..ExponentialHistogramDataPoint::default()
    };
    let data = vec![
        counter("a", 0, 10, 5),
        sum(CUMULATIVE, true, vec![double(at(0), at(10), 0.5)]),
        sum(DELTA, true, vec![int(at(0), at(10), 5)]),
        sum(DELTA, false, vec![int(at(0), at(10), -5)]),
        explicit(CUMULATIVE, vec![histogram(at(0), at(10), 3.0, &[1, 2, 0])]),
        exponential(CUMULATIVE, vec![exponential_point]),
    ];
    adapter.adapt(Signal::Metrics, &request(data), wall(0));
    adapter
}

#[test]
fn a_restored_adapter_goes_on_as_the_one_that_was_kept() {
    let mut kept = full();
    let snapshot = kept.snapshot();
    let mut restored = Adapter::restore(kept.rules.clone(), &snapshot).expect("a snapshot");
    assert_eq!(restored.snapshot(), snapshot);
    assert_eq!(restored.stats(), kept.stats());
    let next = request(vec![counter("a", 0, 20, 9), counter("new", 5, 20, 3)]);
    let (a, b) =
        (kept.adapt(Signal::Metrics, &next, wall(20)), restored.adapt(Signal::Metrics, &next, wall(20)));
    assert_eq!(a, b);
    assert_eq!(kept.snapshot(), restored.snapshot());
    assert_eq!(a.items, 2);
}

#[test]
fn an_empty_adapter_has_a_snapshot_too() {
    let empty = Adapter::new(rules(10));
    let restored = Adapter::restore(rules(10), &empty.snapshot()).expect("a snapshot");
    assert_eq!(restored.stats().streams, 0);
}

#[test]
fn a_snapshot_that_was_cut_or_changed_is_refused() {
    let snapshot = full().snapshot();
    let restore = |bytes: &[u8]| Adapter::restore(rules(10), bytes).map(|_| ());
    for end in 0..snapshot.len() {
        assert_eq!(restore(&snapshot[..end]), Err(SnapshotError::Corrupt), "cut at {end}");
    }
    for at in 0..snapshot.len() {
        let mut changed = snapshot.clone();
        changed[at] ^= 0x10;
        assert_eq!(restore(&changed), Err(SnapshotError::Corrupt), "changed at {at}");
    }
}

#[test]
fn bytes_with_a_good_checksum_are_still_only_read_within_bounds() {
    let snapshot = full().snapshot();
    let body = &snapshot[..snapshot.len() - 4];
    let seed = 20_261_121;
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..20_000 {
        let mut changed = body.to_vec();
        for _ in 0..random.usize(1..4) {
            let place = random.usize(..changed.len());
            changed[place] = random.u8(..);
        }
        changed.truncate(random.usize(changed.len() / 2..=changed.len()));
        let crc = crc32c::crc32c(&changed);
        changed.extend_from_slice(&crc.to_le_bytes());
        if let Ok(mut adapter) = Adapter::restore(Rules::from(find("datadog").expect("there")), &changed) {
            let out = one(&mut adapter, counter("a", 0, 30, 9));
            let dropped: u64 = out.dropped.iter().map(|(_, items)| items).sum();
            assert_eq!(out.items + dropped, 1, "seed {seed}, round {round}");
        }
    }
}

#[test]
fn a_snapshot_of_another_version_says_so() {
    let mut snapshot = full().snapshot();
    snapshot.truncate(snapshot.len() - 4);
    snapshot[4] = 9;
    let crc = crc32c::crc32c(&snapshot);
    snapshot.extend_from_slice(&crc.to_le_bytes());
    assert_eq!(Adapter::restore(rules(10), &snapshot).map(|_| ()), Err(SnapshotError::Version(9)));
}

/// A snapshot of version 1 as its first program wrote it: streams are seen since second 2, and one counter is at 5 at second
/// 10. Checked against the layout in the head of `snapshot.rs`.
const VERSION_1: &str = concat!(
    "4d554144",                         // magic
    "0100",                             // version
    "010094672b92d4b318",               // seen since
    "01000000",                         // one stream
    "692fec4ea6ed4791f6726c37377c9627", // its id
    "00",                               // toward delta
    "005e026792d4b318",                 // start
    "00e43d0894d4b318",                 // time
    "0000000000000000",                 // second
    "000500000000000000",               // an integer, 5
    "28a38a57"                          // checksum
);

#[test]
fn version_1_is_read_for_ever() {
    let bytes: Vec<u8> = (0..VERSION_1.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&VERSION_1[at..at + 2], 16).expect("hex"))
        .collect();
    let mut written = Adapter::new(rules(10));
    let data = request(vec![counter("a", 3, 10, 5)]);
    written.adapt(Signal::Metrics, &data, wall(2));
    assert_eq!(written.snapshot(), bytes, "what is written changed: raise the version");
    let mut read = Adapter::restore(rules(10), &bytes).expect("a snapshot");
    assert_eq!(one(&mut read, counter("a", 3, 20, 9)).items, 1);
}

#[test]
fn streams_that_began_before_a_given_time_are_baselines() {
    let mut adapter = Adapter::starting_at(rules(10), wall(-100));
    assert_eq!(one(&mut adapter, counter("old", -101, -50, 5)).dropped, [(DropReason::Baseline, 1)]);
    assert_eq!(one(&mut adapter, counter("new", -99, -50, 5)).items, 1);
}

#[test]
fn a_smaller_bound_after_a_restart_forgets_the_oldest() {
    let mut adapter = Adapter::new(rules(10));
    for name in ["a", "b", "c"] {
        one(&mut adapter, counter(name, 1, 10, 5));
    }
    let mut smaller = Adapter::restore(rules(2), &adapter.snapshot()).expect("a snapshot");
    assert_eq!((smaller.stats().streams, smaller.stats().streams_forgotten), (2, 1));
    assert_eq!(one(&mut smaller, counter("a", 1, 20, 6)).dropped, [(DropReason::Baseline, 1)]);
}

#[test]
fn the_generation_stands_still_while_nothing_changes() {
    let mut adapter = adapter("datadog");
    one(&mut adapter, counter("a", 0, 10, 5));
    let before = (adapter.generation(), adapter.snapshot());
    one(&mut adapter, gauge(vec![int(0, at(10), 1)]));
    assert_eq!((adapter.generation(), adapter.snapshot()), before);
    one(&mut adapter, counter("a", 0, 20, 6));
    assert!(adapter.generation() > before.0);
}
