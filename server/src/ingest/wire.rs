//! `Stream` on the wire: its codec and its bounds.
//!
//! tonic's generated service makes three buffers of 8 KiB for each stream before a byte has come on it, and they stay as
//! long as it does; an idle agent's messages are a hundred bytes. Here they begin small and grow with what is sent. For the
//! same reason messages for the agent are boxed: the queue has room for tens of them from its beginning.

use std::future::{Ready, ready};

use hyper::body::Incoming;
use muster::limits::MESSAGE_BYTES_MAX;
use muster::v1;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{BufferSettings, Codec, CompressionEncoding, EnabledCompressionEncodings};
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use super::{Ingest, ToAgent};

/// The method's name in its service.
pub(super) const METHOD: &str = "Stream";
/// What a buffer begins with, and grows by: a heartbeat, a verdict. A batch makes its own room at once, by its length.
const BUFFER_BYTES: usize = 1 << 10;
/// What is written before it is handed on (tonic's default): several verdicts go in one frame.
const YIELD_BYTES: usize = 32 << 10;

type Pair = ProstCodec<ToAgent, v1::AgentMessage>;

/// Protobuf with small buffers.
struct SmallBuffers;

impl Codec for SmallBuffers {
    type Encode = ToAgent;
    type Decode = v1::AgentMessage;
    type Encoder = ProstEncoder<ToAgent>;
    type Decoder = ProstDecoder<v1::AgentMessage>;

    fn encoder(&mut self) -> Self::Encoder {
        Pair::raw_encoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        Pair::raw_decoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }
}

impl StreamingService<v1::AgentMessage> for Ingest {
    type Response = ToAgent;
    type ResponseStream = ReceiverStream<Result<ToAgent, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<v1::AgentMessage>>) -> Self::Future {
        ready(self.stream(request))
    }
}

/// Answers a call of the method.
pub(super) async fn answer(
    ingest: Ingest,
    request: http::Request<Incoming>,
) -> http::Response<tonic::body::Body> {
    let mut zstd = EnabledCompressionEncodings::default();
    zstd.enable(CompressionEncoding::Zstd);
    let mut grpc = Grpc::new(SmallBuffers)
        .apply_compression_config(zstd, zstd)
        .apply_max_message_size_config(Some(MESSAGE_BYTES_MAX), None);
    grpc.streaming(ingest, request).await
}
