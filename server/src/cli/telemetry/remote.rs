//! A running collector over HTTP: one GET, whose answer is read as it comes.
//!
//! The answer is chunked, so that one which was cut is told from one which ended. A thread of its own reads it; what is
//! not yet taken from it is bounded, so that a slow reader slows the collector's scan and not this machine's memory.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{AUTHORIZATION, HeaderValue, TE, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Frame, Incoming};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use muster::credential::Token;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::super::Failure;
use super::SourceArguments;
use super::export::tell;

/// Where a collector's pages are unless told otherwise.
const SERVER_DEFAULT: &str = "http://127.0.0.1:9464";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The first row of a sorted scan over much history needs some time; a collector that is silent for longer has gone.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Chunks that were read and not yet taken.
const CHUNKS_AHEAD_MAX: usize = 8;
/// A refusal is a line of JSON.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// A summary is a page; one by user of a large company has some megabytes.
const DOCUMENT_BYTES_MAX: u64 = 256 << 20;
/// The trailer with what the reader of a stream must know of it.
const NOTICES: &str = "muster-notices";

/// A collector, and how to speak to it.
#[derive(Debug, Clone)]
pub(super) struct Collector {
    base: String,
    token: Option<Arc<Token>>,
    tls: Arc<ClientConfig>,
}

/// An answer, as it comes.
#[derive(Debug)]
pub(super) struct Answer {
    chunks: Receiver<Result<Bytes, String>>,
    current: Bytes,
    is_cut: bool,
}

impl Collector {
    pub(super) fn new(arguments: &SourceArguments) -> Result<Self, Failure> {
        let base = base(arguments.server.as_deref().unwrap_or(SERVER_DEFAULT))?;
        let token = match &arguments.token_file {
            Some(path) => Some(Arc::new(Token::from_file(path).map_err(Failure::other)?)),
            None => None,
        };
        let tls = Arc::new(tls(arguments.ca_file.as_deref())?);
        Ok(Self { base, token, tls })
    }

    /// Asks for a page, and waits until it begins. What is refused is told in the collector's words.
    pub(super) fn get(&self, path: &str) -> Result<Answer, Failure> {
        let uri = format!("{}{path}", self.base).parse::<Uri>();
        let uri = uri
            .map_err(|error| Failure::Other(format!("cannot make a URL of {}{path}: {error}", self.base)))?;
        let mut request = Request::get(uri).body(Empty::new()).map_err(Failure::other)?;
        let agent = concat!("muster/", env!("CARGO_PKG_VERSION"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        if let Some(token) = &self.token {
            let mut value =
                HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(Failure::other)?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::other)?;
        let (begun, begins) = sync_channel(1);
        let (chunks, taken) = sync_channel(CHUNKS_AHEAD_MAX);
        let tls = ClientConfig::clone(&self.tls);
        let read = move || runtime.block_on(exchange(tls, request, &begun, &chunks));
        thread::Builder::new().name("muster-http".to_owned()).spawn(read).map_err(Failure::other)?;
        let begun = begins.recv().unwrap_or_else(|_| Err(Refusal::Away("the reader ended".to_owned())));
        match begun {
            Ok(()) => Ok(Answer { chunks: taken, current: Bytes::new(), is_cut: false }),
            Err(refusal) => Err(self.told(path, refusal)),
        }
    }

    /// A page of JSON.
    pub(super) fn document<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.get(path)?;
        let mut bytes = Vec::new();
        answer.take(DOCUMENT_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| self.cut(&error))?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::Other(format!("{}{path} is not what was expected: {error}", self.base)))
    }

    /// The words for an answer that ended early.
    pub(super) fn cut(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::Other(format!("the collector at {} stopped answering: {error}", self.base))
    }

    fn told(&self, path: &str, refusal: Refusal) -> Failure {
        let page = path.split('?').next().unwrap_or(path);
        Failure::Other(match refusal {
            Refusal::Away(why) => format!(
                "no collector answers at {}: {why}; is it running? `muster up` or `muster serve` starts one, \
                 --server names another, --data-dir reads its folder without it",
                self.base
            ),
            Refusal::Status(StatusCode::UNAUTHORIZED, _) => format!(
                "the collector at {} does not accept the credential; --token-file names one, \
                 `muster token create` makes one",
                self.base
            ),
            Refusal::Status(StatusCode::NOT_FOUND, _) => format!(
                "{}{page} is not there: is it the address of a collector's pages (port 9464), and is it as new as this?",
                self.base
            ),
            Refusal::Status(status, why) => {
                format!("the collector at {} answered {}: {why}", self.base, status.as_u16())
            }
        })
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.recv() {
                Ok(Ok(chunk)) => self.current = chunk,
                Ok(Err(why)) => {
                    self.is_cut = true;
                    return Err(io::Error::other(why));
                }
                Err(_) if self.is_cut => return Err(io::Error::other("it was cut")),
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// Why there is no answer.
enum Refusal {
    Away(String),
    Status(StatusCode, String),
}

async fn exchange(
    tls: ClientConfig,
    request: Request<Empty<Bytes>>,
    begun: &SyncSender<Result<(), Refusal>>,
    chunks: &SyncSender<Result<Bytes, String>>,
) {
    let mut body = match begin(tls, request).await {
        Ok(body) => body,
        Err(refusal) => {
            // Whoever asked has gone only if the process ends.
            let _ = begun.send(Err(refusal));
            return;
        }
    };
    if begun.send(Ok(())).is_err() {
        return;
    }
    loop {
        let chunk = match timeout(SILENCE_MAX, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(frame) => {
                    told_by(&frame).iter().for_each(|notice| tell(notice));
                    continue;
                }
            },
            Ok(Some(Err(error))) => Err(Failure::other(error).to_string()),
            Err(_) => Err(format!("nothing came for {SILENCE_MAX:?}")),
        };
        let is_last = chunk.is_err();
        // Blocks this thread, and so the connection, until the reader has taken some.
        if chunks.send(chunk).is_err() || is_last {
            return;
        }
    }
}

/// What the trailers say.
fn told_by(frame: &Frame<Bytes>) -> Vec<String> {
    let value = frame.trailers_ref().and_then(|trailers| trailers.get(NOTICES));
    value.and_then(|value| serde_json::from_slice(value.as_bytes()).ok()).unwrap_or_default()
}

async fn begin(tls: ClientConfig, request: Request<Empty<Bytes>>) -> Result<Incoming, Refusal> {
    let away = |error: hyper_util::client::legacy::Error| Refusal::Away(Failure::other(error).to_string());
    let response = match timeout(SILENCE_MAX, client(tls).request(request)).await {
        Ok(response) => response.map_err(away)?,
        Err(_) => return Err(Refusal::Away(format!("no answer within {SILENCE_MAX:?}"))),
    };
    let (head, body) = response.into_parts();
    if head.status == StatusCode::OK {
        return Ok(body);
    }
    let body = http_body_util::Limited::new(body, REFUSAL_BYTES_MAX);
    let told = match timeout(SILENCE_MAX, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => Bytes::new(),
    };
    let parsed = serde_json::from_slice::<serde_json::Value>(&told).ok();
    let why = parsed.as_ref().and_then(|told| told["error"].as_str()).map(str::to_owned);
    Err(Refusal::Status(head.status, why.unwrap_or_else(|| "it is no collector's answer".to_owned())))
}

fn client(tls: ClientConfig) -> Client<HttpsConnector<HttpConnector>, Empty<Bytes>> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http);
    Client::builder(TokioExecutor::new()).build(connector)
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(Failure::other)?;
    let Some(path) = ca_file else { return Ok(builder.with_webpki_roots().with_no_client_auth()) };
    let no_pem = |_| Failure::Other(format!("{} holds no certificate in PEM", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(no_pem)? {
        roots.add(certificate.map_err(no_pem)?).map_err(Failure::other)?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// `http://host:port` of what was given; a bare `host:port` is plain HTTP.
fn base(server: &str) -> Result<String, Failure> {
    let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let refused = || {
        Failure::Usage(format!(
            "--server {server:?} is no address; write http://HOST:PORT or https://HOST:PORT"
        ))
    };
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme));
    let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else { return Err(refused()) };
    let has_more = uri.path_and_query().is_some_and(|rest| rest.as_str() != "/");
    if has_more || authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(refused());
    }
    Ok(format!("{scheme}://{authority}"))
}

/// A value for a query of a URL (RFC 3986 section 2.3).
pub(super) fn encode(value: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to memory cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_a_host_and_a_port() {
        for (given, wanted) in [
            ("127.0.0.1:9464", "http://127.0.0.1:9464"),
            ("http://[::1]:9464/", "http://[::1]:9464"),
            ("https://collector.example:9464", "https://collector.example:9464"),
            ("collector.example", "http://collector.example"),
        ] {
            assert_eq!(base(given).expect("an address"), wanted);
        }
        for given in ["", "ftp://x", "http://", "http://x/api", "http://a:b@x", "a b", "http://x/?y"] {
            assert!(base(given).is_err(), "{given:?}");
        }
    }

    #[test]
    fn a_value_survives_in_a_url() {
        assert_eq!(encode("a b&c=d/ü~"), "a%20b%26c%3Dd%2F%C3%BC~");
    }
}
