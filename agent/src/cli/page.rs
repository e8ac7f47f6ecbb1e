//! `agent status` and `agent metrics`: what the running agent says of itself, over its local page.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use muster::page;

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
    if lines.is_empty() {
        return Err(Failure::failed(anyhow::anyhow!(
            "no line of {}/metrics contains {pattern:?}",
            args.page.page
        )));
    }
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
        ("collector", collector_in_words(&status["collector"])),
        ("projects", format!("{} ({} sources)", number("/projects"), number("/sources"))),
        (
            "events",
            format!(
                "{} spooled and {} acknowledged since its start, {} queued",
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
    if let Some(certificate) = status.get("certificate").filter(|c| c.is_object()) {
        rows.push(("enrolled", certificate_in_words(certificate)));
    }
    let remote = text("/remote_configuration/words");
    if !remote.is_empty() && text("/remote_configuration/state") != "not_taken" {
        rows.push(("remote", remote));
    }
    let trouble = text("/spool/trouble");
    if !trouble.is_empty() {
        rows.push(("trouble", trouble));
    }
    rows.iter().map(|(name, value)| format!("{name:<10}{value}\n")).collect()
}

fn collector_in_words(collector: &serde_json::Value) -> String {
    match collector["version"].as_str() {
        None => "not heard yet".to_owned(),
        Some("") => "does not say its version, as older ones".to_owned(),
        Some(version) => version.to_owned(),
    }
}

fn certificate_in_words(certificate: &serde_json::Value) -> String {
    let text = |name: &str| certificate[name].as_str().unwrap_or_default();
    let of = format!("{} of team {}", text("name"), text("team"));
    match text("warning") {
        "" => format!("{of}, until {}, renewed at {}", text("ends"), text("renews")),
        warning => format!("{of}, until {}: {warning}", text("ends")),
    }
}

fn get(address: &str, path: &str) -> anyhow::Result<String> {
    page::get(address, path)
        .context("no page of an agent; start one with `muster agent run`, or name its page with --page")
}

/// A closed pipe (`| head`) is the reader's wish, not a failure.
pub(super) fn print(text: &str) -> Result<ExitCode, Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(ExitCode::SUCCESS),
    }
}
