//! Unknown keys: where they stand and which known one they are most like.

use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// A spelling this much alike is worth naming (Jaro-Winkler, 0 to 1).
const LIKENESS_MIN: f64 = 0.75;

/// Keys of the file's top level. `true`: the section is checked by its owner, not here.
const SECTIONS: [(&str, bool); 4] =
    [("server", false), ("agent", true), ("history", true), ("destination", true)];

const SERVER: [&str; 9] = [
    "grpc_listen",
    "http_listen",
    "otlp_http_listen",
    "data_dir",
    "insecure",
    "log",
    "tls",
    "limits",
    "journal",
];
const TLS: [&str; 2] = ["cert_file", "key_file"];
const LIMITS: [&str; 7] = [
    "connections_max",
    "connections_per_ip_max",
    "http_connections_max",
    "streams_max",
    "streams_per_team_max",
    "series_per_family_max",
    "snapshot_interval_seconds",
];
const JOURNAL: [&str; 5] =
    ["segment_bytes_max", "retention_bytes_max", "retention_hours", "reserve_bytes", "commit_interval_us"];

/// Refuses the first key that nobody reads. Text that is no TOML passes: serde reports it with its place.
pub(super) fn check(text: &str) -> Result<(), ConfigError> {
    let Ok(document) = DeTable::parse(text) else { return Ok(()) };
    let sections = SECTIONS.map(|(name, _)| name);
    let document = document.get_ref();
    known_only(text, "", document, &sections)?;
    let Some(server) = table(document, "server") else { return Ok(()) };
    known_only(text, "server.", server, &SERVER)?;
    for (section, prefix, known) in [
        ("tls", "server.tls.", &TLS[..]),
        ("limits", "server.limits.", &LIMITS[..]),
        ("journal", "server.journal.", &JOURNAL[..]),
    ] {
        if let Some(inner) = table(server, section) {
            known_only(text, prefix, inner, known)?;
        }
    }
    Ok(())
}

/// What an error says after the unknown key.
pub(super) fn hint(nearest: Option<&str>) -> String {
    nearest.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
}

fn table<'a>(parent: &'a DeTable<'_>, name: &str) -> Option<&'a DeTable<'a>> {
    match parent.get(name)?.get_ref() {
        DeValue::Table(inner) => Some(inner),
        _ => None,
    }
}

fn known_only(text: &str, prefix: &str, table: &DeTable<'_>, known: &[&str]) -> Result<(), ConfigError> {
    let mut unknown: Vec<_> = table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())).collect();
    unknown.sort_by_key(|key| key.span().start);
    let Some(key) = unknown.first() else { return Ok(()) };
    let before = text.get(..key.span().start).unwrap_or_default();
    Err(ConfigError::UnknownKey {
        line: before.bytes().filter(|b| *b == b'\n').count() + 1,
        key: format!("{prefix}{}", key.get_ref()),
        nearest: nearest(key.get_ref(), known).map(str::to_owned),
    })
}

fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let scored = known.iter().map(|candidate| (strsim::jaro_winkler(key, candidate), *candidate));
    scored
        .filter(|(score, _)| *score >= LIKENESS_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
