//! The agent's configuration: the section `[agent]` of one TOML file, checked in one place.
//!
//! Flags win, then `MUSTER_*` variables (clap reads both into [`Overrides`]), then the file, then the defaults here. What
//! [`AgentConfig`] holds has been checked. An invalid file touches nothing: a spool with a backlog stays as it is.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::credential::{Token, TokenError, TokenKind};
use muster::settings::{self, Environment, UnknownKey, first_unknown_key};
use serde::Deserialize;
use tonic::transport::Uri;

use crate::enrol::Store;
use crate::facts::{ContentField, Privacy};
use crate::remote_configuration::{self, Settings};
use crate::sources::json_lines::SourceConfig;
use crate::spool::{FullPolicy, SpoolConfig};
use crate::uplink::{ServerConfig, TokenSource};

mod labels;
mod local;
mod otlp;
mod source;

pub use local::LocalConfig;
pub use otlp::OtlpConfig;

/// Where the agent's own page is unless told otherwise.
pub const METRICS_LISTEN_DEFAULT: &str = "127.0.0.1:9465";
/// How often everything is looked at, whatever the notifications say.
pub const RESCAN_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);

/// A checked configuration of the agent.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// The collector; `None`: the one that the agent is enrolled with, and without an enrolment spool and local page alone.
    pub server: Option<ServerConfig>,
    /// Projects and folders of projects.
    pub watch: Vec<PathBuf>,
    /// Names given to projects by their folder.
    pub project_names: BTreeMap<PathBuf, String>,
    /// The spool and its bounds.
    pub spool: SpoolConfig,
    /// Where the local page is; `None` keeps it off.
    pub metrics_listen: Option<SocketAddr>,
    /// What content may leave the machine.
    pub privacy: Privacy,
    /// How often everything is looked at.
    pub rescan_interval: Duration,
    /// Whether processes and the machine are measured.
    pub host_samples: bool,
    /// Where OTLP is taken; `None`: nowhere.
    pub otlp: Option<OtlpConfig>,
    /// Files of JSON lines that are followed.
    pub sources: Vec<SourceConfig>,
    /// Whether the collector may ask for stricter privacy, sampling, intervals and fewer sources.
    pub remote_configuration: bool,
    /// What the collector chooses a configuration by.
    pub labels: BTreeMap<String, String>,
}

/// What flags and variables say; `None` and empty leave the file's word.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// See [`AgentConfig::server`].
    pub server: Option<String>,
    /// See [`AgentConfig::watch`].
    pub watch: Vec<PathBuf>,
    /// Where the agent keeps its identity and spool.
    pub state_dir: Option<PathBuf>,
    /// The file with the token.
    pub token_file: Option<PathBuf>,
    /// The token itself, from `MUSTER_TOKEN`.
    pub token: Option<String>,
    /// The CA's certificate.
    pub ca_file: Option<PathBuf>,
    /// See [`AgentConfig::metrics_listen`]; `off` keeps it off.
    pub metrics_listen: Option<String>,
    /// Plaintext to a server that is not on loopback is accepted.
    pub insecure: bool,
}

/// Why a configuration is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read configuration {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not TOML, or a value of the wrong type. The text names line and column.
    #[error("configuration is not valid: {0}")]
    Syntax(String),
    /// A key that nobody reads.
    #[error("{0}")]
    UnknownKey(UnknownKey),
    /// A value that cannot be used.
    #[error("{setting}: {problem}")]
    Invalid {
        /// The key with its section.
        setting: &'static str,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
}

const SECTIONS: [&str; 5] = ["server", "agent", "history", "destination", "remote_configuration"];
const AGENT: [&str; 17] = [
    "server",
    "watch",
    "state_dir",
    "token_file",
    "ca_file",
    "tls_name",
    "insecure",
    "metrics_listen",
    "rescan_interval_seconds",
    "host_samples",
    "privacy",
    "spool",
    "projects",
    "otlp",
    "source",
    "remote_configuration",
    "labels",
];
const PRIVACY: [&str; 1] = ["include"];
const SPOOL: [&str; 4] = ["bytes_max", "full_policy", "acked_bytes_max", "acked_hours_max"];

#[derive(Debug, Default, Deserialize)]
struct RawFile {
    #[serde(default)]
    agent: RawAgent,
}

#[derive(Debug, Default, Deserialize)]
struct RawAgent {
    server: Option<String>,
    #[serde(default)]
    watch: Vec<PathBuf>,
    state_dir: Option<PathBuf>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    tls_name: Option<String>,
    #[serde(default)]
    insecure: bool,
    metrics_listen: Option<String>,
    rescan_interval_seconds: Option<u64>,
    host_samples: Option<bool>,
    #[serde(default)]
    privacy: RawPrivacy,
    #[serde(default)]
    spool: RawSpool,
    #[serde(default)]
    otlp: otlp::RawOtlp,
    #[serde(default)]
    source: Vec<source::RawSource>,
    /// `"/path" = "name"`.
    #[serde(default)]
    projects: BTreeMap<PathBuf, String>,
    #[serde(default)]
    remote_configuration: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
struct RawPrivacy {
    #[serde(default)]
    include: Vec<ContentField>,
}

#[derive(Debug, Default, Deserialize)]
struct RawSpool {
    bytes_max: Option<u64>,
    full_policy: Option<FullPolicy>,
    acked_bytes_max: Option<u64>,
    acked_hours_max: Option<u64>,
}

impl AgentConfig {
    /// Reads and checks a file; `None` is an empty one. `environment` looks variables up.
    pub fn load(
        path: Option<&Path>,
        overrides: Overrides,
        environment: Environment<'_>,
    ) -> Result<Self, ConfigError> {
        let read = |path: &Path| {
            settings::read_file(path).map_err(|source| ConfigError::Io { path: path.to_owned(), source })
        };
        let text = path.map(read).transpose()?.unwrap_or_default();
        Self::parse(&text, overrides, environment)
    }

    /// Checks a file's text.
    pub fn parse(
        text: &str,
        overrides: Overrides,
        environment: Environment<'_>,
    ) -> Result<Self, ConfigError> {
        for (section, known) in [
            (&[][..], &SECTIONS[..]),
            (&["agent"], &AGENT),
            (&["agent", "privacy"], &PRIVACY),
            (&["agent", "spool"], &SPOOL),
            (&["agent", "otlp"], &otlp::KEYS),
            (&["agent", "source"], &source::KEYS),
            (&["agent", "source", "time"], &source::TIME_KEYS),
        ] {
            if let Some(unknown) = first_unknown_key(text, section, known) {
                return Err(ConfigError::UnknownKey(unknown));
            }
        }
        let file: RawFile = toml::from_str(text).map_err(|e| ConfigError::Syntax(e.to_string()))?;
        file.agent.validate(overrides, environment)
    }
}

impl AgentConfig {
    /// What an agent does by this file alone.
    pub fn own_settings(&self) -> Settings {
        Settings::own(self.privacy.clone(), self.rescan_interval)
    }

    /// What an agent that starts now does: the file's word, less what its collector asked for last.
    pub fn settings_at_rest(&self) -> Settings {
        match self.remote_configuration {
            true => remote_configuration::at_rest(self.own_settings(), &self.spool.state_dir),
            false => self.own_settings(),
        }
    }
}

impl RawAgent {
    fn validate(
        self,
        overrides: Overrides,
        environment: Environment<'_>,
    ) -> Result<AgentConfig, ConfigError> {
        let state_dir = overrides
            .state_dir
            .clone()
            .or(self.state_dir.clone())
            .unwrap_or_else(|| settings::default_state_dir(environment, "agent"));
        let metrics_listen = overrides.metrics_listen.clone().or(self.metrics_listen.clone());
        let rescan_interval = match self.rescan_interval_seconds {
            None => RESCAN_INTERVAL_DEFAULT,
            Some(seconds @ 5..=3600) => Duration::from_secs(seconds),
            Some(seconds) => {
                return invalid("agent.rescan_interval_seconds", format!("{seconds} is not 5 to 3600"));
            }
        };
        let mut watch = if overrides.watch.is_empty() { self.watch.clone() } else { overrides.watch.clone() };
        // Loki Mode's guide: the state folder that its own tools look at.
        watch.extend(environment("LOKI_DIR").filter(|dir| !watch.contains(dir)));
        Ok(AgentConfig {
            server: self.server_config(&overrides, &state_dir)?,
            watch,
            spool: self.spool.validate(state_dir)?,
            metrics_listen: listen_address(metrics_listen.as_deref().unwrap_or(METRICS_LISTEN_DEFAULT))?,
            privacy: Privacy::including(self.privacy.include),
            rescan_interval,
            host_samples: self.host_samples.unwrap_or(true),
            project_names: self.projects,
            otlp: self.otlp.validate()?,
            sources: source::validate(self.source)?,
            remote_configuration: self.remote_configuration,
            labels: labels::validate(self.labels)?,
        })
    }

    fn server_config(
        &self,
        overrides: &Overrides,
        state_dir: &Path,
    ) -> Result<Option<ServerConfig>, ConfigError> {
        let Some(address) = overrides.server.clone().or(self.server.clone()).filter(|a| !a.is_empty()) else {
            return Ok(None);
        };
        let address = parse_server(&address)?;
        let ca_file = overrides.ca_file.clone().or(self.ca_file.clone());
        let token = match (&overrides.token, overrides.token_file.clone().or(self.token_file.clone())) {
            (_, Some(path)) => {
                // Read once now, so that a loose or damaged file is told at the start and not in a log line later.
                Token::from_file(&path)?.must_be(TokenKind::Access)?;
                TokenSource::File(path)
            }
            (Some(text), None) => TokenSource::Given(Token::parse(text)?.must_be(TokenKind::Access)?),
            (None, None) => TokenSource::None,
        };
        let insecure = self.insecure || overrides.insecure;
        if address.scheme_str() == Some("http") && !is_loopback(&address) && !insecure {
            let problem = format!(
                "{address} would carry credentials and telemetry in plaintext to another machine: use https://, or accept \
                 it with insecure = true (--insecure)"
            );
            return invalid("agent.server", problem);
        }
        let enrolment = Store::new(state_dir);
        Ok(Some(ServerConfig { address, token, ca_file, tls_name: self.tls_name.clone(), enrolment }))
    }
}

impl RawSpool {
    fn validate(&self, state_dir: PathBuf) -> Result<SpoolConfig, ConfigError> {
        let defaults = SpoolConfig::new(state_dir);
        let bytes_max = self.bytes_max.unwrap_or(defaults.bytes_max);
        if bytes_max < SPOOL_BYTES_MIN {
            return invalid("agent.spool.bytes_max", format!("{bytes_max} is less than {SPOOL_BYTES_MIN}"));
        }
        Ok(SpoolConfig {
            bytes_max,
            full_policy: self.full_policy.unwrap_or_default(),
            acked_bytes_max: self.acked_bytes_max.unwrap_or(defaults.acked_bytes_max),
            acked_age_max: self
                .acked_hours_max
                .map_or(defaults.acked_age_max, |hours| Duration::from_secs(hours.saturating_mul(3600))),
            ..defaults
        })
    }
}

/// Two segments: with less, nothing could ever be dropped without dropping all.
const SPOOL_BYTES_MIN: u64 = 32 << 20;

fn parse_server(address: &str) -> Result<Uri, ConfigError> {
    let with_scheme = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let uri: Option<Uri> = with_scheme.parse().ok();
    match uri {
        Some(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.port_u16().is_some() => {
            Ok(uri)
        }
        _ => invalid("agent.server", format!("{address:?} is not http://HOST:PORT or https://HOST:PORT")),
    }
}

pub(crate) fn is_loopback(address: &Uri) -> bool {
    let host = address.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn listen_address(text: &str) -> Result<Option<SocketAddr>, ConfigError> {
    if text == "off" {
        return Ok(None);
    }
    let Ok(address) = text.parse::<SocketAddr>() else {
        return invalid("agent.metrics_listen", format!("{text:?} is not ADDRESS:PORT or off"));
    };
    if !address.ip().is_loopback() {
        let problem =
            format!("{address} can be reached by other machines; the agent's page is for this machine alone");
        return invalid("agent.metrics_listen", problem);
    }
    Ok(Some(address))
}

fn invalid<T>(setting: &'static str, problem: String) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid { setting, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AgentConfig, ConfigError> {
        AgentConfig::parse(text, Overrides::default(), &|name| {
            (name == "HOME").then(|| PathBuf::from("/home/dana"))
        })
    }

    #[test]
    fn an_empty_file_is_an_agent_without_a_server() {
        let config = parse("").expect("defaults");
        assert!(config.server.is_none());
        assert_eq!(config.spool.state_dir, Path::new("/home/dana/.local/state/muster/agent"));
        assert_eq!(config.metrics_listen, METRICS_LISTEN_DEFAULT.parse().ok());
    }

    #[test]
    fn wrong_values_say_which_setting_and_what_to_do() {
        for (text, words) in [
            ("[agent]\nserver = \"http://collector.example:4317\"", "plaintext"),
            ("[agent]\nserver = \"collector\"", "HOST:PORT"),
            ("[agent]\nmetrics_listen = \"0.0.0.0:9465\"", "other machines"),
            ("[agent]\nwacth = []", "did you mean `watch`"),
            ("[agent.privacy]\ninclude = [\"everything\"]", "everything"),
            ("[agnet]\n", "did you mean `agent`"),
            ("[agent]\nrescan_interval_seconds = 0", "5 to 3600"),
            ("[agent.spool]\nbytes_max = 1", "less than"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn an_enrolment_token_in_the_place_of_a_token_is_refused_with_what_to_do_with_it() {
        use muster::atomic_file::{Access, replace};
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("token");
        for (kind, is_taken) in [(TokenKind::Enrolment, false), (TokenKind::Access, true)] {
            let token = Token::of_kind(kind, [3; 44]);
            replace(&path, token.expose().as_bytes(), Access::Owner).expect("written");
            let server = Some("https://collector.example:4317".to_owned());
            let of_file = Overrides { server, token_file: Some(path.clone()), ..Default::default() };
            let of_variable =
                Overrides { token_file: None, token: Some(token.expose().to_owned()), ..of_file.clone() };
            for overrides in [of_file, of_variable] {
                match AgentConfig::parse("", overrides, &|_| None) {
                    Ok(_) => assert!(is_taken, "{kind:?}"),
                    Err(error) => {
                        let words = error.to_string();
                        assert!(!is_taken && words.contains("muster agent enroll"), "{kind:?}: {words}");
                        assert!(!words.contains(token.expose()), "{words}");
                    }
                }
            }
        }
    }

    #[test]
    fn loki_modes_own_variable_names_a_folder_to_watch() {
        let loki_dir = |name: &str| (name == "LOKI_DIR").then(|| PathBuf::from("/repo/.loki"));
        let config = AgentConfig::parse("", Overrides::default(), &loki_dir).expect("valid");
        assert_eq!(config.watch, [PathBuf::from("/repo/.loki")]);
    }

    #[test]
    fn flags_win_over_the_file() {
        let overrides = Overrides {
            server: Some("127.0.0.1:4999".into()),
            state_dir: Some("/tmp/x".into()),
            metrics_listen: Some("off".into()),
            ..Default::default()
        };
        let config = AgentConfig::parse("[agent]\nserver = \"http://127.0.0.1:1\"", overrides, &|_| None)
            .expect("valid");
        assert_eq!(config.server.expect("server").address.port_u16(), Some(4999));
        assert_eq!(config.metrics_listen, None);
    }
}
