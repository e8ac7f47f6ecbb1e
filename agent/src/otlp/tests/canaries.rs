//! Secrets, prompts, paths and addresses in every place where OTLP has room for a text, and none of them in the spool.
//!
//! Messages are built without `..Default::default()`, so that a field of a newer OTLP does not go unplanted.

use otlp::Signal;
use otlp::proto::collector_logs::ExportLogsServiceRequest;
use otlp::proto::collector_metrics::ExportMetricsServiceRequest;
use otlp::proto::collector_trace::ExportTraceServiceRequest;
use otlp::proto::common::any_value::Value;
use otlp::proto::common::{AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList};
use otlp::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};
use otlp::proto::metrics::exponential_histogram_data_point::Buckets;
use otlp::proto::metrics::metric::Data;
use otlp::proto::metrics::*;
use otlp::proto::resource::Resource;
use otlp::proto::trace::{ResourceSpans, ScopeSpans, Span, Status, span};

use super::rig::{Rig, attribute, bytes_below, contains, text};

/// What all canaries have in common.
const MARK: &str = "CANARY";
const CANARIES: [&str; 7] = [
    "sk-ant-api03-CANARYcanary0123",
    "/home/dana/CANARY/plan.md",
    "src/CANARY/plan.md",
    "please write the CANARY story of the bear",
    "CANARY@example.com",
    "https://dana:CANARY@example.com/x?y=CANARY",
    "password=CANARY",
];
/// Too long for an id of OTLP.
const LONG_ID: &[u8] = b"CANARY-CANARY-CANARY-CANARY";

fn any(value: Value) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

/// The canary as a value of each kind, under keys of each class, and as a key.
fn attributes(canary: &str) -> Vec<KeyValue> {
    let string = || Value::StringValue(canary.to_owned());
    let list = KeyValueList {
        values: vec![
            text("inner", canary),
            text(canary, "value"),
            attribute(
                "deep",
                Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(string()) }] }),
            ),
        ],
    };
    let nested = || Value::KvlistValue(list.clone());
    let array = || {
        Value::ArrayValue(ArrayValue {
            values: vec![AnyValue { value: Some(string()) }, AnyValue { value: Some(nested()) }],
        })
    };
    let bytes = || Value::BytesValue(canary.as_bytes().to_vec());
    let mut all = vec![text(canary, "value"), attribute(canary, nested())];
    for key in [
        "anything",
        "tool_name",
        "model",
        "session.id",
        "prompt",
        "file_path",
        "error",
        "tool_input",
        "user.name",
        "muster.project",
        "service.name",
    ] {
        all.extend([string(), nested(), array(), bytes()].map(|value| attribute(key, value)));
    }
    all
}

fn resource(canary: &str) -> Option<Resource> {
    Some(Resource {
        attributes: attributes(canary),
        dropped_attributes_count: 0,
        entity_refs: vec![EntityRef {
            schema_url: canary.to_owned(),
            r#type: canary.to_owned(),
            id_keys: vec![canary.to_owned()],
            description_keys: vec![canary.to_owned()],
        }],
    })
}

fn scope(canary: &str) -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: canary.to_owned(),
        version: canary.to_owned(),
        attributes: attributes(canary),
        dropped_attributes_count: 0,
    })
}

fn logs(canary: &str) -> ExportLogsServiceRequest {
    let bodies = [
        Value::StringValue(canary.to_owned()),
        Value::BytesValue(canary.as_bytes().to_vec()),
        Value::KvlistValue(KeyValueList { values: attributes(canary) }),
        Value::ArrayValue(ArrayValue {
            values: vec![AnyValue { value: Some(Value::StringValue(canary.to_owned())) }],
        }),
    ];
    let record = |body| LogRecord {
        time_unix_nano: 1,
        observed_time_unix_nano: 2,
        severity_number: 9,
        severity_text: canary.to_owned(),
        body: any(body),
        attributes: attributes(canary),
        dropped_attributes_count: 0,
        flags: 1,
        trace_id: LONG_ID.to_vec(),
        span_id: LONG_ID.to_vec(),
        event_name: canary.to_owned(),
    };
    let log_records = bodies.map(record).to_vec();
    let scope_logs = vec![ScopeLogs { scope: scope(canary), log_records, schema_url: canary.to_owned() }];
    let entry = ResourceLogs { resource: resource(canary), scope_logs, schema_url: canary.to_owned() };
    ExportLogsServiceRequest { resource_logs: vec![entry] }
}

fn spans(canary: &str) -> ExportTraceServiceRequest {
    let span = Span {
        trace_id: LONG_ID.to_vec(),
        span_id: LONG_ID.to_vec(),
        trace_state: format!("vendor={canary}"),
        parent_span_id: LONG_ID.to_vec(),
        flags: 1,
        name: canary.to_owned(),
        kind: 1,
        start_time_unix_nano: 1,
        end_time_unix_nano: 2,
        attributes: attributes(canary),
        dropped_attributes_count: 0,
        events: vec![span::Event {
            time_unix_nano: 1,
            name: canary.to_owned(),
            attributes: attributes(canary),
            dropped_attributes_count: 0,
        }],
        dropped_events_count: 0,
        links: vec![span::Link {
            trace_id: LONG_ID.to_vec(),
            span_id: LONG_ID.to_vec(),
            trace_state: format!("vendor={canary}"),
            attributes: attributes(canary),
            dropped_attributes_count: 0,
            flags: 1,
        }],
        dropped_links_count: 0,
        status: Some(Status { message: canary.to_owned(), code: 2 }),
    };
    let scope_spans =
        vec![ScopeSpans { scope: scope(canary), spans: vec![span], schema_url: canary.to_owned() }];
    let entry = ResourceSpans { resource: resource(canary), scope_spans, schema_url: canary.to_owned() };
    ExportTraceServiceRequest { resource_spans: vec![entry] }
}

fn exemplars(canary: &str) -> Vec<Exemplar> {
    vec![Exemplar {
        filtered_attributes: attributes(canary),
        time_unix_nano: 1,
        span_id: LONG_ID.to_vec(),
        trace_id: LONG_ID.to_vec(),
        value: Some(exemplar::Value::AsInt(1)),
    }]
}

fn number_points(canary: &str) -> Vec<NumberDataPoint> {
    vec![NumberDataPoint {
        attributes: attributes(canary),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        exemplars: exemplars(canary),
        flags: 0,
        value: Some(number_data_point::Value::AsInt(1)),
    }]
}

/// One metric of each kind.
fn data(canary: &str) -> [Data; 5] {
    let histogram = HistogramDataPoint {
        attributes: attributes(canary),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count: 1,
        sum: Some(1.0),
        bucket_counts: vec![1, 0],
        explicit_bounds: vec![1.0],
        exemplars: exemplars(canary),
        flags: 0,
        min: None,
        max: None,
    };
    let exponential = ExponentialHistogramDataPoint {
        attributes: attributes(canary),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count: 1,
        sum: None,
        scale: 0,
        zero_count: 1,
        positive: Some(Buckets { offset: 0, bucket_counts: vec![1] }),
        negative: None,
        flags: 0,
        exemplars: exemplars(canary),
        min: None,
        max: None,
        zero_threshold: 0.0,
    };
    let summary = SummaryDataPoint {
        attributes: attributes(canary),
        start_time_unix_nano: 1,
        time_unix_nano: 2,
        count: 1,
        sum: 1.0,
        quantile_values: Vec::new(),
        flags: 0,
    };
    [
        Data::Gauge(Gauge { data_points: number_points(canary) }),
        Data::Sum(Sum { data_points: number_points(canary), aggregation_temporality: 1, is_monotonic: true }),
        Data::Histogram(Histogram { data_points: vec![histogram], aggregation_temporality: 1 }),
        Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![exponential],
            aggregation_temporality: 1,
        }),
        Data::Summary(Summary { data_points: vec![summary] }),
    ]
}

fn metrics(canary: &str) -> ExportMetricsServiceRequest {
    // A description is a tool's own program text, and keeps its prose.
    let description = if canary.starts_with("please") || canary.starts_with("src/") { "" } else { canary };
    let metric = |name: &str, data| Metric {
        name: name.to_owned(),
        description: description.to_owned(),
        unit: canary.to_owned(),
        metadata: attributes(canary),
        data: Some(data),
    };
    let mut metrics: Vec<Metric> = data(canary).map(|data| metric("good.name", data)).to_vec();
    metrics.extend(data(canary).map(|data| metric(canary, data)));
    let scope_metrics = vec![ScopeMetrics { scope: scope(canary), metrics, schema_url: canary.to_owned() }];
    let entry = ResourceMetrics { resource: resource(canary), scope_metrics, schema_url: canary.to_owned() };
    ExportMetricsServiceRequest { resource_metrics: vec![entry] }
}

#[tokio::test]
async fn no_secret_prompt_path_or_address_gets_from_any_place_of_any_signal_into_the_spool() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    for canary in CANARIES {
        let accepted = rig.take(Signal::Logs, logs(canary)).await.expect("taken");
        assert_eq!(accepted.rejected, 0);
        assert_eq!(rig.take(Signal::Traces, spans(canary)).await.expect("taken").rejected, 0);
        // The five metrics that are named by the canary.
        assert_eq!(rig.take(Signal::Metrics, metrics(canary)).await.expect("taken").rejected, 5);
    }
    let spooled = rig.spooled().await;
    assert_eq!(spooled.len(), 3 * CANARIES.len());
    assert_eq!(spooled.iter().map(|payload| payload.items).sum::<u32>(), (4 + 1 + 5) * CANARIES.len() as u32);
    for payload in &spooled {
        let decoded = decode(payload.signal, &payload.request);
        let at = decoded
            .find(MARK)
            .map(|at| decoded[at.saturating_sub(200)..].chars().take(300).collect::<String>());
        assert_eq!(at, None, "{:?}", payload.signal);
        assert!(!contains(&payload.request, MARK), "as bytes");
        assert!(!payload.tool.contains(MARK) && !payload.project.contains(MARK));
    }
    assert!(!contains(&bytes_below(folder.path()), MARK));
    assert!(rig.counters.redacted() > 1000, "{}", rig.counters.redacted());
}

#[tokio::test]
async fn one_word_of_content_is_content_under_the_keys_that_hold_it() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    let keys = [
        "prompt",
        "response",
        "body",
        "body_ref",
        "tool_input",
        "tool_parameters",
        "arguments",
        "output",
        "error",
        "error.message",
        "exception.message",
        "exception.stacktrace",
        "full_command",
        "bash_command",
        "file_path",
        "db.statement",
        "db.query.text",
        "url.full",
        "url.path",
        "request_text",
        "response_text",
        "function_args",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "ai.prompt",
        "ai.prompt.messages",
        "ai.response.text",
        "ai.toolCall.args",
        "ai.toolCall.result",
        "gen_ai.prompt.0.content",
        "input.value",
        "output.value",
        "process.command_line",
        "process.executable.path",
        "workspace.host_paths",
        "user.full_name",
        "session.prd",
        "someTool.lastPrompt",
        "http.request.header.x-thing",
        "editor.open_files.0",
        "plan.title",
        "task.description",
    ];
    let attributes = keys.map(|key| text(key, MARK)).to_vec();
    let record = LogRecord { attributes, ..Default::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..Default::default() }];
    let entry = ResourceLogs { scope_logs, ..Default::default() };
    rig.take(Signal::Logs, ExportLogsServiceRequest { resource_logs: vec![entry] }).await.expect("taken");
    let spooled = rig.spooled().await;
    let decoded = decode(Signal::Logs, &spooled[0].request);
    assert!(!decoded.contains(MARK), "{decoded}");
    assert!(!contains(&bytes_below(folder.path()), MARK));
    assert_eq!(rig.counters.redacted(), keys.len() as u64);
}

fn decode(signal: Signal, request: &[u8]) -> String {
    use prost::Message;
    match signal {
        Signal::Logs => format!("{:#?}", ExportLogsServiceRequest::decode(request).expect("logs")),
        Signal::Metrics => format!("{:#?}", ExportMetricsServiceRequest::decode(request).expect("metrics")),
        Signal::Traces => format!("{:#?}", ExportTraceServiceRequest::decode(request).expect("spans")),
    }
}
