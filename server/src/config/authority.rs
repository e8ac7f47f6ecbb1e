//! `[server.tls]` and `[server.authority]`: the collector's certificate, and who issues the agents'.

use std::path::PathBuf;
use std::time::Duration;

use rustls_pki_types::ServerName;

use super::raw::within;
use super::{ConfigError, TlsFiles, TlsSource};

/// Keys of `[server.tls]`.
pub(super) const TLS_KEYS: [&str; 3] = ["cert_file", "key_file", "names"];
/// Keys of `[server.authority]`.
pub(super) const AUTHORITY_KEYS: [&str; 4] =
    ["cert_file", "key_file", "certificate_hours", "certificate_seconds"];

/// A week: an agent renews at half of it, so that a machine may be off for three days and a half.
const CERTIFICATE_HOURS_DEFAULT: u64 = 7 * 24;
/// An hour to a year.
const CERTIFICATE_HOURS_RANGE: std::ops::RangeInclusive<u64> = 1..=366 * 24;
/// For tests of rotation: shorter than any team needs, and in no help.
const CERTIFICATE_SECONDS_RANGE: std::ops::RangeInclusive<u64> = 2..=366 * 86_400;
/// Names of the collector: a few addresses and names of one machine or load balancer.
const NAMES_MAX: usize = 32;

/// Who issues the agents' certificates, and how long they live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoritySettings {
    /// An authority that is brought along; `None`: the collector makes its own.
    pub files: Option<TlsFiles>,
    /// How long a certificate lives.
    pub certificate_life: Duration,
}

impl Default for AuthoritySettings {
    fn default() -> Self {
        Self { files: None, certificate_life: Duration::from_secs(CERTIFICATE_HOURS_DEFAULT * 3_600) }
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct RawTls {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    names: Option<Vec<String>>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct RawAuthority {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    certificate_hours: Option<u64>,
    certificate_seconds: Option<u64>,
}

impl RawTls {
    pub(super) fn validate(self) -> Result<TlsSource, ConfigError> {
        let invalid =
            |problem: &str| ConfigError::Invalid { setting: "server.tls", problem: problem.to_owned() };
        match (self.cert_file, self.key_file, self.names) {
            (Some(cert_file), Some(key_file), None) => Ok(TlsSource::Files(TlsFiles { cert_file, key_file })),
            (None, None, Some(names)) => names_of_collector(names).map(TlsSource::Names),
            (_, _, Some(_)) => {
                Err(invalid("has names and files: one of them says where the certificate is from"))
            }
            _ => Err(invalid(
                "needs both cert_file and key_file, or names for a certificate of the own authority",
            )),
        }
    }
}

impl RawAuthority {
    pub(super) fn validate(self) -> Result<AuthoritySettings, ConfigError> {
        let files = match (self.cert_file, self.key_file) {
            (Some(cert_file), Some(key_file)) => Some(TlsFiles { cert_file, key_file }),
            (None, None) => None,
            _ => {
                let problem = "needs both cert_file and key_file, or neither".to_owned();
                return Err(ConfigError::Invalid { setting: "server.authority", problem });
            }
        };
        let hours = within(
            "server.authority.certificate_hours",
            self.certificate_hours,
            CERTIFICATE_HOURS_DEFAULT,
            &CERTIFICATE_HOURS_RANGE,
        )?;
        let seconds = within(
            "server.authority.certificate_seconds",
            self.certificate_seconds,
            hours * 3_600,
            &CERTIFICATE_SECONDS_RANGE,
        )?;
        Ok(AuthoritySettings { files, certificate_life: Duration::from_secs(seconds) })
    }
}

fn names_of_collector(names: Vec<String>) -> Result<Vec<String>, ConfigError> {
    let invalid = |problem: String| Err(ConfigError::Invalid { setting: "server.tls.names", problem });
    if !(1..=NAMES_MAX).contains(&names.len()) {
        return invalid(format!("1 to {NAMES_MAX} names or addresses, as agents write them"));
    }
    match names.iter().find(|name| ServerName::try_from(name.as_str()).is_err()) {
        Some(wrong) => invalid(format!("{wrong:?} is neither a host name nor an address")),
        None => Ok(names),
    }
}
