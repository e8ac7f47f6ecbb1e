use super::generate::{damaged, key, request};
use super::*;
use crate::wire::schema::{self, Kind};
use crate::wire::{WireError, check};

const CASES: u64 = 60_000;

/// Compares with prost; true if both take the bytes.
fn agree(signal: Signal, bytes: &[u8], case: &str) -> bool {
    let checked = check(signal, bytes);
    match (&checked, Decoded::of(signal, bytes)) {
        (Ok(tally), Ok(decoded)) => assert_eq!(*tally, decoded.tally(), "{case}: counts differ"),
        (Err(_), Err(_)) => {}
        (_, Ok(_)) => {
            panic!("{case}: prost takes {signal} that the check refuses: {checked:?}: {bytes:02x?}")
        }
        (_, Err(error)) => {
            panic!("{case}: prost refuses {signal} that the check takes: {error}: {bytes:02x?}")
        }
    }
    checked.is_ok()
}

/// Guarantees: exactly what prost decodes is taken, over requests whole and damaged; both outcomes are common.
#[test]
fn the_check_takes_exactly_what_prost_decodes() {
    let (mut whole_taken, mut damaged_taken) = (0, 0);
    for seed in 0..CASES / 2 {
        let signal = Signal::ALL[(seed % 3) as usize];
        let bytes = request(signal, seed);
        whole_taken += u64::from(agree(signal, &bytes, &format!("seed {seed}")));
        let damaged = damaged(signal, bytes, seed);
        damaged_taken += u64::from(agree(signal, &damaged, &format!("seed {seed}, damaged")));
    }
    assert!(whole_taken * 10 > CASES / 2 * 8, "{whole_taken} of {} whole requests are valid", CASES / 2);
    assert!(
        (CASES / 20..CASES / 2 * 9 / 10).contains(&damaged_taken),
        "{damaged_taken} damaged ones are valid"
    );
}

/// Guarantees: the items that the cases hold are not only a few at the top of the tree.
#[test]
fn generated_requests_have_items_of_every_signal() {
    for signal in Signal::ALL {
        let items: u64 =
            (0..300).filter_map(|seed| check(signal, &request(signal, seed)).ok()).map(|t| t.items).sum();
        assert!(items > 300, "{signal}: {items}");
    }
}

/// Every message, every field number, every wire type, by values that tell the kinds of field from each other.
#[test]
fn each_field_of_each_message_is_known_as_prost_knows_it() {
    let mut messages = 0;
    for signal in Signal::ALL {
        let mut seen = Vec::new();
        let mut paths = vec![(schema::request(signal), Vec::new())];
        while let Some((table, path)) = paths.pop() {
            if seen.iter().any(|&known| std::ptr::eq(known, table)) {
                continue;
            }
            seen.push(table);
            for number in 1..=20 {
                each_wire_type_of(signal, &path, number);
                match table.kind(number) {
                    Kind::Message(inner) => paths.push((inner, [&path[..], &[number]].concat())),
                    Kind::Attribute => paths.push((&schema::KEY_VALUE, [&path[..], &[number]].concat())),
                    _ => {}
                }
            }
        }
        messages += seen.len();
    }
    // Request, entry, scope's group, item and what is below; 7 common ones in each signal.
    assert_eq!(messages, (4 + 7) + (4 + 3 + 7) + (4 + 5 + 4 + 1 + 1 + 1 + 7));
}

fn each_wire_type_of(signal: Signal, path: &[u32], number: u32) {
    let delimited = [&b""[..], &[1], &[0xff], &[0xff; 8], "é".as_bytes(), &[0x88, 0x7f, 0], &[0xfa, 7, 0]];
    let mut fields = vec![(0, vec![1]), (1, vec![0xff; 8]), (5, vec![0xff; 4]), (4, vec![])];
    fields.extend(delimited.iter().map(|value| (2, [&[value.len() as u8][..], value].concat())));
    let mut end = Vec::new();
    key(number, 4, &mut end);
    fields.push((3, end));
    for (wire, value) in fields {
        let mut field = Vec::new();
        key(number, wire, &mut field);
        field.extend(&value);
        let request = path.iter().rev().fold(field, |value, &number| wrap(number, &value));
        agree(signal, &request, &format!("{path:?}, field {number}, wire type {wire}, {value:02x?}"));
    }
}

/// A length-delimited field.
fn wrap(number: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    key(number, 2, &mut out);
    prost::encode_length_delimiter(value.len(), &mut out).unwrap();
    out.extend_from_slice(value);
    out
}

/// Every truncation of a request: at each byte of it.
#[test]
fn a_request_cut_anywhere_is_judged_as_prost_judges_it() {
    for seed in 0..60 {
        let signal = Signal::ALL[(seed % 3) as usize];
        let bytes = request(signal, seed);
        for end in 0..bytes.len() {
            agree(signal, &bytes[..end], &format!("seed {seed}, cut at {end}"));
        }
    }
}

/// A list in a list in a list: as an attribute's value, in arrays and in lists of keys and values.
#[test]
fn values_nest_as_deep_as_prost_lets_them() {
    for chain in [&[5, 1][..], &[6, 1, 2]] {
        let mut taken = Vec::new();
        for levels in 0..120 {
            // The innermost value has a field that is skipped, which needs a level of its own.
            for innermost in [&[][..], &[0x18, 1], &[0xf8, 7, 1], &[0xfb, 7, 0xfc, 7]] {
                let mut value = innermost.to_vec();
                for level in (0..levels).rev() {
                    value = wrap(chain[level % chain.len()], &value);
                }
                // Request, entry, scope, log record, body.
                let request = [1, 2, 2, 5].iter().rev().fold(value, |value, &number| wrap(number, &value));
                taken.push(agree(Signal::Logs, &request, &format!("{levels} levels, then {innermost:02x?}")));
            }
        }
        assert!(taken.contains(&true) && taken.contains(&false));
    }
}

#[test]
fn groups_nest_as_deep_as_prost_lets_them() {
    for levels in 1..130 {
        let opened = [0x1b].repeat(levels);
        let request = [opened, [0x1c].repeat(levels)].concat();
        agree(Signal::Traces, &request, &format!("{levels} groups"));
    }
}

#[test]
fn every_integer_form_is_judged_as_prost_judges_it() {
    for length in 1..13 {
        for last in 0..=0x7f {
            for leading in [0x80, 0xff] {
                let mut integer = vec![leading; length - 1];
                integer.push(last);
                let unknown = [&[0x10][..], &integer].concat();
                agree(Signal::Logs, &unknown, &format!("value {integer:02x?}"));
                agree(Signal::Logs, &integer, &format!("key {integer:02x?}"));
                agree(
                    Signal::Logs,
                    &[&integer[..], &[0]].concat(),
                    &format!("key {integer:02x?} and a byte"),
                );
                agree(Signal::Logs, &[&[0x12][..], &integer].concat(), &format!("length {integer:02x?}"));
            }
        }
    }
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    let record = |value: &[u8]| {
        [&[0x0a, value.len() as u8 + 4, 0x12, value.len() as u8 + 2, 0x12, value.len() as u8][..], value]
            .concat()
    };
    let cases = [
        (record(&[0x1a, 1, 0xff]), WireError::Text { at: 8 }),
        (record(&[0x18, 1]), WireError::WireType { number: 3, at: 6 }),
        (record(&[0x1a, 9, b'x']), WireError::Truncated { at: 7 }),
        (record(&[0x09, 1, 2]), WireError::Truncated { at: 7 }),
        (record(&[0x10, 0x80]), WireError::Varint { at: 7 }),
        (record(&[0x07]), WireError::Key { at: 6 }),
        (record(&[0xa3, 1, 0xac, 1]), WireError::GroupEnd { at: 8 }),
        (vec![0x1b; 200], WireError::Depth { at: 100 }),
    ];
    for (bytes, error) in cases {
        assert_eq!(check(Signal::Logs, &bytes), Err(error), "{bytes:02x?}");
        assert!(!agree(Signal::Logs, &bytes, ""));
    }
    let text = check(Signal::Logs, &record(&[0x1a, 1, 0xff])).unwrap_err();
    assert_eq!(text.to_string(), "text at byte 8 is not UTF-8");
}

#[test]
fn an_empty_request_holds_nothing() {
    for signal in Signal::ALL {
        assert_eq!(check(signal, &[]), Ok(Tally::default()));
    }
}
