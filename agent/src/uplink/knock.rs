//! Asking whether the collector would take a stream, without beginning one.

use std::time::Duration;

use muster::clock::WallTime;
use muster::v1;
use muster::v1::collector_client::CollectorClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::channel::{self, ChannelError, ServerConfig};

/// A credential is looked up in memory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the collector said.
#[derive(Debug)]
pub(crate) struct Knocked {
    /// Its time, as HTTP has it.
    pub date: Option<String>,
    /// Whether it would take the stream.
    pub answer: Result<(), Status>,
}

/// Opens a stream, says nothing, and closes it when the collector has answered.
pub(crate) async fn knock(server: &ServerConfig, now: WallTime) -> Result<Knocked, ChannelError> {
    let connection = channel::connect(server, now).await?;
    // Held until the answer is there: a stream that ends at once is answered as such.
    let (_outbox, messages) = mpsc::channel::<v1::AgentMessage>(1);
    let mut request = tonic::Request::new(ReceiverStream::new(messages));
    if let Some(value) = connection.authorization {
        request.metadata_mut().insert("authorization", value);
    }
    let mut client = CollectorClient::new(connection.channel);
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, client.stream(request)).await;
    let answer = answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
    let metadata = match &answer {
        Ok(response) => response.metadata(),
        Err(status) => status.metadata(),
    };
    let date = metadata.get("date").and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Knocked { date, answer: answer.map(drop) })
}
