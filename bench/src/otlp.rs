//! OTLP in and through: bare service, collector, collector with a destination, rotel; interleaved, best of three.
//!
//! The server under measurement has core 1 for itself; the load and the discarding sink share core 0. A cell is one second
//! and a half of warm-up and a window, in a closed loop with one request in flight a connection.
//!
//! | service | what it does |
//! |---|---|
//! | bare | stock tonic: takes the bytes and walks them |
//! | journal | `muster serve`: checks, journals, syncs, answers |
//! | forward | the same, and sends all on to the sink, uncompressed |
//! | rotel | takes, decodes, keeps in memory, sends on to the sink |

mod load;
mod records;
mod sink;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::collector::{started, wait};
use crate::process::{Measured, sibling};
use load::Load;
use sink::Discarding;

pub use sink::{BareArgs, run_bare};

/// Flags of `otlp`.
#[derive(Debug, Args)]
pub struct OtlpArgs {
    /// Rounds; the best of each is reported
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds measured a cell
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Folder for journals, on the disk to be measured
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// CONNECTIONSxRECORDS cells
    #[arg(long, default_values = ["8x100", "8x1000", "64x100", "64x1000"])]
    cells: Vec<String>,
    /// rotel's program (PyPI's wheel `rotel` has it); without it that row is left out
    #[arg(long, env = "MUSTER_TEST_ROTEL")]
    rotel: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bare,
    Journal,
    Forward,
    Rotel,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// Acknowledged, or, where there is a sink, arrived there.
    records_per_second: f64,
    cpu_us_per_record: f64,
    ack_p50_ms: f64,
    ack_p99_ms: f64,
    resident_peak_mib: f64,
    failed: u64,
}

/// Runs and prints a table.
pub fn run(args: &OtlpArgs) -> anyhow::Result<()> {
    println!(
        "| connections x records | service | records/s | cpu us a record | ratio to bare | ack p50 ms | ack p99 ms | peak RSS MiB | failed requests |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for cell in &args.cells {
        let (connections, records) = cell
            .split_once('x')
            .ok_or_else(|| anyhow::anyhow!("cell {cell:?} is not CONNECTIONSxRECORDS"))?;
        let (connections, records) = (connections.parse()?, records.parse()?);
        let mut kinds = vec![Kind::Bare, Kind::Journal, Kind::Forward];
        kinds.extend(args.rotel.is_some().then_some(Kind::Rotel));
        let mut best = vec![Cell::default(); kinds.len()];
        for _ in 0..args.rounds {
            for (slot, kind) in best.iter_mut().zip(&kinds) {
                let measured = one(*kind, connections, records, args)?;
                if slot.records_per_second == 0.0 || measured.cpu_us_per_record < slot.cpu_us_per_record {
                    *slot = measured;
                }
            }
        }
        for (measured, kind) in best.iter().zip(&kinds) {
            println!(
                "| {cell} | {kind:?} | {:.0} | {:.3} | {:.2} | {:.2} | {:.2} | {:.0} | {} |",
                measured.records_per_second,
                measured.cpu_us_per_record,
                measured.cpu_us_per_record / best[0].cpu_us_per_record,
                measured.ack_p50_ms,
                measured.ack_p99_ms,
                measured.resident_peak_mib,
                measured.failed,
            );
        }
    }
    Ok(())
}

fn one(kind: Kind, connections: usize, records: usize, args: &OtlpArgs) -> anyhow::Result<Cell> {
    let folder = tempfile::tempdir_in(&args.dir)?;
    let sink = matches!(kind, Kind::Forward | Kind::Rotel).then(Discarding::start).transpose()?;
    let (server, address) = start(kind, folder.path(), sink.as_ref(), args)?;
    let load = Load::start(&address, connections, records)?;
    wait(Duration::from_millis(1500));
    let (usage, acked, arrived) = (server.usage()?, load.acked(), sink.as_ref().map(Discarding::records));
    let begun = started();
    load.measure(true);
    wait(Duration::from_secs_f64(args.seconds));
    load.measure(false);
    let seconds = begun.elapsed().as_secs_f64();
    let after = server.usage()?;
    // A record is done when it is acknowledged, or, where it is sent on, when it has arrived.
    let acked = load.acked() - acked;
    let done = match (&sink, arrived) {
        (Some(sink), Some(before)) => sink.records() - before,
        _ => acked,
    };
    let latencies = load.stop();
    Ok(Cell {
        records_per_second: done as f64 / seconds,
        cpu_us_per_record: (after.cpu_seconds - usage.cpu_seconds) * 1e6 / done.max(1) as f64,
        ack_p50_ms: latencies.p50_ms,
        ack_p99_ms: latencies.p99_ms,
        resident_peak_mib: server.usage()?.resident_peak_bytes as f64 / f64::from(1 << 20),
        failed: latencies.failed,
    })
}

fn start(
    kind: Kind,
    folder: &std::path::Path,
    sink: Option<&Discarding>,
    args: &OtlpArgs,
) -> anyhow::Result<(Measured, String)> {
    let sink = sink.map(|sink| format!("http://{}", sink.address)).unwrap_or_default();
    match kind {
        Kind::Bare => {
            let server = Measured::start(1, &sibling("muster-bench")?, &["otlp-bare"])?;
            let address = server.address("grpc")?;
            Ok((server, address))
        }
        Kind::Journal | Kind::Forward => {
            let mut config = format!(
                "[server]\ngrpc_listen = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\n\
                 otlp_http_listen = \"127.0.0.1:0\"\ndata_dir = {:?}\n",
                folder.join("data")
            );
            if kind == Kind::Forward {
                config.push_str(&format!(
                    "[[destination]]\nname = \"sink\"\nprofile = \"otlp\"\ntransport = \"grpc\"\nendpoint = {sink:?}\n\
                     compression = \"none\"\nrequests_in_flight_max = 8\nsignals = [\"logs\"]\n"
                ));
            }
            let path = folder.join("muster.toml");
            muster::atomic_file::replace(&path, config.as_bytes(), muster::atomic_file::Access::Owner)?;
            let path = path.display().to_string();
            let server = Measured::start(1, &sibling("muster")?, &["serve", "--config", &path])?;
            let address = server.address("grpc")?;
            Ok((server, address))
        }
        Kind::Rotel => {
            let rotel = args.rotel.as_deref().ok_or_else(|| anyhow::anyhow!("no rotel"))?;
            let (grpc, http) = (free_port()?, free_port()?);
            let (grpc, http) = (format!("127.0.0.1:{grpc}"), format!("127.0.0.1:{http}"));
            #[rustfmt::skip]
            let flags = [
                "start", "--otlp-grpc-endpoint", &grpc, "--otlp-http-endpoint", &http, "--exporter", "otlp",
                "--otlp-exporter-endpoint", &sink, "--otlp-exporter-protocol", "grpc",
                "--otlp-exporter-compression", "none", "--otlp-grpc-max-recv-msg-size-mib", "64",
            ];
            Ok((Measured::start_listening(1, rotel, &flags, &grpc)?, grpc))
        }
    }
}

/// A port that was free a moment ago, for programs that do not tell which they took.
fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
