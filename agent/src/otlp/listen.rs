//! The two ports: connections on loopback, few at a time, none kept for nothing.
//!
//! hyper is driven directly, as in the collector: a connection that has sent no request within [`FIRST_REQUEST_TIMEOUT`]
//! is closed, and so is one that was idle for [`IDLE_TIMEOUT`] (longer than any exporter's interval: closing sooner would
//! race with its next request). Beyond [`CONNECTIONS_MAX`] connections wait in the kernel's queue.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use otlp::Signal;
use otlp::receive::{Door, Intake, Transport};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use tonic::body::Body;

use crate::uplink::stopped;

/// Most connections on both ports together: a developer's tools have a handful.
pub const CONNECTIONS_MAX: usize = 64;
/// From a connection to its first request's head.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that a connection is kept without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// What a connection has to finish in when it is asked to end; the agent's stop has 3 s.
const GRACE: Duration = Duration::from_secs(2);
/// Pause after a failed accept: descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// Bytes on the way that are not read yet, of a stream and of a connection.
const WINDOW_BYTES: (u32, u32) = (1 << 20, 2 << 20);
/// Calls at once on a connection.
const STREAMS_MAX: u32 = 32;
/// A request's head.
const HEAD_BYTES_MAX: u32 = 32 << 10;

/// What a connection does with its room.
#[derive(Debug, Default)]
struct Use {
    open: AtomicUsize,
    seen: AtomicU64,
}

/// An open request; counted off when dropped.
struct OpenRequest(Arc<Use>);

/// Serves a port until `shutdown` turns true.
pub async fn serve<I: Intake>(
    listener: TcpListener,
    transport: Transport,
    door: Door<I>,
    permits: Arc<Semaphore>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut shutdown) => break,
            Some(_) = connections.join_next() => continue,
            accepted = async {
                // Never closed.
                let permit = permits.clone().acquire_owned().await.ok();
                (listener.accept().await, permit)
            } => accepted,
        };
        match accepted {
            (Ok((stream, _)), permit) => {
                let (door, shutdown) = (door.clone(), shutdown.clone());
                connections.spawn(async move {
                    connection(stream, transport, door, shutdown).await;
                    drop(permit);
                });
            }
            (Err(error), _) => {
                tracing::debug!(%error, "cannot accept an OTLP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // What is under way is answered; each connection has its own bound for that.
    while connections.join_next().await.is_some() {}
}

/// Serves a connection to its end.
async fn connection<I: Intake>(
    stream: TcpStream,
    transport: Transport,
    door: Door<I>,
    mut shutdown: watch::Receiver<bool>,
) {
    // Small answers wait 40 ms for the peer's acknowledgement without it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let usage = Arc::new(Use::default());
    let service = service_fn(|request: Request<Incoming>| {
        let (open, door) = (OpenRequest::new(usage.clone()), door.clone());
        async move {
            let response = answer(transport, &door, request).await;
            drop(open);
            Ok::<_, Infallible>(response)
        }
    });
    let builder = builder(transport);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut look_at = Instant::now() + FIRST_REQUEST_TIMEOUT;
    let (mut seen, mut is_ending) = (0, false);
    loop {
        tokio::select! {
            // How it ended is the peer's matter.
            _ = connection.as_mut() => return,
            () = stopped(&mut shutdown), if !is_ending => {}
            () = sleep_until(look_at) => {
                let seen_before = std::mem::replace(&mut seen, usage.seen.load(Ordering::Acquire));
                if is_ending || seen == 0 {
                    return;
                }
                if usage.open.load(Ordering::Acquire) > 0 || seen != seen_before {
                    look_at = Instant::now() + IDLE_TIMEOUT;
                    continue;
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        is_ending = true;
        look_at = Instant::now() + GRACE;
    }
}

async fn answer<I: Intake>(
    transport: Transport,
    door: &Door<I>,
    request: Request<Incoming>,
) -> Response<Body> {
    match (transport, Signal::of_grpc_path(request.uri().path())) {
        (Transport::Http, _) => door.http(request).await.map(Body::new),
        (Transport::Grpc, Some(signal)) => door.grpc(signal, request).await.map(Body::new),
        (Transport::Grpc, None) => Status::unimplemented("no such service here").into_http(),
    }
}

fn builder(transport: Transport) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if transport == Transport::Grpc {
        builder = builder.http2_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES.0)
        .initial_connection_window_size(WINDOW_BYTES.1)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX);
    builder
}

impl OpenRequest {
    fn new(usage: Arc<Use>) -> Self {
        usage.open.fetch_add(1, Ordering::AcqRel);
        usage.seen.fetch_add(1, Ordering::AcqRel);
        Self(usage)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}
