//! The slim agent: everything that `muster agent` can do, without the collector.

use std::process::ExitCode;

use clap::Parser;

/// Watches coding agents and dev-loop tools on this machine and streams what they do to a Muster collector.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: agent::cli::AgentCommand,
}

fn main() -> ExitCode {
    agent::cli::execute(Cli::parse().command)
}
