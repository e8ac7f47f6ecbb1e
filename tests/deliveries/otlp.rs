//! OTLP, read by opentelemetry-proto.

use super::*;

fn otlp_destination(profile: &str, endpoint: &str) -> server::config::destination::Destination {
    let mut table = toml::Table::new();
    for (key, value) in [("name", "export"), ("profile", profile), ("endpoint", endpoint)] {
        table.insert(key.to_owned(), value.into());
    }
    server::config::destination::Destination::of_table(table).unwrap()
}

#[test]
fn opentelemetry_reads_runs_as_log_records_and_spans() {
    let folder = tempfile::tempdir().unwrap();
    let Some(sink) = Sink::spawn(folder.path(), 0) else { return };
    let destination = otlp_destination("otlp", &format!("http://{}", sink.grpc));
    let clock = Arc::new(SystemClock::new());
    let rows = crowded_runs(5_000);
    let mut otlp = Otlp::new(DataSet::Runs, destination, retries(10), clock).unwrap();
    let delivered =
        deliver(&mut otlp, DataSet::Runs, &batches(DataSet::Runs, &rows, 700), None, None).unwrap();
    assert_eq!(delivered.rows, 5_000);
    assert_eq!(delivered.warnings, Vec::<String>::new());
    let requests = sink.requests();
    let items: BTreeSet<_> = requests.iter().flatten().filter(|id| id.contains('-')).cloned().collect();
    let expected: BTreeSet<_> =
        (0..5_000).map(|seq| format!("0123456789abcdef0123456789abcdef-00000000000000aa-{seq}")).collect();
    assert_eq!(items, expected, "a log record each, under the name that it was forwarded with");
    let spans: BTreeSet<_> = requests.iter().flatten().filter(|id| id.contains('.')).collect();
    assert_eq!(spans.len(), 5_000, "and a span");
}

#[test]
fn events_over_otlp_are_what_they_were_and_what_cannot_be_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let Some(sink) = Sink::spawn(folder.path(), 0) else { return };
    let destination = || otlp_destination("otlp", &format!("http://{}", sink.grpc));
    let clock = Arc::new(SystemClock::new());
    let event = |seq: i64, kind: &str, more: &[(&'static str, Value)]| {
        let mut row = run(now_us() + seq, "linter", "", seq);
        row.remove("duration_us");
        row.insert("kind", text(kind));
        row.extend(more.iter().cloned());
        row
    };
    let log = [
        ("attributes", text(r#"{"disk_percent":97.5,"retry":true,"where":"here"}"#)),
        ("name", text("disk.full")),
    ];
    let rows = [
        event(1, "finding", &[("severity", text("critical")), ("outcome", text("found"))]),
        event(2, "log", &log),
        event(3, "otlp", &[]),
        event(4, "kind_of_tomorrow", &[]),
    ];
    let mut otlp = Otlp::new(DataSet::Events, destination(), retries(10), clock.clone()).unwrap();
    let delivered =
        deliver(&mut otlp, DataSet::Events, &batches(DataSet::Events, &rows, 9), None, None).unwrap();
    assert_eq!(delivered.rows, 2);
    assert_eq!(delivered.passed_over.values().sum::<u64>(), 2, "{:?}", delivered.passed_over);
    let items = std::fs::read_to_string(folder.path().join("items")).unwrap();
    assert_eq!(items.lines().count(), 2, "{items}");
    assert!(items.contains("muster.finding") && items.contains("muster.log"), "{items}");
    assert!(matches!(Otlp::new(DataSet::Samples, destination(), retries(1), clock), Err(OtlpError::Samples)));
}
