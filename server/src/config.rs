//! The collector's configuration: one TOML file, checked in one place.
//!
//! Flags win, then `MUSTER_*` variables (clap reads both into [`Overrides`]), then the file, then the defaults here.
//! [`keys`] finds unknown keys and says which known one is nearest; [`raw`] is what serde sees; [`Config`] is what the
//! rest of the program may see: every value in it has been checked. An invalid file touches nothing.

mod keys;
mod limits;
mod raw;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use limits::Limits;

/// Where agents connect unless told otherwise (the port of OTLP/gRPC, which is served there as well).
pub const GRPC_LISTEN_DEFAULT: &str = "127.0.0.1:4317";
/// Where pages are read unless told otherwise (the port of Prometheus exporters of OpenTelemetry).
pub const HTTP_LISTEN_DEFAULT: &str = "127.0.0.1:9464";
/// A configuration is a page of text; more is a mistake and is not read into memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

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
    /// Certificate and key; `None` is plaintext.
    pub tls: Option<TlsFiles>,
    /// The operator accepts plaintext and missing credentials on addresses that others can reach.
    pub insecure: bool,
    /// What is logged: a level or `tracing` directives.
    pub log: String,
    /// Bounds.
    pub limits: Limits,
    /// How the journal is kept.
    pub journal: JournalSettings,
    /// Sections that other parts of the program own, as they stand in the file.
    pub others: OtherSections,
}

/// PEM files of the collector's certificate.
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

/// Sections that the agent, the history and the forwarders read themselves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OtherSections {
    /// `[agent]`.
    pub agent: Option<toml::Value>,
    /// `[history]`.
    pub history: Option<toml::Value>,
    /// `[[destination]]`.
    pub destination: Option<toml::Value>,
}

impl Eq for OtherSections {}

/// What flags and variables say; `None` leaves the file's word.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// See [`Config::grpc_listen`].
    pub grpc_listen: Option<SocketAddr>,
    /// See [`Config::http_listen`].
    pub http_listen: Option<SocketAddr>,
    /// See [`Config::otlp_http_listen`].
    pub otlp_http_listen: Option<SocketAddr>,
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
    #[error("line {line}: unknown key `{key}`{}", keys::hint(nearest.as_deref()))]
    UnknownKey {
        /// Where it stands, from 1.
        line: usize,
        /// The key with its section.
        key: String,
        /// The known key that it is most like.
        nearest: Option<String>,
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
        let text = path.map(read_bounded).transpose()?.unwrap_or_default();
        Self::parse(&text, overrides)
    }

    /// Checks a file's text.
    pub fn parse(text: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        keys::check(text)?;
        let file: raw::File = toml::from_str(text).map_err(|e| ConfigError::Syntax(e.to_string()))?;
        let config = file.validate(overrides)?;
        config.refuse_open_doors()?;
        Ok(config)
    }

    /// Whether peers without a token may speak for the team `default`: on loopback, or when the operator said so.
    pub fn anonymous_allowed(&self) -> bool {
        self.insecure || self.grpc_listen.ip().is_loopback()
    }

    fn refuse_open_doors(&self) -> Result<(), ConfigError> {
        let doors = [
            ("server.grpc_listen", Some(self.grpc_listen)),
            ("server.http_listen", Some(self.http_listen)),
            ("server.otlp_http_listen", self.otlp_http_listen),
        ];
        for (setting, address) in doors {
            let Some(address) = address else { continue };
            if !address.ip().is_loopback() && self.tls.is_none() && !self.insecure {
                let problem = format!(
                    "{address} can be reached by other machines, and [server.tls] is not set: set cert_file and \
                     key_file, or accept plaintext with insecure = true (--insecure)"
                );
                return Err(ConfigError::Invalid { setting, problem });
            }
        }
        Ok(())
    }
}

/// The first of the usual places that has a file: XDG's, then the system's.
pub fn default_config_path(environment: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let home = environment("XDG_CONFIG_HOME").or_else(|| Some(environment("HOME")?.join(".config")));
    let places = [home.map(|h| h.join("muster/muster.toml")), Some(PathBuf::from("/etc/muster/muster.toml"))];
    places.into_iter().flatten().find(|path| path.is_file())
}

/// Where the collector keeps its data unless told otherwise: systemd's place, then XDG's.
pub(crate) fn default_data_dir(environment: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    if let Some(state) = environment("STATE_DIRECTORY") {
        return state;
    }
    let state = environment("XDG_STATE_HOME").or_else(|| Some(environment("HOME")?.join(".local/state")));
    state.unwrap_or_else(|| PathBuf::from("/var/lib")).join("muster/server")
}

/// A variable as a path; an empty one is as good as none.
pub fn environment(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn read_bounded(path: &Path) -> Result<String, ConfigError> {
    use io::Read;
    let io_error = |source| ConfigError::Io { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(io_error)?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(io_error)?;
    Ok(text)
}
