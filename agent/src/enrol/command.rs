//! Enrolling the agent of this state directory, beside a running one or before the first.
//!
//! Before the collector is asked, the agent's identity (when there is none yet) and the key are made durable. Until there is
//! an answer the same key is asked for, by this command and by the next one, so that a lost answer costs nothing: the
//! collector takes no other use of the token for it.

use std::sync::Arc;
use std::time::Duration;

use muster::clock::Clock;
use muster::credential::Token;
use muster::ids::AgentId;

use super::client::{self, About, EnrolError, FirstContact};
use super::renewal::in_words;
use super::store::{Enrolment, Store, StoreError};
use crate::config::AgentConfig;
use crate::facts::IdentityPart;
use crate::identity::{Identity, IdentityError};
use crate::project::Machine;
use crate::spool::{Spool, SpoolError};

/// How long another process may take to make the identity.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(3);
const IDENTITY_PAUSE: Duration = Duration::from_millis(20);
/// Pauses before asking again for an answer that was lost.
const ASK_AGAIN_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

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
    /// Whether the key of an enrolment that was not answered is given up.
    pub new_key: bool,
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
    // What is damaged is replaced with `--force`.
    let held = if wish.force { store.load().ok().flatten() } else { store.load()? };
    if !wish.force
        && let Some(held) = held
    {
        return Err(CommandError::Already {
            server: held.record.server,
            name: held.record.name,
            team: held.record.team,
            until: in_words(held.certificate.not_after),
        });
    }
    let about = about(identity(config, clock).await?, config, wish);
    let asking = store.ask()?;
    if wish.new_key {
        asking.forget_key()?;
    }
    let mut pauses = ASK_AGAIN_PAUSES.into_iter();
    let enrolment = loop {
        let requested = asking.key(held.as_ref())?;
        let contact = &wish.first_contact;
        match client::enrol(server, contact, &wish.token, &about, requested, clock.wall()).await {
            Ok(enrolment) => break enrolment,
            Err(error) if error.is_answer_lost() => match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        }
    };
    store.replace(&enrolment, None)?;
    asking.forget_key()?;
    Ok(enrolment)
}

/// What the agent says of itself: as in its hello, less what the configuration in force withholds.
fn about(agent_id: AgentId, config: &AgentConfig, wish: &Wish) -> About {
    let Machine { user, host } = Machine::of_this_process();
    let privacy = config.settings_at_rest().privacy;
    let leaves =
        |part, name: String| if privacy.withholds(part) { privacy.identity(part, &name) } else { name };
    About {
        agent_id,
        name: wish.name.clone(),
        host: leaves(IdentityPart::Host, host),
        user: leaves(IdentityPart::User, user),
    }
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
