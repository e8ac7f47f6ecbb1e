//! Words for the wire's enumerations: the same as the metrics' label values. A number that a newer agent sent is
//! `unknown`; what the agent left unspecified is no word.

use muster::v1;

const UNKNOWN: &str = "unknown";

pub(super) fn run_status(status: i32) -> &'static str {
    match v1::RunStatus::try_from(status) {
        Ok(v1::RunStatus::Success) => "success",
        Ok(v1::RunStatus::Failure) => "failure",
        Ok(v1::RunStatus::Error) => "error",
        Ok(v1::RunStatus::Skipped) => "skipped",
        Ok(v1::RunStatus::Unspecified) => "",
        Err(_) => UNKNOWN,
    }
}

pub(super) fn session_status(status: i32) -> &'static str {
    match v1::SessionStatus::try_from(status) {
        Ok(v1::SessionStatus::Stopped) => "stopped",
        Ok(v1::SessionStatus::Running) => "running",
        Ok(v1::SessionStatus::Paused) => "paused",
        Ok(v1::SessionStatus::Unspecified) => "",
        Err(_) => UNKNOWN,
    }
}

pub(super) fn severity(severity: i32) -> &'static str {
    match v1::Severity::try_from(severity) {
        Ok(v1::Severity::Critical) => "critical",
        Ok(v1::Severity::High) => "high",
        Ok(v1::Severity::Medium) => "medium",
        Ok(v1::Severity::Low) => "low",
        Ok(v1::Severity::Unspecified) => "",
        Err(_) => UNKNOWN,
    }
}

pub(super) fn finding_state(change: i32) -> &'static str {
    match v1::FindingChange::try_from(change) {
        Ok(v1::FindingChange::Found) => "found",
        Ok(v1::FindingChange::Fixed) => "fixed",
        Ok(v1::FindingChange::Dismissed) => "dismissed",
        Ok(v1::FindingChange::Unspecified) => "",
        Err(_) => UNKNOWN,
    }
}

pub(super) fn file_change(change: i32) -> &'static str {
    match v1::FileChange::try_from(change) {
        Ok(v1::FileChange::Created) => "created",
        Ok(v1::FileChange::Modified) => "modified",
        Ok(v1::FileChange::Deleted) => "deleted",
        Ok(v1::FileChange::Moved) => "moved",
        Ok(v1::FileChange::Unspecified) => "",
        Err(_) => UNKNOWN,
    }
}

pub(super) fn push_gate(gate: i32) -> &'static str {
    match v1::PushGate::try_from(gate) {
        Ok(v1::PushGate::PrePush) => "pre_push",
        Ok(v1::PushGate::PreCommit) => "pre_commit",
        Ok(v1::PushGate::Unspecified) => "",
        Err(_) => UNKNOWN,
    }
}

pub(super) fn resource_scope(scope: i32) -> &'static str {
    match v1::ResourceScope::try_from(scope) {
        Ok(v1::ResourceScope::Tool) => "tool",
        Ok(v1::ResourceScope::Worker) => "worker",
        Ok(v1::ResourceScope::ProcessTree) => "process_tree",
        Ok(v1::ResourceScope::Machine) => "machine",
        Ok(v1::ResourceScope::Unspecified) => "",
        Err(_) => UNKNOWN,
    }
}

pub(super) fn time_saved_kind(kind: i32) -> &'static str {
    match v1::TimeSavedKind::try_from(kind) {
        Ok(v1::TimeSavedKind::Developer) => "developer",
        Ok(v1::TimeSavedKind::Build) => "build",
        Ok(v1::TimeSavedKind::Unspecified) => "",
        Err(_) => UNKNOWN,
    }
}

/// `os.type` of the semantic conventions.
pub(super) fn os_type(os: &str) -> &str {
    if os == "macos" { "darwin" } else { os }
}
