//! Enrolling the agent of this state directory, beside a running one or before the first.
//!
//! Nothing is written before the collector has answered, but for the agent's identity when there is none yet.

use std::sync::Arc;
use std::time::Duration;

use muster::clock::Clock;
use muster::credential::Token;
use muster::ids::AgentId;

use super::client::{self, About, EnrolError, FirstContact};
use super::renewal::in_words;
use super::store::{Enrolment, Store, StoreError};
use crate::config::AgentConfig;
use crate::identity::{Identity, IdentityError};
use crate::project::Machine;
use crate::spool::{Spool, SpoolError};

/// How long another process may take to make the identity.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(3);
const IDENTITY_PAUSE: Duration = Duration::from_millis(20);

/// What is wished for.
#[derive(Debug)]
pub struct Wish {
    /// What the collector lets us in by.
    pub token: Token,
    /// Whom to trust meanwhile.
    pub first_contact: FirstContact,
    /// What people shall call the agent; empty: its host's name.
    pub name: String,
    /// Whether an enrolment that is there is replaced.
    pub force: bool,
}

/// Why the agent is not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Where?
    #[error("no collector: name it with --server https://HOST:4317, or set server in [agent]")]
    NoServer,
    /// It was done before.
    #[error(
        "this agent is enrolled already, with {server} as {name:?} of team {team}, certificate until {until}; use --force to \
         enrol again"
    )]
    Already {
        /// The collector.
        server: String,
        /// What people call the agent there.
        name: String,
        /// The team.
        team: String,
        /// When the certificate ends.
        until: String,
    },
    /// Asking for the certificate.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// The files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The agent's identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The spool, which makes the identity.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Enrols, and keeps what came of it.
pub async fn enrol_here(
    config: &AgentConfig,
    wish: &Wish,
    clock: &Arc<dyn Clock>,
) -> Result<Enrolment, CommandError> {
    let server = config.server.as_ref().ok_or(CommandError::NoServer)?;
    let store = Store::new(&config.spool.state_dir);
    if !wish.force
        && let Some(held) = store.load()?
    {
        return Err(CommandError::Already {
            server: held.record.server,
            name: held.record.name,
            team: held.record.team,
            until: in_words(held.certificate.not_after),
        });
    }
    let machine = Machine::of_this_process();
    let about = About {
        agent_id: identity(config, clock).await?,
        name: wish.name.clone(),
        host: machine.host,
        user: machine.user,
    };
    let enrolment = client::enrol(server, &wish.first_contact, &wish.token, &about, clock.wall()).await?;
    store.replace(&enrolment, None)?;
    Ok(enrolment)
}

/// Who this agent is; a new one if it never ran.
async fn identity(config: &AgentConfig, clock: &Arc<dyn Clock>) -> Result<AgentId, CommandError> {
    let give_up = clock.monotonic().0 + IDENTITY_TIMEOUT;
    loop {
        if let Some(identity) = Identity::load(&config.spool.state_dir)? {
            return Ok(identity.agent_id);
        }
        match Spool::open_to_append(config.spool.clone(), clock.clone()) {
            Ok(spool) => return Ok(spool.identity().agent_id),
            // Whoever has it makes the identity now.
            Err(error) if error.is_locked() && clock.monotonic().0 < give_up => {
                tokio::time::sleep(IDENTITY_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}
