//! One reader's connection: HTTP/1.1 with bounds in time. It ends within seconds when its token is revoked, or its certificate
//! has ended or is no longer a reader's.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tower::ServiceExt;

use crate::accept::Accepted;
use crate::authority::PeerCertificate;
use crate::credentials::{Credentials, Reading};
use crate::ingest::Peer;
use crate::stop::stopped;

/// From a connection, or from the answer before, to the end of a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's head: a credential and a few filters.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// A connection's whole life, so that one that is read slowly does not hold its page for ever. Scrapers reconnect.
const LIFE_MAX: Duration = Duration::from_secs(120);
/// A request whose answer takes longer than [`LIFE_MAX`] says so here: a stream of rows.
#[derive(Debug, Clone)]
pub(super) struct Life(watch::Sender<Duration>);

impl Life {
    /// Lets the connection live so long from its beginning, or longer.
    pub(super) fn extend(&self, life: Duration) {
        // The connection is the receiver; if it has gone there is nothing to extend.
        self.0.send_if_modified(|now| std::mem::replace(now, life.max(*now)) < life);
    }
}

/// With what the connection's last request was let in: an answer that is under way when that ends is cut off.
#[derive(Debug, Clone, Default)]
pub(super) struct LastReading(Arc<Mutex<Option<Reading>>>);

impl LastReading {
    pub(super) fn note(&self, reading: Reading) {
        *self.0.lock() = Some(reading);
    }

    fn may_go_on(&self, credentials: &Credentials, certificate: Option<&PeerCertificate>) -> bool {
        self.0.lock().as_ref().is_none_or(|reading| credentials.may_go_on(reading, certificate))
    }
}

/// What is under way has this long to end.
const GRACE: Duration = Duration::from_secs(5);

/// Serves a connection to its end.
pub async fn serve(
    accepted: Accepted,
    router: Router,
    credentials: Arc<Credentials>,
    mut stop: watch::Receiver<bool>,
) {
    let (peer, certificate) = (accepted.peer, accepted.certificate);
    let (life, mut lives) = watch::channel(LIFE_MAX);
    let life = Life(life);
    let (last, mut changes) = (LastReading::default(), credentials.changes());
    let (noted, shown) = (last.clone(), certificate.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, life, certificate) = (router.clone(), life.clone(), shown.clone());
        let noted = noted.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            if let Some(certificate) = certificate {
                request.extensions_mut().insert(certificate);
            }
            request.extensions_mut().insert(life);
            request.extensions_mut().insert(noted);
            router.oneshot(request).await.map_err(|never: Infallible| never)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(accepted.io), service));
    let began_at = Instant::now();
    let mut ends_at = began_at + LIFE_MAX;
    // Agents' certificates read nothing.
    let readers = certificate.as_deref().filter(|certificate| certificate.reader.is_some());
    let mut is_readers = readers.is_some();
    let certificate_ends_at = began_at + readers.map_or(LIFE_MAX, |shown| credentials.has_ended_in(shown));
    let mut is_ending = false;
    loop {
        tokio::select! {
            // How it ended is the peer's matter.
            _ = connection.as_mut() => return,
            Ok(()) = lives.changed(), if !is_ending => {
                ends_at = began_at + *lives.borrow_and_update();
                continue;
            }
            Ok(()) = changes.changed() => {
                if last.may_go_on(&credentials, certificate.as_deref()) {
                    continue;
                }
                return;
            }
            () = sleep_until(certificate_ends_at), if is_readers => {
                is_readers = false;
                if last.may_go_on(&credentials, certificate.as_deref()) {
                    continue;
                }
                return;
            }
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
