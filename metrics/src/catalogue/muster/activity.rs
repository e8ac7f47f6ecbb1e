//! Runs, findings, files and gates: what has happened.

use muster::words::{file_change, finding_change, push_gate, run_status, severity, word};

use super::{EVERY, SECONDS};
use crate::aggregate::Label;
use crate::catalogue::words::at_least_one;
use crate::catalogue::{
    AGENT, Family, GAUGE, MetricKind, Rule, SEVERITY, STATUS, TOOL, text_label, word_label,
};

pub(in crate::catalogue) const RUNS: &[Family] = &[
    Family {
        name: "muster_runs_started_total",
        help: "Runs of workers that started, where the tool tells",
        labels: &[TOOL, AGENT],
        rules: &[Rule::RunStarted(|run, fact| fact.add([Label::Tool, Label::Text(run.worker)], 1))],
        ..EVERY
    },
    Family {
        name: "muster_runs_total",
        help: "Runs of workers that ended, by status; skipped: there was nothing to do",
        labels: &[TOOL, AGENT, STATUS],
        rules: &[Rule::RunFinished(|run, fact| {
            fact.add([Label::Tool, Label::Text(run.worker), run_status(run.status).into()], 1);
        })],
        ..EVERY
    },
    Family {
        name: "muster_run_duration_seconds",
        kind: MetricKind::Histogram(&SECONDS),
        unit: "seconds",
        help: "Duration of runs whose duration is known",
        labels: &[TOOL, AGENT],
        rules: &[Rule::RunFinished(|run, fact| {
            if let Some(duration_us) = run.duration_us {
                fact.observe([Label::Tool, Label::Text(run.worker)], duration_us);
            }
        })],
        ..EVERY
    },
    Family {
        name: "muster_run_queue_seconds",
        kind: MetricKind::Histogram(&SECONDS),
        unit: "seconds",
        help: "Time between a run's cause and its start, where the tool records it",
        labels: &[TOOL, AGENT],
        rules: &[Rule::RunFinished(|run, fact| {
            if let Some(queued_us) = run.queued_us {
                fact.observe([Label::Tool, Label::Text(run.worker)], queued_us);
            }
        })],
        ..EVERY
    },
    Family {
        name: "muster_tool_calls_total",
        help: "Calls of tools by name and status",
        labels: &[TOOL, text_label("name"), STATUS],
        rules: &[Rule::ToolCall(|call, fact| {
            fact.add([Label::Tool, Label::Text(call.name), run_status(call.status).into()], 1);
        })],
        ..EVERY
    },
    Family {
        name: "muster_tool_call_duration_seconds",
        kind: MetricKind::Histogram(&SECONDS),
        unit: "seconds",
        help: "Duration of calls of tools",
        labels: &[TOOL, text_label("name")],
        rules: &[Rule::ToolCall(|call, fact| {
            if let Some(duration_us) = call.duration_us {
                fact.observe([Label::Tool, Label::Text(call.name)], duration_us);
            }
        })],
        ..EVERY
    },
];

pub(in crate::catalogue) const FINDINGS: &[Family] = &[
    Family {
        name: "muster_findings_total",
        help: "Findings that runs reported, by severity and what became of them",
        labels: &[TOOL, SEVERITY, word_label("state")],
        rules: &[Rule::Finding(|finding, fact| {
            let labels =
                [Label::Tool, severity(finding.severity).into(), finding_change(finding.change).into()];
            fact.add(labels, at_least_one(finding.count));
        })],
        ..EVERY
    },
    Family {
        name: "muster_findings_autofixed_total",
        help: "Findings fixed automatically, as the tool's own log counts them",
        rules: &[Rule::FindingsFixed(|fixed, fact| fact.add([Label::Tool], fixed.count))],
        ..EVERY
    },
    Family {
        name: "muster_active_findings",
        kind: GAUGE,
        help: "Findings that stand now",
        labels: &[TOOL, SEVERITY],
        rules: &[Rule::ActiveFindings(|active, fact| {
            fact.set([Label::Tool, word::CRITICAL.into()], active.critical as f64);
            fact.set([Label::Tool, word::HIGH.into()], active.high as f64);
            fact.set([Label::Tool, word::MEDIUM.into()], active.medium as f64);
            fact.set([Label::Tool, word::LOW.into()], active.low as f64);
        })],
        ..EVERY
    },
];

pub(in crate::catalogue) const GATES: &[Family] = &[
    Family {
        name: "muster_file_changes_total",
        help: "File changes that the tool saw",
        labels: &[TOOL, word_label("change")],
        rules: &[Rule::FileActivity(|file, fact| {
            fact.add([Label::Tool, file_change(file.change).into()], at_least_one(file.count));
        })],
        ..EVERY
    },
    Family {
        name: "muster_pushes_checked_total",
        help: "Pushes and commits that a gate checked, by result",
        labels: &[TOOL, word_label("gate"), word_label("result")],
        rules: &[Rule::PushChecked(|push, fact| {
            let result = if push.allowed { word::ALLOWED } else { word::BLOCKED };
            fact.add([Label::Tool, push_gate(push.gate).into(), result.into()], 1);
        })],
        ..EVERY
    },
    Family {
        name: "muster_bad_pushes_prevented_total",
        help: "Pushes and commits stopped that would have failed in CI",
        labels: &[TOOL, word_label("gate")],
        rules: &[Rule::PushChecked(|push, fact| {
            fact.add([Label::Tool, push_gate(push.gate).into()], u64::from(push.prevented_bad_push));
        })],
        ..EVERY
    },
];
