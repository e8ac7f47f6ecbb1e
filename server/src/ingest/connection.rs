//! One agent's connection: HTTP/2 with our own bounds, and a watch over what it does with its room.
//!
//! hyper is driven directly, since tonic's server has no bound on the time before a request. A connection without a
//! whole request within the time left of [`crate::accept::FIRST_REQUEST_TIMEOUT`] is closed, and so is one that has
//! had none open for [`IDLE_TIMEOUT`]. HTTP/2's own attacks (rapid reset, header floods) are bounded by h2 and the
//! settings here (reliability.md B14).

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use muster::limits::MESSAGE_BYTES_MAX;
use muster::v1::collector_server::{CollectorServer, SERVICE_NAME};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tower::Service;

use super::{Ingest, Peer};
use crate::accept::Accepted;
use crate::figures::{Figures, Refusal};

/// Room for one stream's data on the way (performance.md section 0: 2.5 times the throughput of the defaults).
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Room for a connection's data on the way: what a peer can make us hold before we have read it.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Large frames cost less a byte.
const FRAME_BYTES_MAX: u32 = 1 << 20;
/// An agent has one stream and perhaps the one before it; OTLP clients have a few calls at once.
const STREAMS_MAX: u32 = 32;
/// A credential and a few headers.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Verdicts are small.
const SEND_BUFFER_BYTES_MAX: usize = 64 << 10;
/// A silent peer is noticed within the sum of both (reliability.md B2).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that a connection may be kept without a request: long enough for a client that calls once a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// What a connection has to finish in when it is asked to end (the whole stop has 10 s).
const GRACE: Duration = Duration::from_secs(6);

/// The services of the gRPC port. Another service is another field and another arm in `route`.
#[derive(Clone)]
pub struct Routes {
    collector: CollectorServer<Ingest>,
}

/// What a connection does with its room.
#[derive(Debug, Default)]
struct Use {
    requests_open: AtomicUsize,
    has_requested: AtomicBool,
    since_look: AtomicBool,
}

/// One open request; counted off when dropped.
struct OpenRequest(Arc<Use>);

impl Routes {
    /// The collector's own service, with its limits.
    pub fn new(ingest: Ingest) -> Self {
        let collector = CollectorServer::new(ingest)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Zstd)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        Self { collector }
    }

    async fn route(mut self, request: Request<Incoming>) -> Result<Response<tonic::body::Body>, Infallible> {
        let service = request.uri().path().strip_prefix('/').and_then(|path| path.split('/').next());
        if service == Some(SERVICE_NAME) {
            return self.collector.call(request).await;
        }
        Ok(Status::unimplemented("no such service here").into_http())
    }
}

/// Serves a connection to its end.
pub async fn serve(accepted: Accepted, routes: Routes, figures: Arc<Figures>, stop: watch::Receiver<bool>) {
    let peer = accepted.peer;
    let usage = Arc::new(Use::default());
    let service = {
        let usage = usage.clone();
        service_fn(move |mut request: Request<Incoming>| {
            let open = OpenRequest::new(usage.clone());
            request.extensions_mut().insert(Peer(peer));
            let routes = routes.clone();
            async move {
                let response = routes.route(request).await?;
                // The request is open until its answer's last byte.
                Ok::<_, Infallible>(response.map(|body| Held { body, _open: open }))
            }
        })
    };
    let connection = builder().serve_connection(TokioIo::new(accepted.io), service);
    watch_over(connection, accepted.first_request_within, &usage, &figures, stop).await;
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    builder
}

/// Drives the connection until it ends, is asked to, or wastes its room.
async fn watch_over<C>(
    connection: C,
    first_request_within: Duration,
    usage: &Use,
    figures: &Figures,
    mut stop: watch::Receiver<bool>,
) where
    C: Future<Output = hyper::Result<()>> + GracefulShutdown,
{
    let mut connection = pin!(connection);
    let mut look_at = Instant::now() + first_request_within;
    let mut is_ending = false;
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = crate::stop::stopped(&mut stop), if !is_ending => {
                connection.as_mut().graceful_shutdown();
                is_ending = true;
                look_at = Instant::now() + GRACE;
            }
            () = sleep_until(look_at) => {
                if is_ending {
                    return;
                }
                if !usage.has_requested.load(Ordering::Acquire) {
                    figures.connections_refused.add(Refusal::FirstRequestTimeout, 1);
                    return;
                }
                if usage.requests_open.load(Ordering::Acquire) == 0 && !usage.has_requested_since_look() {
                    figures.connections_refused.add(Refusal::Idle, 1);
                    connection.as_mut().graceful_shutdown();
                    is_ending = true;
                    look_at = Instant::now() + GRACE;
                } else {
                    look_at = Instant::now() + IDLE_TIMEOUT;
                }
            }
        }
    }
}

impl Use {
    fn has_requested_since_look(&self) -> bool {
        self.since_look.swap(false, Ordering::AcqRel)
    }
}

impl OpenRequest {
    fn new(usage: Arc<Use>) -> Self {
        usage.requests_open.fetch_add(1, Ordering::AcqRel);
        usage.has_requested.store(true, Ordering::Release);
        usage.since_look.store(true, Ordering::Release);
        Self(usage)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.requests_open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// hyper's way to end a connection after the requests that are open.
trait GracefulShutdown {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<I, S, E> GracefulShutdown for http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<Incoming, ResBody = Held>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, Held>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http2::Connection::graceful_shutdown(self);
    }
}

/// An answer's body that keeps its request open.
struct Held {
    body: tonic::body::Body,
    _open: OpenRequest,
}

impl hyper::body::Body for Held {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
