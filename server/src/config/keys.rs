//! The keys that the collector knows.

use muster::settings::first_unknown_key;

use super::ConfigError;
use super::authority::{AUTHORITY_KEYS as AUTHORITY, TLS_KEYS as TLS};
use super::destination::{FILTER_KEYS as DESTINATION_FILTER, KEYS as DESTINATION};
use super::history::KEYS as HISTORY;
use super::http_clients::KEYS as HTTP_CLIENT;
use super::remote::{self, KEYS as REMOTE};

/// Keys of the file's top level; the sections of others are checked by their owners.
const SECTIONS: [&str; 5] = ["server", "agent", "history", "destination", "remote_configuration"];

const SERVER: [&str; 13] = [
    "grpc_listen",
    "http_listen",
    "otlp_http_listen",
    "data_dir",
    "insecure",
    "http_credentials",
    "http_client_ca_file",
    "http_client",
    "log",
    "tls",
    "authority",
    "limits",
    "journal",
];
const LIMITS: [&str; 21] = [
    "fleet",
    "team",
    "team_bytes_per_second",
    "team_events_per_second",
    "team_streams_per_second",
    "agent_bytes_per_second",
    "agent_events_per_second",
    "agent_streams_per_second",
    "connections_max",
    "connections_per_ip_max",
    "http_connections_max",
    "streams_max",
    "streams_per_team_max",
    "agent_streams_max",
    "series_per_family_max",
    "team_series_max",
    "agent_series_max",
    "snapshot_interval_seconds",
    "otlp_connections_max",
    "otlp_request_bytes_max",
    "otlp_memory_bytes_max",
];
const JOURNAL: [&str; 5] =
    ["segment_bytes_max", "retention_bytes_max", "retention_hours", "reserve_bytes", "commit_interval_us"];

/// Refuses the first key that nobody reads. Text that is no TOML passes: serde reports it with its place.
pub(super) fn check(text: &str) -> Result<(), ConfigError> {
    let sections: [(&[&str], &[&str]); 15] = [
        (&[], &SECTIONS),
        (&["server"], &SERVER),
        (&["server", "http_client"], &HTTP_CLIENT),
        (&["server", "tls"], &TLS),
        (&["server", "authority"], &AUTHORITY),
        (&["server", "limits"], &LIMITS),
        (&["server", "journal"], &JOURNAL),
        (&["history"], &HISTORY),
        (&["destination"], &DESTINATION),
        (&["destination", "filter"], &DESTINATION_FILTER),
        (&["remote_configuration"], &REMOTE),
        (&["remote_configuration", "sampling"], &remote::SAMPLED),
        (&["remote_configuration", "privacy"], &remote::PRIVACY_KEYS),
        (&["remote_configuration", "intervals"], &remote::INTERVAL_KEYS),
        (&["remote_configuration", "sources"], &remote::SOURCES_KEYS),
    ];
    let unknown = sections.into_iter().find_map(|(section, known)| first_unknown_key(text, section, known));
    unknown.map_or(Ok(()), |key| Err(ConfigError::UnknownKey(key)))
}
