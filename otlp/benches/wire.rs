//! What the walks over bytes cost against decoding the same request: 1,000 log records of 390 bytes with ten attributes
//! each, as a coding tool sends them.

use std::hint::black_box;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use otlp::Signal;
use otlp::proto::collector_logs::ExportLogsServiceRequest;
use otlp::proto::common::any_value::Value;
use otlp::proto::common::{AnyValue, InstrumentationScope, KeyValue};
use otlp::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};
use otlp::proto::resource::Resource;
use otlp::wire::{Stamp, check, resources, split, stamp};
use prost::Message;

const RECORDS: u64 = 1_000;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn record(index: u64) -> LogRecord {
    LogRecord {
        time_unix_nano: 1_795_000_000_000_000_000 + index,
        observed_time_unix_nano: 1_795_000_000_000_000_000 + index,
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue("claude_code.api_request".to_owned())) }),
        attributes: vec![
            text("session.id", "0198c0de-7f3a-7a60-9d1b-5c2e8f4a6b70"),
            text("event.name", "api_request"),
            text("event.timestamp", "2026-11-21T12:00:00.000Z"),
            text("model", "claude-sonnet-4-5-20250929"),
            attribute("input_tokens", Value::IntValue(1_200 + index as i64)),
            attribute("output_tokens", Value::IntValue(340)),
            attribute("cost_usd", Value::DoubleValue(0.012_34)),
            attribute("duration_ms", Value::IntValue(2_345)),
            text("terminal.type", "vscode"),
            text("user.email", "a.lovelace@example.org"),
        ],
        ..LogRecord::default()
    }
}

fn request() -> Bytes {
    let resource = Resource {
        attributes: vec![text("service.name", "claude-code"), text("service.version", "2.1.40")],
        ..Resource::default()
    };
    let scope =
        InstrumentationScope { name: "com.anthropic.claude_code.events".to_owned(), ..Default::default() };
    let scope_logs = ScopeLogs {
        scope: Some(scope),
        log_records: (0..RECORDS).map(record).collect(),
        ..ScopeLogs::default()
    };
    let entry =
        ResourceLogs { resource: Some(resource), scope_logs: vec![scope_logs], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![entry] }.encode_to_vec().into()
}

fn wire(criterion: &mut Criterion) {
    let request = request();
    let per_record = request.len() as u64 / RECORDS;
    assert!((370..=410).contains(&per_record), "{per_record} bytes a record");
    let mut full = Stamp::new();
    full.set("user.name", "ada")
        .set("host.name", "forge")
        .set("muster.team", "kern")
        .set("muster.project", "shop");
    let mut with_ids = full.clone();
    with_ids.record_ids("0123abcd-7-4242");
    let decoded = ExportLogsServiceRequest::decode(&request[..]).expect("encoded above");
    let mut out = BytesMut::new();

    let mut group = criterion.benchmark_group("wire/1000-logs");
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("prost-decode", |bencher| {
        bencher.iter(|| ExportLogsServiceRequest::decode(black_box(&request[..])));
    });
    group.bench_function("prost-encode", |bencher| bencher.iter(|| black_box(&decoded).encode_to_vec()));
    group.bench_function("check", |bencher| bencher.iter(|| check(Signal::Logs, black_box(&request))));
    group.bench_function("resources", |bencher| {
        bencher.iter(|| resources(Signal::Logs, black_box(&request)).map_while(Result::ok).count());
    });
    for (name, stamp_of) in [("stamp", &full), ("stamp-with-ids", &with_ids)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                stamp(Signal::Logs, black_box(&request), stamp_of, &mut out)
            });
        });
    }
    // As when a payload that was stamped before comes by once more.
    let mut stamped = BytesMut::new();
    stamp(Signal::Logs, &request, &with_ids, &mut stamped).expect("encoded above");
    group.bench_function("stamp-with-ids-again", |bencher| {
        bencher.iter(|| {
            out.clear();
            stamp(Signal::Logs, black_box(&stamped), &with_ids, &mut out)
        });
    });
    group.bench_function("split-64KiB", |bencher| {
        bencher.iter(|| split(Signal::Logs, black_box(&request), 64 << 10));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = wire
}
criterion_main!(benches);
