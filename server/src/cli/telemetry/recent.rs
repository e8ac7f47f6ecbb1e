//! `muster telemetry recent`: the newest events, one a line, and with `--follow` every one that comes.

use std::io::{self, BufRead, BufReader, Write};

use history::query::Filter;
use serde_json::Value;

use super::super::Failure;
use super::remote::encode;
use super::rows::Place;
use super::summary::{count, dollars, duration, printable};
use super::{FilterArguments, SourceArguments};

/// Most events that are asked for at once.
const COUNT_MAX: u64 = 1_000;

/// Arguments of `muster telemetry recent`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many.
    #[arg(short = 'n', value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u64).range(..=COUNT_MAX))]
    count: u64,
    /// Go on with every one that comes, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// One JSON object a line, for programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterArguments,
    #[command(flatten)]
    source: SourceArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let filter = arguments.filter.filter();
    match Place::open(&arguments.source)? {
        Place::DataDir(_) if arguments.follow => Err(Failure::Usage(
            "--follow needs a running collector (--server): nothing comes into a data folder that no collector runs on"
                .to_owned(),
        )),
        Place::DataDir(folder) => {
            let lines = folder.newest(&filter, arguments.count)?;
            for line in lines.lines() {
                if !show(line, arguments.json)? {
                    break;
                }
            }
            Ok(())
        }
        Place::Collector(collector) => {
            let path = path(&filter, arguments.count, arguments.follow);
            let mut lines = BufReader::new(collector.get(&path)?);
            let mut line = String::new();
            loop {
                line.clear();
                if lines.read_line(&mut line).map_err(|error| collector.cut(&error))? == 0 {
                    break;
                }
                if !show(line.trim_end(), arguments.json)? {
                    return Ok(());
                }
            }
            // It ends a stream that is followed only with itself.
            if arguments.follow { Err(collector.cut(&"it ended the stream")) } else { Ok(()) }
        }
    }
}

fn path(filter: &Filter, count: u64, is_followed: bool) -> String {
    let filter = super::rows::filter(filter);
    format!("/api/v1/history/recent?n={}&follow={is_followed}{filter}", encode(&count.to_string()))
}

/// Writes a line. False: nobody reads any more.
fn show(line: &str, as_json: bool) -> Result<bool, Failure> {
    // What keeps a quiet stream alive.
    if line.is_empty() {
        return Ok(true);
    }
    let told = if as_json {
        line.to_owned()
    } else {
        let row = serde_json::from_str(line)
            .map_err(|error| Failure::Other(format!("the collector sent what is no event: {error}")))?;
        told(&row)
    };
    let mut out = io::stdout().lock();
    match writeln!(out, "{told}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Other(format!("standard output: {error}"))),
    }
}

/// `2026-11-21 08:00:00  platform  api  devloop  run linter success 245 ms`
fn told(row: &Value) -> String {
    let text = |name: &str| row[name].as_str().unwrap_or("").to_owned();
    let number = |name: &str| row[name].as_u64();
    let length = |name: &str| number(name).map(duration).unwrap_or_default();
    let mut words = match row["data_set"].as_str().unwrap_or("") {
        "runs" => vec!["run".to_owned(), text("agent"), text("status"), length("duration_us")],
        "sessions" => {
            let iteration = number("iteration").map_or_else(String::new, |n| format!("iteration {n}"));
            vec!["session".to_owned(), text("session"), text("status"), iteration, text("phase")]
        }
        "usage" => {
            let kinds = [
                "input_tokens",
                "output_tokens",
                "cache_read_tokens",
                "cache_write_tokens",
                "reasoning_tokens",
            ];
            let tokens = kinds.into_iter().filter_map(number).fold(0, u64::saturating_add);
            let cost = number("reported_cost_microusd").or(number("computed_cost_microusd"));
            let cost = cost.map_or_else(|| "cost not known".to_owned(), dollars);
            vec!["usage".to_owned(), text("worker"), text("model"), format!("{} tokens", count(tokens)), cost]
        }
        _ => {
            let how_many = number("count").filter(|n| *n != 1).map(|n| format!("x{}", count(n)));
            vec![
                text("kind"),
                text("name"),
                text("worker"),
                text("severity"),
                text("outcome"),
                text("reason"),
                how_many.unwrap_or_default(),
                length("duration_us"),
            ]
        }
    };
    words.retain(|word| !word.is_empty());
    let time = row["timestamp"].as_str().or(row["time"].as_str()).unwrap_or("");
    let head = [local(time), text("team"), text("project"), text("tool")];
    printable(&format!("{}  {}", head.join("  "), words.join(" ")))
}

/// A time by the clock on this machine's wall.
fn local(time: &str) -> String {
    time.parse::<jiff::Timestamp>().map_or_else(
        |_| time.to_owned(),
        |time| time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_of_row_is_told_on_one_line() {
        let run = json!({ "data_set": "runs", "timestamp": "x", "team": "t", "project": "p", "tool": "devloop",
            "agent": "linter", "status": "success", "duration_us": 245_000 });
        assert_eq!(told(&run), "x  t  p  devloop  run linter success 245 ms");
        let finding = json!({ "data_set": "events", "time": "x", "team": "t", "project": "p", "tool": "devloop",
            "kind": "finding", "severity": "high", "outcome": "found", "count": 3 });
        assert_eq!(told(&finding), "x  t  p  devloop  finding high found x3");
        let usage = json!({ "data_set": "usage", "time": "x", "team": "t", "project": null, "tool": "loki",
            "model": "m", "input_tokens": 1_000, "output_tokens": 5 });
        assert_eq!(told(&usage), "x  t    loki  usage m 1,005 tokens cost not known");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        let row = json!({ "data_set": "runs", "agent": "\u{1b}[2J", "status": "a\nb" });
        assert!(!told(&row).contains(['\u{1b}', '\n']));
    }
}
