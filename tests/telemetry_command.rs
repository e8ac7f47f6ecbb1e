//! `muster telemetry` against a collector whose answers are written down here: what becomes of files, pipes and exit codes
//! when all is well, and when the collector, the disk, the user or a signal gets in the way. What real collectors answer is in
//! tests/telemetry.rs.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use history::dataset::DataSet;
use history::format::{Detail, Format, Layout, RowWriter};
use muster::credential::Token;
use rustix::process::{Pid, Signal, kill_process};
use support::collector::muster;
use support::scripted_http::{Asked, End, Script, ScriptedHttp};
use support::wait_until;

const FULL: Layout = Layout { data_set: DataSet::Runs, detail: Detail::Full };
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs one millisecond after the other; every third name needs quotes.
fn runs(count: usize) -> RecordBatch {
    let schema = FULL.schema();
    let words = |word: fn(usize) -> Option<&'static str>| -> ArrayRef {
        Arc::new((0..count).map(word).collect::<DictionaryArray<Int32Type>>())
    };
    let column = |name: &str| -> ArrayRef {
        match name {
            "time" => {
                let times = (0..count as i64).map(|n| 1_795_000_000_000_000 + n * 1_000);
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
            }
            "team" => words(|_| Some("platform")),
            "worker" => words(|n| Some(if n % 3 == 0 { "lint, \"strict\"" } else { "linter" })),
            "status" => words(|n| Some(if n % 5 == 0 { "failure" } else { "success" })),
            "weight" => Arc::new(Int64Array::from(vec![1; count])),
            "duration_us" => Arc::new((0..count as i64).map(|n| Some(n * 500)).collect::<Int64Array>()),
            "seq" | "queued_us" | "iteration" => Arc::new(Int64Array::from(vec![None; count])),
            "replayed" => Arc::new(BooleanArray::from(vec![false; count])),
            "cpu_percent" | "memory_mb" => {
                Arc::new((0..count).map(|n| (n % 2 == 0).then_some(12.5)).collect::<Float64Array>())
            }
            _ => words(|_| None),
        }
    };
    let columns = schema.fields().iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

/// What a collector answers to a question for these rows.
fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = RowWriter::new(Format::Arrow, FULL, Vec::new()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap()
}

fn collector_of(batches: Vec<RecordBatch>) -> ScriptedHttp {
    let body = stream(&batches);
    ScriptedHttp::start(move |_| Script::ok(body.clone()))
}

fn telemetry(server: &ScriptedHttp, arguments: &[&str]) -> Command {
    let mut command = muster();
    // First of all, since a test may leave the last flag without its value.
    command.args(["telemetry", arguments[0], "--server", &format!("http://{}", server.address)]);
    command.args(&arguments[1..]);
    command
}

#[track_caller]
fn run(mut command: Command) -> Output {
    command.output().expect("muster runs")
}

#[track_caller]
fn run_in(command: &mut Command) -> Output {
    command.output().expect("muster runs")
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", words(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn fails(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", words(output));
    words(output)
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What is in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_guides_columns_are_written_and_nothing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let server = collector_of(vec![runs(2), runs(1)]);
    let path = folder.path().join("metrics.csv");
    let mut command = telemetry(&server, &["export", "--format", "csv", "--start", "24h ago", "--output"]);
    command.arg(&path);
    let output = run(command);
    assert_eq!((succeeds(&output).as_str(), words(&output).as_str()), ("", ""));
    let wanted = "timestamp,agent,execution_time_ms,status,cpu_percent,memory_mb\r\n\
                  2026-11-18T11:06:40.000000Z,\"lint, \"\"strict\"\"\",0,failure,12.5,12.5\r\n\
                  2026-11-18T11:06:40.001000Z,linter,0.5,success,,\r\n\
                  2026-11-18T11:06:40.000000Z,\"lint, \"\"strict\"\"\",0,failure,12.5,12.5\r\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), wanted);
    assert_eq!(names(folder.path()), ["metrics.csv"]);
}

#[test]
fn filters_and_times_reach_the_collector_as_they_were_meant() {
    let server = collector_of(vec![]);
    let arguments = [
        "export",
        "--start",
        "2026-11-01 UTC",
        "--end",
        "2026-11-02T00:00:00+01:00",
        "--team",
        "red",
        "--project",
        "a b&c",
        "--tool",
        "devloop",
        "--agent",
        "ü",
        "--user",
        "ada",
        "--status",
        "failure",
        "--data-set",
        "usage",
    ];
    // The answer is of runs; what matters here is the question.
    run(telemetry(&server, &arguments));
    let wanted = "/api/v1/history/usage?format=arrow&detailed=false&start=2026-11-01T00%3A00%3A00Z&end=2026-11-01T23%3A00%3A00Z\
                  &team=red&project=a%20b%26c&tool=devloop&agent=%C3%BC&user=ada&status=failure";
    assert_eq!(server.asked()[0].target, wanted);
}

#[test]
fn no_rows_are_an_empty_file_a_word_and_no_failure() {
    let server = collector_of(vec![]);
    for (format, wanted) in [("csv", 1), ("json", 1), ("ndjson", 0)] {
        let output = run(telemetry(&server, &["export", "--format", format]));
        assert_eq!(succeeds(&output).lines().count(), wanted, "{format}");
        assert!(words(&output).contains("no rows of runs"), "{}", words(&output));
    }
}

#[test]
fn a_file_that_is_there_is_left_alone_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.json");
    std::fs::write(&path, "mine").unwrap();
    let server = collector_of(vec![runs(3)]);
    let export = |more: &[&str]| {
        let mut command = telemetry(&server, &["export", "--format", "json", "--output"]);
        command.arg(&path).args(more);
        run(command)
    };
    assert!(fails(&export(&[]), 1).contains("--force"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    assert_eq!(server.asked().len(), 0, "nothing is asked for what cannot be written");
    succeeds(&export(&["--force"]));
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(rows.as_array().map(Vec::len), Some(3));
}

#[test]
fn what_cannot_be_written_is_said_and_leaves_nothing() {
    let server = collector_of(vec![runs(50_000)]);
    let folder = tempfile::tempdir().unwrap();
    let export = |path: &Path| {
        let mut command = telemetry(&server, &["export", "--output"]);
        command.arg(path);
        run(command)
    };
    let full = fails(&export(Path::new("/dev/full")), 1);
    assert!(full.contains("/dev/full") && full.contains("No space left"), "{full}");
    let no_folder = fails(&export(&folder.path().join("nowhere/metrics.csv")), 1);
    assert!(no_folder.contains("nowhere/metrics.csv"), "{no_folder}");
    assert!(fails(&export(folder.path()), 1).contains("is a folder"));
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn an_answer_that_is_cut_leaves_no_half_file() {
    let whole = stream(&[runs(30_000), runs(30_000)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    // Between two batches as well, where Arrow alone sees an end; and whole, but without the end of the HTTP answer.
    for cut in [10, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        let body = whole[..cut].to_vec();
        for end in [End::Cut, End::Whole] {
            let body = body.clone();
            let server = ScriptedHttp::start(move |_| Script { status: 200, body: body.clone(), end });
            let mut command = telemetry(&server, &["export", "--output"]);
            command.arg(&path);
            let told = fails(&run(command), 1);
            assert!(told.contains("stopped answering"), "{cut} {end:?}: {told}");
            assert_eq!(names(folder.path()), Vec::<String>::new());
        }
    }
}

#[test]
fn what_is_wrong_with_the_rows_is_told_though_it_comes_last() {
    let body = stream(&[runs(2)]);
    let end = End::Told("[\"runs/x.parquet could not be read and was set aside\"]");
    let server = ScriptedHttp::start(move |_| Script { status: 200, body: body.clone(), end });
    let output = run(telemetry(&server, &["export"]));
    assert_eq!(succeeds(&output).lines().count(), 3);
    assert!(words(&output).contains("runs/x.parquet could not be read"), "{}", words(&output));
}

#[test]
fn a_build_of_ci_overwrites_the_file_of_the_build_before() {
    let folder = tempfile::tempdir().unwrap();
    let server = collector_of(vec![runs(3)]);
    for _ in 0..2 {
        let mut command = telemetry(&server, &["export", "--format", "json", "--output", "metrics.json"]);
        succeeds(&run_in(command.env("CI", "true").current_dir(folder.path())));
    }
    assert_eq!(names(folder.path()), ["metrics.json"]);
}

#[test]
fn a_flag_that_nothing_would_come_of_is_refused() {
    let server = collector_of(vec![runs(1)]);
    for (arguments, wanted) in [
        (["--url", "http://x"].as_slice(), "a file takes no --url"),
        (&["--resume"], "a file takes no --resume"),
        (
            &["--format", "influx", "--url", "http://x", "--database", "d", "--output", "f"],
            "leave out --output",
        ),
        (
            &["--format", "influx", "--url", "http://x", "--database", "d", "--app-key", "k"],
            "takes no --app-key",
        ),
        (&["--format", "otlp", "--url", "http://x", "--api-key", "k"], "--api-key-file"),
        (&["--format", "otlp", "--destination", "n", "--profile", "otlp"], "takes no --profile"),
        (&["--destination", "s3://b/", "--api-key", "k"], "AWS_ACCESS_KEY_ID"),
        (&["--destination", "s3://b/", "--database", "d"], "takes no --database"),
    ] {
        let told = fails(&run(telemetry(&server, &[&["export"], arguments].concat())), 2);
        assert!(told.contains(wanted) && !told.contains("warning"), "{arguments:?}: {told}");
    }
    assert_eq!(server.asked(), Vec::<Asked>::new());
}

#[test]
fn a_signal_removes_what_is_not_finished_and_says_so() {
    for (signal, code, word) in [(Signal::INT, 130, "interrupted"), (Signal::TERM, 143, "terminated")] {
        let mut body = stream(&[runs(30_000)]);
        body.truncate(body.len() - 8);
        let server = ScriptedHttp::start(move |_| Script { status: 200, body: body.clone(), end: End::Hang });
        let folder = tempfile::tempdir().unwrap();
        let mut command = telemetry(&server, &["export", "--output"]);
        command.arg(folder.path().join("metrics.csv")).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        wait_until("the file to be begun", DEADLINE, || {
            let names = names(folder.path());
            assert!(names.iter().all(|name| name.starts_with("metrics.csv.new.")), "{names:?}");
            !names.is_empty()
        });
        kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
        let told = fails(&child.wait_with_output().unwrap(), code);
        assert!(told.contains(word) && told.contains("metrics.csv is not there"), "{told}");
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let server = collector_of(vec![runs(60_000), runs(60_000)]);
    let mut child = telemetry(&server, &["export", "--format", "ndjson"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((succeeds(&output).as_str(), words(&output).as_str()), ("", ""));
}

#[test]
fn a_collector_that_refuses_or_is_away_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    let export = |server: &ScriptedHttp| {
        let mut command = telemetry(server, &["export", "--output"]);
        command.arg(&path);
        fails(&run(command), 1)
    };
    for (status, error, wanted) in [
        (401, "credential not accepted", "--token-file"),
        (400, "sessions have no column worker", "sessions have no column worker"),
        (404, "no such page", "port 9464"),
        (503, "4 queries are running already", "4 queries are running already"),
        (500, "the journal cannot be read", "the journal cannot be read"),
    ] {
        let server = ScriptedHttp::start(move |_| Script::refused(status, error));
        let told = export(&server);
        assert!(told.contains(wanted), "{status}: {told}");
    }
    let other = ScriptedHttp::start(|_| Script::ok("<html>a page of something else</html>"));
    assert!(export(&other).contains("no rows"), "{}", export(&other));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = muster();
    command.args(["telemetry", "export", "--server", &free.to_string(), "--output"]).arg(&path);
    let away = fails(&run(command), 1);
    assert!(away.contains("no collector answers") && away.contains("muster serve"), "{away}");
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn what_makes_no_sense_is_refused_with_examples_before_anything_is_asked() {
    let server = collector_of(vec![runs(1)]);
    for (arguments, wanted) in [
        (["export", "--start", "last tuesday"].as_slice(), "7d ago"),
        (&["export", "--start", "now", "--end", "yesterday"], "is not before the end"),
        (&["export", "--start", "2026-11-01 Nowhere/Land"], "Nowhere/Land"),
        (&["summary", "--by", "moon"], "project"),
        (&["export", "--data-set", "run"], "runs, events"),
        (&["export", "--team", ""], "team"),
        (&["recent", "-n", "100000"], "1000"),
    ] {
        let told = fails(&run(telemetry(&server, arguments)), 2);
        assert!(told.contains(wanted), "{arguments:?}: {told}");
    }
    assert_eq!(server.asked(), Vec::<Asked>::new());
}

#[test]
fn a_token_is_sent_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let token = Token::from_random([7; 44]).expose().to_owned();
    muster::atomic_file::replace(&file, token.as_bytes(), muster::atomic_file::Access::Owner).unwrap();
    let server = ScriptedHttp::start(|_| Script::refused(401, "credential not accepted"));
    let mut command = telemetry(&server, &["export", "--token-file"]);
    command.arg(&file);
    let told = fails(&run(command), 1);
    assert!(!told.contains(&token), "{told}");
    assert_eq!(server.asked()[0].header("authorization"), format!("Bearer {token}"));
}

#[test]
fn recent_events_are_lines_and_empty_lines_are_none() {
    let body = "\n{\"data_set\":\"runs\",\"timestamp\":\"2026-11-18T11:06:40.000000Z\",\"agent\":\"linter\",\"status\":\"success\",\
                \"team\":\"t\",\"project\":\"p\",\"tool\":\"devloop\",\"duration_us\":245000}\n\n";
    let server = ScriptedHttp::start(move |_| Script::ok(body));
    let mut command = telemetry(&server, &["recent"]);
    command.env("TZ", "UTC");
    assert_eq!(succeeds(&run(command)), "2026-11-18 11:06:40  t  p  devloop  run linter success 245 ms\n");
    assert_eq!(succeeds(&run(telemetry(&server, &["recent", "--json"]))), format!("{}\n", body.trim()));
    let followed = fails(&run(telemetry(&server, &["recent", "--follow"])), 1);
    assert!(followed.contains("ended the stream"), "{followed}");
}
