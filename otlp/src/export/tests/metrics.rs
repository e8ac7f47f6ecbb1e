//! The catalogue as OTLP metrics.

mod exact;
mod lifecycle;
mod points;

use std::collections::BTreeMap;

use prost::Message;

use super::super::{Cut, MetricsExport, Temporality};
use super::{NOON, applied, assert_is_file, attributes, batch, full, identity, key};
use crate::proto::collector_metrics::ExportMetricsServiceRequest;
use crate::proto::metrics::metric::Data;
use crate::proto::metrics::number_data_point::Value;
use crate::proto::metrics::{HistogramDataPoint, NumberDataPoint};

/// One data point with whose it is.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// Name and labels as a page has them.
    pub(super) series: String,
    /// `gauge`, or `cumulative sum`, `delta histogram` and so on.
    pub(super) kind: String,
    pub(super) unit: String,
    pub(super) numbers: Numbers,
    pub(super) start: u64,
    pub(super) time: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Numbers {
    One(Value),
    Histogram { counts: Vec<u64>, sum: f64, bounds: Vec<f64> },
}

/// All points of a cut; the cut says how many there are.
pub(super) fn points(cut: &Cut) -> Vec<Point> {
    let request = ExportMetricsServiceRequest::decode(&cut.request[..]).expect("what we write can be read");
    let mut points = Vec::new();
    let mut resources = std::collections::BTreeSet::new();
    for of_resource in &request.resource_metrics {
        let resource = attributes(&of_resource.resource.as_ref().expect("there").attributes);
        assert!(resources.insert(resource["service.instance.id"].clone()), "a resource twice");
        let scope = ["muster.team", "user.name", "host.name", "muster.project"]
            .map(|key| resource.get(key).cloned().unwrap_or_default());
        let mut names = std::collections::BTreeSet::new();
        for metric in &of_resource.scope_metrics[0].metrics {
            assert!(names.insert(&metric.name), "{} twice in a resource", metric.name);
            assert!(!metric.description.is_empty());
            let mut add = |kind: String, point: Point| {
                let unit = metric.unit.clone();
                points.push(Point {
                    kind,
                    unit,
                    series: page_name(&metric.name, &scope, &point.series),
                    ..point
                });
            };
            match metric.data.as_ref().expect("there") {
                Data::Gauge(gauge) => {
                    gauge.data_points.iter().for_each(|point| add("gauge".into(), number(point)));
                }
                Data::Sum(sum) => {
                    assert!(sum.is_monotonic);
                    let kind = format!("{} sum", temporality(sum.aggregation_temporality));
                    sum.data_points.iter().for_each(|point| add(kind.clone(), number(point)));
                }
                Data::Histogram(histogram) => {
                    let kind = format!("{} histogram", temporality(histogram.aggregation_temporality));
                    histogram.data_points.iter().for_each(|point| add(kind.clone(), buckets(point)));
                }
                other => panic!("the catalogue has no {other:?}"),
            }
        }
    }
    assert_eq!(points.len() as u64, cut.items);
    points
}

fn temporality(number: i32) -> &'static str {
    ["unspecified", "delta", "cumulative"][number as usize]
}

/// Keys and values in a row, for [`page_name`].
fn labels(attributes: BTreeMap<&str, String>) -> String {
    attributes.iter().map(|(key, value)| format!("{key}\0{value}\0")).collect()
}

/// The name and all labels that the page gives the series, empty ones as well.
fn page_name(name: &str, [team, user, host, project]: &[String; 4], own: &str) -> String {
    let family = ::metrics::catalogue::find(name).expect("names are the catalogue's").family();
    let parts: Vec<_> = own.split('\0').collect();
    let mut own: BTreeMap<_, _> = parts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let mut labels = format!("team=\"{team}\",user=\"{user}\",host=\"{host}\",project=\"{project}\"");
    for label in family.labels {
        let value = own.remove(label.name).unwrap_or_default();
        labels.push_str(&format!(",{}=\"{value}\"", label.name));
    }
    assert!(own.is_empty(), "{name} has labels that the catalogue has not: {own:?}");
    format!("{name}{{{labels}}}")
}

fn number(point: &NumberDataPoint) -> Point {
    Point {
        series: labels(attributes(&point.attributes)),
        kind: String::new(),
        unit: String::new(),
        numbers: Numbers::One(point.value.expect("there")),
        start: point.start_time_unix_nano,
        time: point.time_unix_nano,
    }
}

fn buckets(point: &HistogramDataPoint) -> Point {
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(point.count, point.bucket_counts.iter().sum::<u64>());
    Point {
        series: labels(attributes(&point.attributes)),
        kind: String::new(),
        unit: String::new(),
        numbers: Numbers::Histogram {
            counts: point.bucket_counts.clone(),
            sum: point.sum.expect("there"),
            bounds: point.explicit_bounds.clone(),
        },
        start: point.start_time_unix_nano,
        time: point.time_unix_nano,
    }
}

/// A cut of everything.
pub(super) fn cut(export: &MetricsExport, seconds: u64) -> Option<Cut> {
    export.cut(applied(seconds).wall, |_| true)
}

/// The value of one series of a cut.
pub(super) fn value_of(cut: &Cut, series: &str) -> Option<f64> {
    points(cut).into_iter().find(|point| point.series == series).map(|point| match point.numbers {
        Numbers::One(Value::AsInt(integer)) => integer as f64,
        Numbers::One(Value::AsDouble(number)) => number,
        Numbers::Histogram { sum, .. } => sum,
    })
}
