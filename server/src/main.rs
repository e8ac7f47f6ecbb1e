//! Muster's command line: collector, agent and the operator's tools.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use server::cli::Cli;

/// A fifth to a third less CPU than the system's allocator (performance.md section 0).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    refuse_huge_pages();
    match Cli::parse().run() {
        Ok(code) => code,
        Err(failure) => {
            // Nothing is left to tell if standard error is gone.
            let _ = writeln!(std::io::stderr(), "muster: {failure}");
            failure.exit_code()
        }
    }
}

/// The allocator touches a little of many large ranges; with huge pages for them, an idle collector is 14 MiB larger.
/// A system that does not know the request only uses more memory.
fn refuse_huge_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
