//! What is read, and as what.

use prost::Message as _;

use super::{log_body, metric_body, span_body};
use crate::Signal;
use crate::json::{decode, encode};
use crate::proto::collector_logs::ExportLogsServiceRequest;
use crate::proto::collector_metrics::ExportMetricsServiceRequest;
use crate::proto::collector_trace::ExportTraceServiceRequest;
use crate::proto::common::any_value::Value;
use crate::proto::common::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use crate::proto::logs::LogRecord;
use crate::proto::metrics::metric::Data;
use crate::proto::metrics::{ExponentialHistogram, Metric, NumberDataPoint, number_data_point};
use crate::proto::trace::Span;

fn log(record: &str) -> LogRecord {
    let bytes = decode(Signal::Logs, log_body(record).as_bytes()).unwrap_or_else(|e| panic!("{record}: {e}"));
    let mut request = ExportLogsServiceRequest::decode(bytes).unwrap();
    request.resource_logs.remove(0).scope_logs.remove(0).log_records.remove(0)
}

fn span(span: &str) -> Span {
    let bytes = decode(Signal::Traces, span_body(span).as_bytes()).unwrap_or_else(|e| panic!("{span}: {e}"));
    let mut request = ExportTraceServiceRequest::decode(bytes).unwrap();
    request.resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

fn metric(metric: &str) -> Metric {
    let bytes =
        decode(Signal::Metrics, metric_body(metric).as_bytes()).unwrap_or_else(|e| panic!("{metric}: {e}"));
    let mut request = ExportMetricsServiceRequest::decode(bytes).unwrap();
    request.resource_metrics.remove(0).scope_metrics.remove(0).metrics.remove(0)
}

fn point(point: &str) -> NumberDataPoint {
    match metric(&format!(r#"{{"gauge":{{"dataPoints":[{point}]}}}}"#)).data {
        Some(Data::Gauge(mut gauge)) => gauge.data_points.remove(0),
        other => panic!("{other:?}"),
    }
}

fn exponential(histogram: &str) -> ExponentialHistogram {
    match metric(&format!(r#"{{"exponentialHistogram":{histogram}}}"#)).data {
        Some(Data::ExponentialHistogram(histogram)) => histogram,
        other => panic!("{other:?}"),
    }
}

/// The value of a body given as JSON.
fn any(value: &str) -> Option<AnyValue> {
    log(&format!(r#"{{"body":{value}}}"#)).body
}

fn some(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

#[test]
fn a_request_without_items_is_empty() {
    for signal in Signal::ALL {
        for body in
            ["{}", " \n{\t} \r\n", r#"{"resourceLogs":null}"#, r#"{"resourceSpans":[]}"#, r#"{"x":[{}]}"#]
        {
            if !(signal == Signal::Traces && body.contains("Spans")) {
                assert_eq!(decode(signal, body.as_bytes()).unwrap(), "", "{signal} {body}");
            }
        }
        assert_eq!(encode(signal, b"").unwrap(), b"{}");
    }
    assert_eq!(decode(Signal::Traces, br#"{"resourceSpans":[]}"#).unwrap(), "");
}

#[test]
fn only_lower_camel_case_names_a_field() {
    let read =
        log(r#"{"time_unix_nano":"7","TimeUnixNano":"7","severity_number":"INFO","timeunixnano":[{}]}"#);
    assert_eq!(read, LogRecord::default());
    assert_eq!(log(r#"{"\u0074imeUnixNano":"7"}"#).time_unix_nano, 7, "an escape in a key is its character");
}

#[test]
fn unknown_fields_are_ignored_at_any_depth_with_all_below_them() {
    let odd = r#"{"a":[1,-2.5e-7,"\ud83d\u00e9\n",{"b":null,"c":[[],{}]},true,false],"timeUnixNano":{}}"#;
    let body = format!(
        r#"{{"x":{odd},"resourceLogs":[{{"x":{odd},"resource":{{"x":{odd}}},"scopeLogs":[{{"x":{odd},"scope":{{"x":{odd}}},
            "logRecords":[{{"x":{odd},"timeUnixNano":"7","body":{{"x":{odd},"stringValue":"s"}},
            "attributes":[{{"x":{odd},"key":"k","value":{{"kvlistValue":{{"x":{odd},"values":[]}}}}}}]}}]}}]}}],"y":{odd}}}"#
    );
    let plain = r#"{"resourceLogs":[{"resource":{},"scopeLogs":[{"scope":{},"logRecords":[{"timeUnixNano":"7",
        "body":{"stringValue":"s"},"attributes":[{"key":"k","value":{"kvlistValue":{}}}]}]}]}]}"#;
    assert_eq!(decode(Signal::Logs, body.as_bytes()), decode(Signal::Logs, plain.as_bytes()));
}

#[test]
fn null_is_the_same_as_no_field() {
    let nulls = r#"{"timeUnixNano":null,"severityNumber":null,"severityText":null,"body":null,"attributes":null,
        "droppedAttributesCount":null,"flags":null,"traceId":null,"spanId":null,"eventName":null}"#;
    assert_eq!(log(nulls), LogRecord::default());
    assert_eq!(point(r#"{"asInt":null,"exemplars":null,"asDouble":null}"#), NumberDataPoint::default());
    let histogram =
        exponential(r#"{"aggregationTemporality":null,"dataPoints":[{"sum":null,"positive":null}]}"#);
    assert_eq!((histogram.data_points[0].sum, &histogram.data_points[0].positive), (None, &None));
    assert_eq!(any(r#"{"arrayValue":{"values":null}}"#), some(Value::ArrayValue(ArrayValue::default())));
    assert_eq!(metric(r#"{"gauge":null,"name":"m"}"#).data, None);
}

#[test]
fn a_null_member_of_a_oneof_leaves_room_for_another() {
    assert_eq!(any(r#"{"stringValue":null,"intValue":"1"}"#), some(Value::IntValue(1)));
    assert_eq!(any(r#"{"intValue":"1","stringValue":null}"#), some(Value::IntValue(1)));
    let value = point(r#"{"asDouble":null,"asInt":"0"}"#).value;
    assert_eq!(value, Some(number_data_point::Value::AsInt(0)));
}

#[test]
fn ids_are_hexadecimal_of_either_case() {
    let read = span(
        r#"{"traceId":"5B8EFFF798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","parentSpanId":"EEE19B7EC3C1B173",
            "links":[{"traceId":"00000000000000000000000000000000","spanId":""}]}"#,
    );
    assert_eq!(
        read.trace_id,
        [0x5b, 0x8e, 0xff, 0xf7, 0x98, 0x03, 0x81, 0x03, 0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c]
    );
    assert_eq!(read.span_id, [0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x74]);
    assert_eq!(read.parent_span_id, [0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x73]);
    assert_eq!((&read.links[0].trace_id[..], &read.links[0].span_id[..]), (&[0; 16][..], &[][..]));
    assert_eq!(span(r#"{"traceId":"","parentSpanId":""}"#), Span::default());
    let exemplar = &point(r#"{"exemplars":[{"spanId":"00000000000000FF","asInt":"3"}]}"#).exemplars[0];
    assert_eq!(exemplar.span_id, [0, 0, 0, 0, 0, 0, 0, 0xff]);
}

#[test]
fn bytes_are_base64_of_either_alphabet_padded_or_not() {
    let bytes = vec![0xfb, 0xff, 0xfe, 0x01];
    for text in ["+//+AQ==", "-__-AQ==", "+//+AQ", "-__-AQ", r"+\/\/+AQ", "+//+AR"] {
        let read = any(&format!(r#"{{"bytesValue":"{text}"}}"#));
        assert_eq!(read, some(Value::BytesValue(bytes.clone())), "{text}");
    }
    assert_eq!(any(r#"{"bytesValue":""}"#), some(Value::BytesValue(Vec::new())));
}

#[test]
fn integers_of_64_bits_are_strings_or_numbers_and_exact() {
    for (text, value) in [
        ("\"1795280419445208432\"", 1795280419445208432),
        ("1795280419445208432", 1795280419445208432),
        ("1795280419445208432.0", 1795280419445208432),
        ("1.795280419445208432e18", 1795280419445208432),
        ("\"1.795280419445208432E+18\"", 1795280419445208432),
        ("17952804194452084320000e-4", 1795280419445208432),
        ("18446744073709551615", u64::MAX),
        ("\"18446744073709551615\"", u64::MAX),
        ("1e3", 1000),
        ("\"1e3\"", 1000),
        ("1.50e1", 15),
        ("0.0001e4", 1),
        ("100e-2", 1),
        ("-0", 0),
        ("-0.0e-9", 0),
        ("0e99999999999999999999", 0),
        ("0.000e-99999999999999999999", 0),
    ] {
        assert_eq!(log(&format!(r#"{{"timeUnixNano":{text}}}"#)).time_unix_nano, value, "{text}");
    }
    for (text, value) in [
        ("\"-9223372036854775808\"", i64::MIN),
        ("-9223372036854775808", i64::MIN),
        ("\"9223372036854775807\"", i64::MAX),
        ("-1e3", -1000),
        ("0", 0),
    ] {
        assert_eq!(any(&format!(r#"{{"intValue":{text}}}"#)), some(Value::IntValue(value)), "{text}");
        let read = point(&format!(r#"{{"asInt":{text}}}"#)).value;
        assert_eq!(read, Some(number_data_point::Value::AsInt(value)), "{text}");
    }
    let histogram = exponential(
        r#"{"dataPoints":[{"count":3,"zeroCount":"1","positive":{"offset":-2,"bucketCounts":["1",2,3e0]}}]}"#,
    );
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.zero_count), (3, 1));
    assert_eq!(point.positive.as_ref().unwrap().bucket_counts, [1, 2, 3]);
}

#[test]
fn integers_of_32_bits_and_enums_are_numbers_or_strings() {
    for (text, value) in [("257", 257), ("\"257\"", 257), ("2.57e2", 257), ("4294967295", u32::MAX)] {
        let read = log(&format!(r#"{{"flags":{text},"droppedAttributesCount":{text}}}"#));
        assert_eq!((read.flags, read.dropped_attributes_count), (value, value), "{text}");
        assert_eq!(point(&format!(r#"{{"flags":{text}}}"#)).flags, value, "{text}");
    }
    for (text, value) in [("2", 2), ("\"2\"", 2), ("-2147483648", i32::MIN), ("\"2147483647\"", i32::MAX)] {
        assert_eq!(log(&format!(r#"{{"severityNumber":{text}}}"#)).severity_number, value, "{text}");
        assert_eq!(span(&format!(r#"{{"kind":{text}}}"#)).kind, value, "{text}: an enum is open");
        let histogram = exponential(&format!(r#"{{"dataPoints":[{{"scale":{text}}}]}}"#));
        assert_eq!(histogram.data_points[0].scale, value, "{text}");
    }
}

#[test]
fn doubles_are_numbers_numeric_strings_or_the_three_words() {
    for (text, value) in [
        ("3", 3.0_f64),
        ("1.5", 1.5),
        ("\"1.5\"", 1.5),
        ("\"-2e-3\"", -0.002),
        ("-0.0", -0.0),
        ("5e-324", 5e-324),
        ("1e-999", 0.0),
        ("1.7976931348623157e308", f64::MAX),
        ("\"NaN\"", f64::NAN),
        ("\"Infinity\"", f64::INFINITY),
        ("\"-Infinity\"", f64::NEG_INFINITY),
        ("12345678901234567890123", 12345678901234567890123.0),
    ] {
        match point(&format!(r#"{{"asDouble":{text}}}"#)).value {
            Some(number_data_point::Value::AsDouble(read)) => {
                assert_eq!(read.to_bits(), value.to_bits(), "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
        match any(&format!(r#"{{"doubleValue":{text}}}"#)).unwrap().value {
            Some(Value::DoubleValue(read)) => assert_eq!(read.to_bits(), value.to_bits(), "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_value_may_be_of_any_kind_or_of_none() {
    let string = |text: &str| AnyValue { value: Some(Value::StringValue(text.into())) };
    let entry = |key: &str, value| KeyValue { key: key.into(), value, ..KeyValue::default() };
    for (text, value) in [
        ("{}", Some(AnyValue { value: None })),
        ("null", None),
        (r#"{"stringValue":""}"#, Some(string(""))),
        (
            r#"{"stringValue":"a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é"}"#,
            Some(string("a\"\\/\u{8}\u{c}\n\r\té😀é")),
        ),
        (r#"{"boolValue":false}"#, some(Value::BoolValue(false))),
        (r#"{"boolValue":true}"#, some(Value::BoolValue(true))),
        (r#"{"arrayValue":{}}"#, some(Value::ArrayValue(ArrayValue::default()))),
        (
            r#"{"arrayValue":{"values":[{"stringValue":"s"},{},{"arrayValue":{"values":[{"intValue":1}]}}]}}"#,
            some(Value::ArrayValue(ArrayValue {
                values: vec![
                    string("s"),
                    AnyValue::default(),
                    some(Value::ArrayValue(ArrayValue {
                        values: some(Value::IntValue(1)).into_iter().collect(),
                    }))
                    .unwrap(),
                ],
            })),
        ),
        (
            r#"{"kvlistValue":{"values":[{"key":"a","value":{"stringValue":"b"}},{"key":"c"},{"key":"d","value":{}},{}]}}"#,
            some(Value::KvlistValue(KeyValueList {
                values: vec![
                    entry("a", Some(string("b"))),
                    entry("c", None),
                    entry("d", Some(AnyValue::default())),
                    KeyValue::default(),
                ],
            })),
        ),
    ] {
        assert_eq!(any(text), value, "{text}");
    }
}

#[test]
fn half_a_surrogate_pair_is_the_replacement_character() {
    for (text, read) in [
        (r"cut\ud83d", "cut\u{fffd}"),
        (r"\ude00low", "\u{fffd}low"),
        (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
        (r"\ud83d\n", "\u{fffd}\n"),
        (r"\ud83dude00", "\u{fffd}ude00"),
    ] {
        let value = any(&format!(r#"{{"stringValue":"{text}"}}"#));
        assert_eq!(value, some(Value::StringValue(read.into())), "{text}");
    }
}

#[test]
fn explicit_presence_survives_both_ways() {
    for body in [
        r#"{"gauge":{"dataPoints":[{"asInt":"0"},{"asDouble":0.0},{"exemplars":[{"asInt":"0"},{"asDouble":-0.0}]},{}]}}"#,
        r#"{"histogram":{"dataPoints":[{"sum":0.0,"min":0.0,"max":0.0},{}]}}"#,
        r#"{"exponentialHistogram":{"dataPoints":[{"sum":0.0,"positive":{},"min":0.0,"max":-0.0},{"negative":{}}]}}"#,
        r#"{"gauge":{}}"#,
        r#"{"sum":{}}"#,
        r#"{"summary":{}}"#,
        r#"{}"#,
    ] {
        let body = metric_body(body);
        let request = decode(Signal::Metrics, body.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(encode(Signal::Metrics, &request).unwrap()).unwrap(), body);
    }
    for value in [
        r#"{"stringValue":""}"#,
        r#"{"boolValue":false}"#,
        r#"{"intValue":"0"}"#,
        r#"{"doubleValue":0.0}"#,
        r#"{"bytesValue":""}"#,
        r#"{"stringValueStrindex":0}"#,
        "{}",
    ] {
        let body = log_body(&format!(r#"{{"body":{value}}}"#));
        let request = decode(Signal::Logs, body.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(encode(Signal::Logs, &request).unwrap()).unwrap(), body);
    }
}

#[test]
fn what_is_written_is_in_otlps_form() {
    let body = concat!(
        r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"k","value":{"intValue":"-1"}}],"#,
        r#""entityRefs":[{"schemaUrl":"u","type":"t","idKeys":["a","b"],"descriptionKeys":["c"]}]},"#,
        r#""scopeSpans":[{"scope":{"name":"n\n\"\u0001","version":"1"},"spans":[{"#,
        r#""traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","flags":257,"name":"é😀","kind":2,"#,
        r#""startTimeUnixNano":"1795280419445208432","attributes":[{"key":"b","value":{"bytesValue":"+//+AQ=="}},"#,
        r#"{"key":"d","value":{"doubleValue":"NaN"}},{"key":"e","value":{"doubleValue":"-Infinity"}},"#,
        r#"{"key":"f","value":{"doubleValue":1.5e300}},{"key":"g","value":{"doubleValue":"Infinity"}}],"#,
        r#""events":[{"timeUnixNano":"1","name":"e"}],"links":[{"spanId":"00000000000000ff"}],"#,
        r#""status":{"message":"m","code":2}}]}],"schemaUrl":"s"}]}"#
    );
    let request = decode(Signal::Traces, body.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(encode(Signal::Traces, &request).unwrap()).unwrap(), body);
}
