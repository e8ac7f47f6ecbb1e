//! Changing a few settings of `[agent]` in a configuration's text, and nothing else of it: comments, order and the other
//! sections stay as they were written.
//!
//! The result is parsed and compared with what it should say. A form that this does not manage (`agent = { .. }`) is
//! refused with what to write by hand, never guessed at.

use std::ops::Range;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

/// What is asked for; `None` and empty leave the file's word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The collector.
    pub server: Option<String>,
    /// Added to what is watched.
    pub watch: Vec<PathBuf>,
    /// Where the agent keeps its state.
    pub state_dir: Option<PathBuf>,
    /// The file with the token.
    pub token_file: Option<PathBuf>,
    /// The CA's certificate.
    pub ca_file: Option<PathBuf>,
}

/// Why a text is not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// No TOML.
    #[error("configuration is not valid: {0}")]
    Syntax(String),
    /// A form that is not edited.
    #[error(
        "its section [agent] has a form that is not changed by a program; write this there yourself: {0}"
    )]
    ByHand(String),
    /// A path that TOML cannot hold.
    #[error("{} is not UTF-8, which a configuration cannot name", .0.display())]
    NotText(PathBuf),
}

/// `text` with the changes. The same text if it says all of it already.
pub fn apply(text: &str, changes: &Changes) -> Result<String, EditError> {
    let parse = |text: &str| text.parse::<Table>().map_err(|error| EditError::Syntax(error.to_string()));
    let mut wanted = parse(text)?;
    let mut edited = text.to_owned();
    for (key, value) in changes.settings()? {
        let by_hand = || EditError::ByHand(format!("{key} = {value}"));
        let agent = wanted.entry("agent").or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(agent) = agent else { return Err(by_hand()) };
        let Some(after) = merged(agent.get(key), &value) else { continue };
        agent.insert(key.to_owned(), after);
        edited = set(&edited, key, &value).ok_or_else(by_hand)?;
        if parse(&edited).ok().as_ref() != Some(&wanted) {
            return Err(by_hand());
        }
    }
    Ok(edited)
}

impl Changes {
    /// Keys and what they are to be; of a list, what it is to have besides.
    fn settings(&self) -> Result<Vec<(&'static str, Value)>, EditError> {
        let text = |path: &PathBuf| match path.to_str() {
            Some(text) => Ok(Value::String(text.to_owned())),
            None => Err(EditError::NotText(path.clone())),
        };
        let mut settings = Vec::new();
        if let Some(server) = &self.server {
            settings.push(("server", Value::String(server.clone())));
        }
        let files =
            [("state_dir", &self.state_dir), ("token_file", &self.token_file), ("ca_file", &self.ca_file)];
        for (key, path) in files {
            if let Some(path) = path {
                settings.push((key, text(path)?));
            }
        }
        if !self.watch.is_empty() {
            let paths: Result<Vec<_>, _> = self.watch.iter().map(text).collect();
            settings.push(("watch", Value::Array(paths?)));
        }
        Ok(settings)
    }
}

/// What a setting says afterwards; `None` if it says that already.
fn merged(before: Option<&Value>, value: &Value) -> Option<Value> {
    let after = match (before, value) {
        (Some(Value::Array(before)), Value::Array(more)) => {
            let new = more.iter().filter(|item| !before.contains(item));
            Value::Array(before.iter().chain(new).cloned().collect())
        }
        _ => value.clone(),
    };
    (before != Some(&after)).then_some(after)
}

/// The text with one setting changed; `None` where there is no place for it.
fn set(text: &str, key: &str, value: &Value) -> Option<String> {
    let document = DeTable::parse(text).ok()?;
    let agent = document.get_ref().get("agent").and_then(|agent| agent.get_ref().as_table());
    match agent.and_then(|agent| agent.get(key)) {
        Some(before) => match (before.get_ref(), value) {
            (DeValue::Array(items), Value::Array(more)) if !items.is_empty() => {
                let last = items.iter().last()?.span();
                let known: Vec<_> = items.iter().filter_map(|item| item.get_ref().as_str()).collect();
                let new = more.iter().filter(|item| item.as_str().is_none_or(|text| !known.contains(&text)));
                let added: String = new.map(|item| format!(", {item}")).collect();
                Some(replaced(text, last.end..last.end, &added))
            }
            _ => Some(replaced(text, before.span(), &value.to_string())),
        },
        None => Some(insert(text, &format!("{key} = {value}\n"))),
    }
}

/// The text with a line more, right below `[agent]`, which is made at the end if it is not there.
fn insert(text: &str, line: &str) -> String {
    let mut at = 0;
    for existing in text.split_inclusive('\n') {
        at += existing.len();
        let head = existing.split('#').next().unwrap_or_default().replace([' ', '\t', '\r', '\n'], "");
        if head == "[agent]" {
            let line = if existing.ends_with('\n') { line.to_owned() } else { format!("\n{line}") };
            return replaced(text, at..at, &line);
        }
    }
    let gap = match text {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    format!("{text}{gap}[agent]\n{line}")
}

fn replaced(text: &str, range: Range<usize>, by: &str) -> String {
    let mut replaced = text.to_owned();
    replaced.replace_range(range, by);
    replaced
}

/// Whether the agent's section is all that the text says, so that the file can go with the agent.
pub fn is_only_agent(text: &str) -> bool {
    text.parse::<Table>().is_ok_and(|table| table.keys().all(|key| key == "agent"))
}
