//! OTLP on loopback: the tools of this machine send to the agent, and the agent sends what may leave.
//!
//! ```text
//! tool ══ OTLP/gRPC 4317, OTLP/HTTP 4318 ══> receive ─> split ─> clean ─> stamp ─> spool (fsync) ─> OK
//! ```
//!
//! It is off unless `[agent.otlp] enabled = true`; nothing of it runs then. What is acknowledged is in the spool and goes
//! the way of every other event from there, exactly once. What leaves is shape: see [`mod@texts`] and docs/privacy.md.
//!
//! Bounds: 64 connections, 16 MiB a request after decompression, 48 MiB for all requests together. Over the first they
//! wait, over the second a client is told never to repeat it, over the third to come again in a moment.

use std::net::SocketAddr;
use std::sync::Arc;

use muster::ids::AgentId;
use otlp::receive::{Budget, Door, Limits, Transport};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::config::OtlpConfig;
use crate::endpoint::Page;
use crate::project::Machine;
use crate::remote_configuration::Settings;
use crate::runtime::StartError;
use crate::sources::ProjectContext;

mod clean;
mod content_keys;
mod figures;
mod intake;
mod listen;
mod origin;
mod prepare;
mod pseudonyms;
mod texts;

pub use figures::OtlpCounters;

/// Largest request after decompression.
pub const REQUEST_BYTES_MAX: usize = 16 << 20;
/// Bytes that all requests under way may hold: one of the largest as it comes, decompressed and converted from JSON.
const BUDGET_BYTES: usize = 3 * REQUEST_BYTES_MAX;

/// A running receiver.
#[derive(Debug)]
pub struct Receiver {
    origins: Arc<origin::Origins>,
    addresses: Addresses,
}

/// Where the receiver is; `None` where it is not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Addresses {
    /// OTLP/gRPC.
    pub grpc: Option<SocketAddr>,
    /// OTLP/HTTP.
    pub http: Option<SocketAddr>,
}

/// What a receiver works with.
pub struct Surroundings<'a> {
    /// The spool, the local page, its counters and its clock.
    pub page: Arc<Page>,
    /// Who this agent is.
    pub agent_id: AgentId,
    /// Whose machine this is.
    pub machine: Machine,
    /// What may leave, and whether anything is taken.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// The agent's tasks.
    pub tasks: &'a mut JoinSet<()>,
    /// Turns true at the end.
    pub shutdown: watch::Receiver<bool>,
}

/// Binds the ports and takes what comes. The counters are those of the page, or nobody sees them.
pub async fn start(config: &OtlpConfig, around: Surroundings<'_>) -> Result<Receiver, StartError> {
    let grpc = bind(config.grpc_listen, "agent.otlp.grpc_listen").await?;
    let http = bind(config.http_listen, "agent.otlp.http_listen").await?;
    let state_dir = around.page.spool.lock().await.state_dir().to_owned();
    let origins = Arc::new(origin::Origins::new(around.machine, config.project.clone()));
    let intake = intake::SpoolIntake::new(intake::Inner {
        counters: around.page.otlp.clone().unwrap_or_default(),
        page: around.page,
        agent_id: around.agent_id,
        settings: around.settings,
        origins: origins.clone(),
        pseudonyms: pseudonyms::Pseudonyms::load(&state_dir)?,
        budget: Budget::new(BUDGET_BYTES),
    });
    let door = Door::new(intake, Limits { request_bytes_max: REQUEST_BYTES_MAX, ..Limits::default() });
    let permits = Arc::new(Semaphore::new(listen::CONNECTIONS_MAX));
    let mut addresses = Addresses::default();
    for (transport, bound) in [(Transport::Grpc, grpc), (Transport::Http, http)] {
        let Some((listener, address)) = bound else { continue };
        match transport {
            Transport::Grpc => addresses.grpc = Some(address),
            Transport::Http => addresses.http = Some(address),
        }
        let (door, permits, shutdown) = (door.clone(), permits.clone(), around.shutdown.clone());
        around.tasks.spawn(listen::serve(listener, transport, door, permits, shutdown));
        tracing::info!(%address, ?transport, "taking OTLP");
    }
    Ok(Receiver { origins, addresses })
}

impl Receiver {
    /// Where it is.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Says which projects are watched now.
    pub fn watch(&self, projects: Vec<ProjectContext>) {
        self.origins.watch(projects);
    }
}

async fn bind(
    address: Option<SocketAddr>,
    setting: &'static str,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    let Some(address) = address else { return Ok(None) };
    let listen_error = |source| StartError::ListenOtlp { address, setting, source };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    Ok(Some((listener, bound)))
}

#[cfg(test)]
mod tests;
