//! `agent status` and `agent metrics`: what the running agent says of itself, over its local page.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;

use super::Failure;
use crate::config::METRICS_LISTEN_DEFAULT;

/// Where the page is.
#[derive(Debug, Clone, Args)]
pub struct PageArgs {
    /// The agent's page
    #[arg(long, value_name = "ADDRESS", default_value = METRICS_LISTEN_DEFAULT, env = "MUSTER_METRICS_LISTEN")]
    page: String,
}

/// Flags of `agent status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    page: PageArgs,
    /// One JSON value, for programs
    #[arg(long)]
    json: bool,
}

/// Flags of `agent metrics`.
#[derive(Debug, Args)]
pub struct MetricsArgs {
    #[command(flatten)]
    page: PageArgs,
    /// Only lines that contain this text
    pattern: Option<String>,
}

/// The page is small and near.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// A page of one machine is far smaller; more is not ours.
const PAGE_BYTES_MAX: u64 = 64 << 20;

pub(super) fn status(args: &StatusArgs) -> Result<ExitCode, Failure> {
    let body = get(&args.page.page, "/status").map_err(Failure::failed)?;
    if args.json {
        return print(&body);
    }
    let status: serde_json::Value = serde_json::from_str(&body).map_err(Failure::failed)?;
    print(&in_words(&status))
}

pub(super) fn metrics(args: &MetricsArgs) -> Result<ExitCode, Failure> {
    let body = get(&args.page.page, "/metrics").map_err(Failure::failed)?;
    let Some(pattern) = &args.pattern else { return print(&body) };
    let lines: String =
        body.lines().filter(|line| line.contains(pattern.as_str())).map(|l| format!("{l}\n")).collect();
    print(&lines)
}

fn in_words(status: &serde_json::Value) -> String {
    let number = |path: &str| status.pointer(path).and_then(serde_json::Value::as_u64).unwrap_or_default();
    let text =
        |path: &str| status.pointer(path).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let connected = status["connected"].as_bool().unwrap_or_default();
    let mut rows = vec![
        (
            "server",
            match (connected, text("/last_error")) {
                (true, _) => format!("connected, team {}", text("/team")),
                (false, error) if error.is_empty() => "not connected".to_owned(),
                (false, error) => format!("not connected: {error}"),
            },
        ),
        ("projects", format!("{} ({} sources)", number("/projects"), number("/sources"))),
        (
            "events",
            format!(
                "{} spooled, {} acknowledged, {} queued",
                number("/events/spooled"),
                number("/events/acked"),
                number("/events/queued")
            ),
        ),
        ("spool", format!("{} KiB", number("/spool/bytes") / 1024)),
        ("memory", format!("{} KiB", number("/memory_bytes") / 1024)),
    ];
    if let Some(dropped) =
        status.pointer("/events/dropped").and_then(|d| d.as_object()).filter(|d| !d.is_empty())
    {
        let reasons: Vec<String> =
            dropped.iter().map(|(reason, events)| format!("{events} ({reason})")).collect();
        rows.push(("dropped", reasons.join(", ")));
    }
    let trouble = text("/spool/trouble");
    if !trouble.is_empty() {
        rows.push(("trouble", trouble));
    }
    rows.iter().map(|(name, value)| format!("{name:<10}{value}\n")).collect()
}

/// A plain GET over HTTP/1.0: one small page on loopback needs no client library.
fn get(address: &str, path: &str) -> anyhow::Result<String> {
    let target: SocketAddr = address
        .to_socket_addrs()
        .with_context(|| format!("{address:?} is not ADDRESS:PORT"))?
        .next()
        .ok_or_else(|| anyhow!("{address:?} has no address"))?;
    let mut stream = TcpStream::connect_timeout(&target, PAGE_TIMEOUT).with_context(|| {
        format!(
            "no agent answers on {address}; start one with `muster agent run`, or name its page with --page"
        )
    })?;
    stream.set_read_timeout(Some(PAGE_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut response = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut response)?;
    let (head, body) =
        response.split_once("\r\n\r\n").ok_or_else(|| anyhow!("{address} does not speak HTTP"))?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        return Err(anyhow!("{address}{path} answered {status}; is that an agent's page?"));
    }
    Ok(body.to_owned())
}

/// A closed pipe (`| head`) is the reader's wish, not a failure.
pub(super) fn print(text: &str) -> Result<ExitCode, Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}
