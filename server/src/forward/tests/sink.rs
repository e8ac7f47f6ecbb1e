//! A destination that does what a test says, over HTTP/1.1 and HTTP/2 on one port.

use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use otlp::proto::collector_logs::ExportLogsServiceRequest;
use otlp::proto::common::any_value::Value;
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// What the sink does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    Http(u16, Vec<(&'static str, String)>, Bytes),
    /// Code, details, message.
    Grpc(u32, Option<String>, Bytes),
    /// Code and words.
    GrpcError(u32, &'static str),
    /// Never.
    Hang,
    /// The request is taken, and the connection is cut.
    Cut,
    /// 200, so long after the request was taken. The one that notes that it was given.
    Late(Duration),
}

/// A request as it came, decompressed.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub message: Bytes,
    /// Wall time in microseconds.
    pub at_us: u64,
    /// Whether an answer was given.
    pub is_answered: Arc<AtomicBool>,
}

type Script = Arc<dyn Fn(usize, &Received) -> Answer + Send + Sync>;

pub struct Sink {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    server: AbortHandle,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub fn ok() -> Answer {
    Answer::Http(200, Vec::new(), Bytes::new())
}

pub fn status(status: u16) -> Answer {
    Answer::Http(status, Vec::new(), Bytes::from_static(b"as scripted"))
}

pub fn grpc_ok() -> Answer {
    Answer::Grpc(0, None, Bytes::new())
}

impl Sink {
    /// Answers the `n`th request, from 0, as `script` says.
    pub async fn start(script: impl Fn(usize, &Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let (script, all): (Script, _) = (Arc::new(script), received.clone());
        let server = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (script, all) = (script.clone(), all.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| serve(request, script.clone(), all.clone()));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, received, server: server.abort_handle() }
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    pub fn count(&self) -> usize {
        self.received.lock().len()
    }

    /// Item id and body of all log records, in the order of arrival.
    pub fn records(&self) -> Vec<(String, String)> {
        self.received().iter().flat_map(Received::records).collect()
    }

    pub fn bodies(&self) -> Vec<String> {
        self.records().into_iter().map(|(_, body)| body).collect()
    }
}

impl Received {
    pub fn logs(&self) -> ExportLogsServiceRequest {
        ExportLogsServiceRequest::decode(self.message.as_ref()).expect("logs")
    }

    pub fn records(&self) -> Vec<(String, String)> {
        let text = |value: &Option<otlp::proto::common::AnyValue>| match value.as_ref().map(|v| &v.value) {
            Some(Some(Value::StringValue(text))) => text.clone(),
            _ => String::new(),
        };
        let records =
            self.logs().resource_logs.into_iter().flat_map(|r| r.scope_logs).flat_map(|s| s.log_records);
        records
            .map(|record| {
                let id = record.attributes.iter().find(|attribute| attribute.key == "muster.item.id");
                (text(&id.and_then(|id| id.value.clone())), text(&record.body))
            })
            .collect()
    }

    /// A resource attribute of the first resource.
    pub fn attribute(&self, key: &str) -> Option<String> {
        let logs = self.logs();
        let resource = logs.resource_logs.first()?.resource.as_ref()?;
        let attribute = resource.attributes.iter().find(|attribute| attribute.key == key)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            _ => None,
        }
    }
}

type Body = StreamBody<tokio_stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

async fn serve(
    request: Request<Incoming>,
    script: Script,
    all: Arc<Mutex<Vec<Received>>>,
) -> Result<Response<Body>, &'static str> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.map_err(|_| "request was cut")?.to_bytes();
    let is_grpc = head.headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
    let encoding = if is_grpc { "grpc-encoding" } else { "content-encoding" };
    let message = if is_grpc { bytes.slice(5..) } else { bytes };
    let message = match head.headers.get(encoding).map(|value| value.as_bytes()) {
        Some(b"gzip") => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(message.as_ref()).read_to_end(&mut plain).expect("gzip");
            plain.into()
        }
        Some(b"zstd") => zstd::stream::decode_all(message.as_ref()).expect("zstd").into(),
        _ => message,
    };
    use muster::clock::Clock;
    let at_us = muster::clock::SystemClock::new().wall().0;
    let path = head.uri.path().to_owned();
    let received = Received { path, headers: head.headers, message, at_us, is_answered: Arc::default() };
    let n = {
        let mut all = all.lock();
        all.push(received.clone());
        all.len() - 1
    };
    let frames = |frames: Vec<Frame<Bytes>>| {
        StreamBody::new(tokio_stream::iter(frames.into_iter().map(Ok).collect::<Vec<_>>()))
    };
    match script(n, &received) {
        Answer::Hang => std::future::pending().await,
        Answer::Cut => Err("cut, as scripted"),
        Answer::Late(wait) => {
            // Whoever goes away meanwhile takes this future with it.
            tokio::time::sleep(wait).await;
            received.is_answered.store(true, Ordering::SeqCst);
            Ok(Response::new(frames(Vec::new())))
        }
        Answer::Http(status, headers, body) => {
            let mut response = Response::new(frames(vec![Frame::data(body)]));
            *response.status_mut() = status.try_into().expect("status");
            for (name, value) in headers {
                response.headers_mut().insert(name, HeaderValue::from_str(&value).expect("value"));
            }
            Ok(response)
        }
        Answer::GrpcError(code, words) => {
            let mut response = Response::new(frames(Vec::new()));
            let headers = response.headers_mut();
            headers.insert("content-type", HeaderValue::from_static("application/grpc"));
            headers.insert("grpc-status", code.into());
            headers.insert("grpc-message", HeaderValue::from_static(words));
            Ok(response)
        }
        Answer::Grpc(code, details, message) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", code.into());
            if let Some(details) = details {
                trailers.insert("grpc-status-details-bin", details.parse().expect("value"));
            }
            let mut data = vec![0];
            data.extend_from_slice(&(message.len() as u32).to_be_bytes());
            data.extend_from_slice(&message);
            let mut response =
                Response::new(frames(vec![Frame::data(data.into()), Frame::trailers(trailers)]));
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            Ok(response)
        }
    }
}
