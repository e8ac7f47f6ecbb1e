//! Sends one request, once, and says what became of it.
//!
//! One HTTP client for both transports: OTLP/HTTP is a POST, and OTLP/gRPC is a POST over HTTP/2 with five bytes before the
//! message and a status in the trailers. Bytes are sent as they were made, without a codec between. An answer is read up
//! to 4 MiB (OTLP specification, "Maximum response size"); a request has its time, from connecting to the answer's end.
//! Redirects are not followed: a credential must not go where nobody sent it.

mod connect;
mod signing;

use std::sync::Arc;
use std::time::Duration;

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TE, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use muster::clock::Clock;
use muster::reasons::reasons;
use otlp::Signal;
use otlp::profile::{Answers, Compression, PerSignal, Profile, Transport};
use tokio::time::timeout;

pub use connect::ConnectError;
pub(crate) use connect::trusting;
pub(super) use signing::SigningError;

use super::answer::{self, Verdict};
use super::encode::{Encoding, Outgoing};
use super::forwarder::Forwarder;
use crate::config::destination::Destination;
use connect::{FilesDigest, HttpClient};
use signing::Signing;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// What a gRPC message has before it: whether it is compressed, and its length.
const GRPC_HEAD_BYTES: usize = 5;

type Body = Full<Chain<Bytes, Bytes>>;

/// A destination's client.
#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    encoding: Encoding,
    urls: PerSignal<Uri>,
    headers: PerSignal<HeaderMap>,
    signing: Signing,
    files: FilesDigest,
    answers: &'static Answers,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

/// Why a destination has no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Its files for TLS cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Its credential cannot be used.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// Its address is none.
    #[error("cannot make a URL of {0:?}")]
    Url(String),
}

impl Client {
    /// Reads the destination's files; connects to nothing yet.
    pub(super) fn new(
        destination: &Destination,
        forwarder: Option<&Forwarder>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ClientError> {
        let profile: &'static Profile = destination.profile.0;
        let url = |signal: Signal| {
            let text = match destination.transport {
                Transport::Grpc => format!("{}{}", destination.base_url, signal.grpc_path()),
                Transport::HttpProtobuf | Transport::HttpJson => {
                    profile.http_url(&destination.base_url, signal)
                }
            };
            text.parse::<Uri>().map_err(|_| ClientError::Url(text))
        };
        let headers = |signal| {
            let mut headers = headers(destination, signal);
            if let Some(forwarder) = forwarder {
                forwarder.sign(&mut headers);
            }
            headers
        };
        let (http, files) = connect::client(destination)?;
        Ok(Self {
            http,
            encoding: destination.encoding(),
            urls: PerSignal {
                logs: url(Signal::Logs)?,
                metrics: url(Signal::Metrics)?,
                traces: url(Signal::Traces)?,
            },
            headers: PerSignal {
                logs: headers(Signal::Logs),
                metrics: headers(Signal::Metrics),
                traces: headers(Signal::Traces),
            },
            signing: Signing::new(profile, destination.credential.clone())?,
            files,
            answers: &profile.answers,
            timeout: destination.timeout,
            clock,
        })
    }

    /// Sends a request and reads its answer.
    pub(super) async fn send(&self, outgoing: &Outgoing) -> Verdict {
        let request = self.request(outgoing);
        let verdict = match timeout(self.timeout, self.exchange(outgoing.signal, request)).await {
            Ok(verdict) => verdict,
            Err(_) => {
                let why = format!("no answer within {:?}", self.timeout);
                Verdict::Retry { after: None, why }
            }
        };
        self.signing.redact(verdict)
    }

    /// Reads the credential anew, since it may have been changed where it is kept. What cannot be read leaves the old one.
    pub(super) fn read_credential_again(&self) {
        self.signing.read_again();
    }

    /// Whether the other one, of the same settings, has the same credential and certificates.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.signing.is_like(&other.signing) && self.files == other.files
    }

    fn request(&self, outgoing: &Outgoing) -> Request<Body> {
        let body = match self.encoding.transport {
            Transport::Grpc => grpc_head(self.encoding.compression, outgoing.body.len()),
            Transport::HttpProtobuf | Transport::HttpJson => Bytes::new(),
        };
        let body_bytes = body.len() + outgoing.body.len();
        let mut request = Request::new(Full::new(body.chain(outgoing.body.clone())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = pick(&self.urls, outgoing.signal).clone();
        *request.headers_mut() = pick(&self.headers, outgoing.signal).clone();
        if body_bytes == 0 {
            // HTTP/1.1 would be without a length, which servers answer with 411 or wait behind.
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        self.signing.sign(request.headers_mut());
        request
    }

    async fn exchange(&self, signal: Signal, request: Request<Body>) -> Verdict {
        match self.http.request(request).await {
            Ok(response) => self.read(signal, response).await,
            Err(error) => Verdict::Retry { after: None, why: reasons(&error) },
        }
    }

    async fn read(&self, signal: Signal, response: Response<Incoming>) -> Verdict {
        let (head, body) = response.into_parts();
        let collected = match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
            Ok(collected) => collected,
            Err(error) if error.is::<LengthLimitError>() => {
                let why = format!("the answer has more than {ANSWER_BYTES_MAX} bytes");
                return Verdict::Permanent { why };
            }
            // Cut in the middle: whether it was taken is not known.
            Err(error) => {
                return Verdict::Retry {
                    after: None,
                    why: format!("the answer was cut: {}", reasons(&*error)),
                };
            }
        };
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let bytes = collected.to_bytes();
        if self.encoding.transport != Transport::Grpc {
            return answer::http(self.answers, signal, head.status, &head.headers, &bytes, self.clock.wall());
        }
        // An answer without a message has its status in the head.
        let status = if trailers.contains_key("grpc-status") { &trailers } else { &head.headers };
        if head.status != StatusCode::OK && !status.contains_key("grpc-status") {
            return answer::http(self.answers, signal, head.status, &head.headers, &bytes, self.clock.wall());
        }
        answer::grpc(self.answers, status, bytes.get(GRPC_HEAD_BYTES..).unwrap_or_default())
    }
}

fn pick<T>(of: &PerSignal<T>, signal: Signal) -> &T {
    match signal {
        Signal::Logs => &of.logs,
        Signal::Metrics => &of.metrics,
        Signal::Traces => &of.traces,
    }
}

/// Everything but the credential.
fn headers(destination: &Destination, signal: Signal) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for fixed in destination.profile.headers_for(signal) {
        headers.insert(HeaderName::from_static(fixed.name), HeaderValue::from_static(fixed.value));
    }
    // The operator's win over the profile's.
    headers.extend(destination.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    let transport = destination.transport;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(transport.content_type()));
    let agent = concat!("muster/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    let compression = destination.compression;
    match transport {
        Transport::Grpc => {
            headers.insert(TE, HeaderValue::from_static("trailers"));
            if compression != Compression::None {
                headers.insert("grpc-encoding", HeaderValue::from_static(compression.name()));
            }
        }
        Transport::HttpProtobuf | Transport::HttpJson if compression != Compression::None => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(compression.name()));
        }
        Transport::HttpProtobuf | Transport::HttpJson => {}
    }
    headers
}

fn grpc_head(compression: Compression, len: usize) -> Bytes {
    // A request is at most 64 MiB (otlp::profile::REQUEST_BYTES_CAP).
    let [a, b, c, d] = (len as u32).to_be_bytes();
    Bytes::copy_from_slice(&[u8::from(compression != Compression::None), a, b, c, d])
}
