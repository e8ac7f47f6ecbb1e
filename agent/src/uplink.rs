//! The uplink: carries the spool to the collector, and knows what arrived.
//!
//! It promises that every spooled event arrives and counts once, as long as the spool has it: what is not acknowledged is
//! sent again, byte for byte, from the collector's own mark. It never blocks sources: they write to the spool, and the
//! spool has its own bound.
//!
//! | failure | what happens |
//! |---|---|
//! | collector away, connection lost, silent peer | keepalive ends the connection within 30 s; reconnect with [`Backoff`] |
//! | the certificate was replaced | the stream is left in order, the next one shows the new certificate |
//! | credential refused | backs off like any failure; the log and `status` say it in words |
//! | throttled | everything unanswered is sent again after the time the collector named |
//! | fenced, or another history at the mark | a new epoch with what is ours alone |
//! | batch rejected for good | counted as dropped (`rejected`); the rest goes on in a new epoch |
//!
//! [`session`] decides, this module only carries.

use std::sync::Arc;
use std::time::Duration;

use muster::clock::Clock;
use muster::ids::{Instance, Seq};
use tokio::sync::{Mutex, watch};

mod asking;
pub mod backoff;
pub(crate) mod channel;
pub(crate) mod knock;
#[cfg(test)]
pub(crate) mod scripted;
pub mod session;
mod stream;
#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use channel::{ChannelError, ServerConfig, TokenSource};
pub use session::SpoolFacts;

use crate::enrol::Situation;
use crate::remote_configuration::RemoteConfiguration;
use crate::spool::{Spool, SpoolError};

/// Most of a collector's version that is kept: it comes from a network.
const VERSION_CHARS_MAX: usize = 64;

/// The spool, between the runtime that fills it and the uplink that empties it.
pub type SharedSpool = Arc<Mutex<Spool>>;

/// What `status` and the metrics page say about the uplink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UplinkStatus {
    /// Whether a stream is open and welcomed.
    pub connected: bool,
    /// How the collector calls our team; "" before the first welcome.
    pub team: String,
    /// What the last welcome said of the collector; `None` before the first.
    pub collector: Option<CollectorSaid>,
    /// Why the last stream ended, in words.
    pub last_error: Option<String>,
    /// Streams opened since the process started.
    pub connects: u64,
    /// Events acknowledged since the process started.
    pub events_acked: u64,
    /// New epochs taken since the process started.
    pub new_epochs: u64,
}

/// What a collector says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectorSaid {
    /// Its version; "": it is an older one, which does not say.
    pub version: String,
    /// The version of the protocol that it speaks.
    pub protocol: u32,
}

impl CollectorSaid {
    fn of(welcome: &muster::v1::Welcome) -> Self {
        let version = welcome.collector_version.chars().filter(|c| !c.is_control());
        Self { version: version.take(VERSION_CHARS_MAX).collect(), protocol: welcome.protocol_version }
    }
}

/// Who speaks.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// This start of the process.
    pub instance: Instance,
    /// The machine's name.
    pub host: String,
    /// The developer's login name.
    pub user: String,
}

/// Why a stream ended, and when to come back.
#[derive(Debug)]
pub(crate) enum End {
    /// Connect again at once: a new epoch was taken.
    NewEpoch,
    /// Connect again at once: the certificate is another.
    NewCertificate,
    /// The collector asked for this pause.
    Retry(Duration),
    /// Something went wrong; back off.
    Lost(StreamError),
    /// The process stops.
    Shutdown,
}

/// What can go wrong with a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("{}", describe(.0))]
    Status(Box<tonic::Status>),
    #[error("the collector did not answer within {0:?}")]
    Silent(Duration),
    #[error("the collector closed the stream")]
    Closed,
    #[error("the collector does not speak protocol {ours}, but {theirs}; update the older of the two")]
    Protocol {
        /// Our version.
        ours: u32,
        /// The collector's.
        theirs: u32,
    },
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// What an uplink carries, and what it tells and is told.
#[derive(Debug)]
pub struct Uplink {
    /// The collector.
    pub server: ServerConfig,
    /// What is carried.
    pub spool: SharedSpool,
    /// Who speaks.
    pub speaker: Speaker,
    /// What the page says of it.
    pub status: watch::Sender<UplinkStatus>,
    /// Tells of a new certificate.
    pub certificate: watch::Receiver<Situation>,
    /// Takes what the collector asks for.
    pub configuration: Arc<RemoteConfiguration>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

/// Carries the spool until `shutdown` turns true. Never gives up.
pub async fn run(mut uplink: Uplink, mut shutdown: watch::Receiver<bool>) {
    let mut backoff = Backoff::default();
    let mut random = fastrand::Rng::with_seed(uplink.speaker.instance.0);
    while !*shutdown.borrow() {
        let end = stream::run(&mut uplink, &mut backoff, &mut shutdown).await;
        let status = &uplink.status;
        status.send_modify(|s| s.connected = false);
        let delay = match end {
            End::Shutdown => return,
            End::NewCertificate => Duration::ZERO,
            End::NewEpoch => {
                status.send_modify(|s| s.new_epochs += 1);
                Duration::ZERO
            }
            End::Retry(hint) => Backoff::after_hint(hint, random.f64()),
            End::Lost(error) => {
                let delay = backoff.next_delay(random.f64());
                let words = error.to_string();
                tracing::warn!(error = %words, retry_in_ms = delay.as_millis() as u64, "no connection to the collector");
                status.send_modify(|s| s.last_error = Some(words));
                delay
            }
        };
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stopped(&mut shutdown) => return,
        }
    }
}

/// Returns when the process is asked to stop.
pub(crate) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // A sender that is gone asks as well.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// A status in words for a person: what, and what to do.
fn describe(status: &tonic::Status) -> String {
    use tonic::Code;
    match status.code() {
        Code::Unauthenticated => {
            "the collector does not accept our credential; ask for a new token: with muster token create for token_file, or, \
             if the agent is enrolled, with muster token create --enroll for muster agent enroll --force. An agent that was \
             revoked can come back with an empty state directory alone"
                .to_owned()
        }
        Code::Unavailable => format!("the collector is not reachable: {}", status.message()),
        // The connection's end, and not a word of the collector: what is behind it says more.
        code if std::error::Error::source(status).is_some() => {
            format!("the connection to the collector was lost ({code:?}): {}", channel::innermost(status))
        }
        code => format!("the collector answered {code:?}: {}", status.message()),
    }
}

/// Reads the numbers a hello needs.
async fn hello(uplink: &Uplink) -> muster::v1::Hello {
    let (spool, speaker) = (uplink.spool.lock().await, &uplink.speaker);
    let identity = spool.identity();
    let has_events = spool.first_seq() <= spool.last_seq();
    let mut hello = muster::v1::Hello {
        protocol_version: muster::limits::PROTOCOL_VERSION,
        agent_id: identity.agent_id.as_bytes().to_vec(),
        epoch: identity.epoch.get(),
        instance: speaker.instance.0,
        first_seq: if has_events { spool.first_seq().0 } else { Seq::ZERO.0 },
        last_seq: spool.last_seq().0,
        acked_seq: spool.acked_seq().0,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: speaker.host.clone(),
        user: speaker.user.clone(),
        os: std::env::consts::OS.to_owned(),
        ..Default::default()
    };
    uplink.configuration.introduce(&mut hello);
    hello
}
