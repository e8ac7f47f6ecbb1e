//! Idle collector, memory a connection, cold start on a large journal.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;

use crate::load::{self, LoadArgs};
use crate::process::{Measured, sibling};

/// Flags of `collector`.
#[derive(Debug, Args)]
pub struct CollectorArgs {
    /// Folder for journals, on the disk to be measured
    #[arg(long, default_value = ".")]
    dir: std::path::PathBuf,
    /// Idle streams for the memory of a connection
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// Size of the journal for the cold start, MiB
    #[arg(long, default_value_t = 1_024)]
    journal_mib: u64,
}

/// Runs and prints.
pub fn run(args: &CollectorArgs) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(&args.dir)?;
    let data_dir = folder.path().join("data");
    idle(&data_dir, args.connections)?;
    cold_start(&data_dir, args.journal_mib)
}

fn start(data_dir: &Path) -> anyhow::Result<Measured> {
    let data_dir = data_dir.display().to_string();
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
    Measured::start(1, &sibling("muster")?, &serve)
}

fn idle(data_dir: &Path, connections: usize) -> anyhow::Result<()> {
    let server = start(data_dir)?;
    wait(Duration::from_secs(3));
    let before = server.usage()?;
    wait(Duration::from_secs(10));
    let after = server.usage()?;
    println!(
        "collector idle: {:.1} MiB resident, {:.2} % of a core, {:.1} wake-ups/s",
        mib(after.resident_bytes),
        (after.cpu_seconds - before.cpu_seconds) * 10.0,
        (after.wakeups - before.wakeups) as f64 / 10.0
    );
    // One batch a stream, then silence: the load stops sending when the window is over, and holds its streams.
    let load = LoadArgs {
        server: format!("http://{}", server.address("grpc")?),
        streams: connections,
        batch_events: 1,
        in_flight: 1,
        pause_ms: 0,
        token: None,
        seconds: 0.1,
        warm_up_seconds: 4.0,
    };
    let mut resident = Vec::new();
    load::measure(&load, || resident.push(server.usage().map(|usage| usage.resident_bytes)))?;
    let with_streams = resident.pop().transpose()?.unwrap_or_default();
    println!(
        "{connections} streams: {:.1} MiB resident, {:.1} KiB a stream (connection, stream, series)",
        mib(with_streams),
        (with_streams.saturating_sub(after.resident_bytes)) as f64 / 1024.0 / connections as f64
    );
    Ok(())
}

fn cold_start(data_dir: &Path, journal_mib: u64) -> anyhow::Result<()> {
    let server = start(data_dir)?;
    let load = LoadArgs {
        server: format!("http://{}", server.address("grpc")?),
        streams: 16,
        batch_events: 1_000,
        in_flight: 8,
        pause_ms: 0,
        token: None,
        seconds: 5.0,
        warm_up_seconds: 0.0,
    };
    while folder_bytes(data_dir)? < journal_mib << 20 {
        load::measure(&load, || ())?;
    }
    drop(server);
    let bytes = folder_bytes(data_dir)?;
    let begun = started();
    let server = start(data_dir)?;
    let listening = begun.elapsed().as_secs_f64();
    let page = server.address("http")?;
    while muster::page::get(&page, "/readyz").is_err() {
        anyhow::ensure!(begun.elapsed().as_secs() < 120, "not ready after two minutes");
        wait(Duration::from_millis(20));
    }
    println!(
        "cold start after kill -9 on a journal of {:.0} MiB: takes streams in {listening:.2} s, all aggregated in {:.2} s, {:.0} MiB resident",
        mib(bytes),
        begun.elapsed().as_secs_f64(),
        mib(server.usage()?.resident_bytes)
    );
    Ok(())
}

fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A measuring tool waits and reads the clock.
#[expect(clippy::disallowed_methods, reason = "a measuring tool waits by the clock")]
pub fn wait(pause: Duration) {
    std::thread::sleep(pause);
}

/// The moment a measurement begins.
#[expect(clippy::disallowed_methods, reason = "a measuring tool reads the clock")]
pub fn started() -> Instant {
    Instant::now()
}
