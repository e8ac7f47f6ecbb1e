//! Load generator and comparisons; the report is `bench/README.md`.
//!
//! Each comparison runs the bare service and the collector in turn, each in a fresh process on core 1 with the load on core 0,
//! and reports the best of three as ratios: absolute numbers of these machines mean little (shared/performance.md §7).

// A measuring tool prints what it measured.
#![expect(clippy::print_stdout, reason = "the report of a measuring tool goes to stdout")]

use clap::{Parser, Subcommand};

mod agent;
mod batches;
mod collector;
mod fleet;
mod history;
mod ingest;
mod load;
mod local;
mod noisy;
mod otlp;
mod process;
mod sink;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "muster-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A bare tonic service that receives the same bytes, answers and drops them
    Sink(sink::SinkArgs),
    /// Many simulated agents over real streams against a running collector
    Load(load::LoadArgs),
    /// Bare service against collector, with and without sync, interleaved
    Ingest(ingest::IngestArgs),
    /// What a team at a hundred times its quota costs another team (reliability.md row B15)
    Noisy(noisy::NoisyArgs),
    /// OTLP in and through: bare service, collector, collector with a destination, rotel; interleaved
    Otlp(otlp::OtlpArgs),
    /// A bare tonic service that takes OTLP logs and walks their bytes
    OtlpBare(otlp::BareArgs),
    /// Idle collector, memory a connection, cold start on a large journal
    Collector(collector::CollectorArgs),
    /// Many idle agents with certificates: memory a stream, CPU, time until a new one is welcome
    Fleet(fleet::FleetArgs),
    /// A made-up month as the history's files: rows a second of a core, bytes a row
    History(history::HistoryArgs),
    /// Idle agent, lines tailed a second, time from a line to the collector's page
    Agent(agent::AgentArgs),
    /// What a command costs through `exec`, and an `emit`, with an agent and without
    Local(local::LocalArgs),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Sink(args) => sink::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Ingest(args) => ingest::run(&args),
        Command::Noisy(args) => noisy::run(&args),
        Command::Otlp(args) => otlp::run(&args),
        Command::OtlpBare(args) => otlp::run_bare(&args),
        Command::Collector(args) => collector::run(&args),
        Command::Fleet(args) => fleet::run(&args),
        Command::History(args) => history::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Local(args) => local::run(&args),
    }
}
