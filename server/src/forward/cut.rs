//! Cuts a request that a destination found too large in two of half the items.
//!
//! By items, not by bytes: what is around the items may weigh more than they do, and one item must remain when all others
//! were refused. It is decoded for that; this is the rare way, [`otlp::wire::split`] is the usual one.

use bytes::Bytes;
use otlp::Signal;
use otlp::proto::collector_logs::ExportLogsServiceRequest;
use otlp::proto::collector_metrics::ExportMetricsServiceRequest;
use otlp::proto::collector_trace::ExportTraceServiceRequest;
use otlp::proto::metrics::{Metric, metric::Data};
use prost::Message;

/// The halves with their items, in order. `None` if there are not two items.
pub(super) fn halves(signal: Signal, items: u64, request: &Bytes) -> Option<[(Bytes, u64); 2]> {
    if items <= 1 {
        return None;
    }
    let first = items / 2;
    let cut = match signal {
        Signal::Logs => cut_logs,
        Signal::Traces => cut_traces,
        Signal::Metrics => cut_metrics,
    };
    Some([(cut(request, 0..first)?, first), (cut(request, first..items)?, items - first)])
}

type Wanted = std::ops::Range<u64>;

fn cut_logs(request: &Bytes, wanted: Wanted) -> Option<Bytes> {
    let mut decoded = ExportLogsServiceRequest::decode(request.as_ref()).ok()?;
    let mut n = 0;
    for resource in &mut decoded.resource_logs {
        for scope in &mut resource.scope_logs {
            keep(&mut scope.log_records, &wanted, &mut n);
        }
        resource.scope_logs.retain(|scope| !scope.log_records.is_empty());
    }
    decoded.resource_logs.retain(|resource| !resource.scope_logs.is_empty());
    Some(decoded.encode_to_vec().into())
}

fn cut_traces(request: &Bytes, wanted: Wanted) -> Option<Bytes> {
    let mut decoded = ExportTraceServiceRequest::decode(request.as_ref()).ok()?;
    let mut n = 0;
    for resource in &mut decoded.resource_spans {
        for scope in &mut resource.scope_spans {
            keep(&mut scope.spans, &wanted, &mut n);
        }
        resource.scope_spans.retain(|scope| !scope.spans.is_empty());
    }
    decoded.resource_spans.retain(|resource| !resource.scope_spans.is_empty());
    Some(decoded.encode_to_vec().into())
}

fn cut_metrics(request: &Bytes, wanted: Wanted) -> Option<Bytes> {
    let mut decoded = ExportMetricsServiceRequest::decode(request.as_ref()).ok()?;
    let mut n = 0;
    for resource in &mut decoded.resource_metrics {
        for scope in &mut resource.scope_metrics {
            scope.metrics.retain_mut(|metric| keep_points(metric, &wanted, &mut n));
        }
        resource.scope_metrics.retain(|scope| !scope.metrics.is_empty());
    }
    decoded.resource_metrics.retain(|resource| !resource.scope_metrics.is_empty());
    Some(decoded.encode_to_vec().into())
}

fn keep_points(metric: &mut Metric, wanted: &Wanted, n: &mut u64) -> bool {
    match &mut metric.data {
        Some(Data::Gauge(data)) => keep(&mut data.data_points, wanted, n),
        Some(Data::Sum(data)) => keep(&mut data.data_points, wanted, n),
        Some(Data::Histogram(data)) => keep(&mut data.data_points, wanted, n),
        Some(Data::ExponentialHistogram(data)) => keep(&mut data.data_points, wanted, n),
        Some(Data::Summary(data)) => keep(&mut data.data_points, wanted, n),
        None => false,
    }
}

/// Keeps the items whose numbers are wanted; says whether any is left.
fn keep<T>(items: &mut Vec<T>, wanted: &Wanted, n: &mut u64) -> bool {
    items.retain(|_| {
        *n += 1;
        wanted.contains(&(*n - 1))
    });
    !items.is_empty()
}
