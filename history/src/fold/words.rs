//! The words of the columns, by the wire's numbers. They are those of the metrics' labels.

use muster::v1;

use super::texts::TextId;

macro_rules! words {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// Every word of ours. A word's place is also its number among the texts of every fold.
        pub(super) const WORDS: &[&str] = &[$($text),*];

        /// The words by name.
        pub(super) mod word {
            use super::TextId;
            #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "numbers the constants below")]
            enum Number { $($name),* }
            $(pub(in crate::fold) const $name: TextId = TextId(Number::$name as u32);)*
        }
    };
}

words! {
    UNKNOWN = "unknown", SUCCESS = "success", FAILURE = "failure", ERROR = "error", SKIPPED = "skipped",
    STOPPED = "stopped", RUNNING = "running", PAUSED = "paused", CRITICAL = "critical", HIGH = "high", MEDIUM
    = "medium", LOW = "low", DEBUG = "debug", INFO = "info", WARN = "warn", FOUND = "found", FIXED = "fixed",
    DISMISSED = "dismissed", CREATED = "created", MODIFIED = "modified", DELETED = "deleted", MOVED = "moved",
    PRE_PUSH = "pre_push", PRE_COMMIT = "pre_commit", PREVENTED = "prevented", ALLOWED = "allowed", TOOL =
    "tool", WORKER = "worker", PROCESS_TREE = "process_tree", MACHINE = "machine", DEVELOPER = "developer",
    BUILD = "build", LOGS = "logs", METRICS = "metrics", TRACES = "traces", RUN_STARTED = "run_started",
    FINDING = "finding", FINDINGS_FIXED = "findings_fixed", FILE_ACTIVITY = "file_activity", PUSH_CHECKED =
    "push_checked", TOOL_CALL = "tool_call", TIME_SAVED = "time_saved", LINES_RECORDED = "lines_recorded",
    BUS_EVENTS = "bus_events", SOURCE_ENDED = "source_ended", TOOL_SETTINGS = "tool_settings", LOG = "log",
    OTLP = "otlp", MODELLED = "modelled", MEASURED = "measured", SESSION_STATUS = "session_status",
    SESSION_ITERATION = "session_iteration", SESSION_ITERATION_MAX = "session_iteration_max",
    SESSION_STARTED_TIME_US = "session_started_time_us", SESSIONS_LIVE = "sessions_live", SESSION_PHASE =
    "session_phase", QUEUE_DEPTH = "queue_depth", TASKS_PENDING = "tasks_pending", TASKS_IN_PROGRESS =
    "tasks_in_progress", TASKS_COMPLETED = "tasks_completed", TASKS_FAILED = "tasks_failed", TASKS_REVIEW =
    "tasks_review", WORKERS_ACTIVE = "workers_active", WORKERS_REGISTERED = "workers_registered",
    ACTIVE_FINDINGS_CRITICAL = "active_findings_critical", ACTIVE_FINDINGS_HIGH = "active_findings_high",
    ACTIVE_FINDINGS_MEDIUM = "active_findings_medium", ACTIVE_FINDINGS_LOW = "active_findings_low",
    FILES_WATCHED = "files_watched", COST_USD = "cost_usd", BUDGET_LIMIT_USD = "budget_limit_usd",
    BUDGET_USED_USD = "budget_used_usd", BUDGET_EXCEEDED = "budget_exceeded", CPU_PERCENT = "cpu_percent",
    MEMORY_BYTES = "memory_bytes", DISK_IO_BYTES = "disk_io_bytes", MEMORY_TOTAL_BYTES = "memory_total_bytes",
    PROCESSES = "processes", NEWEST_DATA_TIME_US = "newest_data_time_us", PARSE_ERRORS = "parse_errors",
    RESCANS = "rescans", RECORDS_SKIPPED = "records_skipped", READ_ERRORS = "read_errors",
}

pub(super) fn run_status(status: i32) -> TextId {
    match v1::RunStatus::try_from(status) {
        Ok(v1::RunStatus::Success) => word::SUCCESS,
        Ok(v1::RunStatus::Failure) => word::FAILURE,
        Ok(v1::RunStatus::Error) => word::ERROR,
        Ok(v1::RunStatus::Skipped) => word::SKIPPED,
        Ok(v1::RunStatus::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn session_status(status: i32) -> TextId {
    match v1::SessionStatus::try_from(status) {
        Ok(v1::SessionStatus::Stopped) => word::STOPPED,
        Ok(v1::SessionStatus::Running) => word::RUNNING,
        Ok(v1::SessionStatus::Paused) => word::PAUSED,
        Ok(v1::SessionStatus::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn severity(severity: i32) -> TextId {
    match v1::Severity::try_from(severity) {
        Ok(v1::Severity::Critical) => word::CRITICAL,
        Ok(v1::Severity::High) => word::HIGH,
        Ok(v1::Severity::Medium) => word::MEDIUM,
        Ok(v1::Severity::Low) => word::LOW,
        Ok(v1::Severity::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn log_severity(severity: i32) -> TextId {
    match v1::LogSeverity::try_from(severity) {
        Ok(v1::LogSeverity::Debug) => word::DEBUG,
        Ok(v1::LogSeverity::Info) => word::INFO,
        Ok(v1::LogSeverity::Warn) => word::WARN,
        Ok(v1::LogSeverity::Error) => word::ERROR,
        Ok(v1::LogSeverity::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn finding_change(change: i32) -> TextId {
    match v1::FindingChange::try_from(change) {
        Ok(v1::FindingChange::Found) => word::FOUND,
        Ok(v1::FindingChange::Fixed) => word::FIXED,
        Ok(v1::FindingChange::Dismissed) => word::DISMISSED,
        Ok(v1::FindingChange::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn file_change(change: i32) -> TextId {
    match v1::FileChange::try_from(change) {
        Ok(v1::FileChange::Created) => word::CREATED,
        Ok(v1::FileChange::Modified) => word::MODIFIED,
        Ok(v1::FileChange::Deleted) => word::DELETED,
        Ok(v1::FileChange::Moved) => word::MOVED,
        Ok(v1::FileChange::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn push_gate(gate: i32) -> TextId {
    match v1::PushGate::try_from(gate) {
        Ok(v1::PushGate::PrePush) => word::PRE_PUSH,
        Ok(v1::PushGate::PreCommit) => word::PRE_COMMIT,
        Ok(v1::PushGate::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

/// What a gate did. What would have failed in CI was prevented, whatever else is said of it.
pub(super) fn push_outcome(push: &v1::PushChecked) -> TextId {
    match (push.prevented_bad_push, push.allowed) {
        (true, _) => word::PREVENTED,
        (false, true) => word::ALLOWED,
        (false, false) => word::STOPPED,
    }
}

pub(super) fn resource_scope(scope: i32) -> TextId {
    match v1::ResourceScope::try_from(scope) {
        Ok(v1::ResourceScope::Tool) => word::TOOL,
        Ok(v1::ResourceScope::Worker) => word::WORKER,
        Ok(v1::ResourceScope::ProcessTree) => word::PROCESS_TREE,
        Ok(v1::ResourceScope::Machine) => word::MACHINE,
        Ok(v1::ResourceScope::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn time_saved_kind(kind: i32) -> TextId {
    match v1::TimeSavedKind::try_from(kind) {
        Ok(v1::TimeSavedKind::Developer) => word::DEVELOPER,
        Ok(v1::TimeSavedKind::Build) => word::BUILD,
        Ok(v1::TimeSavedKind::Unspecified) | Err(_) => word::UNKNOWN,
    }
}

pub(super) fn otlp_signal(signal: i32) -> TextId {
    match v1::OtlpSignal::try_from(signal) {
        Ok(v1::OtlpSignal::Logs) => word::LOGS,
        Ok(v1::OtlpSignal::Metrics) => word::METRICS,
        Ok(v1::OtlpSignal::Traces) => word::TRACES,
        Ok(v1::OtlpSignal::Unspecified) | Err(_) => word::UNKNOWN,
    }
}
