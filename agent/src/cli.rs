//! `muster agent ...` and `muster-agent ...`: the same commands.
//!
//! Output for people goes to stdout as words and tables, `--json` gives programs one JSON value; logs go to stderr. Exit
//! codes: 0 done, 1 failed, 2 wrong usage or configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use muster::reasons::reasons;
use muster::settings;

use crate::config::{AgentConfig, ConfigError, Overrides};

mod doctor;
mod emit;
mod enroll;
mod exec;
mod install;
pub mod man;
mod page;
mod preview;
mod run;
pub mod slim;

pub use run::Shutdown;

/// The agent's commands.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Watch projects, spool what happens there, and stream it to the collector
    Run(RunArgs),
    /// Say how the running agent is: connection, spool, projects
    Status(page::StatusArgs),
    /// Print the running agent's metrics page
    Metrics(page::MetricsArgs),
    /// Print exactly what would leave this machine, and send nothing
    Preview(preview::PreviewArgs),
    /// Get a certificate of the collector's authority with an enrolment token
    #[command(visible_alias = "enrol")]
    Enroll(enroll::EnrollArgs),
    /// Check everything that the agent needs, in order, and say what to do
    Doctor(doctor::DoctorArgs),
    /// State an event from a script or a hook
    Emit(emit::EmitArgs),
    /// Run a command, pass it through untouched, and record it as a run
    Exec(exec::ExecArgs),
    /// Set the agent up as a service of this user, and start it
    Install(install::InstallArgs),
    /// Stop the agent's service and take it away
    Uninstall(install::UninstallArgs),
}

/// What `run` and `preview` are told; the same settings stand in `[agent]` of the configuration file.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// A project, or a folder of projects up to four levels deep (repeatable)
    #[arg(long = "watch", value_name = "PATH", env = "MUSTER_WATCH", value_delimiter = ':')]
    pub watch: Vec<PathBuf>,
    /// The collector, http://HOST:4317 or https://HOST:4317; without one the agent spools and serves its own page
    #[arg(long, value_name = "URL", env = "MUSTER_SERVER")]
    pub server: Option<String>,
    /// Folder for identity and spool
    #[arg(long, value_name = "DIR", env = "MUSTER_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// File with the token, readable by its owner alone (or the token itself in MUSTER_TOKEN)
    #[arg(long, value_name = "FILE", env = "MUSTER_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM of the CA that signed the collector's certificate (default: the public CAs)
    #[arg(long, value_name = "FILE", env = "MUSTER_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// Where the agent's own page is, on loopback; `off` for none [default: 127.0.0.1:9465]
    #[arg(long, value_name = "ADDRESS", env = "MUSTER_METRICS_LISTEN")]
    pub metrics_listen: Option<String>,
    /// Accept plaintext to a collector on another machine
    #[arg(long)]
    pub insecure: bool,
    /// Configuration file [default: ~/.config/muster/muster.toml, then /etc/muster/muster.toml]
    #[arg(long, value_name = "FILE", env = "MUSTER_CONFIG")]
    pub config: Option<PathBuf>,
}

impl RunArgs {
    /// Flags, variables, file and defaults as one checked configuration.
    pub fn resolve(&self) -> Result<AgentConfig, ConfigError> {
        let path = self.config.clone().or_else(|| settings::default_file(&settings::process_environment));
        let overrides = Overrides {
            server: self.server.clone(),
            watch: self.watch.clone(),
            state_dir: self.state_dir.clone(),
            token_file: self.token_file.clone(),
            token: std::env::var("MUSTER_TOKEN").ok().filter(|t| !t.is_empty()),
            ca_file: self.ca_file.clone(),
            metrics_listen: self.metrics_listen.clone(),
            insecure: self.insecure,
        };
        AgentConfig::load(path.as_deref(), overrides, &settings::process_environment)
    }
}

/// Runs a command to its end.
pub fn execute(command: AgentCommand) -> ExitCode {
    let outcome = match command {
        AgentCommand::Run(args) => run::run(&args),
        AgentCommand::Status(args) => page::status(&args),
        AgentCommand::Metrics(args) => page::metrics(&args),
        AgentCommand::Preview(args) => preview::preview(&args),
        AgentCommand::Enroll(args) => enroll::enroll(&args),
        AgentCommand::Doctor(args) => doctor::doctor(&args),
        AgentCommand::Emit(args) => emit::emit(&args),
        AgentCommand::Exec(args) => Ok(exec::exec(&args)),
        AgentCommand::Install(args) => install::install(&args),
        AgentCommand::Uninstall(args) => install::uninstall(&args),
    };
    outcome.unwrap_or_else(|failure| failure.report())
}

/// Why a command failed, for a person, with its exit code.
#[derive(Debug)]
pub struct Failure {
    words: String,
    code: u8,
}

impl Failure {
    /// The command could not do its work.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self { words: reasons(error.into().as_ref()), code: 1 }
    }

    /// The command was told something wrong.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { words: reasons(error.into().as_ref()), code: 2 }
    }

    /// Says it on stderr.
    pub fn report(self) -> ExitCode {
        use std::io::Write;
        // Nothing can be done when stderr is closed.
        let _ = writeln!(std::io::stderr(), "muster: {}", self.words);
        ExitCode::from(self.code)
    }
}
