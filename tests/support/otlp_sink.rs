//! An OTLP/gRPC sink whose manners a test sets, and a client that keeps what is not acknowledged.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use otlp::Signal;
use otlp::proto::collector_logs::ExportLogsServiceRequest;
use otlp::proto::collector_trace::ExportTraceServiceRequest;
use otlp::proto::common::any_value::Value;
use prost::Message;

/// What the sink does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes it.
    Take,
    /// Takes it, and breaks the stream instead of answering, every so many requests.
    LoseReply(u64),
    /// Answers with this gRPC status, and takes nothing.
    Refuse(u32),
    /// Never answers, and takes nothing.
    Hang,
    /// Takes it after so many milliseconds.
    Slow(u64),
}

/// A request as the sink took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub signal: Signal,
    /// Identifying attribute of each log record, trace and span id of each span; empty for data points.
    pub ids: Vec<String>,
    /// Attribute `n` of each log record that has one.
    pub numbers: Vec<i64>,
    /// How often [`OtlpSink::turn_page`] was called before.
    pub page: u64,
}

/// A running sink; ends with the test's process.
pub struct OtlpSink {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    manner: Mutex<Manner>,
    taken: Mutex<Vec<Taken>>,
    page: AtomicU64,
    requests: AtomicU64,
}

impl OtlpSink {
    pub fn spawn(manner: Manner) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            manner: Mutex::new(manner),
            taken: Mutex::default(),
            page: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        });
        let own = shared.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(accept(listener, own));
        });
        Self { address, shared }
    }

    pub fn set(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// What comes from now on is on another page.
    pub fn turn_page(&self) {
        self.shared.page.fetch_add(1, Ordering::SeqCst);
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// Log records and spans taken, repeats included.
    pub fn ids(&self) -> Vec<String> {
        self.shared.taken.lock().unwrap().iter().flat_map(|taken| taken.ids.clone()).collect()
    }

    /// Requests that came, whatever became of them.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, shared.clone()));
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder
                .initial_stream_window_size(4 << 20)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let signal = Signal::of_grpc_path(request.uri().path()).ok_or("no such path")?;
    let body = request.into_body().collect().await?.to_bytes();
    assert_eq!(body[0], 0, "the destination of this sink is configured without compression");
    let number = shared.requests.fetch_add(1, Ordering::SeqCst) + 1;
    let manner = *shared.manner.lock().unwrap();
    match manner {
        Manner::Refuse(status) => return Ok(with_status(status, Bytes::new())),
        Manner::Hang => std::future::pending().await,
        Manner::Slow(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Manner::Take | Manner::LoseReply(_) => {}
    }
    let page = shared.page.load(Ordering::SeqCst);
    let (ids, numbers) = contents(signal, &body[5..]);
    shared.taken.lock().unwrap().push(Taken { signal, ids, numbers, page });
    match manner {
        Manner::LoseReply(every) if number.is_multiple_of(every) => Err("the reply is lost".into()),
        _ => Ok(with_status(0, Bytes::from_static(&[0; 5]))),
    }
}

fn with_status(status: u32, body: Bytes) -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(status));
    let body = Full::new(body).with_trailers(async move { Some(Ok(trailers)) }).boxed();
    Response::builder().header("content-type", "application/grpc").body(body).expect("a valid answer")
}

fn contents(signal: Signal, request: &[u8]) -> (Vec<String>, Vec<i64>) {
    let (mut ids, mut numbers) = (Vec::new(), Vec::new());
    match signal {
        Signal::Metrics => {}
        Signal::Logs => {
            let request = ExportLogsServiceRequest::decode(request).expect("logs");
            let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
            for attribute in scopes.flat_map(|s| &s.log_records).flat_map(|record| &record.attributes) {
                match (attribute.key.as_str(), attribute.value.as_ref().and_then(|v| v.value.as_ref())) {
                    ("muster.item.id", Some(Value::StringValue(id))) => ids.push(id.clone()),
                    ("n", Some(Value::IntValue(number))) => numbers.push(*number),
                    _ => {}
                }
            }
        }
        Signal::Traces => {
            let request = ExportTraceServiceRequest::decode(request).expect("spans");
            let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
            ids.extend(
                scopes.flat_map(|s| &s.spans).map(|span| format!("{:x?}.{:x?}", span.trace_id, span.span_id)),
            );
        }
    }
    (ids, numbers)
}

/// Log records with attributes `n` from `first` on, as the body of a gRPC request.
pub fn numbered_logs(first: i64, count: i64) -> Bytes {
    use otlp::proto::common::{AnyValue, KeyValue};
    use otlp::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};
    let log_records = (first..first + count)
        .map(|number| LogRecord {
            time_unix_nano: 1_771_588_800_000_000_000,
            attributes: vec![KeyValue {
                key: "n".to_owned(),
                value: Some(AnyValue { value: Some(Value::IntValue(number)) }),
                ..Default::default()
            }],
            ..Default::default()
        })
        .collect();
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
            ..Default::default()
        }],
    };
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(request.encoded_len() as u32);
    request.encode(&mut framed).expect("a buffer grows");
    framed.freeze()
}

/// Sends numbered log records over OTLP/gRPC, a request after the other; each until it is acknowledged.
pub struct NumberedClient {
    acked: Arc<AtomicU64>,
    stop: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl NumberedClient {
    pub fn start(target: SocketAddr, records: i64, pause: Duration) -> Self {
        let acked = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (own_acked, own_stop) = (acked.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut first = 0;
                while !own_stop.load(Ordering::SeqCst) {
                    let body = numbered_logs(first, records);
                    while send(target, body.clone()).await.is_err() && !own_stop.load(Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    if own_stop.load(Ordering::SeqCst) {
                        break;
                    }
                    first += records;
                    own_acked.store(first as u64, Ordering::SeqCst);
                    tokio::time::sleep(pause).await;
                }
            });
        });
        Self { acked, stop, thread: Some(thread) }
    }

    /// Numbers below this were acknowledged.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the client panicked");
        }
    }
}

impl Drop for NumberedClient {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One request on a connection of its own.
async fn send(target: SocketAddr, body: Bytes) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = tokio::net::TcpStream::connect(target).await?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::post(format!("http://{target}{}", Signal::Logs.grpc_path()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body))?;
    let response = tokio::time::timeout(Duration::from_secs(10), sender.send_request(request)).await??;
    let status = |headers: &HeaderMap| headers.get("grpc-status").map(|v| v.as_bytes().to_vec());
    let in_head = status(response.headers());
    let collected = tokio::time::timeout(Duration::from_secs(10), response.into_body().collect()).await??;
    let status = in_head.or_else(|| collected.trailers().and_then(status));
    driver.abort();
    if status.as_deref() == Some(b"0") { Ok(()) } else { Err(format!("status {status:?}").into()) }
}
