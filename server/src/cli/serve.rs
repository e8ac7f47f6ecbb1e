//! `muster serve`
//!
//! When it listens it prints one line to stdout: `ready grpc=ADDRESS http=ADDRESS otlp_http=ADDRESS` (or `otlp_http=off`).
//!
//! SIGTERM and SIGINT stop in order; SIGHUP reads the configuration again: a valid one is applied as far as it can be
//! while running, an invalid one is refused with its reason and the old one stays. A service manager that listens
//! (`NOTIFY_SOCKET`) is told of each of these, and that progress is made.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use agent::readiness::Readiness;
use muster::clock::{Clock, SystemClock};
use muster::settings;

use super::Failure;
use crate::audit::{Entry, What, Who};
use crate::config::{Config, Overrides};
use crate::figures::Reload;
use crate::forward::Changes;
use crate::readiness::keep_proving;
use crate::serve::{RunError, Server};
use crate::telemetry::{self, LogFormat, LogReload};

/// Threads of the runtime: ingest is a few microseconds a batch, and the journal and the aggregate have their own.
const WORKERS_MAX: usize = 4;

/// Arguments of `muster serve`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file.
    #[arg(long, env = "MUSTER_CONFIG")]
    config: Option<PathBuf>,
    /// Where agents connect [default: 127.0.0.1:4317].
    #[arg(long, env = "MUSTER_GRPC_LISTEN")]
    grpc_listen: Option<SocketAddr>,
    /// Where pages are read [default: 127.0.0.1:9464].
    #[arg(long, env = "MUSTER_HTTP_LISTEN")]
    http_listen: Option<SocketAddr>,
    /// Where OTLP/HTTP is taken, or `off` [default: 127.0.0.1:4318].
    #[arg(long, env = "MUSTER_OTLP_HTTP_LISTEN")]
    otlp_http_listen: Option<String>,
    /// The collector's own folder.
    #[arg(long, env = "MUSTER_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Accept plaintext and missing credentials on addresses that other machines can reach.
    #[arg(long, env = "MUSTER_INSECURE")]
    insecure: bool,
    /// What to log: a level, or directives like `info,server=debug`.
    #[arg(long, env = "MUSTER_LOG")]
    log: Option<String>,
    /// Acknowledge without syncing, to measure what the sync costs.
    #[arg(long, hide = true)]
    unsafe_no_sync: bool,
    /// How a log line looks.
    #[arg(long, env = "MUSTER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

impl Arguments {
    fn load(&self) -> Result<Config, Failure> {
        let overrides = Overrides {
            grpc_listen: self.grpc_listen,
            http_listen: self.http_listen,
            otlp_http_listen: self.otlp_http_listen.clone(),
            data_dir: self.data_dir.clone(),
            insecure: self.insecure,
            log: self.log.clone(),
            unsafe_no_sync: self.unsafe_no_sync,
        };
        let path = self.config.clone().or_else(|| settings::default_file(&settings::process_environment));
        let config = Config::load(path.as_deref(), &overrides)?;
        config.refuse_certificates_on_loopback()?;
        Ok(config)
    }
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.load()?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("muster-serve")
        .enable_all()
        .build()
        .map_err(Failure::other)?;
    runtime.block_on(async {
        // Exporters of logs and traces need the runtime.
        let logging = telemetry::init(&config.log, arguments.log_format).map_err(Failure::other)?;
        let ended = serve(&arguments, config, &logging.reload).await;
        logging.finish();
        ended
    })
}

async fn serve(arguments: &Arguments, config: Config, log: &LogReload) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut signals = Signals::listen().map_err(Failure::other)?;
    let mut server = Server::start(config, clock).await.map_err(Failure::other)?;
    // For who started us with port 0; a parent that closed our stdout does not stop the collector.
    let otlp_http = server.otlp_http_address.map_or("off".to_owned(), |address| address.to_string());
    let (grpc, http) = (server.grpc_address, server.http_address);
    let _ = writeln!(std::io::stdout(), "ready grpc={grpc} http={http} otlp_http={otlp_http}");
    let readiness = Readiness::of_this_process();
    readiness.ready(&server.pulse().describe());
    let proving = keep_proving(readiness.clone(), server.pulse());
    let broken = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::Stop(name) => {
                    tracing::info!(signal = name, "stopping");
                    break None;
                }
                Signal::Reload => {
                    readiness.reloading();
                    reload(arguments, &mut server, log);
                    readiness.ready(&server.pulse().describe());
                }
            },
            reason = server.broken() => {
                tracing::error!(reason, "the journal cannot be written; stopping, so that it is opened anew");
                break Some(reason);
            }
        }
    };
    readiness.stopping("finishing streams and closing the journal");
    if let Some(proving) = proving {
        proving.abort();
    }
    server.stop().await;
    tracing::info!("stopped");
    broken.map_or(Ok(()), |reason| Err(Failure::other(RunError::Poisoned(reason))))
}

fn reload(arguments: &Arguments, server: &mut Server, log: &LogReload) {
    let refused = |server: &Server, error: String| {
        server.figures.reloads.add(Reload::ConfigRefused, 1);
        server.audit.record(&Entry::new(What::ConfigurationRefused, Who::Collector).refused(error.as_str()));
        tracing::error!(error, "new configuration refused, the old one stays in use");
    };
    let config = match arguments.load() {
        Ok(config) => config,
        Err(error) => return refused(server, error.to_string()),
    };
    let directives = config.log.clone();
    match server.reload(config) {
        Ok(report) => {
            if let Err(error) = log.set(&directives) {
                tracing::warn!(error, "log directives not changed");
            }
            if !report.restart_needed.is_empty() {
                tracing::warn!(settings = ?report.restart_needed, "these settings take effect at the next start");
            }
            let Changes { added, changed, removed } = &report.destinations;
            if !report.destinations.is_empty() {
                tracing::info!(?added, ?changed, ?removed, "destinations changed");
            }
            tracing::info!("configuration reloaded");
        }
        Err(error) => refused(server, error.to_string()),
    }
}

enum Signal {
    Stop(&'static str),
    Reload,
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Signal::Stop("SIGINT"),
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Stop("Ctrl-C"),
            // Without signals there is nothing to wait for.
            Err(_) => std::future::pending().await,
        }
    }
}
