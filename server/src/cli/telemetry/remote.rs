//! A running collector over HTTP: one GET, whose answer is read as it comes.
//!
//! The answer is chunked, so that one which was cut is told from one which ended. A thread of its own reads it; what is
//! not yet taken from it is bounded, so that a slow reader slows the collector's scan and not this machine's memory.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{HeaderValue, TE};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Frame, Incoming};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::super::Failure;
use super::super::collector::{Connection, HttpClient};
use super::SourceArguments;
use super::export::tell;

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
pub(super) struct Collector(Connection);

/// An answer, as it comes.
#[derive(Debug)]
pub(super) struct Answer {
    chunks: Receiver<Result<Bytes, String>>,
    current: Bytes,
    is_cut: bool,
}

impl Collector {
    pub(super) fn new(arguments: &SourceArguments) -> Result<Self, Failure> {
        Connection::new(&arguments.collector).map(Self)
    }

    /// Asks for a page, and waits until it begins. What is refused is told in the collector's words.
    pub(super) fn get(&self, path: &str) -> Result<Answer, Failure> {
        let mut request = self.0.request(path)?;
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::other)?;
        let (begun, begins) = sync_channel(1);
        let (chunks, taken) = sync_channel(CHUNKS_AHEAD_MAX);
        let client = self.0.client();
        let read = move || runtime.block_on(exchange(client, request, &begun, &chunks));
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
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::Other(format!("{}{path} is not what was expected: {error}", self.0.base()))
        })
    }

    /// The words for an answer that ended early.
    pub(super) fn cut(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::Other(format!("the collector at {} stopped answering: {error}", self.0.base()))
    }

    fn told(&self, path: &str, refusal: Refusal) -> Failure {
        let page = path.split('?').next().unwrap_or(path);
        Failure::Other(match refusal {
            Refusal::Away(why) => format!(
                "no collector answers at {}: {why}; is it running? `muster up` or `muster serve` starts one, \
                 --server names another, --data-dir reads its folder without it",
                self.0.base()
            ),
            Refusal::Status(StatusCode::UNAUTHORIZED, _) => format!(
                "the collector at {} does not accept the credential; --token-file names one, \
                 `muster token create` makes one",
                self.0.base()
            ),
            Refusal::Status(StatusCode::NOT_FOUND, _) => format!(
                "{}{page} is not there: is it the address of a collector's pages (port 9464), and is it as new as this?",
                self.0.base()
            ),
            Refusal::Status(status, why) => {
                format!("the collector at {} answered {}: {why}", self.0.base(), status.as_u16())
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
    client: HttpClient,
    request: Request<Empty<Bytes>>,
    begun: &SyncSender<Result<(), Refusal>>,
    chunks: &SyncSender<Result<Bytes, String>>,
) {
    let mut body = match begin(client, request).await {
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

async fn begin(client: HttpClient, request: Request<Empty<Bytes>>) -> Result<Incoming, Refusal> {
    let away = |error: hyper_util::client::legacy::Error| Refusal::Away(Failure::other(error).to_string());
    let response = match timeout(SILENCE_MAX, client.request(request)).await {
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
    fn a_value_survives_in_a_url() {
        assert_eq!(encode("a b&c=d/ü~"), "a%20b%26c%3Dd%2F%C3%BC~");
    }
}
