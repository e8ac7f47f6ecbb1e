use super::super::Counts;
use super::super::attributes::{Place, fit};
use super::*;
use crate::proto::collector_trace::ExportTraceServiceRequest;
use crate::proto::common::{ArrayValue, KeyValueList};
use crate::proto::trace::{ResourceSpans, ScopeSpans, Span};

fn newrelic() -> AttributeLimits {
    find("newrelic").expect("a profile").attributes
}

fn with(key: &str, value: Option<any_value::Value>) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

fn array(elements: Vec<any_value::Value>) -> any_value::Value {
    let values = elements.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
    any_value::Value::ArrayValue(ArrayValue { values })
}

fn fitted(list: Vec<KeyValue>, place: Place<'_>) -> (Vec<KeyValue>, Counts) {
    let (mut list, mut counts) = (list, Counts::default());
    let before = list.len();
    let dropped = fit(&mut list, place, &newrelic(), &mut counts);
    assert_eq!(list.len() + dropped as usize, before);
    assert_eq!(u64::from(dropped), counts.attributes_dropped);
    (list, counts)
}

fn keys(list: &[KeyValue]) -> Vec<&str> {
    list.iter().map(|attribute| attribute.key.as_str()).collect()
}

#[test]
fn long_texts_and_keys_are_cut_between_characters() {
    let (list, counts) = fitted(vec![text(&"ä".repeat(300), &"€".repeat(5000))], Place::default());
    assert_eq!(list, [text(&"ä".repeat(255), &"€".repeat(4094))]);
    assert_eq!((counts.attributes_changed, counts.attributes_dropped), (2, 0));
    let exact = text(&"k".repeat(255), &"v".repeat(4094));
    let (list, counts) = fitted(vec![exact.clone()], Place::default());
    assert_eq!((list, counts.attributes_changed), (vec![exact], 0));
}

#[test]
fn keys_that_are_alike_once_cut_are_there_once() {
    let long = |end: &str| text(&format!("{}{end}", "k".repeat(255)), end);
    let (list, counts) = fitted(vec![long("a"), long("b")], Place::default());
    assert_eq!(list, [text(&"k".repeat(255), "a")]);
    assert_eq!((counts.attributes_changed, counts.attributes_dropped), (1, 1));
}

#[test]
fn past_the_count_the_names_that_matter_stay() {
    let mut list: Vec<_> = (0..70).map(|index| text(&format!("own.{index}"), "x")).collect();
    list.push(text("http.route", "/"));
    list.push(text("muster.team", "platform"));
    list.push(text("service.name", "claude-code"));
    let (list, counts) = fitted(list, Place { max: Some(4), ..Place::default() });
    assert_eq!(keys(&list), ["own.0", "http.route", "muster.team", "service.name"]);
    assert_eq!(counts.attributes_dropped, 69);
}

#[test]
fn empty_values_and_on_all_but_logs_complex_ones_go() {
    use any_value::Value::{BoolValue, IntValue, KvlistValue};
    let list = vec![
        with("empty", None),
        KeyValue { key: "none".to_owned(), value: None, ..KeyValue::default() },
        with("map", Some(KvlistValue(KeyValueList::default()))),
        with("mixed", Some(array(vec![IntValue(1), BoolValue(true)]))),
        with("nested", Some(array(vec![array(vec![])]))),
        with("plain", Some(array(vec![IntValue(1), IntValue(2)]))),
    ];
    let (spans, _) = fitted(list.clone(), Place::default());
    assert_eq!(keys(&spans), ["plain"]);
    let (logs, _) = fitted(list, Place { logs: true, ..Place::default() });
    assert_eq!(keys(&logs), ["map", "mixed", "nested", "plain"]);
}

#[test]
fn arrays_and_bytes_are_cut() {
    use any_value::Value::{BytesValue, IntValue};
    let list =
        vec![with("a", Some(array(vec![IntValue(7); 65]))), with("b", Some(BytesValue(vec![1; 128_001])))];
    let (list, counts) = fitted(list, Place::default());
    let wanted =
        [with("a", Some(array(vec![IntValue(7); 64]))), with("b", Some(BytesValue(vec![1; 128_000])))];
    assert_eq!(list, wanted);
    assert_eq!(counts.attributes_changed, 2);
}

#[test]
fn keys_that_new_relic_reserves_for_metrics_get_an_underscore() {
    let list = || vec![text("value", "1"), text("count", "2"), text("count_", "3"), text("tokens", "4")];
    let (points, counts) = fitted(list(), Place { metric: Some("tokens"), ..Place::default() });
    assert_eq!(points, [text("value_", "1"), text("count_", "3"), text("tokens_", "4")]);
    assert_eq!((counts.attributes_changed, counts.attributes_dropped), (2, 1));
    assert_eq!(fitted(list(), Place::default()).0, list());
}

#[test]
fn a_point_has_a_hundred_attributes_with_those_of_its_resource() {
    let attributes = (0..99).map(|index| text(&format!("k{index}"), "v")).collect();
    let point = NumberDataPoint { attributes, ..int(0, at(0), 1) };
    let mut whole =
        ExportMetricsServiceRequest::decode(&request(vec![gauge(vec![point])])[..]).expect("a request");
    let resource = crate::proto::resource::Resource {
        attributes: vec![text("service.name", "x"), text("host.name", "y")],
        ..Default::default()
    };
    whole.resource_metrics[0].resource = Some(resource);
    let out = adapter("newrelic").adapt(Signal::Metrics, &whole.encode_to_vec().into(), wall(0));
    assert_eq!(numbers(&out)[0].attributes.len(), 98);
    assert_eq!(out.attributes_dropped, 1);
}

#[test]
fn spans_say_how_many_attributes_they_lost() {
    let attributes: Vec<_> = (0..200).map(|index| text(&format!("k{index}"), "v")).collect();
    let span = Span { attributes, dropped_attributes_count: u32::MAX - 1, ..Span::default() };
    let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
    let entry = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    let request = ExportTraceServiceRequest { resource_spans: vec![entry] }.encode_to_vec().into();
    let out = adapter("newrelic").adapt(Signal::Traces, &request, wall(0));
    let request = ExportTraceServiceRequest::decode(&out.bytes[..]).expect("a request");
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((span.attributes.len(), span.dropped_attributes_count), (128, u32::MAX));
    assert_eq!(out.attributes_dropped, 72);
}
