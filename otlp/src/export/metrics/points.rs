//! Series as data points, by resource and metric.
//!
//! Names are the catalogue's, which are also what Prometheus calls them. Units are UCUM's, but where Prometheus' OTLP
//! receiver would make a longer name of name and unit (`..._ms` with unit `ms` becomes `..._ms_milliseconds`): there
//! the name alone has the unit.

use std::collections::BTreeMap;

use bytes::Bytes;
use metrics::aggregate::unescaped;
use metrics::catalogue::{Bounds, Family, Scale};
use metrics::{SeriesValue, SeriesView};
use muster::clock::WallTime;
use prost::Message;

use super::Temporality;
use super::baseline::Change;
use crate::export::logs::nanoseconds;
use crate::export::resource;
use crate::proto::collector_metrics::ExportMetricsServiceRequest;
use crate::proto::common::{AnyValue, KeyValue, any_value};
use crate::proto::metrics::metric::Data;
use crate::proto::metrics::number_data_point::Value;
use crate::proto::metrics::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};

/// A request under construction.
pub(super) struct Request {
    temporality: Temporality,
    time: WallTime,
    /// Time of the cut before.
    before: Option<WallTime>,
    resources: Vec<Resource>,
    /// Place of a resource by its scope.
    places: BTreeMap<Scope, usize>,
    /// The resource of the series before: series come sorted.
    current: usize,
    items: u64,
}

/// Team, user, host and project, as pages show them.
type Scope = [String; 4];

struct Resource {
    scope: Scope,
    metrics: Vec<Metric>,
}

impl Request {
    pub(super) fn new(temporality: Temporality, time: WallTime, before: Option<WallTime>) -> Self {
        let (resources, places) = (Vec::new(), BTreeMap::new());
        Self { temporality, time, before, resources, places, current: 0, items: 0 }
    }

    /// Adds a series: what is new of it, or all of it. Series come family by family.
    pub(super) fn add(&mut self, series: &SeriesView<'_>, change: Option<Change>) {
        let (start, time) = (nanoseconds(self.start(series)), nanoseconds(self.time));
        let metric = self.metric(series);
        let number = |value, start| NumberDataPoint {
            attributes: attributes(series),
            start_time_unix_nano: start,
            time_unix_nano: time,
            value: Some(value),
            ..Default::default()
        };
        match (&mut metric.data, series.value) {
            (Some(Data::Gauge(gauge)), SeriesValue::Gauge(reading)) => {
                gauge.data_points.push(number(Value::AsDouble(reading), 0));
            }
            (Some(Data::Sum(sum)), SeriesValue::Counter { units, scale }) => {
                let units = if let Some(Change::Units(new)) = change { new } else { units };
                sum.data_points.push(number(counted(units, scale), start));
            }
            (Some(Data::Histogram(histogram)), SeriesValue::Histogram { bounds, counts, sum_us }) => {
                let (counts, sum_us) = match change {
                    Some(Change::Histogram { counts, sum_us }) => (counts, sum_us),
                    _ => (counts.to_vec(), sum_us),
                };
                histogram.data_points.push(HistogramDataPoint {
                    attributes: attributes(series),
                    start_time_unix_nano: start,
                    time_unix_nano: time,
                    count: counts.iter().fold(0, |count, in_bucket| count.saturating_add(*in_bucket)),
                    sum: Some(scaled(sum_us, bounds)),
                    bucket_counts: counts,
                    explicit_bounds: bounds.upper_us.iter().map(|us| scaled(*us, bounds)).collect(),
                    ..Default::default()
                });
            }
            _ => return,
        }
        self.items += 1;
    }

    /// The request, sorted by scope, and its number of points; `None` when it has none.
    pub(super) fn finish(self) -> Option<(Bytes, u64)> {
        let Self { mut resources, places, items, .. } = self;
        if items == 0 {
            return None;
        }
        let resource_metrics = places.into_iter().map(|(scope, place)| {
            let metrics = std::mem::take(&mut resources[place].metrics);
            let scope_metrics =
                vec![ScopeMetrics { scope: Some(resource::scope()), metrics, ..Default::default() }];
            let scope = scope.each_ref().map(|text| unescaped(text));
            let resource = Some(resource::of_series(scope.each_ref().map(AsRef::as_ref)));
            ResourceMetrics { resource, scope_metrics, ..Default::default() }
        });
        let request = ExportMetricsServiceRequest { resource_metrics: resource_metrics.collect() };
        Some((Bytes::from(request.encode_to_vec()), items))
    }

    /// From when the point counts; always before its time, whatever the clock did. A first event lies in the interval.
    fn start(&self, series: &SeriesView<'_>) -> WallTime {
        let created = WallTime(series.created.0.saturating_sub(1));
        let start = match self.temporality {
            Temporality::Cumulative => created,
            Temporality::Delta => self.before.unwrap_or(created),
        };
        start.min(WallTime(self.time.0.saturating_sub(1)))
    }

    /// The metric of the series' family in the resource of its scope.
    fn metric(&mut self, series: &SeriesView<'_>) -> &mut Metric {
        if self.resources.get(self.current).is_none_or(|resource| resource.scope != series.scope) {
            let scope = series.scope.map(str::to_owned);
            let next = self.resources.len();
            self.current = *self.places.entry(scope.clone()).or_insert(next);
            if self.current == next {
                self.resources.push(Resource { scope, metrics: Vec::new() });
            }
        }
        let metrics = &mut self.resources[self.current].metrics;
        if metrics.last().is_none_or(|metric| metric.name != series.family.name) {
            metrics.push(metric(series, self.temporality));
        }
        metrics.last_mut().expect("there is the one that was just pushed, if no other")
    }
}

fn metric(series: &SeriesView<'_>, temporality: Temporality) -> Metric {
    let aggregation_temporality = match temporality {
        Temporality::Cumulative => AggregationTemporality::Cumulative,
        Temporality::Delta => AggregationTemporality::Delta,
    }
    .into();
    let data = match series.value {
        SeriesValue::Gauge(_) => Data::Gauge(Gauge::default()),
        SeriesValue::Counter { .. } => {
            Data::Sum(Sum { aggregation_temporality, is_monotonic: true, ..Default::default() })
        }
        SeriesValue::Histogram { .. } => {
            Data::Histogram(Histogram { aggregation_temporality, ..Default::default() })
        }
    };
    Metric {
        name: series.family.name.to_owned(),
        description: series.family.help.to_owned(),
        unit: unit(series.family).to_owned(),
        data: Some(data),
        ..Default::default()
    }
}

/// The family's unit by UCUM. Money is an annotation there, and so is no unit at Prometheus.
pub(in crate::export) fn unit(family: &Family) -> &'static str {
    match family.unit {
        "seconds" => "s",
        "bytes" => "By",
        "percent" => "%",
        "usd" => "{USD}",
        _ => "",
    }
}

fn attributes(series: &SeriesView<'_>) -> Vec<KeyValue> {
    let known = series.labels().filter(|(_, value)| !value.is_empty());
    let attributes = known.map(|(key, value)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(unescaped(value).into_owned())) }),
        ..Default::default()
    });
    attributes.collect()
}

fn counted(units: u64, scale: Scale) -> Value {
    match scale {
        Scale::Ones => Value::AsInt(i64::try_from(units).unwrap_or(i64::MAX)),
        Scale::Millionths => Value::AsDouble(units as f64 / 1e6),
    }
}

fn scaled(us: u64, bounds: &Bounds) -> f64 {
    us as f64 / bounds.unit_us as f64
}
