//! What `muster` understands. One file a command.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the configuration is not valid.

mod agents;
mod audit;
mod authority;
mod check_config;
mod collector;
mod configuration;
mod dashboards;
mod destination;
mod health;
mod installation;
mod man;
mod metrics;
mod serve;
mod status;
mod telemetry;
mod token;
mod up;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use muster::clock::SystemClock;
use muster::reasons::reasons;

use crate::audit::{self as audit_log, Entry};
use crate::config::ConfigError;

/// Muster gathers what coding agents and dev-loop tools do on every machine of a team.
#[derive(Debug, Parser)]
#[command(name = "muster", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Collector and agent in one process on this machine: the quick start. Reads no configuration file.
    Up(up::Arguments),
    /// Run the collector.
    Serve(serve::Arguments),
    /// The agent: watch projects on this machine.
    #[command(subcommand)]
    Agent(agent::cli::AgentCommand),
    /// Show the fleet of a running collector: agents, lag, sessions, destinations.
    Status(status::Arguments),
    /// Ask whether a running collector is well: exit code 0 or 1.
    Health(health::Arguments),
    /// Print the metrics page of a running collector or agent.
    Metrics(metrics::Arguments),
    /// What happened: export it, sum it up, show the newest.
    Telemetry(telemetry::Arguments),
    /// Make, list and revoke the credentials of teams.
    Token(token::Arguments),
    /// The agents that have enrolled: list, show, revoke, rename, forget.
    Agents(agents::Arguments),
    /// Who issues the agents' certificates: show, rotate.
    Authority(authority::Arguments),
    /// Show who did what: enrolments, tokens, refused credentials, configurations, exports.
    Audit(audit::Arguments),
    /// The dashboards, rules and alerts that belong to Muster.
    Dashboards(dashboards::Arguments),
    /// Show where telemetry is forwarded to, and handle what was refused there.
    Destination(destination::Arguments),
    /// Check a configuration file without touching anything.
    CheckConfig(check_config::Arguments),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write those of all commands.
    Man(agent::cli::man::ManArgs),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What was asked for makes no sense, in words.
    #[error("{0}")]
    Usage(String),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Up(arguments) => up::run(arguments),
            Command::Serve(arguments) => serve::run(arguments),
            Command::Agent(command) => return Ok(agent::cli::execute(command)),
            Command::Status(arguments) => status::run(&arguments),
            Command::Health(arguments) => health::run(arguments),
            Command::Metrics(arguments) => metrics::run(&arguments),
            Command::Telemetry(arguments) => telemetry::run(arguments),
            Command::Token(arguments) => token::run(arguments),
            Command::Agents(arguments) => agents::run(arguments),
            Command::Authority(arguments) => authority::run(arguments),
            Command::Audit(arguments) => audit::run(arguments),
            Command::Dashboards(arguments) => dashboards::run(&arguments),
            Command::Destination(arguments) => destination::run(arguments),
            Command::CheckConfig(arguments) => check_config::run(arguments),
            Command::Completions { shell } => completions(shell),
            Command::Man(arguments) => man::run(&arguments),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

impl Failure {
    /// Anything that tells itself in words, with the reasons behind it.
    pub fn other(error: impl std::error::Error) -> Self {
        Self::Other(reasons(&error))
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Config(_) => ExitCode::from(3),
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Other(_) => ExitCode::FAILURE,
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    use clap::CommandFactory;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "muster", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Tells the audit log what a command has done; whether it could be told. What is done stays done if not.
fn audited(data_dir: &Path, entry: &Entry) -> bool {
    let appended = audit_log::append_from_command(data_dir, entry, &SystemClock::new());
    if let Err(error) = &appended {
        // Nothing is left to tell if standard error is gone.
        let _ = writeln!(io::stderr().lock(), "muster: this is not in the audit log: {error}");
    }
    appended.is_ok()
}

/// A time in microseconds since the epoch, to the second.
fn time(us: u64) -> String {
    let timestamp = i64::try_from(us).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    timestamp.map_or_else(|| "?".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Writes lines for the caller. A pipe that was closed early is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::other(error)),
        _ => Ok(()),
    }
}
