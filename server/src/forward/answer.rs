//! What a destination's answer means. Pure: status, headers and bytes in, a [`Verdict`] out.
//!
//! | answer | verdict |
//! |---|---|
//! | gRPC OK, any HTTP 2xx, also with an empty body | delivered, less what a partial success rejects |
//! | CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS; HTTP 429, 502, 503, 504 | again, not before what RetryInfo or Retry-After says |
//! | RESOURCE_EXHAUSTED with RetryInfo | again, not before that |
//! | RESOURCE_EXHAUSTED without, HTTP 413 | too large: in halves |
//! | UNAUTHENTICATED, PERMISSION_DENIED; HTTP 401, 403 | refused: again, slowly, with the credential read anew |
//! | everything else | never to be taken |
//!
//! (contracts/otlp.md section 2.2; OTLP specification, "Failures".) A profile may know of more that passes
//! ([`Answers`]).

use std::time::Duration;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use muster::clock::WallTime;
use otlp::Signal;
use otlp::json::{PartialSuccess, decode_response, decode_response_protobuf};
use otlp::profile::Answers;
use prost::Message;

/// What became of a request, as far as its answer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Taken, but for `rejected` items. With a message and none rejected it is a warning.
    Delivered {
        rejected: u64,
        message: String,
    },
    /// Not now.
    Retry {
        after: Option<Duration>,
        why: String,
    },
    /// The credential is not accepted: somebody has to act.
    Refused {
        why: String,
    },
    TooLarge {
        why: String,
    },
    /// The same bytes will never be taken.
    Permanent {
        why: String,
    },
}

/// Longest wait that a destination can ask for: one that says "in ten years" would be forgotten.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Longest text of a destination's that is kept.
const MESSAGE_CHARS_MAX: usize = 512;

/// Numbers of `google.rpc.Code`.
mod code {
    pub(super) const OK: u32 = 0;
    pub(super) const CANCELLED: u32 = 1;
    pub(super) const DEADLINE_EXCEEDED: u32 = 4;
    pub(super) const PERMISSION_DENIED: u32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(super) const ABORTED: u32 = 10;
    pub(super) const OUT_OF_RANGE: u32 = 11;
    pub(super) const UNAVAILABLE: u32 = 14;
    pub(super) const DATA_LOSS: u32 = 15;
    pub(super) const UNAUTHENTICATED: u32 = 16;
}

const CODE_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<RpcAny>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct RpcAny {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<RpcDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct RpcDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// What a gRPC call ended with.
pub(super) fn grpc(answers: &Answers, trailers: &HeaderMap, message: &[u8]) -> Verdict {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    let Some(number) = text("grpc-status").and_then(|status| status.parse::<u32>().ok()) else {
        // The call was cut: whether it was taken is not known.
        return Verdict::Retry { after: None, why: "the answer has no grpc-status".to_owned() };
    };
    if number == code::OK {
        return delivered(decode_response_protobuf(message).ok().flatten());
    }
    let name = CODE_NAMES.get(number as usize).copied().unwrap_or("UNKNOWN");
    let said = percent_decoded(text("grpc-message").unwrap_or_default());
    let why = words(name, &said);
    let retry_info = text("grpc-status-details-bin").and_then(retry_info);
    match number {
        code::CANCELLED
        | code::DEADLINE_EXCEEDED
        | code::ABORTED
        | code::OUT_OF_RANGE
        | code::UNAVAILABLE
        | code::DATA_LOSS => Verdict::Retry { after: retry_info, why },
        code::RESOURCE_EXHAUSTED if retry_info.is_some() => Verdict::Retry { after: retry_info, why },
        code::RESOURCE_EXHAUSTED if tells_of_size(&said) => Verdict::TooLarge { why },
        code::UNAUTHENTICATED | code::PERMISSION_DENIED => Verdict::Refused { why },
        _ if answers.transient_grpc.iter().any(|code| *code as u32 == number) => {
            Verdict::Retry { after: retry_info, why }
        }
        _ => Verdict::Permanent { why },
    }
}

/// RESOURCE_EXHAUSTED without RetryInfo is either a message that is too large, which smaller ones mend, or a limit on
/// their number, which more of them would only make worse. Every gRPC library says the first in such words.
fn tells_of_size(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["larger", "too large", "too big", "exceeds max", "exceeds the limit", "maximum size", "message size"]
        .iter()
        .any(|words| message.contains(words))
}

/// What an HTTP request was answered with, or a gRPC call by something that speaks no gRPC.
pub(super) fn http(
    answers: &Answers,
    signal: Signal,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: WallTime,
) -> Verdict {
    let is_json = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"));
    if status.is_success() {
        let partial = if is_json {
            decode_response(signal, body).ok().flatten()
        } else {
            decode_response_protobuf(body).ok().flatten()
        };
        // A body that is none of ours is a proxy's courtesy: the status is what counts.
        return delivered(partial);
    }
    let why = words(&format!("HTTP {}", status.as_u16()), &error_text(is_json, body));
    match status.as_u16() {
        429 | 502 | 503 | 504 => Verdict::Retry { after: retry_after(headers, now), why },
        401 | 403 => Verdict::Refused { why },
        413 => Verdict::TooLarge { why },
        status if answers.transient_http.contains(&status) => {
            Verdict::Retry { after: retry_after(headers, now), why }
        }
        _ => Verdict::Permanent { why },
    }
}

fn delivered(partial: Option<PartialSuccess>) -> Verdict {
    let (rejected, message) = partial.map_or((0, String::new()), |p| (p.rejected, bounded(&p.message)));
    Verdict::Delivered { rejected, message }
}

/// `Retry-After`: seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: WallTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date: Timestamp = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            let at = u64::try_from(date.as_microsecond()).ok()?;
            Duration::from_micros(at.saturating_sub(now.0))
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The delay of a RetryInfo among the details, if there is one.
fn retry_info(details: &str) -> Option<Duration> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let status = RpcStatus::decode(engine.decode(details).ok()?.as_slice()).ok()?;
    let detail = status.details.iter().find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(detail.value.as_slice()).ok()?.delay.unwrap_or_default();
    let seconds = u64::try_from(delay.seconds).unwrap_or(0);
    let nanos = u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999);
    Some(Duration::new(seconds, nanos).min(RETRY_AFTER_MAX))
}

/// What an error's body says: a `Status` as protobuf or JSON, or plain words.
fn error_text(is_json: bool, body: &[u8]) -> String {
    if is_json {
        let value: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let message = value.as_ref().and_then(|value| value.get("message")?.as_str());
        if let Some(message) = message {
            return message.to_owned();
        }
    } else if let Ok(status) = RpcStatus::decode(body)
        && !status.message.is_empty()
    {
        return status.message;
    }
    let head = body.get(..body.len().min(4 * MESSAGE_CHARS_MAX)).unwrap_or_default();
    String::from_utf8_lossy(head).into_owned()
}

fn words(what: &str, said: &str) -> String {
    let said = bounded(said);
    if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") }
}

/// At most so many characters, on one line.
pub(crate) fn bounded(text: &str) -> String {
    let shown = text.trim().chars().take(MESSAGE_CHARS_MAX);
    shown.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `grpc-message` is percent-encoded.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        let decoded = digits.filter(|_| bytes[at] == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        match decoded {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use http::HeaderValue;

    const BOOK: &Answers = &Answers::BY_THE_BOOK;
    const NOW: WallTime = WallTime(1_771_588_800_000_000); // 2026-02-20T12:00:00Z

    fn trailers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).expect("value");
        pairs.iter().map(|(name, text)| (name.parse().expect("name"), value(text))).collect()
    }

    fn retry_info_header(seconds: i64, nanos: i32) -> String {
        let info = RetryInfo { delay: Some(RpcDuration { seconds, nanos }) };
        let any = RpcAny {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        };
        STANDARD_NO_PAD
            .encode(RpcStatus { code: 8, message: String::new(), details: vec![any] }.encode_to_vec())
    }

    #[test]
    fn grpc_codes_are_told_apart_as_otlp_says() {
        let verdict = |code: u32| grpc(BOOK, &trailers(&[("grpc-status", &code.to_string())]), b"");
        for code in [1, 4, 10, 11, 14, 15] {
            assert!(matches!(verdict(code), Verdict::Retry { after: None, .. }), "{code}");
        }
        for code in [2, 3, 5, 6, 9, 12, 13, 99] {
            assert!(matches!(verdict(code), Verdict::Permanent { .. }), "{code}");
        }
        for code in [7, 16] {
            assert!(matches!(verdict(code), Verdict::Refused { .. }), "{code}");
        }
        assert!(matches!(verdict(8), Verdict::Permanent { .. }), "a limit on requests, without RetryInfo");
        for words in ["grpc: received message larger than max (5 vs. 4)", "decoded message length too large"]
        {
            assert!(tells_of_size(words), "{words}");
        }
        for words in ["Too many requests", "request exceeded available capacity", ""] {
            assert!(!tells_of_size(words), "{words}");
        }
        assert!(matches!(verdict(0), Verdict::Delivered { rejected: 0, .. }));
        assert!(matches!(grpc(BOOK, &HeaderMap::new(), b""), Verdict::Retry { .. }));
    }

    #[test]
    fn what_a_profile_knows_to_pass_is_tried_again() {
        let answers = Answers {
            transient_grpc: &[tonic::Code::Unknown],
            transient_http: &[500],
            ..Answers::BY_THE_BOOK
        };
        let unknown = grpc(&answers, &trailers(&[("grpc-status", "2")]), b"");
        assert!(matches!(unknown, Verdict::Retry { .. }), "{unknown:?}");
        let (status, headers) = (StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new());
        let internal = http(&answers, Signal::Logs, status, &headers, b"", NOW);
        assert!(matches!(internal, Verdict::Retry { .. }), "{internal:?}");
    }

    #[test]
    fn resource_exhausted_with_retry_info_is_tried_again_after_its_delay() {
        let details = retry_info_header(2, 500_000_000);
        let verdict =
            grpc(BOOK, &trailers(&[("grpc-status", "8"), ("grpc-status-details-bin", &details)]), b"");
        let Verdict::Retry { after, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(after, Some(Duration::from_millis(2500)));
    }

    #[test]
    fn http_statuses_are_told_apart_as_otlp_says() {
        let verdict = |status: u16| {
            http(
                BOOK,
                Signal::Logs,
                StatusCode::from_u16(status).expect("status"),
                &HeaderMap::new(),
                b"no",
                NOW,
            )
        };
        for status in [429, 502, 503, 504] {
            assert!(matches!(verdict(status), Verdict::Retry { after: None, .. }), "{status}");
        }
        for status in [301, 400, 404, 408, 415, 500, 501] {
            assert!(matches!(verdict(status), Verdict::Permanent { .. }), "{status}");
        }
        for status in [401, 403] {
            assert!(matches!(verdict(status), Verdict::Refused { .. }), "{status}");
        }
        for status in [200, 202, 204] {
            let verdict = verdict(status);
            assert!(matches!(verdict, Verdict::Delivered { rejected: 0, .. }), "{status}: {verdict:?}");
        }
        assert_eq!(verdict(413), Verdict::TooLarge { why: "HTTP 413: no".to_owned() });
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_bounded() {
        let after = |text: &str| {
            let headers = trailers(&[("retry-after", text)]);
            match http(BOOK, Signal::Logs, StatusCode::TOO_MANY_REQUESTS, &headers, b"", NOW) {
                Verdict::Retry { after, .. } => after,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(after("29"), Some(Duration::from_secs(29)));
        assert_eq!(after("Fri, 20 Feb 2026 12:00:07 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(after("Fri, 20 Feb 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("999999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn a_partial_success_is_read_from_protobuf_and_json() {
        let bytes = otlp::json::encode_response_protobuf(3, "too old");
        let expected = Verdict::Delivered { rejected: 3, message: "too old".to_owned() };
        assert_eq!(grpc(BOOK, &trailers(&[("grpc-status", "0")]), &bytes), expected);
        assert_eq!(http(BOOK, Signal::Traces, StatusCode::OK, &HeaderMap::new(), &bytes, NOW), expected);
        let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
        let headers = trailers(&[("content-type", "application/json")]);
        assert_eq!(http(BOOK, Signal::Traces, StatusCode::OK, &headers, json, NOW), expected);
    }

    #[test]
    fn words_of_an_answer_are_bounded_and_on_one_line() {
        let long = "x\n".repeat(10_000);
        let verdict =
            http(BOOK, Signal::Logs, StatusCode::BAD_REQUEST, &HeaderMap::new(), long.as_bytes(), NOW);
        let Verdict::Permanent { why } = verdict else { panic!("{verdict:?}") };
        assert!(why.len() < 600 && !why.contains('\n'), "{why}");
        let said = [("grpc-status", "3"), ("grpc-message", "bad%20name%3A %zz")];
        let verdict = grpc(BOOK, &trailers(&said), b"");
        assert_eq!(verdict, Verdict::Permanent { why: "INVALID_ARGUMENT: bad name: %zz".to_owned() });
    }
}
