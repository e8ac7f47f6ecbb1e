//! Payloads in few words.

use prost::Message;

use crate::proto::collector_metrics::ExportMetricsServiceRequest;
use crate::proto::common::any_value::Value as AnyKind;
use crate::proto::common::{AnyValue, InstrumentationScope, KeyValue};
use crate::proto::metrics::metric::Data;
use crate::proto::metrics::number_data_point::Value;
use crate::proto::metrics::{
    AggregationTemporality as Temporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use crate::proto::resource;

/// One resource's payload.
#[derive(Clone)]
pub(in crate::series) struct Resource(pub(in crate::series) ResourceMetrics);

/// A point of a sum or gauge and whether it is cumulative.
#[derive(Clone)]
pub(in crate::series) struct Point(pub(in crate::series) NumberDataPoint);

pub(in crate::series) const SECOND: u64 = 1_000_000_000;
/// Nanoseconds at noon.
pub(in crate::series) const NOON: u64 = super::NOON_US * 1_000;

pub(in crate::series) fn resource(attributes: &[(&str, &str)]) -> Resource {
    Resource(ResourceMetrics {
        resource: Some(resource::Resource { attributes: key_values(attributes), ..Default::default() }),
        ..Default::default()
    })
}

pub(in crate::series) fn key_values(attributes: &[(&str, &str)]) -> Vec<KeyValue> {
    let value = |text: &str| Some(AnyValue { value: Some(AnyKind::StringValue(text.to_owned())) });
    let attribute = |(key, text): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: value(text),
        ..Default::default()
    };
    attributes.iter().map(attribute).collect()
}

/// A point of the minute before noon.
pub(in crate::series) fn delta(value: f64) -> Point {
    at(NOON - 60 * SECOND, NOON, value)
}

pub(in crate::series) fn gauge(value: f64) -> Point {
    at(0, NOON, value)
}

pub(in crate::series) fn at(start: u64, time: u64, value: f64) -> Point {
    Point(NumberDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: time,
        value: Some(Value::AsDouble(value)),
        ..Default::default()
    })
}

impl Point {
    pub(in crate::series) fn attributes(mut self, attributes: &[(&str, &str)]) -> Self {
        self.0.attributes = key_values(attributes);
        self
    }

    /// With one attribute replaced or added.
    pub(in crate::series) fn attribute(mut self, key: &str, value: &str) -> Self {
        self.0.attributes.retain(|attribute| attribute.key != key);
        self.0.attributes.extend(key_values(&[(key, value)]));
        self
    }

    /// As an SDK says that a stream has ended.
    pub(in crate::series) fn without_value(mut self) -> Self {
        self.0.value = None;
        self.0.flags = 1;
        self
    }
}

impl Resource {
    pub(in crate::series) fn scope(mut self, name: &str, version: &str) -> Self {
        let (name, version) = (name.to_owned(), version.to_owned());
        let scope = InstrumentationScope { name, version, ..Default::default() };
        self.0.scope_metrics.push(ScopeMetrics { scope: Some(scope), ..Default::default() });
        self
    }

    pub(in crate::series) fn metric(mut self, metric: Metric) -> Self {
        if self.0.scope_metrics.is_empty() {
            self.0.scope_metrics.push(ScopeMetrics::default());
        }
        if let Some(scope) = self.0.scope_metrics.last_mut() {
            scope.metrics.push(metric);
        }
        self
    }

    fn data(self, name: &str, unit: &str, data: Data) -> Self {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        self.metric(Metric { name, unit, data: Some(data), ..Default::default() })
    }

    /// Delta, only growing.
    pub(in crate::series) fn sum(self, name: &str, unit: &str, points: Vec<Point>) -> Self {
        self.sum_of(name, unit, Temporality::Delta, true, points)
    }

    pub(in crate::series) fn sum_of(
        self,
        name: &str,
        unit: &str,
        temporality: Temporality,
        is_monotonic: bool,
        points: Vec<Point>,
    ) -> Self {
        let data_points = points.into_iter().map(|point| point.0).collect();
        let aggregation_temporality = temporality as i32;
        self.data(name, unit, Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic }))
    }

    pub(in crate::series) fn gauge(self, name: &str, unit: &str, points: Vec<Point>) -> Self {
        let data_points = points.into_iter().map(|point| point.0).collect();
        self.data(name, unit, Data::Gauge(Gauge { data_points }))
    }

    pub(in crate::series) fn histogram(
        self,
        name: &str,
        temporality: Temporality,
        data_points: Vec<HistogramDataPoint>,
    ) -> Self {
        let aggregation_temporality = temporality as i32;
        self.data(name, "s", Data::Histogram(Histogram { data_points, aggregation_temporality }))
    }

    pub(in crate::series) fn summary(self, name: &str, data_points: Vec<SummaryDataPoint>) -> Self {
        self.data(name, "", Data::Summary(Summary { data_points }))
    }

    pub(in crate::series) fn request(self) -> Vec<u8> {
        ExportMetricsServiceRequest { resource_metrics: vec![self.0] }.encode_to_vec()
    }
}

pub(in crate::series) fn histogram_at(
    start: u64,
    time: u64,
    counts: &[u64],
    bounds: &[f64],
    sum: f64,
) -> HistogramDataPoint {
    HistogramDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: time,
        count: counts.iter().sum(),
        sum: Some(sum),
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        ..Default::default()
    }
}
