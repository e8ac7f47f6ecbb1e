//! What an offer says: bytes in, words of a fixed list or a refusal out.
//!
//! Nothing is taken that is not understood to the last bit: settings that hold a field which this version does not know
//! do not come out as the same bytes when they are written again, and are refused.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use muster::ids::AgentId;
use muster::v1;
use prost::Message;
use sha2::{Digest, Sha256};

use super::Settings;
use crate::facts::{ContentField, IdentityPart, SampledKind, Sampling};

/// Largest encoded settings: all words there are take less than a tenth of it.
const SETTINGS_BYTES_MAX: usize = 16 << 10;
/// Longest name of an entry.
const NAME_BYTES_MAX: usize = 128;
/// Most sources that are turned off: more than an agent can have.
const SOURCES_OFF_MAX: usize = 64;
/// Longest name of a source, as in `[[agent.source]]`.
const SOURCE_BYTES_MAX: usize = 64;
/// Intervals in seconds, as `agent.rescan_interval_seconds`.
const SECONDS: RangeInclusive<u32> = 5..=3600;
/// How many events one may stand for.
const ONE_IN: RangeInclusive<u32> = 1..=1000;
/// A word of an offer is repeated in a refusal up to here.
const SAID_CHARS_MAX: usize = 40;

/// Settings that were read and understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    name: String,
    hash: Vec<u8>,
    encoded: Vec<u8>,
    asked: Asked,
}

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Asked {
    sampling: Sampling,
    withheld_content: BTreeSet<ContentField>,
    withheld_identity: BTreeSet<IdentityPart>,
    rescan_interval: Option<Duration>,
    host_sample_interval: Option<Duration>,
    sources_off: BTreeSet<String>,
}

/// Why an offer is not taken: one sentence for the operator who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The hash is of something else.
    #[error("the hash is not that of the settings")]
    OtherHash,
    /// More bytes than settings can have.
    #[error("the settings have {} bytes, more than {}", .0, SETTINGS_BYTES_MAX)]
    TooLarge(usize),
    /// Not the message.
    #[error("the settings cannot be read")]
    Unreadable,
    /// A newer collector's, or not as this version would write it.
    #[error("the settings hold something that this agent ({}) does not know; update it, or leave that out", env!("CARGO_PKG_VERSION"))]
    Unknown,
    /// The entry's name.
    #[error("the name of the configuration is not 1 to {} bytes without control characters", NAME_BYTES_MAX)]
    Name,
    /// A word that is not on the list.
    #[error("{setting}: {word:?} is none of {known}; this agent is {}", env!("CARGO_PKG_VERSION"))]
    Word {
        /// Which setting.
        setting: &'static str,
        /// The word, cut.
        word: String,
        /// Those there are.
        known: String,
    },
    /// A number out of its range.
    #[error("{setting}: {number} is not {} to {}", .range.start(), .range.end())]
    Range {
        /// Which setting.
        setting: &'static str,
        /// The number.
        number: u32,
        /// What it may be.
        range: RangeInclusive<u32>,
    },
    /// A kind of event with two rates.
    #[error("sampling: {0} is there twice")]
    Twice(&'static str),
    /// The name of a source.
    #[error("sources_off: {:?} is not 1 to {} of a-z A-Z 0-9 _ - .", .0, SOURCE_BYTES_MAX)]
    Source(String),
    /// More sources than there can be.
    #[error("sources_off: {} sources are more than {}", .0, SOURCES_OFF_MAX)]
    TooManySources(usize),
}

/// Reads an offer; `None`: nothing is asked.
pub fn read(offer: &v1::ConfigurationOffer) -> Result<Option<Offer>, Refusal> {
    let v1::ConfigurationOffer { hash, settings, name } = offer;
    if settings.len() > SETTINGS_BYTES_MAX {
        return Err(Refusal::TooLarge(settings.len()));
    }
    if settings.is_empty() {
        return if hash.is_empty() { Ok(None) } else { Err(Refusal::OtherHash) };
    }
    if Sha256::digest(settings)[..] != hash[..] {
        return Err(Refusal::OtherHash);
    }
    let said = v1::OfferedSettings::decode(&settings[..]).map_err(|_| Refusal::Unreadable)?;
    if said.encode_to_vec() != *settings {
        return Err(Refusal::Unknown);
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
        return Err(Refusal::Name);
    }
    let asked = Asked::of(&said)?;
    Ok(Some(Offer { name: name.clone(), hash: hash.clone(), encoded: settings.clone(), asked }))
}

impl Offer {
    /// An offer that withholds all there is to withhold, and asks nothing else.
    pub(super) fn strictest() -> Self {
        let asked = Asked {
            withheld_content: ContentField::ALL.into(),
            withheld_identity: IdentityPart::ALL.into(),
            ..Asked::default()
        };
        Self { name: String::new(), hash: Vec::new(), encoded: Vec::new(), asked }
    }

    /// The entry of the collector's file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the settings.
    pub fn hash(&self) -> &[u8] {
        &self.hash
    }

    /// The offer as it came.
    pub(super) fn as_sent(&self) -> v1::ConfigurationOffer {
        v1::ConfigurationOffer {
            hash: self.hash.clone(),
            settings: self.encoded.clone(),
            name: self.name.clone(),
        }
    }

    /// What `agent` does when this is asked of it: `own`, less what is asked to be left out.
    pub fn over(&self, own: &Settings, agent: AgentId) -> Settings {
        let asked = &self.asked;
        Settings {
            privacy: own.privacy.without(&asked.withheld_content, &asked.withheld_identity, agent),
            sampling: asked.sampling,
            rescan_interval: asked.rescan_interval.unwrap_or(own.rescan_interval),
            host_sample_interval: asked.host_sample_interval.or(own.host_sample_interval),
            sources_off: &own.sources_off | &asked.sources_off,
        }
    }

    /// What is asked, in words for people.
    pub fn in_words(&self) -> String {
        let asked = &self.asked;
        let content: Vec<&str> = asked.withheld_content.iter().map(|field| field.word()).collect();
        let identity: Vec<&str> = asked.withheld_identity.iter().map(|part| part.word()).collect();
        let off: Vec<&str> = asked.sources_off.iter().map(String::as_str).collect();
        let sampled = SampledKind::ALL.into_iter().filter(|kind| asked.sampling.one_in(*kind) > 1);
        let sampled: Vec<String> =
            sampled.map(|kind| format!("1 of {} {}", asked.sampling.one_in(kind), kind.word())).collect();
        let every =
            |interval: Option<Duration>| interval.map_or_else(String::new, |i| format!("{} s", i.as_secs()));
        let parts = [
            ("withholds", [content, identity].concat().join(", ")),
            ("sends", sampled.join(", ")),
            ("rescans every", every(asked.rescan_interval)),
            ("measures every", every(asked.host_sample_interval)),
            ("off:", off.join(", ")),
        ];
        let parts = parts.iter().filter(|(_, what)| !what.is_empty());
        parts.map(|(does, what)| format!("{does} {what}")).collect::<Vec<_>>().join("; ")
    }
}

impl Asked {
    fn of(said: &v1::OfferedSettings) -> Result<Self, Refusal> {
        Ok(Self {
            sampling: sampling(&said.sampling)?,
            withheld_content: words(
                "withheld_content",
                &said.withheld_content,
                &ContentField::ALL,
                ContentField::word,
            )?,
            withheld_identity: words(
                "withheld_identity",
                &said.withheld_identity,
                &IdentityPart::ALL,
                IdentityPart::word,
            )?,
            rescan_interval: seconds("rescan_interval_seconds", said.rescan_interval_seconds)?,
            host_sample_interval: seconds("host_sample_interval_seconds", said.host_sample_interval_seconds)?,
            sources_off: sources(&said.sources_off)?,
        })
    }
}

fn sampling(said: &[v1::Sampling]) -> Result<Sampling, Refusal> {
    let mut sampling = Sampling::default();
    let mut seen = BTreeSet::new();
    for v1::Sampling { kind, one_in } in said {
        let kind = word("sampling", kind, &SampledKind::ALL, SampledKind::word)?;
        in_range("sampling", *one_in, ONE_IN)?;
        if !seen.insert(kind) {
            return Err(Refusal::Twice(kind.word()));
        }
        sampling = sampling.with(kind, *one_in);
    }
    Ok(sampling)
}

fn words<T: Copy + Ord>(
    setting: &'static str,
    said: &[String],
    known: &[T],
    word_of: fn(T) -> &'static str,
) -> Result<BTreeSet<T>, Refusal> {
    said.iter().map(|said| word(setting, said, known, word_of)).collect()
}

fn word<T: Copy>(
    setting: &'static str,
    said: &str,
    known: &[T],
    word_of: fn(T) -> &'static str,
) -> Result<T, Refusal> {
    let found = known.iter().copied().find(|known| word_of(*known) == said);
    found.ok_or_else(|| {
        let known: Vec<&str> = known.iter().copied().map(word_of).collect();
        Refusal::Word { setting, word: cut(said), known: known.join(", ") }
    })
}

fn seconds(setting: &'static str, said: Option<u32>) -> Result<Option<Duration>, Refusal> {
    let Some(seconds) = said else { return Ok(None) };
    in_range(setting, seconds, SECONDS)?;
    Ok(Some(Duration::from_secs(seconds.into())))
}

fn in_range(setting: &'static str, number: u32, range: RangeInclusive<u32>) -> Result<(), Refusal> {
    match range.contains(&number) {
        true => Ok(()),
        false => Err(Refusal::Range { setting, number, range }),
    }
}

/// A source that this agent does not have is turned off as well as it can be: offers are for many agents.
fn sources(said: &[String]) -> Result<BTreeSet<String>, Refusal> {
    if said.len() > SOURCES_OFF_MAX {
        return Err(Refusal::TooManySources(said.len()));
    }
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    for name in said {
        if name.is_empty() || name.len() > SOURCE_BYTES_MAX || !name.bytes().all(is_allowed) {
            return Err(Refusal::Source(cut(name)));
        }
    }
    Ok(said.iter().cloned().collect())
}

fn cut(word: &str) -> String {
    word.chars().take(SAID_CHARS_MAX).collect()
}
