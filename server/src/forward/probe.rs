//! Asks a destination whether it takes requests at all: an empty one for each signal.
//!
//! OTLP servers answer an empty request with success, so address, path, TLS and credential are all proved by it, and
//! nothing is left behind.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster::clock::Clock;
use otlp::Signal;
use serde::Serialize;

use super::answer::Verdict;
use super::client::{Client, ClientError};
use crate::config::destination::Destination;

/// What came back from a destination for one signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// The destination.
    pub destination: String,
    /// What it was asked for.
    pub signal: Signal,
    /// Whether it takes it.
    pub ok: bool,
    /// How long the answer took.
    pub took_ms: u128,
    /// What it said.
    pub answer: String,
    /// What to do.
    pub hint: &'static str,
}

/// Asks for each signal that the destination is to get, one after the other, each once.
pub async fn probe(destination: &Destination, clock: Arc<dyn Clock>) -> Result<Vec<Probe>, ClientError> {
    let client = Client::new(destination, None, clock.clone())?;
    let mut probes = Vec::new();
    for signal in &destination.signals {
        let began = clock.monotonic();
        let (ok, answer) = match destination.encoding().write(*signal, 0, Bytes::new()) {
            Ok(empty) => told(client.send(&empty).await),
            Err(problem) => (false, problem),
        };
        let took: Duration = clock.monotonic().0.saturating_sub(began.0);
        let hint = if ok { "" } else { hint(&answer) };
        let destination = destination.name.clone();
        probes.push(Probe { destination, signal: *signal, ok, took_ms: took.as_millis(), answer, hint });
    }
    Ok(probes)
}

fn told(verdict: Verdict) -> (bool, String) {
    match verdict {
        Verdict::Delivered { message, .. } if message.is_empty() => (true, "taken".to_owned()),
        Verdict::Delivered { message, .. } => (true, format!("taken, saying: {message}")),
        Verdict::Retry { why, .. }
        | Verdict::Refused { why }
        | Verdict::TooLarge { why }
        | Verdict::Permanent { why } => (false, why),
    }
}

/// What most often is behind an answer.
fn hint(answer: &str) -> &'static str {
    let has = |any: &[&str]| any.iter().any(|words| answer.contains(words));
    if has(&["HTTP 401", "UNAUTHENTICATED"]) {
        "the credential is missing or wrong"
    } else if has(&["HTTP 403", "PERMISSION_DENIED"]) {
        "the credential is not for this: another region, or a key of another kind"
    } else if has(&["HTTP 404", "HTTP 405", "UNIMPLEMENTED"]) {
        "wrong path or port: endpoint is the address before /v1/..., and OTLP may be off there"
    } else if has(&["HTTP 415"]) {
        "it does not take this transport's encoding: try another transport"
    } else if has(&["HTTP 429", "RESOURCE_EXHAUSTED"]) {
        "it is over its limit: the forwarder waits and tries again"
    } else if has(&["invalid peer certificate", "UnknownIssuer", "certificate"]) {
        "its certificate is not trusted: set ca_file, or check the name in the endpoint"
    } else if has(&["dns error", "failed to lookup"]) {
        "there is no such host"
    } else if has(&["Connection refused"]) {
        "nothing listens there: OTLP/gRPC is usually on port 4317, OTLP/HTTP on 4318"
    } else if has(&["http2 error", "frame with invalid size", "grpc-status"]) {
        "it speaks no gRPC there: try transport = \"http/protobuf\" with the port of OTLP/HTTP"
    } else if has(&["no answer within"]) {
        "nothing came back: a firewall, or the wrong address"
    } else {
        ""
    }
}
