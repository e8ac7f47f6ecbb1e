//! The reference, and where forwarded records end: stock tonic that takes the bytes, counts the records in them by a walk,
//! answers and drops them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use clap::Args;
use otlp::{Signal, wire};
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tower::Service;

use super::load::Raw;

/// Flags of `otlp-bare`.
#[derive(Debug, Args)]
pub struct BareArgs {
    /// Where to listen; the bound address is printed as `ready grpc=ADDRESS`
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// A sink in a thread of this process.
pub struct Discarding {
    pub address: SocketAddr,
    records: Arc<AtomicU64>,
}

#[derive(Clone, Default)]
struct Logs {
    records: Arc<AtomicU64>,
}

/// Serves until killed.
pub fn run_bare(args: &BareArgs) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind(args.listen)?;
    println!("ready grpc={}", listener.local_addr()?);
    serve(listener, Logs::default())
}

impl Discarding {
    pub fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let logs = Logs::default();
        let records = logs.records.clone();
        // It ends with the process: a cell's sink is not used again.
        std::thread::spawn(move || serve(listener, logs));
        Ok(Self { address, records })
    }

    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

fn serve(listener: std::net::TcpListener, logs: Logs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let incoming =
            tonic::transport::server::TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?)
                .with_nodelay(Some(true));
        tonic::transport::Server::builder()
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(8 << 20)
            .max_frame_size(1 << 20)
            .add_service(logs)
            .serve_with_incoming(incoming)
            .await?;
        Ok(())
    })
}

impl NamedService for Logs {
    const NAME: &'static str = "opentelemetry.proto.collector.logs.v1.LogsService";
}

impl Service<http::Request<Body>> for Logs {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let take = Take(self.clone());
        Box::pin(async move {
            // rotel compresses whatever it is told.
            let mut grpc = Grpc::new(Raw)
                .accept_compressed(CompressionEncoding::Gzip)
                .apply_max_message_size_config(Some(64 << 20), None);
            Ok(grpc.unary(take, request).await)
        })
    }
}

struct Take(Logs);

impl UnaryService<Bytes> for Take {
    type Response = Bytes;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        std::future::ready(match wire::check(Signal::Logs, request.get_ref()) {
            Ok(tally) => {
                self.0.records.fetch_add(tally.items, Ordering::Relaxed);
                Ok(Response::new(Bytes::new()))
            }
            Err(error) => Err(Status::invalid_argument(error.to_string())),
        })
    }
}
