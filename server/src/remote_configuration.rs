//! What is offered to which agent, of what `[[remote_configuration]]` asks (docs/remote-configuration.md).
//!
//! ```text
//! file ─> config::remote (checked) ─> Offers (encoded once, hashed) ─> Board ── watch ──> every stream that takes one
//! ```
//!
//! An offer is data alone, and its settings are encoded so that the same settings always are the same bytes: both sides
//! name them by their SHA-256. Choosing is a function of the entries, the agent's team and its labels. The [`Board`] has
//! the offers that are in use; a reload exchanges them, and streams that are open choose again. A file that is not valid
//! never gets here, so what was offered stays.

mod board;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use muster::ids::Team;
use muster::v1;
use prost::Message;
use sha2::{Digest, Sha256};

pub use board::Board;
pub use report::{Report, ReportError};

use crate::config::remote::{LABEL_BYTES_MAX, LABELS_MAX, RemoteConfiguration, RemoteSettings, Selector};

/// The SHA-256 of encoded settings.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SettingsHash([u8; 32]);

/// What an agent's file calls it, within bounds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(BTreeMap<String, String>);

/// One entry as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The entry's name; empty when no entry takes the agent.
    pub name: String,
    /// Names the settings; `None` when nothing is asked.
    pub hash: Option<SettingsHash>,
    /// An encoded `OfferedSettings`; empty when nothing is asked.
    pub settings: Vec<u8>,
}

/// All entries, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offers {
    entries: Vec<(Selector, Arc<Offer>)>,
    nothing: Arc<Offer>,
}

impl Offers {
    /// Encodes all entries, in their order.
    pub fn new(entries: &[RemoteConfiguration]) -> Self {
        let offer = |entry: &RemoteConfiguration| (entry.selector.clone(), Arc::new(Offer::of(entry)));
        Self { entries: entries.iter().map(offer).collect(), nothing: Arc::new(Offer::nothing()) }
    }

    /// What an agent is offered: the first entry that takes it, else nothing.
    pub fn choose(&self, team: &Team, labels: &Labels) -> &Arc<Offer> {
        let chosen = self.entries.iter().find(|(selector, _)| selector.takes(team, &labels.0));
        chosen.map_or(&self.nothing, |(_, offer)| offer)
    }
}

impl Default for Offers {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Offer {
    /// An entry's offer. Without any setting it says that the agent's own file holds.
    pub fn of(entry: &RemoteConfiguration) -> Self {
        let settings = encode(&entry.settings);
        let hash = (!settings.is_empty()).then(|| SettingsHash::of(&settings));
        Self { name: entry.name.clone(), hash, settings }
    }

    fn nothing() -> Self {
        Self { name: String::new(), hash: None, settings: Vec::new() }
    }

    /// As it is sent.
    pub fn message(&self) -> v1::ConfigurationOffer {
        v1::ConfigurationOffer {
            hash: self.hash.map(|hash| hash.0.to_vec()).unwrap_or_default(),
            settings: self.settings.clone(),
            name: self.name.clone(),
        }
    }
}

/// Fields in the order of their numbers, lists sorted and without repetition: the same settings are the same bytes.
fn encode(settings: &RemoteSettings) -> Vec<u8> {
    let sampling = settings.sampling.iter();
    let owned =
        |words: &BTreeSet<&'static str>| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let message = v1::OfferedSettings {
        sampling: sampling
            .map(|(kind, one_in)| v1::Sampling { kind: (*kind).to_owned(), one_in: *one_in })
            .collect(),
        withheld_content: owned(&settings.withheld_content),
        withheld_identity: owned(&settings.withheld_identity),
        rescan_interval_seconds: settings.rescan_interval_seconds,
        host_sample_interval_seconds: settings.host_sample_interval_seconds,
        sources_off: settings.sources_off.iter().cloned().collect(),
    };
    message.encode_to_vec()
}

impl SettingsHash {
    /// Names these bytes.
    pub fn of(settings: &[u8]) -> Self {
        Self(Sha256::digest(settings).into())
    }

    /// A hash as an agent tells it; no bytes are none.
    fn told(bytes: &[u8]) -> Result<Option<Self>, ReportError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        bytes.try_into().map(|hash| Some(Self(hash))).map_err(|_| ReportError::Hash(bytes.len()))
    }
}

impl fmt::Display for SettingsHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SettingsHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Labels {
    /// What a hello says. A label that is too long for any entry is passed over, and so are those past the first
    /// [`LABELS_MAX`] by name: no entry has more, and two hellos with the same labels are always read alike.
    pub fn said(labels: &HashMap<String, String>) -> Self {
        let fits = |text: &str| text.len() <= LABEL_BYTES_MAX && !text.contains(char::is_control);
        let mut labels: Vec<_> =
            labels.iter().filter(|(name, value)| !name.is_empty() && fits(name) && fits(value)).collect();
        labels.sort();
        let first = labels.into_iter().take(LABELS_MAX);
        Self(first.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// By name.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}
