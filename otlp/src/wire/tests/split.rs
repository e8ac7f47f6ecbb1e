use bytes::Bytes;

use super::generate::{damaged, request};
use super::*;
use crate::wire::{Part, Split, check, split};

/// The items of some parts, in order. Every part is a request that says how many items it has.
fn items(signal: Signal, parts: &[Part], case: &str) -> Vec<Vec<u8>> {
    let mut items = Vec::new();
    for part in parts {
        let tally = check(signal, &part.bytes).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(tally.items, part.items, "{case}");
        assert!(part.items > 0, "{case}: an empty part");
        items.extend(Decoded::of(signal, &part.bytes).unwrap().items());
    }
    items
}

fn holds(signal: Signal, bytes: &Bytes, bytes_max: usize, case: &str) -> Split {
    let expected = Decoded::of(signal, bytes).unwrap().items();
    let split = split(signal, bytes, bytes_max).unwrap();
    assert!(split.parts.iter().all(|part| part.bytes.len() <= bytes_max), "{case}: a part over the limit");
    assert!(
        split.oversize.iter().all(|part| part.bytes.len() > bytes_max),
        "{case}: oversize that would fit"
    );
    let in_parts = items(signal, &split.parts, case);
    let mut in_parts = in_parts.iter().peekable();
    let oversize = items(signal, &split.oversize, case);
    let mut oversize = oversize.iter().peekable();
    for item in &expected {
        if in_parts.next_if_eq(&item).is_none() {
            assert!(
                oversize.next_if_eq(&item).is_some(),
                "{case}: an item is missing or changed: {bytes:02x?}"
            );
        }
    }
    assert!(in_parts.next().is_none() && oversize.next().is_none(), "{case}: an item too many");
    split
}

/// Guarantees: all items in order with all that is around them, no part over the limit, at any limit.
#[test]
fn the_parts_hold_the_items_in_order_with_all_that_is_around_them() {
    let (mut parts, mut oversize) = (0, 0);
    for seed in 0..8_000 {
        let signal = Signal::ALL[(seed % 3) as usize];
        let bytes = Bytes::from(request(signal, seed));
        if check(signal, &bytes).is_err() {
            continue;
        }
        let bytes_max = fastrand::Rng::with_seed(seed).usize(0..bytes.len() + 20);
        let split = holds(signal, &bytes, bytes_max, &format!("seed {seed}, limit {bytes_max}"));
        parts += split.parts.len();
        oversize += split.oversize.len();
    }
    assert!(parts > 5_000 && oversize > 1_000, "{parts} parts, {oversize} oversize");
}

#[test]
fn a_damaged_request_is_split_or_refused() {
    for seed in 0..6_000 {
        let signal = Signal::ALL[(seed % 3) as usize];
        let bytes = Bytes::from(damaged(signal, request(signal, seed), seed));
        drop(split(signal, &bytes, bytes.len() / 2));
    }
}

fn logs(resource_bytes: usize, records: &[usize]) -> Bytes {
    use crate::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};
    let record = |&length: &usize| LogRecord { severity_text: "x".repeat(length), ..LogRecord::default() };
    let scope = ScopeLogs { log_records: records.iter().map(record).collect(), ..ScopeLogs::default() };
    let attributes = vec![string_attribute("k", &"r".repeat(resource_bytes))];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let entry =
        ResourceLogs { resource, scope_logs: vec![scope], schema_url: "https://example.org/1".to_owned() };
    ExportLogsServiceRequest { resource_logs: vec![entry] }.encode_to_vec().into()
}

/// Around the size of one record with its envelopes, byte by byte.
#[test]
fn a_record_is_oversize_only_if_it_fits_into_no_request() {
    for record in [60, 300, 17_000] {
        let alone = logs(10, &[record]).len();
        let bytes = logs(10, &[1, record, 2]);
        for bytes_max in alone - 3..alone + 3 {
            let split =
                holds(Signal::Logs, &bytes, bytes_max, &format!("record {record}, limit {bytes_max}"));
            assert_eq!(
                split.oversize.len(),
                usize::from(bytes_max < alone),
                "record {record}, limit {bytes_max}"
            );
        }
    }
}

#[test]
fn parts_are_filled_before_another_is_begun() {
    let bytes = logs(100, &[390; 1_000]);
    let split = holds(Signal::Logs, &bytes, 64 << 10, "");
    let (last, full) = split.parts.split_last().unwrap();
    assert!(full.iter().all(|part| part.bytes.len() > (64 << 10) - 400), "{:?}", full.len());
    assert!(full.len() == 6 && last.items > 0);
}

#[test]
fn a_request_within_the_limit_is_its_own_only_part_and_not_copied() {
    let bytes = logs(100, &[390; 10]);
    let split = split(Signal::Logs, &bytes, bytes.len()).unwrap();
    assert_eq!(split.parts, [Part { bytes: bytes.clone(), items: 10 }]);
    assert_eq!(split.parts[0].bytes.as_ptr(), bytes.as_ptr());
    assert!(split.oversize.is_empty());
}

#[test]
fn entries_that_fit_are_put_together_uncopied() {
    let bytes = Bytes::from(logs(10, &[300]).repeat(10));
    let split = holds(Signal::Logs, &bytes, bytes.len() / 3, "");
    assert_eq!(split.parts.iter().map(|part| part.items).collect::<Vec<_>>(), [3, 3, 3, 1]);
    assert!(split.parts.iter().all(|part| bytes.as_ptr_range().contains(&part.bytes.as_ptr())));
}

#[test]
fn a_request_without_items_has_no_parts() {
    assert_eq!(split(Signal::Logs, &Bytes::new(), 100), Ok(Split::default()));
    assert_eq!(split(Signal::Logs, &logs(1_000, &[]), 100), Ok(Split::default()));
    assert_eq!(split(Signal::Logs, &logs(10, &[]), 100), Ok(Split::default()));
}

/// A huge Resource over many small records would come back once a record: 10,000 copies of 1 MiB.
#[test]
fn a_huge_resource_is_not_multiplied_by_its_records() {
    for resource_bytes in [900_000, 1_048_000, 2_000_000] {
        let bytes = logs(resource_bytes, &[20; 10_000]);
        let split = split(Signal::Logs, &bytes, 1 << 20).unwrap();
        let parts = split.parts.iter().chain(&split.oversize);
        assert_eq!(parts.clone().map(|part| part.items).sum::<u64>(), 10_000, "resource of {resource_bytes}");
        let total: usize = parts.map(|part| part.bytes.len()).sum();
        assert!(total < bytes.len() * 3, "{total} from {}", bytes.len());
    }
}

#[test]
fn a_metric_is_split_by_its_points_and_keeps_its_name_and_temporality() {
    use crate::proto::metrics::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};
    let point = |time| NumberDataPoint { time_unix_nano: time, ..NumberDataPoint::default() };
    let sum =
        Sum { data_points: (1..=500).map(point).collect(), aggregation_temporality: 1, is_monotonic: true };
    let metric = Metric {
        name: "tokens".to_owned(),
        unit: "{token}".to_owned(),
        data: Some(Data::Sum(sum)),
        ..Metric::default()
    };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    let entry = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
    let bytes = Bytes::from(ExportMetricsServiceRequest { resource_metrics: vec![entry] }.encode_to_vec());
    let split = holds(Signal::Metrics, &bytes, 1_000, "");
    assert!(split.parts.len() > 5 && split.oversize.is_empty());
    for part in &split.parts {
        let Decoded::Metrics(decoded) = Decoded::of(Signal::Metrics, &part.bytes).unwrap() else { panic!() };
        let metric = &decoded.resource_metrics[0].scope_metrics[0].metrics[0];
        let Some(Data::Sum(sum)) = &metric.data else { panic!() };
        assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("tokens", "{token}"));
        assert_eq!((sum.aggregation_temporality, sum.is_monotonic), (1, true));
    }
}

/// A metric whose data changes its kind has only the points of the last kind.
#[test]
fn points_that_a_later_kind_replaces_are_in_no_part() {
    let point = [0x0a, 9, 0x19, 1, 2, 3, 4, 5, 6, 7, 8];
    let data = |number: u32| [&[(number << 3 | 2) as u8, 11][..], &point].concat();
    let metric = [data(5), data(7), data(5), data(5)].concat();
    let wrap = |number: u8, value: Vec<u8>| [&[number << 3 | 2, value.len() as u8][..], &value].concat();
    let bytes = Bytes::from(wrap(1, wrap(2, wrap(2, metric))));
    assert_eq!(check(Signal::Metrics, &bytes).unwrap().items, 2);
    for bytes_max in 0..bytes.len() {
        holds(Signal::Metrics, &bytes, bytes_max, &format!("limit {bytes_max}"));
    }
}
