//! What the collector may ask of this agent, if the agent's file lets it (`[agent] remote_configuration = true`).
//!
//! ```text
//! ConfigurationOffer ─> read (pure: words of a fixed list, or a refusal) ─> keep (file, fsync) ─> Settings ─> everybody
//!                            └── refused, or cannot be kept: what was in force stays, and the report says why
//! ```
//!
//! It promises:
//! - An offer only takes away. Content and identity that leave, events and sources become fewer or stay; no path, source
//!   or address can be named, and intervals stay within 5 s to an hour ([`Offer::over`]).
//! - All or nothing. An offer with one word, field or number that is not known here is refused as a whole, and what was in
//!   force before goes on.
//! - What is in force lies in `<state_dir>/remote_configuration.pb` and is so again at the next start, before the collector
//!   is reached. Without the agent's own permission the file is passed over and removed.
//!
//! | failure | what is in force | what is said |
//! |---|---|---|
//! | an offer is refused | what was before | the report: `REJECTED` with a sentence |
//! | the file cannot be written or removed | what was before | the same, and that it is tried again on this stream |
//! | the file cannot be read at the start | the own file, less everything that could be withheld, until the collector has offered again | log, `status` |
//! | the collector is of another team, or at another address | at its welcome, the own file alone, until it has offered | log |
//!
//! The disk is waited for away from the threads that serve, one offer after the other ([`RemoteConfiguration::in_turn`]).
//! [`Settings`] are told over a watch channel, and each reader looks at its next step or request. What was spooled before
//! stays as it was: a batch is the same bytes at each retry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster::ids::AgentId;
use muster::v1;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::identity::Identity;

mod offer;
mod settings;
mod standing;
mod stored;
#[cfg(test)]
mod tests;

pub use offer::{Offer, Refusal, read};
pub use settings::Settings;
pub use standing::{Standing, State};
pub use stored::{Issuer, StoreError};

use stored::Store;

/// Longest hash of a refused offer that is repeated in the report.
const HASH_BYTES_MAX: usize = 64;

/// What the agent's own file says of it.
#[derive(Debug, Clone)]
pub struct Own {
    /// What the agent does when nothing is asked.
    pub settings: Settings,
    /// Whether offers are taken.
    pub takes_offers: bool,
    /// What the collector chooses by.
    pub labels: BTreeMap<String, String>,
}

/// The one place that knows what is in force.
#[derive(Debug)]
pub struct RemoteConfiguration {
    own: Own,
    agent: AgentId,
    store: Store,
    /// Never held while the disk is waited for.
    held: Mutex<Held>,
    /// Held by who changes what is in force. Who comes first has it first.
    turn: Arc<tokio::sync::Mutex<()>>,
    settings: watch::Sender<Arc<Settings>>,
}

/// What is in force, and what became of offers.
#[derive(Debug, Default)]
struct Held {
    in_force: InForce,
    /// The last offer, if it was refused.
    refused: Option<Refused>,
    applied: u64,
    rejected: u64,
}

#[derive(Debug, Default)]
enum InForce {
    /// The agent's own file alone.
    #[default]
    Own,
    /// The file of what is in force cannot be read, so the strictest is.
    Unreadable(String),
    /// The own file, less what was asked.
    Offered(Box<(Offer, Issuer)>),
}

#[derive(Debug)]
struct Refused {
    hash: Vec<u8>,
    why: String,
    is_passing: bool,
}

/// Why an offer is not in force.
struct NotKept {
    why: String,
    /// The same may be kept later.
    is_passing: bool,
}

impl RemoteConfiguration {
    /// What the last start left in force. Without permission in the own file that is removed.
    pub fn load(own: Own, agent: AgentId, state_dir: PathBuf) -> Self {
        let store = Store::new(state_dir);
        let in_force = match own.takes_offers {
            true => InForce::load(&store),
            false => {
                if let Err(error) = store.remove() {
                    tracing::warn!(%error, "what a collector asked for before is passed over");
                }
                InForce::Own
            }
        };
        let settings = Arc::new(in_force.over(&own.settings, agent));
        let held = Mutex::new(Held { in_force, ..Held::default() });
        let turn = Arc::default();
        Self { own, agent, store, held, turn, settings: watch::Sender::new(settings) }
    }

    /// Does `work`, which may wait for the disk, away from the threads that serve, and after all that was begun before. `None`:
    /// it panicked.
    pub async fn in_turn<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Option<T> {
        let turn = self.turn.clone().lock_owned().await;
        // Whoever asked may be gone before the work's end, and the next one waits for that all the same.
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&self)
        });
        done.await.inspect_err(|error| tracing::error!(%error, "taking an offer failed")).ok()
    }

    /// What is to be done, now and whenever it changes.
    pub fn settings(&self) -> watch::Receiver<Arc<Settings>> {
        self.settings.subscribe()
    }

    /// Adds to a hello what the collector chooses by, and leaves out what is withheld.
    pub fn introduce(&self, hello: &mut v1::Hello) {
        use crate::facts::IdentityPart::{Host, User};
        let settings = self.settings.borrow().clone();
        for (part, name) in [(User, &mut hello.user), (Host, &mut hello.host)] {
            if settings.privacy.withholds(part) {
                *name = settings.privacy.identity(part, name);
            }
        }
        hello.takes_configuration = self.own.takes_offers;
        if self.own.takes_offers {
            hello.labels = self.own.labels.clone().into_iter().collect();
        }
    }

    /// A stream was welcomed by `issuer`. What another one asked for is over. Answers what is to be reported: nothing when
    /// nothing is in force.
    pub fn welcomed(&self, issuer: &Issuer) -> Option<v1::ConfigurationReport> {
        if let Some((_, by)) = self.offered().filter(|(_, by)| by != issuer) {
            tracing::info!(%by, "the configuration in force was offered by another collector or team: it is over");
            if let Err(error) = self.store.remove() {
                tracing::warn!(%error, "it comes back at the next start, until this collector has offered");
            }
            let mut held = self.held.lock();
            held.in_force = InForce::Own;
            self.tell(&held);
        }
        let held = self.held.lock();
        matches!(held.in_force, InForce::Offered(_)).then(|| held.report())
    }

    /// Takes an offer, or refuses it. Answers what is to be reported; `None` when nobody here asked for offers.
    pub fn take(&self, offer: &v1::ConfigurationOffer, issuer: &Issuer) -> Option<v1::ConfigurationReport> {
        if self.own.takes_offers { self.apply(offer, issuer, false) } else { None }
    }

    /// Tries again what [`RemoteConfiguration::may_be_kept_later`]. Answers what is to be reported; `None` when nothing is new.
    pub fn take_again(
        &self,
        offer: &v1::ConfigurationOffer,
        issuer: &Issuer,
    ) -> Option<v1::ConfigurationReport> {
        self.apply(offer, issuer, true)
    }

    /// Whether the last offer was understood, and could not be kept.
    pub fn may_be_kept_later(&self) -> bool {
        self.held.lock().refused.as_ref().is_some_and(|refused| refused.is_passing)
    }

    fn apply(
        &self,
        offer: &v1::ConfigurationOffer,
        issuer: &Issuer,
        is_again: bool,
    ) -> Option<v1::ConfigurationReport> {
        let kept = self.keep(offer, issuer, self.offered());
        let mut held = self.held.lock();
        match kept {
            Ok(in_force) => {
                held.in_force = in_force;
                held.refused = None;
                held.applied += 1;
                self.tell(&held);
            }
            Err(NotKept { why, is_passing }) => {
                if is_again && held.refused.as_ref().is_some_and(|refused| refused.why == why) {
                    return None;
                }
                tracing::warn!(%why, "refused what the collector asked for; what was in force goes on");
                let hash = offer.hash[..offer.hash.len().min(HASH_BYTES_MAX)].to_vec();
                held.refused = Some(Refused { hash, why, is_passing });
                held.rejected += 1;
            }
        }
        Some(held.report())
    }

    /// What is in force, and who asked for it.
    fn offered(&self) -> Option<(Offer, Issuer)> {
        match &self.held.lock().in_force {
            InForce::Offered(of) => Some((**of).clone()),
            InForce::Own | InForce::Unreadable(_) => None,
        }
    }

    /// How it stands, for people and for the page.
    pub fn standing(&self) -> Standing {
        Standing::of(&self.held.lock(), self.own.takes_offers)
    }

    /// Reads an offer and makes it durable.
    fn keep(
        &self,
        offer: &v1::ConfigurationOffer,
        issuer: &Issuer,
        before: Option<(Offer, Issuer)>,
    ) -> Result<InForce, NotKept> {
        let read =
            offer::read(offer).map_err(|refusal| NotKept { why: refusal.to_string(), is_passing: false })?;
        let not_kept = |error: StoreError| NotKept {
            why: format!("{error}; it is tried again, every 5 minutes at the least"),
            is_passing: true,
        };
        let Some(read) = read else {
            self.store.remove().map_err(not_kept)?;
            return Ok(InForce::Own);
        };
        let after = (read, issuer.clone());
        // A collector says it at each welcome: the disk need not hear it again.
        if before.as_ref() != Some(&after) {
            self.store.replace(&after.0, issuer).map_err(not_kept)?;
        }
        Ok(InForce::Offered(Box::new(after)))
    }

    fn tell(&self, held: &Held) {
        let settings = Arc::new(held.in_force.over(&self.own.settings, self.agent));
        self.settings.send_if_modified(|told| {
            let is_other = **told != *settings;
            if is_other {
                *told = settings;
            }
            is_other
        });
    }
}

/// What commands that spool by themselves are to do: the own settings, less what is in force for the agent of `state_dir`.
pub fn at_rest(own: Settings, state_dir: &Path) -> Settings {
    match Identity::load(state_dir) {
        Ok(Some(identity)) => InForce::load(&Store::new(state_dir)).over(&own, identity.agent_id),
        // No agent has run here, so none was asked for anything; or nothing can be spooled either.
        Ok(None) | Err(_) => own,
    }
}

impl InForce {
    fn load(store: &Store) -> Self {
        match store.load() {
            Ok(None) => InForce::Own,
            Ok(Some(of)) => InForce::Offered(Box::new(of)),
            Err(error) => {
                let why = error.to_string();
                tracing::warn!(%why, "everything that could be withheld is, until the collector has offered again");
                InForce::Unreadable(why)
            }
        }
    }

    fn over(&self, own: &Settings, agent: AgentId) -> Settings {
        match self {
            InForce::Own => own.clone(),
            InForce::Unreadable(_) => Offer::strictest().over(own, agent),
            InForce::Offered(of) => of.0.over(own, agent),
        }
    }

    fn hash(&self) -> &[u8] {
        match self {
            InForce::Own | InForce::Unreadable(_) => &[],
            InForce::Offered(of) => of.0.hash(),
        }
    }
}

impl Held {
    fn report(&self) -> v1::ConfigurationReport {
        use v1::configuration_report::State;
        let hash = self.in_force.hash().to_vec();
        let report = |state: State| v1::ConfigurationReport { state: state.into(), ..Default::default() };
        match (&self.refused, &self.in_force) {
            (Some(refused), _) => v1::ConfigurationReport {
                hash,
                rejected_hash: refused.hash.clone(),
                problem: refused.why.clone(),
                ..report(State::Rejected)
            },
            (None, InForce::Offered(_)) => v1::ConfigurationReport { hash, ..report(State::Applied) },
            (None, InForce::Own | InForce::Unreadable(_)) => report(State::Own),
        }
    }
}
