//! `muster agents list|show|revoke|rename|forget`: the agents that have certificates.
//!
//! Works on the data folder; a running collector sees a change within a second, and ends what a revoked agent has open.
//! What an agent's configuration is (docs/remote-configuration.md) only the running collector knows: it is asked, and
//! nothing is said of it where it does not answer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use muster::clock::{Clock, SystemClock, WallTime};
use muster::ids::Team;
use serde_json::{Value, json};

use super::collector::{Collector, CollectorArguments};
use super::installation::Installation;
use super::{Failure, audited, configuration, print, status, time};
use crate::agents::{AGENT_TEXT_BYTES_MAX, AgentFile, AgentFileError, AgentRecord};
use crate::audit::{Entry, What, Who};
use crate::config::Config;

/// A name this much alike is worth naming (Jaro-Winkler, 0 to 1).
const LIKENESS_MIN: f64 = 0.75;
/// The shortest beginning of an id that stands for it.
const ID_DIGITS_MIN: usize = 4;

/// A collector that was not named and does not answer at once is done without.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// The row of an agent that was never heard.
static UNHEARD: Value = Value::Null;

/// Arguments of `muster agents`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    installation: Installation,
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
        #[command(flatten)]
        collector: CollectorArguments,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show all that is known of an agent.
    Show {
        #[command(flatten)]
        collector: CollectorArguments,
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
    /// Remove the record of an agent that was revoked or has expired, for longer than a certificate lives.
    Forget {
        /// Its name, or its id or the beginning of that.
        agent: String,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.installation.load()?;
    let data_dir = config.data_dir.clone();
    let now = SystemClock::new().wall();
    let mut records = AgentFile::list(&data_dir).map_err(Failure::other)?;
    records.retain(|record| arguments.team.as_ref().is_none_or(|team| record.team == *team));
    match arguments.command {
        Command::List { collector, json } => {
            let heard = Heard::ask(&config, collector)?;
            print(&if json {
                let rows: Vec<_> =
                    records.iter().map(|record| as_json(record, heard.of(record), now)).collect();
                format!("{}\n", Value::from(rows))
            } else {
                as_table(&records, &heard, now)
            })
        }
        Command::Show { collector, agent, json } => {
            let record = find(&records, &agent)?;
            let heard = Heard::ask(&config, collector)?;
            let value = as_json(record, heard.of(record), now);
            print(&if json { format!("{value}\n") } else { as_words(&value) })
        }
        Command::Revoke { agent } => revoke(&data_dir, find(&records, &agent)?, now),
        Command::Rename { agent, name } => rename(&data_dir, find(&records, &agent)?, &name),
        Command::Forget { agent } => {
            forget(&data_dir, find(&records, &agent)?, config.authority.certificate_life, now)
        }
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

fn forget(data_dir: &Path, record: &AgentRecord, life: Duration, now: WallTime) -> Result<(), Failure> {
    let called = format!("{} ({}) of team {}", record.name, record.id, record.team);
    let mut file = AgentFile::edit(data_dir).map_err(Failure::other)?;
    let forgotten = file.forget(&record.name(), life, now).map_err(|error| match error {
        AgentFileError::Valid => Failure::Other(format!(
            "{called} may speak until {}: `muster agents revoke` takes that from it",
            time(record.not_after_us)
        )),
        AgentFileError::EndedLately { forgettable_at } => Failure::Other(format!(
            "{called} is {}, and a certificate of it might be valid still: it can be forgotten from {} on",
            record.state(now),
            time(forgettable_at.0)
        )),
        error => Failure::other(error),
    })?;
    let entry = Entry::new(What::AgentForgotten, Who::Command("agents forget"));
    audited(data_dir, &entry.team(&forgotten.team).agent(forgotten.id).with("name", forgotten.name.as_str()));
    print(&format!("{called} is forgotten\n"))
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

/// What a running collector knows of agents besides their records: their rows in `/api/v1/agents` by team and id.
struct Heard(Option<HashMap<(String, String), Value>>);

impl Heard {
    /// Asks the collector that was named, which must answer, or the one of the configuration, which need not.
    fn ask(config: &Config, mut arguments: CollectorArguments) -> Result<Self, Failure> {
        let is_named = arguments.server.is_some();
        if !is_named {
            let Some(pages) = pages(config) else { return Ok(Self(None)) };
            arguments.server = Some(pages);
        }
        let asked = Collector::new(&arguments).and_then(|collector| {
            let collector = if is_named { collector } else { collector.within(ASK_TIMEOUT) };
            status::rows(&collector, "agents")
        });
        let rows = match asked {
            Ok(rows) => rows,
            Err(failure) if is_named => return Err(failure),
            Err(_) => return Ok(Self(None)),
        };
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let by_name = rows.into_iter().map(|row| ((text(&row, "team"), text(&row, "agent")), row));
        Ok(Self(Some(by_name.collect())))
    }

    /// The agent's row; null when the collector did not answer or never heard it.
    fn of(&self, record: &AgentRecord) -> &Value {
        let name = (record.team.to_string(), record.id.to_string());
        self.0.as_ref().and_then(|rows| rows.get(&name)).unwrap_or(&UNHEARD)
    }
}

/// Where the configuration has the pages, as seen from this machine; `None` when only the process knows.
fn pages(config: &Config) -> Option<String> {
    let listen = config.http_listen;
    if listen.port() == 0 {
        return None;
    }
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    // Pages on loopback stay plain.
    let is_tls = config.tls.is_some() && !listen.ip().is_loopback();
    Some(format!("{}://{}", if is_tls { "https" } else { "http" }, SocketAddr::new(ip, listen.port())))
}

fn as_json(record: &AgentRecord, heard: &Value, now: WallTime) -> Value {
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
        "labels": heard["labels"],
        "configuration": heard["configuration"],
    })
}

fn as_table(records: &[AgentRecord], heard: &Heard, now: WallTime) -> String {
    let mut table = comfy_table::Table::new();
    let mut header = vec!["ID", "TEAM", "NAME", "USER", "HOST", "STATE", "ENROLLED", "CERTIFICATE ENDS"];
    let has_configurations = heard.0.is_some();
    if has_configurations {
        header.push("CONFIGURATION");
    }
    table.load_style(comfy_table::presets::NOTHING).set_header(header);
    for record in records {
        let mut row = vec![
            record.id.to_string(),
            record.team.to_string(),
            record.name.clone(),
            record.user.clone(),
            record.host.clone(),
            record.state(now).to_owned(),
            time(record.enrolled_us),
            time(record.not_after_us),
        ];
        if has_configurations {
            row.push(configuration::summary(heard.of(record)));
        }
        table.add_row(row);
    }
    format!("{}\n", table.trim_fmt())
}

fn as_words(value: &Value) -> String {
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
        format!("{field:13} {text}\n")
    };
    let known: String = fields.iter().map(|field| line(field)).collect();
    if value["configuration"].is_null() {
        return known;
    }
    let problem = configuration::problem(value).map(|problem| format!("{:13} {problem}\n", "problem"));
    let (labels, summary) = (configuration::labels(value), configuration::summary(value));
    let labels = if labels.is_empty() { "-" } else { &labels };
    format!(
        "{known}{:13} {labels}\n{:13} {summary}\n{}",
        "labels",
        "configuration",
        problem.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster::credential::Token;
    use muster::ids::AgentId;

    use crate::authority::AgentName;

    fn record(n: u8, team: &str, name: &str) -> AgentRecord {
        let agent = AgentName { team: team.parse().expect("team"), agent: AgentId::from_bytes([n; 16]) };
        let record = AgentRecord::without_certificate(&agent, Token::from_random([n; 44]).id());
        AgentRecord { name: name.to_owned(), user: "dana".to_owned(), ..record }
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
