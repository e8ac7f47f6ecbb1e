//! `muster telemetry` and `/api/v1/history` with a real collector: the recipes of docs/telemetry.md run as they stand there,
//! programs of others read what is exported, and figures are those of `/metrics`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

#[path = "telemetry/audited.rs"]
mod audited;
#[path = "telemetry/readers.rs"]
mod readers;
#[path = "telemetry/recipes.rs"]
mod recipes;
#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use muster::v1::event::Kind;
use muster::v1::verdict::Outcome;
use muster::v1::{self, FindingChange, PushGate, RunStatus, Severity};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::collector::{Collector, CollectorOptions, clean_environment, muster};
use support::process::Process;
use support::python::tool;
use support::raw_agent::{EventMaker, Identity, RawAgent, event, run_finished};
use support::scripted_http::{Script, ScriptedHttp};
use support::{http, wait_for, wait_until};

const DEADLINE: Duration = Duration::from_secs(30);
const WORKERS: [&str; 3] = ["linter", "a, \"quoted\"\r\nname", "naïve 🎉"];

/// A collector that has acknowledged some of everything.
struct Fed {
    collector: Collector,
    folder: tempfile::TempDir,
}

impl Fed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let collector = Collector::spawn(&folder.path().join("collector"), CollectorOptions::default());
        let mut agent = RawAgent::connect(collector.grpc, &Identity::random()).unwrap();
        let statuses = [RunStatus::Success, RunStatus::Failure, RunStatus::Error, RunStatus::Skipped];
        for project in ["api", "web"] {
            let runs = (0..120).map(|n| run_finished(WORKERS[n % 3], statuses[n % 4])).collect();
            assert_eq!(agent.send("devloop", project, runs).outcome(), Outcome::Appended);
            assert_eq!(agent.send("devloop", project, events()).outcome(), Outcome::Appended);
        }
        // It is opened beside everything else, and who asks before is told to come again.
        wait_until("the history to be open", DEADLINE, || {
            http::get(collector.http, "/api/v1/history/runs?limit=1").status != 503
        });
        Self { collector, folder }
    }

    fn telemetry(&self, arguments: &[&str]) -> Command {
        let mut command = muster();
        command.arg("telemetry").args(arguments).env("MUSTER_HTTP", self.collector.http.to_string());
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Exports to a file, and says where it is.
    #[track_caller]
    fn export(&self, name: &str, arguments: &[&str]) -> PathBuf {
        let path = self.path(name);
        let mut command = self.telemetry(&["export", "--output"]);
        command.arg(&path).args(arguments);
        succeeds(&command.output().unwrap());
        path
    }

    #[track_caller]
    fn summary(&self, arguments: &[&str]) -> Value {
        let output = self.telemetry(&["summary", "--format", "json"]).args(arguments).output().unwrap();
        serde_json::from_str(&succeeds(&output)).unwrap()
    }
}

/// Findings, gates, usage, time saved.
fn events() -> Vec<EventMaker<'static>> {
    let finding = |severity: Severity, change: FindingChange, count| {
        let (severity, change) = (severity as i32, change as i32);
        event(Kind::Finding(v1::Finding { severity, change, count, ..Default::default() }))
    };
    let push = |allowed, prevented_bad_push| {
        let gate = PushGate::PrePush as i32;
        event(Kind::PushChecked(v1::PushChecked { gate, allowed, prevented_bad_push, ..Default::default() }))
    };
    let usage = |reported_cost_microusd| {
        let (input_tokens, output_tokens) = (1_000, 50);
        let usage = v1::Usage { input_tokens, output_tokens, reported_cost_microusd, ..Default::default() };
        event(Kind::Usage(usage))
    };
    vec![
        finding(Severity::High, FindingChange::Found, 3),
        finding(Severity::Low, FindingChange::Found, 4),
        finding(Severity::Low, FindingChange::Fixed, 1),
        push(true, false),
        push(false, true),
        usage(Some(250_000)),
        usage(None),
    ]
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs a script of Python with arguments; `None` without Python.
#[track_caller]
fn python(script: &str, arguments: &[&Path]) -> Option<String> {
    let output =
        Command::new(tool("MUSTER_TEST_PYTHON")?).args(["-c", script]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}\n{}", script, String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn other_programs_read_every_format_and_find_the_same_rows() {
    let fed = Fed::new();
    let files = [
        fed.export("guide.csv", &["--format", "csv"]),
        fed.export("full.csv", &["--format", "csv", "--detailed"]),
        fed.export("full.json", &["--format", "json", "--detailed"]),
        fed.export("full.ndjson", &["--format", "ndjson", "--detailed"]),
        fed.export("runs.parquet", &["--format", "parquet"]),
        fed.export("runs.arrow", &["--format", "arrow"]),
    ];
    let script = r#"
import csv, datetime, json, sys
import duckdb, pyarrow.ipc
guide, full, array, lines, parquet, arrow = sys.argv[1:]
def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))
one, two = rows(guide), rows(full)
assert list(one[0]) == ["timestamp", "agent", "execution_time_ms", "status", "cpu_percent", "memory_mb"], list(one[0])
objects = json.load(open(array, encoding="utf-8"))
assert objects == [json.loads(line) for line in open(lines, encoding="utf-8")]
assert len(one) == len(two) == len(objects) == 240, (len(one), len(two), len(objects))
names = {"linter", "a, \"quoted\"\r\nname", "naïve 🎉"}
for a, b, c in zip(one, two, objects):
    assert a == {key: b[key] for key in a}
    for key, value in c.items():
        told = b[key]
        if value is None: assert told == "", (key, told)
        elif isinstance(value, bool): assert told == str(value).lower(), (key, told)
        elif isinstance(value, (int, float)): assert float(told) == value, (key, told)
        else: assert told == value, (key, told, value)
    assert c["agent"] in names and c["execution_time_ms"] == 250
    assert datetime.datetime.fromisoformat(c["timestamp"]).tzinfo is not None
assert [c["timestamp"] for c in objects] == sorted(c["timestamp"] for c in objects)
streamed = pyarrow.ipc.open_stream(arrow).read_all()
assert streamed.num_rows == 240
def counted(relation, worker):
    return sorted(duckdb.sql(f"SELECT {worker}, status, count(*) FROM {relation} GROUP BY ALL").fetchall())
wanted = counted("streamed", "worker")
assert sum(count for _, _, count in wanted) == 240
assert counted(f"'{parquet}'", "worker") == wanted
assert counted(f"read_csv('{full}')", "agent") == wanted, counted(f"read_csv('{full}')", "agent")
assert counted(f"read_csv('{guide}')", "agent") == wanted
assert counted(f"read_json('{array}')", "agent") == wanted
assert counted(f"read_ndjson('{lines}')", "agent") == wanted
types = dict(duckdb.sql(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_csv('{guide}'))").fetchall())
assert types["timestamp"].startswith("TIMESTAMP"), types
print("read")
"#;
    let read = python(script, &files.each_ref().map(PathBuf::as_path));
    assert!(read.is_none_or(|told| told.trim() == "read"));
}

#[test]
fn figures_of_a_summary_are_those_of_the_page() {
    let fed = Fed::new();
    let page = fed.collector.wait_page("all runs", DEADLINE, |page| {
        page.sum("devloop_agent_runs_total", &[]) == 240.0
            && page.sum("devloop_issues_found_total", &[]) >= 14.0
    });
    let summary = fed.summary(&[]);
    let total = &summary["total"];
    let figure = |path: &str| {
        total.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path}: {summary}"))
    };
    let runs = |status: &str| page.sum("devloop_agent_runs_total", &[("status", status)]);
    assert_eq!(figure("/runs/total"), page.sum("devloop_agent_runs_total", &[]));
    assert_eq!(figure("/runs/success") + figure("/runs/skipped"), runs("success"));
    assert_eq!(figure("/runs/failure"), runs("failure"));
    assert_eq!(figure("/runs/error"), runs("error"));
    assert_eq!(figure("/runs/duration/p95_us"), 250_000.0);
    assert_eq!(figure("/findings/found"), page.sum("devloop_issues_found_total", &[]));
    assert_eq!(figure("/findings/high"), page.sum("devloop_issues_found_total", &[("severity", "high")]));
    assert_eq!(figure("/pushes/checked"), page.sum("devloop_total_pushes", &[]));
    assert_eq!(figure("/pushes/allowed"), page.sum("devloop_successful_pushes", &[]));
    assert_eq!(figure("/usage/reports"), 4.0);
    assert_eq!(figure("/usage/reported_cost_microusd"), 500_000.0);
    assert_eq!(figure("/usage/cost_unknown"), 2.0);
    let parted = fed.summary(&["--by", "project"]);
    let groups = parted["groups"].as_array().unwrap();
    let of: Vec<_> =
        groups.iter().map(|group| (group["name"].as_str(), &group["figures"]["runs"]["total"])).collect();
    assert_eq!(of.len(), 2, "{parted}");
    assert!(of.iter().all(|(name, runs)| name.is_some() && **runs == 120), "{parted}");
    let one = fed.summary(&["--project", "api", "--status", "failure"]);
    assert_eq!(one["total"]["runs"]["total"], 30, "{one}");
    let table = succeeds(&fed.telemetry(&["summary", "--by", "agent"]).output().unwrap());
    assert!(table.contains("240") && table.contains("50.0 %"), "{table}");
    assert!(!table.contains(['█', '▁']), "bars are for terminals:\n{table}");
}

#[test]
fn a_reader_gets_pages_and_streams_and_a_word_for_what_is_wrong() {
    let fed = Fed::new();
    let rows = fed.collector.rows("/api/v1/history/runs");
    assert_eq!(rows.len(), 240);
    let mut small = Vec::new();
    let mut after = String::new();
    loop {
        let page = fed.collector.get(&format!("/api/v1/history/runs?limit=7{after}")).json();
        small.extend(page["rows"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(small, rows, "all rows share two times, and pages part them all the same");
    let lines = fed.collector.get("/api/v1/history/events?format=ndjson&project=api");
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    assert_eq!(lines.text().lines().count(), 5, "{}", lines.text());
    for (path, status, word) in [
        ("/api/v1/history/moons", 404, "samples"),
        ("/api/v1/history/runs?projct=api", 400, "projct"),
        ("/api/v1/history/runs?start=soon", 400, "7d ago"),
        ("/api/v1/history/runs?start=now&end=yesterday", 400, "not before the end"),
        ("/api/v1/history/runs?limit=1001", 400, "1 to 1000"),
        ("/api/v1/history/runs?after=x", 400, "next"),
        ("/api/v1/history/runs?format=parquet", 400, "arrow"),
        ("/api/v1/history/sessions?agent=linter", 400, "worker"),
        ("/api/v1/history/summary?by=moon", 400, "project"),
        ("/api/v1/history/recent?n=2000", 400, "1 to 1000"),
        ("/api/v1/history/recent?start=today", 400, "newest"),
    ] {
        let refused = fed.collector.get(path);
        assert_eq!(refused.status, status, "{path}: {}", refused.text());
        assert!(refused.json()["error"].as_str().unwrap().contains(word), "{path}: {}", refused.text());
    }
}

#[test]
fn what_comes_is_shown_as_it_comes_and_once() {
    let fed = Fed::new();
    let shown = succeeds(&fed.telemetry(&["recent", "-n", "7", "--json"]).output().unwrap());
    assert_eq!(shown.lines().count(), 7, "{shown}");
    let mut child = fed
        .telemetry(&["recent", "-n", "3", "--follow", "--json", "--agent", "late"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut agent = RawAgent::connect(fed.collector.grpc, &Identity::random()).unwrap();
    for round in 0..5 {
        let runs = vec![run_finished("early", RunStatus::Success), run_finished("late", RunStatus::Success)];
        assert_eq!(agent.send("devloop", "api", runs).outcome(), Outcome::Appended);
        let row: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!((&row["data_set"], &row["agent"]), (&Value::from("runs"), &Value::from("late")));
        assert_eq!(row["seq"], round * 2 + 2, "{row}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn rows_are_of_the_team_whose_token_sent_them() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let token = |team: &str| {
        let output = collector.command(&["token", "create", "--team", team]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (red, blue) = (token("red"), token("blue"));
    for token in [&red, &blue] {
        let mut agent = wait_for("the token to be known", DEADLINE, || {
            RawAgent::connect(collector.grpc, &Identity::with_token(token)).ok()
        });
        agent.send("devloop", "api", vec![run_finished("linter", RunStatus::Success)]);
    }
    let all = collector.rows("/api/v1/history/runs");
    assert_eq!(all.len(), 2);
    assert_eq!(collector.rows("/api/v1/history/runs?team=red").len(), 1);
    let told = http::get(collector.http, "/api/v1/history/runs?team=red").text();
    assert!(told.contains("\"team\":\"red\"") && !told.contains("blue"), "{told}");
}

#[test]
fn a_run_has_what_its_worker_used_and_a_data_folder_is_read_without_its_collector() {
    let mut fed = Fed::new();
    let mut agent = RawAgent::connect(fed.collector.grpc, &Identity::random()).unwrap();
    let used: EventMaker<'_> = Box::new(|builder| {
        Kind::ResourceSample(v1::ResourceSample {
            scope: v1::ResourceScope::Worker as i32,
            worker: builder.text("tester"),
            cpu_percent: Some(12.5),
            memory_bytes: Some(64 << 20),
            ..Default::default()
        })
    });
    let events = vec![run_finished("tester", RunStatus::Success), used];
    assert_eq!(agent.send("devloop", "used", events).outcome(), Outcome::Appended);
    let guide = ["--format", "csv", "--project", "used"];
    let asked = std::fs::read_to_string(fed.export("asked.csv", &guide)).unwrap();
    assert!(asked.lines().nth(1).unwrap().ends_with(",tester,250,success,12.5,64"), "{asked}");

    let folder = fed.collector.data_dir();
    let folder = folder.to_str().unwrap();
    let refused =
        fed.telemetry(&["export", "--output", "-", "--data-dir", folder]).args(guide).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--server"), "{refused:?}");

    fed.collector.process.kill9();
    let read = fed.export("read.csv", &["--format", "csv", "--project", "used", "--data-dir", folder]);
    assert_eq!(std::fs::read_to_string(read).unwrap(), asked);
    let all = fed.summary(&["--data-dir", folder]);
    assert_eq!(all["total"]["runs"]["total"], 241, "{all}");
    let recent = |more: &[&str]| {
        let arguments =
            [&["recent", "-n", "3", "--json", "--project", "used", "--data-dir", folder], more].concat();
        fed.telemetry(&arguments).output().unwrap()
    };
    let shown = succeeds(&recent(&[]));
    let row: Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    assert_eq!(
        (shown.lines().count(), &row["data_set"], &row["agent"]),
        (1, &"runs".into(), &"tester".into())
    );
    let followed = recent(&["--follow"]);
    assert_eq!(followed.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&followed.stderr).contains("--follow needs a running collector"));
}

#[test]
fn an_unknown_project_is_an_empty_export_that_says_so() {
    let fed = Fed::new();
    let output = fed.telemetry(&["export", "--project", "apo"]).output().unwrap();
    let table = succeeds(&output);
    assert_eq!(table.lines().count(), 1, "{table}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("no rows") && told.contains("api") && told.contains("web"), "{told}");
}

#[test]
fn a_collector_that_is_killed_in_the_middle_leaves_no_half_file() {
    let mut fed = Fed::new();
    let mut agent = RawAgent::connect(fed.collector.grpc, &Identity::random()).unwrap();
    for _ in 0..150 {
        let runs = (0..1_000).map(|_| run_finished("linter", RunStatus::Success)).collect();
        assert_eq!(agent.send("devloop", "api", runs).outcome(), Outcome::Appended);
    }
    // To standard output and to a file, both stopped where they are: more is under way than buffers hold when the collector
    // goes.
    let signal = |child: &std::process::Child, signal| {
        kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
    };
    let stop = |child: &std::process::Child| signal(child, Signal::STOP);
    let mut child = fed.telemetry(&["export", "--detailed", "--format", "ndjson"]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut first).unwrap();
    stop(&child);
    let path = fed.path("metrics.ndjson");
    let mut to_file = fed.telemetry(&["export", "--detailed", "--format", "ndjson", "--output"]);
    let to_file = to_file.arg(&path).stderr(Stdio::piped()).spawn().unwrap();
    let begun = || {
        let names = std::fs::read_dir(fed.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("metrics.ndjson")).count()
    };
    support::wait_until("the file to be begun", DEADLINE, || begun() > 0);
    stop(&to_file);
    fed.collector.process.kill9();
    signal(&child, Signal::CONT);
    signal(&to_file, Signal::CONT);
    let rest: Vec<String> = out.lines().map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert!(rest.len() < 150_239, "it had ended before: the test says nothing");
    assert_eq!(output.status.code(), Some(1), "{} rows", rest.len());
    assert!(String::from_utf8_lossy(&output.stderr).contains("stopped answering"));
    let output = to_file.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("stopped answering"), "{told}");
    let names = std::fs::read_dir(fed.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("metrics.ndjson")).collect();
    assert_eq!(left, [""; 0], "neither the file nor its beginning");
}

/// The living demo: what its summary says is what its page says, when it has ended.
#[test]
fn the_demo_is_summed_up_as_its_page_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = muster();
    let any = "127.0.0.1:0";
    command.args(["up", "--demo", "--grpc-listen", any, "--http-listen", any, "--otlp-http-listen", "off"]);
    command.args(["--metrics-listen", "off", "--dir"]).arg(folder.path());
    let demo = Process::spawn("demo", command);
    let http = wait_for("the demo to say where it is", DEADLINE, || {
        let log = demo.log();
        let at = log.find("/metrics")?;
        log[..at].rsplit_once("http://").map(|(_, address)| address.to_owned())
    });
    let summed = || {
        let output = muster()
            .args([
                "telemetry",
                "summary",
                "--format",
                "json",
                "--end",
                "9999-01-01 UTC",
                "--start",
                "800d ago",
                "--server",
                &http,
            ])
            .output()
            .unwrap();
        serde_json::from_str::<Value>(&succeeds(&output)).unwrap()
    };
    // It lives on: two pages that are alike have a summary between them.
    wait_for("a quiet moment in which both say the same", DEADLINE, || {
        let runs = || {
            let page = http::get(http.parse().unwrap(), "/metrics").text();
            support::scrape::Page::parse(&page).sum("devloop_agent_runs_total", &[])
        };
        let before = runs();
        let total = summed()["total"]["runs"]["total"].as_f64()?;
        (before > 0.0 && before == runs() && total == before).then_some(())
    });
}
