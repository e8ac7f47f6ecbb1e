//! What a receiver says: an export response with its partial success, or a `google.rpc.Status`, in protobuf and in JSON;
//! and what a sender reads of it.

use std::io::Write as _;
use std::time::Duration;

use prost::Message as _;

use super::encode::string;
use crate::Signal;

/// Type of a `RetryInfo` among a status's details.
const RETRY_INFO_TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// The response to an export, in JSON: `rejected` items (log records, data points or spans) of it were not taken, for
/// the reason `message`. With none rejected and no message it is `{}`, full success; with none rejected and a message, a
/// warning.
pub fn encode_response(signal: Signal, rejected: u64, message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(80 + message.len());
    out.push(b'{');
    if rejected > 0 || !message.is_empty() {
        let name = match signal {
            Signal::Logs => "rejectedLogRecords",
            Signal::Metrics => "rejectedDataPoints",
            Signal::Traces => "rejectedSpans",
        };
        print(&mut out, format_args!("\"partialSuccess\":{{\"{name}\":\"{}\"", count(rejected)));
        if !message.is_empty() {
            out.extend_from_slice(b",\"errorMessage\":");
            string(message, &mut out);
        }
        out.push(b'}');
    }
    out.push(b'}');
    out
}

/// The response to an export, in protobuf: see [`encode_response`]. On the wire it is the same for all signals.
pub fn encode_response_protobuf(rejected: u64, message: &str) -> Vec<u8> {
    let partial_success = (rejected > 0 || !message.is_empty())
        .then(|| PartialSuccess { rejected: count(rejected), error_message: message.to_owned() });
    ExportResponse { partial_success }.encode_to_vec()
}

/// `rejected_*` is signed in OTLP.
fn count(rejected: u64) -> i64 {
    i64::try_from(rejected).unwrap_or(i64::MAX)
}

/// An error as OTLP/HTTP has it in the body and gRPC in `grpc-status-details-bin`: a `google.rpc.Status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// gRPC's code.
    pub code: tonic::Code,
    /// What is wrong, for the sender's log.
    pub message: String,
    /// When to try again (a `RetryInfo`): without it, a sender gives up on RESOURCE_EXHAUSTED.
    pub retry_after: Option<Duration>,
}

impl Status {
    /// In protobuf.
    pub fn to_protobuf(&self) -> Vec<u8> {
        let details = self.retry_after.map(|delay| {
            let retry_delay =
                Some(ProtoDuration { seconds: seconds(delay), nanos: delay.subsec_nanos() as i32 });
            Any { type_url: RETRY_INFO_TYPE.to_owned(), value: RetryInfo { retry_delay }.encode_to_vec() }
        });
        let status = RpcStatus {
            code: self.code as i32,
            message: self.message.clone(),
            details: details.into_iter().collect(),
        };
        status.encode_to_vec()
    }

    /// In proto3 JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160 + self.message.len());
        print(&mut out, format_args!("{{\"code\":{},\"message\":", self.code as i32));
        string(&self.message, &mut out);
        if let Some(delay) = self.retry_after {
            print(
                &mut out,
                format_args!(",\"details\":[{{\"@type\":\"{RETRY_INFO_TYPE}\",\"retryDelay\":\""),
            );
            duration(delay, &mut out);
            out.extend_from_slice(b"\"}]");
        }
        out.push(b'}');
        out
    }

    /// Of protobuf bytes, such as a receiver's `grpc-status-details-bin` or error body; none if they are no status. A delay
    /// that is negative counts as none.
    pub fn of_protobuf(bytes: &[u8]) -> Option<Self> {
        let status = RpcStatus::decode(bytes).ok()?;
        let retry_after =
            status.details.iter().find(|detail| detail.type_url == RETRY_INFO_TYPE).and_then(|detail| {
                let delay = RetryInfo::decode(detail.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
                let nanos = u32::try_from(delay.nanos).ok().filter(|&nanos| nanos < 1_000_000_000)?;
                Some(Duration::new(u64::try_from(delay.seconds).ok()?, nanos))
            });
        Some(Status { code: tonic::Code::from_i32(status.code), message: status.message, retry_after })
    }
}

/// protobuf's Duration ends at 315,576,000,000 s, 10,000 years.
fn seconds(delay: Duration) -> i64 {
    delay.as_secs().min(315_576_000_000) as i64
}

/// `3s`, `0.250s`: no fraction, or 3, 6 or 9 digits of it.
fn duration(delay: Duration, out: &mut Vec<u8>) {
    let (seconds, nanos) = (seconds(delay), delay.subsec_nanos());
    match nanos {
        0 => print(out, format_args!("{seconds}s")),
        nanos if nanos % 1_000_000 == 0 => print(out, format_args!("{seconds}.{:03}s", nanos / 1_000_000)),
        nanos if nanos % 1_000 == 0 => print(out, format_args!("{seconds}.{:06}s", nanos / 1_000)),
        nanos => print(out, format_args!("{seconds}.{nanos:09}s")),
    }
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes what is written to it");
}

/// Any of the three `Export*ServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// Any of the three `Export*PartialSuccess`.
#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}
