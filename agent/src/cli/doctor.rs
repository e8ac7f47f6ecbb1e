//! `agent doctor`: what is wrong on this machine, and what to do.

use std::process::ExitCode;

use clap::Args;
use muster::clock::SystemClock;
use muster::settings;

use super::{Failure, RunArgs, page};
use crate::doctor::{self, Verdict};

/// Flags of `agent doctor`: those of `run`, so that it looks at what an agent with them would use.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Exit code 0 when nothing failed (warnings may be there), 1 otherwise.")]
pub struct DoctorArgs {
    #[command(flatten)]
    run: RunArgs,
    /// One JSON value, for programs
    #[arg(long)]
    json: bool,
}

/// Looks and says.
pub(super) fn doctor(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let file = args.run.config.clone().or_else(|| settings::default_file(&settings::process_environment));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let clock = SystemClock::new();
    let facts = runtime.block_on(doctor::gather(args.run.resolve(), file.as_deref(), &clock));
    let findings = doctor::judge(&facts);
    let failed = findings.iter().any(|finding| finding.verdict == Verdict::Failed);
    if args.json {
        let value = serde_json::json!({ "healthy": !failed, "checks": findings });
        page::print(&format!("{value:#}\n"))?;
    } else {
        page::print(&doctor::in_words(&findings))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
