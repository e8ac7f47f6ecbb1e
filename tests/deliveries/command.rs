//! `muster telemetry export` as a user types it, against a collector whose rows are written down here.

use std::process::{Command, Output};

use support::collector::muster;
use support::scripted_http::{End, Script, ScriptedHttp};

use super::*;

pub(super) fn collector_of(rows: &[Row]) -> ScriptedHttp {
    let layout = Layout { data_set: DataSet::Runs, detail: history::format::Detail::Guide };
    let mut writer = RowWriter::new(Format::Arrow, layout, Vec::new()).unwrap();
    batches(DataSet::Runs, rows, 1_000).iter().for_each(|batch| writer.write(batch).unwrap());
    let body = writer.finish().unwrap();
    ScriptedHttp::start(move |_| Script::ok(body.clone()))
}

/// The command without any key or state of whoever runs the test.
pub(super) fn export(collector: &ScriptedHttp, home: &Path, arguments: &[&str]) -> Command {
    let mut command = muster();
    command
        .args(["telemetry", "export", "--server", &format!("http://{}", collector.address)])
        .args(arguments);
    for name in ["DD_API_KEY", "DATADOG_API_KEY", "DD_APP_KEY", "DD_SITE", "INFLUX_TOKEN", "STATE_DIRECTORY"]
    {
        command.env_remove(name);
    }
    command.env("XDG_STATE_HOME", home);
    command
}

/// A collector that knows ranges: it has the rows of the one it is asked for. The first answer breaks off after `cut_after` rows.
fn collector_with_ranges(rows: Vec<Row>, cut_after: Option<usize>) -> ScriptedHttp {
    let layout = Layout { data_set: DataSet::Runs, detail: history::format::Detail::Guide };
    let cut_after = Mutex::new(cut_after);
    ScriptedHttp::start(move |asked| {
        let time = |name: &str| -> i64 {
            let value = asked.target.split(['?', '&']).find_map(|part| part.strip_prefix(name)).unwrap();
            let time: jiff::Timestamp = value.replace("%3A", ":").parse().unwrap();
            time.as_microsecond()
        };
        let (start, end) = (time("start="), time("end="));
        let is_in = |row: &&Row| matches!(row["time"], Value::Integer(us) if start <= us && us < end);
        let mut wanted: Vec<Row> = rows.iter().filter(is_in).cloned().collect();
        let cut = cut_after.lock().unwrap().take();
        wanted.truncate(cut.unwrap_or(usize::MAX));
        let mut writer = RowWriter::new(Format::Arrow, layout, Vec::new()).unwrap();
        batches(DataSet::Runs, &wanted, 1_000).iter().for_each(|batch| writer.write(batch).unwrap());
        let mut body = writer.finish().unwrap();
        if cut.is_some() {
            body.truncate(body.len() - 8);
            return Script { status: 200, body, end: End::Cut };
        }
        Script::ok(body)
    })
}

pub(super) fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
pub(super) fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", words(output));
    words(output)
}

#[test]
fn the_guides_influx_recipe_fills_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let Some(database) = databases::Influx::spawn(&folder.path().join("influx")) else { return };
    database.query("CREATE DATABASE devloop");
    let collector = collector_of(&crowded_runs(7_000));
    let url = format!("http://{}", database.address);
    let recipe = ["--format", "influx", "--url", &url, "--database", "devloop", "--start", "1h ago"];
    let told = succeeds(&export(&collector, folder.path(), &recipe).output().unwrap());
    assert!(told.contains("7000 rows of runs delivered to InfluxDB"), "{told}");
    assert_eq!(database.query("SELECT count(weight) FROM muster_runs")[0]["values"][0][1], 7_000);
    assert!(collector.asked()[0].target.starts_with("/api/v1/history/runs?format=arrow"));
}

#[test]
fn the_guides_datadog_recipe_delivers_and_warns_that_ps_shows_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let collector = collector_of(&crowded_runs(3_000));
    let sink = HttpSink::spawn(|_, _| says(202, "{}"));
    let url = sink.url();
    let recipe = [
        "--format",
        "datadog",
        "--api-key",
        "key-on-the-line",
        "--app-key",
        "app-on-the-line",
        "--url",
        &url,
    ];
    let told = succeeds(&export(&collector, folder.path(), &recipe).output().unwrap());
    assert!(told.contains("everybody on this machine can see --api-key in `ps`"), "{told}");
    assert!(told.contains("DD_API_KEY") && !told.contains("on-the-line"), "{told}");
    let received = sink.received();
    assert_eq!(received[0].headers["dd-api-key"], "key-on-the-line");
    assert_eq!(received[0].headers["dd-application-key"], "app-on-the-line");
    // From the variable, without a word of `ps`.
    let command = export(&collector, folder.path(), &["--format", "datadog", "--url", &url]);
    let told = succeeds(&with(command, "DATADOG_API_KEY", "key-of-the-variable").output().unwrap());
    assert!(!told.contains("warning"), "{told}");
    assert_eq!(sink.received().last().unwrap().headers["dd-api-key"], "key-of-the-variable");
    let output = export(&collector, folder.path(), &["--format", "datadog", "--url", &url]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(words(&output).contains("needs an API key"), "{}", words(&output));
}

fn with(mut command: Command, name: &str, value: &str) -> Command {
    command.env(name, value);
    command
}

#[test]
fn a_delivery_that_failed_goes_on_with_resume_and_leaves_no_file_when_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let rows = crowded_runs(20_000);
    let collector = collector_of(&rows);
    // Four requests of 5,000 points: the third is refused the first time.
    let sink =
        HttpSink::spawn(
            |number, _| if number == 2 { says(400, "{\"error\":\"disk is broken\"}") } else { taken() },
        );
    let url = sink.url();
    let recipe = ["--format", "influx", "--url", &url, "--database", "devloop", "--start", "24h ago"];
    let output = export(&collector, folder.path(), &recipe).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = words(&output);
    for part in ["HTTP 400: {\"error\":\"disk is broken\"}", "delivered before that: 10000 rows", "--resume"]
    {
        assert!(told.contains(part), "{told}");
    }
    // Another database has nothing to go on from.
    let other = ["--format", "influx", "--url", &url, "--database", "other", "--resume"];
    let output = export(&collector, folder.path(), &other).output().unwrap();
    assert!(words(&output).contains("nothing to resume"), "{}", words(&output));
    let resumed = [&recipe[..], &["--resume"]].concat();
    let told = succeeds(&export(&collector, folder.path(), &resumed).output().unwrap());
    assert!(
        told.contains("10000 rows were delivered before") && told.contains("20000 rows of runs"),
        "{told}"
    );
    // Asked for what begins at the place, of the range of the first time.
    let asked: Vec<_> = collector.asked().into_iter().map(|asked| asked.target).collect();
    let end = |target: &str| target.split('&').find(|part| part.starts_with("end=")).unwrap().to_owned();
    assert_eq!(end(asked.last().unwrap()), end(&asked[0]));
    assert_ne!(asked.last(), asked.first());
    let accepted = sink.received().into_iter().enumerate().filter(|(number, _)| *number != 2);
    let text: String = accepted.map(|(_, request)| String::from_utf8(request.plain).unwrap()).collect();
    let points: BTreeSet<_> = text.lines().map(|line| line.rsplit_once("weight=").unwrap()).collect();
    assert_eq!((text.lines().count(), points.len()), (20_000, 20_000));
    assert_eq!(std::fs::read_dir(folder.path().join("muster/deliveries")).unwrap().count(), 0);
}

#[test]
fn an_object_is_written_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let Some(store) = Seaweed::spawn(&folder.path().join("store")) else { return };
    let collector = collector_of(&crowded_runs(500));
    let recipe = ["--format", "json", "--destination", "s3://history/devloop-metrics/", "--start", "24h ago"];
    let run = |secret: &str, more: &[&str]| {
        let command = export(&collector, folder.path(), &[&recipe[..], more].concat());
        let command = with(with(command, "AWS_ACCESS_KEY_ID", "writer-key"), "AWS_SECRET_ACCESS_KEY", secret);
        let mut command = with(command, "AWS_ENDPOINT_URL", &store.endpoint);
        command.env("AWS_REGION", "us-east-1").output().unwrap()
    };
    let told = succeeds(&run("writer-secret", &[]));
    assert!(told.contains("500 rows of runs written to s3://history/devloop-metrics/muster-runs-"), "{told}");
    let names = store.list("history");
    assert!(names.len() == 1 && names[0].ends_with(".json"), "{names:?}");
    let read: serde_json::Value = serde_json::from_slice(&store.get("history", &names[0])).unwrap();
    assert_eq!(read.as_array().unwrap().len(), 500);
    let output = run("wrong-secret", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("check AWS_ACCESS_KEY_ID"), "{}", words(&output));
    assert_eq!(run("writer-secret", &["--resume"]).status.code(), Some(2));
}

#[test]
fn rows_go_to_an_otlp_server_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let Some(sink) = Sink::spawn(folder.path(), 0) else { return };
    let collector = collector_of(&crowded_runs(300));
    let url = format!("http://{}", sink.grpc);
    let told =
        succeeds(&export(&collector, folder.path(), &["--format", "otlp", "--url", &url]).output().unwrap());
    assert!(told.contains("300 rows of runs delivered"), "{told}");
    assert_eq!(sink.requests().iter().flatten().count(), 600, "a log record and a span each");
    let output = export(&collector, folder.path(), &["--format", "otlp"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", words(&output));
    let output = export(&collector, folder.path(), &["--format", "otlp", "--destination", "nowhere"])
        .output()
        .unwrap();
    assert!(words(&output).contains("named \"nowhere\""), "{}", words(&output));
}

/// What Datadog would have: of each series and time the last value that it was sent.
fn points(received: &[Received]) -> BTreeMap<(String, i64), f64> {
    let mut points = BTreeMap::new();
    for request in received.iter().filter(|request| request.path.ends_with("/series")) {
        let body: serde_json::Value = serde_json::from_slice(&request.plain).unwrap();
        for series in body["series"].as_array().unwrap() {
            let name = format!("{} {} {}", series["metric"], series["tags"], series["resources"]);
            for point in series["points"].as_array().unwrap() {
                let value = point["value"].as_f64().unwrap();
                points.insert((name.clone(), point["timestamp"].as_i64().unwrap()), value);
            }
        }
    }
    points
}

#[test]
fn two_adjacent_exports_to_datadog_leave_what_one_of_both_leaves() {
    let folder = tempfile::tempdir().unwrap();
    // Runs all the time for two minutes, so that every border is among some.
    let base_us = now_us() - 120_000_000;
    let rows: Vec<Row> = (0..1_200).map(|n| run(base_us + n * 100_000, "linter", "success", n)).collect();
    let collector = collector_with_ranges(rows, None);
    let told_time = |us: i64| jiff::Timestamp::from_microsecond(us).unwrap().to_string();
    let (start, middle, end) = (base_us - 60_000_000, base_us + 63_456_789, base_us + 240_000_000);
    let sent = |ranges: &[(i64, i64)]| {
        let sink = HttpSink::spawn(|_, _| says(202, "{}"));
        let url = sink.url();
        for (from, to) in ranges {
            let (from, to) = (told_time(*from), told_time(*to));
            let recipe = ["--format", "datadog", "--url", &url, "--start", &from, "--end", &to];
            let command = export(&collector, folder.path(), &recipe);
            succeeds(&with(command, "DD_API_KEY", "a-key").output().unwrap());
        }
        points(&sink.received())
    };
    let whole = sent(&[(start, end)]);
    let runs: f64 =
        whole.iter().filter(|((name, _), _)| name.starts_with("\"muster.runs\"")).map(|(_, n)| n).sum();
    assert_eq!(runs, 1_200.0);
    assert_eq!(sent(&[(start, middle), (middle, end)]), whole);
    assert_eq!(sent(&[(middle, end), (start, middle)]), whole, "in either order");
    let short =
        ["--format", "datadog", "--url", "http://127.0.0.1:1", "--start", "2026-11-01T00:00:01Z", "--end"];
    let command = export(&collector, folder.path(), &[&short[..], &["2026-11-01T00:00:09Z"]].concat());
    let output = with(command, "DD_API_KEY", "a-key").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(words(&output).contains("10 s"), "{}", words(&output));
}

#[test]
fn a_stream_that_the_collector_cuts_is_asked_for_again_from_where_the_delivery_is() {
    let folder = tempfile::tempdir().unwrap();
    let rows = crowded_runs(20_000);
    let collector = collector_with_ranges(rows.clone(), Some(13_000));
    let sink = HttpSink::spawn(|_, _| taken());
    let url = sink.url();
    let recipe = ["--format", "influx", "--url", &url, "--database", "devloop", "--start", "24h ago"];
    let told = succeeds(&export(&collector, folder.path(), &recipe).output().unwrap());
    assert!(
        told.contains("asking for the rows after") && told.contains("20000 rows of runs delivered"),
        "{told}"
    );
    assert_eq!(collector.asked().len(), 2);
    let got: String =
        sink.received().into_iter().map(|request| String::from_utf8(request.plain).unwrap()).collect();
    let whole = HttpSink::spawn(|_, _| taken());
    super::influx::to_influx(super::influx::influx(&whole.url()), DataSet::Runs, &rows).unwrap();
    let whole: String =
        whole.received().into_iter().map(|request| String::from_utf8(request.plain).unwrap()).collect();
    assert_eq!(got.lines().collect::<Vec<_>>(), whole.lines().collect::<Vec<_>>());
}

#[test]
fn a_new_delivery_leaves_the_place_of_one_that_did_not_end_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    let collector = collector_with_ranges(crowded_runs(20_000), None);
    let sink = HttpSink::spawn(|number, _| if number == 2 { says(400, "no") } else { taken() });
    let url = sink.url();
    let place = folder.path().join("places/mine.json");
    let place = place.to_str().unwrap();
    let recipe = [
        "--format",
        "influx",
        "--url",
        &url,
        "--database",
        "d",
        "--start",
        "24h ago",
        "--resume-file",
        place,
    ];
    let run =
        |more: &[&str]| export(&collector, folder.path(), &[&recipe[..], more].concat()).output().unwrap();
    assert_eq!(run(&[]).status.code(), Some(1));
    let written = std::fs::read(place).unwrap();
    let refused = run(&[]);
    assert_eq!(refused.status.code(), Some(1));
    let told = words(&refused);
    assert!(told.contains(place) && told.contains("--resume") && told.contains("--force"), "{told}");
    assert_eq!(std::fs::read(place).unwrap(), written, "it is left as it was");
    assert_eq!(sink.received().len(), 3, "and nothing was sent");
    // Another collector with the same flags has another place.
    let other = collector_with_ranges(crowded_runs(10), None);
    let output = export(&other, folder.path(), &[&recipe[..], &["--resume"]].concat()).output().unwrap();
    assert!(words(&output).contains("is of another delivery: the source was"), "{}", words(&output));
    let told = succeeds(&run(&["--force"]));
    assert!(told.contains("20000 rows of runs delivered"), "{told}");
    assert!(!Path::new(place).exists());
}

#[test]
fn rows_go_to_a_profile_with_headers_of_a_file_and_to_a_destination_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let collector = collector_of(&crowded_runs(300));
    let sink = HttpSink::spawn(|_, _| says(200, ""));
    let url = sink.url();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        muster::atomic_file::replace(&path, content.as_bytes(), muster::atomic_file::Access::Owner).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (key, headers) =
        (file("key", "license-of-the-file"), file("headers", "# more of them\nX-Tenant: red\n"));
    let flags = ["--url", &url, "--profile", "newrelic", "--api-key-file", &key, "--header-file", &headers];
    let config = format!(
        "[[destination]]\nname = \"relic\"\nprofile = \"newrelic\"\nendpoint = {url:?}\ncredential_file = {key:?}\n\
         headers = {{ \"x-tenant\" = \"red\" }}\n"
    );
    let config = file("muster.toml", &config);
    let named = ["--destination", "relic", "--config", &config];
    for recipe in [&flags[..], &named] {
        let before = sink.received().len();
        let command = export(&collector, folder.path(), &[&["--format", "otlp"], recipe].concat()).output();
        let told = succeeds(&command.unwrap());
        assert!(told.contains("300 rows of runs delivered") && !told.contains("license-of"), "{told}");
        let received = sink.received()[before..].to_vec();
        let paths: BTreeSet<_> = received.iter().map(|request| request.path.clone()).collect();
        assert_eq!(paths, ["/v1/logs", "/v1/traces"].map(str::to_owned).into());
        for request in received {
            assert_eq!(request.headers["api-key"], "license-of-the-file");
            assert_eq!(request.headers["x-tenant"], "red");
        }
    }
    let bad = file("bad", "no header at all: is here\nonly words\n");
    let command =
        export(&collector, folder.path(), &["--format", "otlp", "--url", &url, "--header-file", &bad]);
    let output = { command }.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!words(&output).contains("only words"), "it may be a secret: {}", words(&output));
}
