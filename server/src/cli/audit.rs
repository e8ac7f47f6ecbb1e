//! `muster audit`: what the audit log has, oldest first, and with `--follow` every line that comes.
//!
//! Reads the files of the data folder; the collector may run or not. Lines that are no JSON (a power loss tore them) are
//! passed over and counted on standard error.

use std::io::{self, Write};
use std::sync::mpsc;
use std::time::Duration;

use history::when;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use muster::clock::{Clock, SystemClock, WallTime};
use serde_json::{Map, Value};

use super::Failure;
use super::installation::Installation;
use crate::audit::{self, Follower};

/// How often a followed log is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// What has a column of its own, or is in another's.
const COLUMNS: [&str; 9] = ["time", "what", "outcome", "by", "command", "uid", "address", "team", "agent"];

/// Arguments of `muster audit`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// From when on: `24h ago`, `yesterday`, `2026-11-01 14:30`.
    #[arg(long, value_name = "TIME", default_value = "7d ago")]
    since: String,
    /// Go on with every line that comes, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// The lines as they are in the log, for programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    installation: Installation,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let data_dir = arguments.installation.load()?.data_dir;
    let now = SystemClock::new().wall();
    let since = when::parse(&arguments.since, now, &TimeZone::system())
        .map_err(|error| Failure::Usage(format!("--since: {error}")))?;
    // Before the files are read: a line that comes meanwhile is told twice rather than never.
    let mut follower = Follower::at_end(&data_dir).map_err(Failure::other)?;
    let mut shown = Shown { since, as_json: arguments.json, is_begun: false, passed_over: 0 };
    for line in audit::lines(&data_dir) {
        if !shown.show(&line)? {
            return Ok(());
        }
    }
    if shown.passed_over > 0 {
        // Nothing is left to tell if standard error is gone.
        let _ =
            writeln!(io::stderr(), "muster: {} lines cannot be read and were passed over", shown.passed_over);
    }
    if !arguments.follow {
        return Ok(());
    }
    // Nobody speaks: it is a timer.
    let (_held, timer) = mpsc::channel::<()>();
    loop {
        for line in follower.new_lines().map_err(Failure::other)? {
            if !shown.show(&line)? {
                return Ok(());
            }
        }
        let _ = timer.recv_timeout(LOOK_INTERVAL);
    }
}

struct Shown {
    since: WallTime,
    as_json: bool,
    is_begun: bool,
    passed_over: u64,
}

impl Shown {
    /// Prints a line if it is new enough. False: nobody reads any more.
    fn show(&mut self, line: &str) -> Result<bool, Failure> {
        let Ok(Value::Object(fields)) = serde_json::from_str(line) else {
            self.passed_over += 1;
            return Ok(true);
        };
        let time = fields.get("time").and_then(Value::as_str).and_then(|text| text.parse::<Timestamp>().ok());
        let time_us = time.map_or(0, |time| u64::try_from(time.as_microsecond()).unwrap_or(0));
        if time_us < self.since.0 {
            return Ok(true);
        }
        let mut text = String::new();
        if !self.as_json && !std::mem::replace(&mut self.is_begun, true) {
            text.push_str(&row(["TIME", "WHAT", "OUTCOME", "BY", "TEAM", "MORE"]));
        }
        text.push_str(&if self.as_json { format!("{line}\n") } else { told(&fields) });
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::Other(format!("standard output: {error}"))),
        }
    }
}

fn told(fields: &Map<String, Value>) -> String {
    let text = |name: &str| fields.get(name).map(plain).unwrap_or_default();
    let by = match text("by").as_str() {
        "command" => text("command"),
        "peer" => text("address"),
        other => other.to_owned(),
    };
    let agent = fields.get("agent").map(|agent| format!("agent={}", plain(agent)));
    let more = fields.iter().filter(|(name, _)| !COLUMNS.contains(&name.as_str()));
    let more = agent.into_iter().chain(more.map(|(name, value)| format!("{name}={}", plain(value))));
    let team = fields.get("team").map_or_else(|| "-".to_owned(), plain);
    row([&text("time"), &text("what"), &text("outcome"), &by, &team, &more.collect::<Vec<_>>().join(" ")])
}

fn row([time, what, outcome, by, team, more]: [&str; 6]) -> String {
    let row = format!("{time:<24}  {what:<28}  {outcome:<7}  {by:<16}  {team:<12}  {more}");
    format!("{}\n", row.trim_end())
}

/// A value for people; what a peer said of itself moves no cursor.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_who_and_hides_what_would_move_the_cursor() {
        let line = serde_json::json!({
            "time": "2026-11-01T00:00:00.000Z", "what": "identity_refused", "outcome": "refused", "by": "peer",
            "address": "10.0.0.1", "team": "red", "agent": "00", "host": "a\u{1b}[2Jb", "count": 3,
        });
        let Value::Object(fields) = line else { panic!("an object") };
        let row = told(&fields);
        assert!(row.contains("10.0.0.1") && row.contains("agent=00") && row.contains("count=3"), "{row}");
        assert!(!row.contains('\u{1b}') && !row.contains("by="), "{row}");
    }
}
