//! The walks against prost's decoder and encoder as the oracle. Every case has its own seed, which a failure names.

mod check;
mod generate;
mod resource;
mod split;
mod stamp;

use prost::Message;

use super::Tally;
use crate::Signal;
use crate::proto::collector_logs::ExportLogsServiceRequest;
use crate::proto::collector_metrics::ExportMetricsServiceRequest;
use crate::proto::collector_trace::ExportTraceServiceRequest;
use crate::proto::common::any_value::Value;
use crate::proto::common::{AnyValue, KeyValue};
use crate::proto::metrics::metric::Data;
use crate::proto::resource::Resource;

/// A request as prost decodes it.
#[derive(Debug, Clone)]
enum Decoded {
    Logs(ExportLogsServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Traces(ExportTraceServiceRequest),
}

impl Decoded {
    fn of(signal: Signal, bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        match signal {
            Signal::Logs => ExportLogsServiceRequest::decode(bytes).map(Self::Logs),
            Signal::Metrics => ExportMetricsServiceRequest::decode(bytes).map(Self::Metrics),
            Signal::Traces => ExportTraceServiceRequest::decode(bytes).map(Self::Traces),
        }
    }

    /// Bytes to compare by: structs with a NaN in them equal nothing.
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Logs(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
            Self::Traces(request) => request.encode_to_vec(),
        }
    }

    fn tally(&self) -> Tally {
        let resources = match self {
            Self::Logs(request) => request.resource_logs.len(),
            Self::Metrics(request) => request.resource_metrics.len(),
            Self::Traces(request) => request.resource_spans.len(),
        };
        Tally { resources: resources as u32, items: self.items().len() as u64 }
    }

    fn resources_mut(&mut self) -> Vec<&mut Option<Resource>> {
        match self {
            Self::Logs(request) => {
                request.resource_logs.iter_mut().map(|entry| &mut entry.resource).collect()
            }
            Self::Metrics(request) => {
                request.resource_metrics.iter_mut().map(|entry| &mut entry.resource).collect()
            }
            Self::Traces(request) => {
                request.resource_spans.iter_mut().map(|entry| &mut entry.resource).collect()
            }
        }
    }

    /// Every item with all that is around it, encoded.
    fn items(&self) -> Vec<Vec<u8>> {
        let mut items = Vec::new();
        match self {
            Self::Logs(request) => {
                for entry in &request.resource_logs {
                    for scope in &entry.scope_logs {
                        let around = format!(
                            "{:?}{}{:?}{}",
                            entry.resource, entry.schema_url, scope.scope, scope.schema_url
                        );
                        items.extend(scope.log_records.iter().map(|item| with(&around, item)));
                    }
                }
            }
            Self::Traces(request) => {
                for entry in &request.resource_spans {
                    for scope in &entry.scope_spans {
                        let around = format!(
                            "{:?}{}{:?}{}",
                            entry.resource, entry.schema_url, scope.scope, scope.schema_url
                        );
                        items.extend(scope.spans.iter().map(|item| with(&around, item)));
                    }
                }
            }
            Self::Metrics(request) => {
                for entry in &request.resource_metrics {
                    for scope in &entry.scope_metrics {
                        let around = format!(
                            "{:?}{}{:?}{}",
                            entry.resource, entry.schema_url, scope.scope, scope.schema_url
                        );
                        scope.metrics.iter().for_each(|metric| points(&around, metric, &mut items));
                    }
                }
            }
        }
        items
    }
}

fn with(around: &str, item: &impl Message) -> Vec<u8> {
    [around.as_bytes(), &item.encode_to_vec()].concat()
}

/// Appends the data points of a metric, each with the metric without its points.
fn points(around: &str, metric: &crate::proto::metrics::Metric, items: &mut Vec<Vec<u8>>) {
    let mut shell = metric.clone();
    let points: Vec<Vec<u8>> = match &mut shell.data {
        Some(Data::Gauge(data)) => {
            std::mem::take(&mut data.data_points).iter().map(Message::encode_to_vec).collect()
        }
        Some(Data::Sum(data)) => {
            std::mem::take(&mut data.data_points).iter().map(Message::encode_to_vec).collect()
        }
        Some(Data::Histogram(data)) => {
            std::mem::take(&mut data.data_points).iter().map(Message::encode_to_vec).collect()
        }
        Some(Data::ExponentialHistogram(data)) => {
            std::mem::take(&mut data.data_points).iter().map(Message::encode_to_vec).collect()
        }
        Some(Data::Summary(data)) => {
            std::mem::take(&mut data.data_points).iter().map(Message::encode_to_vec).collect()
        }
        None => Vec::new(),
    };
    let shell = with(around, &shell);
    items.extend(points.into_iter().map(|point| [shell.clone(), point].concat()));
}

fn string_attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}
