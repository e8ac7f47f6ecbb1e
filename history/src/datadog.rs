//! Rows as Datadog's series and events.
//!
//! Datadog keeps one value for a series and a second, and the last one that it is sent wins. So rows are added up over
//! [`INTERVAL_SECONDS`], on multiples of it, and only whole intervals are sent: the same rows are the same points, and
//! what is sent twice is there once. Rows must come in the order of their time.
//!
//! | rows | series | type |
//! |---|---|---|
//! | runs | `muster.runs`: how many; `muster.runs.duration_seconds`, `muster.runs.queued_seconds`: their sums | count |
//! | | `muster.runs.duration_max_seconds`: the longest | gauge |
//! | events | `muster.events`: how many; `muster.events.duration_seconds`: their sum | count |
//! | sessions | `muster.sessions`: changes of state | count |
//! | usage | `muster.usage.<column>`, costs in US dollars as `..._usd` | count |
//! | samples | `muster.samples.<name>`: the last reading | gauge |
//!
//! Counts are times `weight`, as the collector's counters are. Tags are those of line protocol
//! ([`crate::line_protocol`]), the host is a resource. Datadog writes tags in lower case and replaces what it has no place for: it is done
//! here, since two series that become one there would lose one's values.
//!
//! Pushes that were stopped, critical findings and sessions that ended are events as well ([`DatadogEncoder::event`]).

use std::hash::Hasher;

use muster::clock::WallTime;
use rustc_hash::{FxHashMap, FxHasher};
use serde_json::{Value, json};

use crate::dataset::{Column, DataSet};
use crate::query::TimeRange;
use crate::row::{Cell, Rows, columns_of_rows};

/// The time that one point stands for.
pub const INTERVAL_SECONDS: i64 = 10;
/// Longest tag, with its name (Datadog's documentation, "Getting started with tags").
const TAG_CHARS_MAX: usize = 200;
/// Longest name of a metric (Datadog's documentation, "Custom metrics").
const METRIC_CHARS_MAX: usize = 200;
/// Longest title and text of an event.
const TITLE_CHARS_MAX: usize = 100;
const TEXT_CHARS_MAX: usize = 4000;
/// Series of one interval that are held; a row that would be of another is refused.
pub const SERIES_MAX: usize = 100_000;

/// Which of Datadog's two ways of writing series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `/api/v1/series`, which servers have that only look like Datadog.
    V1,
    /// `/api/v2/series`.
    V2,
}

/// A row that would be one series too many for its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {SERIES_MAX} series in {INTERVAL_SECONDS} s")]
pub struct TooManySeries;

/// Adds rows up.
#[derive(Debug)]
pub struct DatadogEncoder {
    data_set: DataSet,
    tags: Vec<(usize, &'static str)>,
    /// The interval that is open, in seconds since the epoch.
    open: i64,
    /// Of all intervals that were not taken yet.
    series: Vec<Series>,
    places: FxHashMap<u64, Vec<usize>>,
    points: usize,
    open_series: usize,
}

/// A series and its points.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    metric: String,
    kind: Kind,
    tags: Vec<String>,
    host: Option<String>,
    points: Vec<(i64, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Added up.
    Count,
    /// The largest.
    Highest,
    /// The last.
    Last,
}

/// An event, as `/api/v1/events` takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it happened, in seconds since the epoch.
    pub time_s: i64,
    /// The request's body.
    pub body: Value,
}

impl DatadogEncoder {
    /// For rows of a data set.
    pub fn new(data_set: DataSet) -> Self {
        let tags = columns_of_rows(data_set).enumerate();
        let tags = tags.filter(|(_, column)| is_tag(data_set, column)).map(|(at, column)| (at, column.name));
        Self {
            data_set,
            tags: tags.collect(),
            open: i64::MIN,
            series: Vec::new(),
            places: FxHashMap::default(),
            points: 0,
            open_series: 0,
        }
    }

    /// Whether a row begins an interval: then all that was added is whole.
    pub fn begins_interval(&self, rows: &Rows<'_>, row: usize) -> bool {
        interval(rows.time_us(row)) != self.open
    }

    /// Points that were not taken yet.
    pub fn points(&self) -> usize {
        self.points
    }

    /// Adds a row up. All or nothing.
    pub fn add(&mut self, rows: &Rows<'_>, row: usize) -> Result<(), TooManySeries> {
        let at = interval(rows.time_us(row));
        if at != self.open {
            self.open = at;
            self.open_series = 0;
        }
        let figures = figures(self.data_set, rows, row);
        if self.open_series + figures.len() > SERIES_MAX {
            return Err(TooManySeries);
        }
        let tags = self.tags_of(rows, row);
        let host = rows.named("host", row).text().map(|host| normal(host, TAG_CHARS_MAX));
        for figure in figures {
            self.put(figure, &tags, host.as_deref());
        }
        Ok(())
    }

    /// All series, with their points by time. Nothing is left.
    pub fn take(&mut self) -> Vec<Series> {
        self.places.clear();
        self.points = 0;
        self.open_series = 0;
        self.open = i64::MIN;
        std::mem::take(&mut self.series)
    }

    /// The event that a row is worth, if it is.
    pub fn event(&self, rows: &Rows<'_>, row: usize) -> Option<Event> {
        let word = |name| rows.named(name, row).text();
        let (title, alert, key) = match self.data_set {
            DataSet::Events => match (word("kind")?, word("outcome"), word("severity")) {
                ("push_checked", Some(outcome @ ("stopped" | "prevented")), _) => (
                    format!("push {outcome}"),
                    if outcome == "prevented" { "success" } else { "warning" },
                    None,
                ),
                ("finding", Some("found"), Some("critical")) => {
                    ("critical finding".to_owned(), "error", None)
                }
                _ => return None,
            },
            DataSet::Sessions => {
                rows.named("ended_time", row).time()?;
                let alert = match rows.named("exit_code", row).integer() {
                    Some(code) if code != 0 => "error",
                    _ => "info",
                };
                ("session ended".to_owned(), alert, word("session"))
            }
            DataSet::Runs | DataSet::Usage | DataSet::Samples => return None,
        };
        let time_s = rows.time_us(row).div_euclid(1_000_000);
        let place = word("project").or(word("tool")).unwrap_or("muster");
        let body = json!({
            "title": cut(&format!("{place}: {title}"), TITLE_CHARS_MAX),
            "text": cut(&describe(rows, row), TEXT_CHARS_MAX),
            "date_happened": time_s,
            "alert_type": alert,
            "source_type_name": "muster",
            // What is sent twice is shown once.
            "aggregation_key": cut(&key.map_or_else(|| identity(rows, row), str::to_owned), TITLE_CHARS_MAX),
            "host": word("host"),
            "tags": self.tags_of(rows, row),
        });
        Some(Event { time_s, body })
    }

    fn tags_of(&self, rows: &Rows<'_>, row: usize) -> Vec<String> {
        let tag = |&(at, name): &(usize, &'static str)| {
            rows.cell(at, row).text().map(|text| normal(&format!("{name}:{text}"), TAG_CHARS_MAX))
        };
        self.tags.iter().filter_map(tag).collect()
    }

    fn put(&mut self, figure: Figure, tags: &[String], host: Option<&str>) {
        let Figure { metric, kind, value } = figure;
        let mut hasher = FxHasher::default();
        hasher.write(metric.as_bytes());
        tags.iter().for_each(|tag| hasher.write(tag.as_bytes()));
        hasher.write(host.unwrap_or_default().as_bytes());
        let places = self.places.entry(hasher.finish()).or_default();
        let is_same = |series: &Series| {
            series.metric == metric && series.tags == tags && series.host.as_deref() == host
        };
        let place = places.iter().copied().find(|&place| is_same(&self.series[place]));
        let place = place.unwrap_or_else(|| {
            let (tags, host) = (tags.to_vec(), host.map(str::to_owned));
            self.series.push(Series { metric, kind, tags, host, points: Vec::new() });
            places.push(self.series.len() - 1);
            self.series.len() - 1
        });
        let points = &mut self.series[place].points;
        match points.last_mut() {
            Some((at, last)) if *at == self.open => {
                *last = match kind {
                    Kind::Count => *last + value,
                    Kind::Highest => last.max(value),
                    Kind::Last => value,
                }
            }
            _ => {
                points.push((self.open, value));
                self.points += 1;
                self.open_series += 1;
            }
        }
    }
}

impl Series {
    /// The series as Datadog reads it.
    pub fn json(&self, api: Api) -> Value {
        let is_count = self.kind == Kind::Count;
        let mut series = match api {
            Api::V1 => json!({
                "metric": self.metric,
                "type": if is_count { "count" } else { "gauge" },
                "points": self.points,
                "tags": self.tags,
                "host": self.host,
            }),
            Api::V2 => {
                let point = |(at, value): &(i64, f64)| json!({ "timestamp": at, "value": value });
                let points: Vec<_> = self.points.iter().map(point).collect();
                let host = self.host.iter().map(|host| json!({ "name": host, "type": "host" }));
                json!({
                    "metric": self.metric,
                    // MetricIntakeType: 1 is count, 3 is gauge.
                    "type": if is_count { 1 } else { 3 },
                    "points": points,
                    "tags": self.tags,
                    "resources": host.collect::<Vec<_>>(),
                })
            }
        };
        if is_count {
            series["interval"] = INTERVAL_SECONDS.into();
        }
        series
    }
}

struct Figure {
    metric: String,
    kind: Kind,
    value: f64,
}

/// What a row adds.
fn figures(data_set: DataSet, rows: &Rows<'_>, row: usize) -> Vec<Figure> {
    let integer = |name| rows.named(name, row).integer().map(|integer| integer as f64);
    let weight = integer("weight").unwrap_or(1.0);
    let mut figures = Vec::new();
    let mut add = |metric: String, kind, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            figures.push(Figure { metric, kind, value });
        }
    };
    let seconds = |name| integer(name).map(|us| us / 1e6);
    match data_set {
        DataSet::Runs => {
            add("muster.runs".to_owned(), Kind::Count, Some(weight));
            for (name, column) in [("duration_seconds", "duration_us"), ("queued_seconds", "queued_us")] {
                add(format!("muster.runs.{name}"), Kind::Count, seconds(column).map(|sum| sum * weight));
            }
            add("muster.runs.duration_max_seconds".to_owned(), Kind::Highest, seconds("duration_us"));
        }
        DataSet::Events => {
            let count = integer("count").unwrap_or(1.0) * weight;
            add("muster.events".to_owned(), Kind::Count, Some(count));
            let duration = seconds("duration_us").map(|sum| sum * weight);
            add("muster.events.duration_seconds".to_owned(), Kind::Count, duration);
        }
        DataSet::Sessions => add("muster.sessions".to_owned(), Kind::Count, Some(weight)),
        DataSet::Usage => {
            const TOKENS: [&str; 5] = [
                "input_tokens",
                "output_tokens",
                "cache_read_tokens",
                "cache_write_tokens",
                "reasoning_tokens",
            ];
            for name in TOKENS {
                let tokens = integer(name).filter(|tokens| *tokens != 0.0).map(|tokens| tokens * weight);
                add(format!("muster.usage.{name}"), Kind::Count, tokens);
            }
            for (name, column) in
                [("reported_cost", "reported_cost_microusd"), ("computed_cost", "computed_cost_microusd")]
            {
                let cost = integer(column).map(|microusd| microusd / 1e6 * weight);
                add(format!("muster.usage.{name}_usd"), Kind::Count, cost);
            }
        }
        DataSet::Samples => {
            if let (Some(name), Cell::Number(value)) =
                (rows.named("name", row).text(), rows.named("value", row))
            {
                let allowed =
                    |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '_' };
                let name: String = name.chars().map(allowed).collect();
                add(cut(&format!("muster.samples.{name}"), METRIC_CHARS_MAX), Kind::Last, Some(value));
            }
        }
    }
    figures
}

fn is_tag(data_set: DataSet, column: &Column) -> bool {
    const SHARED: [&str; 4] = ["team", "tool", "project", "user"];
    let own: &[&str] = match data_set {
        DataSet::Runs => &["worker", "status", "model"],
        DataSet::Events => &["kind", "name", "worker", "severity", "outcome"],
        DataSet::Sessions => &["status", "provider"],
        DataSet::Usage => &["worker", "model"],
        DataSet::Samples => &["scope", "worker"],
    };
    SHARED.contains(&column.name) || own.contains(&column.name)
}

/// The range that has all of each of its intervals: from the beginning of the one it begins in to the beginning of the one it
/// ends in. Ranges that lie side by side do so afterwards. `None`: nothing is left.
pub fn whole_intervals(range: TimeRange) -> Option<TimeRange> {
    let begin = |time: WallTime| WallTime(time.0 - time.0 % (INTERVAL_SECONDS as u64 * 1_000_000));
    let whole = TimeRange { from: begin(range.from), to: begin(range.to) };
    (whole.from < whole.to).then_some(whole)
}

/// The interval of a time, by its first second.
fn interval(time_us: i64) -> i64 {
    let second = time_us.div_euclid(1_000_000);
    second - second.rem_euclid(INTERVAL_SECONDS)
}

/// A tag as Datadog would make it (Datadog's documentation, "Getting started with tags").
fn normal(tag: &str, chars_max: usize) -> String {
    let kept = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '.' | '/');
    let lower = tag.chars().flat_map(char::to_lowercase).map(|c| if kept(c) { c } else { '_' });
    let cut: String = lower.take(chars_max).collect();
    cut.trim_end_matches('_').to_owned()
}

/// What the row has, a line a column.
fn describe(rows: &Rows<'_>, row: usize) -> String {
    let mut text = String::new();
    for (at, column) in columns_of_rows(rows.data_set()).enumerate() {
        let said = match rows.cell(at, row) {
            Cell::Text(text) => text.to_owned(),
            Cell::Integer(integer) => integer.to_string(),
            Cell::Number(number) => number.to_string(),
            Cell::Truth(truth) => truth.to_string(),
            Cell::Null | Cell::Time(_) => continue,
        };
        text += &format!("{}: {said}\n", column.name);
    }
    text
}

fn identity(rows: &Rows<'_>, row: usize) -> String {
    let key = rows.key(row);
    match (key.agent_id, key.epoch, key.seq) {
        (Some(agent), Some(epoch), Some(seq)) => format!("{agent}-{epoch}-{seq}"),
        _ => format!("{}-{}", key.team, key.time_us),
    }
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

#[cfg(test)]
mod tests;
