//! Generated requests go to JSON and back without loss, and serde_json takes what is written. Read by prost both times:
//! the same request encodes to the same bytes.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use prost::Message;

use super::generate;
use crate::json::{decode, encode};
use crate::{Signal, wire};

fn comes_back<M: Message + Default>(signal: Signal, request: &M) -> TestCaseResult {
    let bytes = request.encode_to_vec();
    let json = encode(signal, &bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
    serde_json::from_slice::<serde::de::IgnoredAny>(&json).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let read = decode(signal, &json).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let again = M::decode(&read[..]).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(again.encode_to_vec(), bytes, "by way of {}", String::from_utf8_lossy(&json));
    prop_assert_eq!(wire::check(signal, &read).ok(), wire::check(signal, &request.encode_to_vec()).ok());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logs_come_back_as_they_were(request in generate::logs()) {
        comes_back(Signal::Logs, &request)?;
    }

    #[test]
    fn metrics_come_back_as_they_were(request in generate::metrics()) {
        comes_back(Signal::Metrics, &request)?;
    }

    #[test]
    fn spans_come_back_as_they_were(request in generate::traces()) {
        comes_back(Signal::Traces, &request)?;
    }
}
