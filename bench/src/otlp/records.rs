//! A request of log records as coding tools send them: 390 bytes each, ten attributes.

use bytes::Bytes;
use otlp::proto::collector_logs::ExportLogsServiceRequest;
use otlp::proto::common::any_value::Value;
use otlp::proto::common::{AnyValue, InstrumentationScope, KeyValue};
use otlp::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};
use otlp::proto::resource::Resource;
use prost::Message;

/// `records` log records of one resource; `number` makes requests differ.
pub fn request(number: usize, records: usize) -> Bytes {
    let log_records = (0..records).map(|index| record(number, index)).collect();
    let scope = InstrumentationScope { name: "com.example.events".into(), ..Default::default() };
    let resource = Resource {
        attributes: vec![text("service.name", "claude-code"), text("host.arch", "amd64")],
        ..Default::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![ScopeLogs { scope: Some(scope), log_records, ..Default::default() }],
            ..Default::default()
        }],
    };
    request.encode_to_vec().into()
}

fn record(number: usize, index: usize) -> LogRecord {
    let time = 1_771_588_800_000_000_000 + index as u64 * 1_000_000;
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: time,
        severity_number: 9,
        body: Some(AnyValue { value: Some(Value::StringValue(format!("{:064}", number * 1000 + index))) }),
        attributes: vec![
            text("event.name", "api_request"),
            text("session.id", "2b7c1f0e-8a55-4b3c-9d7e-000000000001"),
            text("model", "claude-opus-5"),
            text("tool_name", "Edit"),
            text("decision", "accept"),
            integer("event.sequence", index as i64),
            integer("duration_ms", 1234),
            integer("input_tokens", 8_192),
            integer("output_tokens", 512),
            KeyValue {
                key: "cost_usd".into(),
                value: Some(AnyValue { value: Some(Value::DoubleValue(0.0125)) }),
                ..Default::default()
            },
        ],
        trace_id: vec![7; 16],
        span_id: vec![9; 8],
        ..Default::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.into())) });
    KeyValue { key: key.into(), value, ..Default::default() }
}

fn integer(key: &str, value: i64) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::IntValue(value)) });
    KeyValue { key: key.into(), value, ..Default::default() }
}
