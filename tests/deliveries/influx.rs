//! InfluxDB and VictoriaMetrics over line protocol.

use super::*;

pub(crate) fn influx(url: &str) -> InfluxSettings {
    InfluxSettings {
        url: url.to_owned(),
        database: "devloop".to_owned(),
        credential: InfluxCredential::None,
        ca_file: None,
        retries: retries(5),
        detail: Detail::Figures,
    }
}

pub(crate) fn to_influx(
    settings: InfluxSettings,
    set: DataSet,
    rows: &[Row],
) -> Result<Delivered, Box<Stopped>> {
    let mut destination = Influx::new(set, settings, Arc::new(SystemClock::new())).unwrap();
    deliver(&mut destination, set, &batches(set, rows, 1000), None, None)
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
    // How many attempts fit into two seconds is the jitter's; the words have what the server saw.
    let received = sink.received();
    assert!(received.len() > 1, "{words}");
    assert!(words.contains(&format!("gave up after {} attempts", received.len())), "{words}");
    assert_eq!(received[0].headers["authorization"], "Token secret-token-1");

    let sink =
        HttpSink::spawn(|_, _| Reply::Say(429, vec![("retry-after", "900".to_owned())], String::new()));
    let words = to_influx(influx(&sink.url()), DataSet::Runs, &rows).unwrap_err().to_string();
    assert!(words.contains("asks for a wait of 900 s") && words.contains("after 1 attempts"), "{words}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = InfluxSettings { retries: retries(0), ..influx(&format!("http://{nobody}")) };
    let words = to_influx(settings, DataSet::Runs, &rows).unwrap_err().to_string();
    assert!(words.contains("Connection refused") && words.contains("nothing was delivered"), "{words}");
}
