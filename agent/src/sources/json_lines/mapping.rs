//! What a line becomes: the table of `[[agent.source]]`, applied. Pure.

use std::collections::BTreeMap;

use muster::clock::WallTime;
use serde_json::{Map, Value};

use crate::emit::{self, Kind, Statement};

/// From a line to a statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// What lines become.
    pub kind: Kind,
    /// Only lines whose fields have one of these values, all of them.
    pub when: Vec<(String, Vec<Value>)>,
    /// Where a line's time is; without it the time is when the line is read.
    pub time: Option<TimeField>,
    /// Keys of the kind, and where their values come from.
    pub fields: BTreeMap<String, Field>,
}

/// Where a time is and how it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeField {
    /// The field; dots lead into objects.
    pub field: String,
    /// How it is written.
    pub format: TimeFormat,
}

/// How times are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TimeFormat {
    /// RFC 3339, as a text.
    Rfc3339,
    /// A number since the epoch, of this many microseconds each.
    Epoch {
        /// Of one; 0.001 for nanoseconds.
        unit_us: f64,
    },
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The field; dots lead into objects. `None`: the default always.
    pub from: Option<String>,
    /// Other words for its values; a value without one gets the default.
    pub map: Option<BTreeMap<String, Value>>,
    /// What stands where there is none.
    pub default: Option<Value>,
    /// Microseconds of one, where it is a number of a time span.
    pub unit_us: Option<f64>,
}

/// What a line became.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// Nothing stands there.
    Blank,
    /// `when` does not want it.
    PassedOver,
    /// It cannot be read, and why.
    Wrong(String),
    /// What it says.
    Statement(Statement),
}

/// Longest time span that a number is taken for, in microseconds: more is said by the check of the statement.
const SPAN_US_MAX: f64 = 1e18;

impl Mapping {
    /// Reads a line.
    pub fn read(&self, line: &[u8]) -> Line {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Line::Blank;
        }
        let object = match serde_json::from_slice::<Value>(line) {
            Ok(object @ Value::Object(_)) => object,
            Ok(_) => return Line::Wrong("it is no JSON object".to_owned()),
            Err(error) => return Line::Wrong(format!("it is no JSON: {error}")),
        };
        let is_wanted = |(field, values): &(String, Vec<Value>)| {
            look_up(&object, field).is_some_and(|found| values.iter().any(|value| is_same(value, found)))
        };
        if !self.when.iter().all(is_wanted) {
            return Line::PassedOver;
        }
        match self.statement(&object) {
            Ok(statement) => Line::Statement(statement),
            Err(why) => Line::Wrong(why),
        }
    }

    fn statement(&self, object: &Value) -> Result<Statement, String> {
        let mut fields = Map::new();
        for (key, field) in &self.fields {
            let value = field.value(object).map_err(|why| format!("{key}: {why}"))?;
            fields.extend(value.map(|value| (key.clone(), value)));
        }
        let mut statement = Statement::read(self.kind.name(), &fields).map_err(|error| error.to_string())?;
        if let Some(time) = &self.time {
            statement.time = Some(time.read(object)?);
        }
        Ok(statement)
    }
}

impl TimeField {
    fn read(&self, object: &Value) -> Result<WallTime, String> {
        let found =
            look_up(object, &self.field).ok_or_else(|| format!("it has no time in {}", self.field))?;
        let time = match (self.format, found) {
            // Python's isoformat with a stray Z, and without a zone, are usual; a time without a zone is nobody's.
            (TimeFormat::Rfc3339, Value::String(text)) => {
                text.contains(['-', ':']).then(|| emit::time(text.trim())).flatten()
            }
            (TimeFormat::Epoch { unit_us }, Value::Number(number)) => epoch(number.as_f64(), unit_us),
            (TimeFormat::Epoch { unit_us }, Value::String(text)) => epoch(text.trim().parse().ok(), unit_us),
            _ => None,
        };
        time.ok_or_else(|| format!("{} is {}, which is no time of its format", self.field, shown(found)))
    }
}

impl Field {
    fn value(&self, object: &Value) -> Result<Option<Value>, String> {
        let found = self.from.as_deref().and_then(|field| look_up(object, field));
        let Some(found) = found else { return Ok(self.default.clone()) };
        let value = match &self.map {
            None => found.clone(),
            Some(map) => match map.get(&as_text(found)).or(self.default.as_ref()) {
                Some(value) => value.clone(),
                None => return Err(format!("{} is not in its map", shown(found))),
            },
        };
        let Some(unit_us) = self.unit_us else { return Ok(Some(value)) };
        let number = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.map(|number: f64| (number * unit_us).round()) {
            Some(us) if (0.0..=SPAN_US_MAX).contains(&us) => Ok(Some(format!("{}us", us as u64).into())),
            _ => Err(format!("{} is no number of a time span", shown(&value))),
        }
    }
}

/// A field by its name, or by the way through objects that its dots show. Null is as good as nothing.
fn look_up<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let whole = object.get(path);
    let found = whole.or_else(|| {
        let (first, rest) = path.split_once('.')?;
        look_up(object.get(first)?, rest)
    });
    found.filter(|value| !value.is_null())
}

fn epoch(number: Option<f64>, unit_us: f64) -> Option<WallTime> {
    emit::time(&format!("{:.6}", number? * unit_us / 1e6))
}

/// `1` and `"1"`, `true` and `"true"` are the same to a filter.
fn is_same(wanted: &Value, found: &Value) -> bool {
    wanted == found || as_text(wanted) == as_text(found)
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What of a value stands in an error, which the user alone sees.
fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > 60 {
        text.truncate(text.floor_char_boundary(60));
        text.push_str("...");
    }
    text
}
