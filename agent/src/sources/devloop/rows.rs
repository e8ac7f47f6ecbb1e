//! Rows of events.db, and lines that tell the same, to facts. Pure.
//!
//! | row | facts |
//! |---|---|
//! | any | `BusEvents` with the time it took to be stored |
//! | `file:*` | `FileActivity` |
//! | `agent:NAME:completed` | `RunFinished`, a `Finding` for each severity, and the new word on its file for `ActiveFindings` |
//! | the same, with errors in a success | `LogRecord` |
//! | `agent:resource_limit_*`, `pipeline:NAME:completed` | `LogRecord` |
//!
//! A run's status follows contracts/devloop.md section 2.3: `success` as DevLoop says; `error` when the worker itself
//! broke (an error and no message; its duration is a made-up constant and left out); any other is `failure`. A success
//! that did nothing is `skipped`; a failure that did nothing stays one.

use muster::clock::WallTime;
use muster::v1::event::Kind;
use muster::v1::{
    BusEvents, FileActivity, FileChange, Finding, FindingChange, LogSeverity, RunFinished, RunStatus,
};
use serde_json::Value;

use super::active::{ActiveIssues, Verdict, place};
use super::issues;
use super::report::{Detail, Report};
use super::seen::{REPLAY_AGE, RowId};

/// A row of the table `events`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// SQLite's own number.
    pub rowid: i64,
    /// Short form of the column `id`.
    pub id: RowId,
    /// Column `type`.
    pub kind: String,
    /// When the event was made.
    pub made: Option<WallTime>,
    /// When it was stored.
    pub stored: Option<WallTime>,
    /// The payload's JSON; `None` when it is too large to be read.
    pub payload: Option<Vec<u8>>,
}

/// A finished run, whoever told it.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub worker: &'a str,
    pub success: bool,
    pub message: &'a str,
    /// The worker's error text is set.
    pub error: bool,
    pub duration_us: Option<u64>,
    pub data: &'a Value,
    /// 0 when nobody gave the run an id.
    pub run_id: u64,
    /// What the sample is chosen by.
    pub sample_key: u64,
    pub replayed: bool,
}

/// Starts of the messages of runs that had nothing to do (contracts/devloop.md section 2.2).
const NOTHING_DONE: [&str; 11] = [
    "Skipped ",
    "Excluded file",
    "No linter configured",
    "No formatter configured",
    "No test framework configured",
    "No tests found",
    "No file path",
    "File too small",
    "File does not exist",
    "Run on save disabled",
    "Formatter disabled",
];

impl Row {
    /// How long it took to be stored.
    pub(super) fn latency_us(&self) -> Option<u64> {
        Some(self.stored?.0.saturating_sub(self.made?.0))
    }

    /// It was stored so long after it was made that it was stored again.
    pub(super) fn is_replayed(&self) -> bool {
        self.latency_us().is_some_and(|us| u128::from(us) > REPLAY_AGE.as_micros())
    }
}

/// States what a new row says. `run_is_counted`: its run was already told by another file.
pub(super) fn state(row: &Row, run_is_counted: bool, active: &mut ActiveIssues, report: &mut Report<'_>) {
    let time = report.time(row.made);
    if let Some(weight) = report.sampling.weight_of(row.id.0) {
        let latency_us = row.latency_us();
        report.facts.push_weighted(time, weight, Kind::BusEvents(BusEvents { count: 1, latency_us }));
    }
    let payload: Value = match row.payload.as_deref().map(serde_json::from_slice) {
        Some(Ok(payload)) => payload,
        Some(Err(_)) => {
            report.health.parse_errors += 1;
            return;
        }
        None => {
            report.health.records_skipped += 1;
            return;
        }
    };
    if let Some(change) = row.kind.strip_prefix("file:") {
        state_file(row, change, &payload, time, report);
    } else if let Some(change) = row.kind.strip_prefix("agent:resource_limit_") {
        state_resource_limit(change, &payload, time, report);
    } else if let Some(worker) = between(&row.kind, "agent:", ":completed") {
        if run_is_counted {
            return;
        }
        if !payload.is_object() {
            report.health.parse_errors += 1;
            return;
        }
        let run = Run {
            worker: payload["agent_name"].as_str().unwrap_or(worker),
            success: payload["success"].as_bool().unwrap_or(false),
            message: payload["message"].as_str().unwrap_or(""),
            error: payload["error"].as_str().is_some_and(|error| !error.is_empty()),
            duration_us: payload["duration"].as_f64().and_then(duration_us),
            data: &payload["data"],
            run_id: row.id.0,
            sample_key: row.id.0,
            replayed: row.is_replayed(),
        };
        state_run(&run, time, active, report);
    } else if let Some(pipeline) = between(&row.kind, "pipeline:", ":completed") {
        state_pipeline(pipeline, &payload, time, report);
    }
}

/// States a run, its findings, and notes what stands.
pub(super) fn state_run(run: &Run<'_>, time: WallTime, active: &mut ActiveIssues, report: &mut Report<'_>) {
    let status = status(run);
    let thinned = matches!(status, RunStatus::Success | RunStatus::Skipped);
    let weight = if thinned { report.sampling.weight_of(run.sample_key) } else { Some(1) };
    let worker = report.facts.word(run.worker);
    if let Some(weight) = weight {
        let finished = RunFinished {
            worker,
            status: status.into(),
            duration_us: run.duration_us.filter(|_| status != RunStatus::Error),
            run_id: run.run_id,
            replayed: run.replayed,
            ..RunFinished::default()
        };
        report.facts.push_weighted(time, weight, Kind::RunFinished(finished));
    }
    let file = run.data["file"].as_str();
    let mut counts = [0u32; 4];
    for found in issues::found(run.worker, run.data) {
        let severity = issues::severity(run.worker, &found.native);
        let standing = &mut counts[place(severity)];
        *standing = standing.saturating_add(found.count);
        let finding = Finding {
            worker,
            severity: severity.into(),
            change: FindingChange::Found.into(),
            count: found.count,
            native_severity: report.facts.word(&found.native),
            file: file.map_or(0, |file| report.facts.file(file)),
        };
        report.facts.push(time, Kind::Finding(finding));
    }
    state_degraded(run, time, report);
    if let Some(file) = file {
        let key = RowId::of(format!("{}\0{file}", run.worker).as_bytes());
        active.note(key.0, Verdict { counts, time });
    }
}

/// A checker that could not check says so in `errors` and calls it a success (contracts/devloop.md section 2.2).
fn state_degraded(run: &Run<'_>, time: WallTime, report: &mut Report<'_>) {
    let errors = run.data["errors"].as_array().map_or(0, Vec::len);
    if run.success && errors > 0 {
        let errors = Detail::Integer(i64::try_from(errors).unwrap_or(i64::MAX));
        let details = [("worker", Detail::Word(run.worker)), ("errors", errors)];
        report.log(time, "devloop.run_degraded", LogSeverity::Warn, &details);
    }
}

fn status(run: &Run<'_>) -> RunStatus {
    let did_nothing = NOTHING_DONE.iter().any(|start| run.message.starts_with(start));
    match (run.success, did_nothing) {
        (true, true) => RunStatus::Skipped,
        (true, false) => RunStatus::Success,
        (false, _) if run.error && run.message.is_empty() => RunStatus::Error,
        (false, _) => RunStatus::Failure,
    }
}

fn state_file(row: &Row, change: &str, payload: &Value, time: WallTime, report: &mut Report<'_>) {
    let Some(weight) = report.sampling.weight_of(row.id.0) else { return };
    let change = match change {
        "created" => FileChange::Created,
        "modified" => FileChange::Modified,
        "deleted" => FileChange::Deleted,
        "moved" => FileChange::Moved,
        _ => FileChange::Unspecified,
    };
    let file = payload["path"].as_str().map_or(0, |path| report.facts.file(path));
    let activity = FileActivity { change: change.into(), count: 1, file };
    report.facts.push_weighted(time, weight, Kind::FileActivity(activity));
}

fn state_resource_limit(change: &str, payload: &Value, time: WallTime, report: &mut Report<'_>) {
    let (name, severity) = match change {
        "exceeded" => ("devloop.resource_limit_exceeded", LogSeverity::Warn),
        "resumed" => ("devloop.resource_limit_resumed", LogSeverity::Info),
        _ => return,
    };
    let worker = payload["agent_name"].as_str().unwrap_or("");
    let mut details = vec![("worker", Detail::Word(worker))];
    if let Some(action) = payload["action"].as_str() {
        details.push(("action", Detail::Word(action)));
    }
    report.log(time, name, severity, &details);
}

fn state_pipeline(pipeline: &str, payload: &Value, time: WallTime, report: &mut Report<'_>) {
    let success = payload["success"].as_bool().unwrap_or(false);
    let duration_us = payload["duration"].as_f64().and_then(duration_us).unwrap_or(0);
    let stages = payload["stages"].as_array().map_or(0, Vec::len);
    let short = payload["short_circuited"].as_bool().unwrap_or(false);
    let severity = if success { LogSeverity::Info } else { LogSeverity::Warn };
    let details = [
        ("pipeline", Detail::Word(pipeline)),
        ("success", Detail::Truth(success)),
        ("duration_us", Detail::Integer(i64::try_from(duration_us).unwrap_or(i64::MAX))),
        ("stages", Detail::Integer(i64::try_from(stages).unwrap_or(i64::MAX))),
        ("short_circuited", Detail::Truth(short)),
    ];
    report.log(time, "devloop.pipeline_completed", severity, &details);
}

/// Seconds to microseconds; `None` for what is no duration.
pub(super) fn duration_us(seconds: f64) -> Option<u64> {
    // Up, so that a run just over the bound of a bucket stays over it; less a hair, which is the product's own error.
    (seconds >= 0.0 && seconds.is_finite()).then(|| (seconds * 1e6 - 1e-3).ceil() as u64)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.strip_prefix(start)?.strip_suffix(end)
}
