//! The file as serde sees it, and the one place where it becomes a [`Config`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use muster::settings;

use super::authority::{RawAuthority, RawTls};
use super::destination;
use super::history::RawHistory;
use super::http_clients::{self, RawHttpClient};
use super::limits::RawLimits;
use super::remote::{self, RawRemoteConfiguration};
use super::{
    Config, ConfigError, GRPC_LISTEN_DEFAULT, HTTP_LISTEN_DEFAULT, JournalSettings, OTLP_HTTP_LISTEN_DEFAULT,
    OtherSections, Overrides,
};

/// One segment: large enough that rotation is rare, small enough that retention is fine-grained.
const SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;
/// A month of a busy team, and well within a developer's disk.
const RETENTION_BYTES_DEFAULT: u64 = 8 << 30;
/// Agents keep what was acked for 24 h; a week leaves time for destinations that are down.
const RETENTION_HOURS_DEFAULT: u64 = 7 * 24;
/// Enough for the marks and snapshots that must still be written on a full disk.
const RESERVE_BYTES_DEFAULT: u64 = 8 << 20;
/// What an operator wants to read; the SDK tells its own life at this level.
const LOG_DEFAULT: &str = "info,opentelemetry=warn,opentelemetry_sdk=warn";
/// A segment must hold several of the largest batches.
const SEGMENT_BYTES_RANGE: std::ops::RangeInclusive<u64> = 16 << 20..=4 << 30;
/// An ack that gathers longer than this looks like a hang.
const COMMIT_INTERVAL_US_MAX: u64 = 1_000_000;

#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct File {
    #[serde(default)]
    server: Server,
    agent: Option<toml::Value>,
    #[serde(default)]
    history: RawHistory,
    destination: Option<toml::Value>,
    #[serde(default)]
    remote_configuration: Vec<RawRemoteConfiguration>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Server {
    grpc_listen: Option<SocketAddr>,
    http_listen: Option<SocketAddr>,
    otlp_http_listen: Option<String>,
    data_dir: Option<PathBuf>,
    insecure: bool,
    http_credentials: Option<String>,
    http_client_ca_file: Option<PathBuf>,
    http_client: Vec<RawHttpClient>,
    log: Option<String>,
    tls: Option<RawTls>,
    authority: RawAuthority,
    limits: RawLimits,
    journal: Journal,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Journal {
    segment_bytes_max: Option<u64>,
    retention_bytes_max: Option<u64>,
    retention_hours: Option<u64>,
    reserve_bytes: Option<u64>,
    commit_interval_us: Option<u64>,
}

impl File {
    pub(super) fn validate(self, overrides: &Overrides, file_sha256: String) -> Result<Config, ConfigError> {
        let server = self.server;
        let over = overrides.clone();
        let data_dir = over
            .data_dir
            .or(server.data_dir)
            .unwrap_or_else(|| settings::default_state_dir(&settings::process_environment, "server"));
        let default_address = |text: &str| text.parse().expect("the default addresses are valid (tested)");
        Ok(Config {
            grpc_listen: over
                .grpc_listen
                .or(server.grpc_listen)
                .unwrap_or_else(|| default_address(GRPC_LISTEN_DEFAULT)),
            http_listen: over
                .http_listen
                .or(server.http_listen)
                .unwrap_or_else(|| default_address(HTTP_LISTEN_DEFAULT)),
            otlp_http_listen: address_or_off(over.otlp_http_listen.or(server.otlp_http_listen))?,
            tls: server.tls.map(RawTls::validate).transpose()?,
            authority: server.authority.validate()?,
            insecure: over.insecure || server.insecure,
            http_credentials_required: is_required(server.http_credentials.as_deref())?,
            http_clients: http_clients::validate(server.http_client_ca_file, server.http_client)?,
            log: log_directives(over.log.or(server.log).unwrap_or_else(|| LOG_DEFAULT.to_owned()))?,
            limits: server.limits.validate()?,
            journal: JournalSettings { unsafe_no_sync: over.unsafe_no_sync, ..server.journal.validate()? },
            history: self.history.validate(&data_dir)?,
            data_dir,
            destinations: destination::validate(self.destination.as_ref())?,
            remote_configuration: remote::validate(self.remote_configuration)?,
            others: OtherSections { agent: self.agent },
            file_sha256,
        })
    }
}

fn address_or_off(text: Option<String>) -> Result<Option<SocketAddr>, ConfigError> {
    let text = text.as_deref().unwrap_or(OTLP_HTTP_LISTEN_DEFAULT);
    if text == "off" {
        return Ok(None);
    }
    let invalid = |_| ConfigError::Invalid {
        setting: "server.otlp_http_listen",
        problem: format!("{text:?} is neither an address like {OTLP_HTTP_LISTEN_DEFAULT:?} nor \"off\""),
    };
    text.parse().map(Some).map_err(invalid)
}

fn is_required(http_credentials: Option<&str>) -> Result<bool, ConfigError> {
    match http_credentials {
        None | Some("default") => Ok(false),
        Some("required") => Ok(true),
        Some(other) => {
            let problem = format!(
                "{other:?} is neither \"required\" nor \"default\" (needed on addresses that others can reach)"
            );
            Err(ConfigError::Invalid { setting: "server.http_credentials", problem })
        }
    }
}

impl Journal {
    fn validate(self) -> Result<JournalSettings, ConfigError> {
        let segment_bytes_max = within(
            "server.journal.segment_bytes_max",
            self.segment_bytes_max,
            SEGMENT_BYTES_DEFAULT,
            &SEGMENT_BYTES_RANGE,
        )?;
        let retention_bytes_max = within(
            "server.journal.retention_bytes_max",
            self.retention_bytes_max,
            RETENTION_BYTES_DEFAULT.max(2 * segment_bytes_max),
            &(2 * segment_bytes_max..=u64::MAX),
        )?;
        let hours = within(
            "server.journal.retention_hours",
            self.retention_hours,
            RETENTION_HOURS_DEFAULT,
            &(1..=24 * 3660),
        )?;
        let reserve_bytes = within(
            "server.journal.reserve_bytes",
            self.reserve_bytes,
            RESERVE_BYTES_DEFAULT,
            &(0..=1 << 30),
        )?;
        let commit_interval_us = within(
            "server.journal.commit_interval_us",
            self.commit_interval_us,
            0,
            &(0..=COMMIT_INTERVAL_US_MAX),
        )?;
        Ok(JournalSettings {
            segment_bytes_max,
            retention_bytes_max,
            retention_age_max: Duration::from_secs(hours * 3600),
            reserve_bytes,
            commit_interval: Duration::from_micros(commit_interval_us),
            unsafe_no_sync: false,
        })
    }
}

pub(super) fn within<T: PartialOrd + Copy + std::fmt::Display>(
    setting: &'static str,
    value: Option<T>,
    default: T,
    range: &std::ops::RangeInclusive<T>,
) -> Result<T, ConfigError> {
    let value = value.unwrap_or(default);
    if range.contains(&value) {
        return Ok(value);
    }
    let problem = format!("{value} is not {} to {}", range.start(), range.end());
    Err(ConfigError::Invalid { setting, problem })
}

fn log_directives(text: String) -> Result<String, ConfigError> {
    match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(text),
        Err(error) => {
            Err(ConfigError::Invalid { setting: "server.log", problem: format!("{text:?}: {error}") })
        }
    }
}
