use bytes::{BufMut, BytesMut};

use super::generate::{damaged, request};
use super::*;
use crate::wire::reader::Reader;
use crate::wire::{ITEM_ID, Stamp, check, stamp};

const SET: [(&str, &str); 3] = [("user.name", "ada"), ("muster.team", "kern"), ("host.name", "")];

fn full_stamp() -> Stamp {
    let mut stamp = Stamp::new();
    for (key, value) in SET {
        stamp.set(key, value);
    }
    stamp.record_ids("0123abcd-7-42");
    stamp
}

/// What prost makes of the request, with the stamp put in by hand.
fn stamped_by_hand(signal: Signal, bytes: &[u8]) -> Decoded {
    let mut decoded = Decoded::of(signal, bytes).unwrap();
    for resource in decoded.resources_mut() {
        let attributes = &mut resource.get_or_insert_default().attributes;
        attributes.retain(|attribute| SET.iter().all(|(key, _)| attribute.key != *key));
        attributes.extend(SET.iter().map(|(key, value)| string_attribute(key, value)));
    }
    if let Decoded::Logs(request) = &mut decoded {
        let scopes = request.resource_logs.iter_mut().flat_map(|entry| &mut entry.scope_logs);
        for (index, record) in scopes.flat_map(|scope| &mut scope.log_records).enumerate() {
            record.attributes.retain(|attribute| attribute.key != ITEM_ID);
            record.attributes.push(string_attribute(ITEM_ID, &format!("0123abcd-7-42.{index}")));
        }
    }
    decoded
}

/// Fields of no known number at the levels that stamping takes apart.
fn unknown_fields(signal: Signal, bytes: &[u8]) -> Vec<Vec<u8>> {
    fn walk(mut reader: Reader<'_>, path: &[u32], known: u32, found: &mut Vec<Vec<u8>>) {
        while let Some(field) = reader.field().unwrap() {
            match path.split_first() {
                Some((&number, below)) if field.number() == number => {
                    walk(field.message().unwrap(), below, if below.is_empty() { 16 } else { 3 }, found);
                }
                _ if field.number() > known => found.push(field.whole().to_vec()),
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(Reader::new(bytes), &[1, 1], 1, &mut found);
    walk(Reader::new(bytes), &[1, 2], 1, &mut found);
    if signal == Signal::Logs {
        walk(Reader::new(bytes), &[1, 2, 2], 1, &mut found);
    }
    found.sort();
    found
}

/// Guarantees: decoded, the stamped request is the request with the attributes replaced and nothing else changed;
/// unknown fields are kept; the tally is the request's.
#[test]
fn a_stamped_request_differs_by_the_stamp_only() {
    let mut unknown = 0;
    for seed in 0..6_000 {
        let signal = Signal::ALL[(seed % 3) as usize];
        let bytes = request(signal, seed);
        let Ok(tally) = check(signal, &bytes) else { continue };
        let mut out = BytesMut::from(&b"before"[..]);
        assert_eq!(stamp(signal, &bytes, &full_stamp(), &mut out), Ok(tally), "seed {seed}");
        let stamped = out.strip_prefix(b"before").unwrap();
        assert_eq!(check(signal, stamped), Ok(tally), "seed {seed}");
        let expected = stamped_by_hand(signal, &bytes).encode();
        assert_eq!(Decoded::of(signal, stamped).unwrap().encode(), expected, "seed {seed}: {bytes:02x?}");
        assert_eq!(unknown_fields(signal, stamped), unknown_fields(signal, &bytes), "seed {seed}");
        unknown += unknown_fields(signal, &bytes).len();
    }
    assert!(unknown > 50, "{unknown}");
}

#[test]
fn stamping_twice_is_stamping_once() {
    for seed in 0..2_000 {
        let signal = Signal::ALL[(seed % 3) as usize];
        let bytes = request(signal, seed);
        let (mut once, mut twice) = (BytesMut::new(), BytesMut::new());
        if stamp(signal, &bytes, &full_stamp(), &mut once).is_ok() {
            stamp(signal, &once, &full_stamp(), &mut twice).unwrap();
            assert_eq!(once, twice, "seed {seed}");
        }
    }
}

#[test]
fn an_empty_stamp_changes_nothing_that_prost_sees() {
    for seed in 0..2_000 {
        let signal = Signal::ALL[(seed % 3) as usize];
        let bytes = request(signal, seed);
        let Ok(decoded) = Decoded::of(signal, &bytes) else { continue };
        let mut out = BytesMut::new();
        stamp(signal, &bytes, &Stamp::new(), &mut out).unwrap();
        assert_eq!(Decoded::of(signal, &out).unwrap().encode(), decoded.encode(), "seed {seed}");
    }
}

#[test]
fn a_damaged_request_is_stamped_or_refused_without_a_trace() {
    let mut refused = 0;
    for seed in 0..6_000 {
        let signal = Signal::ALL[(seed % 3) as usize];
        let bytes = damaged(signal, request(signal, seed), seed);
        let mut out = BytesMut::from(&b"before"[..]);
        if stamp(signal, &bytes, &full_stamp(), &mut out).is_err() {
            assert_eq!(&out[..], b"before", "seed {seed}");
            refused += 1;
        }
    }
    assert!(refused > 250, "{refused}");
}

/// Indices of one to five digits, and lengths on both sides of 128 and 16,384 bytes.
#[test]
fn ids_count_on_over_scopes_and_resources() {
    use crate::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};
    let record = |length| LogRecord { severity_text: "x".repeat(length), ..LogRecord::default() };
    let scope = |records: usize| ScopeLogs {
        log_records: (0..records).map(|index| record(index % 130)).collect(),
        ..ScopeLogs::default()
    };
    let entry = |scopes: &[usize]| ResourceLogs {
        scope_logs: scopes.iter().map(|&records| scope(records)).collect(),
        ..ResourceLogs::default()
    };
    let mut request =
        ExportLogsServiceRequest { resource_logs: vec![entry(&[0, 1, 90]), entry(&[9, 12_000])] };
    request.resource_logs[1].scope_logs[1].log_records.push(record(16_384));
    let bytes = request.encode_to_vec();
    let mut out = BytesMut::new();
    stamp(Signal::Logs, &bytes, &full_stamp(), &mut out).unwrap();
    let expected = stamped_by_hand(Signal::Logs, &bytes);
    // Byte for byte: lengths are written as short as prost writes them.
    assert_eq!(&out[..], expected.encode());
}

/// A Resource longer than two bytes of length can say, and one that shrinks below what was left for its length.
#[test]
fn lengths_are_as_short_as_they_can_be() {
    use crate::proto::trace::ResourceSpans;
    for length in [0, 1, 100, 16_250, 16_384, 40_000, 3_000_000] {
        let attributes = vec![string_attribute("user.name", &"x".repeat(length)), string_attribute("k", "v")];
        for keep in [false, true] {
            let mut attributes = attributes.clone();
            if keep {
                attributes[0].key = "kept".to_owned();
            }
            let resource = Resource { attributes, ..Resource::default() };
            let entry = ResourceSpans { resource: Some(resource), ..ResourceSpans::default() };
            let bytes = ExportTraceServiceRequest { resource_spans: vec![entry] }.encode_to_vec();
            let mut out = BytesMut::new();
            stamp(Signal::Traces, &bytes, &full_stamp(), &mut out).unwrap();
            assert_eq!(&out[..], stamped_by_hand(Signal::Traces, &bytes).encode(), "{length} {keep}");
        }
    }
}

#[test]
fn the_last_value_set_for_a_key_is_the_one() {
    let mut stamped = BytesMut::new();
    let mut twice = Stamp::new();
    twice.set("k", "first").set("k", "second");
    let mut request = BytesMut::new();
    request.put_slice(&[0x0a, 0]);
    stamp(Signal::Metrics, &request, &twice, &mut stamped).unwrap();
    let Decoded::Metrics(decoded) = Decoded::of(Signal::Metrics, &stamped).unwrap() else { panic!() };
    let resource = decoded.resource_metrics[0].resource.as_ref().unwrap();
    assert_eq!(resource.attributes, [string_attribute("k", "second")]);
}
