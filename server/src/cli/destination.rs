//! `muster destination list`, `muster destination dead-letter list|retry|drop`
//!
//! Works on the configuration and the data folder. A running collector sees within seconds what is to be tried again;
//! what it is doing is shown by `muster status`.

use std::fs;
use std::path::Path;

use comfy_table::{Table, presets};
use serde_json::json;

use super::installation::Installation;
use super::{Failure, print, time};
use crate::config::Config;
use crate::forward::dead_letter::{DeadLetterError, DeadLetters, Listed};
use crate::forward::folder_of;

/// Arguments of `muster destination`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    installation: Installation,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the configured destinations and their dead letters.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Requests that a destination would never take.
    #[command(subcommand)]
    DeadLetter(DeadLetterCommand),
}

#[derive(Debug, clap::Subcommand)]
enum DeadLetterCommand {
    /// List them, oldest first.
    List {
        /// Of this destination alone.
        #[arg(long, value_name = "NAME")]
        destination: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have the running collector send them again.
    Retry(Chosen),
    /// Delete them.
    Drop(Chosen),
}

#[derive(Debug, clap::Args)]
struct Chosen {
    /// Of this destination alone.
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// All of them.
    #[arg(long, conflicts_with = "ids", required_unless_present = "ids")]
    all: bool,
    /// Their ids, as `list` shows them.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

/// A dead letter and whose it is.
struct Found {
    destination: String,
    letters: DeadLetters,
    listed: Listed,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.installation.load()?;
    match arguments.command {
        Command::List { json } => list(&config, json),
        Command::DeadLetter(DeadLetterCommand::List { destination, json }) => {
            list_dead_letters(&find(&config.data_dir, destination.as_deref())?, json)
        }
        Command::DeadLetter(DeadLetterCommand::Retry(chosen)) => {
            let chosen = choose(&config.data_dir, &chosen)?;
            for found in &chosen {
                found.letters.retry(&found.listed.id).map_err(Failure::other)?;
            }
            print(&format!("{} will be sent again by the running collector\n", chosen.len()))
        }
        Command::DeadLetter(DeadLetterCommand::Drop(chosen)) => {
            let chosen = choose(&config.data_dir, &chosen)?;
            for found in &chosen {
                found.letters.discard(&found.listed.id).map_err(Failure::other)?;
            }
            print(&format!("{} deleted\n", chosen.len()))
        }
    }
}

fn list(config: &Config, as_json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for destination in &config.destinations {
        let letters = DeadLetters::of(&folder_of(&config.data_dir, &destination.name));
        let letters = letters.list().map_err(Failure::other)?;
        let signals: Vec<_> = destination.signals.iter().map(|signal| signal.name()).collect();
        rows.push(json!({
            "destination": destination.name,
            "profile": destination.profile.name,
            "transport": destination.transport.name(),
            "endpoint": destination.base_url,
            "signals": signals.join(","),
            "dead_letters": letters.len(),
        }));
    }
    if as_json {
        return print(&format!("{}\n", serde_json::Value::from(rows)));
    }
    if rows.is_empty() {
        return print("no destinations are configured\n");
    }
    let columns = ["destination", "profile", "transport", "endpoint", "signals", "dead_letters"];
    print(&super::status::table(&rows, &columns))
}

fn list_dead_letters(all: &[Found], as_json: bool) -> Result<(), Failure> {
    if as_json {
        let rows: Vec<_> = all
            .iter()
            .map(|found| {
                let mut row = json!(found.listed);
                row["destination"] = found.destination.clone().into();
                row
            })
            .collect();
        return print(&format!("{}\n", serde_json::Value::from(rows)));
    }
    if all.is_empty() {
        return print("no dead letters\n");
    }
    let mut table = Table::new();
    let header = ["ID", "DESTINATION", "TIME", "SIGNAL", "ITEMS", "BYTES", "REASON"];
    table.load_style(presets::NOTHING).set_header(header);
    for Found { destination, listed, .. } in all {
        table.add_row([
            listed.id.clone(),
            destination.clone(),
            time(listed.head.time_us),
            listed.head.signal.to_string(),
            listed.head.items.to_string(),
            listed.bytes.to_string(),
            listed.head.reason.clone(),
        ]);
    }
    print(&format!("{}\n", table.trim_fmt()))
}

fn choose(data_dir: &Path, chosen: &Chosen) -> Result<Vec<Found>, Failure> {
    let mut all = find(data_dir, chosen.destination.as_deref())?;
    if chosen.all {
        return Ok(all);
    }
    if let Some(id) = chosen.ids.iter().find(|id| !all.iter().any(|found| found.listed.id == **id)) {
        return Err(Failure::other(DeadLetterError::Unknown(id.clone())));
    }
    all.retain(|found| chosen.ids.contains(&found.listed.id));
    Ok(all)
}

/// All dead letters, also of destinations that are not configured any more.
fn find(data_dir: &Path, destination: Option<&str>) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    for name in destinations(data_dir)? {
        if destination.is_some_and(|wanted| wanted != name) {
            continue;
        }
        let folder = folder_of(data_dir, &name);
        for listed in DeadLetters::of(&folder).list().map_err(Failure::other)? {
            found.push(Found { destination: name.clone(), letters: DeadLetters::of(&folder), listed });
        }
    }
    Ok(found)
}

/// Destinations that have a folder.
fn destinations(data_dir: &Path) -> Result<Vec<String>, Failure> {
    let folder = folder_of(data_dir, "");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::Other(format!("cannot read {}: {error}", folder.display()))),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.collect();
    names.sort();
    Ok(names)
}
