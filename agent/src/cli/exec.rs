//! `agent exec`: runs a command and tells what it did.
//!
//! The exit code is the command's, whatever becomes of the telemetry; 126 and 127 as shells have them.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use muster::clock::SystemClock;
use muster::reasons::reasons;

use super::Failure;
use super::emit::PlaceArgs;
use crate::exec::trace::TraceParent;
use crate::exec::{self, Command, End, Report, ci};

/// Flags of `agent exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// The run's name: the label `agent` of its metrics [default: the command's]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(super) fn exec(args: &ExecArgs) -> ExitCode {
    let parent = std::env::var("TRACEPARENT").ok().and_then(|text| TraceParent::parse(&text));
    let span = parent.and_then(|parent| Some((parent.child(getrandom::u64().ok()?), parent)));
    let command =
        Command { words: args.command.clone(), traceparent: span.as_ref().map(|(own, _)| own.to_header()) };
    let mut report = match report(args, span) {
        Ok(report) => Some(report),
        Err(failure) => {
            say(&failure.words);
            None
        }
    };
    let mut lasts = |started| {
        if let Some(report) = &mut report {
            report.start(started);
        }
    };
    let ended = exec::run(&command, &SystemClock::new(), &mut lasts);
    if let End::NotStarted(error) = &ended.end {
        say_plainly(&format!("{}: {error}", args.command[0].to_string_lossy()));
    }
    if let Some(Err(error)) = report.map(|report| report.end(&ended)) {
        say(&reasons(&error));
    }
    ExitCode::from(exec::end_like(&ended.end))
}

fn report(args: &ExecArgs, span: Option<(TraceParent, TraceParent)>) -> Result<Report, Failure> {
    let config = args.place.resolve()?;
    let program = Path::new(&args.command[0]).file_name().unwrap_or_default().to_string_lossy();
    let worker = args.name.clone().unwrap_or_else(|| program.into_owned());
    let folder = std::env::current_dir().unwrap_or_default().to_string_lossy().into_owned();
    let mut report = Report::new(config, worker, folder).map_err(Failure::failed)?;
    report.project.clone_from(&args.place.project);
    report.ci = ci::of(&|name| std::env::var(name).ok());
    report.span = span;
    Ok(report)
}

fn say(problem: &str) {
    say_plainly(&format!("this run is not recorded: {problem}"));
}

fn say_plainly(line: &str) {
    // Nothing can be done when stderr is closed.
    let _ = writeln!(std::io::stderr(), "muster: {line}");
}
