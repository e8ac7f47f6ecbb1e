//! The collector's configuration: one TOML file, checked in one place.
//!
//! Flags win, then `MUSTER_*` variables (clap reads both into [`Overrides`]), then the file, then the defaults here.
//! [`keys`] finds unknown keys and says which known one is nearest; [`raw`] is what serde sees; [`Config`] is what the
//! rest of the program may see: every value in it has been checked. An invalid file touches nothing.

mod authority;
pub mod destination;
mod history;
mod http_clients;
mod keys;
mod limits;
mod own_door;
mod raw;
pub mod remote;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::settings::{self, UnknownKey};

pub use authority::AuthoritySettings;
use destination::Destination;
pub use history::{BucketSettings, HistorySettings, PlaceSettings, PlaceSettingsError};
pub use http_clients::{HTTP_CLIENTS_MAX, HttpClients};
pub use limits::{Fleet, Limits, Rates, TeamLimits};
pub(crate) use own_door::refuse_own_doors;
use remote::RemoteConfiguration;

use crate::authority::sha256_hex;

/// Where agents connect unless told otherwise (the port of OTLP/gRPC, which is served there as well).
pub const GRPC_LISTEN_DEFAULT: &str = "127.0.0.1:4317";
/// Where pages are read unless told otherwise (the port of Prometheus exporters of OpenTelemetry).
pub const HTTP_LISTEN_DEFAULT: &str = "127.0.0.1:9464";

/// Where OTLP/HTTP is taken unless told otherwise (its own port).
pub const OTLP_HTTP_LISTEN_DEFAULT: &str = "127.0.0.1:4318";

/// A checked configuration of the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where agents connect.
    pub grpc_listen: SocketAddr,
    /// Where pages are read.
    pub http_listen: SocketAddr,
    /// Where OTLP/HTTP is taken; `None` keeps it off.
    pub otlp_http_listen: Option<SocketAddr>,
    /// The collector's own folder: journal, tokens, snapshots.
    pub data_dir: PathBuf,
    /// Where the certificate comes from; `None` is plaintext.
    pub tls: Option<TlsSource>,
    /// Who issues the agents' certificates. Of no meaning without TLS.
    pub authority: AuthoritySettings,
    /// The operator accepts plaintext and missing credentials on addresses that others can reach.
    pub insecure: bool,
    /// Pages are shown to nobody without a credential, on loopback too.
    pub http_credentials_required: bool,
    /// Who reads pages with a certificate of another authority; `None`: nobody.
    pub http_clients: Option<HttpClients>,
    /// What is logged: a level or `tracing` directives.
    pub log: String,
    /// Bounds.
    pub limits: Limits,
    /// How the journal is kept.
    pub journal: JournalSettings,
    /// How the history is kept.
    pub history: HistorySettings,
    /// Where telemetry is forwarded to.
    pub destinations: Vec<Destination>,
    /// What is asked of agents that let it; the first entry that takes an agent is its configuration.
    pub remote_configuration: Vec<RemoteConfiguration>,
    /// Sections that other parts of the program own, as they stand in the file.
    pub others: OtherSections,
    /// SHA-256 of the file's text in hexadecimal digits, by which the audit log tells one file from another.
    pub file_sha256: String,
}

/// Where the collector's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsSource {
    /// From files.
    Files(TlsFiles),
    /// Its own authority issues it for these names and addresses.
    Names(Vec<String>),
}

/// PEM files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its chain.
    pub cert_file: PathBuf,
    /// Its private key; refused when others can read it.
    pub key_file: PathBuf,
}

/// How the journal is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSettings {
    /// Size of one segment in bytes.
    pub segment_bytes_max: u64,
    /// Oldest segments go when the journal is larger than this.
    pub retention_bytes_max: u64,
    /// Segments older than this go.
    pub retention_age_max: Duration,
    /// Disk kept aside so that a full disk can be told from a broken one and left again.
    pub reserve_bytes: u64,
    /// Longest a group may gather before its sync; 0 adapts to the disk.
    pub commit_interval: Duration,
    /// Acknowledge without syncing, to measure what the sync costs. Never in a file: a flag that help does not show.
    pub unsafe_no_sync: bool,
}

/// Sections that others read themselves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OtherSections {
    /// `[agent]`.
    pub agent: Option<toml::Value>,
}

impl Eq for OtherSections {}

/// What flags and variables say; `None` leaves the file's word.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// See [`Config::grpc_listen`].
    pub grpc_listen: Option<SocketAddr>,
    /// See [`Config::http_listen`].
    pub http_listen: Option<SocketAddr>,
    /// See [`Config::otlp_http_listen`]: an address, or `off`.
    pub otlp_http_listen: Option<String>,
    /// See [`Config::data_dir`].
    pub data_dir: Option<PathBuf>,
    /// See [`Config::insecure`]; `false` leaves the file's word.
    pub insecure: bool,
    /// See [`Config::log`].
    pub log: Option<String>,
    /// See [`JournalSettings::unsafe_no_sync`].
    pub unsafe_no_sync: bool,
}

/// Why a configuration is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read configuration {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not TOML, or a value of the wrong type. The text names line and column.
    #[error("configuration is not valid TOML: {0}")]
    Syntax(String),
    /// A key that nobody reads.
    #[error("{0}")]
    UnknownKey(UnknownKey),
    /// The section of the agent, as the agent says.
    #[error(transparent)]
    Agent(agent::config::ConfigError),
    /// A key of a destination, or what it says.
    #[error("destination {name:?}: {setting} {problem}")]
    Destination {
        /// The destination.
        name: String,
        /// The key.
        setting: &'static str,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// A key of an entry of `[[remote_configuration]]`, or what it says.
    #[error("remote_configuration {name:?}: {setting} {problem}")]
    RemoteConfiguration {
        /// The entry.
        name: String,
        /// The key.
        setting: &'static str,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// A value that cannot be used.
    #[error("{setting}: {problem}")]
    Invalid {
        /// The key with its section.
        setting: &'static str,
        /// What is wrong with it and what to do.
        problem: String,
    },
}

impl Config {
    /// The defaults with `data_dir`; nothing is read.
    pub fn with_data_dir(data_dir: impl Into<PathBuf>) -> Self {
        let overrides = Overrides { data_dir: Some(data_dir.into()), ..Default::default() };
        Self::parse("", &overrides).expect("the defaults are valid (tested)")
    }

    /// Reads and checks a file; `None` is an empty one.
    pub fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let read = |path: &Path| {
            settings::read_file(path).map_err(|source| ConfigError::Io { path: path.to_owned(), source })
        };
        let text = path.map(read).transpose()?.unwrap_or_default();
        Self::parse(&text, overrides)
    }

    /// Checks a file's text.
    pub fn parse(text: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        keys::check(text)?;
        let file: raw::File = toml::from_str(text).map_err(|e| ConfigError::Syntax(e.to_string()))?;
        let config = file.validate(overrides, sha256_hex(text.as_bytes()))?;
        config.refuse_open_doors()?;
        config.refuse_certificates_without_tls()?;
        refuse_own_doors(&config.destinations, &config.doors())?;
        Ok(config)
    }

    /// Whether peers without a token may speak for the team `default`: on loopback, or when the operator said so.
    pub fn anonymous_allowed(&self) -> bool {
        self.insecure || self.grpc_listen.ip().is_loopback()
    }

    /// As [`Config::anonymous_allowed`], for OTLP/HTTP.
    pub fn anonymous_otlp_http_allowed(&self) -> bool {
        self.insecure || self.otlp_http_listen.is_some_and(|address| address.ip().is_loopback())
    }

    /// Whether everybody may read all pages: on loopback, or when the operator said so, and nothing else was asked for.
    pub fn pages_are_open(&self) -> bool {
        !self.http_credentials_required && (self.insecure || self.http_listen.ip().is_loopback())
    }

    fn refuse_open_doors(&self) -> Result<(), ConfigError> {
        for (setting, address) in self.doors() {
            if !address.ip().is_loopback() && self.tls.is_none() && !self.insecure {
                let problem = format!(
                    "{address} can be reached by other machines, and [server.tls] is not set: set names, or cert_file \
                     and key_file, or accept plaintext with insecure = true (--insecure)"
                );
                return Err(ConfigError::Invalid { setting, problem });
            }
        }
        Ok(())
    }
}
