//! What a connection does with its room, and its end when it does nothing.
//!
//! hyper is driven directly, since tonic's server has no bound on the time before a request. A connection without a
//! whole request within the time left of [`super::FIRST_REQUEST_TIMEOUT`] is closed, and so is one that has had none
//! open for [`IDLE_TIMEOUT`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::server::conn::auto;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::figures::{Figures, Refusal};

/// Longest that a connection may be kept without a request: long enough for a client that calls once a minute.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// What a connection has to finish in when it is asked to end (the whole stop has 10 s).
const GRACE: Duration = Duration::from_secs(6);

/// What a connection does with its room.
#[derive(Debug, Default)]
pub(crate) struct Use {
    requests_open: AtomicUsize,
    has_requested: AtomicBool,
    since_look: AtomicBool,
}

/// One open request; counted off when dropped.
pub(crate) struct OpenRequest(Arc<Use>);

/// An answer's body that keeps its request open.
pub(crate) struct Held<B> {
    pub(crate) body: B,
    pub(crate) _open: OpenRequest,
}

/// hyper's way to end a connection after the requests that are open.
pub(crate) trait GracefulShutdown {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

/// Drives the connection until it ends, is asked to, or wastes its room.
///
/// The connection is boxed before the future begins: as an argument of an `async fn` it would be in it twice.
pub(crate) fn watch_over<C, E>(
    connection: C,
    first_request_within: Duration,
    usage: &Use,
    figures: &Figures,
    stop: watch::Receiver<bool>,
) -> impl Future<Output = ()>
where
    C: Future<Output = Result<(), E>> + GracefulShutdown,
{
    watch(Box::pin(connection), first_request_within, usage, figures, stop)
}

async fn watch<C, E>(
    mut connection: Pin<Box<C>>,
    first_request_within: Duration,
    usage: &Use,
    figures: &Figures,
    mut stop: watch::Receiver<bool>,
) where
    C: Future<Output = Result<(), E>> + GracefulShutdown,
{
    let mut look_at = Instant::now() + first_request_within;
    let mut is_ending = false;
    loop {
        tokio::select! {
            // How it ended is the peer's matter.
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
    pub(crate) fn new(usage: Arc<Use>) -> Self {
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

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<I, S, B, E> GracefulShutdown for http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    B: hyper::body::Body + 'static,
    B::Error: Into<BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http2::Connection::graceful_shutdown(self);
    }
}

impl<I, S, B, E> GracefulShutdown for auto::Connection<'_, I, S, E>
where
    S: hyper::service::Service<http::Request<Incoming>, Response = http::Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: 'static,
    B: hyper::body::Body + 'static,
    B::Error: Into<BoxError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    E: hyper_util::server::conn::auto::HttpServerConnExec<S::Future, B>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        auto::Connection::graceful_shutdown(self);
    }
}

impl<B: hyper::body::Body + Unpin> hyper::body::Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

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
