//! One reader's connection: HTTP/1.1 with bounds in time.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;

use crate::accept::Accepted;
use crate::ingest::Peer;
use crate::stop::stopped;

/// From a connection, or from the answer before, to the end of a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's head: a credential and a few filters.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// A connection's whole life, so that one that is read slowly does not hold its page for ever. Scrapers reconnect.
const LIFE_MAX: Duration = Duration::from_secs(120);
/// What is under way has this long to end.
const GRACE: Duration = Duration::from_secs(5);

/// Serves a connection to its end.
pub async fn serve(accepted: Accepted, router: Router, mut stop: watch::Receiver<bool>) {
    let peer = accepted.peer;
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            router.oneshot(request).await.map_err(|never: Infallible| never)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(accepted.io), service));
    let mut ends_at = Instant::now() + LIFE_MAX;
    let mut is_ending = false;
    loop {
        tokio::select! {
            // How it ended is the peer's matter.
            _ = connection.as_mut() => return,
            () = stopped(&mut stop), if !is_ending => {}
            () = sleep_until(ends_at) => {
                if is_ending {
                    return;
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        is_ending = true;
        ends_at = Instant::now() + GRACE;
    }
}
