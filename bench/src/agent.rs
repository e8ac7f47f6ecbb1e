//! Idle agent, lines tailed a second, time from a line to the collector's page.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use muster::page::PageError;

use crate::collector::{started, wait};
use crate::process::{Measured, sibling};

/// Flags of `agent`.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Lines of the file that is tailed
    #[arg(long, default_value_t = 1_000_000)]
    lines: u64,
    /// Single lines whose way to the collector's page is timed
    #[arg(long, default_value_t = 100)]
    probes: usize,
    /// Folder for projects and spools, on the disk to be measured
    #[arg(long, default_value = ".")]
    dir: PathBuf,
}

/// Runs and prints.
pub fn run(args: &AgentArgs) -> anyhow::Result<()> {
    idle(args)?;
    tail(args)?;
    latency(args)
}

fn project(root: &Path, name: &str) -> anyhow::Result<File> {
    let loki = root.join(name).join(".loki");
    std::fs::create_dir_all(&loki)?;
    Ok(OpenOptions::new().create(true).append(true).open(loki.join("events.jsonl"))?)
}

fn start_agent(root: &Path, server: Option<&str>) -> anyhow::Result<Measured> {
    let state_dir = root.join("state").display().to_string();
    let watch = root.join("projects").display().to_string();
    let mut args =
        vec!["run", "--state-dir", &state_dir, "--watch", &watch, "--metrics-listen", "127.0.0.1:0"];
    if let Some(server) = server {
        args.extend(["--server", server]);
    }
    Measured::start(1, &sibling("muster-agent")?, &args)
}

fn start_collector(root: &Path) -> anyhow::Result<Measured> {
    let data_dir = root.join("data").display().to_string();
    let serve = [
        "serve",
        "--data-dir",
        &data_dir,
        "--grpc-listen",
        "127.0.0.1:0",
        "--http-listen",
        "127.0.0.1:0",
        "--otlp-http-listen",
        "off",
    ];
    Measured::start(0, &sibling("muster")?, &serve)
}

fn idle(args: &AgentArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(&args.dir)?;
    let projects = folder.path().join("projects");
    for name in ["one", "two", "three"] {
        writeln!(project(&projects, name)?, "{}", line(0))?;
    }
    let collector = start_collector(folder.path())?;
    let server = format!("http://{}", collector.address("grpc")?);
    let agent = start_agent(folder.path(), Some(&server))?;
    wait(Duration::from_secs(5));
    let before = agent.usage()?;
    wait(Duration::from_secs(30));
    let after = agent.usage()?;
    println!(
        "agent idle, three quiet projects, connected: {:.1} MiB resident, {:.3} % of a core, {:.2} wake-ups/s",
        after.resident_bytes as f64 / f64::from(1 << 20),
        (after.cpu_seconds - before.cpu_seconds) / 30.0 * 100.0,
        (after.wakeups - before.wakeups) as f64 / 30.0
    );
    Ok(())
}

fn tail(args: &AgentArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(&args.dir)?;
    let mut file = project(&folder.path().join("projects"), "busy")?;
    let agent = start_agent(folder.path(), None)?;
    let page = agent.address("metrics")?;
    wait(Duration::from_secs(2));
    let mut text = String::new();
    for n in 0..args.lines {
        text.push_str(&line(n));
        text.push('\n');
    }
    let cpu_before = agent.usage()?.cpu_seconds;
    let begun = started();
    file.write_all(text.as_bytes())?;
    while read_sum(&page, "loki_events_total")? < args.lines as f64 {
        wait(Duration::from_millis(50));
        if begun.elapsed() > Duration::from_secs(120) {
            bail!("only {} of {} lines after two minutes", read_sum(&page, "loki_events_total")?, args.lines);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = agent.usage()?.cpu_seconds - cpu_before;
    println!(
        "agent tails one events.jsonl: {} lines in {seconds:.2} s, {:.0} lines/s, {:.0} lines a CPU second, spooled and synced",
        args.lines,
        args.lines as f64 / seconds,
        args.lines as f64 / cpu
    );
    Ok(())
}

fn latency(args: &AgentArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(&args.dir)?;
    let mut file = project(&folder.path().join("projects"), "probe")?;
    let collector = start_collector(folder.path())?;
    let page = collector.address("http")?;
    let server = format!("http://{}", collector.address("grpc")?);
    let _agent = start_agent(folder.path(), Some(&server))?;
    writeln!(file, "{}", line(0))?;
    wait(Duration::from_secs(3));
    let mut latencies = Vec::with_capacity(args.probes);
    for n in 1..=args.probes {
        wait(Duration::from_millis(137));
        let begun = started();
        writeln!(file, "{}", line(n as u64))?;
        while read_sum(&page, "loki_events_total")? < (n + 1) as f64 {
            wait(Duration::from_millis(2));
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("line {n} did not reach the collector's page");
            }
        }
        latencies.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    latencies.sort_unstable_by(f64::total_cmp);
    let percentile = |p: f64| latencies[((latencies.len() - 1) as f64 * p) as usize];
    println!(
        "line written to collector's /metrics, {} lines: p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms",
        args.probes,
        percentile(0.5),
        percentile(0.9),
        percentile(0.99)
    );
    Ok(())
}

fn line(n: u64) -> String {
    format!(
        "{{\"timestamp\":\"2026-02-20T11:{:02}:{:02}Z\",\"type\":\"stage_complete\",\"data\":{{\"stage\":\"build\",\"status\":\"pass\",\"duration_s\":{},\"iteration\":{}}}}}",
        n / 60 % 60,
        n % 60,
        n % 90,
        n / 1000
    )
}

/// The sum of the samples of a family on a page; 0 when it is not there yet.
pub fn read_sum(address: &str, family: &str) -> anyhow::Result<f64> {
    let page = match muster::page::get(address, &format!("/metrics?name[]={family}")) {
        Ok(page) => page,
        // The collector is reading its journal.
        Err(PageError::Status { status: 503, .. }) => return Ok(0.0),
        Err(error) => return Err(error.into()),
    };
    let is_sample = |line: &&str| line.strip_prefix(family).is_some_and(|rest| rest.starts_with([' ', '{']));
    page.lines()
        .filter(is_sample)
        .map(|line| {
            line.rsplit(' ').next().unwrap_or("0").parse::<f64>().context("a value that is no number")
        })
        .sum()
}
