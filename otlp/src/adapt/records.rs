//! Log records and spans: age and attributes.

use super::attributes::{Place, fit};
use super::{Counts, Rules, check_age};
use crate::proto::collector_logs::ExportLogsServiceRequest;
use crate::proto::collector_trace::ExportTraceServiceRequest;
use crate::proto::common::InstrumentationScope;
use crate::proto::logs::LogRecord;
use crate::proto::resource::Resource;
use crate::proto::trace::Span;

/// Makes a request of logs fit.
pub(super) fn adapt_logs(
    rules: &Rules,
    request: &mut ExportLogsServiceRequest,
    now_ns: u64,
    counts: &mut Counts,
) {
    request.resource_logs.retain_mut(|entry| {
        fit_resource(rules, entry.resource.as_mut(), true, counts);
        entry.scope_logs.retain_mut(|group| {
            fit_scope(rules, group.scope.as_mut(), true, counts);
            group.log_records.retain_mut(|record| log(rules, record, now_ns, counts));
            !group.log_records.is_empty()
        });
        !entry.scope_logs.is_empty()
    });
}

fn log(rules: &Rules, record: &mut LogRecord, now_ns: u64, counts: &mut Counts) -> bool {
    let time =
        if record.time_unix_nano != 0 { record.time_unix_nano } else { record.observed_time_unix_nano };
    if let Err(reason) = check_age(rules.ages.logs, time, now_ns) {
        counts.drop(reason, 1);
        return false;
    }
    let place = Place { max: rules.attributes.record_max, logs: true, metric: None };
    let lost = fit(&mut record.attributes, place, &rules.attributes, counts);
    record.dropped_attributes_count = record.dropped_attributes_count.saturating_add(lost);
    counts.items += 1;
    true
}

/// Makes a request of spans fit.
pub(super) fn adapt_spans(
    rules: &Rules,
    request: &mut ExportTraceServiceRequest,
    now_ns: u64,
    counts: &mut Counts,
) {
    request.resource_spans.retain_mut(|entry| {
        fit_resource(rules, entry.resource.as_mut(), false, counts);
        entry.scope_spans.retain_mut(|group| {
            fit_scope(rules, group.scope.as_mut(), false, counts);
            group.spans.retain_mut(|span| self::span(rules, span, now_ns, counts));
            !group.spans.is_empty()
        });
        !entry.scope_spans.is_empty()
    });
}

fn span(rules: &Rules, span: &mut Span, now_ns: u64, counts: &mut Counts) -> bool {
    if let Err(reason) = check_age(rules.ages.traces, span.end_time_unix_nano, now_ns) {
        counts.drop(reason, 1);
        return false;
    }
    let place = Place { max: rules.attributes.record_max, ..Place::default() };
    let limits = &rules.attributes;
    let lost = fit(&mut span.attributes, place, limits, counts);
    span.dropped_attributes_count = span.dropped_attributes_count.saturating_add(lost);
    for event in &mut span.events {
        let lost = fit(&mut event.attributes, place, limits, counts);
        event.dropped_attributes_count = event.dropped_attributes_count.saturating_add(lost);
    }
    for link in &mut span.links {
        let lost = fit(&mut link.attributes, place, limits, counts);
        link.dropped_attributes_count = link.dropped_attributes_count.saturating_add(lost);
    }
    counts.items += 1;
    true
}

fn fit_resource(rules: &Rules, resource: Option<&mut Resource>, logs: bool, counts: &mut Counts) {
    if let Some(resource) = resource {
        let place = Place { max: rules.attributes.resource_max, logs, metric: None };
        let lost = fit(&mut resource.attributes, place, &rules.attributes, counts);
        resource.dropped_attributes_count = resource.dropped_attributes_count.saturating_add(lost);
    }
}

fn fit_scope(rules: &Rules, scope: Option<&mut InstrumentationScope>, logs: bool, counts: &mut Counts) {
    if let Some(scope) = scope {
        let place = Place { max: rules.attributes.scope_max, logs, metric: None };
        let lost = fit(&mut scope.attributes, place, &rules.attributes, counts);
        scope.dropped_attributes_count = scope.dropped_attributes_count.saturating_add(lost);
    }
}
