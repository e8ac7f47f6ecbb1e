//! Cleans OTLP's messages of what may not leave the machine: every text of all three signals goes through [`Texts`].
//!
//! Decoded into structs, so that a field that nobody here knows (of a newer OTLP) is left out and not passed on unseen.
//! Numbers and truth values stay, whatever their key. Nested values are cleaned to their depth, which prost's own limit
//! bounds. An attribute whose key may not leave goes as a whole and is added to `dropped_attributes_count`; bytes become
//! `redacted`.
//!
//! A metric whose name may not leave is taken out and rejected: another name would make one series of two.

use otlp::proto::common::any_value::Value;
use otlp::proto::common::{AnyValue, EntityRef, InstrumentationScope, KeyValue};
use otlp::proto::logs::{LogRecord, ResourceLogs};
use otlp::proto::metrics::metric::Data;
use otlp::proto::metrics::number_data_point;
use otlp::proto::metrics::{Exemplar, Metric, ResourceMetrics};
use otlp::proto::resource::Resource;
use otlp::proto::trace::{ResourceSpans, Span, span};

use super::content_keys::Class;
use super::texts::{Texts, Verdict};
use crate::facts::ContentField;
use crate::facts::redact::REDACTED;

/// Bytes of OTLP's ids.
const TRACE_ID_BYTES: usize = 16;
const SPAN_ID_BYTES: usize = 8;

/// Items of a resource after cleaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Those that are left.
    pub items: u64,
    /// Those that were taken out.
    pub rejected: u64,
}

/// Cleans a resource's log records.
pub fn logs(texts: &mut Texts<'_>, logs: &mut ResourceLogs) -> Counted {
    resource(texts, logs.resource.get_or_insert_default());
    texts.schema(&mut logs.schema_url);
    let mut items = 0;
    for scope_logs in &mut logs.scope_logs {
        scope(texts, scope_logs.scope.as_mut());
        texts.schema(&mut scope_logs.schema_url);
        scope_logs.log_records.iter_mut().for_each(|record| log_record(texts, record));
        items += scope_logs.log_records.len() as u64;
    }
    Counted { items, rejected: 0 }
}

/// Cleans a resource's spans.
pub fn spans(texts: &mut Texts<'_>, spans: &mut ResourceSpans) -> Counted {
    resource(texts, spans.resource.get_or_insert_default());
    texts.schema(&mut spans.schema_url);
    let mut items = 0;
    for scope_spans in &mut spans.scope_spans {
        scope(texts, scope_spans.scope.as_mut());
        texts.schema(&mut scope_spans.schema_url);
        scope_spans.spans.iter_mut().for_each(|of_scope| span_of(texts, of_scope));
        items += scope_spans.spans.len() as u64;
    }
    Counted { items, rejected: 0 }
}

/// Cleans a resource's metrics.
pub fn metrics(texts: &mut Texts<'_>, metrics: &mut ResourceMetrics) -> Counted {
    resource(texts, metrics.resource.get_or_insert_default());
    texts.schema(&mut metrics.schema_url);
    let mut counted = Counted::default();
    for scope_metrics in &mut metrics.scope_metrics {
        scope(texts, scope_metrics.scope.as_mut());
        texts.schema(&mut scope_metrics.schema_url);
        scope_metrics.metrics.retain_mut(|metric| {
            let points = metric_of(texts, metric);
            let is_named = !metric.name.is_empty();
            *(if is_named { &mut counted.items } else { &mut counted.rejected }) += points;
            is_named
        });
    }
    counted
}

fn resource(texts: &mut Texts<'_>, resource: &mut Resource) {
    attributes(texts, &mut resource.attributes, &mut resource.dropped_attributes_count);
    for EntityRef { schema_url, r#type, id_keys, description_keys } in &mut resource.entity_refs {
        texts.schema(schema_url);
        texts.word_or_empty(r#type);
        for keys in [id_keys, description_keys] {
            keys.iter_mut().for_each(|key| texts.word_or_empty(key));
            keys.retain(|key| !key.is_empty());
        }
    }
}

fn scope(texts: &mut Texts<'_>, scope: Option<&mut InstrumentationScope>) {
    let Some(scope) = scope else { return };
    texts.name(&mut scope.name);
    texts.name(&mut scope.version);
    attributes(texts, &mut scope.attributes, &mut scope.dropped_attributes_count);
}

fn log_record(texts: &mut Texts<'_>, record: &mut LogRecord) {
    texts.name(&mut record.severity_text);
    texts.name(&mut record.event_name);
    texts.id(&mut record.trace_id, TRACE_ID_BYTES);
    texts.id(&mut record.span_id, SPAN_ID_BYTES);
    attributes(texts, &mut record.attributes, &mut record.dropped_attributes_count);
    match record.body.as_mut().and_then(|body| body.value.as_mut()) {
        Some(Value::StringValue(text)) => texts.message(ContentField::Messages, text),
        Some(value) => any_value(texts, Class::Word, value),
        None => {}
    }
}

fn span_of(texts: &mut Texts<'_>, span: &mut Span) {
    texts.id(&mut span.trace_id, TRACE_ID_BYTES);
    texts.id(&mut span.span_id, SPAN_ID_BYTES);
    texts.id(&mut span.parent_span_id, SPAN_ID_BYTES);
    trace_state(texts, &mut span.trace_state);
    texts.name(&mut span.name);
    attributes(texts, &mut span.attributes, &mut span.dropped_attributes_count);
    for span::Event { name, attributes: of_event, dropped_attributes_count, .. } in &mut span.events {
        texts.name(name);
        attributes(texts, of_event, dropped_attributes_count);
    }
    for link in &mut span.links {
        texts.id(&mut link.trace_id, TRACE_ID_BYTES);
        texts.id(&mut link.span_id, SPAN_ID_BYTES);
        trace_state(texts, &mut link.trace_state);
        attributes(texts, &mut link.attributes, &mut link.dropped_attributes_count);
    }
    if let Some(status) = &mut span.status {
        texts.message(ContentField::Messages, &mut status.message);
    }
}

/// Vendors put what they like into it, and nobody behind us reads it.
fn trace_state(texts: &mut Texts<'_>, state: &mut String) {
    if !state.is_empty() {
        texts.count();
        state.clear();
    }
}

/// Cleans a metric and answers its data points. One that may not leave has no name afterwards.
fn metric_of(texts: &mut Texts<'_>, metric: &mut Metric) -> u64 {
    texts.word_or_empty(&mut metric.name);
    texts.description(&mut metric.description);
    texts.unit(&mut metric.unit);
    attributes(texts, &mut metric.metadata, &mut 0);
    match &mut metric.data {
        None => 0,
        Some(Data::Gauge(gauge)) => numbers(texts, &mut gauge.data_points),
        Some(Data::Sum(sum)) => numbers(texts, &mut sum.data_points),
        Some(Data::Histogram(histogram)) => {
            for point in &mut histogram.data_points {
                point_attributes(texts, &mut point.attributes);
                exemplars(texts, &mut point.exemplars);
            }
            histogram.data_points.len() as u64
        }
        Some(Data::ExponentialHistogram(histogram)) => {
            for point in &mut histogram.data_points {
                point_attributes(texts, &mut point.attributes);
                exemplars(texts, &mut point.exemplars);
            }
            histogram.data_points.len() as u64
        }
        Some(Data::Summary(summary)) => {
            for point in &mut summary.data_points {
                point_attributes(texts, &mut point.attributes);
            }
            summary.data_points.len() as u64
        }
    }
}

fn numbers(texts: &mut Texts<'_>, points: &mut [otlp::proto::metrics::NumberDataPoint]) -> u64 {
    for point in points.iter_mut() {
        point_attributes(texts, &mut point.attributes);
        exemplars(texts, &mut point.exemplars);
        // Both kinds are numbers; named so that a third kind does not pass unseen.
        match point.value {
            None | Some(number_data_point::Value::AsDouble(_) | number_data_point::Value::AsInt(_)) => {}
        }
    }
    points.len() as u64
}

fn exemplars(texts: &mut Texts<'_>, exemplars: &mut [Exemplar]) {
    for exemplar in exemplars {
        attributes(texts, &mut exemplar.filtered_attributes, &mut 0);
        texts.id(&mut exemplar.trace_id, TRACE_ID_BYTES);
        texts.id(&mut exemplar.span_id, SPAN_ID_BYTES);
    }
}

/// Cleans attributes and adds those that went to what the message says of them.
fn attributes(texts: &mut Texts<'_>, attributes: &mut Vec<KeyValue>, dropped: &mut u32) {
    let before = attributes.len();
    attributes.retain_mut(|attribute| key_value(texts, attribute, None));
    *dropped = dropped.saturating_add((before - attributes.len()) as u32);
}

/// Cleans one attribute; false when it has to go. `class` is that of a value it is in, where that counts.
fn key_value(texts: &mut Texts<'_>, attribute: &mut KeyValue, class: Option<Class>) -> bool {
    attribute.key_strindex = 0;
    let Some(own) = texts.class_of(&attribute.key) else {
        texts.count();
        return false;
    };
    let class = if own == Class::Withheld { own } else { class.unwrap_or(own) };
    if let Some(value) = attribute.value.as_mut().and_then(|value| value.value.as_mut()) {
        any_value(texts, class, value);
    }
    true
}

/// Cleans a value whose key is of `class`.
fn any_value(texts: &mut Texts<'_>, class: Class, value: &mut Value) {
    match value {
        _ if class == Class::Withheld => withhold(texts, value),
        Value::BoolValue(_) | Value::IntValue(_) | Value::DoubleValue(_) => {}
        Value::StringValue(text) => match texts.value(class, text) {
            Verdict::Keep => {}
            Verdict::Replace(with) => {
                if with != *text {
                    texts.count();
                }
                *text = with;
            }
            Verdict::Redact => redact(texts, value),
        },
        // What is below a key of content is content of the same kind.
        Value::ArrayValue(array) if !is_closed(texts, class) => {
            for value in array.values.iter_mut().filter_map(|value| value.value.as_mut()) {
                any_value(texts, class, value);
            }
        }
        Value::KvlistValue(list) if !is_closed(texts, class) => {
            let of_all = Some(class).filter(|class| matches!(class, Class::Content(_)));
            list.values.retain_mut(|entry| key_value(texts, entry, of_all));
        }
        // An index into a table that only profiles have.
        Value::ArrayValue(_)
        | Value::KvlistValue(_)
        | Value::BytesValue(_)
        | Value::StringValueStrindex(_) => {
            redact(texts, value);
        }
    }
}

fn redact(texts: &mut Texts<'_>, value: &mut Value) {
    texts.count();
    *value = Value::StringValue(REDACTED.to_owned());
}

/// As [`redact`], but two values stay two.
fn withhold(texts: &mut Texts<'_>, value: &mut Value) {
    let name = match &*value {
        Value::StringValue(text) if text.is_empty() => return,
        Value::StringValue(text) => texts.pseudonym(text),
        other => texts.pseudonym(&format!("{other:?}")),
    };
    texts.count();
    *value = Value::StringValue(name);
}

/// Whether nothing below a key of `class` may leave.
fn is_closed(texts: &Texts<'_>, class: Class) -> bool {
    match class {
        Class::Never | Class::Withheld => true,
        Class::Content(field) => !texts.allows(field),
        Class::Word | Class::Name | Class::Model | Class::Id => false,
    }
}

/// As [`attributes`], but what is redacted gets a name of its own: the attributes of a point are its series' identity.
fn point_attributes(texts: &mut Texts<'_>, attributes: &mut Vec<KeyValue>) {
    let mut gone = String::new();
    attributes.retain_mut(|attribute| {
        let original = match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::BoolValue(_) | Value::IntValue(_) | Value::DoubleValue(_)) | None => None,
            Some(Value::StringValue(text)) => Some(text.clone()),
            Some(nested) => Some(format!("{nested:?}")),
        };
        if !key_value(texts, attribute, None) {
            gone.push_str(&attribute.key);
            gone.push_str(original.as_deref().unwrap_or_default());
            return false;
        }
        if let (Some(original), Some(AnyValue { value: Some(Value::StringValue(text)) })) =
            (original, &mut attribute.value)
            && text == REDACTED
            && original != REDACTED
        {
            *text = texts.pseudonym(&original);
        }
        true
    });
    if !gone.is_empty() {
        let value = Some(AnyValue { value: Some(Value::StringValue(texts.pseudonym(&gone))) });
        attributes.push(KeyValue { key: REDACTED.to_owned(), value, key_strindex: 0 });
    }
}
