//! Rows of the history handed to other systems, read back there by their own means.

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use history::dataset::DataSet;
use history::line_protocol::Detail;
use muster::clock::{Clock, SystemClock};
use secrecy::SecretString;
use server::delivery::influx::{Influx, InfluxCredential, InfluxSettings};
use server::delivery::position::Position;
use server::delivery::state::{StateFile, What};
use server::delivery::{Delivered, Delivery, Destination, Retries, Stopped};

use support::databases::{self, Victoria, values};
use support::history_rows::{Row, Value, batches, run, text};
use support::http_sink::{HttpSink, Received, Reply, says, taken};

/// Not on the second, so that nothing is right because it was rounded.
fn now_us() -> i64 {
    SystemClock::new().wall().0 as i64 / 1_000_000 * 1_000_000 - 300_000_000 + 123_456
}

fn retries(seconds: u64) -> Retries {
    Retries { give_up_after: Duration::from_secs(seconds) }
}

fn influx(url: &str) -> InfluxSettings {
    InfluxSettings {
        url: url.to_owned(),
        database: "devloop".to_owned(),
        credential: InfluxCredential::None,
        ca_file: None,
        retries: retries(5),
        detail: Detail::Figures,
    }
}

fn deliver(
    destination: &mut impl Destination,
    data_set: DataSet,
    batches: &[RecordBatch],
    from: Option<Position>,
    state: Option<&StateFile>,
) -> Result<Delivered, Box<Stopped>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rows = batches.iter().cloned().map(Ok);
    Delivery { data_set, from, state }.run(&runtime, destination, rows, |_, _| {})
}

fn to_influx(settings: InfluxSettings, set: DataSet, rows: &[Row]) -> Result<Delivered, Box<Stopped>> {
    let mut destination = Influx::new(set, settings, Arc::new(SystemClock::new())).unwrap();
    deliver(&mut destination, set, &batches(set, rows, 1000), None, None)
}

/// Runs of three workers; hundreds of them in one microsecond, as of a tool that keeps seconds.
fn crowded_runs(count: i64) -> Vec<Row> {
    let names = ["linter", "test runner", "odd=name,\"x\"\\"];
    let at = |n: i64| now_us() + n / 2500 * 1_000_000;
    (0..count)
        .map(|n| run(at(n), names[(n % 3) as usize], if n % 7 == 0 { "failure" } else { "success" }, n))
        .collect()
}

/// Runs and summed durations by worker and status.
fn by_worker(rows: &[Row]) -> BTreeMap<(String, String), (i64, i64)> {
    let mut by = BTreeMap::<_, (i64, i64)>::new();
    for row in rows {
        let (Value::Text(worker), Value::Text(status)) = (&row["worker"], &row["status"]) else { panic!() };
        let Value::Integer(duration_us) = row["duration_us"] else { panic!() };
        // What line protocol cannot say.
        let worker =
            if worker.ends_with('\\') { format!("{}/", &worker[..worker.len() - 1]) } else { worker.clone() };
        let entry = by.entry((worker, status.clone())).or_default();
        entry.0 += 1;
        entry.1 += duration_us;
    }
    by
}

#[test]
fn influxdb_has_every_run_once_however_often_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let Some(database) = databases::Influx::spawn(folder.path()) else { return };
    database.query("CREATE DATABASE devloop");
    let rows = crowded_runs(12_000);
    let url = format!("http://{}", database.address);
    for time in ["first", "second"] {
        let delivered = to_influx(influx(&url), DataSet::Runs, &rows).unwrap();
        assert_eq!(delivered.rows, 12_000);
        let series = database.query(
            "SELECT count(weight), sum(duration_us), sum(weight) FROM muster_runs GROUP BY worker, status",
        );
        let found: BTreeMap<_, _> = series
            .iter()
            .map(|one| {
                let tag = |name: &str| one["tags"][name].as_str().unwrap().to_owned();
                let figures = &one["values"][0];
                assert_eq!(figures[1], figures[3], "a weight of one each");
                ((tag("worker"), tag("status")), (figures[1].as_i64().unwrap(), figures[2].as_i64().unwrap()))
            })
            .collect();
        assert_eq!(found, by_worker(&rows), "the {time} time");
    }
    let series = database.query("SELECT duration_us FROM muster_runs WHERE worker = 'linter'");
    let Value::Integer(first_us) = rows[0]["time"] else { panic!() };
    assert_eq!(series[0]["values"][0][0].as_i64().unwrap() / 1000, first_us, "times to the microsecond");
}

#[test]
fn victoria_metrics_has_every_run_of_a_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let Some(database) = Victoria::spawn(folder.path()) else { return };
    let rows = crowded_runs(6_000);
    let delivered = to_influx(influx(&format!("http://{}", database.address)), DataSet::Runs, &rows).unwrap();
    assert_eq!(delivered.rows, 6_000);
    let mut found = BTreeMap::<_, (i64, i64)>::new();
    for (metric, is_count) in [("muster_runs_weight", true), ("muster_runs_duration_us", false)] {
        for series in database.export(metric, 6_000) {
            let label = |name: &str| series["metric"][name].as_str().unwrap().to_owned();
            let sum: f64 = values(std::slice::from_ref(&series)).iter().sum();
            let entry = found.entry((label("worker"), label("status"))).or_default();
            *(if is_count { &mut entry.0 } else { &mut entry.1 }) += sum as i64;
        }
    }
    assert_eq!(found, by_worker(&rows));
}

#[test]
fn all_data_sets_are_taken_with_all_their_columns() {
    let folder = tempfile::tempdir().unwrap();
    let Some(database) = databases::Influx::spawn(folder.path()) else { return };
    database.query("CREATE DATABASE devloop");
    for set in DataSet::ALL {
        let full = |n: i64| -> Row {
            let columns = history::row::columns_of_rows(set);
            let value = |values| match values {
                history::dataset::Values::Time => Value::Integer(now_us() + n),
                history::dataset::Values::Integer => Value::Integer(n + 1),
                history::dataset::Values::Number => Value::Number(0.5),
                history::dataset::Values::Truth => Value::Truth(true),
                _ => text(&format!("a \"{n}\" \\ value, of={set}\n")),
            };
            columns.map(|column| (column.name, value(column.values))).collect()
        };
        let rows: Vec<_> = (0..10).map(full).collect();
        let settings =
            InfluxSettings { detail: Detail::All, ..influx(&format!("http://{}", database.address)) };
        assert_eq!(to_influx(settings, set, &rows).unwrap().rows, 10, "{set}");
        let series = database.query(&format!("SELECT count(*) FROM muster_{set}"));
        let counts = series[0]["values"][0].as_array().unwrap();
        assert!(counts[1..].iter().all(|count| count == 10), "{set}: {series:?}");
    }
}

#[test]
fn influxdb_says_what_is_wrong_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let Some(database) =
        databases::Influx::spawn_with(folder.path(), "auth-enabled = true\nmax-body-size = 2000")
    else {
        return;
    };
    database.query("CREATE USER root WITH PASSWORD 'correct horse' WITH ALL PRIVILEGES");
    let basic = |password: &str| InfluxSettings {
        credential: InfluxCredential::Basic {
            user: "root".to_owned(),
            password: SecretString::from(password),
        },
        ..influx(&format!("http://{}", database.address))
    };
    let rows = crowded_runs(2_000);
    let refused = |settings| to_influx(settings, DataSet::Runs, &rows).unwrap_err().to_string();
    let words = refused(basic("wrong password"));
    assert!(words.contains("HTTP 401") && words.contains("authorization failed"), "{words}");
    assert!(words.contains("nothing was delivered") && !words.contains("wrong password"), "{words}");
    let words = refused(basic("correct horse"));
    assert!(words.contains("database not found") && words.contains("--database"), "{words}");
    database.query_as("CREATE DATABASE devloop", "&u=root&p=correct%20horse");
    // Far more than the 2,000 bytes that this server takes: in halves of halves.
    assert_eq!(to_influx(basic("correct horse"), DataSet::Runs, &rows).unwrap().rows, 2_000);
    let count = database.query_as("SELECT count(weight) FROM muster_runs", "&u=root&p=correct%20horse");
    assert_eq!(count[0]["values"][0][1], 2_000);
}

#[test]
fn a_partial_write_is_told_with_what_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let Some(database) = databases::Influx::spawn(folder.path()) else { return };
    database.query("CREATE DATABASE devloop");
    let url = format!("http://{}", database.address);
    // The field has another type there since before.
    let body = format!("muster_runs,worker=linter duration_us=\"text\" {}", now_us() * 1000);
    support::http::post(database.address, "/write?db=devloop", &[], body.as_bytes());
    let mut rows = vec![run(now_us(), "linter", "success", 1)];
    rows[0].remove("duration_us");
    rows.push(run(now_us() + 1, "linter", "success", 2));
    let stopped = to_influx(influx(&url), DataSet::Runs, &rows).unwrap_err().to_string();
    assert!(stopped.contains("partial write: field type conflict"), "{stopped}");
    assert!(stopped.contains("kept 1 of the last 2 points"), "{stopped}");
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_is_given_up_in_time() {
    let script = |number, _: &Received| match number {
        0 => says(503, "engine: cache maximum memory size exceeded"),
        1 => Reply::Say(429, vec![("retry-after", "1".to_owned())], "slow down".to_owned()),
        2 => Reply::Hang,
        _ => taken(),
    };
    let sink = HttpSink::spawn(script);
    let rows = crowded_runs(10);
    let settings = InfluxSettings { retries: retries(60), ..influx(&sink.url()) };
    assert_eq!(to_influx(settings, DataSet::Runs, &rows).unwrap().rows, 10);
    let received = sink.received();
    assert_eq!(received.len(), 4);
    assert!(received.iter().all(|request| request.plain == received[0].plain), "the same request each time");
    assert_eq!(received[0].path, "/write?db=devloop&precision=ns");
    assert_eq!(received[0].headers["content-encoding"], "gzip");

    let sink = HttpSink::spawn(|_, _| says(503, "down for the night, secret-token-1"));
    let credential = InfluxCredential::Token(SecretString::from("secret-token-1"));
    let settings = InfluxSettings { retries: retries(2), credential, ..influx(&sink.url()) };
    let words = to_influx(settings, DataSet::Runs, &rows).unwrap_err().to_string();
    assert!(words.contains("HTTP 503: down for the night, [REDACTED]"), "{words}");
    assert!(words.contains("gave up after 2 attempts"), "{words}");
    assert_eq!(sink.received()[0].headers["authorization"], "Token secret-token-1");

    let sink =
        HttpSink::spawn(|_, _| Reply::Say(429, vec![("retry-after", "900".to_owned())], String::new()));
    let words = to_influx(influx(&sink.url()), DataSet::Runs, &rows).unwrap_err().to_string();
    assert!(words.contains("asks for a wait of 900 s") && words.contains("after 1 attempts"), "{words}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = InfluxSettings { retries: retries(0), ..influx(&format!("http://{nobody}")) };
    let words = to_influx(settings, DataSet::Runs, &rows).unwrap_err().to_string();
    assert!(words.contains("Connection refused") && words.contains("nothing was delivered"), "{words}");
}

fn what(destination: &impl Destination) -> What {
    What { destination: destination.describe(), query: "runs".to_owned(), from_us: 0, to_us: 1 }
}

/// Delivers over and over with `--resume` until the end, as an operator would; returns how often it stopped.
fn deliver_with_resumes(make: impl Fn() -> Influx, batches: &[RecordBatch], path: &Path) -> usize {
    let mut stops = 0;
    let mut resumed = None;
    loop {
        let mut destination = make();
        let state = match &resumed {
            None => StateFile::new(path.to_owned(), what(&destination)),
            Some((state, _)) => Clone::clone(state),
        };
        let from = resumed.take().map(|(_, position)| position);
        // The rows begin at the time of the position.
        let ended = deliver(&mut destination, DataSet::Runs, batches, from, Some(&state));
        let Err(stopped) = ended else {
            state.remove().unwrap();
            return stops;
        };
        stops += 1;
        assert!(stops < 200, "{stopped}");
        assert!(path.exists() == stopped.can_resume, "{stopped}");
        if stopped.can_resume {
            assert!(stopped.to_string().contains("--resume"), "{stopped}");
            resumed = Some(StateFile::resume(path.to_owned(), what(&destination)).unwrap());
        }
    }
}

#[test]
fn a_delivery_that_dies_at_any_request_goes_on_without_doubling_or_losing() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = support::seeded("a_delivery_that_dies_at_any_request");
    // Rows without a name too: many of the same time that only their number tells apart.
    let mut rows = crowded_runs(30_000);
    for row in rows.iter_mut().filter(|_| random.u8(..) < 60) {
        ["agent_id", "epoch", "seq"].iter().for_each(|name| drop(row.remove(name)));
    }
    let nameless = |row: &Row| !row.contains_key("agent_id");
    let time = |row: &Row| if let Value::Integer(us) = row["time"] { us } else { 0 };
    rows.sort_by_key(|row| (time(row), !nameless(row)));
    let batches = batches(DataSet::Runs, &rows, 3_333);
    let mut dice = fastrand::Rng::with_seed(random.u64(..));
    // Refused before it was taken: what was taken is in the ledger once.
    let sink = HttpSink::spawn(move |_, _| if dice.u8(..4) == 0 { says(403, "not now") } else { taken() });
    let url = sink.url();
    let make = || Influx::new(DataSet::Runs, influx(&url), Arc::new(SystemClock::new())).unwrap();
    let path = folder.path().join("states/delivery.json");
    let mut stops = 0;
    while stops == 0 {
        stops = deliver_with_resumes(make, &batches, &path);
    }
    assert!(!path.exists(), "nothing is left to resume");
    println!("stopped {stops} times");
}

#[test]
fn every_row_is_taken_exactly_once_by_a_sink_that_dies_at_the_third_request() {
    let folder = tempfile::tempdir().unwrap();
    let rows = crowded_runs(30_000);
    let batches = batches(DataSet::Runs, &rows, 3_333);
    let sink = HttpSink::spawn(|number, _| if number % 3 == 2 { says(400, "no") } else { taken() });
    let url = sink.url();
    let make = || Influx::new(DataSet::Runs, influx(&url), Arc::new(SystemClock::new())).unwrap();
    let stops = deliver_with_resumes(make, &batches, &folder.path().join("delivery.json"));
    assert_eq!(stops, 2, "six requests, each third attempt refused");
    let received = sink.received();
    let accepted =
        received.iter().enumerate().filter(|(number, _)| number % 3 != 2).map(|(_, request)| request);
    let text: String = accepted.map(|request| String::from_utf8(request.plain.clone()).unwrap()).collect();
    assert_eq!(text.lines().count(), 30_000);
    let points: BTreeSet<_> = text
        .lines()
        .map(|line| {
            let (series, rest) = line.split_once(" weight=").unwrap();
            (series, rest.rsplit_once(' ').unwrap().1)
        })
        .collect();
    assert_eq!(points.len(), 30_000, "each a point of its own");
    // The same points as those of a delivery that was never stopped.
    let whole = HttpSink::spawn(|_, _| taken());
    to_influx(influx(&whole.url()), DataSet::Runs, &rows).unwrap();
    let whole: String =
        whole.received().iter().map(|request| String::from_utf8(request.plain.clone()).unwrap()).collect();
    assert_eq!(text, whole);
}

#[test]
fn another_delivery_does_not_go_on_from_this_ones_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delivery.json");
    let what = |destination: &str, query: &str| What {
        destination: destination.to_owned(),
        query: query.to_owned(),
        from_us: 1,
        to_us: 2,
    };
    let missing = StateFile::resume(path.clone(), what("a", "b")).unwrap_err();
    assert!(missing.to_string().contains("nothing to resume"), "{missing}");
    let position: Position = serde_json::from_value(serde_json::json!({
        "key": { "time_us": 5, "team": "t", "agent_id": null, "epoch": null, "seq": null }, "of_key": 2, "rows": 9,
    }))
    .unwrap();
    StateFile::new(path.clone(), what("a", "b")).write(&position).unwrap();
    let now = What { from_us: 7, to_us: 8, ..what("a", "b") };
    let (state, from) = StateFile::resume(path.clone(), now).unwrap();
    assert_eq!(from, position);
    assert_eq!(
        (state.what().from_us, state.what().to_us),
        (1, 2),
        "the range of the delivery that it goes on from"
    );
    let words = StateFile::resume(path.clone(), what("x", "b")).unwrap_err().to_string();
    assert!(words.contains("another delivery: the destination was \"a\""), "{words}");
    assert!(StateFile::resume(path.clone(), what("a", "x")).is_err());
    std::fs::write(&path, "{").unwrap();
    let words = StateFile::resume(path, what("a", "b")).unwrap_err().to_string();
    assert!(words.contains("delete it"), "{words}");
}
