//! What a receiver answers.

use std::time::Duration;

use prost::Message as _;
use tonic::Code;

use crate::Signal;
use crate::json::{
    PartialSuccess, Status, decode_response, decode_response_protobuf, encode_response,
    encode_response_protobuf,
};
use crate::proto::collector_logs::ExportLogsServiceResponse;
use crate::proto::collector_metrics::ExportMetricsServiceResponse;
use crate::proto::collector_trace::ExportTraceServiceResponse;

fn json(signal: Signal, rejected: u64, message: &str) -> String {
    String::from_utf8(encode_response(signal, rejected, message)).unwrap()
}

#[test]
fn full_success_says_nothing() {
    for signal in Signal::ALL {
        assert_eq!(json(signal, 0, ""), "{}");
    }
    assert_eq!(encode_response_protobuf(0, ""), b"");
}

#[test]
fn partial_success_is_said_in_the_words_of_the_signal() {
    for (signal, name) in [
        (Signal::Logs, "rejectedLogRecords"),
        (Signal::Metrics, "rejectedDataPoints"),
        (Signal::Traces, "rejectedSpans"),
    ] {
        assert_eq!(
            json(signal, 3, "no \"name\""),
            format!(r#"{{"partialSuccess":{{"{name}":"3","errorMessage":"no \"name\""}}}}"#)
        );
    }
    assert_eq!(
        json(Signal::Logs, u64::MAX, ""),
        r#"{"partialSuccess":{"rejectedLogRecords":"9223372036854775807"}}"#
    );
    assert_eq!(json(Signal::Traces, 0, "careful"), r#"{"partialSuccess":{"errorMessage":"careful"}}"#);
}

#[test]
fn a_response_in_protobuf_is_that_of_any_signal() {
    let bytes = encode_response_protobuf(3, "too old");
    let logs = ExportLogsServiceResponse::decode(&bytes[..]).unwrap().partial_success.unwrap();
    assert_eq!((logs.rejected_log_records, &*logs.error_message), (3, "too old"));
    let metrics = ExportMetricsServiceResponse::decode(&bytes[..]).unwrap().partial_success.unwrap();
    assert_eq!((metrics.rejected_data_points, &*metrics.error_message), (3, "too old"));
    let traces = ExportTraceServiceResponse::decode(&bytes[..]).unwrap().partial_success.unwrap();
    assert_eq!((traces.rejected_spans, &*traces.error_message), (3, "too old"));

    let warning = ExportLogsServiceResponse::decode(&encode_response_protobuf(0, "careful")[..]).unwrap();
    assert_eq!(warning.partial_success.unwrap().error_message, "careful");
    let many = ExportLogsServiceResponse::decode(&encode_response_protobuf(u64::MAX, "")[..]).unwrap();
    assert_eq!(many.partial_success.unwrap().rejected_log_records, i64::MAX);
}

#[test]
fn a_status_in_json_has_the_delay_in_protobufs_words() {
    let status = |retry_after| Status { code: Code::Unavailable, message: "busy \u{1}".into(), retry_after };
    assert_eq!(status(None).to_json(), br#"{"code":14,"message":"busy \u0001"}"#);
    for (delay, text) in [
        (Duration::from_secs(3), "3s"),
        (Duration::ZERO, "0s"),
        (Duration::from_millis(250), "0.250s"),
        (Duration::from_micros(1_000_020), "1.000020s"),
        (Duration::from_nanos(7), "0.000000007s"),
        (Duration::from_secs(u64::MAX), "315576000000s"),
    ] {
        let json = String::from_utf8(status(Some(delay)).to_json()).unwrap();
        assert_eq!(
            json,
            format!(
                r#"{{"code":14,"message":"busy \u0001","details":[{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{text}"}}]}}"#
            )
        );
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
    }
}

#[test]
fn a_status_in_protobuf_is_laid_out_as_google_rpc_has_it() {
    let status =
        Status { code: Code::ResourceExhausted, message: "m".into(), retry_after: Some(Duration::new(2, 5)) };
    let type_url = b"type.googleapis.com/google.rpc.RetryInfo";
    let mut expected = vec![0x08, 8, 0x12, 1, b'm', 0x1a, 2 + 40 + 2 + 6, 0x0a, 40];
    expected.extend_from_slice(type_url);
    expected.extend_from_slice(&[0x12, 6, 0x0a, 4, 0x08, 2, 0x10, 5]);
    assert_eq!(status.to_protobuf(), expected);
    assert_eq!(Status::of_protobuf(&expected), Ok(status));
}

#[test]
fn a_status_is_read_back_and_odd_delays_count_as_none() {
    for retry_after in [None, Some(Duration::ZERO), Some(Duration::from_millis(1500))] {
        let status = Status { code: Code::Unavailable, message: String::new(), retry_after };
        assert_eq!(Status::of_protobuf(&status.to_protobuf()), Ok(status.clone()));
        assert_eq!(Status::of_json(&status.to_json()), Ok(status));
    }
    // Minus one second, and 2^31 - 1 nanoseconds.
    let mut odd = vec![0x08, 14, 0x1a, 2 + 40 + 2 + 19, 0x0a, 40];
    odd.extend_from_slice(b"type.googleapis.com/google.rpc.RetryInfo");
    odd.extend_from_slice(&[0x12, 19, 0x0a, 17, 0x08]);
    odd.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    odd.extend_from_slice(&[0x10, 0xff, 0xff, 0xff, 0xff, 0x07]);
    let read = Status::of_protobuf(&odd).unwrap();
    assert_eq!((read.code, read.retry_after), (Code::Unavailable, None));
    Status::of_protobuf(b"\xff").unwrap_err();

    for (delay, read) in [
        ("1.5s", Some(Duration::from_millis(1500))),
        ("0.000000001s", Some(Duration::from_nanos(1))),
        ("-1s", None),
        ("1", None),
        ("s", None),
        (".5s", None),
        ("1.s", None),
        ("+1s", None),
        ("1.0000000001s", None),
        ("99999999999999999999s", None),
        ("315576000001s", None),
        ("", None),
    ] {
        let json = format!(
            r#"{{"code":"8","x":1,"details":[{{"@type":"type.googleapis.com/google.rpc.DebugInfo","detail":[]}},
                {{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{delay}"}}]}}"#
        );
        let status = Status::of_json(json.as_bytes()).unwrap();
        assert_eq!((status.code, status.retry_after), (Code::ResourceExhausted, read), "{delay}");
    }
    Status::of_json(b"<html>").unwrap_err();
}

#[test]
fn a_response_is_read_back_and_nothing_said_is_full_success() {
    let partial = |rejected, message: &str| Some(PartialSuccess { rejected, message: message.into() });
    for signal in Signal::ALL {
        for (rejected, message) in [(3, "too old"), (0, "careful"), (1, "")] {
            let json = encode_response(signal, rejected, message);
            assert_eq!(decode_response(signal, &json), Ok(partial(rejected, message)));
            let protobuf = encode_response_protobuf(rejected, message);
            assert_eq!(decode_response_protobuf(&protobuf), Ok(partial(rejected, message)));
        }
        for nothing in ["", " ", "{}", r#"{"partialSuccess":{}}"#, r#"{"partialSuccess":null,"x":1}"#] {
            assert_eq!(decode_response(signal, nothing.as_bytes()), Ok(None), "{nothing}");
        }
    }
    let negative = br#"{"partialSuccess":{"rejectedSpans":-1}}"#;
    assert_eq!(decode_response(Signal::Traces, negative), Ok(None));
    assert_eq!(decode_response_protobuf(b""), Ok(None));
    decode_response(Signal::Logs, b"202 Accepted").unwrap_err();
    decode_response_protobuf(b"<html>").unwrap_err();
}
