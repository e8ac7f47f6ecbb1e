//! Muster's command line: collector, agent and the operator's tools.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use server::cli::Cli;

/// A fifth to a third less CPU than the system's allocator (performance.md section 0).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to tell if standard error is gone.
            let _ = writeln!(std::io::stderr(), "muster: {failure}");
            failure.exit_code()
        }
    }
}
