//! `muster status`: the fleet and the destinations of a running collector.

use comfy_table::{Table, presets};
use muster::clock::{Clock, SystemClock};
use serde_json::Value;

use super::collector::{Collector, CollectorArguments};
use super::{Failure, configuration, print};

/// Arguments of `muster status`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    collector: CollectorArguments,
    /// One JSON value, for programs.
    #[arg(long)]
    json: bool,
}

/// Rows that are shown to a person; programs get all.
const ROWS_SHOWN_MAX: usize = 50;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let collector = Collector::new(&arguments.collector)?;
    let mut agents = rows(&collector, "agents")?;
    let sessions = rows(&collector, "sessions")?;
    // Shown to the operator alone: elsewhere there are none to see.
    let mut destinations = rows(&collector, "destinations").unwrap_or_default();
    let history = rows(&collector, "history").unwrap_or_default();
    let health = match collector.page("/readyz") {
        Ok(_) => "ready".to_owned(),
        Err(error) => error.to_string(),
    };
    if arguments.json {
        let all = serde_json::json!({ "health": health, "agents": agents, "sessions": sessions,
            "destinations": destinations, "history": history.first() });
        return print(&format!("{all}\n"));
    }
    let connected = agents.iter().filter(|agent| agent["connected"] == true).count();
    let mut text = format!(
        "collector {}: {health}\n{}, {connected} connected\n",
        collector.base(),
        counted(agents.len(), "agent")
    );
    let now_us = SystemClock::new().wall().0;
    for agent in &mut agents {
        let heard =
            agent["heard_us"].as_u64().map_or(0, |heard_us| now_us.saturating_sub(heard_us) / 1_000_000);
        agent["heard"] = format!("{heard} s ago").into();
    }
    text += &agent_table(agents);
    let live: Vec<Value> =
        sessions.into_iter().filter(|s| s["status"] == "running" || s["status"] == "paused").collect();
    text += &format!("{}\n", counted(live.len(), "live session"));
    text += &table(&live, &["team", "user", "project", "tool", "session", "status", "iteration", "phase"]);
    if !destinations.is_empty() {
        text += &format!("{}\n", counted(destinations.len(), "destination"));
        destinations.iter_mut().for_each(tell);
        text += &table(&destinations, &DESTINATION_COLUMNS);
    }
    history.iter().for_each(|history| text += &history_line(history));
    print(&text)
}

/// The agents; their configurations where one of them takes any, and what is wrong with those.
fn agent_table(mut agents: Vec<Value>) -> String {
    let mut columns = vec!["team", "user", "host", "connected", "heard", "lag_events", "version"];
    if agents.iter().any(|agent| configuration::summary(agent) != "-") {
        columns.push("configuration");
    }
    let told = |agent: &Value| {
        let problem = configuration::problem(agent)?;
        let text = |key: &str| agent[key].as_str().unwrap_or_default();
        let (user, host, summary) = (text("user"), text("host"), configuration::summary(agent));
        Some(format!("  {user} at {host}: {summary}: {problem}\n"))
    };
    let problems: Vec<_> = agents.iter().filter_map(told).take(ROWS_SHOWN_MAX).collect();
    for agent in &mut agents {
        agent["configuration"] = configuration::summary(agent).into();
    }
    table(&agents, &columns) + &problems.concat()
}

/// One line: where, how much, what is not in files yet, what is wrong.
fn history_line(history: &Value) -> String {
    let number = |key: &str| history[key].as_u64().unwrap_or(0);
    let mut line = format!(
        "history {}: {} files, {:.1} MB; {} journal records not in files yet",
        history["place"].as_str().unwrap_or("-"),
        number("files"),
        number("bytes") as f64 / 1e6,
        number("lag_records"),
    );
    if number("files_set_aside") > 0 {
        line += &format!("; {} corrupt files set aside", number("files_set_aside"));
    }
    if let Some(problem) = history["problem"].as_str() {
        line += &format!("\n  NOT WRITTEN: {problem}");
    }
    line + "\n"
}

/// What of a destination is shown to a person.
const DESTINATION_COLUMNS: [&str; 9] = [
    "destination",
    "profile",
    "state",
    "queued_records",
    "queued_bytes",
    "oldest",
    "delivered_items",
    "dropped_items",
    "last_error",
];

fn tell(destination: &mut Value) {
    let state = match destination["up"].as_bool() {
        Some(true) => "up",
        Some(false) => "failing",
        None => "-",
    };
    destination["state"] = state.into();
    destination["oldest"] = format!("{} s", destination["oldest_age_seconds"]).into();
    let counts = |of: &Value| -> u64 {
        of.as_object().map_or(0, |counts| counts.values().filter_map(Value::as_u64).sum())
    };
    destination["delivered_items"] = counts(&destination["delivered"]).into();
    let reasons = destination["dropped"].as_object().cloned().unwrap_or_default();
    let reasons: Vec<_> = reasons.iter().map(|(reason, count)| format!("{reason}={count}")).collect();
    destination["dropped_items"] = reasons.join(" ").into();
    if destination["last_error"].is_null() {
        destination["last_error"] = "".into();
    }
}

/// All rows of a list, page by page.
pub(super) fn rows(collector: &Collector, list: &str) -> Result<Vec<Value>, Failure> {
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/{list}?limit=1000{after}");
        let body = collector.page(&path)?;
        let mut page: Value = serde_json::from_str(&body).map_err(Failure::other)?;
        if let Some(own) = page["rows"].as_array_mut() {
            rows.append(own);
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(rows),
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

pub(super) fn table(rows: &[Value], columns: &[&str]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(columns.iter().map(|c| c.replace('_', " ")));
    for row in rows.iter().take(ROWS_SHOWN_MAX) {
        table.add_row(columns.iter().map(|column| match &row[*column] {
            Value::String(text) => text.clone(),
            Value::Bool(true) => "yes".to_owned(),
            Value::Bool(false) => "no".to_owned(),
            other => other.to_string(),
        }));
    }
    let more = rows.len().saturating_sub(ROWS_SHOWN_MAX);
    let rest = if more > 0 { format!("... and {more} more; --json has all\n") } else { String::new() };
    format!("{table}\n{rest}")
}
