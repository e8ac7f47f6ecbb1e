//! `[[destination]]`: where telemetry is forwarded to.
//!
//! Serde sees [`RawDestination`]; the rest of the program sees [`Destination`], in which every value has been checked. A
//! credential is named by where it is kept, and read when the forwarder starts: the configuration never holds one. Values
//! of extra headers may be secrets too and are never shown.

mod credential;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Deref, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::header::{HeaderName, HeaderValue};
use otlp::Signal;
use otlp::profile::{self, Compression, Profile, Transport};

pub use credential::{Credential, CredentialError};

use super::{ConfigError, TlsFiles};

/// Most destinations: each has a thread, up to some tens of MiB in flight and a cursor in the journal.
pub const DESTINATIONS_MAX: usize = 32;
/// Longest name: it is part of the names of cursors, folders and series.
pub const NAME_CHARS_MAX: usize = 40;

/// All that `[[destination]]` may have.
pub(super) const KEYS: [&str; 21] = [
    "name",
    "profile",
    "endpoint",
    "region",
    "transport",
    "credential_file",
    "credential_env",
    "signals",
    "filter",
    "headers",
    "resource_attributes",
    "ca_file",
    "client_cert_file",
    "client_key_file",
    "compression",
    "timeout_seconds",
    "queue_bytes_max",
    "queue_full",
    "requests_in_flight_max",
    "metrics_interval_seconds",
    "insecure",
];
/// All that a destination's `filter` may have.
pub(super) const FILTER_KEYS: [&str; 5] = ["team", "project", "tool", "event", "severity"];

/// Longer than any sane answer takes, shorter than what load balancers cut.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TIMEOUT_SECONDS_RANGE: RangeInclusive<u64> = 1..=300;
/// Hours of a busy team.
const QUEUE_BYTES_DEFAULT: u64 = 2 << 30;
const QUEUE_BYTES_MIN: u64 = 1 << 20;
/// Enough to hide a round trip; also what a restart may repeat.
const REQUESTS_IN_FLIGHT_DEFAULT: usize = 4;
const REQUESTS_IN_FLIGHT_RANGE: RangeInclusive<usize> = 1..=64;
/// What dashboards are made for.
const METRICS_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
const METRICS_INTERVAL_SECONDS_RANGE: RangeInclusive<u64> = 1..=3600;
/// A filter, header or attribute list is typed by hand.
const ENTRIES_MAX: usize = 64;

/// One place that telemetry is forwarded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// `a-z 0-9 -`, and no other destination's.
    pub name: String,
    /// What kind it is.
    pub profile: ProfileRef,
    /// How requests travel.
    pub transport: Transport,
    /// How their bodies are encoded.
    pub compression: Compression,
    /// Where it is; with HTTP, paths come after it.
    pub base_url: String,
    /// Where its credential is kept.
    pub credential: Option<Credential>,
    /// What it gets.
    pub signals: BTreeSet<Signal>,
    /// What of that it gets.
    pub filter: Filter,
    /// Headers besides those of the profile. Their values are not shown.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Set on every resource.
    pub resource_attributes: BTreeMap<String, String>,
    /// Its certificate authorities in PEM; `None` for the public ones.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, where it wants one.
    pub client_certificate: Option<TlsFiles>,
    /// The time of one request.
    pub timeout: Duration,
    /// Bytes of the journal that may wait for it; what is older is dropped and counted.
    pub queue_bytes_max: u64,
    /// Requests that may be out at once, and be repeated by a restart.
    pub requests_in_flight_max: usize,
    /// How often Muster's own metrics are sent.
    pub metrics_interval: Duration,
}

/// A profile of the table; equal to itself alone.
#[derive(Clone, Copy)]
pub struct ProfileRef(pub &'static Profile);

/// What a destination gets; an empty list means all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Teams.
    pub teams: BTreeSet<String>,
    /// Projects.
    pub projects: BTreeSet<String>,
    /// Tools.
    pub tools: BTreeSet<String>,
    /// Families of events.
    pub events: BTreeSet<String>,
    /// Least severity number of log records; one without a severity counts as info.
    pub severity_min: Option<u8>,
}

#[derive(Debug, serde::Deserialize)]
struct RawDestination {
    name: String,
    profile: String,
    endpoint: Option<String>,
    region: Option<String>,
    transport: Option<String>,
    credential_file: Option<PathBuf>,
    credential_env: Option<String>,
    signals: Option<Vec<String>>,
    #[serde(default)]
    filter: RawFilter,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    resource_attributes: BTreeMap<String, String>,
    ca_file: Option<PathBuf>,
    client_cert_file: Option<PathBuf>,
    client_key_file: Option<PathBuf>,
    compression: Option<String>,
    timeout_seconds: Option<u64>,
    queue_bytes_max: Option<u64>,
    queue_full: Option<String>,
    requests_in_flight_max: Option<usize>,
    metrics_interval_seconds: Option<u64>,
    #[serde(default)]
    insecure: bool,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct RawFilter {
    team: Vec<String>,
    project: Vec<String>,
    tool: Vec<String>,
    event: Vec<String>,
    severity: Option<String>,
}

/// Which key of a destination is wrong, and how.
type Problem = (&'static str, String);

/// Checks the section as it stands in the file.
pub(super) fn validate(section: Option<&toml::Value>) -> Result<Vec<Destination>, ConfigError> {
    let Some(section) = section else { return Ok(Vec::new()) };
    let raw: Vec<RawDestination> = section.clone().try_into().map_err(|error: toml::de::Error| {
        ConfigError::Syntax(format!("[[destination]]: {}", error.message()))
    })?;
    let mut names = BTreeSet::new();
    let count = raw.len();
    let mut destinations = Vec::with_capacity(count);
    for raw in raw {
        let name = raw.name.clone();
        let invalid = |(setting, problem): Problem| ConfigError::Destination {
            name: name.chars().take(80).collect(),
            setting,
            problem,
        };
        if count > DESTINATIONS_MAX {
            return Err(invalid((
                "name",
                format!("there are {count} destinations; at most {DESTINATIONS_MAX}"),
            )));
        }
        let destination = raw.validate().map_err(invalid)?;
        if !names.insert(destination.name.clone()) {
            let problem = "another destination has this name; give each its own".to_owned();
            return Err(invalid(("name", problem)));
        }
        destinations.push(destination);
    }
    Ok(destinations)
}

impl Destination {
    /// One that is not in a file: keys and values as in `[[destination]]`.
    pub fn of_table(table: toml::Table) -> Result<Self, ConfigError> {
        let section = toml::Value::Array(vec![toml::Value::Table(table)]);
        let no_name = || ConfigError::Syntax("[[destination]]: none".to_owned());
        validate(Some(&section))?.pop().ok_or_else(no_name)
    }

    /// Whether it gets that signal.
    pub fn wants(&self, signal: Signal) -> bool {
        self.signals.contains(&signal)
    }
}

impl RawDestination {
    fn validate(self) -> Result<Destination, Problem> {
        check_name(&self.name)?;
        let profile = profile::find(&self.profile).ok_or_else(|| {
            let known: Vec<_> = profile::PROFILES.iter().map(|profile| profile.name).collect();
            ("profile", format!("{:?} is not known; there are {}", self.profile, known.join(", ")))
        })?;
        let transport = self.transport(profile)?;
        let base_url = profile
            .base_url(transport, self.region.as_deref(), self.endpoint.as_deref())
            .map_err(|error| ("endpoint", error.to_string()))?;
        let is_local = check_url(&base_url)?;
        if base_url.starts_with("http:") && !is_local && !self.insecure {
            let problem = "http:// to another machine shows telemetry and credential to everybody between: use \
                           https://, or accept it with insecure = true";
            return Err(("endpoint", problem.to_owned()));
        }
        Ok(Destination {
            compression: self.compression(profile, is_local)?,
            credential: self.credential(profile)?,
            signals: self.signals(profile)?,
            headers: self.headers()?,
            client_certificate: self.client_certificate()?,
            timeout: Duration::from_secs(within(
                "timeout_seconds",
                self.timeout_seconds,
                TIMEOUT_DEFAULT.as_secs(),
                &TIMEOUT_SECONDS_RANGE,
            )?),
            queue_bytes_max: self.queue_bytes_max()?,
            requests_in_flight_max: within(
                "requests_in_flight_max",
                self.requests_in_flight_max,
                REQUESTS_IN_FLIGHT_DEFAULT,
                &REQUESTS_IN_FLIGHT_RANGE,
            )?,
            metrics_interval: Duration::from_secs(within(
                "metrics_interval_seconds",
                self.metrics_interval_seconds,
                METRICS_INTERVAL_DEFAULT.as_secs(),
                &METRICS_INTERVAL_SECONDS_RANGE,
            )?),
            filter: self.filter.validate()?,
            resource_attributes: bounded("resource_attributes", self.resource_attributes)?,
            name: self.name,
            profile: ProfileRef(profile),
            transport,
            base_url,
            ca_file: self.ca_file,
        })
    }

    fn transport(&self, profile: &Profile) -> Result<Transport, Problem> {
        let Some(name) = &self.transport else { return Ok(profile.default_transport()) };
        let spoken =
            profile.transports.iter().map(|transport| transport.name()).collect::<Vec<_>>().join(", ");
        let found = Transport::of_name(name).filter(|transport| profile.transports.contains(transport));
        found.ok_or_else(|| {
            ("transport", format!("{name:?} is not spoken by {}; it takes {spoken}", profile.name))
        })
    }

    /// The profile's own, but for an address on this machine, where compressing costs more than it saves.
    fn compression(&self, profile: &Profile, is_local: bool) -> Result<Compression, Problem> {
        let taken = profile.compressions;
        let Some(name) = &self.compression else {
            let none = is_local && taken.contains(&Compression::None);
            return Ok(if none { Compression::None } else { profile.default_compression() });
        };
        let found = Compression::of_name(name).filter(|compression| taken.contains(compression));
        let known = taken.iter().map(|compression| compression.name()).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| {
            ("compression", format!("{name:?} is not taken by {}; it takes {known}", profile.name))
        })
    }

    fn credential(&self, profile: &Profile) -> Result<Option<Credential>, Problem> {
        match (&self.credential_file, &self.credential_env) {
            (Some(_), Some(_)) => {
                Err(("credential_file", "and credential_env exclude each other".to_owned()))
            }
            (Some(path), None) => Ok(Some(Credential::File(path.clone()))),
            (None, Some(name)) => Ok(Some(Credential::Variable(name.clone()))),
            (None, None) if profile.auth.required => {
                let what = profile.auth.secret;
                let problem =
                    format!("{} needs {what}: name a file, or a variable in credential_env", profile.name);
                Err(("credential_file", problem))
            }
            (None, None) => Ok(None),
        }
    }

    fn signals(&self, profile: &Profile) -> Result<BTreeSet<Signal>, Problem> {
        let Some(names) = &self.signals else { return Ok(profile.signals.iter().copied().collect()) };
        if names.is_empty() {
            return Err(("signals", "is empty: name one, or leave the key out for all".to_owned()));
        }
        let find = |name: &String| {
            let signal = Signal::ALL.into_iter().find(|signal| signal.name() == name);
            let signal =
                signal.ok_or_else(|| format!("{name:?} is none; there are logs, metrics and traces"))?;
            if profile.takes(signal) { Ok(signal) } else { Err(format!("{} takes no {name}", profile.name)) }
        };
        names.iter().map(find).collect::<Result<_, _>>().map_err(|problem| ("signals", problem))
    }

    fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
        bounded("headers", self.headers.clone())?
            .iter()
            .map(|(name, value)| {
                let header: HeaderName =
                    name.parse().map_err(|_| ("headers", format!("{name:?} is no header's name")))?;
                if OWN_HEADERS.contains(&header.as_str()) {
                    return Err(("headers", format!("{name:?} is set by the forwarder; leave it out")));
                }
                let mut value = HeaderValue::from_str(value)
                    .map_err(|_| ("headers", format!("the value of {name:?} cannot be sent in a header")))?;
                value.set_sensitive(true);
                Ok((header, value))
            })
            .collect()
    }

    fn client_certificate(&self) -> Result<Option<TlsFiles>, Problem> {
        match (&self.client_cert_file, &self.client_key_file) {
            (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert_file: cert.clone(), key_file: key.clone() })),
            (None, None) => Ok(None),
            _ => {
                Err(("client_cert_file", "needs client_key_file as well, and the other way round".to_owned()))
            }
        }
    }

    fn queue_bytes_max(&self) -> Result<u64, Problem> {
        match self.queue_full.as_deref() {
            None | Some("drop_oldest") => {}
            Some("block") => {
                let problem = "\"block\" is not supported: one destination would stop what all others get. Use \
                               \"drop_oldest\" with a large queue_bytes_max";
                return Err(("queue_full", problem.to_owned()));
            }
            Some(other) => return Err(("queue_full", format!("{other:?} is not \"drop_oldest\""))),
        }
        within("queue_bytes_max", self.queue_bytes_max, QUEUE_BYTES_DEFAULT, &(QUEUE_BYTES_MIN..=u64::MAX))
    }
}

/// Headers that say how a request is made.
const OWN_HEADERS: [&str; 10] = [
    "content-type",
    "content-length",
    "content-encoding",
    "grpc-encoding",
    "te",
    "host",
    "user-agent",
    "transfer-encoding",
    "connection",
    otlp::receive::FORWARDED_BY,
];

/// Words of `filter.severity`, with their least severity number (OpenTelemetry's log data model).
const SEVERITIES: [(&str, u8); 6] =
    [("trace", 1), ("debug", 5), ("info", 9), ("warn", 13), ("error", 17), ("fatal", 21)];

impl RawFilter {
    fn validate(self) -> Result<Filter, Problem> {
        let set = |values: Vec<String>| bounded("filter", values.into_iter().collect::<BTreeSet<_>>());
        let severity_min = match self.severity {
            None => None,
            Some(word) => {
                let found = SEVERITIES.iter().find(|(name, _)| *name == word);
                let words = SEVERITIES.map(|(name, _)| name).join(", ");
                let (_, number) = found
                    .ok_or_else(|| ("filter", format!("severity {word:?} is none; there are {words}")))?;
                Some(*number)
            }
        };
        let events = set(self.event)?;
        check_events(&events)?;
        Ok(Filter {
            teams: set(self.team)?,
            projects: set(self.project)?,
            tools: set(self.tool)?,
            events,
            severity_min,
        })
    }
}

fn check_events(events: &BTreeSet<String>) -> Result<(), Problem> {
    let is_word = |word: &&String| !word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    match events.iter().find(is_word) {
        Some(event) => Err(("filter", format!("event {event:?} is no family of events"))),
        None => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.bytes().all(allowed) {
        return Err(("name", format!("is not 1 to {NAME_CHARS_MAX} characters of a-z 0-9 -")));
    }
    Ok(())
}

/// Whether the URL is one, and whether it is on this machine.
fn check_url(url: &str) -> Result<bool, Problem> {
    let uri: Option<Uri> = url.parse().ok();
    let parts = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.host()?)));
    let Some(("http" | "https", host)) = parts else {
        let problem = format!("{url:?} is no URL; write it with http:// or https:// and a host");
        return Err(("endpoint", problem));
    };
    if uri.as_ref().and_then(Uri::authority).is_some_and(|authority| authority.as_str().contains('@')) {
        return Err((
            "endpoint",
            "has a user in it: name a credential with credential_file instead".to_owned(),
        ));
    }
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    Ok(host == "localhost" || address.is_ok_and(|address| address.is_loopback()))
}

fn within<T: PartialOrd + Copy + fmt::Display>(
    setting: &'static str,
    value: Option<T>,
    default: T,
    range: &RangeInclusive<T>,
) -> Result<T, Problem> {
    let value = value.unwrap_or(default);
    if range.contains(&value) {
        return Ok(value);
    }
    Err((setting, format!("{value} is not {} to {}", range.start(), range.end())))
}

fn bounded<C>(setting: &'static str, entries: C) -> Result<C, Problem>
where
    for<'a> &'a C: IntoIterator,
{
    let count = (&entries).into_iter().count();
    if count > ENTRIES_MAX {
        return Err((setting, format!("has {count} entries; at most {ENTRIES_MAX}")));
    }
    Ok(entries)
}

impl Deref for ProfileRef {
    type Target = Profile;

    fn deref(&self) -> &Profile {
        self.0
    }
}

impl PartialEq for ProfileRef {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ProfileRef {}

impl fmt::Debug for ProfileRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}
