//! `muster-agent`: the agent's commands, and what a program of its own has besides.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

use super::man::{self, ManArgs};
use super::{AgentCommand, Failure, execute};

/// Watches coding agents and dev-loop tools on this machine and streams what they do to a Muster collector.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: SlimCommand,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it, once")]
enum SlimCommand {
    #[command(flatten)]
    Agent(AgentCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write those of all commands
    Man(ManArgs),
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> ExitCode {
        let printed = match self.command {
            SlimCommand::Agent(command) => return execute(command),
            SlimCommand::Completions { shell } => print(&completions(shell)),
            SlimCommand::Man(args) => print_or_write(&args),
        };
        printed.map_or_else(|error| Failure::failed(error).report(), |()| ExitCode::SUCCESS)
    }
}

fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "muster-agent", &mut script);
    script
}

fn print_or_write(args: &ManArgs) -> anyhow::Result<()> {
    let pages = man::pages(Cli::command())?;
    match &args.output {
        Some(folder) => {
            man::write(&pages, folder).with_context(|| format!("cannot write into {}", folder.display()))
        }
        None => print(&pages.first().map(|page| page.text.clone()).unwrap_or_default()),
    }
}

/// A pipe that was closed early is no failure.
fn print(text: &[u8]) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
