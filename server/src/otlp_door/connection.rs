//! One connection to the OTLP/HTTP port: HTTP/1.1, or HTTP/2 by prior knowledge or ALPN.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::watch;

use super::OtlpDoor;
use crate::accept::Accepted;
use crate::accept::usage::{Held, OpenRequest, Use, watch_over};
use crate::figures::Figures;
use crate::ingest::Peer;
use crate::ingest::connection::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, HEADERS_BYTES_MAX, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT,
    SEND_BUFFER_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX,
};

/// From one answer to the end of the next request's head. Longer than the minute between two exports of metrics: a
/// client that finds its connection closed as it sends cannot know whether the request was read. The first head of a
/// connection has [`crate::accept::FIRST_REQUEST_TIMEOUT`].
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// What is read at once of an HTTP/1.1 connection; heads must fit.
const READ_BUFFER_BYTES_MAX: usize = 128 << 10;

/// Serves a connection to its end.
pub(crate) async fn serve(
    accepted: Accepted,
    door: OtlpDoor,
    figures: Arc<Figures>,
    stop: watch::Receiver<bool>,
) {
    let (peer, certificate) = (accepted.peer, accepted.certificate);
    let usage = Arc::new(Use::default());
    let service = {
        let usage = usage.clone();
        service_fn(move |mut request: Request<Incoming>| {
            let open = OpenRequest::new(usage.clone());
            request.extensions_mut().insert(Peer(peer));
            if let Some(certificate) = &certificate {
                request.extensions_mut().insert(certificate.clone());
            }
            let door = door.clone();
            async move {
                let response = door.http(request).await;
                Ok::<_, Infallible>(response.map(|body| Held { body, _open: open }))
            }
        })
    };
    let builder = builder();
    let connection = builder.serve_connection(TokioIo::new(accepted.io), service);
    watch_over(connection, accepted.first_request_within, &usage, &figures, stop).await;
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER_BYTES_MAX);
    builder
        .http2()
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
