//! Bare service, collector without sync, collector, collector with a history: interleaved, best of three.
//!
//! The history is written on the same core, and flushed each second instead of each ten minutes, so that its whole cost is
//! in the window.

use std::time::Duration;

use clap::Args;
use muster::atomic_file::{self, Access};

use crate::agent::read_sum;
use crate::collector::{started, wait};
use crate::load::{self, LoadArgs};
use crate::process::{Measured, sibling};

/// Flags of `ingest`.
#[derive(Debug, Args)]
pub struct IngestArgs {
    /// Rounds; the best of each is reported
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds measured a cell
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Folder for journals, on the disk to be measured
    #[arg(long, default_value = ".")]
    dir: std::path::PathBuf,
    /// STREAMSxEVENTS cells
    #[arg(long, default_values = ["64x1000", "1000x10", "8x100"])]
    cells: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bare,
    Unsynced,
    Durable,
    History,
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::Bare, "bare tonic"),
    (Kind::Unsynced, "muster, no sync"),
    (Kind::Durable, "muster, durable"),
    (Kind::History, "muster, durable, history"),
];

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    events_per_second: f64,
    cpu_seconds_per_million: f64,
    ack_p50_ms: f64,
    ack_p99_ms: f64,
    resident_mib: f64,
    bytes_per_event: f64,
}

/// Runs and prints a table.
pub fn run(args: &IngestArgs) -> anyhow::Result<()> {
    println!(
        "| streams x events | service | events/s | cpu-s/M | events/s a core | ratio to bare | ack p50 ms | ack p99 ms | RSS MiB | bytes/event |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for cell in &args.cells {
        let (streams, events) =
            cell.split_once('x').ok_or_else(|| anyhow::anyhow!("cell {cell:?} is not STREAMSxEVENTS"))?;
        let (streams, events) = (streams.parse()?, events.parse()?);
        let mut best = [Cell::default(); KINDS.len()];
        for _ in 0..args.rounds {
            for (slot, (kind, _)) in best.iter_mut().zip(KINDS) {
                let measured = one(kind, streams, events, args)?;
                if slot.events_per_second == 0.0
                    || measured.cpu_seconds_per_million < slot.cpu_seconds_per_million
                {
                    *slot = measured;
                }
            }
        }
        for (measured, (_, name)) in best.iter().zip(KINDS) {
            println!(
                "| {cell} | {name} | {:.0} | {:.3} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} | {:.1} |",
                measured.events_per_second,
                measured.cpu_seconds_per_million,
                1e6 / measured.cpu_seconds_per_million,
                best[0].cpu_seconds_per_million / measured.cpu_seconds_per_million,
                measured.ack_p50_ms,
                measured.ack_p99_ms,
                measured.resident_mib,
                measured.bytes_per_event,
            );
        }
    }
    Ok(())
}

fn one(kind: Kind, streams: usize, batch_events: u64, args: &IngestArgs) -> anyhow::Result<Cell> {
    let folder = tempfile::tempdir_in(&args.dir)?;
    let data_dir = folder.path().join("data").display().to_string();
    let config = folder.path().join("muster.toml");
    atomic_file::replace(&config, history_settings(kind).as_bytes(), Access::Owner)?;
    let config = config.display().to_string();
    let serve = [
        "serve",
        "--config",
        &config,
        "--data-dir",
        &data_dir,
        "--grpc-listen",
        "127.0.0.1:0",
        "--http-listen",
        "127.0.0.1:0",
        "--otlp-http-listen",
        "off",
    ];
    let server = match kind {
        Kind::Bare => Measured::start(1, &sibling("muster-bench")?, &["sink"])?,
        Kind::Durable | Kind::History => Measured::start(1, &sibling("muster")?, &serve)?,
        Kind::Unsynced => {
            let unsynced: Vec<&str> = serve.iter().copied().chain(["--unsafe-no-sync"]).collect();
            Measured::start(1, &sibling("muster")?, &unsynced)?
        }
    };
    let load = LoadArgs {
        server: format!("http://{}", server.address("grpc")?),
        streams,
        batch_events,
        in_flight: 4,
        pause_ms: 0,
        token: None,
        seconds: args.seconds,
        warm_up_seconds: 1.5,
    };
    let before = server.usage()?;
    let measured = load::measure(&load, || ())?;
    anyhow::ensure!(measured.failed_streams == 0, "{} streams failed", measured.failed_streams);
    // A batch is done when it is in the series; the bare service has none.
    let behind_seconds = match kind {
        Kind::Bare => 0.0,
        Kind::Unsynced | Kind::Durable | Kind::History => {
            until_aggregated(&server.address("http")?, measured.events_total)?
        }
    };
    let cpu_seconds = server.usage()?.cpu_seconds - before.cpu_seconds;
    let resident_bytes = server.usage()?.resident_bytes;
    Ok(Cell {
        events_per_second: measured.events_total as f64 / (measured.seconds_total + behind_seconds),
        cpu_seconds_per_million: cpu_seconds / (measured.events_total as f64 / 1e6),
        ack_p50_ms: measured.ack_p50_ms,
        ack_p99_ms: measured.ack_p99_ms,
        resident_mib: resident_bytes as f64 / f64::from(1 << 20),
        bytes_per_event: measured.bytes_per_event,
    })
}

fn history_settings(kind: Kind) -> &'static str {
    match kind {
        Kind::History => "[history]\nflush_interval_seconds = 1\n",
        Kind::Bare | Kind::Unsynced | Kind::Durable => "[history]\nenabled = false\n",
    }
}

/// Waits until the page has counted `events`; answers for how long.
fn until_aggregated(page: &str, events: u64) -> anyhow::Result<f64> {
    let begun = started();
    loop {
        let applied = read_sum(page, "muster_events_applied_total")?;
        if applied >= events as f64 {
            return Ok(begun.elapsed().as_secs_f64());
        }
        anyhow::ensure!(begun.elapsed().as_secs() < 120, "only {applied} of {events} events are aggregated");
        wait(Duration::from_millis(20));
    }
}
