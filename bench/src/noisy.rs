//! What a team at a hundred times its quota costs another team: the quiet team's acknowledgements alone, beside the noisy
//! one with a quota, and beside it without one (reliability.md row B15: with a quota at most 1.2 times).

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args;

use crate::load::{self, LoadArgs};
use crate::process::{Measured, sibling};

/// Flags of `noisy`.
#[derive(Debug, Args)]
pub struct NoisyArgs {
    /// Rounds; the median of each is reported
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds measured a round
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Events a second that the noisy team may send; what it can send is a hundred times as much or more
    #[arg(long, default_value_t = 2_000)]
    quota: u64,
    /// Folder for journals, on the disk to be measured
    #[arg(long, default_value = ".")]
    dir: std::path::PathBuf,
}

#[derive(Debug, Clone, Copy)]
enum Neighbour {
    Nobody,
    Bounded,
    Free,
}

/// Runs and prints a table.
pub fn run(args: &NoisyArgs) -> anyhow::Result<()> {
    let neighbours = [Neighbour::Nobody, Neighbour::Bounded, Neighbour::Free];
    let mut measured = [const { Vec::new() }; 3];
    for _ in 0..args.rounds {
        for (rounds, neighbour) in measured.iter_mut().zip(neighbours) {
            rounds.push(one(neighbour, args)?);
        }
    }
    println!("| neighbour | its events/s | quiet ack p50 ms | quiet ack p99 ms | p99 ratio to alone |");
    println!("|---|---|---|---|---|");
    let medians = measured.map(|mut rounds| {
        rounds.sort_unstable_by(|a, b| a.quiet.ack_p99_ms.total_cmp(&b.quiet.ack_p99_ms));
        rounds[rounds.len() / 2]
    });
    for (round, name) in medians.iter().zip(["nobody", "noisy, at its quota", "noisy, without a quota"]) {
        println!(
            "| {name} | {:.0} | {:.2} | {:.2} | {:.2} |",
            round.noisy_events_per_second,
            round.quiet.ack_p50_ms,
            round.quiet.ack_p99_ms,
            round.quiet.ack_p99_ms / medians[0].quiet.ack_p99_ms,
        );
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Round {
    quiet: load::Measured,
    noisy_events_per_second: f64,
}

fn one(neighbour: Neighbour, args: &NoisyArgs) -> anyhow::Result<Round> {
    let folder = tempfile::tempdir_in(&args.dir)?;
    let data_dir = folder.path().join("data");
    let config = folder.path().join("muster.toml");
    let quota = match neighbour {
        Neighbour::Bounded => format!("[server.limits.team.noisy]\nevents_per_second = {}\n", args.quota),
        Neighbour::Nobody | Neighbour::Free => String::new(),
    };
    let listen = "grpc_listen = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\notlp_http_listen = \"off\"";
    let text = format!("[server]\n{listen}\ndata_dir = {data_dir:?}\n{quota}");
    std::fs::File::create_new(&config)?.write_all(text.as_bytes())?;
    let tokens = (token(&config, "quiet")?, token(&config, "noisy")?);
    let config = config.display().to_string();
    let server = Measured::start(1, &sibling("muster")?, &["serve", "--config", &config])?;
    let quiet = LoadArgs {
        server: format!("http://{}", server.address("grpc")?),
        streams: 16,
        batch_events: 20,
        in_flight: 1,
        pause_ms: 50,
        token: Some(tokens.0),
        seconds: args.seconds,
        warm_up_seconds: 3.0,
    };
    let noisy = LoadArgs {
        batch_events: 200,
        in_flight: 8,
        pause_ms: 0,
        token: Some(tokens.1),
        // Before the quiet team begins to be measured, and until it has been.
        seconds: args.seconds + 2.0,
        warm_up_seconds: 2.0,
        ..quiet.clone()
    };
    let beside = match neighbour {
        Neighbour::Nobody => None,
        Neighbour::Bounded | Neighbour::Free => {
            Some(std::thread::spawn(move || load::measure(&noisy, || ())))
        }
    };
    let quiet = load::measure(&quiet, || ())?;
    ensure!(quiet.failed_streams == 0, "{} quiet streams failed", quiet.failed_streams);
    let noisy = match beside.map(std::thread::JoinHandle::join) {
        None => load::Measured::default(),
        Some(Ok(measured)) => measured?,
        Some(Err(_)) => anyhow::bail!("the noisy load panicked"),
    };
    let noisy_events_per_second = noisy.events_total as f64 / noisy.seconds_total.max(1.0);
    Ok(Round { quiet, noisy_events_per_second })
}

fn token(config: &Path, team: &str) -> anyhow::Result<String> {
    let mut create = Command::new(sibling("muster")?);
    let output = create.args(["token", "create", "--team", team, "--config"]).arg(config).output()?;
    let said = String::from_utf8(output.stdout)?;
    let token = said.split_whitespace().find(|word| word.starts_with("mst_"));
    token.map(str::to_owned).context("no token was printed")
}
