//! The whole collector: opens what it keeps, listens, and ends in order.
//!
//! ```text
//! start:  data folder -> tokens, certificate -> journal -> stream log -> aggregate -> destinations -> history -> listeners
//! stop:   no new connections, streams finish and say goodbye; destinations end what is out
//!         -> aggregate reads to the end and saves -> journal closes
//! ```
//!
//! A stop takes at most 10 s, and nothing depends on it: what was acknowledged is on disk. When the journal is poisoned
//! the collector stops with an error, so that whoever supervises it opens it anew; it never stays alive and useless.

mod parts;
mod reload;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use journal::stream::StreamOpenError;
use journal::{CursorError, Journal, OpenError};
use muster::clock::Clock;
use otlp::receive::Budget;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use reload::{ReloadError, ReloadReport};

use crate::accept::{PerIp, Permits};
use crate::aggregate::Folding;
use crate::audit::AuditLog;
use crate::authority::AuthorityError;
use crate::config::{Config, ConfigError};
use crate::credentials::{Credentials, TokenFileError};
use crate::figures::{Door, Figures, Label};
use crate::fleet::Fleet;
use crate::forward::{ForwardError, Forwarding};
use crate::history::{HistoryError, HistoryKeeping};
use crate::ingest::Admission;
use crate::quota::Quotas;
use crate::readiness::Pulse;
use crate::remote_configuration::Board;
use crate::stop::stopped;
use crate::telemetry::{Telemetry, TelemetryError};
use crate::tls::{Certificate, TlsError};

/// What streams and connections have to end in; the aggregate's last snapshot needs the rest of the 10 s.
const STREAMS_STOP_MAX: Duration = Duration::from_secs(7);
/// How often a stop looks whether all have ended.
const STOP_LOOK: Duration = Duration::from_millis(10);

/// A running collector. Dropping it leaves it running without an end; call [`Server::stop`].
pub struct Server {
    /// Where agents connect, with the port that was really bound.
    pub grpc_address: SocketAddr,
    /// Where pages are read, with the port that was really bound.
    pub http_address: SocketAddr,
    /// Where OTLP/HTTP is taken, with the port that was really bound; `None` when it is off.
    pub otlp_http_address: Option<SocketAddr>,
    /// The collector's own counters.
    pub figures: Arc<Figures>,
    /// Agents, sessions and runs.
    pub fleet: Arc<Fleet>,
    /// Who did what.
    pub audit: Arc<AuditLog>,
    config: Config,
    journal: Arc<Journal>,
    folding: Folding,
    forwarding: Forwarding,
    telemetry: Arc<Telemetry>,
    history: HistoryKeeping,
    adjustable: Adjustable,
    stop: watch::Sender<bool>,
    poisoned: watch::Receiver<Option<String>>,
    tasks: JoinSet<()>,
}

/// What a reload can change.
struct Adjustable {
    grpc_permits: Arc<Permits>,
    http_permits: Arc<Permits>,
    otlp_permits: Arc<Permits>,
    otlp_budget: Arc<Budget>,
    per_ip: Arc<PerIp>,
    admission: Arc<Admission>,
    quotas: Arc<Quotas>,
    certificate: Option<Arc<Certificate>>,
    credentials: Arc<Credentials>,
    board: Arc<Board>,
}

/// Why the collector does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be made or used.
    #[error("cannot use data folder {path}: {source}")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An address cannot be bound.
    #[error("cannot listen on {address} ({setting}): {source}")]
    Listen {
        /// The key of the configuration.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal cannot be opened.
    #[error("journal: {0}")]
    Journal(#[from] OpenError),
    /// The journal's streams cannot be known.
    #[error("journal: {0}")]
    Streams(#[from] StreamOpenError),
    /// The aggregate's cursor cannot be had.
    #[error("journal: {0}")]
    Cursor(#[from] CursorError),
    /// The token file cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The authority cannot be used.
    #[error("authority: {0}")]
    Authority(#[from] AuthorityError),
    /// The collector cannot observe itself.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// A destination is this collector, by the port that was really bound.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A destination cannot be forwarded to.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The history cannot be kept as configured.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A thread or a snapshot, by the system's word.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// Why the collector ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The journal can take nothing any more.
    #[error("the journal is poisoned and must be opened anew: {0}")]
    Poisoned(String),
}

impl Server {
    /// Opens and listens. When this returns, agents may connect.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        parts::start(config, clock).await
    }

    /// Comes true when the journal can take nothing any more.
    pub async fn broken(&mut self) -> String {
        match self.poisoned.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The senders live as long as the listeners; without them there is nothing to break.
            Err(_) => std::future::pending().await,
        }
    }

    /// What a watchdog looks at.
    pub fn pulse(&self) -> Pulse {
        Pulse { journal: Arc::downgrade(&self.journal), figures: self.figures.clone() }
    }

    /// Changes what can be changed while running, and says what cannot. Must be called in a tokio runtime. Destinations that
    /// are changed or taken out end meanwhile: it does not wait for them.
    pub fn reload(&mut self, config: Config) -> Result<ReloadReport, ReloadError> {
        reload::apply(self, config)
    }

    /// Ends in order, within 10 s.
    pub async fn stop(mut self) {
        // The receivers are the tasks; those that have gone need no word.
        let _ = self.stop.send(true);
        let figures = self.figures.clone();
        let all_ended = async {
            // Readers of pages as well: they hold the journal, which must be free for the next collector.
            let open = || {
                let connections = Door::ALL.iter().map(|door| figures.connections(*door).value());
                figures.streams.value() + connections.sum::<i64>()
            };
            while open() > 0 {
                sleep(STOP_LOOK).await;
            }
        };
        // What is still taken meanwhile is forwarded by the next start.
        let (ended, ()) = tokio::join!(timeout(STREAMS_STOP_MAX, all_ended), self.forwarding.stop());
        if ended.is_err() {
            tracing::warn!(streams = figures.streams.value(), "some streams did not end in time");
        }
        self.tasks.shutdown().await;
        let (folding, history, journal, audit) = (self.folding, self.history, self.journal, self.audit);
        let telemetry = self.telemetry;
        let closed = tokio::task::spawn_blocking(move || {
            history.finish();
            folding.finish();
            // What is observed of destinations holds the journal, too.
            drop((telemetry, journal));
            audit.finish();
        });
        if closed.await.is_err() {
            tracing::error!("closing the journal panicked");
        }
    }
}

/// Runs a collector until `stop` is true or its journal breaks. `started` is told the bound addresses.
pub async fn run(
    config: Config,
    clock: Arc<dyn Clock>,
    mut stop: watch::Receiver<bool>,
    started: impl FnOnce(&Server),
) -> Result<(), RunError> {
    let mut server = Server::start(config, clock).await?;
    started(&server);
    let broken = tokio::select! {
        () = stopped(&mut stop) => None,
        reason = server.broken() => Some(reason),
    };
    server.stop().await;
    broken.map_or(Ok(()), |reason| Err(RunError::Poisoned(reason)))
}
