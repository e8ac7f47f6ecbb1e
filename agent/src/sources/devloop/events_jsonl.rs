//! Lines of events.jsonl to facts. Pure.
//!
//! The file is written only by foreground runs and by the git hooks, each in its own form: the hooks put their fields at
//! the top, the Python writer puts them into `details` (contracts/devloop.md section 1.4). It is the only place that
//! tells of pushes. It also tells of runs, but events.db does so better; runs are taken from here only where no
//! database has ever been.
//!
//! | line | facts |
//! |---|---|
//! | `pre_push_check`, `pre_commit_check` | `PushChecked`; a prevented bad push also saves build time |
//! | `ci_roundtrip_prevented` | `PushChecked` of no gate, and build time |
//! | `value_event` | developer time |
//! | `agent_executed` | a run, where there is no database |
//! | any other with a name | `LogRecord` |

use muster::clock::WallTime;
use muster::v1::event::Kind;
use muster::v1::{LogSeverity, PushChecked, PushGate, TimeSaved, TimeSavedKind};
use serde_json::Value;

use super::active::ActiveIssues;
use super::report::Report;
use super::rows::{Run, state_run};
use super::seen::RowId;
use super::times;

/// What a prevented CI roundtrip is worth: DevLoop's own model has 15 minutes (contracts/devloop.md section 2.3).
const ROUNDTRIP_US: u64 = 15 * 60 * 1_000_000;

/// How lines are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Runs are counted from here.
    pub count_runs: bool,
    /// The file was rewritten: lines up to this time were counted before.
    pub counted_through: Option<WallTime>,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// Newest believable time of a line.
    pub newest: WallTime,
    /// Newest time of a run that was counted.
    pub newest_run: Option<WallTime>,
}

/// States what whole lines say.
pub(super) fn state(
    bytes: &[u8],
    reading: Reading,
    active: &mut ActiveIssues,
    report: &mut Report<'_>,
) -> Read {
    let mut read = Read::default();
    for line in bytes.split(|&byte| byte == b'\n') {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<Value>(line) {
            Ok(Value::Object(fields)) => {
                state_line(&Value::Object(fields), line, reading, &mut read, active, report)
            }
            _ => report.health.parse_errors += 1,
        }
    }
    read
}

fn state_line(
    line: &Value,
    bytes: &[u8],
    reading: Reading,
    read: &mut Read,
    active: &mut ActiveIssues,
    report: &mut Report<'_>,
) {
    let stated = line["timestamp"].as_str().and_then(times::from_text);
    if let (Some(through), Some(stated)) = (reading.counted_through, stated)
        && stated <= through
    {
        return;
    }
    let time = report.time(stated);
    if stated.is_some() {
        read.newest = read.newest.max(time.min(report.now));
    }
    match line["event_type"].as_str().unwrap_or("") {
        "agent_executed" if reading.count_runs => {
            state_executed(line, bytes, time, active, report);
            read.newest_run = read.newest_run.max(Some(time.min(report.now)));
        }
        "agent_executed" | "" => {}
        "pre_push_check" => state_gate(PushGate::PrePush, line, time, report),
        "pre_commit_check" => state_gate(PushGate::PreCommit, line, time, report),
        "ci_roundtrip_prevented" => state_prevented(PushGate::Unspecified, line, time, report),
        "value_event" => state_value(line, time, report),
        other => report.log(time, &format!("devloop.{other}"), LogSeverity::Info, &[]),
    }
}

/// A field at the top of a line, or else in its details.
fn field<'a>(line: &'a Value, name: &str) -> &'a Value {
    if line[name].is_null() { &line["details"][name] } else { &line[name] }
}

fn state_gate(gate: PushGate, line: &Value, time: WallTime, report: &mut Report<'_>) {
    let allowed = field(line, "success").as_bool().unwrap_or(false);
    let prevented = field(line, "prevented_bad_push").as_bool().unwrap_or(false);
    if prevented && !allowed {
        state_prevented(gate, line, time, report);
    } else {
        let reason = report.facts.word(field(line, "reason").as_str().unwrap_or(""));
        let checked = PushChecked { gate: gate.into(), allowed, prevented_bad_push: false, reason };
        report.facts.push(time, Kind::PushChecked(checked));
    }
}

fn state_prevented(gate: PushGate, line: &Value, time: WallTime, report: &mut Report<'_>) {
    let reason = report.facts.word(field(line, "reason").as_str().unwrap_or(""));
    let checked = PushChecked { gate: gate.into(), allowed: false, prevented_bad_push: true, reason };
    report.facts.push(time, Kind::PushChecked(checked));
    let saved = TimeSaved { kind: TimeSavedKind::Build.into(), saved_us: ROUNDTRIP_US, modelled: true };
    report.facts.push(time, Kind::TimeSaved(saved));
}

fn state_value(line: &Value, time: WallTime, report: &mut Report<'_>) {
    let saved_us = line["duration_ms"].as_u64().unwrap_or(0).saturating_mul(1_000);
    if saved_us > 0 {
        let saved = TimeSaved { kind: TimeSavedKind::Developer.into(), saved_us, modelled: false };
        report.facts.push(time, Kind::TimeSaved(saved));
    }
}

fn state_executed(
    line: &Value,
    bytes: &[u8],
    time: WallTime,
    active: &mut ActiveIssues,
    report: &mut Report<'_>,
) {
    let details = &line["details"];
    let run = Run {
        worker: line["agent"].as_str().unwrap_or("unknown"),
        success: line["success"].as_bool().unwrap_or(false),
        message: details["message"].as_str().unwrap_or(""),
        error: false,
        duration_us: line["duration_ms"].as_u64().map(|ms| ms.saturating_mul(1_000)),
        data: details,
        run_id: 0,
        sample_key: RowId::of(bytes).0,
        replayed: false,
    };
    state_run(&run, time, active, report);
}
