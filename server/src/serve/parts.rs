//! Opening the parts and putting them together.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use journal::fs::RealFs;
use journal::stream::JournalStreamLog;
use journal::{Journal, Retention, SlowReader, SyncMode};
use muster::clock::Clock;
use otlp::receive::Budget;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Adjustable, Server, StartError, reload};
use crate::accept::{Listener, PerIp, Permits};
use crate::aggregate::{Folding, Settings, Source};
use crate::audit::AuditLog;
use crate::authority::Authority;
use crate::config::{Config, Limits, refuse_own_doors};
use crate::credentials::Credentials;
use crate::enrol::{self, EnrolmentService};
use crate::figures::{Door, Figures};
use crate::fleet::Fleet;
use crate::forward::{self, Forwarder, Forwarding};
use crate::history::HistoryKeeping;
use crate::http::{self, Pages};
use crate::ingest::connection::{self, Routes};
use crate::ingest::{Admission, Ingest, Registry, Shared};
use crate::otlp_door::{self, OtlpDoor, OtlpIntake};
use crate::quota::Quotas;
use crate::readers::{Prepared, Readers};
use crate::remote_configuration::Board;
use crate::telemetry::{self, Observed, Telemetry};
use crate::tls::Certificate;

/// Name of the aggregate's cursor in the journal.
const AGGREGATE_CURSOR: &str = "aggregate";
/// What of the journal's end stays in memory: the aggregate and every destination that keeps up read it there, and not
/// each from the disk.
const JOURNAL_TAIL_BYTES: usize = 16 << 20;
/// How often the journal's retention is looked at besides each new segment.
const RETAIN_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// Descriptors that are kept for the journal, snapshots, tokens and the pages: without them a full house of
/// connections would keep acknowledgements from the disk.
const DESCRIPTORS_RESERVED: usize = 64;

pub(super) async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Server, StartError> {
    make_data_dir(&config.data_dir)?;
    // Bound first: a second collector on this machine is told so before anything is opened.
    let grpc = bind("server.grpc_listen", config.grpc_listen).await?;
    let pages = bind("server.http_listen", config.http_listen).await?;
    let otlp = match config.otlp_http_listen {
        Some(address) => Some(bind("server.otlp_http_listen", address).await?),
        None => None,
    };
    let (grpc_address, http_address) = (grpc.local_addr()?, pages.local_addr()?);
    let otlp_http_address = otlp.as_ref().map(TcpListener::local_addr).transpose()?;
    refuse_own_doors(&config.destinations, &doors(grpc_address, http_address, otlp_http_address))?;
    let telemetry = Telemetry::new()?;
    let figures = Arc::new(Figures::new(&telemetry.meter()));
    let audit = AuditLog::open(&config.data_dir, clock.clone(), figures.clone())?;
    let anonymous_allowed = config.anonymous_allowed();
    let credentials =
        Credentials::with_clock(&config.data_dir, anonymous_allowed, figures.clone(), clock.clone())?;
    credentials.tell(audit.clone());
    let certificate = open_certificate(&config, &credentials, clock.clone()).await?;
    let (journal, log) = open_journal(&config, clock.clone()).await?;

    let fleet = Arc::new(Fleet::new());
    let folding = start_folding(&config, &journal, &log, &figures, &fleet, clock.clone()).await?;
    let forwarded = forward::Source {
        journal: journal.clone(),
        log: log.clone(),
        clock: clock.clone(),
        data_dir: config.data_dir.clone(),
    };
    let destinations = config.destinations.clone();
    let forwarding = blocking(move || Ok(Forwarding::start(&destinations, &forwarded)?)).await?;
    let history = HistoryKeeping::start(&config.history, &journal, &log, clock.clone())?;
    let board = Board::open(&config.data_dir, &config.remote_configuration, audit.clone());
    let adjustable = adjustable(&config, &credentials, certificate, board, clock.clone());
    let observed = Observed {
        figures: figures.clone(),
        journal: journal.clone(),
        view: folding.view.clone(),
        otlp_budget: adjustable.otlp_budget.clone(),
        quotas: adjustable.quotas.clone(),
    };
    telemetry::observe(&telemetry.meter(), &observed);
    if !config.destinations.is_empty() {
        telemetry.observe_destinations(&forwarding.observed);
    }
    if let Some(served) = &history.served {
        telemetry::observe_history(&telemetry.meter(), served);
    }

    let (stop, stopping) = watch::channel(false);
    let (poison, poisoned) = watch::channel(None);
    let otlp_shared = otlp_door::Shared {
        log: log.clone(),
        credentials: credentials.clone(),
        budget: adjustable.otlp_budget.clone(),
        quotas: adjustable.quotas.clone(),
        figures: figures.clone(),
        forwarder: Forwarder::of(journal.id()),
        poisoned: poison.clone(),
    };
    let ingest = Ingest::new(Shared {
        log,
        credentials: credentials.clone(),
        admission: adjustable.admission.clone(),
        quotas: adjustable.quotas.clone(),
        registry: Registry::new(),
        offers: adjustable.board.watch(),
        view: folding.view.clone(),
        figures: figures.clone(),
        clock: clock.clone(),
        stop: stopping.clone(),
        poisoned: poison,
    });
    let router = http::router(Pages {
        view: folding.view.clone(),
        journal: journal.clone(),
        telemetry: telemetry.clone(),
        credentials: credentials.clone(),
        is_open: config.pages_are_open(),
        audit: audit.clone(),
        clock: clock.clone(),
        stop: stopping.clone(),
        destinations: forwarding.observed.clone(),
        history: history.served.clone(),
    });

    let mut tasks = JoinSet::new();
    tasks.spawn(credentials.clone().follow());
    tasks.spawn(retain(journal.clone()));
    if let Some(certificate) = &adjustable.certificate {
        tasks.spawn(certificate.clone().follow(figures.clone()));
    }
    let doors = Doors { config: &config, adjustable: &adjustable, figures: &figures, clock: &clock };
    let agents = doors.listener(Door::Grpc, grpc)?;
    let readers = doors.listener(Door::Http, pages)?;
    let otlp_grpc = otlp_door(&config, otlp_shared.clone(), config.anonymous_allowed());
    let enrolment = EnrolmentService::new(enrol::Shared {
        data_dir: config.data_dir.clone(),
        credentials: credentials.clone(),
        certificate: adjustable.certificate.clone(),
        figures: figures.clone(),
        clock: clock.clone(),
    });
    let routes = Routes::new(ingest, enrolment, otlp_grpc);
    let (counted, stop_seen) = (figures.clone(), stopping.clone());
    let serve_agent =
        move |accepted| connection::serve(accepted, routes.clone(), counted.clone(), stop_seen.clone());
    tasks.spawn(agents.run(serve_agent, stopping.clone()));
    if let Some(socket) = otlp {
        let listener = doors.listener(Door::Otlp, socket)?;
        let door = otlp_door(&config, otlp_shared, config.anonymous_otlp_http_allowed());
        let (counted, stop_seen) = (figures.clone(), stopping.clone());
        let serve_client =
            move |accepted| otlp_door::serve(accepted, door.clone(), counted.clone(), stop_seen.clone());
        tasks.spawn(listener.run(serve_client, stopping.clone()));
    }
    let (stop_seen, known) = (stopping.clone(), credentials.clone());
    let serve_reader =
        move |accepted| http::serve(accepted, router.clone(), known.clone(), stop_seen.clone());
    tasks.spawn(readers.run(serve_reader, stopping));
    let otlp_http = otlp_http_address.map_or("off".to_owned(), |address| address.to_string());
    tracing::info!(grpc = %grpc_address, http = %http_address, otlp_http, data_dir = %config.data_dir.display(), "collector is up");
    audit.record(&reload::applied("start", &config));
    Ok(Server {
        grpc_address,
        http_address,
        otlp_http_address,
        figures,
        fleet,
        audit,
        config,
        journal,
        folding,
        forwarding,
        telemetry,
        history,
        adjustable,
        stop,
        poisoned,
        tasks,
    })
}

/// The listeners as they are bound, each with the key of its setting.
pub(super) fn doors(
    grpc: SocketAddr,
    http: SocketAddr,
    otlp_http: Option<SocketAddr>,
) -> Vec<(&'static str, SocketAddr)> {
    let doors = [("server.grpc_listen", grpc), ("server.http_listen", http)];
    doors.into_iter().chain(otlp_http.map(|address| ("server.otlp_http_listen", address))).collect()
}

fn otlp_door(config: &Config, shared: otlp_door::Shared, anonymous_allowed: bool) -> OtlpDoor {
    let request_bytes_max = config.limits.otlp_request_bytes_max;
    let limits = otlp::receive::Limits { request_bytes_max, ..Default::default() };
    OtlpDoor::new(OtlpIntake::new(shared, anonymous_allowed), limits)
}

/// A journal that nobody writes to begins no segment, and ages all the same.
async fn retain(journal: Arc<Journal>) {
    let mut timer = tokio::time::interval(RETAIN_INTERVAL);
    loop {
        timer.tick().await;
        let journal = journal.clone();
        match tokio::task::spawn_blocking(move || journal.retain()).await {
            Ok(report) => tracing::debug!(?report, "journal retention applied"),
            Err(error) => tracing::error!(%error, "journal retention failed"),
        }
    }
}

fn make_data_dir(path: &Path) -> Result<(), StartError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        // Tokens and everybody's telemetry are its owner's alone.
        builder.mode(0o700);
    }
    builder.create(path).map_err(|source| StartError::DataDir { path: path.to_owned(), source })
}

async fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { setting, address, source })
}

async fn open_journal(
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<Journal>, Arc<JournalStreamLog>), StartError> {
    let settings = journal::Config {
        segment_bytes_max: config.journal.segment_bytes_max,
        reserve_bytes: config.journal.reserve_bytes,
        commit_interval: config.journal.commit_interval,
        tail_bytes_max: JOURNAL_TAIL_BYTES,
        sync: if config.journal.unsafe_no_sync { SyncMode::Never } else { SyncMode::Always },
        retention: Retention {
            age_max: Some(config.journal.retention_age_max),
            bytes_max: Some(config.journal.retention_bytes_max),
            slow_reader: SlowReader::Keep,
        },
        ..journal::Config::new(config.data_dir.join("journal"))
    };
    if config.journal.unsafe_no_sync {
        tracing::warn!(
            "acknowledging WITHOUT syncing: a power loss loses acknowledged events; this is for measuring only"
        );
    }
    blocking(move || {
        let (journal, recovery) = Journal::open(settings, Arc::new(RealFs), clock)?;
        let journal = Arc::new(journal);
        let (log, streams) = JournalStreamLog::open(journal.clone())?;
        let (last, torn_bytes) = (recovery.last, recovery.torn_bytes);
        tracing::info!(%last, streams = streams.streams, torn_bytes, "journal is open");
        if recovery.is_damaged() || streams.is_damaged() {
            tracing::warn!(?recovery, ?streams, "the journal was damaged; what is left of it is in use");
        }
        Ok((journal, Arc::new(log)))
    })
    .await
}

async fn start_folding(
    config: &Config,
    journal: &Arc<Journal>,
    log: &Arc<JournalStreamLog>,
    figures: &Arc<Figures>,
    fleet: &Arc<Fleet>,
    clock: Arc<dyn Clock>,
) -> Result<Folding, StartError> {
    let source = Source {
        log: log.clone(),
        wake: journal.subscribe(),
        cursor: journal.cursor(AGGREGATE_CURSOR)?,
        figures: figures.clone(),
        clock,
    };
    let settings = Settings {
        data_dir: config.data_dir.clone(),
        snapshot_interval: config.limits.snapshot_interval,
        series_per_family_max: config.limits.series_per_family_max,
        team_series_max: config.limits.series_max(),
        agent_series_max: config.limits.agent_series_max,
    };
    let (fleet, durable) = (fleet.clone(), journal.durable());
    blocking(move || Ok(Folding::start(settings, source, fleet, durable)?)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(StartError::Io(std::io::Error::other(error))),
    }
}

/// The certificate, the authority that issues the agents' ones, and who reads with a certificate of another one. Without
/// TLS there is no use for any of them.
async fn open_certificate(
    config: &Config,
    credentials: &Credentials,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<Certificate>>, StartError> {
    let Some(source) = config.tls.clone() else { return Ok(None) };
    let (data_dir, settings) = (config.data_dir.clone(), config.authority.clone());
    let clients = config.http_clients.clone();
    let opened = blocking(move || {
        let authority = Authority::open(&data_dir, settings, clock.clone())?;
        let readers = Readers::new(authority.trust(), Prepared::read(clients)?);
        Ok((Certificate::open(source, authority, clock)?, readers))
    });
    let (certificate, readers) = opened.await?;
    credentials.know_readers(readers);
    Ok(Some(certificate))
}

fn adjustable(
    config: &Config,
    credentials: &Arc<Credentials>,
    certificate: Option<Arc<Certificate>>,
    board: Arc<Board>,
    clock: Arc<dyn Clock>,
) -> Adjustable {
    let limits = &config.limits;
    let (grpc_max, otlp_max) = connections_max(limits);
    Adjustable {
        grpc_permits: Permits::new(grpc_max),
        http_permits: Permits::new(limits.http_connections_max),
        otlp_permits: Permits::new(otlp_max),
        otlp_budget: Budget::new(limits.otlp_memory_bytes_max),
        per_ip: PerIp::new(limits.connections_per_ip_max),
        admission: Admission::new(limits),
        quotas: Quotas::new(limits, clock),
        certificate,
        credentials: credentials.clone(),
        board,
    }
}

/// As many connections to the gRPC port and to OTLP/HTTP as are configured, and as the system's bound on descriptors
/// leaves room for.
pub(super) fn connections_max(limits: &Limits) -> (usize, usize) {
    let configured = (limits.connections_max, limits.otlp_connections_max);
    let Some(descriptors) = descriptors_max() else { return configured };
    // A process with very few descriptors still serves somebody: half of them.
    let reserved = (DESCRIPTORS_RESERVED + limits.http_connections_max).min(descriptors / 2);
    let room = descriptors - reserved;
    if room >= configured.0 + configured.1 {
        return configured;
    }
    // Agents come first: OTLP/HTTP has a quarter, or what they leave.
    let otlp = configured.1.min((room / 4).max(room.saturating_sub(configured.0)));
    let grpc = configured.0.min(room - otlp);
    tracing::warn!(
        descriptors,
        connections_max = grpc,
        otlp_connections_max = otlp,
        "the bound on open files allows fewer connections"
    );
    (grpc, otlp)
}

/// Raises the soft bound on open files to the hard one, and says what it is.
#[cfg(unix)]
fn descriptors_max() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let soft = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    soft.and_then(|soft| usize::try_from(soft).ok())
}

#[cfg(not(unix))]
fn descriptors_max() -> Option<usize> {
    None
}

struct Doors<'a> {
    config: &'a Config,
    adjustable: &'a Adjustable,
    figures: &'a Arc<Figures>,
    clock: &'a Arc<dyn Clock>,
}

impl Doors<'_> {
    fn listener(&self, door: Door, socket: TcpListener) -> Result<Listener, StartError> {
        let limits = &self.config.limits;
        // An address has one share of both doors for telemetry.
        let shared_per_ip = || self.adjustable.per_ip.clone();
        let (protocols, permits, per_ip, is_loopback): (&[&str], _, _, _) = match door {
            Door::Grpc => (&["h2"], &self.adjustable.grpc_permits, shared_per_ip(), false),
            Door::Otlp => (&["h2", "http/1.1"], &self.adjustable.otlp_permits, shared_per_ip(), false),
            Door::Http => {
                let is_loopback = self.config.http_listen.ip().is_loopback();
                (
                    &["http/1.1"],
                    &self.adjustable.http_permits,
                    PerIp::new(limits.http_connections_max),
                    is_loopback,
                )
            }
        };
        // Pages on loopback stay plain: `curl` and a local Prometheus need no certificate there.
        let certificate = self.adjustable.certificate.as_ref().filter(|_| !is_loopback);
        // The readers' authority is trusted at no other port.
        let readers = self.adjustable.credentials.readers().filter(|_| door == Door::Http).cloned();
        let settings = |certificate: &Arc<Certificate>| match &readers {
            Some(readers) => certificate.server_config(protocols, readers.clone()),
            None => certificate.server_config(protocols, certificate.authority().trust()),
        };
        let tls = certificate.map(settings).transpose()?;
        Ok(Listener {
            door,
            socket,
            tls,
            readers,
            permits: permits.clone(),
            per_ip,
            figures: self.figures.clone(),
            clock: self.clock.clone(),
        })
    }
}
