//! What was seen, without any opinion on it.

use std::path::PathBuf;

use muster::clock::WallTime;

/// Everything that was looked at.
#[derive(Debug, Clone)]
pub struct Facts {
    /// When.
    pub now: WallTime,
    /// How the agent is installed.
    pub unit: Unit,
    /// The running agent, if any.
    pub running: Option<Running>,
    /// Version of this binary.
    pub own_version: String,
    /// The configuration.
    pub configuration: ConfigurationFacts,
    /// Projects; `None` when the configuration is not valid.
    pub projects: Option<ProjectFacts>,
    /// The system's limits; `None` where it has none of the kind.
    pub watches: Option<WatchFacts>,
    /// Files and folders.
    pub permissions: Vec<PermissionFacts>,
    /// The collector; `None` when none is configured.
    pub reached: Option<Reached>,
    /// Bytes in the spool's folder.
    pub spool_bytes: u64,
}

/// How the agent is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    /// Nothing can be said, and why.
    Unknown(String),
    /// Not as a service.
    NotInstalled,
    /// As a service.
    Installed {
        /// What of: `systemd user unit muster-agent.service`.
        kind: &'static str,
        /// What its manager says: `active`, `failed`.
        state: String,
        /// The command that starts it.
        start: &'static str,
        /// The command that shows why it does not run.
        look: &'static str,
    },
}

/// What the running agent says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// "" when it does not say: it has no page, or is older.
    pub version: String,
    /// Whether it answers on its page.
    pub has_page: bool,
    /// What the collector that welcomed it last said of itself; `None`: none has, or the agent does not say.
    pub collector: Option<CollectorFacts>,
    /// Whether its stream is open.
    pub is_connected: bool,
    /// Why not.
    pub last_error: String,
    /// Events that wait.
    pub events_queued: u64,
    /// How long the oldest has waited, in seconds.
    pub oldest_seconds: Option<u64>,
    /// Events that were dropped.
    pub events_dropped: u64,
    /// Why the spool takes nothing.
    pub spool_trouble: String,
    /// How it stands with the collector's configuration: a word, "" when it does not say.
    pub remote_state: String,
    /// The same in words.
    pub remote_words: String,
    /// What is wrong with it, "" when nothing is.
    pub remote_problem: String,
}

/// What a collector says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectorFacts {
    /// Its version, "" when it does not say.
    pub version: String,
    /// The version of the protocol that it speaks.
    pub protocol: u64,
}

/// The configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigurationFacts {
    /// The file; `None`: there is none, which is no fault.
    pub file: Option<PathBuf>,
    /// Why it is not valid.
    pub problem: Option<String>,
}

/// Projects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectFacts {
    /// How many paths are to be watched.
    pub watched: usize,
    /// Folder's name, and the tools in it.
    pub found: Vec<(String, Vec<&'static str>)>,
    /// Paths that are not there.
    pub missing: Vec<PathBuf>,
    /// Folders that cannot be read.
    pub unreadable: Vec<PathBuf>,
    /// Whether the search ended at a bound.
    pub is_cut_short: bool,
}

/// inotify's limits of this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchFacts {
    /// Most watches.
    pub watches_max: u64,
    /// Watches of this user's processes now, the agent's with them.
    pub watches_used: u64,
    /// Most instances.
    pub instances_max: u64,
    /// Instances of this user's processes now, the agent's with them.
    pub instances_used: u64,
    /// Watches that the agent needs, about.
    pub watches_needed: u64,
}

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionFacts {
    /// What it is: `state directory`.
    pub what: &'static str,
    /// What is wrong with it, with what to do; `None`: nothing.
    pub problem: Option<String>,
    /// Whether an agent works nevertheless.
    pub is_usable: bool,
}

/// How far towards the collector one gets.
#[derive(Debug, Clone)]
pub struct Reached {
    /// As configured.
    pub address: String,
    /// Why there is no connection; `None`: there is one.
    pub connect_problem: Option<String>,
    /// TLS.
    pub tls: Tls,
    /// What is shown.
    pub credential: Credential,
    /// What the collector says to it.
    pub answer: CredentialAnswer,
    /// How far our clock is before the collector's (negative: behind), in seconds.
    pub skew_seconds: Option<i64>,
}

/// TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Not spoken.
    Plaintext {
        /// Whether nothing leaves this machine.
        is_loopback: bool,
    },
    /// Not got to.
    NotTried,
    /// Spoken.
    Spoken {
        /// The collector's certificate, if it could be read.
        served: Option<Served>,
        /// Why it is not trusted; `None`: it is.
        problem: Option<String>,
    },
}

/// The collector's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Who issued it.
    pub issuer: String,
    /// From when.
    pub not_before: WallTime,
    /// Until when.
    pub not_after: WallTime,
}

/// What is shown to the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    None,
    /// A token.
    Token,
    /// The agent's certificate.
    Certificate {
        /// The team.
        team: String,
        /// What people call the agent.
        name: String,
        /// Until when.
        not_after: WallTime,
    },
    /// It cannot be used, and why.
    Unusable(String),
}

/// What the collector says to a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialAnswer {
    /// Not got to.
    NotTried,
    /// A stream may be opened.
    Accepted,
    /// It may not.
    Refused,
    /// Something else.
    Unclear(String),
}
