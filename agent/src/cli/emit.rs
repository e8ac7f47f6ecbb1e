//! `agent emit`: an event in words, from a script or a hook.
//!
//! Silent when it is done; what is wrong is said before anything is touched. Exit codes: 0 on disk, 1 not, 2 wrong words.

use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use muster::clock::{Clock, SystemClock, WallTime};
use muster::settings;
use serde_json::{Map, Value};

use super::Failure;
use crate::config::LocalConfig;
use crate::emit::vocabulary::ATTRIBUTE_PREFIX;
use crate::emit::{Kind, Statement, Takes};
use crate::local::protocol::{EVENTS_MAX, Event, Request};
use crate::local::{self, DeliveryError};

/// Most bytes of JSON that are read.
const JSON_BYTES_MAX: u64 = 4 << 20;

/// Where commands find spool and agent; shared by `emit` and `exec`.
#[derive(Debug, Clone, Args)]
pub struct PlaceArgs {
    /// The project's name [default: that of the folder's repository]
    #[arg(long, value_name = "NAME", env = "MUSTER_PROJECT")]
    pub project: Option<String>,
    /// The agent's state directory
    #[arg(long, value_name = "DIR", env = "MUSTER_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Configuration file
    #[arg(long, value_name = "FILE", env = "MUSTER_CONFIG")]
    pub config: Option<PathBuf>,
}

/// Flags of `agent emit`.
#[derive(Debug, Args)]
#[command(after_help = "`emit --help` lists the kinds and their keys.", after_long_help = kinds_in_words())]
pub struct EmitArgs {
    /// run, session, finding, usage, push, value or log
    #[arg(required_unless_present = "json")]
    kind: Option<String>,
    /// Keys with values, like worker=lint status=success duration=1.2s
    #[arg(value_name = "KEY=VALUE")]
    fields: Vec<String>,
    /// Read JSON: an object, an array, or an object a line; `-` for standard input
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The tool that speaks: the label `tool`
    #[arg(long, value_name = "NAME", default_value = "script")]
    tool: String,
    /// When it was: RFC 3339, or seconds since the epoch [default: now]
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
}

impl PlaceArgs {
    /// The part of the configuration that is needed.
    pub fn resolve(&self) -> Result<LocalConfig, Failure> {
        LocalConfig::load(self.config.as_deref(), self.state_dir.as_deref(), &settings::process_environment)
            .map_err(Failure::usage)
    }

    /// A request of `tool` in this folder.
    pub fn request(&self, tool: &str, events: Vec<Event>) -> Result<Request, DeliveryError> {
        Ok(Request {
            id: local::new_request_id()?,
            tool: tool.to_owned(),
            tool_version: String::new(),
            project: self.project.clone(),
            // A folder that was deleted under us has no project.
            folder: std::env::current_dir().unwrap_or_default().to_string_lossy().into_owned(),
            repository: String::new(),
            branch: String::new(),
            events,
        })
    }
}

pub(super) fn emit(args: &EmitArgs) -> Result<ExitCode, Failure> {
    let config = args.place.resolve()?;
    let time = time(args.time.as_deref()).map_err(Failure::usage)?;
    let objects = objects(args).map_err(Failure::usage)?;
    let events = events(objects, args.kind.as_deref(), time).map_err(Failure::usage)?;
    if events.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let request = args.place.request(&args.tool, events).map_err(Failure::failed)?;
    local::deliver(&config, &request).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}

fn time(text: Option<&str>) -> anyhow::Result<WallTime> {
    let Some(text) = text else { return Ok(SystemClock::new().wall()) };
    crate::emit::time(text).with_context(|| {
        format!("--time {text:?} is not a time like 2026-03-10T09:00:00Z or seconds since the epoch")
    })
}

/// The command line's fields, or the objects of the JSON.
fn objects(args: &EmitArgs) -> anyhow::Result<Vec<Map<String, Value>>> {
    let Some(path) = &args.json else { return Ok(vec![pairs(&args.fields)?]) };
    if !args.fields.is_empty() {
        bail!("keys come either from the command line or from --json, not from both");
    }
    let text = read(path).with_context(|| format!("cannot read {}", path.display()))?;
    json_objects(&text)
}

fn read(path: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    let bytes_max = JSON_BYTES_MAX + 1;
    if path.as_os_str() == "-" {
        std::io::stdin().take(bytes_max).read_to_end(&mut text)?;
    } else {
        std::fs::File::open(path)?.take(bytes_max).read_to_end(&mut text)?;
    }
    if text.len() as u64 > JSON_BYTES_MAX {
        bail!(
            "it has more than {JSON_BYTES_MAX} bytes; for more, let a source follow a file (docs/run-anything.md)"
        );
    }
    Ok(text)
}

/// `key=value` as an object; a key that comes twice is a mistake.
fn pairs(fields: &[String]) -> anyhow::Result<Map<String, Value>> {
    let mut object = Map::new();
    for field in fields {
        let Some((key, value)) = field.split_once('=') else {
            bail!("{field:?} is not KEY=VALUE, like worker=lint");
        };
        let value = if key.starts_with(ATTRIBUTE_PREFIX) { typed(value) } else { value.into() };
        if object.insert(key.to_owned(), value).is_some() {
            bail!("{key} is given twice");
        }
    }
    Ok(object)
}

/// An attribute has no type of its own: numbers and truths are known by their looks.
fn typed(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Bool(_) | Value::Number(_))) => value,
        _ => text.into(),
    }
}

/// One object, an array of them, or one after the other.
fn json_objects(text: &[u8]) -> anyhow::Result<Vec<Map<String, Value>>> {
    let objects: Vec<Map<String, Value>> = if text.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice(text).context("not an array of JSON objects")?
    } else {
        let stream = serde_json::Deserializer::from_slice(text).into_iter();
        stream.take(EVENTS_MAX + 1).collect::<Result<_, _>>().context("not JSON objects, one a line")?
    };
    if objects.len() > EVENTS_MAX {
        bail!("more than {EVENTS_MAX} objects; for more, let a source follow a file (docs/run-anything.md)");
    }
    Ok(objects)
}

/// Checked here, so that a mistake is told whether an agent runs or not.
fn events(
    objects: Vec<Map<String, Value>>,
    kind: Option<&str>,
    time: WallTime,
) -> anyhow::Result<Vec<Event>> {
    let count = objects.len();
    let mut events = Vec::with_capacity(count);
    for (index, mut fields) in objects.into_iter().enumerate() {
        let place = |error: anyhow::Error| match count {
            1 => error,
            _ => anyhow!("object {}: {error}", index + 1),
        };
        let kind = kind_of(&mut fields, kind).map_err(place)?;
        Statement::read(&kind, &fields).map_err(|error| place(error.into()))?;
        events.push(Event { kind, time_us: time.0, fields });
    }
    Ok(events)
}

fn kind_of(fields: &mut Map<String, Value>, kind: Option<&str>) -> anyhow::Result<String> {
    match (fields.remove("kind"), kind) {
        (Some(Value::String(own)), Some(kind)) if own != kind => {
            bail!("it is of kind {own:?}, and the command says {kind:?}")
        }
        (Some(Value::String(own)), _) => Ok(own),
        (Some(_), _) => bail!("kind is not a text; kinds are {}", Kind::names()),
        (None, Some(kind)) => Ok(kind.to_owned()),
        (None, None) => bail!("it has no kind; kinds are {}", Kind::names()),
    }
}

fn kinds_in_words() -> String {
    let mut text = String::from("Kinds and their keys:\n");
    for kind in Kind::all() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{kind}: {}", kind.about());
        for key in kind.keys() {
            let takes = match key.takes {
                Takes::Duration | Takes::Bytes | Takes::Usd | Takes::Truth | Takes::OneOf(_) => {
                    format!(": {}", key.takes.expected())
                }
                _ => String::new(),
            };
            let _ = writeln!(text, "  {:<20}{}{takes}", key.name, key.about);
        }
        if kind == Kind::Log {
            let _ = writeln!(text, "  {:<20}an attribute: a word, a number, true or false", "attr.NAME");
        }
    }
    text.push_str(
        "\nExamples:\n  muster agent emit run worker=lint status=success duration=1.2s\n  muster agent emit usage \
         model=claude-opus-4.5 input_tokens=1200 cost_usd=0.04\n  echo '{\"kind\":\"log\",\"name\":\"deploy\"}' | muster \
         agent emit --json -\n",
    );
    text
}
