//! What `exec` and `emit` cost: a process started bare against the same through `exec`, and an `emit`, with an agent and
//! without; interleaved, best and median of many.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use muster::clock::{Clock, SystemClock};

use crate::process::Measured;

/// Flags of `local`.
#[derive(Debug, Args)]
pub struct LocalArgs {
    /// The agent, in release
    #[arg(long, default_value = "target/release/muster-agent")]
    agent: PathBuf,
    /// Commands of each sort
    #[arg(long, default_value_t = 200)]
    runs: usize,
    /// Where the state directories are made: the disk under measurement
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Measures and prints.
pub fn run(args: &LocalArgs) -> anyhow::Result<()> {
    let folder = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    println!("| command | agent | best ms | p50 ms | p99 ms |\n|---|---|---|---|---|");
    for is_running in [false, true] {
        let state = folder.path().join(if is_running { "with" } else { "without" });
        let state = state.to_string_lossy();
        let arguments = ["run", "--state-dir", &state, "--metrics-listen", "off"];
        let _agent = is_running.then(|| Measured::start(1, &args.agent, &arguments)).transpose()?;
        let sorts: [(&str, Vec<&str>); 4] = [
            ("`true`", vec![]),
            ("`muster-agent --version`", vec!["--version"]),
            ("`exec -- true`", vec!["exec", "--state-dir", &state, "--", "true"]),
            (
                "`emit run worker=x status=success`",
                vec!["emit", "--state-dir", &state, "run", "worker=x", "status=success"],
            ),
        ];
        let mut times = vec![Vec::with_capacity(args.runs); sorts.len()];
        for _ in 0..args.runs {
            for ((_, words), times) in sorts.iter().zip(&mut times) {
                times.push(time(args, words)?);
            }
        }
        for ((name, _), mut times) in sorts.iter().zip(times) {
            times.sort();
            let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
            let running = if is_running { "runs" } else { "none" };
            println!("| {name} | {running} | {:.2} | {:.2} | {:.2} |", at(0), at(50), at(99));
        }
    }
    Ok(())
}

/// How long a command takes from its start to its end.
fn time(args: &LocalArgs, words: &[&str]) -> anyhow::Result<Duration> {
    let mut command = if words.is_empty() { Command::new("true") } else { Command::new(&args.agent) };
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
    let clock = SystemClock::new();
    let status = command.status()?;
    ensure!(status.success(), "{words:?} ended with {status}");
    Ok(clock.monotonic().0)
}
