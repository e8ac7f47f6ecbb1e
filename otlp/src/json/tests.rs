//! OTLP/JSON rule by rule, against real bodies, and against prost and serde_json with generated ones.

mod accepted;
mod fixtures;
mod fuzz;
mod generate;
mod refused;
mod responses;
mod round_trip;

/// A logs body around one record.
fn log_body(record: &str) -> String {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#)
}

/// A traces body around one span.
fn span_body(span: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#)
}

/// A metrics body around one metric.
fn metric_body(metric: &str) -> String {
    format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metric}]}}]}}]}}"#)
}
