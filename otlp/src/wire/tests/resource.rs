use bytes::Bytes;

use super::generate::request;
use super::*;
use crate::wire::{WireError, check, resources};

/// Guarantees: one request an entry, slices that together are the request's entries, with the attributes prost sees.
#[test]
fn entries_stand_alone_and_say_what_prost_says_of_them() {
    let mut found = 0;
    for seed in 0..3_000 {
        let signal = Signal::ALL[(seed % 3) as usize];
        let bytes = Bytes::from(request(signal, seed));
        let Ok(mut decoded) = Decoded::of(signal, &bytes) else { continue };
        let entries: Vec<_> = resources(signal, &bytes).collect::<Result<_, _>>().unwrap();
        let joined: Vec<u8> = entries.iter().flat_map(|entry| entry.request.to_vec()).collect();
        assert_eq!(Decoded::of(signal, &joined).unwrap().encode(), decoded.encode(), "seed {seed}");
        let expected = decoded.resources_mut();
        assert_eq!(entries.len(), expected.len(), "seed {seed}");
        for (entry, resource) in entries.iter().zip(expected) {
            let tally = check(signal, &entry.request).unwrap();
            assert_eq!(tally, Tally { resources: 1, items: entry.items }, "seed {seed}");
            assert!(bytes.as_ptr_range().contains(&entry.request.as_ptr()), "seed {seed}: a copy");
            for key in ["user.name", "muster.team", "", "ein Schlüssel", "no such key"] {
                let attributes = resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
                let value =
                    attributes.iter().find(|attribute| attribute.key == key).and_then(|a| a.value.as_ref());
                let string = match value.and_then(|value| value.value.as_ref()) {
                    Some(Value::StringValue(string)) => Some(string.as_str()),
                    _ => None,
                };
                assert_eq!(entry.attribute(key), string, "seed {seed}, key {key:?}");
                found += u32::from(string.is_some());
            }
        }
    }
    assert!(found > 150, "{found}");
}

#[test]
fn entries_end_after_the_first_error() {
    let bytes = Bytes::from_static(&[0x0a, 0, 0x0a, 9, 0]);
    let entries: Vec<_> =
        resources(Signal::Logs, &bytes).map(|entry| entry.map(|entry| entry.items)).collect();
    assert_eq!(entries, [Ok(0), Err(WireError::Truncated { at: 3 })]);
}
