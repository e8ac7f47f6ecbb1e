//! Where the offers in use hang, and the memory of what was offered before.
//!
//! `<data_dir>/remote_configuration.json` has the entries that were offered last: their names, whom they are for, and the
//! hashes of their settings. When a start or a reload offers other ones the audit log says what is new, what is gone
//! and what is changed. The file decides nothing else: without it the audit log names everything as new.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster::atomic_file::{self, Access};
use muster::ids::Team;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Offer, Offers};
use crate::audit::{AuditLog, Entry, What, Who};
use crate::config::remote::{RemoteConfiguration, Selector};

const FILE_NAME: &str = "remote_configuration.json";
/// Names of entries that one line of the audit log has in each of its lists.
const NAMES_TOLD_MAX: usize = 32;

/// The offers in use.
#[derive(Debug)]
pub struct Board {
    offers: watch::Sender<Arc<Offers>>,
    path: PathBuf,
    audit: Arc<AuditLog>,
}

/// An entry as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    name: String,
    teams: Option<BTreeSet<Team>>,
    labels: BTreeMap<String, String>,
    /// `None`: it asks nothing.
    hash: Option<String>,
}

impl Board {
    /// Hangs up what the configuration has. Never fails: what cannot be remembered is logged.
    pub fn open(data_dir: &Path, entries: &[RemoteConfiguration], audit: Arc<AuditLog>) -> Arc<Self> {
        let offers = Arc::new(Offers::new(entries));
        let board = Self { offers: watch::channel(offers.clone()).0, path: data_dir.join(FILE_NAME), audit };
        board.tell(&offers);
        Arc::new(board)
    }

    /// Where a stream sees the offers, and that they are others.
    pub fn watch(&self) -> watch::Receiver<Arc<Offers>> {
        self.offers.subscribe()
    }

    /// Exchanges the offers; whether they are others. Streams are woken only then.
    pub fn set(&self, entries: &[RemoteConfiguration]) -> bool {
        let new = Arc::new(Offers::new(entries));
        let is_other = self.offers.send_if_modified(|offers| {
            let is_other = *offers != new;
            offers.clone_from(&new);
            is_other
        });
        if is_other {
            self.tell(&new);
        }
        is_other
    }

    /// Says in the audit log how the offers differ from those before, if they do.
    fn tell(&self, offers: &Offers) {
        let (before, now) = (self.remembered(), remember(offers));
        if before == now {
            return;
        }
        let of = |name: &str, entries: &[Remembered]| entries.iter().find(|e| e.name == name).cloned();
        let missing_in = |others: &[Remembered], entries: &[Remembered]| {
            let missing = entries.iter().filter(|entry| of(&entry.name, others).is_none());
            missing.map(|entry| entry.name.clone()).collect::<Vec<_>>()
        };
        let is_changed = |entry: &&Remembered| of(&entry.name, &before).is_some_and(|old| old != **entry);
        let changed = now.iter().filter(is_changed).map(|entry| entry.name.clone()).collect();
        let mut line =
            Entry::new(What::RemoteConfigurationChanged, Who::Collector).with("entries", now.len() as u64);
        for (list, names) in [
            ("added", missing_in(&before, &now)),
            ("changed", changed),
            ("removed", missing_in(&now, &before)),
        ] {
            if !names.is_empty() {
                line = line.with(list, first_of(names));
            }
        }
        self.audit.record(&line);
        tracing::info!(entries = now.len(), "other configurations are offered to agents");
        let text = serde_json::to_vec(&now).expect("names and texts always serialise");
        if let Err(error) = atomic_file::replace(&self.path, &text, Access::Owner) {
            tracing::warn!(%error, path = %self.path.display(),
                "what is offered cannot be remembered; the next start will name it as new");
        }
    }

    fn remembered(&self) -> Vec<Remembered> {
        let remembered = match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        remembered.unwrap_or_else(|error| {
            tracing::warn!(%error, path = %self.path.display(), "what was offered before is not known");
            Vec::new()
        })
    }
}

fn remember(offers: &Offers) -> Vec<Remembered> {
    let entry = |(selector, offer): &(Selector, Arc<Offer>)| Remembered {
        name: offer.name.clone(),
        teams: selector.teams.clone(),
        labels: selector.labels.clone(),
        hash: offer.hash.map(|hash| hash.to_string()),
    };
    offers.entries.iter().map(entry).collect()
}

fn first_of(mut names: Vec<String>) -> Vec<String> {
    let more = names.len().saturating_sub(NAMES_TOLD_MAX);
    if more > 0 {
        names.truncate(NAMES_TOLD_MAX);
        names.push(format!("and {more} more"));
    }
    names
}
