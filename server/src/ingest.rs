//! Taking batches from agents: `muster.v1.Collector/Stream`.
//!
//! ```text
//! accept ─> connection ─> stream (credential, admission) ─> hello (claim, mark) ─> session ─> stream log ─> verdict
//! ```
//!
//! A batch is acknowledged when the stream log says that it is durable, and never before. Verdicts go down in the order
//! in which batches came up. After a gap or a throttle there is one message, and what was sent behind it is dropped
//! without a word until the agent has gone back: its verdict would only make it go back again.
//!
//! | what comes | what happens |
//! |---|---|
//! | a credential that is not accepted | UNAUTHENTICATED, without a reason |
//! | a hello of another agent than the certificate's | PERMISSION_DENIED |
//! | a hello of an agent that has enrolled, without its certificate | PERMISSION_DENIED |
//! | too many streams of all, a team or an agent, or too many new ones a second | Goodbye with a time to come back, RESOURCE_EXHAUSTED |
//! | no Hello within 10 s, silence of 60 s | DEADLINE_EXCEEDED |
//! | a message over the limit, compressed or not | RESOURCE_EXHAUSTED before it is read |
//! | the same agent again, same process | the old stream ends |
//! | the same agent again, another process | the old stream is probed; if it lives, the new one is FENCED |
//! | a batch that can never be right | REJECTED |
//! | journal full, disk full, a quota of team or agent used up | Throttle |
//! | a report about a configuration that cannot be understood | counted and passed over |
//! | journal poisoned | UNAVAILABLE, and the collector stops |

mod admission;
mod configuration;
pub mod connection;
mod hello;
mod in_flight;
mod judge;
mod registry;
mod session;
#[cfg(test)]
mod tests;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use journal::stream::StreamLog;
use muster::clock::Clock;
use muster::v1;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub use admission::Admission;
pub use registry::Registry;
pub(crate) use session::spread;

use crate::aggregate::View;
use crate::authority::PeerCertificate;
use crate::credentials::{Credentials, Presented};
use crate::figures::{Figures, StreamEnd};
use crate::quota::{Quotas, Wanted};
use crate::remote_configuration::Offers;

/// Messages between a session and its connection: a window of verdicts and a few others.
const OUTBOX_MESSAGES: usize = muster::limits::BATCHES_IN_FLIGHT_MAX as usize + 16;

/// A message for an agent; boxed, since a queue has room for many of them that are never sent.
type ToAgent = Box<v1::CollectorMessage>;

/// What all streams share.
#[derive(Clone)]
pub struct Ingest {
    shared: Arc<Shared>,
}

/// The parts that a stream needs.
pub struct Shared {
    /// Where batches become durable.
    pub log: Arc<dyn StreamLog>,
    /// Who may speak.
    pub credentials: Arc<Credentials>,
    /// How many may speak.
    pub admission: Arc<Admission>,
    /// How much they may send.
    pub quotas: Arc<Quotas>,
    /// Which agents speak.
    pub registry: Arc<Registry>,
    /// What is offered to agents that take a configuration.
    pub offers: watch::Receiver<Arc<Offers>>,
    /// Where is noted that they are there, and what they say of themselves.
    pub view: Arc<View>,
    /// Counters.
    pub figures: Arc<Figures>,
    /// For latencies and skew.
    pub clock: Arc<dyn Clock>,
    /// True: finish what is in flight, say goodbye.
    pub stop: watch::Receiver<bool>,
    /// Told once when the log is poisoned.
    pub poisoned: watch::Sender<Option<String>>,
}

/// Who is at the other end of a connection; an extension of its requests. Another is its [`PeerCertificate`], if it has
/// shown one.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

impl Ingest {
    /// The service over its parts.
    pub fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }
}

impl Ingest {
    /// Begins a stream, or says why not; the messages for its agent.
    fn stream(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<ReceiverStream<Result<ToAgent, Status>>>, Status> {
        let shared = self.shared.clone();
        let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() else {
            return Err(Status::internal("the connection has no peer"));
        };
        let caller = shared.credentials.authenticate(presented(peer, &request)).map_err(|refused| {
            tracing::debug!(%peer, "credential refused");
            Status::unauthenticated(refused.to_string())
        })?;
        let (outbox, messages) = mpsc::channel(OUTBOX_MESSAGES);
        let stream = Wanted { streams: 1, ..Wanted::default() };
        if let Err(used_up) = shared.quotas.take(&caller.team, None, stream) {
            let (end, words) = (StreamEnd::TeamQuota, used_up.to_string());
            refuse(&shared, end, used_up.retry_after, words, &outbox);
            return Ok(Response::new(ReceiverStream::new(messages)));
        }
        match shared.admission.enter(&caller.team, caller.agent) {
            Ok(mut place) => {
                let inbound = request.into_inner();
                tokio::spawn(async move {
                    shared.figures.streams.add(1);
                    hello::begin(shared.clone(), caller, peer, &mut place, inbound, outbox).await;
                    shared.figures.streams.add(-1);
                    drop(place);
                });
            }
            Err(full) => {
                refuse(&shared, full.end(), session::ADMISSION_RETRY, full.to_string(), &outbox);
            }
        }
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

/// What a call shows of its peer.
pub(crate) fn presented<T>(peer: SocketAddr, request: &Request<T>) -> Presented<'_> {
    let header = request.metadata().get("authorization").map(|value| value.as_bytes());
    let certificate = request.extensions().get::<Arc<PeerCertificate>>().map(AsRef::as_ref);
    Presented { ip: peer.ip(), header, certificate }
}

/// Tells the collector that its journal can take nothing any more; the first who notices is heard.
pub(crate) fn tell_poisoned(poisoned: &watch::Sender<Option<String>>, error: &dyn std::fmt::Display) {
    poisoned.send_if_modified(|reason| {
        let is_first = reason.is_none();
        reason.get_or_insert_with(|| error.to_string());
        is_first
    });
}

/// Tells a stream that there is no room when to come back.
fn refuse(
    shared: &Shared,
    end: StreamEnd,
    retry_after: Duration,
    reason: String,
    outbox: &mpsc::Sender<Result<ToAgent, Status>>,
) {
    shared.figures.streams_ended.add(end, 1);
    let retry_after_ms = session::spread(retry_after);
    let goodbye = v1::Goodbye { retry_after_ms, reason: reason.clone() };
    let message = v1::CollectorMessage { kind: Some(v1::collector_message::Kind::Goodbye(goodbye)) };
    // The channel is new and has room for both.
    let _ = outbox.try_send(Ok(Box::new(message)));
    let _ = outbox.try_send(Err(Status::resource_exhausted(reason)));
}
