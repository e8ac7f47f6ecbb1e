//! What scripts, hooks and generic sources may state, in words: a kind, and keys with values.
//!
//! ```text
//! key=value, a JSON object, a mapped line ─> Statement (checked against the vocabulary) ─> facts (redacted) ─> spool
//! ```
//!
//! Pure: words in, facts out. The [`vocabulary`] is the one table of kinds and keys; from it come the checks, the words
//! of the errors and the help. Whatever a statement says goes through the doors of [`Facts`] like every source's facts.
//!
//! | wrong | the error |
//! |---|---|
//! | a kind that is none | lists the kinds |
//! | a key that the kind has not | names the nearest, and all |
//! | a value that is none of its key's | says what is expected |
//! | a key that must be there and is not | names it |

use std::collections::BTreeMap;

use muster::clock::WallTime;
use serde_json::{Map, Value as Json};

use crate::facts::Facts;

mod state;
mod value;
pub mod vocabulary;

pub use value::{Takes, Value, duration, time};
pub use vocabulary::{Key, Kind};

use vocabulary::{ATTRIBUTE_PREFIX, ATTRIBUTES};

/// Most keys of one statement, attributes of a log among them.
pub const KEYS_MAX: usize = 64;
/// Longest text of a value. Words are far shorter, and content is cut below this anyhow.
pub const VALUE_BYTES_MAX: usize = 4096;

/// One checked statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// What it is about.
    pub kind: Kind,
    /// When it was, if it says so.
    pub time: Option<WallTime>,
    values: BTreeMap<&'static str, Value>,
    /// Of a log alone.
    attributes: Vec<(String, Value)>,
}

/// Why words are no statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// No such kind.
    #[error("unknown kind {given:?}; kinds are {}{}", Kind::names(), did_you_mean(nearest.as_deref()))]
    UnknownKind {
        /// What was given.
        given: String,
        /// The kind that it is most like.
        nearest: Option<String>,
    },
    /// No such key.
    #[error("{kind} has no key {given:?}{}; its keys are {}", did_you_mean(nearest.as_deref()), kind.key_names())]
    UnknownKey {
        /// Of which kind.
        kind: Kind,
        /// What was given.
        given: String,
        /// The key that it is most like.
        nearest: Option<String>,
    },
    /// A value that its key does not take.
    #[error("{kind}: {key} is {given}, expected {expected}")]
    WrongValue {
        /// Of which kind.
        kind: Kind,
        /// Of which key.
        key: String,
        /// What was given, cut.
        given: String,
        /// What it takes.
        expected: String,
    },
    /// A key that must be there.
    #[error("{kind} needs {what}")]
    Missing {
        /// Of which kind.
        kind: Kind,
        /// What is missing, with an example.
        what: &'static str,
    },
    /// More keys than anybody needs.
    #[error("{kind} has {count} keys, more than {KEYS_MAX}")]
    TooMany {
        /// Of which kind.
        kind: Kind,
        /// How many.
        count: usize,
    },
}

impl Statement {
    /// Checks words. Values may be JSON's own types or text, as on a command line.
    pub fn read(kind: &str, fields: &Map<String, Json>) -> Result<Self, StatementError> {
        let kind = Kind::named(kind)?;
        let mut statement = Self { kind, time: None, values: BTreeMap::new(), attributes: Vec::new() };
        for (key, value) in fields {
            statement.take(key, value)?;
        }
        let count = statement.values.len() + statement.attributes.len();
        if count > KEYS_MAX {
            return Err(StatementError::TooMany { kind, count });
        }
        statement.check()?;
        Ok(statement)
    }

    /// States it as facts of whoever speaks now.
    pub fn state(&self, time: WallTime, facts: &mut Facts) {
        state::state(self, time, facts);
    }

    /// The value of a key, if it was given.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    fn take(&mut self, key: &str, value: &Json) -> Result<(), StatementError> {
        // Programs write null for what they do not know.
        if value.is_null() {
            return Ok(());
        }
        if self.kind == Kind::Log {
            if let Some(name) = key.strip_prefix(ATTRIBUTE_PREFIX) {
                return self.take_attribute(name, value);
            }
            if let (ATTRIBUTES, Json::Object(attributes)) = (key, value) {
                return attributes.iter().try_for_each(|(name, value)| self.take_attribute(name, value));
            }
        }
        let spec = self.kind.key(key)?;
        let read = spec.takes.read(value).map_err(|expected| self.wrong(key, value, expected))?;
        match (spec.name, read) {
            (vocabulary::TIME, Value::Time(time)) => self.time = Some(time),
            (name, read) => drop(self.values.insert(name, read)),
        }
        Ok(())
    }

    fn take_attribute(&mut self, name: &str, value: &Json) -> Result<(), StatementError> {
        if value.is_null() {
            return Ok(());
        }
        if name.is_empty() {
            return Err(self.wrong(
                ATTRIBUTE_PREFIX,
                value,
                "a name behind the dot, like attr.step=build".into(),
            ));
        }
        let read = value::attribute(value)
            .ok_or_else(|| self.wrong(name, value, "a word, a number, true or false".to_owned()))?;
        self.attributes.push((name.to_owned(), read));
        Ok(())
    }

    fn check(&self) -> Result<(), StatementError> {
        let has = |key: &str| self.values.contains_key(key);
        let mut missing = self.kind.missing(&has);
        // Only the end of a run has a status.
        let began = self.value("event") == Some(&Value::Choice("started"));
        if self.kind == Kind::Run && !began && !has("status") {
            missing = missing.or(Some("status=success, failure, error or skipped (or event=started)"));
        }
        match missing {
            Some(what) => Err(StatementError::Missing { kind: self.kind, what }),
            None => Ok(()),
        }
    }

    fn wrong(&self, key: &str, value: &Json, expected: String) -> StatementError {
        let mut given = value.to_string();
        if given.len() > GIVEN_BYTES_MAX {
            given.truncate(given.floor_char_boundary(GIVEN_BYTES_MAX));
            given.push_str("...");
        }
        StatementError::WrongValue { kind: self.kind, key: key.to_owned(), given, expected }
    }
}

/// How much of a wrong value an error repeats.
const GIVEN_BYTES_MAX: usize = 80;

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"))
}

#[cfg(test)]
mod tests;
