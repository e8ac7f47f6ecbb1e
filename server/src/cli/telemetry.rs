//! `muster telemetry export|summary|recent`: what happened, from a running collector or straight from a data folder.
//!
//! The guide of DevLoop has these commands as `devloop telemetry ...`; they take the same flags here.

mod audited;
mod deliver;
mod export;
mod interrupt;
mod output;
mod progress;
mod recent;
mod remote;
mod rows;
mod summary;

use std::path::PathBuf;

use history::query::{Filter, TimeRange};
use history::when;
use jiff::tz::TimeZone;
use muster::clock::{Clock, SystemClock};
use muster::ids::Team;

use super::Failure;
use super::collector::CollectorArguments;

/// Arguments of `muster telemetry`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write rows to a file, to standard output, or to another system.
    Export(Box<export::Arguments>),
    /// Figures of a range of time: runs, durations, findings, sessions, cost, and how they changed.
    Summary(Box<summary::Arguments>),
    /// The newest events, and with --follow every one that comes.
    Recent(Box<recent::Arguments>),
}

/// Where to read.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Where to read")]
struct SourceArguments {
    #[command(flatten)]
    collector: CollectorArguments,
    /// Read this data folder instead; no collector may be running on it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Of which time.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Which rows")]
struct RangeArguments {
    /// From when on: 24h ago, 7d ago, yesterday, today, 2026-11-01, 2026-11-01T14:30:00Z; local time unless it has a zone.
    #[arg(long, value_name = "TIME", default_value = "24h ago")]
    start: String,
    /// Until when, not included [default: now].
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
}

/// Which rows of it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Which rows")]
struct FilterArguments {
    /// Of this team alone.
    #[arg(long, value_name = "NAME")]
    team: Option<Team>,
    /// Of this project alone.
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Of this tool alone: devloop, loki, ...
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Of this agent alone: what a tool calls the agent that ran, such as linter.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Of this user alone.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// With this status alone: success, failure, error, skipped; of events their outcome.
    #[arg(long, value_name = "WORD")]
    status: Option<String>,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Export(arguments) => export::run(*arguments),
        Command::Summary(arguments) => summary::run(&arguments),
        Command::Recent(arguments) => recent::run(&arguments),
    }
}

impl SourceArguments {
    /// Which rows these are, in words that do not change from call to call: two sources are never taken for one.
    fn describe(&self) -> String {
        if let Some(path) = &self.data_dir {
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            return format!("the data folder {}", path.display());
        }
        let server = self.collector.server.as_deref().unwrap_or("this machine");
        match &self.collector.token_file {
            // A team's token shows that team's rows.
            Some(token) => format!("the collector at {server} with the token in {}", token.display()),
            None => format!("the collector at {server}"),
        }
    }
}

impl RangeArguments {
    /// The range, by this machine's clock and zone.
    fn range(&self) -> Result<TimeRange, Failure> {
        let now = SystemClock::new().wall();
        let range = when::range(&self.start, self.end.as_deref(), now, &TimeZone::system());
        range.map_err(|error| Failure::Usage(error.to_string()))
    }
}

impl FilterArguments {
    fn filter(&self) -> Filter {
        Filter {
            team: self.team.clone(),
            project: self.project.clone(),
            tool: self.tool.clone(),
            worker: self.agent.clone(),
            user: self.user.clone(),
            status: self.status.clone(),
        }
    }
}
