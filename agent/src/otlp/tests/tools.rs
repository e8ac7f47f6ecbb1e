//! Payloads shaped as tools send them (contracts/coding-agents.md section 1): what makes them worth having survives.

use otlp::Signal;
use otlp::proto::collector_logs::ExportLogsServiceRequest;
use otlp::proto::collector_metrics::ExportMetricsServiceRequest;
use otlp::proto::collector_trace::ExportTraceServiceRequest;
use otlp::proto::common::any_value::Value;
use otlp::proto::common::{AnyValue, InstrumentationScope, KeyValue};
use otlp::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};
use otlp::proto::metrics::metric::Data;
use otlp::proto::metrics::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, number_data_point};
use otlp::proto::resource::Resource;
use prost::Message;

use super::rig::{Rig, attribute, text, value_of};
use crate::facts::ContentField;
use crate::spool::SpoolConfig;

const SESSION: &str = "3f2b8c1e-7d7a-4b0e-9c55-0d2f5a6b7c8d";
const INSTALL: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn claude_code() -> Option<Resource> {
    let attributes = vec![
        text("service.name", "claude-code"),
        text("service.version", "2.1.248"),
        text("os.type", "linux"),
        text("host.arch", "amd64"),
        text("user.name", "somebody"),
    ];
    Some(Resource { attributes, ..Default::default() })
}

/// What stands on every point and event.
fn standard() -> Vec<KeyValue> {
    vec![
        text("session.id", SESSION),
        text("app.version", "2.1.248"),
        text("app.entrypoint", "cli"),
        text("organization.id", "0d2f5a6b-7d7a-4b0e-9c55-3f2b8c1e7c8d"),
        text("user.id", INSTALL),
        text("user.email", "dana@example.com"),
        text("terminal.type", "vscode"),
    ]
}

fn event(name: &str, attributes: Vec<KeyValue>) -> LogRecord {
    let mut all = standard();
    all.extend([
        text("event.name", name),
        text("event.timestamp", "2026-09-01T12:00:00.000Z"),
        attribute("event.sequence", Value::IntValue(7)),
        text("prompt.id", "7d7a3f2b-4b0e-9c55-8c1e-0d2f5a6b7c8d"),
    ]);
    all.extend(attributes);
    let body = Some(AnyValue { value: Some(Value::StringValue(format!("claude_code.{name}"))) });
    LogRecord { time_unix_nano: 1, body, attributes: all, ..Default::default() }
}

fn logs(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope = InstrumentationScope {
        name: "com.anthropic.claude_code.events".to_owned(),
        version: "2.1.248".to_owned(),
        ..Default::default()
    };
    let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records, ..Default::default() }];
    let entry = ResourceLogs { resource: claude_code(), scope_logs, ..Default::default() };
    ExportLogsServiceRequest { resource_logs: vec![entry] }
}

async fn taken(fields: &[ContentField], request: ExportLogsServiceRequest) -> ResourceLogs {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::with(SpoolConfig::new(folder.path()), fields);
    rig.take(Signal::Logs, request).await.expect("taken");
    let spooled = rig.spooled().await;
    assert_eq!((spooled[0].tool.as_str(), spooled[0].project.as_str()), ("claude", "shop"));
    let decoded = ExportLogsServiceRequest::decode(spooled[0].request.clone()).expect("logs");
    decoded.resource_logs.into_iter().next().expect("a resource")
}

#[tokio::test]
async fn an_api_request_of_claude_code_keeps_model_tokens_cost_and_ids() {
    let attributes = vec![
        text("model", "claude-opus-5[1m]"),
        text("cost_usd", "0.0421"),
        attribute("cost_usd_micros", Value::IntValue(42_100)),
        attribute("duration_ms", Value::IntValue(2_310)),
        attribute("input_tokens", Value::IntValue(12)),
        text("output_tokens", "345"),
        attribute("cache_read_tokens", Value::DoubleValue(67_890.0)),
        text("request_id", "req_011CSHoEeqs5C35K2UUqR7Fy"),
        text("query_source", "agent:builtin:explore"),
        text("speed", "fast"),
    ];
    let entry = taken(&[], logs(vec![event("api_request", attributes)])).await;
    let resource = entry.resource.expect("stamped").attributes;
    assert_eq!(value_of(&resource, "service.name").as_deref(), Some("claude-code"));
    for (key, value) in [
        ("user.name", "dana"),
        ("host.name", "laptop"),
        ("muster.project", "shop"),
        ("muster.tool", "claude"),
    ] {
        assert_eq!(value_of(&resource, key).as_deref(), Some(value), "{key}");
    }
    let scope = entry.scope_logs[0].scope.as_ref().expect("scope");
    assert_eq!(scope.name, "com.anthropic.claude_code.events");
    let record = &entry.scope_logs[0].log_records[0];
    assert_eq!(
        record.body,
        Some(AnyValue { value: Some(Value::StringValue("claude_code.api_request".into())) })
    );
    for (key, value) in [
        ("model", "claude-opus-5[1m]"),
        ("cost_usd", "0.0421"),
        ("cost_usd_micros", "42100"),
        ("duration_ms", "2310"),
        ("input_tokens", "12"),
        ("output_tokens", "345"),
        ("cache_read_tokens", "67890"),
        ("request_id", "req_011CSHoEeqs5C35K2UUqR7Fy"),
        ("query_source", "agent:builtin:explore"),
        ("speed", "fast"),
        ("session.id", SESSION),
        ("user.id", INSTALL),
        ("prompt.id", "7d7a3f2b-4b0e-9c55-8c1e-0d2f5a6b7c8d"),
        ("event.name", "api_request"),
        ("event.timestamp", "2026-09-01T12:00:00.000Z"),
        ("event.sequence", "7"),
        ("terminal.type", "vscode"),
        ("user.email", "redacted"),
    ] {
        assert_eq!(value_of(&record.attributes, key).as_deref(), Some(value), "{key}");
    }
}

#[tokio::test]
async fn a_tool_result_keeps_its_shape_and_not_what_the_tool_did() {
    let attributes = vec![
        text("tool_name", "Bash"),
        text("tool_use_id", "toolu_01A09q90qw90lq917835lq9"),
        text("success", "false"),
        text("decision_type", "accept"),
        text("decision_source", "user_temporary"),
        text("error_type", "ShellError"),
        text("error", "command failed: cat notes.txt"),
        attribute("tool_input_size_bytes", Value::IntValue(81)),
        text("tool_parameters", r#"{"bash_command":"cat","full_command":"cat notes.txt"}"#),
        text("tool_input", r#"{"file_path":"/home/dana/shop/notes.txt"}"#),
    ];
    let request = logs(vec![event("tool_result", attributes)]);
    let entry = taken(&[], request.clone()).await;
    let kept = &entry.scope_logs[0].log_records[0].attributes;
    for (key, value) in [
        ("tool_name", "Bash"),
        ("tool_use_id", "toolu_01A09q90qw90lq917835lq9"),
        ("success", "false"),
        ("decision_type", "accept"),
        ("decision_source", "user_temporary"),
        ("error_type", "ShellError"),
        ("tool_input_size_bytes", "81"),
        ("error", "redacted"),
        ("tool_parameters", "redacted"),
        ("tool_input", "redacted"),
    ] {
        assert_eq!(value_of(kept, key).as_deref(), Some(value), "{key}");
    }
    let all = [ContentField::Files, ContentField::Messages, ContentField::Prompts, ContentField::Tasks];
    let entry = taken(&all, request).await;
    let kept = &entry.scope_logs[0].log_records[0].attributes;
    assert_eq!(value_of(kept, "error").as_deref(), Some("command failed: cat notes.txt"));
    assert_eq!(value_of(kept, "tool_parameters").as_deref(), Some("redacted"));
}

fn cost_point(file: &str) -> NumberDataPoint {
    let mut attributes = standard();
    attributes.extend([
        text("model", "claude-opus-5"),
        text("type", "cacheRead"),
        text("decision", "accept"),
        text("file_path", file),
    ]);
    let value = Some(number_data_point::Value::AsDouble(0.25));
    NumberDataPoint { attributes, start_time_unix_nano: 1, time_unix_nano: 2, value, ..Default::default() }
}

#[tokio::test]
async fn series_stay_apart_where_what_told_them_apart_may_not_leave() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    let data_points = ["/home/dana/a.rs", "/home/dana/b.rs", "/home/dana/a.rs"].map(cost_point).to_vec();
    let sum = Sum { data_points, aggregation_temporality: 1, is_monotonic: true };
    let metric = Metric {
        name: "claude_code.cost.usage".to_owned(),
        description: "Cost of the Claude Code session".to_owned(),
        unit: "USD".to_owned(),
        metadata: Vec::new(),
        data: Some(Data::Sum(sum)),
    };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric.clone()], ..Default::default() }];
    let entry = ResourceMetrics { resource: claude_code(), scope_metrics, ..Default::default() };
    rig.take(Signal::Metrics, ExportMetricsServiceRequest { resource_metrics: vec![entry] })
        .await
        .expect("taken");
    let spooled = rig.spooled().await;
    assert_eq!((spooled[0].items, spooled[0].tool.as_str()), (3, "claude"));
    let decoded = ExportMetricsServiceRequest::decode(spooled[0].request.clone()).expect("metrics");
    let kept = &decoded.resource_metrics[0].scope_metrics[0].metrics[0];
    assert_eq!(
        (&kept.name, &kept.description, &kept.unit),
        (&metric.name, &metric.description, &metric.unit)
    );
    let Some(Data::Sum(sum)) = &kept.data else { panic!("a sum") };
    let point = |n: usize| &sum.data_points[n].attributes;
    for (key, value) in
        [("model", "claude-opus-5"), ("type", "cacheRead"), ("decision", "accept"), ("session.id", SESSION)]
    {
        assert_eq!(value_of(point(0), key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsDouble(0.25)));
    let file = |n: usize| value_of(point(n), "file_path").expect("there");
    assert!(file(0).starts_with("redacted-"), "{}", file(0));
    assert_ne!(file(0), file(1));
    assert_eq!(file(0), file(2));
}

#[tokio::test]
async fn loki_modes_own_spans_pass_as_they_are() {
    let fixture =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/loki/otlp/v1-traces-bridge-captured.json");
    let captured: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture).expect("fixture")).expect("JSON");
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    for request in captured["requests"].as_array().expect("requests") {
        let body = request["body"].to_string();
        let bytes = otlp::json::decode(Signal::Traces, body.as_bytes()).expect("OTLP/JSON");
        rig.take(Signal::Traces, ExportTraceServiceRequest::decode(bytes.clone()).expect("spans"))
            .await
            .expect("taken");
        let sent = ExportTraceServiceRequest::decode(bytes).expect("spans");
        let spooled = rig.spooled().await;
        let last = spooled.last().expect("spooled");
        assert_eq!(last.tool, "loki");
        let kept = ExportTraceServiceRequest::decode(last.request.clone()).expect("spans");
        assert_eq!(kept.resource_spans[0].scope_spans, sent.resource_spans[0].scope_spans);
    }
    assert_eq!(rig.counters.redacted(), 0);
}
