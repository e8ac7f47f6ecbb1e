//! Forwarding: everything in the journal, to any number of destinations.
//!
//! ```text
//!            ┌ reader (thread) ─ units ─> pipeline (task) ─ requests ─> lane ─ client ══> destination A
//! journal ───┤            after its cursor    └ in order: commit ─> cursor, state
//!            └ reader ─ ...                                                         ══> destination B
//! ```
//!
//! Each destination has a reader, a pipeline, a client, a folder and a cursor of its own, and shares the journal with the
//! others and nothing else: one that is dead, slow or lying ages its own cursor.
//!
//! - At least once. A request is sent until the destination has answered for good, and only then does the cursor pass what
//!   it was made of. A restart repeats at most the requests that were out ([`window`]), under the same ids.
//! - Nothing is dropped in silence: what a destination will never take is kept as a dead letter, and each drop is counted by
//!   reason ([`figures`]).
//! - A destination that is new begins at the journal's end. One that is not in the configuration any more loses its cursor,
//!   since it would keep the journal from being shortened for ever.
//! - A reload is a start for those that it changes ([`Plan`], [`slot`]): they end in order and go on from their cursors, and
//!   their counters begin anew. It does not touch the others.
//! - A destination whose credential, certificate or address cannot be used stops the start, and refuses the reload: it is
//!   told at once, and nothing has happened.
//!
//! | bound | when it is reached |
//! |---|---|
//! | queue, in bytes of the journal | the oldest go, counted as `queue_full` |
//! | requests out | nothing is sent until one of them is committed |
//! | bytes of requests that wait or are out, 8 MiB | the reader waits |
//! | dead letters, 64 MiB | the oldest go, counted |

pub(crate) mod answer;
pub(crate) mod client;
mod commit;
mod cut;
pub mod dead_letter;
pub(crate) mod direct;
pub(crate) mod encode;
pub mod figures;
mod filter;
mod forwarder;
mod kept;
mod lane;
mod live;
mod own_metrics;
mod pipeline;
mod prepare;
pub mod probe;
mod reader;
pub(crate) mod retry;
mod running;
mod slot;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::stream::StreamLog;
use journal::{CursorError, Journal};
use muster::clock::Clock;
use tokio::task::JoinSet;

use crate::config::destination::Destination;
pub use client::ClientError;
pub(crate) use client::trusting;
use dead_letter::DeadLetterError;
pub use forwarder::{FORWARDED_BY, Forwarder};
pub use live::Live;
use running::{Running, Wanted};
use slot::Slot;

/// Names of cursors. A destination's name has no `_`, so that one is never the other's.
const CURSOR_PREFIX: &str = "destination-";
const STATE_CURSOR_PREFIX: &str = "destination_state-";

/// What destinations share.
#[derive(Clone)]
pub struct Source {
    /// For cursors and sizes.
    pub journal: Arc<Journal>,
    /// The records.
    pub log: Arc<dyn StreamLog>,
    /// For times.
    pub clock: Arc<dyn Clock>,
    /// The collector's own folder.
    pub data_dir: PathBuf,
}

/// All destinations. Dropped, they end at once; call [`Forwarding::stop`].
pub struct Forwarding {
    /// What is counted of each that is at work.
    pub observed: Live,
    source: Source,
    /// By name; those that have gone stay until the next reload.
    slots: BTreeMap<String, Slot>,
    keepers: JoinSet<()>,
}

/// What a new configuration changes. Nothing has happened yet.
#[derive(Debug)]
pub struct Plan {
    order: Vec<String>,
    added: Vec<Arc<Wanted>>,
    changed: Vec<Arc<Wanted>>,
    removed: Vec<String>,
}

/// The names of destinations that a reload changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// New ones.
    pub added: Vec<String>,
    /// Those with other settings, or with another credential or certificate in the same file.
    pub changed: Vec<String>,
    /// Those that are not configured any more.
    pub removed: Vec<String>,
}

/// Why a destination is not forwarded to.
#[derive(Debug, thiserror::Error)]
#[error("destination {name:?}: {problem}")]
pub struct ForwardError {
    /// Which destination.
    pub name: String,
    /// Why.
    #[source]
    pub problem: ForwardProblem,
}

/// Why a destination cannot be forwarded to.
#[derive(Debug, thiserror::Error)]
pub enum ForwardProblem {
    /// Its credential, certificates or address.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its cursor.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// Its folder.
    #[error(transparent)]
    Folder(#[from] DeadLetterError),
    /// Its thread.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// Where a destination's files are.
pub fn folder_of(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join("destinations").join(name)
}

impl Forwarding {
    /// Starts all destinations. Blocks for as long as their small files take; must be called in a tokio runtime.
    pub fn start(destinations: &[Destination], source: &Source) -> Result<Self, ForwardError> {
        remove_old_cursors(destinations, &source.journal)?;
        let mut forwarding = Self {
            observed: Live::default(),
            source: source.clone(),
            slots: BTreeMap::new(),
            keepers: JoinSet::new(),
        };
        forwarding.observed.order(names(destinations));
        for destination in destinations {
            let begun = Wanted::new(destination, source)
                .map_err(ForwardProblem::from)
                .and_then(|wanted| Ok((Running::begin(&wanted, source)?, wanted)));
            let (running, wanted) =
                begun.map_err(|problem| ForwardError { name: destination.name.clone(), problem })?;
            forwarding.observed.put(wanted.observed.clone());
            forwarding.keep(Arc::new(wanted), Some(running));
        }
        Ok(forwarding)
    }

    /// What these destinations would change. Reads their files, for unchanged ones too, and does nothing else: one that
    /// cannot be used is an error.
    pub fn plan(&self, destinations: &[Destination]) -> Result<Plan, ForwardError> {
        let mut plan =
            Plan { order: names(destinations), added: Vec::new(), changed: Vec::new(), removed: Vec::new() };
        for destination in destinations {
            let name = &destination.name;
            let wanted = Wanted::new(destination, &self.source)
                .map_err(|error| ForwardError { name: name.clone(), problem: error.into() })?;
            match self.slots.get(name).and_then(Slot::wanted) {
                Some(before) if wanted.is_like(&before) => {}
                Some(before) => plan.changed.push(Arc::new(wanted.in_place_of(&before))),
                None => plan.added.push(Arc::new(wanted)),
            }
        }
        let is_removed =
            |(name, slot): &(&String, &Slot)| slot.wanted().is_some() && !plan.order.contains(name);
        plan.removed = self.slots.iter().filter(is_removed).map(|(name, _)| name.clone()).collect();
        Ok(plan)
    }

    /// Has a plan brought about, without waiting for it: what ends has 5 s for what is out. Must be called in a tokio
    /// runtime, and with the newest plan.
    pub fn apply(&mut self, plan: Plan) -> Changes {
        let named = |all: &[Arc<Wanted>]| all.iter().map(|one| one.destination.name.clone()).collect();
        let changes =
            Changes { added: named(&plan.added), changed: named(&plan.changed), removed: plan.removed };
        self.slots.retain(|_, slot| !slot.is_gone());
        while self.keepers.try_join_next().is_some() {}
        self.observed.order(plan.order);
        for wanted in plan.added.into_iter().chain(plan.changed) {
            let slot = self.slots.get(&wanted.destination.name);
            if !slot.is_some_and(|slot| slot.run(wanted.clone())) {
                self.keep(wanted, None);
            }
        }
        for slot in changes.removed.iter().filter_map(|name| self.slots.get(name)) {
            slot.remove();
        }
        changes
    }

    fn keep(&mut self, wanted: Arc<Wanted>, running: Option<Running>) {
        let name = wanted.destination.name.clone();
        let (slot, keeper) = Slot::new(wanted, running, self.source.clone(), self.observed.clone());
        self.keepers.spawn(keeper.run());
        self.slots.insert(name, slot);
    }

    /// Ends in order: requests that are out have 5 s, what has ended is saved, the rest is repeated by the next start.
    pub async fn stop(mut self) {
        self.slots.values().for_each(Slot::end);
        while let Some(ended) = self.keepers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a destination did not end in order");
            }
        }
    }
}

impl Changes {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn names(destinations: &[Destination]) -> Vec<String> {
    destinations.iter().map(|destination| destination.name.clone()).collect()
}

/// Takes the cursors of destinations away that are not configured any more.
fn remove_old_cursors(destinations: &[Destination], journal: &Journal) -> Result<(), ForwardError> {
    for cursor in journal.cursor_names() {
        let Some(name) =
            cursor.strip_prefix(CURSOR_PREFIX).or_else(|| cursor.strip_prefix(STATE_CURSOR_PREFIX))
        else {
            continue;
        };
        if destinations.iter().any(|destination| destination.name == name) {
            continue;
        }
        journal
            .remove_cursor(&cursor)
            .map_err(|error| ForwardError { name: name.to_owned(), problem: error.into() })?;
        tracing::info!(destination = name, "destination is not configured any more; its queue is let go");
    }
    Ok(())
}
