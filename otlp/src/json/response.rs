//! What a receiver answers: an export response with its partial success, or a `google.rpc.Status`, in protobuf and in
//! JSON, written and read. The JSON goes by the same table and rules as requests.
//!
//! What is read comes from other makers' receivers: only what a sender acts on is kept, and what is odd in it (a negative
//! count or delay) counts as absent.

use std::time::Duration;

use prost::Message;

use super::error::JsonError;
use super::{decode, encode, schema};
use crate::Signal;

/// Type of a `RetryInfo` among a status's details.
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// protobuf's `Duration` ends here, at 10,000 years.
const DURATION_SECONDS_MAX: u64 = 315_576_000_000;

/// What of an export was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialSuccess {
    /// Log records, data points or spans that were refused; with 0, the message is a warning.
    pub rejected: u64,
    /// Why.
    pub message: String,
}

/// The response to an export in JSON: `rejected` items of it were not taken, because of `message`. With neither it is
/// `{}`, full success.
pub fn encode_response(signal: Signal, rejected: u64, message: &str) -> Vec<u8> {
    to_json(&encode_response_protobuf(rejected, message), schema::response(signal))
}

/// The response to an export in protobuf, where it is the same for all signals: see [`encode_response`].
pub fn encode_response_protobuf(rejected: u64, message: &str) -> Vec<u8> {
    // The count is signed in OTLP.
    let rejected = i64::try_from(rejected).unwrap_or(i64::MAX);
    let partial_success = (rejected > 0 || !message.is_empty())
        .then(|| ProtoPartialSuccess { rejected, error_message: message.to_owned() });
    ProtoResponse { partial_success }.encode_to_vec()
}

/// What a receiver's JSON response says was not taken; `None` is full success, and so is an empty body, which some send.
///
/// # Errors
/// The text is no such response.
pub fn decode_response(signal: Signal, text: &[u8]) -> Result<Option<PartialSuccess>, JsonError> {
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let response: ProtoResponse = from_json(text, schema::response(signal))?;
    Ok(response.into_partial_success())
}

/// The same of a response in protobuf.
///
/// # Errors
/// The bytes are no such response.
pub fn decode_response_protobuf(bytes: &[u8]) -> Result<Option<PartialSuccess>, prost::DecodeError> {
    Ok(ProtoResponse::decode(bytes)?.into_partial_success())
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
            let (seconds, nanos) = parts(delay);
            let delay = ProtoDuration { seconds: seconds as i64, nanos: nanos as i32 };
            let value = ProtoRetryInfo { retry_delay: Some(delay) }.encode_to_vec();
            ProtoAny { type_url: RETRY_INFO.to_owned(), value }
        });
        let details = details.into_iter().collect();
        ProtoStatus { code: self.code as i32, message: self.message.clone(), details }.encode_to_vec()
    }

    /// Of a receiver's protobuf.
    ///
    /// # Errors
    /// The bytes are no status.
    pub fn of_protobuf(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let status = ProtoStatus::decode(bytes)?;
        let retry_after = status
            .details
            .iter()
            .find(|detail| detail.type_url == RETRY_INFO)
            .and_then(|detail| ProtoRetryInfo::decode(&detail.value[..]).ok()?.retry_delay)
            .and_then(|delay| duration(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?));
        Ok(Status { code: tonic::Code::from_i32(status.code), message: status.message, retry_after })
    }

    /// In JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let details = self
            .retry_after
            .map(|delay| JsonDetail { type_url: RETRY_INFO.to_owned(), retry_delay: duration_text(delay) });
        let details = details.into_iter().collect();
        let status = JsonStatus { code: self.code as i32, message: self.message.clone(), details };
        to_json(&status.encode_to_vec(), &schema::STATUS)
    }

    /// Of a receiver's JSON.
    ///
    /// # Errors
    /// The text is no status.
    pub fn of_json(text: &[u8]) -> Result<Self, JsonError> {
        let status: JsonStatus = from_json(text, &schema::STATUS)?;
        let retry_after = status
            .details
            .iter()
            .find(|detail| detail.type_url == RETRY_INFO)
            .and_then(|detail| duration_of_text(&detail.retry_delay));
        Ok(Status { code: tonic::Code::from_i32(status.code), message: status.message, retry_after })
    }
}

fn to_json(protobuf: &[u8], message: &'static schema::Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * protobuf.len() + 2);
    encode::request(protobuf, message, &mut out).expect("a struct of these fields was just written");
    out
}

fn from_json<M: Message + Default>(text: &[u8], message: &'static schema::Message) -> Result<M, JsonError> {
    let mut protobuf = Vec::new();
    decode::request(text, message, &mut protobuf).map_err(|fault| fault.locate(text))?;
    Ok(M::decode(&protobuf[..]).expect("the table has this message's fields"))
}

/// Seconds and nanoseconds of a protobuf `Duration`.
fn parts(delay: Duration) -> (u64, u32) {
    match delay.as_secs() {
        seconds if seconds >= DURATION_SECONDS_MAX => (DURATION_SECONDS_MAX, 0),
        seconds => (seconds, delay.subsec_nanos()),
    }
}

fn duration(seconds: u64, nanos: u32) -> Option<Duration> {
    (seconds <= DURATION_SECONDS_MAX && nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

/// `3s`, `0.250s`: no fraction, or 3, 6 or 9 digits of one.
fn duration_text(delay: Duration) -> String {
    match parts(delay) {
        (seconds, 0) => format!("{seconds}s"),
        (seconds, nanos) if nanos % 1_000_000 == 0 => format!("{seconds}.{:03}s", nanos / 1_000_000),
        (seconds, nanos) if nanos % 1_000 == 0 => format!("{seconds}.{:06}s", nanos / 1_000),
        (seconds, nanos) => format!("{seconds}.{nanos:09}s"),
    }
}

/// Any number of digits up to nanoseconds.
fn duration_of_text(text: &str) -> Option<Duration> {
    let (seconds, fraction) = match text.strip_suffix('s')?.split_once('.') {
        Some((seconds, fraction)) => (seconds, fraction),
        None => (text.strip_suffix('s')?, "0"),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    duration(seconds.parse().ok()?, format!("{fraction:0<9}").parse().ok()?)
}

/// Any of the three `Export*ServiceResponse`.
#[derive(Clone, PartialEq, Message)]
struct ProtoResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<ProtoPartialSuccess>,
}

impl ProtoResponse {
    fn into_partial_success(self) -> Option<PartialSuccess> {
        let said = self.partial_success?;
        let partial_success = PartialSuccess {
            rejected: u64::try_from(said.rejected).unwrap_or(0),
            message: said.error_message,
        };
        // An empty one is the same as none.
        (partial_success.rejected > 0 || !partial_success.message.is_empty()).then_some(partial_success)
    }
}

/// Any of the three `Export*PartialSuccess`.
#[derive(Clone, PartialEq, Message)]
struct ProtoPartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct ProtoStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<ProtoAny>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct ProtoAny {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct ProtoRetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// A status as the table has it for JSON.
#[derive(Clone, PartialEq, Message)]
struct JsonStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<JsonDetail>,
}

/// A detail of it, of any type.
#[derive(Clone, PartialEq, Message)]
struct JsonDetail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(string, tag = "2")]
    retry_delay: String,
}
