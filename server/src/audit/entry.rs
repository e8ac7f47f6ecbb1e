//! What a line says.
//!
//! `{"time", "what", "outcome", "by", "command", "uid", "address", "team", "agent", "token", "reason", ...}`: the first four
//! are always there, the others where they mean something, and what belongs to one kind alone comes last.

use std::net::IpAddr;

use muster::clock::WallTime;
use muster::credential::TokenId;
use muster::ids::{AgentId, Team};
use serde_json::{Map, Value};

/// Longest text of a detail, in characters: what a peer says of itself is cut.
const TEXT_CHARS_MAX: usize = 512;
/// Longest line; a longer one loses its details. One write of so much is whole or torn at the end, never mixed.
const LINE_BYTES_MAX: usize = 8 << 10;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// An agent became known and has a certificate.
    Enrolled,
    /// An agent has a new certificate.
    Renewed,
    /// An enrolment or a renewal was not granted.
    EnrolmentRefused,
    /// An agent may no longer speak.
    AgentRevoked,
    /// An agent has another name.
    AgentRenamed,
    /// The record of an agent that ended was removed.
    AgentForgotten,
    /// A token was made.
    TokenCreated,
    /// A token is no longer accepted.
    TokenRevoked,
    /// The collector's authority was made, brought along or replaced.
    AuthorityChanged,
    /// A credential was not accepted.
    CredentialRefused,
    /// A peer said to be somebody else than its credential says.
    IdentityRefused,
    /// A changed configuration is in use.
    ConfigurationApplied,
    /// A changed configuration is not valid, the old one stays.
    ConfigurationRefused,
    /// Agents are offered other configurations than before.
    RemoteConfigurationChanged,
    /// An agent does not take the configuration that it was offered.
    RemoteConfigurationRejected,
    /// Rows of the history go out.
    ExportBegun,
    /// All of them have, or the reader has gone, or it failed.
    ExportEnded,
    /// A page of the history was read.
    HistoryRead,
    /// Lines are missing before this one.
    LinesDropped,
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// The collector by itself.
    Collector,
    /// Somebody at the collector's own machine, with this command (`token create`).
    Command(&'static str),
    /// A peer at this address.
    Peer(IpAddr),
    /// Many peers, too many to name.
    Others,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    what: What,
    who: Who,
    is_refused: bool,
    team: Option<Team>,
    agent: Option<AgentId>,
    token: Option<TokenId>,
    details: Vec<(&'static str, Detail)>,
}

/// A value of a detail.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Detail {
    /// Words.
    Text(String),
    /// A number.
    Number(u64),
    /// Several words.
    List(Vec<String>),
}

impl What {
    /// The word in the line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Renewed => "renewed",
            Self::EnrolmentRefused => "enrolment_refused",
            Self::AgentRevoked => "agent_revoked",
            Self::AgentRenamed => "agent_renamed",
            Self::AgentForgotten => "agent_forgotten",
            Self::TokenCreated => "token_created",
            Self::TokenRevoked => "token_revoked",
            Self::AuthorityChanged => "authority_changed",
            Self::CredentialRefused => "credential_refused",
            Self::IdentityRefused => "identity_refused",
            Self::ConfigurationApplied => "configuration_applied",
            Self::ConfigurationRefused => "configuration_refused",
            Self::RemoteConfigurationChanged => "remote_configuration_changed",
            Self::RemoteConfigurationRejected => "remote_configuration_rejected",
            Self::ExportBegun => "export_begun",
            Self::ExportEnded => "export_ended",
            Self::HistoryRead => "history_read",
            Self::LinesDropped => "lines_dropped",
        }
    }

    /// Whether it says by itself that something was not done.
    fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::EnrolmentRefused
                | Self::CredentialRefused
                | Self::IdentityRefused
                | Self::ConfigurationRefused
                | Self::RemoteConfigurationRejected
        )
    }
}

impl Entry {
    /// Something that was done; a kind that is a refusal was refused.
    pub fn new(what: What, who: Who) -> Self {
        let is_refused = what.is_refusal();
        Self { what, who, is_refused, team: None, agent: None, token: None, details: Vec::new() }
    }

    /// Of this team.
    pub fn team(mut self, team: &Team) -> Self {
        self.team = Some(team.clone());
        self
    }

    /// By or about this agent.
    pub fn agent(mut self, agent: AgentId) -> Self {
        self.agent = Some(agent);
        self
    }

    /// With or about the token of this id.
    pub fn token(mut self, token: &TokenId) -> Self {
        self.token = Some(token.clone());
        self
    }

    /// It was not done, for this reason. Also gives a reason to a kind that is a refusal.
    pub fn refused(mut self, reason: impl Into<Detail>) -> Self {
        self.is_refused = true;
        self.with("reason", reason)
    }

    /// With something that belongs to its kind. Never a secret; long text is cut.
    pub fn with(mut self, name: &'static str, value: impl Into<Detail>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// What happened.
    pub(super) fn what(&self) -> What {
        self.what
    }

    /// Who did it and how it ended, without the rest.
    pub(super) fn of_who(&self) -> Self {
        Self { is_refused: self.is_refused, ..Self::new(self.what, self.who) }
    }

    /// The same for nobody in particular.
    pub(super) fn of_others(&self) -> Self {
        Self { is_refused: self.is_refused, ..Self::new(self.what, Who::Others) }
    }

    /// The line, with its end.
    pub(super) fn line(&self, at: WallTime) -> String {
        let mut line = self.json(at, true);
        if line.len() >= LINE_BYTES_MAX {
            line = self.json(at, false);
        }
        line.push('\n');
        line
    }

    fn json(&self, at: WallTime, is_whole: bool) -> String {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            fields.insert(name.to_owned(), value);
        };
        put("time", time(at).into());
        put("what", self.what.name().into());
        put("outcome", if self.is_refused { "refused" } else { "done" }.into());
        match self.who {
            Who::Collector => put("by", "collector".into()),
            Who::Others => put("by", "others".into()),
            Who::Peer(address) => {
                put("by", "peer".into());
                put("address", address.to_string().into());
            }
            Who::Command(command) => {
                put("by", "command".into());
                put("command", command.into());
                #[cfg(unix)]
                put("uid", rustix::process::getuid().as_raw().into());
            }
        }
        let mut put_some = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                put(name, value.into());
            }
        };
        put_some("team", self.team.as_ref().map(ToString::to_string));
        put_some("agent", self.agent.map(|agent| agent.to_string()));
        put_some("token", self.token.as_ref().map(ToString::to_string));
        for (name, detail) in self.details.iter().filter(|_| is_whole) {
            put(name, detail.value());
        }
        if !is_whole {
            put("cut", true.into());
        }
        Value::Object(fields).to_string()
    }
}

impl Detail {
    fn value(&self) -> Value {
        let cut = |text: &String| Value::from(text.chars().take(TEXT_CHARS_MAX).collect::<String>());
        match self {
            Self::Text(text) => cut(text),
            Self::Number(number) => (*number).into(),
            Self::List(texts) => texts.iter().map(cut).collect(),
        }
    }
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Detail {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Vec<String>> for Detail {
    fn from(texts: Vec<String>) -> Self {
        Self::List(texts)
    }
}

/// To the millisecond, in UTC.
fn time(at: WallTime) -> String {
    let timestamp = i64::try_from(at.0).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    timestamp.map_or_else(|| "?".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}
