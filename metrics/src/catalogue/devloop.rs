//! The families of DevLoop's guide: names, types, labels and units as the guide has them
//! (contracts/devloop.md section 2.3). DevLoop exports nothing itself, so HELP is ours.
//!
//! A series is there when, and only when, a fact was stated. A run that did nothing counts as success here; the
//! families of all tools tell it apart. A check before a commit is no push.

use muster::v1;
use muster::words::{run_status, severity, word};

use super::words::at_least_one;
use super::{
    AGENT, Bounds, COUNT, Family, GAUGE, MIB, MILLIONTHS, MetricKind, Reading, Rule, SEVERITY, STATUS,
};
use crate::aggregate::Label;

/// 10 ms to 10 s, as the guide's `le` values need and then some.
const MILLISECONDS: Bounds = Bounds {
    upper_us: &[10_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000],
    unit_us: 1_000,
};

const DEVLOOP: Family =
    Family { name: "", kind: GAUGE, unit: "", help: "", labels: &[], tool: Some("devloop"), rules: &[] };

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "devloop_agent_runs_total",
        kind: COUNT,
        help: "Agent runs by status; a run that found nothing to do is a success",
        labels: &[AGENT, STATUS],
        rules: &[Rule::RunFinished(|run, fact| {
            let status = match run_status(run.status) {
                word::SKIPPED => word::SUCCESS,
                status => status,
            };
            fact.add([Label::Text(run.worker), status.into()], 1);
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_agent_queue_depth",
        help: "Events waiting for an agent",
        labels: &[AGENT],
        rules: &[Rule::QueueDepth(|queue, fact| fact.set([Label::Text(queue.worker)], queue.depth as f64))],
        ..DEVLOOP
    },
    Family {
        name: "devloop_agent_execution_duration_ms",
        kind: MetricKind::Histogram(&MILLISECONDS),
        unit: "ms",
        help: "Execution time of agent runs",
        labels: &[AGENT],
        rules: &[Rule::RunFinished(|run, fact| {
            if let Some(duration_us) = run.duration_us {
                fact.observe([Label::Text(run.worker)], duration_us);
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_agent_last_run_ms",
        unit: "ms",
        help: "Duration of the agent's last run",
        labels: &[AGENT],
        rules: &[Rule::RunFinished(|run, fact| {
            if let Some(duration_us) = run.duration_us {
                fact.set([Label::Text(run.worker)], duration_us as f64 / 1e3);
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_system_cpu_percent",
        unit: "percent",
        help: "CPU that DevLoop uses, as it measured it (100 is one core)",
        rules: &[Rule::ResourceSample(|sample, fact| {
            if let (v1::ResourceScope::Tool, Some(percent)) = (sample.scope(), sample.cpu_percent) {
                fact.set([], percent);
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_system_memory_mb",
        unit: "mb",
        help: "Memory that DevLoop uses, as it measured it, in MiB",
        rules: &[Rule::ResourceSample(|sample, fact| {
            if let (v1::ResourceScope::Tool, Some(bytes)) = (sample.scope(), sample.memory_bytes) {
                fact.set([], bytes as f64 / MIB);
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_agent_cpu_percent",
        unit: "percent",
        help: "CPU of DevLoop's process while the agent ran",
        labels: &[AGENT],
        rules: &[Rule::ResourceSample(|sample, fact| {
            if let (v1::ResourceScope::Worker, Some(percent)) = (sample.scope(), sample.cpu_percent) {
                fact.set([Label::Text(sample.worker)], percent);
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_agent_memory_mb",
        unit: "mb",
        help: "Memory of DevLoop's process while the agent ran, in MiB",
        labels: &[AGENT],
        rules: &[Rule::ResourceSample(|sample, fact| {
            if let (v1::ResourceScope::Worker, Some(bytes)) = (sample.scope(), sample.memory_bytes) {
                fact.set([Label::Text(sample.worker)], bytes as f64 / MIB);
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_files_watched",
        help: "Files that DevLoop watches",
        rules: &[Rule::FilesWatched(|files, fact| fact.set([], files.count as f64))],
        ..DEVLOOP
    },
    Family {
        name: "devloop_files_changed_total",
        kind: COUNT,
        help: "File changes that DevLoop saw",
        rules: &[Rule::FileActivity(|file, fact| fact.add([], at_least_one(file.count)))],
        ..DEVLOOP
    },
    Family {
        name: "devloop_issues_found_total",
        kind: COUNT,
        help: "Issues that runs reported; the same issue counts again when it is reported again",
        labels: &[SEVERITY],
        rules: &[Rule::Finding(|finding, fact| {
            if finding.change() == v1::FindingChange::Found {
                fact.add([severity(finding.severity).into()], at_least_one(finding.count));
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_issues_autofixed_total",
        kind: COUNT,
        help: "Issues fixed automatically",
        rules: &[Rule::FindingsFixed(|fixed, fact| fact.add([], fixed.count))],
        ..DEVLOOP
    },
    Family {
        name: "devloop_active_issues",
        help: "Issues that stand now",
        labels: &[SEVERITY],
        rules: &[Rule::ActiveFindings(|active, fact| {
            fact.set([word::CRITICAL.into()], active.critical as f64);
            fact.set([word::HIGH.into()], active.high as f64);
            fact.set([word::MEDIUM.into()], active.medium as f64);
            fact.set([word::LOW.into()], active.low as f64);
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_events_processed_total",
        kind: COUNT,
        help: "Events on DevLoop's bus",
        rules: &[Rule::BusEvents(|bus, fact| fact.add([], u64::from(bus.count)))],
        ..DEVLOOP
    },
    Family {
        name: "devloop_event_latency_ms",
        kind: MetricKind::Histogram(&MILLISECONDS),
        unit: "ms",
        help: "Time from an event to its being stored",
        rules: &[Rule::BusEvents(|bus, fact| {
            if let Some(latency_us) = bus.latency_us {
                fact.observe([], latency_us);
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_event_queue_size",
        kind: MetricKind::Gauge(Reading::SumOf("devloop_agent_queue_depth")),
        help: "Events waiting for all agents together",
        ..DEVLOOP
    },
    Family {
        name: "devloop_false_positives_total",
        kind: COUNT,
        help: "Issues that a person dismissed",
        rules: &[Rule::Finding(|finding, fact| {
            if finding.change() == v1::FindingChange::Dismissed {
                fact.add([], at_least_one(finding.count));
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_ci_failures_prevented",
        kind: COUNT,
        help: "Pushes stopped that would have failed in CI",
        rules: &[Rule::PushChecked(|push, fact| {
            // DevLoop also tells of prevented failures that no push gate saw.
            if push.gate() != v1::PushGate::PreCommit {
                fact.add([], u64::from(push.prevented_bad_push));
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_build_time_saved_seconds",
        kind: MILLIONTHS,
        unit: "seconds",
        help: "Build time saved",
        rules: &[Rule::TimeSaved(|saved, fact| {
            if saved.kind() == v1::TimeSavedKind::Build {
                fact.add([], saved.saved_us);
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_developer_time_saved_seconds",
        kind: MILLIONTHS,
        unit: "seconds",
        help: "Developer time saved",
        rules: &[Rule::TimeSaved(|saved, fact| {
            if saved.kind() == v1::TimeSavedKind::Developer {
                fact.add([], saved.saved_us);
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_successful_pushes",
        kind: COUNT,
        help: "Pushes that the gate let through",
        rules: &[Rule::PushChecked(|push, fact| {
            if push.gate() == v1::PushGate::PrePush {
                fact.add([], u64::from(push.allowed));
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_total_pushes",
        kind: COUNT,
        help: "Pushes that the gate checked",
        rules: &[Rule::PushChecked(|push, fact| {
            if push.gate() == v1::PushGate::PrePush {
                fact.add([], 1);
            }
        })],
        ..DEVLOOP
    },
    Family {
        name: "devloop_disk_io_bytes",
        kind: COUNT,
        unit: "bytes",
        help: "Bytes read and written, as DevLoop measured them",
        rules: &[Rule::ResourceSample(|sample, fact| {
            if let (v1::ResourceScope::Tool, Some(bytes)) = (sample.scope(), sample.disk_io_bytes) {
                fact.add([], bytes);
            }
        })],
        ..DEVLOOP
    },
];
