//! Bodies as Loki Mode's bridge sends them (contracts/loki-mode.md section 4).

use prost::Message as _;
use serde_json::Value;

use crate::Signal;
use crate::json::{decode, encode};
use crate::proto::collector_metrics::ExportMetricsServiceRequest;
use crate::proto::collector_trace::ExportTraceServiceRequest;
use crate::proto::metrics::{metric, number_data_point};
use crate::proto::trace::Span;

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../tests/fixtures/loki/otlp/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

fn spans(request: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(request).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

#[test]
fn the_spans_of_lokis_library_are_read() {
    let request = decode(Signal::Traces, &fixture("v1-traces-library-spans.json")).unwrap();
    let spans = spans(&request);
    assert_eq!(spans.len(), 6);
    assert_eq!(spans[0].name, "quality_gate.tests");
    assert_eq!(spans[0].parent_span_id, [0x9e, 0x5d, 0xc6, 0xdb, 0x24, 0xc7, 0xec, 0xd9]);
    assert_eq!(spans[0].start_time_unix_nano, 1795280419455375417);
    assert_eq!(spans[0].status.as_ref().unwrap().code, 2);
}

#[test]
fn every_request_that_lokis_bridge_sent_is_read() {
    let capture: Value = serde_json::from_slice(&fixture("v1-traces-bridge-captured.json")).unwrap();
    let requests = capture["requests"].as_array().unwrap();
    let mut names = Vec::new();
    for sent in requests {
        let request = decode(Signal::Traces, sent["body"].to_string().as_bytes()).unwrap();
        names.extend(spans(&request).into_iter().map(|span| span.name));
    }
    assert_eq!(requests.len(), 6);
    let phase = |name| ["rarv.iteration".to_owned(), format!("rarv.phase.{name}")];
    assert_eq!(names, [phase("ACT"), phase("REFLECT"), phase("VERIFY")].concat());
}

#[test]
fn the_metrics_of_lokis_library_are_read() {
    let request = decode(Signal::Metrics, &fixture("v1-metrics.json")).unwrap();
    let metrics = ExportMetricsServiceRequest::decode(&request[..]).unwrap();
    let metrics = &metrics.resource_metrics[0].scope_metrics[0].metrics;
    let points = |metric: &metric::Data| match metric {
        metric::Data::Gauge(gauge) => gauge.data_points.len(),
        metric::Data::Sum(sum) => sum.data_points.len(),
        metric::Data::Histogram(histogram) => histogram.data_points.len(),
        metric::Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
        metric::Data::Summary(summary) => summary.data_points.len(),
    };
    assert_eq!(metrics.iter().map(|metric| points(metric.data.as_ref().unwrap())).sum::<usize>(), 6);
    let Some(metric::Data::Histogram(histogram)) = &metrics[0].data else { panic!("no histogram") };
    assert_eq!(histogram.aggregation_temporality, 2);
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum, point.bucket_counts.len()), (1, Some(12.5), 12));
    assert_eq!(point.explicit_bounds, [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0]);
    let Some(metric::Data::Sum(sum)) = &metrics[1].data else { panic!("no sum") };
    assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsInt(1)));
    assert!(sum.is_monotonic);
}

#[test]
fn what_was_read_is_the_same_when_written_and_read_again() {
    for (signal, name) in
        [(Signal::Metrics, "v1-metrics.json"), (Signal::Traces, "v1-traces-library-spans.json")]
    {
        let request = decode(signal, &fixture(name)).unwrap();
        let again = decode(signal, &encode(signal, &request).unwrap()).unwrap();
        match signal {
            Signal::Metrics => assert_eq!(
                ExportMetricsServiceRequest::decode(&request[..]),
                ExportMetricsServiceRequest::decode(&again[..])
            ),
            _ => assert_eq!(spans(&request), spans(&again)),
        }
    }
}
