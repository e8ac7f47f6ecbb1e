//! The agents that have certificates: `<data_dir>/agents.json`, one record each, revoked ones included.
//!
//! A certificate says who an agent is; whether it may speak is in its record. The collector writes it when it enrols and
//! renews, `muster agents` when it renames and revokes; either sees the other's change within a second.
//!
//! A record names the certificates that are good: the newest, and the one before until its end, so that an agent can go over
//! from one to the other and repeat a renewal whose answer was lost. Any other is refused though the authority has signed it:
//! whoever has a copy of the authority's key has no way in by it.
//!
//! A certificate that was issued need not have arrived. Until the newest has been seen, the one before stays good whatever
//! else is issued, and the same enrolment (agent, token and key) is repeated for nothing.
//!
//! A revoked agent stays revoked: it can neither renew nor enrol again under its id. A machine that is to come back gets a
//! new id (`muster agent enroll` says how). Its record can be forgotten when no certificate that it ever had can be valid any
//! more; before, the record is what says that they are not.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use muster::clock::WallTime;
use muster::credential::TokenId;
use muster::ids::AgentId;
use muster::ids::Team;
use serde::{Deserialize, Serialize};

use crate::authority::{AgentName, Issued, PeerCertificate};
use crate::record_file::{self, Document, Edit, RecordFileError, Stamp};

/// Most agents, revoked ones included: each of 10,000 developers, on several machines.
pub const AGENTS_MAX: usize = 50_000;
/// Most bytes of a text that an agent says of itself, or that it is called.
pub const AGENT_TEXT_BYTES_MAX: usize = 256;
const VERSION: u32 = 1;

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRecord {
    /// Its id.
    pub id: AgentId,
    /// Its team, from the token that it enrolled with.
    pub team: Team,
    /// What people call it.
    pub name: String,
    /// Its machine, as it said itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Its user, as it said itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Its system, as it said itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// Its version when it enrolled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// When it enrolled last, in microseconds since the epoch.
    pub enrolled_us: u64,
    /// With which token.
    pub token_id: TokenId,
    /// Serial number of its newest certificate, in hexadecimal digits.
    pub serial: String,
    /// SHA-256 of that certificate in hexadecimal digits; empty in a record of an older collector, whose serial number is
    /// compared.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// When that ends.
    pub not_after_us: u64,
    /// SHA-256 of the public key that it is for, in hexadecimal digits; empty in a record of an older collector.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key_sha256: String,
    /// Whether its newest certificate has been seen: its answer has arrived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen: bool,
    /// SHA-256 of the public key that it enrolled for with `token_id`, until a certificate for that has been seen: to the same
    /// one an answer is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_due: Option<String>,
    /// The certificate that it was renewed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousCertificate>,
    /// When it renewed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed_us: Option<u64>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_us: Option<u64>,
}

/// A certificate that has been renewed, and is good until its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousCertificate {
    /// Its serial number in hexadecimal digits.
    pub serial: String,
    /// Its SHA-256 in hexadecimal digits, as the record has it for the newest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// When it ends.
    pub not_after_us: u64,
}

/// Which of an agent's certificates a peer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The newest.
    Newest,
    /// The one that was renewed for the newest, which has not ended.
    Previous,
    /// None that is good: one of long ago, or one that was never issued here.
    Other,
}

/// The file, open for a change: nobody else can change it until this is dropped.
#[derive(Debug)]
pub struct AgentFile {
    edit: Edit<Agents>,
    data_dir: std::path::PathBuf,
}

/// Why agents' records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AgentFileError {
    /// The file cannot be read or written, or is not valid.
    #[error(transparent)]
    File(#[from] RecordFileError),
    /// There are [`AGENTS_MAX`] records.
    #[error("there are {AGENTS_MAX} agents: `muster agents forget` removes those that have ended")]
    Full,
    /// It may speak, and cannot be forgotten.
    #[error("its certificate is valid: revoke it first")]
    Valid,
    /// It has ended, and certificates of it may be valid still.
    #[error("its certificates may not have ended yet")]
    EndedLately {
        /// From when on it can be forgotten.
        forgettable_at: WallTime,
    },
    /// It was revoked.
    #[error("the agent was revoked")]
    Revoked,
    /// No record of that name.
    #[error("no such agent")]
    Missing,
}

/// All agents by their names, as the collector holds them.
pub(crate) type KnownAgents = HashMap<AgentName, AgentRecord>;

/// The document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agents {
    version: u32,
    agents: Vec<AgentRecord>,
}

impl Default for Agents {
    fn default() -> Self {
        Self { version: VERSION, agents: Vec::new() }
    }
}

impl Document for Agents {
    const PATH: &'static str = "agents.json";
    const LOCK: &'static str = "agents.lock";
    const WHAT: &'static str = "file of agents";
    /// What [`AGENTS_MAX`] agents need at most.
    const BYTES_MAX: u64 = 128 << 20;

    fn problem(&self) -> Option<String> {
        (self.version != VERSION).then(|| format!("version {} is not {VERSION}", self.version))
    }
}

impl Agents {
    pub(crate) fn into_known(self) -> KnownAgents {
        self.agents.into_iter().map(|record| (record.name(), record)).collect()
    }
}

impl AgentRecord {
    /// Of an agent that has said nothing of itself and has no certificate yet; called by its id.
    pub(crate) fn without_certificate(of: &AgentName, token_id: &TokenId) -> Self {
        Self {
            id: of.agent,
            team: of.team.clone(),
            name: of.agent.to_string(),
            host: String::new(),
            user: String::new(),
            os: String::new(),
            agent_version: String::new(),
            enrolled_us: 0,
            token_id: token_id.clone(),
            serial: String::new(),
            sha256: String::new(),
            not_after_us: 0,
            key_sha256: String::new(),
            seen: false,
            answer_due: None,
            previous: None,
            renewed_us: None,
            revoked_us: None,
        }
    }

    /// Who it is in certificates.
    pub fn name(&self) -> AgentName {
        AgentName { team: self.team.clone(), agent: self.id }
    }

    /// Which of its certificates this is.
    pub(crate) fn standing(&self, shown: &PeerCertificate, now: WallTime) -> Standing {
        let is_shown = |serial: &str, sha256: &str| {
            if sha256.is_empty() { serial == shown.serial } else { sha256 == shown.sha256 }
        };
        if is_shown(&self.serial, &self.sha256) {
            return Standing::Newest;
        }
        let before = self.previous.as_ref().filter(|before| is_shown(&before.serial, &before.sha256));
        // By the record: a forged one may say another end.
        if before.is_some_and(|before| before.not_after_us > now.0) {
            return Standing::Previous;
        }
        Standing::Other
    }

    /// Notes a certificate for this key that was issued to who showed the newest or the one before.
    pub(crate) fn renewed(&mut self, shown: Standing, issued: &Issued, key_sha256: &str, now: WallTime) {
        // Who shows the one before has never got the newest: that one is good for nobody.
        if shown == Standing::Newest {
            self.note_seen();
            self.previous = Some(self.newest());
        }
        self.take(issued, key_sha256);
        self.renewed_us = Some(now.0);
    }

    /// Notes a certificate for this key that was issued to who showed a token. Unless the newest has been seen, the agent may
    /// not have it, and the one before stays.
    pub(crate) fn enrolled(&mut self, issued: &Issued, key_sha256: &str, now: WallTime) {
        // What an older collector kept says nothing of it.
        if self.seen || self.key_sha256.is_empty() {
            self.previous = Some(self.newest());
        }
        self.previous = self.previous.take().filter(|before| before.not_after_us > now.0);
        self.take(issued, key_sha256);
        self.answer_due = Some(key_sha256.to_owned());
        self.renewed_us = None;
    }

    fn take(&mut self, issued: &Issued, key_sha256: &str) {
        self.serial.clone_from(&issued.serial);
        self.sha256.clone_from(&issued.sha256);
        self.not_after_us = issued.not_after.0;
        key_sha256.clone_into(&mut self.key_sha256);
        self.seen = false;
    }

    /// Notes that the newest certificate has been seen; answers whether that is news.
    pub(crate) fn note_seen(&mut self) -> bool {
        let is_of_enrolment = self.answer_due.as_ref() == Some(&self.key_sha256);
        self.answer_due = self.answer_due.take().filter(|_| !is_of_enrolment);
        !std::mem::replace(&mut self.seen, true)
    }

    /// Whether the agent has enrolled for this key with this token, and no certificate for it was seen.
    pub(crate) fn is_answer_due(&self, token: &TokenId, key_sha256: &str) -> bool {
        self.token_id == *token && self.answer_due.as_deref() == Some(key_sha256)
    }

    /// Whether the agent speaks by its certificates alone: not before the first of them has been seen, and not when the last
    /// has ended, since the machine may have gone back to a token.
    pub(crate) fn speaks_by_certificate(&self, now: WallTime) -> bool {
        // Who renewed has spoken by the one before, whether or not this one has been seen yet.
        let has_spoken = self.seen || self.renewed_us.is_some() || self.key_sha256.is_empty();
        let has_newest = has_spoken && self.not_after_us > now.0;
        let has_previous = self.previous.as_ref().is_some_and(|before| before.not_after_us > now.0);
        has_newest || has_previous
    }

    /// Its newest certificate, as the one before another.
    fn newest(&self) -> PreviousCertificate {
        PreviousCertificate {
            serial: self.serial.clone(),
            sha256: self.sha256.clone(),
            not_after_us: self.not_after_us,
        }
    }

    /// When both of its certificates have ended.
    fn last_end(&self) -> WallTime {
        let before_us = self.previous.as_ref().map_or(0, |before| before.not_after_us);
        WallTime(self.not_after_us.max(before_us))
    }

    /// From when on nothing is lost if it is forgotten; `None` while it may speak.
    fn forgettable_at(&self, life: Duration, now: WallTime) -> Option<WallTime> {
        let has_expired = self.not_after_us <= now.0;
        let ended_us = self.revoked_us.or(has_expired.then_some(self.not_after_us))?;
        // A life may have been longer when a certificate was issued than it is now.
        Some(self.last_end().max(WallTime(ended_us.saturating_add(life.as_micros() as u64))))
    }

    /// What can be said of it in a word.
    pub fn state(&self, now: WallTime) -> &'static str {
        match self.revoked_us {
            Some(_) => "revoked",
            None if self.not_after_us <= now.0 => "expired",
            None => "valid",
        }
    }
}

impl AgentFile {
    /// Opens it for a change, and waits while another program has it.
    pub fn edit(data_dir: &Path) -> Result<Self, AgentFileError> {
        Ok(Self { edit: Edit::open(data_dir)?, data_dir: data_dir.to_owned() })
    }

    /// All agents, revoked ones included, in the order of their first enrolment.
    pub fn list(data_dir: &Path) -> Result<Vec<AgentRecord>, AgentFileError> {
        Ok(record_file::read::<Agents>(data_dir)?.agents)
    }

    /// The record of an agent.
    pub fn record(&self, name: &AgentName) -> Option<&AgentRecord> {
        self.edit.document.agents.iter().find(|record| record.id == name.agent && record.team == name.team)
    }

    /// Whether a record of this agent can be kept.
    pub(crate) fn check_room(&self, name: &AgentName) -> Result<(), AgentFileError> {
        let has_room = self.edit.document.agents.len() < AGENTS_MAX || self.record(name).is_some();
        if has_room { Ok(()) } else { Err(AgentFileError::Full) }
    }

    /// Keeps an agent that has enrolled, in the place of its record before.
    pub(crate) fn enrolled(&mut self, record: AgentRecord) -> Result<(), AgentFileError> {
        let agents = &mut self.edit.document.agents;
        let same = |known: &AgentRecord| known.id == record.id && known.team == record.team;
        match agents.iter().position(same) {
            Some(at) if agents[at].revoked_us.is_some() => return Err(AgentFileError::Revoked),
            Some(at) => agents[at] = record,
            None if agents.len() >= AGENTS_MAX => return Err(AgentFileError::Full),
            None => agents.push(record),
        }
        Ok(self.edit.save()?)
    }

    /// Changes a record; `change` says whether there is something to write.
    pub fn change(
        &mut self,
        name: &AgentName,
        change: impl FnOnce(&mut AgentRecord) -> bool,
    ) -> Result<AgentRecord, AgentFileError> {
        let mut agents = self.edit.document.agents.iter_mut();
        let record = agents.find(|record| record.id == name.agent && record.team == name.team);
        let record = record.ok_or(AgentFileError::Missing)?;
        let is_changed = change(record);
        let record = record.clone();
        if is_changed {
            self.edit.save()?;
        }
        Ok(record)
    }

    /// Notes that these certificates have been seen, where they are their agents' newest.
    pub(crate) fn note_seen(&mut self, seen: &[(AgentName, String)]) -> Result<(), AgentFileError> {
        // One agent may have been seen with several, each of them its newest at that time.
        let mut by_agent: HashMap<&AgentName, Vec<&String>> = HashMap::new();
        seen.iter().for_each(|(name, sha256)| by_agent.entry(name).or_default().push(sha256));
        let mut is_changed = false;
        for record in &mut self.edit.document.agents {
            // What an older collector kept goes by its serial number.
            let is_newest = |seen: &Vec<&String>| record.sha256.is_empty() || seen.contains(&&record.sha256);
            if by_agent.get(&record.name()).is_some_and(is_newest) {
                is_changed |= record.note_seen();
            }
        }
        if is_changed {
            self.edit.save()?;
        }
        Ok(())
    }

    /// Removes the record of an agent that ended longer ago than `life`, the life of a certificate, and has none that is valid.
    pub fn forget(
        &mut self,
        name: &AgentName,
        life: Duration,
        now: WallTime,
    ) -> Result<AgentRecord, AgentFileError> {
        let record = self.record(name).ok_or(AgentFileError::Missing)?;
        let forgettable_at = record.forgettable_at(life, now).ok_or(AgentFileError::Valid)?;
        if forgettable_at > now {
            return Err(AgentFileError::EndedLately { forgettable_at });
        }
        let record = record.clone();
        self.edit.document.agents.retain(|known| known.name() != record.name());
        self.edit.save()?;
        Ok(record)
    }

    /// All records as they are now in the file, and by what is seen that they are others. The file is still locked.
    pub(crate) fn known(&self) -> (KnownAgents, Option<Stamp>) {
        let agents = self.edit.document.agents.iter();
        let known = agents.map(|record| (record.name(), record.clone())).collect();
        (known, Stamp::of::<Agents>(&self.data_dir))
    }
}

/// When the last certificate of all agents ends.
pub(crate) fn last_end(data_dir: &Path) -> Result<WallTime, RecordFileError> {
    let agents = record_file::read::<Agents>(data_dir)?.agents;
    Ok(agents.iter().map(AgentRecord::last_end).max().unwrap_or(WallTime(0)))
}

/// What an agent says of itself, without what would disturb a table or a terminal.
pub(crate) fn plain(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    plain[..plain.floor_char_boundary(AGENT_TEXT_BYTES_MAX)].to_owned()
}
