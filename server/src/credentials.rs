//! Who may speak, and for which team: by a token in the request, or else by the connection's certificate.
//!
//! Tokens live in `<data_dir>/tokens.json` ([`mod@file`]), as the SHA-256 of their 256-bit secrets. `muster token` edits the
//! file while the collector runs; the collector looks at it every second and tells open streams, so that a revoked
//! token ends its streams within 5 s (reliability.md D1). A file that cannot be read any more leaves the old tokens.
//!
//! | role | sends | reads | enrols |
//! |---|---|---|---|
//! | team | for its team | its team | no |
//! | agent | for its team | nothing | no |
//! | operator | nothing | all teams and the collector's own figures | no |
//! | enrolment | nothing | nothing | agents of its team, as often as it has uses left |
//!
//! A reader by certificate is as a team's token or an operator's at the pages, and nobody elsewhere ([`reading`]). An agent's
//! certificate has the role *agent*, and is good for as long as its record says ([`crate::agents`], [`certificates`]). A token
//! in the request goes before the connection's certificate. Neither is needed on loopback; one that is shown must be right.
//!
//! A peer is never told why its credential was refused. Refusals are limited by address and token id ([`guesses`]).

mod certificates;
mod file;
mod guesses;
mod presented;
mod reading;
mod refusals;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use muster::clock::{Clock, SystemClock, WallTime};
use muster::credential::{Token, TokenHash, TokenId};
use muster::ids::{AgentId, Team};
use parking_lot::Mutex;
use tokio::sync::watch;

pub use file::{
    Claim, Enrol, NewToken, Role, TOKEN_NAME_BYTES_MAX, TOKENS_MAX, TokenFile, TokenFileError, TokenRecord,
};

use crate::agents::{AgentFile, Agents, KnownAgents};
use crate::audit::AuditLog;
use crate::authority::AgentName;
use crate::figures::{CredentialRefusal, Figures, Reload};
use crate::readers::Readers;
use crate::record_file::{self, RecordFileError, Stamp};
pub(crate) use certificates::CertificateRefused;
use certificates::Used;
use file::Tokens;
pub(crate) use file::Use;
pub use presented::Presented;
pub(crate) use presented::is_bearer_of_ours;
use presented::strip_bearer;
pub use reading::{ReaderRefused, Reading, ReadingBy, Sight};
use refusals::{About, Refusals};

/// How often the token file is looked at.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The tokens that are valid now, and the rules for peers without one.
#[derive(Debug)]
pub struct Credentials {
    data_dir: PathBuf,
    stamps: Mutex<Stamps>,
    tokens: ArcSwap<HashMap<TokenId, Known>>,
    agents: ArcSwap<KnownAgents>,
    used: Used,
    /// Unset without TLS at the pages.
    readers: OnceLock<Arc<Readers>>,
    /// When the next of them ends by itself; the streams that it opened are told then.
    next_end_us: AtomicU64,
    anonymous_allowed: bool,
    refusals: Refusals,
    figures: Arc<Figures>,
    clock: Arc<dyn Clock>,
    changed: watch::Sender<u64>,
}

/// By what is seen that the files of tokens and of agents are others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamps {
    tokens: Option<Stamp>,
    agents: Option<Stamp>,
}

/// What the collector knows of a token.
#[derive(Debug, Clone)]
struct Known {
    scope: Scope,
    hash: TokenHash,
    is_revoked: bool,
    expires_us: u64,
}

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Sends for this team, and reads its data.
    Team(Team),
    /// Sends for this team, and reads nothing.
    Agent(Team),
    /// Reads everything, sends nothing.
    Operator,
    /// Is exchanged for certificates of this team's agents.
    Enrolment(Team),
}

/// Who a peer is, by its credential alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its team.
    pub team: Team,
    /// Its token; `None` with a certificate, and on loopback without either.
    pub token: Option<TokenId>,
    /// Which agent it is; `None` if its credential does not say.
    pub agent: Option<AgentId>,
}

/// The one answer to every credential that is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("credential not accepted")]
pub struct NotAccepted;

impl Credentials {
    /// Reads the token file of `data_dir`; none is no tokens.
    pub fn open(
        data_dir: &Path,
        anonymous_allowed: bool,
        figures: Arc<Figures>,
    ) -> Result<Arc<Self>, TokenFileError> {
        Self::with_clock(data_dir, anonymous_allowed, figures, Arc::new(SystemClock::new()))
    }

    /// As [`Credentials::open`], with the clock that says what has ended.
    pub fn with_clock(
        data_dir: &Path,
        anonymous_allowed: bool,
        figures: Arc<Figures>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, TokenFileError> {
        let stamps = Stamps::of(data_dir);
        let (tokens, agents) = (record_file::read(data_dir)?, record_file::read(data_dir)?);
        let credentials = Self {
            data_dir: data_dir.to_owned(),
            stamps: Mutex::new(stamps),
            tokens: ArcSwap::default(),
            agents: ArcSwap::default(),
            used: Used::default(),
            readers: OnceLock::new(),
            next_end_us: AtomicU64::new(u64::MAX),
            anonymous_allowed,
            refusals: Refusals::new(figures.clone()),
            figures,
            clock,
            changed: watch::Sender::new(0),
        };
        credentials.tokens.store(Arc::new(known_tokens(tokens)));
        credentials.agents.store(Arc::new(Agents::into_known(agents)));
        credentials.note_next_end();
        Ok(Arc::new(credentials))
    }

    /// Tells refusals to the audit log from now on.
    pub(crate) fn tell(&self, audit: Arc<AuditLog>) {
        self.refusals.tell(audit);
    }

    /// The audit log, once it is known.
    pub(crate) fn audit(&self) -> Option<&AuditLog> {
        self.refusals.audit()
    }

    /// Who the peer sends for.
    pub fn authenticate(&self, shown: Presented<'_>) -> Result<Caller, NotAccepted> {
        self.authenticate_at(shown, self.anonymous_allowed)
    }

    /// As [`Credentials::authenticate`], at a listener with its own rule for peers that show nothing.
    pub fn authenticate_at(
        &self,
        shown: Presented<'_>,
        anonymous_allowed: bool,
    ) -> Result<Caller, NotAccepted> {
        if let Some(header) = shown.header {
            return match self.identify(shown.ip, header)? {
                (Scope::Team(team) | Scope::Agent(team), token) => {
                    Ok(Caller { team, token: Some(token), agent: None })
                }
                (Scope::Operator, token) => {
                    Err(self.refusals.refuse(shown.ip, CredentialRefusal::Operator, About::Token(&token)))
                }
                (Scope::Enrolment(_), token) => {
                    Err(self.refusals.refuse(shown.ip, CredentialRefusal::Role, About::Token(&token)))
                }
            };
        }
        match shown.certificate {
            Some(certificate) => {
                let AgentName { team, agent } = self.identify_certificate(shown.ip, certificate)?;
                Ok(Caller { team, token: None, agent: Some(agent) })
            }
            None if anonymous_allowed => Ok(Caller { team: Team::default_team(), token: None, agent: None }),
            None => Err(self.missing(shown.ip)),
        }
    }

    fn missing(&self, ip: IpAddr) -> NotAccepted {
        self.refusals.refuse(ip, CredentialRefusal::Missing, About::Nobody)
    }

    /// Whose agent the peer may enrol, and with which token.
    pub(crate) fn authenticate_enrolment(
        &self,
        shown: Presented<'_>,
    ) -> Result<(Team, TokenId), NotAccepted> {
        let Some(header) = shown.header else { return Err(self.missing(shown.ip)) };
        match self.identify(shown.ip, header)? {
            (Scope::Enrolment(team), token) => Ok((team, token)),
            (_, token) => Err(self.refusals.refuse(shown.ip, CredentialRefusal::Role, About::Token(&token))),
        }
    }

    fn identify(&self, ip: IpAddr, header: &[u8]) -> Result<(Scope, TokenId), NotAccepted> {
        let text = std::str::from_utf8(header).ok().and_then(strip_bearer);
        let Some(token) = text.and_then(|text| Token::parse(text).ok()) else {
            return Err(self.refusals.refuse(ip, CredentialRefusal::Malformed, About::Nobody));
        };
        if self.refusals.is_limited(ip, token.id()) {
            return Err(self.refusals.refuse(ip, CredentialRefusal::Limited, About::Token(token.id())));
        }
        if !self.tokens.load().contains_key(token.id()) {
            // It may have been made just now.
            self.look();
        }
        let tokens = self.tokens.load();
        let Some(known) = tokens.get(token.id()).filter(|known| known.hash.matches(&token)) else {
            return Err(self.refusals.refuse_guess(ip, CredentialRefusal::Unknown, token.id()));
        };
        match known.ended(self.clock.wall()) {
            None => Ok((known.scope.clone(), token.id().clone())),
            Some(why) => Err(self.refusals.refuse_guess(ip, why, token.id())),
        }
    }

    /// Whether a caller that was accepted still is. A stream outlives the certificate that it began with if the agent has
    /// a newer one.
    pub fn is_valid(&self, caller: &Caller) -> bool {
        let now = self.clock.wall();
        if let Some(id) = &caller.token {
            let tokens = self.tokens.load();
            return tokens.get(id).is_some_and(|known| {
                known.ended(now).is_none() && known.scope.sends_for() == Some(&caller.team)
            });
        }
        let Some(agent) = caller.agent else { return self.anonymous_allowed };
        let agents = self.agents.load();
        let record = agents.get(&AgentName { team: caller.team.clone(), agent });
        record.is_some_and(|record| record.revoked_us.is_none() && record.not_after_us > now.0)
    }

    /// Wakes when tokens, agents or readers have changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn tell_changed(&self) {
        self.changed.send_modify(|generation| *generation += 1);
    }

    /// Looks at the files of tokens, agents and readers' authorities every [`POLL_INTERVAL`], and writes down which
    /// certificates were seen, for ever.
    pub async fn follow(self: Arc<Self>) {
        // A disk that takes its time with the one must not keep a revocation from being seen by the other.
        tokio::join!(self.clone().follow_files(), self.follow_seen());
    }

    async fn follow_seen(self: Arc<Self>) {
        let mut timer = tokio::time::interval(POLL_INTERVAL);
        let mut is_failing = false;
        loop {
            timer.tick().await;
            let this = self.clone();
            let kept = tokio::task::spawn_blocking(move || this.keep_seen()).await;
            let failed = match kept {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(panic) => Some(panic.to_string()),
            };
            if let Some(error) = failed.as_ref().filter(|_| !is_failing) {
                tracing::warn!(%error, "cannot write down which certificates were seen; tried again every second");
            }
            is_failing = failed.is_some();
        }
    }

    async fn follow_files(self: Arc<Self>) {
        let mut timer = tokio::time::interval(POLL_INTERVAL);
        loop {
            timer.tick().await;
            self.refusals.forget_old();
            let this = self.clone();
            let look = move || {
                this.look();
                this.look_at_readers();
            };
            if tokio::task::spawn_blocking(look).await.is_err() {
                tracing::error!("looking at the files of tokens, agents and readers' authorities panicked");
            }
        }
    }

    /// Takes over the agents as they stand in a file that the caller has open for a change. A revocation that was written
    /// since the last look is in there, too, and a certificate may have ended: both are told here, for the next look finds
    /// nothing new.
    pub(crate) fn know_agents(&self, file: &AgentFile) {
        let (agents, stamp) = file.known();
        let mut stamps = self.stamps.lock();
        let before = self.agents.load_full();
        let was_valid = |name: &AgentName| before.get(name).is_some_and(|known| known.revoked_us.is_none());
        let has_revoked = agents.values().any(|now| now.revoked_us.is_some() && was_valid(&now.name()));
        self.agents.store(Arc::new(agents));
        stamps.agents = stamp;
        drop(stamps);
        let has_ended = self.clock.wall().0 >= self.next_end_us.load(Ordering::Relaxed);
        self.note_next_end();
        if has_revoked || has_ended {
            self.tell_changed();
        }
    }

    fn look(&self) {
        let mut stamps = self.stamps.lock();
        let now = Stamps::of(&self.data_dir);
        let before = std::mem::replace(&mut *stamps, now);
        let mut has_changed = self.clock.wall().0 >= self.next_end_us.load(Ordering::Relaxed);
        if now.tokens != before.tokens {
            let read = record_file::read(&self.data_dir).map(|document| {
                self.tokens.store(Arc::new(known_tokens(document)));
            });
            if matches!(read, Err(RecordFileError::Io { .. })) {
                // Looked at again: a shortage of descriptors must not hide a revocation.
                stamps.tokens = before.tokens;
            }
            has_changed |= self.note_read(read, Reload::TokensApplied, Reload::TokensRefused);
        }
        if now.agents != before.agents {
            let read = record_file::read(&self.data_dir).map(|document| {
                self.agents.store(Arc::new(Agents::into_known(document)));
            });
            if matches!(read, Err(RecordFileError::Io { .. })) {
                stamps.agents = before.agents;
            }
            has_changed |= self.note_read(read, Reload::AgentsApplied, Reload::AgentsRefused);
        }
        drop(stamps);
        if has_changed {
            self.note_next_end();
            self.tell_changed();
        }
    }

    fn note_read(&self, read: Result<(), RecordFileError>, applied: Reload, refused: Reload) -> bool {
        self.figures.reloads.add(if read.is_ok() { applied } else { refused }, 1);
        if let Err(error) = &read {
            tracing::warn!(%error, "what was read before stays in use");
        }
        read.is_ok()
    }

    /// When the next credential ends by itself, so that the streams that it opened are told.
    fn note_next_end(&self) {
        let (tokens, agents) = (self.tokens.load(), self.agents.load());
        let tokens = tokens.values().filter(|known| !known.is_revoked).map(|known| known.expires_us);
        let agents = agents.values().filter(|record| record.revoked_us.is_none());
        let ends = tokens.chain(agents.map(|record| record.not_after_us));
        let now = self.clock.wall();
        let next = ends.filter(|end_us| *end_us > now.0).min().unwrap_or(u64::MAX);
        self.next_end_us.store(next, Ordering::Relaxed);
    }
}

impl Scope {
    /// The team that it is of.
    pub fn team(&self) -> Option<&Team> {
        match self {
            Scope::Team(team) | Scope::Agent(team) | Scope::Enrolment(team) => Some(team),
            Scope::Operator => None,
        }
    }

    /// The team that it sends for.
    fn sends_for(&self) -> Option<&Team> {
        match self {
            Scope::Team(team) | Scope::Agent(team) => Some(team),
            Scope::Operator | Scope::Enrolment(_) => None,
        }
    }
}

impl Known {
    fn of(record: TokenRecord) -> (TokenId, Self) {
        let known = Known {
            scope: record.scope(),
            is_revoked: record.revoked_us.is_some(),
            expires_us: record.expires_us.unwrap_or(u64::MAX),
            hash: record.sha256,
        };
        (record.id, known)
    }

    fn ended(&self, now: WallTime) -> Option<CredentialRefusal> {
        if self.is_revoked {
            return Some(CredentialRefusal::Revoked);
        }
        (self.expires_us <= now.0).then_some(CredentialRefusal::Expired)
    }
}

impl Stamps {
    fn of(data_dir: &Path) -> Self {
        Self { tokens: Stamp::of::<Tokens>(data_dir), agents: Stamp::of::<Agents>(data_dir) }
    }
}

fn known_tokens(document: Tokens) -> HashMap<TokenId, Known> {
    document.tokens.into_iter().map(Known::of).collect()
}
