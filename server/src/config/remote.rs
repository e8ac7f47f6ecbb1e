//! `[[remote_configuration]]`: what the collector asks of agents whose own file lets it (docs/remote-configuration.md).
//!
//! Entries stand in the order of the file, and the first that matches an agent's team and labels is its configuration.
//! Everything in an entry takes away: fewer events one by one, less content, less identity, fewer sources. An agent
//! refuses an offer with a word that it does not know, so every word and number is checked here, where a person reads
//! the answer. Two entries that say the same in another order are equal here.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use muster::ids::Team;

use super::ConfigError;

/// Most entries: each agent that comes is held against all of them.
pub const ENTRIES_MAX: usize = 256;
/// Longest name of an entry: it stands in tables, logs and offers.
pub const NAME_BYTES_MAX: usize = 64;
/// Most labels of an agent, and of an entry (`Hello.labels` in proto/muster/v1/collector.proto).
pub const LABELS_MAX: usize = 16;
/// Longest name and longest value of a label.
pub const LABEL_BYTES_MAX: usize = 64;
/// Most teams that an entry names.
const TEAMS_MAX: usize = 10_000;
/// Most sources that an entry turns off: more than a machine has.
const SOURCES_MAX: usize = 64;
/// Longest name of a source, as the agent's file has it.
const SOURCE_BYTES_MAX: usize = 64;
/// How many one event may stand for.
const ONE_IN_RANGE: RangeInclusive<u32> = 1..=1_000;
/// Seconds of both intervals: below it an agent costs more than it tells, above it liveness is a guess.
const INTERVAL_SECONDS_RANGE: RangeInclusive<u32> = 5..=3_600;

/// All that `[[remote_configuration]]` may have.
pub(super) const KEYS: [&str; 7] = ["name", "teams", "labels", "sampling", "privacy", "intervals", "sources"];
/// Kinds of events that may be sampled: never what money, verdicts or runs are counted from.
pub(super) const SAMPLED: [&str; 3] = ["file_activity", "log_record", "tool_call"];
pub(super) const PRIVACY_KEYS: [&str; 2] = ["withhold_content", "withhold_identity"];
pub(super) const INTERVAL_KEYS: [&str; 2] = ["rescan_seconds", "host_sample_seconds"];
pub(super) const SOURCES_KEYS: [&str; 1] = ["off"];
/// Content that may be withheld: what `[agent.privacy] include` may opt in.
const CONTENT: [&str; 4] = ["files", "messages", "prompts", "tasks"];
/// Parts of a source's identity that may be withheld.
const IDENTITY: [&str; 4] = ["branch", "host", "repository", "user"];

/// One entry: for whom, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteConfiguration {
    /// Its name, no other entry's.
    pub name: String,
    /// Whom it is for.
    pub selector: Selector,
    /// What it asks; nothing at all leaves those agents to their own files.
    pub settings: RemoteSettings,
}

/// Whom an entry is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Agents of these teams; `None`: of all.
    pub teams: Option<BTreeSet<Team>>,
    /// Agents that have all of these labels.
    pub labels: BTreeMap<String, String>,
}

/// What an entry asks. Without order and without repetition, so that what says the same is equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RemoteSettings {
    /// Of these kinds one event stands for so many, 2 to 1000.
    pub sampling: BTreeMap<&'static str, u32>,
    /// Content that may not leave.
    pub withheld_content: BTreeSet<&'static str>,
    /// Parts of the identity that may not leave.
    pub withheld_identity: BTreeSet<&'static str>,
    /// How often agents look at everything.
    pub rescan_interval_seconds: Option<u32>,
    /// How often agents measure the machine, at most.
    pub host_sample_interval_seconds: Option<u32>,
    /// Sources that are not read.
    pub sources_off: BTreeSet<String>,
}

impl Selector {
    /// Whether an agent of this team with these labels is meant.
    pub fn takes(&self, team: &Team, labels: &BTreeMap<String, String>) -> bool {
        let is_of_team = self.teams.as_ref().is_none_or(|teams| teams.contains(team));
        is_of_team && self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }

    /// Whether it takes every agent that `other` takes.
    fn covers(&self, other: &Self) -> bool {
        let covers_teams = match (&self.teams, &other.teams) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => own.is_superset(others),
        };
        covers_teams && self.labels.iter().all(|(name, value)| other.labels.get(name) == Some(value))
    }
}

/// Entries that no agent can have since one before them takes all of theirs, each with the name of that one.
pub fn never_chosen(entries: &[RemoteConfiguration]) -> Vec<(&str, &str)> {
    let taken_by = |at: usize| {
        let before = entries[..at].iter().find(|before| before.selector.covers(&entries[at].selector));
        before.map(|before| (entries[at].name.as_str(), before.name.as_str()))
    };
    (0..entries.len()).filter_map(taken_by).collect()
}

/// `[[remote_configuration]]` as serde sees it.
#[derive(Debug, serde::Deserialize)]
pub(super) struct RawRemoteConfiguration {
    name: String,
    teams: Option<Vec<String>>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    sampling: BTreeMap<String, u32>,
    #[serde(default)]
    privacy: RawPrivacy,
    #[serde(default)]
    intervals: RawIntervals,
    #[serde(default)]
    sources: RawSources,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct RawPrivacy {
    withhold_content: Vec<String>,
    withhold_identity: Vec<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct RawIntervals {
    rescan_seconds: Option<u32>,
    host_sample_seconds: Option<u32>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct RawSources {
    off: Vec<String>,
}

/// Which key of an entry is wrong, and how.
type Problem = (&'static str, String);

/// Checks all entries.
pub(super) fn validate(raw: Vec<RawRemoteConfiguration>) -> Result<Vec<RemoteConfiguration>, ConfigError> {
    let count = raw.len();
    if count > ENTRIES_MAX {
        let problem = format!("{count} entries are more than {ENTRIES_MAX}");
        return Err(ConfigError::Invalid { setting: "remote_configuration", problem });
    }
    let mut names = BTreeSet::new();
    let mut entries = Vec::with_capacity(count);
    for raw in raw {
        let name: String = raw.name.chars().take(80).collect();
        let invalid = |(setting, problem): Problem| ConfigError::RemoteConfiguration {
            name: name.clone(),
            setting,
            problem,
        };
        let entry = raw.validate().map_err(invalid)?;
        if !names.insert(entry.name.clone()) {
            let problem = "another entry has this name; give each its own".to_owned();
            return Err(invalid(("name", problem)));
        }
        entries.push(entry);
    }
    Ok(entries)
}

impl RawRemoteConfiguration {
    fn validate(self) -> Result<RemoteConfiguration, Problem> {
        if !is_name(&self.name, NAME_BYTES_MAX) {
            return Err(("name", format!("is not 1 to {NAME_BYTES_MAX} of a-z A-Z 0-9 . _ -")));
        }
        let settings = RemoteSettings {
            sampling: sampling(&self.sampling)?,
            withheld_content: words("privacy.withhold_content", &self.privacy.withhold_content, &CONTENT)?,
            withheld_identity: words(
                "privacy.withhold_identity",
                &self.privacy.withhold_identity,
                &IDENTITY,
            )?,
            rescan_interval_seconds: interval("intervals.rescan_seconds", self.intervals.rescan_seconds)?,
            host_sample_interval_seconds: interval(
                "intervals.host_sample_seconds",
                self.intervals.host_sample_seconds,
            )?,
            sources_off: sources_off(self.sources.off)?,
        };
        let selector = Selector { teams: self.teams.map(teams).transpose()?, labels: labels(self.labels)? };
        Ok(RemoteConfiguration { name: self.name, selector, settings })
    }
}

fn teams(given: Vec<String>) -> Result<BTreeSet<Team>, Problem> {
    if !(1..=TEAMS_MAX).contains(&given.len()) {
        let problem = format!("names {} teams: 1 to {TEAMS_MAX}, or leave the key out for all", given.len());
        return Err(("teams", problem));
    }
    let team = |name: String| Team::try_from(name).map_err(|error| ("teams", error.to_string()));
    given.into_iter().map(team).collect()
}

fn labels(given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Problem> {
    if given.len() > LABELS_MAX {
        return Err(("labels", format!("are {}; an agent has at most {LABELS_MAX}", given.len())));
    }
    for (name, value) in &given {
        let is_value = (1..=LABEL_BYTES_MAX).contains(&value.len()) && !value.contains(char::is_control);
        if !is_name(name, LABEL_BYTES_MAX) || !is_value {
            let problem = format!(
                "{name:?} = {value:?}: a name is 1 to {LABEL_BYTES_MAX} of a-z A-Z 0-9 . _ -, a value 1 to {LABEL_BYTES_MAX} \
                 bytes without control characters"
            );
            return Err(("labels", problem));
        }
    }
    Ok(given)
}

/// One of one is all, as without the key.
fn sampling(given: &BTreeMap<String, u32>) -> Result<BTreeMap<&'static str, u32>, Problem> {
    let mut sampling = BTreeMap::new();
    for (kind, one_in) in given {
        let kind = word("sampling", kind, &SAMPLED)?;
        if !ONE_IN_RANGE.contains(one_in) {
            let problem =
                format!("{kind} = {one_in} is not {} to {}", ONE_IN_RANGE.start(), ONE_IN_RANGE.end());
            return Err(("sampling", problem));
        }
        if *one_in > 1 {
            sampling.insert(kind, *one_in);
        }
    }
    Ok(sampling)
}

fn interval(setting: &'static str, seconds: Option<u32>) -> Result<Option<u32>, Problem> {
    match seconds {
        Some(seconds) if !INTERVAL_SECONDS_RANGE.contains(&seconds) => {
            let (least, most) = (INTERVAL_SECONDS_RANGE.start(), INTERVAL_SECONDS_RANGE.end());
            Err((setting, format!("{seconds} is not {least} to {most}")))
        }
        within => Ok(within),
    }
}

/// Which sources there are is each machine's own matter: a name that an agent does not have turns nothing off there.
fn sources_off(given: Vec<String>) -> Result<BTreeSet<String>, Problem> {
    const SETTING: &str = "sources.off";
    if given.len() > SOURCES_MAX {
        return Err((SETTING, format!("names {} sources; at most {SOURCES_MAX}", given.len())));
    }
    match given.iter().find(|name| !is_name(name, SOURCE_BYTES_MAX)) {
        Some(wrong) => {
            let wrong: String = wrong.chars().take(80).collect();
            Err((
                SETTING,
                format!("{wrong:?} is no source's name: 1 to {SOURCE_BYTES_MAX} of a-z A-Z 0-9 . _ -"),
            ))
        }
        None => Ok(given.into_iter().collect()),
    }
}

fn words(
    setting: &'static str,
    given: &[String],
    known: &[&'static str],
) -> Result<BTreeSet<&'static str>, Problem> {
    given.iter().map(|given| word(setting, given, known)).collect()
}

fn word(setting: &'static str, given: &str, known: &[&'static str]) -> Result<&'static str, Problem> {
    known.iter().find(|word| **word == given).copied().ok_or_else(|| {
        let given: String = given.chars().take(80).collect();
        (setting, format!("{given:?} is none of {}", known.join(", ")))
    })
}

fn is_name(text: &str, bytes_max: usize) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(allowed)
}
