//! `muster token create|list|revoke`
//!
//! Edits the token file of the data folder; a running collector sees it within a second.

use std::path::PathBuf;

use muster::clock::{Clock, SystemClock};
use muster::credential::Token;
use muster::ids::Team;
use muster::settings;
use serde_json::json;

use super::{Failure, print, time};
use crate::config::{Config, Overrides};
use crate::credentials::{Scope, TokenFile, TokenRecord};

/// Arguments of `muster token`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The collector's configuration file.
    #[arg(long, env = "MUSTER_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The collector's data folder.
    #[arg(long, env = "MUSTER_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a token and print it. It is shown this once.
    Create {
        /// The team that it speaks for.
        #[arg(long, required_unless_present = "operator", conflicts_with = "operator")]
        team: Option<Team>,
        /// For reading: all teams' data and the collector's own figures. Nothing can be sent with it.
        #[arg(long)]
        operator: bool,
    },
    /// List tokens, without their secrets.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token. Its open streams end within 5 s.
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let overrides = Overrides { data_dir: arguments.data_dir, ..Default::default() };
    let path = arguments.config.or_else(|| settings::default_file(&settings::process_environment));
    let data_dir = Config::load(path.as_deref(), &overrides)?.data_dir;
    let now = SystemClock::new().wall();
    match arguments.command {
        Command::Create { team, operator: _ } => {
            let mut random = [0; 44];
            getrandom::fill(&mut random).map_err(Failure::other)?;
            let token = Token::from_random(random);
            let file = TokenFile::edit(&data_dir).map_err(Failure::other)?;
            file.add(&token, team.map_or(Scope::Operator, Scope::Team), now).map_err(Failure::other)?;
            print(&format!("{}\n", token.expose()))
        }
        Command::List { json } => {
            let records = TokenFile::list(&data_dir).map_err(Failure::other)?;
            print(&if json { as_json(&records) } else { as_table(&records) })
        }
        Command::Revoke { id } => {
            let file = TokenFile::edit(&data_dir).map_err(Failure::other)?;
            file.revoke(&id, now).map_err(Failure::other)?;
            print(&format!("{id} is revoked\n"))
        }
    }
}

fn as_json(records: &[TokenRecord]) -> String {
    let rows: Vec<_> = records
        .iter()
        .map(|record| {
            json!({
                "id": record.id,
                "team": record.team,
                "operator": record.operator,
                "created": time(record.created_us),
                "revoked": record.revoked_us.map(time),
            })
        })
        .collect();
    format!("{}\n", serde_json::Value::from(rows))
}

fn as_table(records: &[TokenRecord]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(["ID", "TEAM", "CREATED", "REVOKED"]);
    for record in records {
        let revoked = record.revoked_us.map_or_else(|| "-".to_owned(), time);
        let team = record.team.as_ref().map_or_else(|| "(operator)".to_owned(), ToString::to_string);
        table.add_row([record.id.to_string(), team, time(record.created_us), revoked]);
    }
    format!("{}\n", table.trim_fmt())
}
