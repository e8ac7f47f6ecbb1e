//! A month of a company, made up from a seed (bench/src/history/month.rs), in a data folder: every figure of a summary is the
//! one that DuckDB counts from the Parquet files, the sums of rows are the counters of the page at the month's end, and
//! an export of all of it has every row, in order, in little memory.
//!
//! `MUSTER_TEST_MONTH_RUNS` says how many runs the month has (10,000 unless told otherwise). `MUSTER_TEST_MONTH` names a
//! folder that `muster-bench history --out` wrote, to be used instead, and `MUSTER_TEST_MUSTER` the binary to ask, so that
//! both may be optimized where this test is not.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    missing_docs,
    reason = "a test"
)]

#[path = "../bench/src/history/month.rs"]
#[allow(dead_code, reason = "the bench uses the rest")]
mod month;
#[path = "../bench/src/history/out.rs"]
mod out;
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use bytes::Bytes;
use history::file;
use history::fold::Fold;
use history::partition::{JournalRange, Partition};
use journal::Position;
use month::{Month, MonthConfig};
use muster::clock::{Clock, SystemClock};
use out::{Out, PAGE};
use serde_json::Value;
use support::collector::clean_environment;
use support::python::tool;

type Files = BTreeMap<Partition, Bytes>;

/// Before the month's first run and after its last.
const RANGE: [&str; 4] = ["--start", "2026-02-01 UTC", "--end", "2026-03-15 UTC"];
const FROM_US: &str = "1769904000000000";
const TO_US: &str = "1773532800000000";
/// Records of a flush in the month that is made here.
const FLUSH_RECORDS: usize = 200;
/// Most memory of an export, of any number of rows (the issue's aim).
const MEMORY_KB_MAX: u64 = 64 << 10;
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A data folder with a month in it.
struct Folder {
    path: PathBuf,
    _made: Option<tempfile::TempDir>,
}

impl Folder {
    fn new() -> Self {
        if let Some(path) = std::env::var_os("MUSTER_TEST_MONTH") {
            return Self { path: path.into(), _made: None };
        }
        let made = tempfile::tempdir().unwrap();
        let path = made.path().join("data");
        write(&path);
        Self { path, _made: Some(made) }
    }

    fn muster(&self, arguments: &[&str]) -> Command {
        let binary = std::env::var_os("MUSTER_TEST_MUSTER");
        let mut command = Command::new(binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_muster").into()));
        clean_environment(&mut command);
        command.arg("telemetry").args(arguments).args(RANGE).arg("--data-dir").arg(&self.path);
        command
    }

    fn check(&self, python: &Path, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/history_check.py");
        let mut command = Command::new(python);
        command.arg(script).arg(arguments[0]).arg(self.path.join("history"));
        command.args(["--from", FROM_US, "--to", TO_US]).args(&arguments[1..]);
        said(&mut command)
    }
}

/// Writes the month as a collector does: ranges of the journal, merged at the end of each day.
fn write(path: &Path) {
    let runs = std::env::var("MUSTER_TEST_MONTH_RUNS").map_or(10_000, |runs| runs.parse().unwrap());
    let config = MonthConfig { seed: 20_260_201, runs, days: 28, developers: 200, teams: 8 };
    let (mut month, mut out) = (Month::new(config).unwrap(), Out::new(path).unwrap());
    let mut after = Position(0);
    while let Some(day) = month.next_day().unwrap() {
        for items in day.items.chunks(FLUSH_RECORDS) {
            let mut fold = Fold::new();
            items.iter().for_each(|item| fold.take(item).unwrap());
            let range = JournalRange { after, to: Position(after.0 + items.len() as u64) };
            after = range.to;
            let encode = |(partition, rows): (Partition, _)| {
                let bytes = file::encode(partition.data_set, [rows], range).unwrap();
                (partition, bytes)
            };
            let files: Files = fold.finish().into_iter().map(encode).collect();
            out.commit(range, &files, items).unwrap();
        }
        out.settle().unwrap();
    }
    out.finish().unwrap();
    assert_eq!(out.store().cursor(), after);
}

#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_figure_of_a_month_is_the_one_that_duckdb_counts_and_that_the_page_says() {
    let Some(python) = tool("MUSTER_TEST_PYTHON") else { return };
    let folder = Folder::new();
    let clock = SystemClock::new();
    let page = folder.path.join(PAGE);
    let compared = folder.check(&python, &["page", "--page", page.to_str().unwrap()]);
    let compared: Value = serde_json::from_str(&compared).unwrap();
    assert!(
        compared["series"].as_u64() > Some(500) && compared["families"].as_u64() >= Some(8),
        "{compared}"
    );
    println!("counters of the page: {compared}, {:?}", clock.monotonic().0);
    for by in ["team", "user", "project", "tool", "agent", "model", "day"] {
        let mut asked = folder.muster(&["summary", "--format", "json", "--by", by]);
        let ours: Value = serde_json::from_str(&said(&mut asked)).unwrap();
        let counted = folder.check(&python, &["summary", "--compare", "--by", by]);
        let counted: Value = serde_json::from_str(&counted).unwrap();
        assert_eq!(ours, counted, "by {by}");
        let runs = &ours["total"]["runs"]["total"];
        println!("summary by {by}: {runs} runs, {:?}", clock.monotonic().0);
    }
}

#[test]
fn an_export_of_a_month_has_every_row_in_order_and_needs_little_memory() {
    let python = tool("MUSTER_TEST_PYTHON");
    let folder = Folder::new();
    let target = tempfile::tempdir().unwrap();
    for (format, detail) in [("csv", &[][..]), ("ndjson", &[]), ("csv", &["--detailed"]), ("parquet", &[])] {
        let path = target.path().join(format!("runs.{format}"));
        let clock = SystemClock::new();
        let mut command = folder.muster(&["export", "--force", "--format", format]);
        command.args(detail).arg("--output").arg(&path);
        let most = watch(command.spawn().unwrap());
        let bytes = std::fs::metadata(&path).unwrap().len();
        println!("{format} {detail:?}: {bytes} bytes in {:?}, {most:?}", clock.monotonic().0);
        // A binary with its debugging symbols is itself larger than all of that.
        let is_optimized = !cfg!(debug_assertions) || std::env::var_os("MUSTER_TEST_MUSTER").is_some();
        // Parquet holds a row group, which is more than the rows of the others.
        let is_text = format != "parquet";
        assert!(most.anonymous_kb < MEMORY_KB_MAX || !is_text, "{format} {detail:?}: {most:?}");
        assert!(
            most.resident_kb < MEMORY_KB_MAX || !is_text || !is_optimized,
            "{format} {detail:?}: {most:?}"
        );
        if let Some(python) = &python {
            let root = folder.path.join("history");
            let mut compare = Command::new(python);
            compare.args(["-c", COMPARE]).args([&path, &root]);
            println!("{format} {detail:?}: {}", said(&mut compare).trim());
        }
        std::fs::remove_file(&path).unwrap();
    }
}

/// The exported file's rows against those of the history's files, by DuckDB.
const COMPARE: &str = r#"
import sys, duckdb
path, root = sys.argv[1:]
db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
exported = f"read_csv('{path}', all_varchar = false)" if path.endswith(".csv") else f"'{path}'"
if path.endswith(".parquet"):
    columns = "worker AS agent, status, duration_us AS us, epoch_us(time) AS time"
else:
    columns = "agent, status, round(execution_time_ms * 1000)::BIGINT AS us, epoch_us(timestamp::TIMESTAMPTZ) AS time"
figures = "agent, status, count(*), count(us), sum(us), min(us), max(us), min(time), max(time), sum(time::HUGEINT)"
ours = db.execute(f"SELECT {figures} FROM (SELECT {columns} FROM {exported}) GROUP BY ALL ORDER BY ALL").fetchall()
db.execute(f"""CREATE VIEW runs AS SELECT worker AS agent, status, duration_us AS us, epoch_us(time) AS time
               FROM read_parquet('{root}/runs/**/*.parquet', union_by_name = true)""")
theirs = db.execute(f"SELECT {figures} FROM runs GROUP BY ALL ORDER BY ALL").fetchall()
assert ours == theirs, (ours[:5], theirs[:5])
late = db.execute(f"""SELECT count(*) FROM (SELECT time < lag(time) OVER () AS late FROM (SELECT {columns} FROM {exported}))
                      WHERE late""").fetchone()[0]
assert late == 0, f"{late} rows are before the row before them"
print(sum(row[2] for row in ours), "rows, as DuckDB has them")
"#;

/// What a process needed at the most.
#[derive(Debug, Default)]
struct Memory {
    /// Of everything, its program among it.
    resident_kb: u64,
    /// Of what it made itself.
    anonymous_kb: u64,
}

/// Looks at a process until it ends well.
fn watch(mut child: Child) -> Memory {
    let status = format!("/proc/{}/status", child.id());
    let mut most = Memory::default();
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let figure = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        most.resident_kb = most.resident_kb.max(figure("VmHWM:"));
        most.anonymous_kb = most.anonymous_kb.max(figure("RssAnon:"));
        std::thread::sleep(LOOK_INTERVAL);
    }
    assert!(child.wait().unwrap().success());
    most
}
