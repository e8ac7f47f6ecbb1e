//! Datadog's intake, as a sink plays it and as VictoriaMetrics has it.

use super::*;

fn datadog(url: &str) -> DatadogSettings {
    DatadogSettings {
        site: None,
        url: Some(url.to_owned()),
        api_key: SecretString::from("0123456789abcdef"),
        app_key: None,
        ca_file: None,
        retries: retries(60),
    }
}

fn to_datadog(settings: DatadogSettings, set: DataSet, rows: &[Row]) -> Result<Delivered, Box<Stopped>> {
    let mut destination = Datadog::new(set, settings, Arc::new(SystemClock::new())).unwrap();
    deliver(&mut destination, set, &batches(set, rows, 1000), None, None)
}

/// Sums of a metric's points in what a sink of `/api/v2/series` took.
fn series_of(received: &[Received], metric: &str) -> f64 {
    let bodies = received.iter().filter(|request| request.path == "/api/v2/series");
    let bodies = bodies.map(|request| serde_json::from_slice::<serde_json::Value>(&request.plain).unwrap());
    let of_body = |body: serde_json::Value| -> f64 {
        let series = body["series"].as_array().unwrap().iter().filter(|series| series["metric"] == metric);
        let points = series.flat_map(|series| series["points"].as_array().unwrap().clone());
        points.map(|point| point["value"].as_f64().unwrap()).sum()
    };
    bodies.map(of_body).sum()
}

#[test]
fn datadog_gets_every_run_in_requests_within_its_limits() {
    let sink = HttpSink::spawn(|number, _| match number {
        0 => says(503, "{\"errors\":[\"unavailable\"]}"),
        1 => Reply::Say(429, vec![("retry-after", "1".to_owned())], String::new()),
        _ => says(202, "{\"errors\":[]}"),
    });
    // Names that weigh as much as names may, and that no compression makes short.
    let mut random = support::seeded("datadog_gets_every_run");
    let mut long_name = || text(&(0..180).map(|_| random.alphanumeric()).collect::<String>());
    let base_us = now_us();
    let mut row = |n: i64| {
        let mut row = run(base_us + n * 10_000, "", "success", n);
        row.extend(["worker", "project", "tool", "user"].map(|name| (name, long_name())));
        row
    };
    let rows: Vec<_> = (0..1_500).map(&mut row).collect();
    let delivered = to_datadog(datadog(&sink.url()), DataSet::Runs, &rows).unwrap();
    assert_eq!(delivered.rows, 1_500);
    assert_eq!(delivered.warnings, Vec::<String>::new());
    let received = sink.received();
    for request in &received {
        assert!(request.body.len() <= COMPRESSED_BYTES_MAX && request.plain.len() < PLAIN_BYTES_MAX);
        assert_eq!(request.headers["dd-api-key"], "0123456789abcdef");
        assert_eq!(request.headers["content-encoding"], "gzip");
        assert_eq!(request.path, "/api/v2/series");
    }
    assert_eq!(series_of(&received[2..], "muster.runs"), 1_500.0);
    let seconds: i64 =
        rows.iter().map(|row| if let Value::Integer(us) = row["duration_us"] { us } else { 0 }).sum();
    let found = series_of(&received[2..], "muster.runs.duration_seconds");
    assert!((found - seconds as f64 / 1e6).abs() < 1e-6, "{found}");
}

#[test]
fn datadog_is_told_of_what_it_will_drop_and_says_what_it_refuses() {
    let hours = |hours: i64| now_us() - hours * 3_600_000_000;
    let push = |time: i64, seq: i64| {
        let mut row = run(time, "", "", seq);
        ["worker", "status", "duration_us"].iter().for_each(|name| drop(row.remove(name)));
        row.extend([("kind", text("push_checked")), ("outcome", text("prevented"))]);
        row
    };
    let sink = HttpSink::spawn(|_, _| says(202, "{}"));
    let rows = [push(hours(20), 1), push(hours(2), 2), push(hours(0), 3), push(hours(-1), 4)];
    let delivered = to_datadog(datadog(&sink.url()), DataSet::Events, &rows).unwrap();
    let warnings = delivered.warnings.join("\n");
    assert!(warnings.contains("2 rows are more than an hour old"), "{warnings}");
    assert!(warnings.contains("Historical Metrics"), "{warnings}");
    assert!(warnings.contains("1 rows are more than ten minutes ahead"), "{warnings}");
    assert!(warnings.contains("1 events were not sent"), "{warnings}");
    let events: Vec<_> =
        sink.received().into_iter().filter(|request| request.path == "/api/v1/events").collect();
    assert_eq!(events.len(), 3);
    let event: serde_json::Value = serde_json::from_slice(&events[0].plain).unwrap();
    assert_eq!((&event["title"], &event["alert_type"]), (&"api: push prevented".into(), &"success".into()));

    let sink = HttpSink::spawn(|_, _| says(403, "{\"errors\":[\"Forbidden 0123456789abcdef\"]}"));
    let words = to_datadog(datadog(&sink.url()), DataSet::Events, &rows).unwrap_err().to_string();
    assert!(words.contains("HTTP 403") && words.contains("Is it an API key"), "{words}");
    assert!(!words.contains("0123456789abcdef"), "{words}");
    let sink = HttpSink::spawn(|_, _| says(202, "{\"errors\":[\"metric muster.events is blocked\"]}"));
    let words = to_datadog(datadog(&sink.url()), DataSet::Events, &rows).unwrap_err().to_string();
    assert!(words.contains("metric muster.events is blocked"), "{words}");

    let settings = DatadogSettings { url: None, site: Some("datadog.com".to_owned()), ..datadog("") };
    let Err(error) = Datadog::new(DataSet::Runs, settings, Arc::new(SystemClock::new())) else { panic!() };
    assert!(
        matches!(&error, DatadogError::Site(_)) && error.to_string().contains("us5.datadoghq.com"),
        "{error}"
    );
}

#[test]
fn victoria_metrics_has_what_datadog_would_have() {
    let folder = tempfile::tempdir().unwrap();
    let Some(database) = Victoria::spawn(folder.path()) else { return };
    let rows = crowded_runs(9_000);
    let url = format!("http://{}/datadog", database.address);
    // Debian's knows version 1 of the intake alone.
    let delivered = to_datadog(datadog(&url), DataSet::Runs, &rows).unwrap();
    assert_eq!(delivered.rows, 9_000);
    let expected = by_worker(&rows);
    let series = database.export("muster.runs", expected.len());
    let status = |series: &serde_json::Value| series["metric"]["status"].as_str().unwrap().to_owned();
    for wanted in ["success", "failure"] {
        let of_status: Vec<_> = series.iter().filter(|series| status(series) == wanted).cloned().collect();
        let count: i64 = expected.iter().filter(|((_, s), _)| s == wanted).map(|(_, (count, _))| count).sum();
        assert_eq!(values(&of_status).iter().sum::<f64>() as i64, count, "{wanted}");
    }
    let sum: f64 = values(&database.export("muster.runs.duration_seconds", expected.len())).iter().sum();
    let expected: i64 = expected.values().map(|(_, us)| us).sum();
    assert!((sum - expected as f64 / 1e6).abs() < 1e-3, "{sum}");
}
