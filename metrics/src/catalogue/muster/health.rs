//! Resources, how well sources can be read, and what the aggregation says of itself.

use muster::v1;
use muster::words::{otlp_signal, resource_scope};

use super::{EVERY, SECONDS};
use crate::aggregate::Label;
use crate::catalogue::{
    AGENT, Family, GAUGE, LabelDef, MetricKind, Rule, SECONDS_SINCE, TOOL, text_label, word_label,
};

const SCOPE: LabelDef = word_label("scope");

/// `tool`, `scope` and `agent`: the last is empty but for the scope `worker`.
fn whose(sample: &v1::ResourceSample) -> [Label; 3] {
    let worker = if sample.scope() == v1::ResourceScope::Worker { sample.worker } else { 0 };
    [Label::Tool, resource_scope(sample.scope).into(), Label::Text(worker)]
}

pub(in crate::catalogue) const RESOURCES: &[Family] = &[
    Family {
        name: "muster_process_cpu_percent",
        kind: GAUGE,
        unit: "percent",
        help: "CPU used (100 is one core); scope: the tool or worker as the tool measured it, the process tree or machine as Muster did",
        labels: &[TOOL, SCOPE, AGENT],
        rules: &[Rule::ResourceSample(|sample, fact| {
            if let Some(percent) = sample.cpu_percent {
                fact.set(whose(sample), percent);
            }
        })],
        ..EVERY
    },
    Family {
        name: "muster_process_memory_bytes",
        kind: GAUGE,
        unit: "bytes",
        help: "Memory used",
        labels: &[TOOL, SCOPE, AGENT],
        rules: &[Rule::ResourceSample(|sample, fact| {
            if let Some(bytes) = sample.memory_bytes {
                fact.set(whose(sample), bytes as f64);
            }
        })],
        ..EVERY
    },
    Family {
        name: "muster_memory_size_bytes",
        kind: GAUGE,
        unit: "bytes",
        help: "Memory there is",
        labels: &[TOOL, SCOPE],
        rules: &[Rule::ResourceSample(|sample, fact| {
            if let Some(bytes) = sample.memory_total_bytes {
                fact.set([Label::Tool, resource_scope(sample.scope).into()], bytes as f64);
            }
        })],
        ..EVERY
    },
    Family {
        name: "muster_processes",
        kind: GAUGE,
        help: "Processes in the tree or on the machine",
        labels: &[TOOL, SCOPE],
        rules: &[Rule::ResourceSample(|sample, fact| {
            if sample.processes > 0 || sample.scope() == v1::ResourceScope::ProcessTree {
                let labels = [Label::Tool, resource_scope(sample.scope).into()];
                fact.set(labels, f64::from(sample.processes));
            }
        })],
        ..EVERY
    },
    Family {
        name: "muster_disk_io_bytes_total",
        unit: "bytes",
        help: "Bytes read and written",
        labels: &[TOOL, SCOPE, AGENT],
        rules: &[Rule::ResourceSample(|sample, fact| {
            if let Some(bytes) = sample.disk_io_bytes {
                fact.add(whose(sample), bytes);
            }
        })],
        ..EVERY
    },
];

pub(in crate::catalogue) const SOURCES: &[Family] = &[
    Family {
        name: "muster_source_data_age_seconds",
        kind: SECONDS_SINCE,
        unit: "seconds",
        help: "Age of the newest data found in the tool's own files",
        rules: &[Rule::SourceHealth(|health, fact| match health.newest_data_time_us {
            0 => fact.unset([Label::Tool]),
            newest_us => fact.set([Label::Tool], newest_us as f64),
        })],
        ..EVERY
    },
    Family {
        name: "muster_source_parse_errors_total",
        help: "Records of the tool's files that could not be understood",
        rules: &[Rule::SourceHealth(|health, fact| fact.add([Label::Tool], health.parse_errors))],
        ..EVERY
    },
    Family {
        name: "muster_source_rescans_total",
        help: "Times the source was read anew because notifications were lost",
        rules: &[Rule::SourceHealth(|health, fact| fact.add([Label::Tool], health.rescans))],
        ..EVERY
    },
    Family {
        name: "muster_source_records_skipped_total",
        help: "Records passed over because of their size or kind",
        rules: &[Rule::SourceHealth(|health, fact| fact.add([Label::Tool], health.records_skipped))],
        ..EVERY
    },
    Family {
        name: "muster_source_read_errors_total",
        help: "Files that could not be read",
        rules: &[Rule::SourceHealth(|health, fact| fact.add([Label::Tool], health.read_errors))],
        ..EVERY
    },
    Family {
        name: "muster_lines_recorded_total",
        help: "Records that the tool added to its own event log",
        rules: &[Rule::LinesRecorded(|lines, fact| fact.add([Label::Tool], lines.count))],
        ..EVERY
    },
    Family {
        name: "muster_bus_events_total",
        help: "Events on the tool's own bus",
        rules: &[Rule::BusEvents(|bus, fact| fact.add([Label::Tool], u64::from(bus.count)))],
        ..EVERY
    },
    Family {
        name: "muster_bus_event_latency_seconds",
        kind: MetricKind::Histogram(&SECONDS),
        unit: "seconds",
        help: "Time from an event on the tool's bus to its being stored",
        rules: &[Rule::BusEvents(|bus, fact| {
            if let Some(latency_us) = bus.latency_us {
                fact.observe([Label::Tool], latency_us);
            }
        })],
        ..EVERY
    },
    Family {
        name: "muster_tool_events_total",
        help: "Other events of the tool by name",
        labels: &[TOOL, text_label("event")],
        rules: &[Rule::LogRecord(|record, fact| fact.add([Label::Tool, Label::Text(record.name)], 1))],
        ..EVERY
    },
    Family {
        name: "muster_otlp_items_total",
        help: "Log records, metrics and spans that the tool sent over OTLP",
        labels: &[TOOL, word_label("signal")],
        rules: &[Rule::OtlpPayload(|payload, fact| {
            fact.add([Label::Tool, otlp_signal(payload.signal).into()], u64::from(payload.item_count));
        })],
        ..EVERY
    },
    Family {
        name: "muster_sample_rate",
        kind: GAUGE,
        help: "Share of the tool's events that are sent when it is sampled; counters are scaled up by it. Absent when all are sent",
        rules: &[Rule::ToolSettings(|settings, fact| {
            if settings.sample_rate > 0.0 && settings.sample_rate < 1.0 {
                fact.set([Label::Tool], settings.sample_rate);
            } else {
                fact.unset([Label::Tool]);
            }
        })],
        ..EVERY
    },
    Family {
        name: EXTRAPOLATED,
        help: "Events that counters include although they were not sent, because others stand for them",
        ..EVERY
    },
    Family { name: EVENTS_APPLIED, help: "Events counted", ..EVERY },
    Family {
        name: UNKNOWN_EVENTS,
        help: "Events of a kind that this version does not know, kept and passed over",
        ..EVERY
    },
    Family {
        name: SERIES_OVERFLOW,
        help: "Facts that had no room for a series of their own, by the bound that is reached",
        labels: &[text_label("family"), text_label("reason")],
        ..EVERY
    },
];

pub(crate) const EXTRAPOLATED: &str = "muster_events_extrapolated_total";
pub(crate) const EVENTS_APPLIED: &str = "muster_events_applied_total";
pub(crate) const UNKNOWN_EVENTS: &str = "muster_unknown_events_total";
pub(crate) const SERIES_OVERFLOW: &str = "muster_series_overflow_total";
