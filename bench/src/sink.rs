//! The reference: the same service over stock tonic, which answers each batch and drops it.

use std::net::SocketAddr;
use std::pin::Pin;

use clap::Args;
use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_message::Kind as Down;
use muster::v1::collector_server::{Collector, CollectorServer};
use tokio_stream::{Stream, StreamExt};
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status, Streaming};

/// Flags of `sink`.
#[derive(Debug, Args)]
pub struct SinkArgs {
    /// Where to listen; the bound address is printed as `ready grpc=ADDRESS`
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

struct Sink;

/// Serves until killed.
pub fn run(args: &SinkArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = std::net::TcpListener::bind(args.listen)?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let incoming =
            tonic::transport::server::TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?)
                .with_nodelay(Some(true));
        println!("ready grpc={address}");
        let service = CollectorServer::new(Sink)
            .max_decoding_message_size(muster::limits::MESSAGE_BYTES_MAX)
            .accept_compressed(CompressionEncoding::Zstd);
        tonic::transport::Server::builder()
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(8 << 20)
            .max_frame_size(1 << 20)
            .add_service(service)
            .serve_with_incoming(incoming)
            .await?;
        Ok(())
    })
}

#[tonic::async_trait]
impl Collector for Sink {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<v1::CollectorMessage, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let answers = request.into_inner().filter_map(|message| match message {
            Ok(message) => answer(message).map(|kind| Ok(v1::CollectorMessage { kind: Some(kind) })),
            Err(status) => Some(Err(status)),
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn answer(message: v1::AgentMessage) -> Option<Down> {
    match message.kind? {
        Up::Hello(_) => Some(Down::Welcome(v1::Welcome {
            protocol_version: muster::limits::PROTOCOL_VERSION,
            batches_in_flight_max: muster::limits::BATCHES_IN_FLIGHT_MAX,
            heartbeat_interval_ms: muster::limits::HEARTBEAT_INTERVAL_MS,
            ..v1::Welcome::default()
        })),
        Up::Batch(batch) => Some(Down::Verdict(v1::Verdict {
            outcome: v1::verdict::Outcome::Appended.into(),
            durable_seq: batch.last_seq,
            ..v1::Verdict::default()
        })),
        _ => None,
    }
}
