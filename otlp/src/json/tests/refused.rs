//! What is refused, where, and in which words.

use super::{log_body, metric_body, span_body};
use crate::Signal;
use crate::json::{decode, encode};

fn error(signal: Signal, body: impl AsRef<[u8]>) -> String {
    match decode(signal, body.as_ref()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("taken: {}", String::from_utf8_lossy(body.as_ref())),
    }
}

/// The message for a record, span or metric, without the place common to all of them.
fn of_item(signal: Signal, item: &str) -> String {
    let (body, place) = match signal {
        Signal::Logs => (log_body(item), "resourceLogs[0].scopeLogs[0].logRecords[0]"),
        Signal::Metrics => (metric_body(item), "resourceMetrics[0].scopeMetrics[0].metrics[0]"),
        Signal::Traces => (span_body(item), "resourceSpans[0].scopeSpans[0].spans[0]"),
    };
    let message = error(signal, body);
    let (_, rest) = message.split_once(place).unwrap_or_else(|| panic!("{message}"));
    rest.to_owned()
}

#[test]
fn what_is_no_json_object_is_refused_whole() {
    for (body, message) in [
        (&b""[..], "line 1, column 1: the body is empty; a request without items is {}"),
        (b" \n ", "line 2, column 2: the body is empty; a request without items is {}"),
        (b"[]", "line 1, column 1: expected an object, found an array"),
        (b"null", "line 1, column 1: expected an object, found null"),
        (b"\"{}\"", "line 1, column 1: expected an object, found a string"),
        (b"7", "line 1, column 1: expected an object, found a number"),
        (b"\x0a\x02\x0a\x00", "line 2, column 1: expected an object, found something that is not JSON"),
        (
            b"\xef\xbb\xbf{}",
            "line 1, column 1: the body begins with a byte order mark; send UTF-8 without one",
        ),
        (b"{}{}", "line 1, column 3: text follows the end of the request"),
        (b"{}\n x", "line 2, column 2: text follows the end of the request"),
        (b"{} \0", "line 1, column 4: text follows the end of the request"),
        (b"{\"x\":\"\xff\"}", "line 1, column 7: the body is not UTF-8"),
        (b"{", "line 1, column 2: expected a key or '}', found the end of the body"),
        (b"{\"x\"", "line 1, column 5: expected ':', found the end of the body"),
        (b"{\"x\":1", "line 1, column 7: expected ',' or '}', found the end of the body"),
        (b"{\"x\":1,}", "line 1, column 8: expected a key, found '}'"),
        (b"{,\"x\":1}", "line 1, column 2: expected a key or '}', found ','"),
        (b"{\"x\":1 \"y\":2}", "line 1, column 8: expected ',' or '}', found a string"),
        (b"{'x':1}", "line 1, column 2: expected a key or '}', found something that is not JSON"),
        (b"{\"x\":[1,]}", "line 1, column 9: expected an element, found ']'"),
        (b"{\"x\":[1 2]}", "line 1, column 9: expected ',' or ']', found a number"),
        (b"{\"x\":}", "line 1, column 6: expected a value, found '}'"),
        (b"{\"x\":tru}", "line 1, column 6: expected a value, found something that is not JSON"),
        (b"{\"x\":nul", "line 1, column 6: expected a value, found something that is not JSON"),
        (b"{\"x\":truest}", "line 1, column 10: expected ',' or '}', found something that is not JSON"),
        (b"{\"x\":01}", "line 1, column 6: expected a number, found something that is not JSON"),
        (b"{\"x\":1.}", "line 1, column 6: expected a number, found something that is not JSON"),
        (b"{\"x\":-}", "line 1, column 6: expected a number, found something that is not JSON"),
        (b"{\"x\":1e}", "line 1, column 6: expected a number, found something that is not JSON"),
        (b"{\"x\":+1}", "line 1, column 6: expected a value, found something that is not JSON"),
        (b"{\"x\":\"", "line 1, column 7: expected the end of a string, found the end of the body"),
        (b"{\"x\":\"\\", "line 1, column 7: unknown escape in a string"),
        (b"{\"x\":\"\\x41\"}", "line 1, column 7: unknown escape in a string"),
        (b"{\"x\":\"\\u12g4\"}", "line 1, column 7: unknown escape in a string"),
        (b"{\"x\":\"\\u12", "line 1, column 7: unknown escape in a string"),
        (b"{\"x\":\"\\ud83d\\u12\"}", "line 1, column 7: unknown escape in a string"),
        ("{\"x\":\"é\n\"}".as_bytes(), "line 1, column 8: a control character in a string must be escaped"),
    ] {
        for signal in Signal::ALL {
            assert_eq!(error(signal, body), message, "{}", String::from_utf8_lossy(body));
        }
    }
}

#[test]
fn an_error_names_line_column_and_field() {
    let body = "{\"resourceLogs\": [\n  {},\n  {\"scopeLogs\": [{\"logRecords\": [{},\n\
        {\"severityText\": \"é\", \"attributes\": [{}, {\"key\": \"k\", \"value\": {\"intValue\": 1.5}}]}]}]}\n]}";
    assert_eq!(
        error(Signal::Logs, body),
        "line 4, column 77, resourceLogs[1].scopeLogs[0].logRecords[1].attributes[1].value.intValue: \
         expected a signed integer of 64 bits, found a number with a fraction"
    );
}

#[test]
fn ids_of_another_length_or_with_other_characters_are_refused() {
    let length = |field: &str, digits: usize, found: usize| {
        format!(
            ".{field}: expected {digits} hexadecimal digits (ids are hex in OTLP/JSON, not base64) or an empty string, \
             found {found} bytes"
        )
    };
    for (item, message) in [
        (r#"{"traceId":"W47/95gDgQPSabYzgT/GDA=="}"#, length("traceId", 32, 24)),
        (r#"{"traceId":"5b8efff798038103d269b633813fc60"}"#, length("traceId", 32, 31)),
        (r#"{"traceId":"eee19b7ec3c1b174"}"#, length("traceId", 32, 16)),
        (r#"{"spanId":"eee19b7ec3c1b1740"}"#, length("spanId", 16, 17)),
        (r#"{"parentSpanId":"0"}"#, length("parentSpanId", 16, 1)),
        (r#"{"links":[{"spanId":"00"}]}"#, length("links[0].spanId", 16, 2)),
    ] {
        assert_eq!(of_item(Signal::Traces, item), message);
    }
    for id in ["eee19b7ec3c1b17g", "eee19b7ec3c1b17é", "+ee19b7ec3c1b174", " ee19b7ec3c1b17 "] {
        let message = of_item(Signal::Traces, &format!(r#"{{"spanId":"{id}"}}"#));
        assert!(message.contains("16 hexadecimal digits"), "{id}: {message}");
    }
    assert_eq!(of_item(Signal::Traces, r#"{"spanId":7}"#), ".spanId: expected a string, found a number");
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let u64_ = "an unsigned integer of 64 bits";
    for (number, reason) in [
        ("1.5", format!("expected {u64_}, found a number with a fraction")),
        ("\"1.5\"", format!("expected {u64_}, found a number with a fraction")),
        ("1e-1", format!("expected {u64_}, found a number with a fraction")),
        ("1e-99999999999999999999", format!("expected {u64_}, found a number with a fraction")),
        ("-1", format!("the number is out of the range of {u64_}")),
        ("18446744073709551616", format!("the number is out of the range of {u64_}")),
        ("\"18446744073709551616\"", format!("the number is out of the range of {u64_}")),
        ("1e20", format!("the number is out of the range of {u64_}")),
        ("1e99999999999999999999", format!("the number is out of the range of {u64_}")),
        (
            "100000000000000000000000000000000000000000000000",
            format!("the number is out of the range of {u64_}"),
        ),
        ("\"\"", format!("expected {u64_}, found a string that is not one")),
        ("\" 1\"", format!("expected {u64_}, found a string that is not one")),
        ("\"1 \"", format!("expected {u64_}, found a string that is not one")),
        ("\"+1\"", format!("expected {u64_}, found a string that is not one")),
        ("\"01\"", format!("expected {u64_}, found a string that is not one")),
        ("\"0x10\"", format!("expected {u64_}, found a string that is not one")),
        ("\"NaN\"", format!("expected {u64_}, found a string that is not one")),
        ("true", format!("expected {u64_}, found true or false")),
        ("{}", format!("expected {u64_}, found an object")),
        ("[]", format!("expected {u64_}, found an array")),
    ] {
        let message = of_item(Signal::Logs, &format!(r#"{{"timeUnixNano":{number}}}"#));
        assert_eq!(message, format!(".timeUnixNano: {reason}"), "{number}");
    }
    for (item, message) in [
        (
            r#"{"flags":4294967296}"#,
            ".flags: the number is out of the range of an unsigned integer of 32 bits",
        ),
        (
            r#"{"body":{"intValue":"9223372036854775808"}}"#,
            ".body.intValue: the number is out of the range of a signed integer of 64 bits",
        ),
        (
            r#"{"severityNumber":2147483648}"#,
            ".severityNumber: the number is out of the range of the number of an enum",
        ),
        (
            r#"{"body":{"doubleValue":1e999}}"#,
            ".body.doubleValue: the number is out of the range of a double",
        ),
        (
            r#"{"body":{"doubleValue":"inf"}}"#,
            ".body.doubleValue: expected a number, found a string that is not one",
        ),
        (
            r#"{"body":{"doubleValue":"1.5x"}}"#,
            ".body.doubleValue: expected a number, found a string that is not one",
        ),
        (
            r#"{"body":{"doubleValue":"+Infinity"}}"#,
            ".body.doubleValue: expected a number, found a string that is not one",
        ),
    ] {
        assert_eq!(of_item(Signal::Logs, item), message);
    }
}

#[test]
fn a_bare_nan_is_refused_with_the_way_to_write_it() {
    for word in ["NaN", "Infinity", "-Infinity"] {
        for item in [format!(r#"{{"body":{{"doubleValue":{word}}}}}"#), format!(r#"{{"x":[{word}]}}"#)] {
            let message = of_item(Signal::Logs, &item);
            assert!(
                message.ends_with(": NaN, Infinity and -Infinity are strings in JSON, in quotation marks"),
                "{message}"
            );
        }
    }
}

#[test]
fn names_of_enums_are_refused() {
    let reason = "enums are written as their numbers in OTLP/JSON, not as names";
    assert_eq!(of_item(Signal::Traces, r#"{"kind":"SPAN_KIND_SERVER"}"#), format!(".kind: {reason}"));
    assert_eq!(
        of_item(Signal::Traces, r#"{"status":{"code":"STATUS_CODE_OK"}}"#),
        format!(".status.code: {reason}")
    );
    assert_eq!(of_item(Signal::Logs, r#"{"severityNumber":"INFO"}"#), format!(".severityNumber: {reason}"));
    assert_eq!(
        of_item(Signal::Metrics, r#"{"sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA"}}"#),
        format!(".sum.aggregationTemporality: {reason}")
    );
}

#[test]
fn two_members_of_a_oneof_are_refused() {
    for (signal, item, message) in [
        (Signal::Logs, r#"{"body":{"stringValue":"a","intValue":"1"}}"#, (".body.intValue", "stringValue")),
        (Signal::Logs, r#"{"body":{"arrayValue":{},"kvlistValue":{}}}"#, (".body.kvlistValue", "arrayValue")),
        (
            Signal::Metrics,
            r#"{"gauge":{"dataPoints":[{"asInt":"1","asDouble":1}]}}"#,
            (".gauge.dataPoints[0].asDouble", "asInt"),
        ),
        (Signal::Metrics, r#"{"gauge":{},"sum":{}}"#, (".sum", "gauge")),
    ] {
        let (place, first) = message;
        assert_eq!(
            of_item(signal, item),
            format!("{place}: the object has {first} already, and can have only one of the two")
        );
    }
}

#[test]
fn a_field_given_twice_is_refused() {
    for (item, place) in [
        (r#"{"timeUnixNano":"1","timeUnixNano":"1"}"#, ".timeUnixNano"),
        (r#"{"flags":1,"\u0066lags":1}"#, ".flags"),
        (r#"{"attributes":[],"attributes":[]}"#, ".attributes"),
        (r#"{"body":{"stringValue":"a","stringValue":"a"}}"#, ".body.stringValue"),
        (r#"{"body":null,"body":{}}"#, ".body"),
    ] {
        assert_eq!(of_item(Signal::Logs, item), format!("{place}: the field is given twice in one object"));
    }
}

#[test]
fn other_kinds_of_json_are_refused() {
    for (item, message) in [
        (r#"{"severityText":1}"#, ".severityText: expected a string, found a number"),
        (r#"{"body":"text"}"#, ".body: expected an object, found a string"),
        (r#"{"body":[]}"#, ".body: expected an object, found an array"),
        (r#"{"attributes":{}}"#, ".attributes: expected an array, found an object"),
        (r#"{"attributes":[null]}"#, ".attributes[0]: null is not an element; leave it out"),
        (r#"{"attributes":[{},7]}"#, ".attributes[1]: expected an object, found a number"),
        (r#"{"body":{"boolValue":"true"}}"#, ".body.boolValue: expected true or false, found a string"),
        (r#"{"body":{"boolValue":1}}"#, ".body.boolValue: expected true or false, found a number"),
        (r#"{"body":{"bytesValue":"a"}}"#, ".body.bytesValue: expected base64, standard or URL-safe"),
        (r#"{"body":{"bytesValue":"ab=c"}}"#, ".body.bytesValue: expected base64, standard or URL-safe"),
        (r#"{"body":{"bytesValue":"+_8="}}"#, ".body.bytesValue: expected base64, standard or URL-safe"),
        (r#"{"body":{"bytesValue":"YQ==\n"}}"#, ".body.bytesValue: expected base64, standard or URL-safe"),
    ] {
        assert_eq!(of_item(Signal::Logs, item), message);
    }
    let bounds = r#"{"histogram":{"dataPoints":[{},{"explicitBounds":[1,{}]}]}}"#;
    assert_eq!(
        of_item(Signal::Metrics, bounds),
        ".histogram.dataPoints[1].explicitBounds[1]: expected a number, found an object"
    );
}

#[test]
fn an_error_repeats_nothing_of_the_body() {
    let secret = "s3cr3t-TOKEN";
    for item in [
        format!(r#"{{"timeUnixNano":"{secret}"}}"#),
        format!(r#"{{"severityNumber":"{secret}"}}"#),
        format!(r#"{{"traceId":"{secret}"}}"#),
        format!(r#"{{"body":"{secret}"}}"#),
        format!(r#"{{"body":{{"bytesValue":"{secret}!"}}}}"#),
        format!(r#"{{"body":{{"doubleValue":"{secret}"}}}}"#),
        format!(r#"{{"{secret}":{{"{secret}":{secret}}}}}"#),
        format!(r#"{{"body":{{"boolValue":{secret}}}}}"#),
        format!(r#"{{"body":{secret}}}"#),
        format!(r#"{{{secret}:1}}"#),
    ] {
        let error = decode(Signal::Logs, log_body(&item).as_bytes()).unwrap_err();
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("s3cr3t") && !text.contains("TOKEN"), "{text}");
        }
    }
}

/// A body whose value nests `levels` messages below the request.
fn nested(levels: usize) -> String {
    // Request, resource, scope, record and body come first; each list and each value in it is a level.
    let lists = (levels - 4) / 2;
    let value = r#"{"arrayValue":{"values":["#.repeat(lists);
    let last = if levels.is_multiple_of(2) { "{}" } else { r#"{"arrayValue":{}}"# };
    log_body(&format!(r#"{{"body":{value}{last}{}}}"#, "]}}".repeat(lists)))
}

#[test]
fn messages_nest_as_deep_as_prost_reads_them_and_no_deeper() {
    use crate::proto::collector_logs::ExportLogsServiceRequest;
    use prost::Message as _;

    for levels in [4, 5, 60, 61, 99, 100] {
        let request = decode(Signal::Logs, nested(levels).as_bytes()).unwrap();
        ExportLogsServiceRequest::decode(&request[..]).unwrap_or_else(|e| panic!("{levels}: {e}"));
        assert_eq!(encode(Signal::Logs, &request).unwrap(), nested(levels).as_bytes(), "{levels}");
    }
    for levels in [101, 102, 5000] {
        let message = error(Signal::Logs, nested(levels));
        assert!(message.ends_with(": nested deeper than 100 levels"), "{message}");
    }
}

#[test]
fn a_protobuf_request_that_nests_deeper_than_prost_reads_is_not_written() {
    let mut value = Vec::new();
    for level in 0..100 {
        // An array value (field 5) of values (field 1), by turns.
        let mut outer = vec![if level % 2 == 0 { 0x0a } else { 0x2a }];
        prost::encoding::encode_varint(value.len() as u64, &mut outer);
        outer.extend_from_slice(&value);
        value = outer;
    }
    for field in [0x2a, 0x12, 0x12, 0x0a] {
        let mut outer = vec![field];
        prost::encoding::encode_varint(value.len() as u64, &mut outer);
        outer.extend_from_slice(&value);
        value = outer;
    }
    let message = encode(Signal::Logs, &value).unwrap_err().to_string();
    assert_eq!(message, "nested deeper than 100 levels");
}

#[test]
fn unknown_values_nest_a_hundred_levels_deep_and_no_deeper() {
    let nested = |levels: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert_eq!(decode(Signal::Logs, nested(100).as_bytes()).unwrap(), "");
    assert!(error(Signal::Logs, nested(101)).ends_with(": nested deeper than 100 levels"));
    let open = format!(r#"{{"x":{}"#, r#"{"a":["#.repeat(1_000_000));
    assert!(error(Signal::Logs, open).ends_with(": nested deeper than 100 levels"));
}

#[test]
fn the_deepest_body_needs_little_stack() {
    let work = || {
        let request = decode(Signal::Logs, nested(100).as_bytes()).unwrap();
        encode(Signal::Logs, &request).unwrap();
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(work).unwrap().join().unwrap();
}

#[test]
fn protobuf_that_is_no_request_is_not_written() {
    for (bytes, message) in [
        (&[0x08, 0x01][..], "the request is not of its signal: field resourceLogs has another wire type"),
        (&[0x0a, 0x05, 0x00], "the request is not protobuf: it ends within a field"),
        (&[0x0a, 0x07, 0x12, 0x05, 0x12, 0x03, 0x1a, 0x01, 0xff], "field severityText is not UTF-8"),
        (
            &[0x0a, 0x06, 0x12, 0x04, 0x12, 0x02, 0x09, 0x01],
            "the request is not protobuf: it ends within a field",
        ),
    ] {
        assert_eq!(encode(Signal::Logs, bytes).unwrap_err().to_string(), message);
    }
    for bytes in [&[0x00][..], &[0xff; 11], &[0x0c], &[0x13], &[0x0a]] {
        encode(Signal::Logs, bytes).unwrap_err();
    }
}
