//! `agent run`: the agent in the foreground, until SIGTERM or Ctrl-C.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use muster::clock::SystemClock;
use tokio::sync::watch;

use super::{Failure, RunArgs};
use crate::readiness::Readiness;
use crate::runtime::Agent;

/// Runs until a signal. Prints one line to stdout when the page is served: `ready metrics=ADDRESS`, and where OTLP is taken
/// `otlp_grpc=ADDRESS otlp_http=ADDRESS`.
pub(super) fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    init_logging();
    let config = args.resolve().map_err(Failure::usage)?;
    if config.watch.is_empty() {
        tracing::warn!("no project to watch: name one with --watch PATH or watch = [..] in [agent]");
    }
    // One thread: the agent is to be light, and its work is small and sequential.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals().map_err(Failure::failed)?;
        let mut agent = Agent::start(config, Arc::new(SystemClock::new()), shutdown.receiver())
            .await
            .map_err(Failure::failed)?;
        let address = agent.metrics_address().map_or_else(|| "off".to_owned(), |address| address.to_string());
        let otlp = agent.otlp_addresses();
        let otlp: String = [("otlp_grpc", otlp.grpc), ("otlp_http", otlp.http)]
            .into_iter()
            .filter_map(|(name, address)| Some(format!(" {name}={}", address?)))
            .collect();
        // A parent that closed our stdout does not stop the agent.
        let _ = writeln!(std::io::stdout(), "ready metrics={address}{otlp}");
        agent.announce(Readiness::of_this_process()).await;
        agent.run().await.map_err(Failure::failed)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Turns true at SIGTERM or Ctrl-C.
#[derive(Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Listens for the signals that ask a service to stop. Must be called inside a runtime.
    pub fn on_signals() -> std::io::Result<Self> {
        let (sender, receiver) = watch::channel(false);
        #[cfg(unix)]
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::spawn(async move {
            #[cfg(unix)]
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            #[cfg(not(unix))]
            let _ = tokio::signal::ctrl_c().await;
            sender.send_replace(true);
        });
        Ok(Self(receiver))
    }

    /// Something to wait on.
    pub fn receiver(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }
}

/// Logs to stderr: level from `MUSTER_LOG` (as `RUST_LOG`), `info` unless set. A panic of a source is one line there.
fn init_logging() {
    let filter = std::env::var("MUSTER_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = tracing_subscriber::EnvFilter::try_new(filter).unwrap_or_else(|_| "info".into());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A second initialisation in one process keeps the first.
    let _ = logs.try_init();
    std::panic::set_hook(Box::new(|panic| {
        // The message may hold data of the watched project: only the place is said.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%place, "a part of the agent panicked");
    }));
}
