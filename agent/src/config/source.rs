//! `[[agent.source]]`: files of JSON lines and what their lines become.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, invalid};
use crate::emit::vocabulary::{ATTRIBUTE_PREFIX, TIME};
use crate::emit::{KEYS_MAX, Kind, Takes};
use crate::sources::json_lines::{Field, Mapping, SOURCES_MAX, SourceConfig, TimeField, TimeFormat};

/// Keys of a source.
pub(super) const KEYS: [&str; 8] = ["name", "path", "kind", "tool", "project", "when", "time", "fields"];
/// Keys of its time.
pub(super) const TIME_KEYS: [&str; 2] = ["field", "format"];
/// Keys of a field's table.
const FIELD_KEYS: [&str; 5] = ["field", "map", "default", "unit", "value"];

/// Most entries of a map and of `when`.
const ENTRIES_MAX: usize = 256;
/// Longest name of a source.
const NAME_BYTES_MAX: usize = 64;

#[derive(Debug, Deserialize)]
pub(super) struct RawSource {
    name: String,
    path: PathBuf,
    kind: String,
    tool: Option<String>,
    project: Option<String>,
    #[serde(default)]
    when: BTreeMap<String, Value>,
    time: Option<RawTime>,
    #[serde(default)]
    fields: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct RawTime {
    field: String,
    format: Option<String>,
}

/// Checks all sources.
pub(super) fn validate(raw: Vec<RawSource>) -> Result<Vec<SourceConfig>, ConfigError> {
    if raw.len() > SOURCES_MAX {
        return wrong(format!("{} sources are more than {SOURCES_MAX}", raw.len()));
    }
    let mut names = BTreeSet::new();
    let mut sources = Vec::with_capacity(raw.len());
    for source in raw {
        let name = source.name.clone();
        if !names.insert(name.clone()) {
            return wrong(format!("two sources have the name {name:?}"));
        }
        match source.validate() {
            Ok(source) => sources.push(source),
            Err(problem) => return wrong(format!("{name:?}: {problem}")),
        }
    }
    Ok(sources)
}

impl RawSource {
    fn validate(self) -> Result<SourceConfig, String> {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !self.name.bytes().all(is_name) {
            return Err(format!("a name is 1 to {NAME_BYTES_MAX} of a-z A-Z 0-9 _ - ."));
        }
        if !self.path.is_absolute() {
            return Err(format!("path {} is not absolute", self.path.display()));
        }
        let kind = Kind::named(&self.kind).map_err(|error| error.to_string())?;
        let mut fields = BTreeMap::new();
        if self.fields.len() > KEYS_MAX || self.when.len() > ENTRIES_MAX {
            return Err(format!("more than {KEYS_MAX} fields, or more than {ENTRIES_MAX} conditions"));
        }
        for (key, value) in self.fields {
            let field = field(kind, &key, value).map_err(|problem| format!("fields.{key}: {problem}"))?;
            fields.insert(key, field);
        }
        if let Some(what) = missing(kind, &fields) {
            return Err(format!("fields: {kind} needs {what}"));
        }
        let when = self.when.into_iter().map(|(field, value)| match value {
            Value::Array(values) => (field, values),
            value => (field, vec![value]),
        });
        Ok(SourceConfig {
            tool: self.tool.unwrap_or_else(|| self.name.clone()),
            name: self.name,
            path: self.path,
            project: self.project,
            mapping: Mapping {
                kind,
                when: when.collect(),
                time: self.time.map(RawTime::validate).transpose()?,
                fields,
            },
        })
    }
}

impl RawTime {
    fn validate(self) -> Result<TimeField, String> {
        let format = match self.format.as_deref().unwrap_or("rfc3339") {
            "rfc3339" => TimeFormat::Rfc3339,
            "s" => TimeFormat::Epoch { unit_us: 1e6 },
            "ms" => TimeFormat::Epoch { unit_us: 1e3 },
            "us" => TimeFormat::Epoch { unit_us: 1.0 },
            "ns" => TimeFormat::Epoch { unit_us: 1e-3 },
            other => {
                return Err(format!(
                    "time.format {other:?} is not one of rfc3339, s, ms, us, ns (since the epoch)"
                ));
            }
        };
        Ok(TimeField { field: self.field, format })
    }
}

/// What the kind needs and no field gives.
fn missing(kind: Kind, fields: &BTreeMap<String, Field>) -> Option<&'static str> {
    let began = fields.get("event").is_some_and(|event| event.default == Some("started".into()));
    let missing = kind.missing(&|key| fields.contains_key(key));
    let has_status = kind != Kind::Run || began || fields.contains_key("status");
    missing.or((!has_status).then_some("status, with a map to success, failure, error or skipped"))
}

fn field(kind: Kind, key: &str, raw: Value) -> Result<Field, String> {
    let takes = match key.strip_prefix(ATTRIBUTE_PREFIX) {
        Some(_) if kind == Kind::Log => None,
        _ if key == TIME => return Err("the time has a table of its own: [agent.source.time]".to_owned()),
        _ => Some(kind.key(key).map_err(|error| error.to_string())?.takes),
    };
    let table = match raw {
        Value::String(from) => {
            return Ok(Field { from: Some(from), map: None, default: None, unit_us: None });
        }
        Value::Object(table) => table,
        other => return Err(format!("{other} is neither a field's name nor a table")),
    };
    if let Some(unknown) = table.keys().find(|key| !FIELD_KEYS.contains(&key.as_str())) {
        return Err(format!("unknown key {unknown:?}; keys are {}", FIELD_KEYS.join(", ")));
    }
    let text = |name: &str| match table.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("{name} is {other}, not a text")),
    };
    let check = |value: &Value| match takes.map(|takes| takes.read(value)) {
        Some(Err(expected)) => Err(format!("{value} is not {expected}")),
        _ => Ok(()),
    };
    let default = table.get("value").or(table.get("default")).cloned();
    default.iter().try_for_each(check)?;
    let from = text("field")?;
    match (&from, table.contains_key("value")) {
        (None, false) => return Err("it names no field, and no value".to_owned()),
        (Some(_), true) => {
            return Err("field and value exclude each other; default is for lines without".to_owned());
        }
        _ => {}
    }
    let map = match table.get("map") {
        None => None,
        Some(Value::Object(map)) if map.len() <= ENTRIES_MAX => {
            map.values().try_for_each(check)?;
            Some(map.iter().map(|(from, to)| (from.clone(), to.clone())).collect())
        }
        Some(_) => return Err(format!("map is a table of at most {ENTRIES_MAX} words")),
    };
    let unit_us = text("unit")?.map(|unit| unit_us(takes, &unit)).transpose()?;
    Ok(Field { from, map, default, unit_us })
}

fn unit_us(takes: Option<Takes>, unit: &str) -> Result<f64, String> {
    if takes != Some(Takes::Duration) {
        return Err("only time spans have a unit".to_owned());
    }
    match unit {
        "ns" => Ok(1e-3),
        "us" => Ok(1.0),
        "ms" => Ok(1e3),
        "s" => Ok(1e6),
        "min" => Ok(60e6),
        "h" => Ok(3600e6),
        _ => Err(format!("unit {unit:?} is not one of ns, us, ms, s, min, h")),
    }
}

fn wrong<T>(problem: String) -> Result<T, ConfigError> {
    invalid("agent.source", problem)
}
