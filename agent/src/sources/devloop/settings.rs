//! What agents.json says about the workers and about metrics.
//!
//! The metrics guide shows its settings in several shapes and with comments, which JSON does not have: comments and
//! trailing commas are passed over here, and `metrics` is read at the top level and under `global`, key by key; the top
//! level wins (contracts/devloop.md section 4). DevLoop itself knows none of these keys.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// Largest agents.json that is read.
const SETTINGS_BYTES_MAX: u64 = 1024 * 1024;
/// Most workers, triggers of one worker, and disabled metrics that are followed.
const ENTRIES_MAX: usize = 64;
/// Longest `granularity` that is followed.
const GRANULARITY_MAX: Duration = Duration::from_secs(3600);

/// The port and path of the guide's own example.
const PORT_DEFAULT: u16 = 8000;
const PATH_DEFAULT: &str = "/metrics";

/// All of agents.json that matters here.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// The workers that are enabled, with what wakes them.
    pub workers: Vec<Worker>,
    /// The metrics block; `None` when the project has none.
    pub metrics: Option<MetricsSettings>,
}

/// An enabled worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Event types; a `*` at the end stands for any rest.
    pub triggers: Vec<String>,
}

/// `global.metrics` and `metrics` of agents.json, merged.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsSettings {
    /// `enabled`; true when the block does not say.
    pub enabled: bool,
    /// `format`; the guide knows `prometheus` alone.
    pub format: String,
    /// `exporters.prometheus.enabled`; false when the block has no such exporter.
    pub prometheus_enabled: bool,
    /// `exporters.prometheus.port`.
    pub port: u16,
    /// `exporters.prometheus.path`, always with a leading slash.
    pub path: String,
    /// `disabledMetrics`: families that the page leaves out.
    pub disabled_metrics: Vec<String>,
    /// `sampleRate`, or `sampling`, which the guide uses for the same thing.
    pub sample_rate: Option<f64>,
    /// `granularity`: shortest time between two samples of a gauge.
    pub granularity: Option<Duration>,
}

impl MetricsSettings {
    /// Where the guide's page is to be served, if it is.
    pub fn prometheus_endpoint(&self) -> Option<(u16, &str)> {
        (self.enabled && self.prometheus_enabled).then_some((self.port, self.path.as_str()))
    }
}

/// The metrics settings of the project in `root`; `None` when it has none or they cannot be read.
pub fn metrics_settings(root: &Path) -> Option<MetricsSettings> {
    let bytes = read_bounded(&root.join(".devloop/agents.json"), SETTINGS_BYTES_MAX).ok()?;
    parse(&bytes)?.metrics
}

/// A file's content, refused when it is larger than `bytes_max`.
pub(super) fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

/// Reads agents.json; `None` when it is no JSON object even without its comments.
pub(super) fn parse(bytes: &[u8]) -> Option<Settings> {
    let text = String::from_utf8_lossy(bytes);
    let document: Value = serde_json::from_str(&without_comments(&text)).ok()?;
    document.is_object().then(|| Settings { workers: workers(&document), metrics: metrics(&document) })
}

fn workers(document: &Value) -> Vec<Worker> {
    let Some(agents) = document["agents"].as_object() else { return Vec::new() };
    let enabled = agents.iter().filter(|(_, agent)| agent["enabled"].as_bool().unwrap_or(true));
    enabled
        .map(|(name, agent)| Worker { name: name.clone(), triggers: texts(&agent["triggers"]) })
        .take(ENTRIES_MAX)
        .collect()
}

fn metrics(document: &Value) -> Option<MetricsSettings> {
    let blocks = [&document["metrics"], &document["global"]["metrics"]];
    if !blocks.iter().any(|block| block.is_object()) {
        return None;
    }
    let key = |name: &str| blocks.iter().map(|block| &block[name]).find(|value| !value.is_null());
    let prometheus = blocks.iter().map(|block| &block["exporters"]["prometheus"]).find(|v| v.is_object());
    let port = prometheus.and_then(|p| p["port"].as_u64()).and_then(|port| u16::try_from(port).ok());
    let path = prometheus.and_then(|p| p["path"].as_str()).unwrap_or(PATH_DEFAULT);
    Some(MetricsSettings {
        enabled: key("enabled").and_then(Value::as_bool).unwrap_or(true),
        format: key("format").and_then(Value::as_str).unwrap_or("prometheus").to_owned(),
        prometheus_enabled: prometheus.is_some_and(|p| p["enabled"].as_bool().unwrap_or(true)),
        port: port.filter(|&port| port != 0).unwrap_or(PORT_DEFAULT),
        path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        disabled_metrics: key("disabledMetrics").map(texts).unwrap_or_default(),
        sample_rate: key("sampleRate").or_else(|| key("sampling")).and_then(Value::as_f64),
        granularity: key("granularity").and_then(duration),
    })
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(Value::as_str).map(str::to_owned).take(ENTRIES_MAX).collect()
}

/// `"1m"`, `"10s"`, `"500ms"`, `"1h"`, or a number of seconds.
fn duration(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => {
            let text = text.trim();
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let unit = match text[digits.len()..].trim() {
                "ms" => 0.001,
                "s" | "" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
            digits.trim().parse::<f64>().ok()? * unit
        }
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok().map(|duration| duration.min(GRANULARITY_MAX))
}

/// Blanks `#`, `//` and `/* */` comments outside strings, and commas before a closing bracket.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.trim_start_matches('\u{feff}').chars().peekable();
    let mut in_string = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => {
                out.push(c);
                out.extend(chars.next());
            }
            '"' => {
                in_string = !in_string;
                out.push(c);
            }
            '#' if !in_string => skip_line(&mut chars),
            '/' if !in_string && chars.peek() == Some(&'/') => skip_line(&mut chars),
            '/' if !in_string && chars.peek() == Some(&'*') => {
                let mut before = ' ';
                for c in chars.by_ref().skip(1) {
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
            }
            '}' | ']' if !in_string => {
                if out.trim_end().ends_with(',') {
                    out.truncate(out.trim_end().len() - 1);
                }
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

fn skip_line(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while chars.next_if(|&c| c != '\n').is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics_of(text: &str) -> MetricsSettings {
        parse(text.as_bytes()).and_then(|settings| settings.metrics).expect("a metrics block")
    }

    #[test]
    fn the_guide_s_snippets_are_read_in_both_places_and_with_their_comments() {
        let metrics = metrics_of(
            r##"{"global": {"metrics": {"enabled": true, "format": "prometheus",
                 "exporters": {"prometheus": {"enabled": true, "port": 8123, "path": "/metrics"}}}},
                 "metrics": {"disabledMetrics": ["event_latency_histogram"], "sampling": 0.1, // a tenth
                 /* not "10s" */ "granularity": "1m", # a # b
                 }}"##,
        );
        assert_eq!(metrics.prometheus_endpoint(), Some((8123, "/metrics")));
        assert_eq!(metrics.disabled_metrics, ["event_latency_histogram"]);
        assert_eq!(metrics.sample_rate, Some(0.1));
        assert_eq!(metrics.granularity, Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_comment_sign_inside_a_string_is_no_comment() {
        let metrics = metrics_of(r##"{"metrics": {"exporters": {"prometheus": {"path": "/m#1//x, }"}}}}"##);
        assert_eq!(metrics.path, "/m#1//x, }");
        assert_eq!(metrics.port, 8000);
    }

    #[test]
    fn a_project_that_switches_metrics_off_has_no_endpoint() {
        let metrics =
            metrics_of(r#"{"metrics": {"enabled": false, "exporters": {"prometheus": {"port": 8000}}}}"#);
        assert_eq!(metrics.prometheus_endpoint(), None);
        assert_eq!(parse(b"{}").and_then(|settings| settings.metrics), None);
        assert_eq!(parse(b"[1]"), None);
        assert_eq!(parse(b"{\"metrics\": "), None);
    }

    #[test]
    fn disabled_workers_are_left_out() {
        let settings = parse(
            br#"{"agents": {"a": {"enabled": false}, "b": {"enabled": true, "triggers": ["file:*"]}}}"#,
        )
        .expect("settings");
        assert_eq!(settings.workers, [Worker { name: "b".into(), triggers: vec!["file:*".into()] }]);
    }
}
