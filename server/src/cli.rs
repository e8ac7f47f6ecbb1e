//! What `muster` understands. One file a command.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the configuration is not valid.

mod check_config;
mod serve;
mod token;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Run the collector.
    Serve(serve::Arguments),
    /// Make, list and revoke the credentials of teams.
    Token(token::Arguments),
    /// Check a configuration file without touching anything.
    CheckConfig(check_config::Arguments),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Serve(arguments) => serve::run(arguments),
            Command::Token(arguments) => token::run(arguments),
            Command::CheckConfig(arguments) => check_config::run(arguments),
        }
    }
}

impl Failure {
    /// Anything that tells itself in words, with the reasons behind it.
    pub fn other(error: impl std::error::Error) -> Self {
        let mut words = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let inner_words = inner.to_string();
            // Many errors tell their source themselves.
            if !words.contains(&inner_words) {
                words = format!("{words}: {inner_words}");
            }
            source = inner.source();
        }
        Self::Other(words)
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Config(_) => ExitCode::from(3),
            Failure::Other(_) => ExitCode::FAILURE,
        }
    }
}

/// Writes lines for the caller. A pipe that was closed early is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::other(error)),
        _ => Ok(()),
    }
}
