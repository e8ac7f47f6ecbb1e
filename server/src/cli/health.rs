//! `muster health [--ready]`: the health check of containers, which have no curl.
//!
//! Exit code 0 if the collector answers 200, else 1 with the reason on stderr. No token is needed, and none is sent.

use super::collector::{Collector, CollectorArguments};
use super::{Failure, print};

/// Arguments of `muster health`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    collector: CollectorArguments,
    /// Whether it takes events, rather than whether it lives: not while the journal is replayed or its disk is full.
    #[arg(long)]
    ready: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let page = if arguments.ready { "/readyz" } else { "/healthz" };
    let collector = CollectorArguments { token_file: None, ..arguments.collector };
    let answer = Collector::new(&collector)?.page(page)?;
    print(&format!("{}\n", answer.trim_end()))
}
