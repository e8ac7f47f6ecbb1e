//! What a collector would know after a source's facts: plain sums and last values.

use std::collections::{BTreeMap, BTreeSet};

use muster::batch::BatchView;
use muster::v1::event::Kind;
use muster::v1::{
    ActiveFindings, FindingChange, PushGate, ResourceSample, ResourceScope, RunStatus, TimeSavedKind,
    ToolSettings, ToolState, attribute,
};

/// Runs of a worker.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Runs {
    pub success: u64,
    pub failure: u64,
    pub error: u64,
    pub skipped: u64,
    pub replayed: u64,
    pub durations_ms: Vec<(f64, u64)>,
    pub last: Option<LastRun>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LastRun {
    pub status: &'static str,
    pub duration_ms: Option<f64>,
    pub time_s: f64,
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Pushes {
    pub total: u64,
    pub allowed: u64,
    pub prevented: u64,
    pub reasons: BTreeMap<String, u64>,
}

/// A log record: name and attributes.
pub(crate) type Log = (String, BTreeMap<String, String>);

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Reading {
    pub runs: BTreeMap<String, Runs>,
    pub run_ids: BTreeSet<u64>,
    pub findings: BTreeMap<String, u64>,
    pub findings_by_severity: BTreeMap<i32, u64>,
    pub dismissed: u64,
    pub fixed: u64,
    pub active: Option<ActiveFindings>,
    pub depths: BTreeMap<String, u64>,
    pub depth_facts: u64,
    pub files_changed: u64,
    pub files: BTreeSet<String>,
    pub files_watched: Option<u64>,
    pub bus_events: u64,
    pub latencies_ms: Vec<f64>,
    pub pushes: Pushes,
    pub commits: Pushes,
    pub roundtrips_prevented: u64,
    pub build_saved_s: f64,
    pub developer_saved_s: f64,
    pub tool_samples: Vec<ResourceSample>,
    pub worker_samples: BTreeMap<String, ResourceSample>,
    pub disk_bytes: u64,
    pub tool: Option<ToolState>,
    pub settings: Option<(Vec<String>, ToolSettings)>,
    pub logs: Vec<Log>,
    pub parse_errors: u64,
    pub read_errors: u64,
    pub records_skipped: u64,
    pub newest_data_us: u64,
    pub ended: u64,
    pub version: String,
}

impl Reading {
    pub(crate) fn fold(&mut self, batch: &BatchView<'_>) {
        for event in batch.events() {
            let kind = event.kind.expect("a known kind");
            self.version = batch.source(event.source).expect("a source").tool_version.to_owned();
            self.fold_event(batch, kind, event.weight, event.time.as_secs_f64());
        }
    }

    fn fold_event(&mut self, batch: &BatchView<'_>, kind: &Kind, weight: u64, time_s: f64) {
        let text = |index: u32| batch.text(index).to_owned();
        match kind {
            Kind::RunFinished(run) => {
                let runs = self.runs.entry(text(run.worker)).or_default();
                let status = match run.status() {
                    RunStatus::Success => "success",
                    RunStatus::Failure => "failure",
                    RunStatus::Error => "error",
                    RunStatus::Skipped => "skipped",
                    RunStatus::Unspecified => panic!("a run without a status"),
                };
                match run.status() {
                    RunStatus::Failure => runs.failure += weight,
                    RunStatus::Error => runs.error += weight,
                    RunStatus::Skipped => runs.skipped += weight,
                    _ => runs.success += weight,
                }
                runs.replayed += u64::from(run.replayed);
                let duration_ms = run.duration_us.map(|us| us as f64 / 1e3);
                runs.durations_ms.extend(duration_ms.map(|ms| (ms, weight)));
                runs.last = Some(LastRun { status, duration_ms, time_s });
                assert!(run.run_id == 0 || self.run_ids.insert(run.run_id), "run {} twice", run.run_id);
            }
            Kind::Finding(finding) if finding.change() == FindingChange::Dismissed => {
                self.dismissed += weight
            }
            Kind::Finding(finding) => {
                assert_eq!(weight, 1, "findings are never thinned");
                let count = u64::from(finding.count.max(1));
                let key = format!("{}/{}", text(finding.worker), text(finding.native_severity));
                *self.findings.entry(key).or_default() += count;
                *self.findings_by_severity.entry(finding.severity).or_default() += count;
                self.files.insert(text(finding.file));
            }
            Kind::FindingsFixed(fixed) => self.fixed += fixed.count,
            Kind::ActiveFindings(active) => self.active = Some(*active),
            Kind::QueueDepth(depth) => {
                self.depth_facts += 1;
                self.depths.insert(text(depth.worker), depth.depth);
            }
            Kind::FileActivity(activity) => {
                self.files_changed += u64::from(activity.count) * weight;
                self.files.insert(text(activity.file));
            }
            Kind::FilesWatched(watched) => self.files_watched = Some(watched.count),
            Kind::BusEvents(events) => {
                self.bus_events += u64::from(events.count) * weight;
                self.latencies_ms.extend(events.latency_us.map(|us| us as f64 / 1e3));
            }
            Kind::PushChecked(push) => self.fold_push(push.gate(), push, text(push.reason)),
            Kind::TimeSaved(saved) => match saved.kind() {
                TimeSavedKind::Build => self.build_saved_s += saved.saved_us as f64 / 1e6,
                _ => self.developer_saved_s += saved.saved_us as f64 / 1e6,
            },
            Kind::ResourceSample(sample) => {
                self.disk_bytes += sample.disk_io_bytes.unwrap_or(0);
                match sample.scope() {
                    ResourceScope::Worker => drop(self.worker_samples.insert(text(sample.worker), *sample)),
                    _ => self.tool_samples.push(*sample),
                }
            }
            Kind::ToolState(state) => self.tool = Some(*state),
            Kind::ToolSettings(settings) => {
                let names = settings.disabled_metrics.iter().map(|&name| text(name)).collect();
                self.settings = Some((names, settings.clone()));
            }
            Kind::LogRecord(record) => {
                let value = |value: &Option<attribute::Value>| match value {
                    Some(attribute::Value::Text(index)) => text(*index),
                    Some(attribute::Value::Integer(integer)) => integer.to_string(),
                    Some(attribute::Value::Truth(truth)) => truth.to_string(),
                    other => format!("{other:?}"),
                };
                let attributes = record.attributes.iter().map(|a| (text(a.key), value(&a.value))).collect();
                self.logs.push((text(record.name), attributes));
            }
            Kind::SourceHealth(health) => {
                self.parse_errors += health.parse_errors;
                self.read_errors += health.read_errors;
                self.records_skipped += health.records_skipped;
                self.newest_data_us = health.newest_data_time_us;
            }
            Kind::SourceEnded(_) => self.ended += 1,
            other => panic!("DevLoop does not tell {other:?}"),
        }
    }

    fn fold_push(&mut self, gate: PushGate, push: &muster::v1::PushChecked, reason: String) {
        let pushes = match gate {
            PushGate::PrePush => &mut self.pushes,
            PushGate::PreCommit => &mut self.commits,
            PushGate::Unspecified => {
                self.roundtrips_prevented += u64::from(push.prevented_bad_push);
                return;
            }
        };
        pushes.total += 1;
        pushes.allowed += u64::from(push.allowed);
        pushes.prevented += u64::from(push.prevented_bad_push);
        if !push.allowed && !reason.is_empty() {
            *pushes.reasons.entry(reason).or_default() += 1;
        }
    }

    /// All runs of all workers.
    pub(crate) fn run_count(&self) -> u64 {
        self.runs.values().map(|runs| runs.success + runs.skipped + runs.failure + runs.error).sum()
    }

    /// Log records of a name.
    pub(crate) fn logs_named(&self, name: &str) -> Vec<&BTreeMap<String, String>> {
        self.logs.iter().filter(|(of, _)| of == name).map(|(_, attributes)| attributes).collect()
    }
}
