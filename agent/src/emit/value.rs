//! Values of keys: what each takes, read from text or from JSON's own types. Pure.

use std::time::Duration;

use muster::clock::WallTime;
use serde_json::Value as Json;

use super::VALUE_BYTES_MAX;

/// What a key's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A name or a word of state.
    Word,
    /// Any text; only its hash leaves.
    Id,
    /// Words of people, which are content.
    Text,
    /// A file of the project.
    File,
    /// A whole number from 0.
    Count,
    /// A whole number from 0 that fits 32 bits.
    Small,
    /// A whole number.
    Signed,
    /// True or false.
    Truth,
    /// A time span with its unit.
    Duration,
    /// A point in time.
    Time,
    /// US dollars.
    Usd,
    /// Bytes, with or without a unit.
    Bytes,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A word, an id, a file or a text.
    Text(String),
    /// A number from 0: counts, bytes, microseconds.
    Count(u64),
    /// A whole number: codes, millionths of a dollar.
    Signed(i64),
    /// A number of an attribute.
    Number(f64),
    /// True or false.
    Truth(bool),
    /// A point in time.
    Time(WallTime),
    /// One of the words of its key.
    Choice(&'static str),
}

/// Longest time span that is believed: a year.
const DURATION_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Last second that is taken for a time: the end of the year 9999.
const EPOCH_SECONDS_MAX: f64 = 253_402_300_799.0;
/// Dearer than anything that one piece of work costs.
const USD_MAX: f64 = 1e9;

impl Takes {
    /// Reads a value, or says what is expected.
    pub fn read(self, value: &Json) -> Result<Value, String> {
        let text = match value {
            Json::String(text) => text.trim().to_owned(),
            Json::Number(number) => number.to_string(),
            Json::Bool(truth) => truth.to_string(),
            Json::Null | Json::Array(_) | Json::Object(_) => return Err(self.expected()),
        };
        if text.len() > VALUE_BYTES_MAX {
            return Err(format!("at most {VALUE_BYTES_MAX} bytes"));
        }
        self.read_text(&text).ok_or_else(|| self.expected())
    }

    /// What it takes, in words with an example.
    pub fn expected(self) -> String {
        match self {
            Takes::Word => "a word or a name".to_owned(),
            Takes::Id => "an id".to_owned(),
            Takes::Text => "a text".to_owned(),
            Takes::File => "a file's path".to_owned(),
            Takes::Count => "a whole number from 0, like 1200".to_owned(),
            Takes::Small => format!("a whole number from 0 to {}", u32::MAX),
            Takes::Signed => "a whole number, like -1".to_owned(),
            Takes::Truth => "true or false".to_owned(),
            Takes::Duration => "a time span with its unit, like 250ms, 1.5s, 3m or 1h30m".to_owned(),
            Takes::Time => "a time, like 2026-03-10T09:00:00Z or seconds since the epoch".to_owned(),
            Takes::Usd => "US dollars, like 0.0421".to_owned(),
            Takes::Bytes => "bytes, like 1048576, 512KiB or 20MiB".to_owned(),
            Takes::OneOf(words) => format!("one of {}", words.join(", ")),
        }
    }

    fn read_text(self, text: &str) -> Option<Value> {
        match self {
            Takes::Word | Takes::Id | Takes::Text | Takes::File => {
                (!text.is_empty()).then(|| Value::Text(text.to_owned()))
            }
            Takes::Count => text.parse().ok().map(Value::Count),
            Takes::Small => text.parse::<u32>().ok().map(|count| Value::Count(count.into())),
            Takes::Signed => text.parse().ok().map(Value::Signed),
            Takes::Truth => match text {
                "true" | "yes" | "1" => Some(Value::Truth(true)),
                "false" | "no" | "0" => Some(Value::Truth(false)),
                _ => None,
            },
            Takes::Duration => duration(text).map(|d| Value::Count(d.as_micros() as u64)),
            Takes::Time => time(text).map(Value::Time),
            Takes::Usd => usd(text).map(Value::Signed),
            Takes::Bytes => bytes(text).map(Value::Count),
            Takes::OneOf(words) => {
                let folded = text.to_ascii_lowercase().replace('-', "_");
                words.iter().find(|word| **word == folded).map(|word| Value::Choice(word))
            }
        }
    }
}

/// An attribute's value: JSON's own types.
pub(super) fn attribute(value: &Json) -> Option<Value> {
    match value {
        Json::Bool(truth) => Some(Value::Truth(*truth)),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Some(Value::Signed(whole)),
            None => number.as_f64().filter(|n| n.is_finite()).map(Value::Number),
        },
        Json::String(text) if text.len() <= VALUE_BYTES_MAX => Some(Value::Text(text.trim().to_owned())),
        _ => None,
    }
}

/// `250ms`, `1.5s`, `1h30m`: numbers, each with its unit. Without a unit it is none, since nobody knows which was meant.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit = match unit.trim() {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = after.trim_start();
    }
    // Rounded to what an event can hold, so that 1.1s is 1,100,000 us and not one less.
    let micros = (seconds * 1e6).round();
    (micros <= DURATION_MAX.as_micros() as f64).then(|| Duration::from_micros(micros as u64))
}

/// RFC 3339, or seconds since the epoch.
pub fn time(text: &str) -> Option<WallTime> {
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds > 0.0 && seconds <= EPOCH_SECONDS_MAX)
            .then(|| WallTime((seconds * 1e6).round() as u64));
    }
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(timestamp.as_microsecond()).ok().filter(|us| *us > 0).map(WallTime)
}

/// Dollars as millionths of one.
fn usd(text: &str) -> Option<i64> {
    let dollars: f64 = text.strip_prefix('$').unwrap_or(text).parse().ok()?;
    (0.0..=USD_MAX).contains(&dollars).then(|| (dollars * 1e6).round() as i64)
}

/// A number of bytes with a unit of 1024 (`KiB`) or 1000 (`kB`), or none.
fn bytes(text: &str) -> Option<u64> {
    if let Ok(bytes) = text.parse() {
        return Some(bytes);
    }
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let unit: u64 = match unit {
        "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let bytes = number.trim().parse::<f64>().ok()? * unit as f64;
    (bytes >= 0.0 && bytes <= (1_u64 << 60) as f64).then(|| bytes.round() as u64)
}
