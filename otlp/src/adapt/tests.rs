//! Requests in, requests out: each vendor's rules by tables, and what holds for all of them by random requests.

mod attributes;
mod exponential;
mod properties;
mod state;
mod temporality;
mod vendors;

use bytes::Bytes;
use muster::clock::WallTime;
use prost::Message;

use super::{Adapted, Adapter, DropReason, Rules};
use crate::Signal;
use crate::profile::{AttributeLimits, MetricRules, PerSignal, Temporality, find};
use crate::proto::collector_metrics::ExportMetricsServiceRequest;
use crate::proto::common::{AnyValue, KeyValue, any_value};
use crate::proto::metrics::metric::Data;
use crate::proto::metrics::number_data_point::Value as Number;
use crate::proto::metrics::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};

const SECOND: u64 = 1_000_000_000;
/// When these tests play, in seconds.
const NOW: u64 = 1_780_000_000;
const DELTA: i32 = AggregationTemporality::Delta as i32;
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// `seconds` after [`NOW`], as OTLP writes time.
fn at(seconds: i64) -> u64 {
    NOW.strict_add_signed(seconds) * SECOND
}

fn wall(seconds: i64) -> WallTime {
    WallTime(at(seconds) / 1000)
}

fn adapter(profile: &str) -> Adapter {
    Adapter::new(Rules::from(find(profile).expect("a profile")))
}

/// All to one temporality, and nothing else.
fn toward(temporality: Temporality) -> Adapter {
    let mut rules = Rules::from(find("otlp").expect("a profile"));
    rules.metrics = MetricRules {
        monotonic: temporality,
        non_monotonic: temporality,
        histograms: temporality,
        ..MetricRules::AS_IS
    };
    Adapter::new(rules)
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(any_value::Value::StringValue(value.to_owned()));
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

fn int(start: u64, time: u64, value: i64) -> NumberDataPoint {
    let value = Some(Number::AsInt(value));
    NumberDataPoint { start_time_unix_nano: start, time_unix_nano: time, value, ..NumberDataPoint::default() }
}

fn double(start: u64, time: u64, value: f64) -> NumberDataPoint {
    NumberDataPoint { value: Some(Number::AsDouble(value)), ..int(start, time, 0) }
}

fn histogram(start: u64, time: u64, sum: f64, counts: &[u64]) -> HistogramDataPoint {
    HistogramDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: time,
        count: counts.iter().sum(),
        sum: Some(sum),
        bucket_counts: counts.to_vec(),
        explicit_bounds: (1..counts.len()).map(|bound| bound as f64).collect(),
        ..HistogramDataPoint::default()
    }
}

fn sum(temporality: i32, is_monotonic: bool, data_points: Vec<NumberDataPoint>) -> Data {
    Data::Sum(Sum { data_points, aggregation_temporality: temporality, is_monotonic })
}

fn explicit(temporality: i32, data_points: Vec<HistogramDataPoint>) -> Data {
    Data::Histogram(Histogram { data_points, aggregation_temporality: temporality })
}

fn exponential(temporality: i32, data_points: Vec<ExponentialHistogramDataPoint>) -> Data {
    Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality: temporality })
}

fn gauge(data_points: Vec<NumberDataPoint>) -> Data {
    Data::Gauge(Gauge { data_points })
}

/// One resource, one scope, metrics named `m0`, `m1` and so on.
fn request(data: Vec<Data>) -> Bytes {
    let metrics = data.into_iter().enumerate().map(|(index, data)| Metric {
        name: format!("m{index}"),
        data: Some(data),
        ..Metric::default()
    });
    let scope = ScopeMetrics { metrics: metrics.collect(), ..ScopeMetrics::default() };
    let entry = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![entry] }.encode_to_vec().into()
}

/// All metrics of a request.
fn metrics(bytes: &Bytes) -> Vec<Metric> {
    let request = ExportMetricsServiceRequest::decode(&bytes[..]).expect("a request");
    let scopes = request.resource_metrics.into_iter().flat_map(|entry| entry.scope_metrics);
    scopes.flat_map(|scope| scope.metrics).collect()
}

/// Points of the only metric, a sum.
fn numbers(adapted: &Adapted) -> Vec<NumberDataPoint> {
    match metrics(&adapted.bytes).pop().and_then(|metric| metric.data) {
        Some(Data::Sum(sum)) => sum.data_points,
        Some(Data::Gauge(gauge)) => gauge.data_points,
        None => Vec::new(),
        other => panic!("not numbers: {other:?}"),
    }
}

/// Points of the only metric, an explicit histogram.
fn histograms(adapted: &Adapted) -> Vec<HistogramDataPoint> {
    match metrics(&adapted.bytes).pop().and_then(|metric| metric.data) {
        Some(Data::Histogram(histogram)) => histogram.data_points,
        None => Vec::new(),
        other => panic!("not histograms: {other:?}"),
    }
}

/// Adapts one metric of the adapter's signal at [`NOW`].
fn one(adapter: &mut Adapter, data: Data) -> Adapted {
    adapter.adapt(Signal::Metrics, &request(vec![data]), wall(0))
}
