//! `muster agents list|show|revoke|rename`: the agents that have certificates.
//!
//! Works on the data folder; a running collector sees a change within a second, and ends what a revoked agent has open.

use std::path::Path;

use muster::clock::{Clock, SystemClock, WallTime};
use muster::ids::Team;
use serde_json::{Value, json};

use super::own::OwnArguments;
use super::{Failure, audited, print, time};
use crate::agents::{AGENT_TEXT_BYTES_MAX, AgentFile, AgentRecord};
use crate::audit::{Entry, What, Who};

/// A name this much alike is worth naming (Jaro-Winkler, 0 to 1).
const LIKENESS_MIN: f64 = 0.75;
/// The shortest beginning of an id that stands for it.
const ID_DIGITS_MIN: usize = 4;

/// Arguments of `muster agents`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    own: OwnArguments,
    /// Of this team alone.
    #[arg(long, global = true)]
    team: Option<Team>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the agents that have enrolled.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show all that is known of an agent.
    Show {
        /// Its name, or its id or the beginning of that.
        agent: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take an agent's certificate from it for good. What it has open ends within 5 s.
    Revoke {
        /// Its name, or its id or the beginning of that.
        agent: String,
    },
    /// Call an agent something else.
    Rename {
        /// Its name, or its id or the beginning of that.
        agent: String,
        /// What to call it.
        name: String,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let data_dir = arguments.own.load()?.data_dir;
    let now = SystemClock::new().wall();
    let mut records = AgentFile::list(&data_dir).map_err(Failure::other)?;
    records.retain(|record| arguments.team.as_ref().is_none_or(|team| record.team == *team));
    match arguments.command {
        Command::List { json } => print(&if json {
            let rows: Vec<_> = records.iter().map(|record| as_json(record, now)).collect();
            format!("{}\n", Value::from(rows))
        } else {
            as_table(&records, now)
        }),
        Command::Show { agent, json } => {
            let record = find(&records, &agent)?;
            print(&if json { format!("{}\n", as_json(record, now)) } else { as_words(record, now) })
        }
        Command::Revoke { agent } => revoke(&data_dir, find(&records, &agent)?, now),
        Command::Rename { agent, name } => rename(&data_dir, find(&records, &agent)?, &name),
    }
}

fn revoke(data_dir: &Path, record: &AgentRecord, now: WallTime) -> Result<(), Failure> {
    let mut file = AgentFile::edit(data_dir).map_err(Failure::other)?;
    let changed = file.change(&record.name(), |record| record.revoked_us.replace(now.0).is_none());
    let record = changed.map_err(Failure::other)?;
    let entry = Entry::new(What::AgentRevoked, Who::Command("agents revoke"));
    audited(data_dir, &entry.team(&record.team).agent(record.id).with("name", record.name.as_str()));
    print(&format!("{} ({}) of team {} is revoked\n", record.name, record.id, record.team))
}

fn rename(data_dir: &Path, record: &AgentRecord, name: &str) -> Result<(), Failure> {
    if name.is_empty() || name.len() > AGENT_TEXT_BYTES_MAX || name.contains(char::is_control) {
        return Err(Failure::Usage(format!(
            "a name is 1 to {AGENT_TEXT_BYTES_MAX} bytes without control characters"
        )));
    }
    let mut file = AgentFile::edit(data_dir).map_err(Failure::other)?;
    let changed = file.change(&record.name(), |record| {
        let is_other = record.name != name;
        name.clone_into(&mut record.name);
        is_other
    });
    let renamed = changed.map_err(Failure::other)?;
    let entry = Entry::new(What::AgentRenamed, Who::Command("agents rename"));
    audited(data_dir, &entry.team(&renamed.team).agent(renamed.id).with("name", name));
    print(&format!("{} is called {} now\n", renamed.id, renamed.name))
}

/// The agent of this name, id, or beginning of an id.
fn find<'a>(records: &'a [AgentRecord], asked: &str) -> Result<&'a AgentRecord, Failure> {
    let is_of_id = |record: &&AgentRecord| {
        asked.len() >= ID_DIGITS_MIN && record.id.to_string().starts_with(&asked.to_ascii_lowercase())
    };
    let named: Vec<_> = records.iter().filter(|record| record.name == asked).collect();
    let found = if named.is_empty() { records.iter().filter(is_of_id).collect() } else { named };
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::Other(not_found(records, asked))),
        several => {
            let ids: Vec<_> =
                several.iter().take(5).map(|record| format!("{} ({})", record.id, record.team)).collect();
            Err(Failure::Other(format!(
                "{asked:?} may be {} agents: {}; name one by its id, or its team with --team",
                several.len(),
                ids.join(", ")
            )))
        }
    }
}

fn not_found(records: &[AgentRecord], asked: &str) -> String {
    let likeness = |record: &&AgentRecord| strsim::jaro_winkler(&record.name, asked);
    let nearest = records.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let nearest = nearest.filter(|record| likeness(record) >= LIKENESS_MIN);
    let asked: String = asked.chars().take(80).collect();
    match nearest {
        Some(record) => format!("no agent is called {asked:?}; did you mean `{}`?", record.name),
        None => format!("no agent has the name or id {asked:?}; `muster agents list` shows them"),
    }
}

fn as_json(record: &AgentRecord, now: WallTime) -> Value {
    json!({
        "id": record.id,
        "team": record.team,
        "name": record.name,
        "state": record.state(now),
        "host": record.host,
        "user": record.user,
        "os": record.os,
        "version": record.agent_version,
        "enrolled": time(record.enrolled_us),
        "token": record.token_id,
        "serial": record.serial,
        "not_after": time(record.not_after_us),
        "renewed": record.renewed_us.map(time),
        "revoked": record.revoked_us.map(time),
    })
}

fn as_table(records: &[AgentRecord], now: WallTime) -> String {
    let mut table = comfy_table::Table::new();
    let header = ["ID", "TEAM", "NAME", "USER", "HOST", "STATE", "ENROLLED", "CERTIFICATE ENDS"];
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    for record in records {
        table.add_row([
            &record.id.to_string(),
            record.team.as_str(),
            &record.name,
            &record.user,
            &record.host,
            record.state(now),
            &time(record.enrolled_us),
            &time(record.not_after_us),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

fn as_words(record: &AgentRecord, now: WallTime) -> String {
    let value = as_json(record, now);
    let fields = [
        "id",
        "team",
        "name",
        "state",
        "user",
        "host",
        "os",
        "version",
        "enrolled",
        "token",
        "renewed",
        "serial",
        "not_after",
        "revoked",
    ];
    let line = |field: &str| {
        let text = value[field].as_str().filter(|text| !text.is_empty()).unwrap_or("-");
        format!("{field:10} {text}\n")
    };
    fields.iter().map(|field| line(field)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster::credential::Token;
    use muster::ids::AgentId;

    fn record(n: u8, team: &str, name: &str) -> AgentRecord {
        AgentRecord {
            id: AgentId::from_bytes([n; 16]),
            team: team.parse().expect("team"),
            name: name.to_owned(),
            host: String::new(),
            user: "dana".to_owned(),
            os: String::new(),
            agent_version: String::new(),
            enrolled_us: 0,
            token_id: Token::from_random([n; 44]).id().clone(),
            serial: String::new(),
            not_after_us: 0,
            renewed_us: None,
            revoked_us: None,
        }
    }

    #[test]
    fn an_agent_is_found_by_its_name_or_id_and_the_nearest_is_named_if_not() {
        let records = [
            record(0x11, "red", "danas-laptop"),
            record(0x12, "red", "build"),
            record(0x13, "blue", "build"),
        ];
        assert_eq!(find(&records, "danas-laptop").expect("found").team.as_str(), "red");
        assert_eq!(find(&records, "1212").expect("found").id, records[1].id);
        assert_eq!(find(&records, &records[2].id.to_string()).expect("found").id, records[2].id);
        let said = |asked| find(&records, asked).expect_err("not found").to_string();
        assert_eq!(said("dana-laptop"), "no agent is called \"dana-laptop\"; did you mean `danas-laptop`?");
        assert!(said("build").contains("2 agents") && said("build").contains("--team"));
        assert!(said("12").contains("muster agents list") && said("zzz").contains("muster agents list"));
    }
}
