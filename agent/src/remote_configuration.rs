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
//! | the file cannot be written or removed | what was before | the same |
//! | the file cannot be read at the start | the own file, less everything that could be withheld, until the collector has offered again | log, `status` |
//! | the collector is of another team, or at another address | at its welcome, the own file alone, until it has offered | log |
//!
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

pub use offer::{Offer, Refusal};
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
    held: Mutex<Held>,
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
        Self { own, agent, store, held, settings: watch::Sender::new(settings) }
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
        let mut held = self.held.lock();
        if let InForce::Offered(of) = &held.in_force
            && of.1 != *issuer
        {
            tracing::info!(by = %of.1, "the configuration in force was offered by another collector or team: it is over");
            if let Err(error) = self.store.remove() {
                tracing::warn!(%error, "it comes back at the next start, until this collector has offered");
            }
            held.in_force = InForce::Own;
            self.tell(&held);
        }
        matches!(held.in_force, InForce::Offered(_)).then(|| held.report())
    }

    /// Takes an offer, or refuses it. Answers what is to be reported; `None` when nobody here asked for offers.
    pub fn take(&self, offer: &v1::ConfigurationOffer, issuer: &Issuer) -> Option<v1::ConfigurationReport> {
        if !self.own.takes_offers {
            return None;
        }
        let mut held = self.held.lock();
        match self.keep(offer, issuer, &held.in_force) {
            Ok(in_force) => {
                held.in_force = in_force;
                held.refused = None;
                held.applied += 1;
                self.tell(&held);
            }
            Err(why) => {
                tracing::warn!(%why, "refused what the collector asked for; what was in force goes on");
                let hash = offer.hash[..offer.hash.len().min(HASH_BYTES_MAX)].to_vec();
                held.refused = Some(Refused { hash, why });
                held.rejected += 1;
            }
        }
        Some(held.report())
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
        before: &InForce,
    ) -> Result<InForce, String> {
        let Some(read) = offer::read(offer).map_err(|refusal| refusal.to_string())? else {
            self.store.remove().map_err(|error| error.to_string())?;
            return Ok(InForce::Own);
        };
        let after = Box::new((read, issuer.clone()));
        // A collector says it at each welcome: the disk need not hear it again.
        if !matches!(before, InForce::Offered(before) if *before == after) {
            self.store.replace(&after.0, issuer).map_err(|error| error.to_string())?;
        }
        Ok(InForce::Offered(after))
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
