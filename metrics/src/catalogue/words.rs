//! Label values that Muster itself chooses, and how the wire's enumerations become them.

use muster::v1;

/// A label value of the closed list. Its number is also its id in the text table of every aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Word(pub(crate) u32);

macro_rules! words {
    ($($name:ident = $text:literal,)*) => {
        /// Every word in the order in which pages sort them. The first is the empty text, "not known".
        pub(crate) const WORDS: &[&str] = &[$($text),*];

        /// The words by name.
        pub(crate) mod word {
            use super::Word;
            #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "numbers the constants below")]
            enum Number { $($name),* }
            $(pub(crate) const $name: Word = Word(Number::$name as u32);)*
        }
    };
}

words! {
    EMPTY = "",
    SUCCESS = "success", FAILURE = "failure", ERROR = "error", SKIPPED = "skipped",
    PENDING = "pending", IN_PROGRESS = "in_progress", COMPLETED = "completed", FAILED = "failed", REVIEW = "review",
    CRITICAL = "critical", HIGH = "high", MEDIUM = "medium", LOW = "low",
    FOUND = "found", FIXED = "fixed", DISMISSED = "dismissed",
    CREATED = "created", MODIFIED = "modified", DELETED = "deleted", MOVED = "moved",
    PRE_PUSH = "pre_push", PRE_COMMIT = "pre_commit",
    ALLOWED = "allowed", BLOCKED = "blocked",
    INPUT = "input", OUTPUT = "output", CACHE_READ = "cache_read", CACHE_WRITE = "cache_write", REASONING = "reasoning",
    REPORTED = "reported", COMPUTED = "computed",
    TOOL = "tool", WORKER = "worker", PROCESS_TREE = "process_tree", MACHINE = "machine",
    DEVELOPER = "developer", BUILD = "build",
    TRUE = "true", FALSE = "false",
    LOGS = "logs", METRICS = "metrics", TRACES = "traces",
    // What a newer agent said with a number that we do not know.
    UNKNOWN = "unknown",
    OVERFLOW = "__overflow__",
}

pub(super) fn run_status(status: i32) -> Word {
    match v1::RunStatus::try_from(status) {
        Ok(v1::RunStatus::Success) => word::SUCCESS,
        Ok(v1::RunStatus::Failure) => word::FAILURE,
        Ok(v1::RunStatus::Error) => word::ERROR,
        Ok(v1::RunStatus::Skipped) => word::SKIPPED,
        Ok(v1::RunStatus::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn severity(severity: i32) -> Word {
    match v1::Severity::try_from(severity) {
        Ok(v1::Severity::Critical) => word::CRITICAL,
        Ok(v1::Severity::High) => word::HIGH,
        Ok(v1::Severity::Medium) => word::MEDIUM,
        Ok(v1::Severity::Low) => word::LOW,
        Ok(v1::Severity::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn finding_change(change: i32) -> Word {
    match v1::FindingChange::try_from(change) {
        Ok(v1::FindingChange::Found) => word::FOUND,
        Ok(v1::FindingChange::Fixed) => word::FIXED,
        Ok(v1::FindingChange::Dismissed) => word::DISMISSED,
        Ok(v1::FindingChange::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn file_change(change: i32) -> Word {
    match v1::FileChange::try_from(change) {
        Ok(v1::FileChange::Created) => word::CREATED,
        Ok(v1::FileChange::Modified) => word::MODIFIED,
        Ok(v1::FileChange::Deleted) => word::DELETED,
        Ok(v1::FileChange::Moved) => word::MOVED,
        Ok(v1::FileChange::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn push_gate(gate: i32) -> Word {
    match v1::PushGate::try_from(gate) {
        Ok(v1::PushGate::PrePush) => word::PRE_PUSH,
        Ok(v1::PushGate::PreCommit) => word::PRE_COMMIT,
        Ok(v1::PushGate::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn resource_scope(scope: i32) -> Word {
    match v1::ResourceScope::try_from(scope) {
        Ok(v1::ResourceScope::Tool) => word::TOOL,
        Ok(v1::ResourceScope::Worker) => word::WORKER,
        Ok(v1::ResourceScope::ProcessTree) => word::PROCESS_TREE,
        Ok(v1::ResourceScope::Machine) => word::MACHINE,
        Ok(v1::ResourceScope::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn time_saved_kind(kind: i32) -> Word {
    match v1::TimeSavedKind::try_from(kind) {
        Ok(v1::TimeSavedKind::Developer) => word::DEVELOPER,
        Ok(v1::TimeSavedKind::Build) => word::BUILD,
        Ok(v1::TimeSavedKind::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn otlp_signal(signal: i32) -> Word {
    match v1::OtlpSignal::try_from(signal) {
        Ok(v1::OtlpSignal::Logs) => word::LOGS,
        Ok(v1::OtlpSignal::Metrics) => word::METRICS,
        Ok(v1::OtlpSignal::Traces) => word::TRACES,
        Ok(v1::OtlpSignal::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn truth(truth: bool) -> Word {
    if truth { word::TRUE } else { word::FALSE }
}

/// `loki_session_status`: 0 stopped, 1 running, 2 paused. `None` for what is not known.
pub(super) fn session_status(status: i32) -> Option<f64> {
    match v1::SessionStatus::try_from(status) {
        Ok(v1::SessionStatus::Stopped) => Some(0.0),
        Ok(v1::SessionStatus::Running) => Some(1.0),
        Ok(v1::SessionStatus::Paused) => Some(2.0),
        Ok(v1::SessionStatus::Unspecified) | Err(_) => None,
    }
}

/// Wire counts where 0 and 1 both mean one.
pub(super) fn at_least_one(count: u32) -> u64 {
    u64::from(count.max(1))
}
