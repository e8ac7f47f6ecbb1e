//! The slim agent: everything that `muster agent` can do, without the collector.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    agent::cli::slim::Cli::parse().run()
}
