//! Feedback and automatic fixes to facts. Pure.
//!
//! `feedback/feedback.jsonl` says which findings a person called none: `dismiss` and `thumbs_down`.
//! `backups/change_log.json` says what was fixed automatically; a fix that was rolled back is none.
//! `feedback/performance.json` is never read: it loses almost everything it counts (contracts/devloop.md section 0.6).

use muster::v1::event::Kind;
use muster::v1::{Finding, FindingChange, FindingsFixed, Severity};
use serde_json::Value;

use super::report::Report;
use super::seen::RowId;
use super::times;
use muster::clock::WallTime;

/// Most fixes that are remembered by id; the log itself is a handful of lines.
pub(super) const FIXES_MAX: usize = 512;

/// States the dismissals in whole lines. Answers the newest time.
pub(super) fn state(bytes: &[u8], counted_through: Option<WallTime>, report: &mut Report<'_>) -> WallTime {
    let mut newest = WallTime(0);
    for line in bytes.split(|&byte| byte == b'\n') {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let Ok(Value::Object(line)) = serde_json::from_slice(line) else {
            report.health.parse_errors += 1;
            continue;
        };
        let line = Value::Object(line);
        let stated = line["timestamp"].as_f64().and_then(times::from_epoch_seconds);
        if stated.is_some_and(|stated| counted_through.is_some_and(|through| stated <= through)) {
            continue;
        }
        let time = report.time(stated);
        newest = newest.max(time.min(report.now));
        if matches!(line["feedback_type"].as_str(), Some("dismiss" | "thumbs_down")) {
            let finding = Finding {
                worker: report.facts.word(line["agent_name"].as_str().unwrap_or("")),
                severity: Severity::Unspecified.into(),
                change: FindingChange::Dismissed.into(),
                count: 1,
                native_severity: 0,
                file: 0,
            };
            report.facts.push(time, Kind::Finding(finding));
        }
    }
    newest
}

/// States the fixes in a change log that are not in `known`, and adds them to it.
pub(super) fn state_fixes(bytes: &[u8], known: &mut Vec<u64>, report: &mut Report<'_>) {
    let Ok(log) = serde_json::from_slice::<Value>(bytes) else {
        report.health.parse_errors += 1;
        return;
    };
    let changes = log["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    // The log's newest entries are its last; those before the bound were counted while they were new.
    let mut fixed = 0;
    for change in &changes[changes.len().saturating_sub(FIXES_MAX)..] {
        let rolled_back = change["rolled_back"].as_bool().unwrap_or(false);
        let Some(id) = change["backup_id"].as_str().map(|id| RowId::of(id.as_bytes()).0) else { continue };
        if rolled_back || known.contains(&id) {
            continue;
        }
        if known.len() >= FIXES_MAX {
            known.remove(0);
        }
        known.push(id);
        fixed += 1;
    }
    if fixed > 0 {
        report.facts.push(report.now, Kind::FindingsFixed(FindingsFixed { count: fixed }));
    }
}
