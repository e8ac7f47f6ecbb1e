//! What an agent opens before it reads anything: its spool, its page, the ways in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster::clock::Clock;
use muster::ids::AgentId;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::StartError;
use crate::config::AgentConfig;
use crate::endpoint::{self, Page};
use crate::enrol::{Situation, Store, StoreError, renewal};
use crate::local::{Door, Intake};
use crate::otlp;
use crate::project::Machine;
use crate::remote_configuration::{Own, RemoteConfiguration};
use crate::spool::{Spool, SpoolError};
use crate::uplink::{self, ServerConfig, Speaker, Uplink, UplinkStatus, stopped};

/// How long a start waits for a command that has the spool: it is done within milliseconds.
const SPOOL_LOCK_TIMEOUT: Duration = Duration::from_secs(3);
const SPOOL_LOCK_PAUSE: Duration = Duration::from_millis(2);

pub(super) async fn open_spool(config: &AgentConfig, clock: &Arc<dyn Clock>) -> Result<Spool, SpoolError> {
    let give_up = clock.monotonic().0 + SPOOL_LOCK_TIMEOUT;
    loop {
        match Spool::open(config.spool.clone(), clock.clone()) {
            Err(error) if error.is_locked() && clock.monotonic().0 < give_up => {
                tokio::time::sleep(SPOOL_LOCK_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

/// What the collector asked for before, if it may ask for anything.
pub(super) fn remote_configuration(config: &AgentConfig, agent_id: AgentId) -> Arc<RemoteConfiguration> {
    let own = Own {
        settings: config.own_settings(),
        takes_offers: config.remote_configuration,
        labels: config.labels.clone(),
    };
    Arc::new(RemoteConfiguration::load(own, agent_id, config.spool.state_dir.clone()))
}

/// The socket for local commands. Without it they are refused while the agent runs, which is no reason not to.
pub(super) async fn open_door(
    config: &AgentConfig,
    page: &Arc<Page>,
    agent_id: AgentId,
    machine: &Machine,
    shutdown: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Option<Door> {
    let settings = page.configuration.settings();
    let intake = Intake::new(machine.clone(), settings, config.project_names.clone());
    match crate::local::listen(intake, page.clone(), agent_id, tasks, shutdown.clone()).await {
        Ok(door) => Some(door),
        Err(error) => {
            tracing::warn!(%error, "no local socket: `emit` and `exec` find no agent");
            None
        }
    }
}

pub(super) async fn bind_page(
    config: &AgentConfig,
    page: &Arc<Page>,
    shutdown: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<Option<SocketAddr>, StartError> {
    let Some(address) = config.metrics_listen else { return Ok(None) };
    let listen_error = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    let (page, shutdown) = (page.clone(), shutdown.clone());
    tasks.spawn(async move { endpoint::serve(listener, "/metrics", page, shutdown).await });
    Ok(Some(bound))
}

pub(super) async fn start_otlp(
    config: &AgentConfig,
    page: &Arc<Page>,
    agent_id: AgentId,
    machine: &Machine,
    shutdown: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<Option<otlp::Receiver>, StartError> {
    let Some(otlp_config) = &config.otlp else { return Ok(None) };
    let around = otlp::Surroundings {
        page: page.clone(),
        agent_id,
        machine: machine.clone(),
        settings: page.configuration.settings(),
        tasks,
        shutdown: shutdown.clone(),
    };
    otlp::start(otlp_config, around).await.map(Some)
}

/// An enrolment that cannot be used is refused now, and not in a log later.
pub(super) fn check_enrolment(config: &AgentConfig, agent_id: AgentId) -> Result<(), StoreError> {
    let store = Store::new(&config.spool.state_dir);
    match store.load()? {
        Some(held) if held.certificate.agent_id != agent_id => Err(StoreError::Damaged {
            path: store.folder(),
            what: "its certificate is of another agent than identity.json names".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The uplink, and who keeps its certificate new.
pub(super) fn start_uplink(
    config: &AgentConfig,
    page: &Arc<Page>,
    speaker: Speaker,
    status: watch::Sender<UplinkStatus>,
    situation: watch::Sender<Situation>,
    shutdown: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) {
    let store = Store::new(&config.spool.state_dir);
    let configured = config.server.clone();
    let seed = speaker.instance.0.wrapping_add(1);
    let renewed = renewal::run(
        configured.clone(),
        store.clone(),
        situation,
        page.clock.clone(),
        seed,
        shutdown.clone(),
    );
    tasks.spawn(renewed);
    let (page, mut shutdown) = (page.clone(), shutdown.clone());
    tasks.spawn(async move {
        let mut certificate = page.certificate.clone();
        let server = match configured {
            Some(server) => server,
            None => tokio::select! {
                server = enrolled_with(&store, &mut certificate) => server,
                () = stopped(&mut shutdown) => return,
            },
        };
        let (spool, clock, configuration) =
            (page.spool.clone(), page.clock.clone(), page.configuration.clone());
        drop(page);
        let uplink = Uplink { server, spool, speaker, status, certificate, configuration, clock };
        uplink::run(uplink, shutdown).await;
    });
}

/// The collector that the agent is enrolled with, as soon as it is.
async fn enrolled_with(store: &Store, certificate: &mut watch::Receiver<Situation>) -> ServerConfig {
    loop {
        if certificate.wait_for(|situation| situation.stored.is_some()).await.is_err() {
            return std::future::pending().await;
        }
        let held = store.load().ok().flatten();
        if let Some(server) = held.and_then(|held| ServerConfig::of_enrolment(&held, store)) {
            return server;
        }
        if certificate.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
