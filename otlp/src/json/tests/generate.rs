//! Strategies for requests with every field of every message. No struct is filled up with defaults: a field that
//! opentelemetry-proto adds stops the build here, and asks for its line in the table.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::proto::collector_logs::ExportLogsServiceRequest;
use crate::proto::collector_metrics::ExportMetricsServiceRequest;
use crate::proto::collector_trace::ExportTraceServiceRequest;
use crate::proto::common::any_value::Value;
use crate::proto::common::{AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList};
use crate::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};
use crate::proto::metrics::exponential_histogram_data_point::Buckets;
use crate::proto::metrics::metric::Data;
use crate::proto::metrics::summary_data_point::ValueAtQuantile;
use crate::proto::metrics::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
    number_data_point,
};
use crate::proto::resource::Resource;
use crate::proto::trace::span::{Event, Link};
use crate::proto::trace::{ResourceSpans, ScopeSpans, Span, Status};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z.]{0,12}",
        1 => ".{0,8}",
        1 => Just("\"\\/\u{0}\u{1f}\u{7f}\u{2028}\u{fffd}😀".to_owned()),
        1 => "[a-z]{130}",
    ]
}

fn any_u64() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(1795280419445208432), any::<u64>()]
}

fn any_i64() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(-1), Just(i64::MIN), Just(i64::MAX), any::<i64>()]
}

fn any_u32() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(257), Just(u32::MAX), any::<u32>()]
}

fn any_i32() -> impl Strategy<Value = i32> {
    prop_oneof![Just(0), Just(-1), Just(2), Just(i32::MIN), Just(i32::MAX), any::<i32>()]
}

/// Every double, but of the NaNs the one that `"NaN"` is.
fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(5e-324),
        any::<u64>().prop_map(|bits| match f64::from_bits(bits) {
            value if value.is_nan() => f64::NAN,
            value => value,
        }),
    ]
}

fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), vec(any::<u8>(), length)]
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = option::weighted(
        0.9,
        prop_oneof![
            text().prop_map(Value::StringValue),
            any::<bool>().prop_map(Value::BoolValue),
            any_i64().prop_map(Value::IntValue),
            double().prop_map(Value::DoubleValue),
            vec(any::<u8>(), 0..7).prop_map(Value::BytesValue),
            any_i32().prop_map(Value::StringValueStrindex),
        ],
    )
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 12, 3, |inner| {
        let entry = (text(), option::of(inner.clone()), any_i32())
            .prop_map(|(key, value, key_strindex)| KeyValue { key, value, key_strindex });
        prop_oneof![
            vec(inner, 0..3).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec(entry, 0..3).prop_map(|values| Value::KvlistValue(KeyValueList { values })),
        ]
        .prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let entry = (text(), option::of(any_value()), any_i32())
        .prop_map(|(key, value, key_strindex)| KeyValue { key, value, key_strindex });
    vec(entry, 0..3)
}

fn resource() -> impl Strategy<Value = Resource> {
    let entity_ref = (text(), text(), vec(text(), 0..3), vec(text(), 0..2)).prop_map(
        |(schema_url, r#type, id_keys, description_keys)| EntityRef {
            schema_url,
            r#type,
            id_keys,
            description_keys,
        },
    );
    (attributes(), any_u32(), vec(entity_ref, 0..2)).prop_map(
        |(attributes, dropped_attributes_count, entity_refs)| Resource {
            attributes,
            dropped_attributes_count,
            entity_refs,
        },
    )
}

fn scope() -> impl Strategy<Value = InstrumentationScope> {
    (text(), text(), attributes(), any_u32()).prop_map(
        |(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
            name,
            version,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    let times = (any_u64(), any_u64(), any_i32(), text(), text());
    let rest = (option::of(any_value()), attributes(), any_u32(), any_u32(), id(16), id(8));
    (times, rest).prop_map(|(times, rest)| {
        let (time_unix_nano, observed_time_unix_nano, severity_number, severity_text, event_name) = times;
        let (body, attributes, dropped_attributes_count, flags, trace_id, span_id) = rest;
        LogRecord {
            time_unix_nano,
            observed_time_unix_nano,
            severity_number,
            severity_text,
            body,
            attributes,
            dropped_attributes_count,
            flags,
            trace_id,
            span_id,
            event_name,
        }
    })
}

/// A request of logs.
pub(super) fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scope_logs = (option::of(scope()), vec(log_record(), 0..4), text())
        .prop_map(|(scope, log_records, schema_url)| ScopeLogs { scope, log_records, schema_url });
    let resource_logs = (option::of(resource()), vec(scope_logs, 0..3), text())
        .prop_map(|(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url });
    vec(resource_logs, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

fn span() -> impl Strategy<Value = Span> {
    let event = (any_u64(), text(), attributes(), any_u32()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    );
    let link = (id(16), id(8), text(), attributes(), any_u32(), any_u32()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    );
    let status = (text(), any_i32()).prop_map(|(message, code)| Status { message, code });
    let head = (id(16), id(8), text(), id(8), any_u32(), text(), any_i32(), any_u64(), any_u64());
    let dropped = (any_u32(), any_u32(), any_u32());
    (head, attributes(), vec(event, 0..2), vec(link, 0..2), dropped, option::of(status)).prop_map(
        |(head, attributes, events, links, dropped, status)| Span {
            trace_id: head.0,
            span_id: head.1,
            trace_state: head.2,
            parent_span_id: head.3,
            flags: head.4,
            name: head.5,
            kind: head.6,
            start_time_unix_nano: head.7,
            end_time_unix_nano: head.8,
            attributes,
            dropped_attributes_count: dropped.0,
            events,
            dropped_events_count: dropped.1,
            links,
            dropped_links_count: dropped.2,
            status,
        },
    )
}

/// A request of spans.
pub(super) fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans = (option::of(scope()), vec(span(), 0..4), text())
        .prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url });
    let resource_spans = (option::of(resource()), vec(scope_spans, 0..3), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url });
    vec(resource_spans, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn exemplars() -> impl Strategy<Value = Vec<Exemplar>> {
    let value =
        prop_oneof![double().prop_map(exemplar::Value::AsDouble), any_i64().prop_map(exemplar::Value::AsInt)];
    let exemplar = (attributes(), any_u64(), id(8), id(16), option::of(value)).prop_map(
        |(filtered_attributes, time_unix_nano, span_id, trace_id, value)| Exemplar {
            filtered_attributes,
            time_unix_nano,
            span_id,
            trace_id,
            value,
        },
    );
    vec(exemplar, 0..2)
}

fn number_points() -> impl Strategy<Value = Vec<NumberDataPoint>> {
    let value = prop_oneof![
        double().prop_map(number_data_point::Value::AsDouble),
        any_i64().prop_map(number_data_point::Value::AsInt)
    ];
    let point = (attributes(), any_u64(), any_u64(), exemplars(), any_u32(), option::of(value)).prop_map(
        |(attributes, start_time_unix_nano, time_unix_nano, exemplars, flags, value)| NumberDataPoint {
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            exemplars,
            flags,
            value,
        },
    );
    vec(point, 0..4)
}

fn histogram_point() -> impl Strategy<Value = HistogramDataPoint> {
    let optional = (option::of(double()), option::of(double()), option::of(double()));
    let buckets = (vec(any_u64(), 0..20), vec(double(), 0..20));
    (attributes(), any_u64(), any_u64(), any_u64(), optional, buckets, exemplars(), any_u32()).prop_map(
        |(attributes, start, time, count, optional, buckets, exemplars, flags)| HistogramDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: time,
            count,
            sum: optional.0,
            bucket_counts: buckets.0,
            explicit_bounds: buckets.1,
            exemplars,
            flags,
            min: optional.1,
            max: optional.2,
        },
    )
}

fn exponential_point() -> impl Strategy<Value = ExponentialHistogramDataPoint> {
    let buckets = || {
        let buckets = (any_i32(), vec(any_u64(), 0..20))
            .prop_map(|(offset, bucket_counts)| Buckets { offset, bucket_counts });
        option::of(buckets)
    };
    let optional = (option::of(double()), option::of(double()), option::of(double()));
    let zero = (any_u64(), double());
    let rest = (buckets(), buckets(), exemplars(), any_u32());
    (attributes(), any_u64(), any_u64(), any_u64(), optional, any_i32(), zero, rest).prop_map(
        |(attributes, start, time, count, optional, scale, zero, rest)| ExponentialHistogramDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: time,
            count,
            sum: optional.0,
            scale,
            zero_count: zero.0,
            positive: rest.0,
            negative: rest.1,
            flags: rest.3,
            exemplars: rest.2,
            min: optional.1,
            max: optional.2,
            zero_threshold: zero.1,
        },
    )
}

fn summary_point() -> impl Strategy<Value = SummaryDataPoint> {
    let quantile = (double(), double()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (attributes(), any_u64(), any_u64(), any_u64(), double(), vec(quantile, 0..3), any_u32()).prop_map(
        |(attributes, start, time, count, sum, quantile_values, flags)| SummaryDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: time,
            count,
            sum,
            quantile_values,
            flags,
        },
    )
}

fn metric() -> impl Strategy<Value = Metric> {
    let data = prop_oneof![
        number_points().prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        (number_points(), any_i32(), any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| Data::Sum(Sum {
                data_points,
                aggregation_temporality,
                is_monotonic
            })
        ),
        (vec(histogram_point(), 0..3), any_i32()).prop_map(|(data_points, aggregation_temporality)| {
            Data::Histogram(Histogram { data_points, aggregation_temporality })
        }),
        (vec(exponential_point(), 0..3), any_i32()).prop_map(|(data_points, aggregation_temporality)| {
            Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
        }),
        vec(summary_point(), 0..3).prop_map(|data_points| Data::Summary(Summary { data_points })),
    ];
    (text(), text(), text(), attributes(), option::weighted(0.9, data)).prop_map(
        |(name, description, unit, metadata, data)| Metric { name, description, unit, metadata, data },
    )
}

/// A request of metrics.
pub(super) fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let scope_metrics = (option::of(scope()), vec(metric(), 0..4), text())
        .prop_map(|(scope, metrics, schema_url)| ScopeMetrics { scope, metrics, schema_url });
    let resource_metrics = (option::of(resource()), vec(scope_metrics, 0..3), text()).prop_map(
        |(resource, scope_metrics, schema_url)| ResourceMetrics { resource, scope_metrics, schema_url },
    );
    vec(resource_metrics, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}
