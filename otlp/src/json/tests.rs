//! The rules of OTLP/JSON, one test each.

use super::*;

#[test]
fn an_empty_object_is_an_empty_request() {
    for signal in Signal::ALL {
        assert_eq!(decode(signal, b" {} ").unwrap(), Bytes::new());
        assert_eq!(encode(signal, b"").unwrap(), b"{}");
    }
}

mod fixtures;
