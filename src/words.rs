//! The words that Muster itself chooses: label values of pages and cells of the history, and how the wire's enumerations
//! become them. A fact is called the same wherever it is read.

use crate::v1;

/// A word of the closed list. Its number is also that of its text wherever texts have numbers: [`WORDS`] come first there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word(pub u32);

macro_rules! words {
    ($($name:ident = $text:literal,)*) => {
        /// Every word. Pages sort label values by their place here. The first is the empty text, "not known".
        pub const WORDS: &[&str] = &[$($text),*];

        /// The words by name.
        pub mod word {
            use super::Word;
            #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "numbers the constants below")]
            enum Number { $($name),* }
            $(
                #[doc = concat!("`", $text, "`")]
                pub const $name: Word = Word(Number::$name as u32);
            )*
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
    // Those below are in the history alone.
    STOPPED = "stopped", RUNNING = "running", PAUSED = "paused",
    DEBUG = "debug", INFO = "info", WARN = "warn",
    PREVENTED = "prevented", MODELLED = "modelled", MEASURED = "measured",
    RUN_STARTED = "run_started", FINDING = "finding", FINDINGS_FIXED = "findings_fixed",
    FILE_ACTIVITY = "file_activity", PUSH_CHECKED = "push_checked", TOOL_CALL = "tool_call",
    TIME_SAVED = "time_saved", LINES_RECORDED = "lines_recorded", BUS_EVENTS = "bus_events",
    SOURCE_ENDED = "source_ended", TOOL_SETTINGS = "tool_settings", LOG = "log", OTLP = "otlp",
    SESSION_STATUS = "session_status", SESSION_ITERATION = "session_iteration",
    SESSION_ITERATION_MAX = "session_iteration_max", SESSION_STARTED_TIME_US = "session_started_time_us",
    SESSIONS_LIVE = "sessions_live", SESSION_PHASE = "session_phase", QUEUE_DEPTH = "queue_depth",
    TASKS_PENDING = "tasks_pending", TASKS_IN_PROGRESS = "tasks_in_progress", TASKS_COMPLETED = "tasks_completed",
    TASKS_FAILED = "tasks_failed", TASKS_REVIEW = "tasks_review",
    WORKERS_ACTIVE = "workers_active", WORKERS_REGISTERED = "workers_registered",
    ACTIVE_FINDINGS_CRITICAL = "active_findings_critical", ACTIVE_FINDINGS_HIGH = "active_findings_high",
    ACTIVE_FINDINGS_MEDIUM = "active_findings_medium", ACTIVE_FINDINGS_LOW = "active_findings_low",
    FILES_WATCHED = "files_watched", COST_USD = "cost_usd", BUDGET_LIMIT_USD = "budget_limit_usd",
    BUDGET_USED_USD = "budget_used_usd", BUDGET_EXCEEDED = "budget_exceeded",
    CPU_PERCENT = "cpu_percent", MEMORY_BYTES = "memory_bytes", DISK_IO_BYTES = "disk_io_bytes",
    MEMORY_TOTAL_BYTES = "memory_total_bytes", PROCESSES = "processes",
    NEWEST_DATA_TIME_US = "newest_data_time_us", PARSE_ERRORS = "parse_errors", RESCANS = "rescans",
    RECORDS_SKIPPED = "records_skipped", READ_ERRORS = "read_errors",
}

macro_rules! enumerations {
    ($($function:ident($Enumeration:ident) { $($Variant:ident: $WORD:ident),* })*) => {
        $(
            #[doc = concat!("The word of a number of [`v1::", stringify!($Enumeration), "`]; `unknown` for what is not one.")]
            pub fn $function(number: i32) -> Word {
                match v1::$Enumeration::try_from(number) {
                    $(Ok(v1::$Enumeration::$Variant) => word::$WORD,)*
                    Ok(v1::$Enumeration::Unspecified) | Err(_) => word::UNKNOWN,
                }
            }
        )*
    };
}

enumerations! {
    run_status(RunStatus) { Success: SUCCESS, Failure: FAILURE, Error: ERROR, Skipped: SKIPPED }
    session_status(SessionStatus) { Stopped: STOPPED, Running: RUNNING, Paused: PAUSED }
    severity(Severity) { Critical: CRITICAL, High: HIGH, Medium: MEDIUM, Low: LOW }
    log_severity(LogSeverity) { Debug: DEBUG, Info: INFO, Warn: WARN, Error: ERROR }
    finding_change(FindingChange) { Found: FOUND, Fixed: FIXED, Dismissed: DISMISSED }
    file_change(FileChange) { Created: CREATED, Modified: MODIFIED, Deleted: DELETED, Moved: MOVED }
    push_gate(PushGate) { PrePush: PRE_PUSH, PreCommit: PRE_COMMIT }
    resource_scope(ResourceScope) { Tool: TOOL, Worker: WORKER, ProcessTree: PROCESS_TREE, Machine: MACHINE }
    time_saved_kind(TimeSavedKind) { Developer: DEVELOPER, Build: BUILD }
    otlp_signal(OtlpSignal) { Logs: LOGS, Metrics: METRICS, Traces: TRACES }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_word_is_there_once_and_under_its_number() {
        let distinct: HashSet<_> = WORDS.iter().collect();
        assert_eq!(distinct.len(), WORDS.len());
        let text = |word: Word| WORDS[word.0 as usize];
        assert_eq!((text(word::EMPTY), text(word::PENDING)), ("", "pending"));
        assert_eq!((text(word::OVERFLOW), text(word::READ_ERRORS)), ("__overflow__", "read_errors"));
    }

    #[test]
    fn a_number_that_is_none_of_ours_is_unknown() {
        assert_eq!(run_status(v1::RunStatus::Skipped as i32), word::SKIPPED);
        for number in [0, 99, -1] {
            assert_eq!((run_status(number), otlp_signal(number)), (word::UNKNOWN, word::UNKNOWN));
        }
    }
}
