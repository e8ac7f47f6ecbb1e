//! Posts a request until it is taken or refused.
//!
//! What passes is tried again: no connection, a cut or late answer, 408, 429 and 5xx but 501. Waits grow from 1 s to 30 s with
//! jitter, and are never shorter than `Retry-After`. A server that has not taken a request for
//! [`Retries::give_up_after`], or asks for a longer wait than is left of that, is given up. Redirects are not followed: a
//! credential must not go where nobody sent it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use muster::clock::Clock;
use muster::reasons::reasons;
use secrecy::{ExposeSecret, SecretString};

use super::Refusal;
use crate::forward::answer::{bounded, retry_after};
use crate::forward::client::{ConnectError, trusting};
use crate::forward::encode;
use crate::forward::retry::wait;

/// A host that does not answer a SYN in this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time of one request, from connecting to the end of the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest answer that is read: only its words matter.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Shorter ones are no secrets, and would be found in every text.
const REDACTED_BYTES_MIN: usize = 6;

/// How long a server may be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// After this time without success it is given up.
    pub give_up_after: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { give_up_after: Duration::from_secs(120) }
    }
}

/// A client of one server.
pub(super) struct Web {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    retries: Retries,
    clock: Arc<dyn Clock>,
    random: fastrand::Rng,
    /// What must not be repeated in messages.
    secrets: Vec<SecretString>,
}

/// What a server says to a request that is not to be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Its body, cut, on one line.
    pub(super) said: String,
}

enum Attempt {
    Answered(Answer),
    Again { after: Option<Duration>, why: String },
}

impl Web {
    /// Connects to nothing yet. `ca_file` has the server's authorities in PEM, where they are not the public ones.
    pub(super) fn new(
        ca_file: Option<&Path>,
        retries: Retries,
        clock: Arc<dyn Clock>,
        secrets: Vec<SecretString>,
    ) -> Result<Self, ConnectError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trusting(ca_file)?.with_no_client_auth())
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        let random = fastrand::Rng::with_seed(clock.wall().0);
        Ok(Self { client, retries, clock, random, secrets })
    }

    /// Posts until there is an answer that is not to be repeated.
    pub(super) async fn post(
        &mut self,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Answer, Refusal> {
        let began = self.clock.monotonic();
        for attempt in 1.. {
            let (after, why) = match self.attempt(uri, headers, body).await {
                Attempt::Answered(answer) => return Ok(answer),
                Attempt::Again { after, why } => (after, why),
            };
            let wait = wait(attempt, after, &mut self.random);
            let waited = self.clock.monotonic().0.saturating_sub(began.0);
            if waited + wait > self.retries.give_up_after {
                let told = after.filter(|after| waited + *after > self.retries.give_up_after);
                let why = match told {
                    Some(told) => format!("{why}; it asks for a wait of {} s", told.as_secs()),
                    None => why,
                };
                return Err(Refusal::Away { why, attempts: attempt, seconds: waited.as_secs() });
            }
            tracing::debug!(%uri, attempt, why, ?wait, "again");
            tokio::time::sleep(wait).await;
        }
        unreachable!("attempts end by their time")
    }

    async fn attempt(&self, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Attempt {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        request.headers_mut().clone_from(headers);
        match tokio::time::timeout(REQUEST_TIMEOUT, self.exchange(request)).await {
            Ok(attempt) => attempt,
            Err(_) => Attempt::Again {
                after: None,
                why: format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()),
            },
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Attempt {
        match self.client.request(request).await {
            Ok(response) => self.read(response).await,
            Err(error) => Attempt::Again { after: None, why: reasons(&error) },
        }
    }

    async fn read(&self, response: Response<Incoming>) -> Attempt {
        let (head, body) = response.into_parts();
        // Without its words an answer still has its status.
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let said = self.redact(bounded(&String::from_utf8_lossy(&body)));
        let status = head.status;
        let passes = match status.as_u16() {
            408 | 429 => true,
            501 => false,
            _ => status.is_server_error(),
        };
        if !passes {
            return Attempt::Answered(Answer { status, said });
        }
        let after = retry_after(&head.headers, self.clock.wall());
        let why = Answer { status, said }.to_string();
        Attempt::Again { after, why }
    }

    /// A server may repeat what it was sent.
    fn redact(&self, said: String) -> String {
        let long = self.secrets.iter().map(|secret| secret.expose_secret());
        long.filter(|secret| secret.len() >= REDACTED_BYTES_MIN)
            .fold(said, |said, secret| said.replace(secret, "[REDACTED]"))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status.as_u16())?;
        if !self.said.is_empty() {
            write!(f, ": {}", self.said)?;
        }
        Ok(())
    }
}

/// The headers of a compressed request of that type.
pub(super) fn headers(content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("muster/", env!("CARGO_PKG_VERSION"))));
    headers
}

/// Compresses a request.
pub(super) fn gzip(plain: &[u8]) -> Result<Bytes, Refusal> {
    encode::gzip(plain).map_err(|why| Refusal::Refused { why })
}

/// Percent-encodes a value of a query.
pub(super) fn encoded(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    value.bytes().map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
