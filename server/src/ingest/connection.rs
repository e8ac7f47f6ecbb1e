//! One connection to the gRPC port: HTTP/2 with our own bounds, and a watch over what it does with its room
//! ([`crate::accept`]). HTTP/2's own attacks (rapid reset, header floods) are bounded by h2 and the settings here
//! (reliability.md B14).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use muster::limits::MESSAGE_BYTES_MAX;
use muster::v1::collector_server;
use muster::v1::enrolment_server::{self, EnrolmentServer};
use otlp::Signal;
use tokio::sync::watch;
use tonic::Status;
use tower::Service;

use super::{Ingest, Peer, wire};
use crate::accept::Accepted;
use crate::accept::usage::{Held, OpenRequest, Use, watch_over};
use crate::enrol::{self, EnrolmentService};
use crate::figures::Figures;
use crate::otlp_door::OtlpDoor;

/// Room for one stream's data on the way (performance.md section 0: 2.5 times the throughput of the defaults).
pub(crate) const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Room for a connection's data on the way: what a peer can make us hold before we have read it.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Large frames cost less a byte.
pub(crate) const FRAME_BYTES_MAX: u32 = 1 << 20;
/// An agent has one stream and perhaps the one before it; OTLP clients have as many calls at once as they may.
pub(crate) const STREAMS_MAX: u32 = 100;
/// A credential and a few headers.
pub(crate) const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Verdicts and export responses are small.
pub(crate) const SEND_BUFFER_BYTES_MAX: usize = 64 << 10;
/// A silent peer is noticed within the sum of both (reliability.md B2).
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The services of the gRPC port. Another service is another field and another arm in `route`.
#[derive(Clone)]
pub struct Routes {
    ingest: Ingest,
    enrolment: EnrolmentServer<EnrolmentService>,
    otlp: OtlpDoor,
}

impl Routes {
    /// The collector's own services, with their limits, and OTLP's.
    pub(crate) fn new(ingest: Ingest, enrolment: EnrolmentService, otlp: OtlpDoor) -> Self {
        let enrolment = EnrolmentServer::new(enrolment)
            .max_decoding_message_size(enrol::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Self { ingest, enrolment, otlp }
    }

    async fn route(mut self, request: Request<Incoming>) -> Result<Response<tonic::body::Body>, Infallible> {
        let path = request.uri().path();
        if let Some(signal) = Signal::of_grpc_path(path) {
            return Ok(self.otlp.grpc(signal, request).await.map(tonic::body::Body::new));
        }
        match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
            Some((collector_server::SERVICE_NAME, wire::METHOD)) => {
                Ok(wire::answer(self.ingest, request).await)
            }
            Some((enrolment_server::SERVICE_NAME, _)) => self.enrolment.call(request).await,
            _ => Ok(Status::unimplemented("no such service here").into_http()),
        }
    }
}

/// Serves a connection to its end.
pub async fn serve(accepted: Accepted, routes: Routes, figures: Arc<Figures>, stop: watch::Receiver<bool>) {
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
            let routes = routes.clone();
            // Boxed, so that what only beginning an answer needs is given back while the answer goes on.
            Box::pin(async move {
                let response = routes.route(request).await?;
                // The request is open until its answer's last byte.
                Ok::<_, Infallible>(response.map(|body| Held { body, _open: open }))
            })
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
