//! The attributes' names, types and meanings: the one table.
//!
//! Names of the OpenTelemetry semantic conventions are used where they mean the same; everything else is under
//! `muster.`, with the unit in its name.

/// An attribute's name, type and meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) of: Type,
    pub(super) says: &'static str,
}

/// What an attribute's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Texts,
    Integer,
    Number,
    Truth,
}

impl Type {
    /// The name that the OpenTelemetry specification has for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Type::Text => "string",
            Type::Texts => "string[]",
            Type::Integer => "int",
            Type::Number => "double",
            Type::Truth => "boolean",
        }
    }
}

macro_rules! keys {
    ($($constant:ident $of:ident $name:literal $says:literal)*) => {
        $(pub(super) const $constant: Key = Key { name: $name, of: Type::$of, says: $says };)*

        /// Every key, in the order of the reference page.
        pub(super) const ALL: &[Key] = &[$($constant),*];
    };
}

keys! {
    // Resources.
    SERVICE_NAME Text "service.name" "`muster`"
    SERVICE_INSTANCE Text "service.instance.id" "`team/user@host/project`: what tells apart the series of two sources"
    USER Text "user.name" "the developer's login name"
    HOST Text "host.name" "the machine's name"
    OS Text "os.type" "`linux`, `darwin`, `windows`"
    TEAM Text "muster.team" "the team, from the agent's credential"
    PROJECT Text "muster.project" "the project's name"
    TOOL Text "muster.tool" "the watched tool"
    TOOL_VERSION Text "muster.tool.version" "the tool's own version"
    REPOSITORY Text "vcs.repository.name" "the git remote's repository name"
    BRANCH Text "vcs.ref.head.name" "the git branch"

    // Every item.
    ITEM_ID Text "muster.item.id" "`agent-epoch-number` of the event, the same in every repeat"
    WEIGHT Integer "muster.weight" "how many events this one stands for, when the tool is sampled"

    // Runs and sessions.
    SESSION Text "session.id" "the tool's own name of the session"
    WORKER Text "muster.worker" "the worker that ran"
    ITERATION Integer "muster.iteration" "number of the iteration"
    ITERATION_MAX Integer "muster.iteration_max" "iterations that there may be"
    PHASE Text "muster.phase" "the phase that the tool says it is in"
    RUN_ID Text "muster.run.id" "the run's id, 16 hexadecimal digits"
    RUN_STATUS Text "muster.run.status" "`success`, `failure` (what was checked is not right), `error` (the worker broke), `skipped`"
    RUN_DURATION_US Integer "muster.run.duration_us" "how long it ran, in microseconds"
    RUN_QUEUED_US Integer "muster.run.queued_us" "from the cause to the start, in microseconds"
    RUN_REPLAYED Truth "muster.run.replayed" "the tool re-ran an old cause after a restart"
    SESSION_STATUS Text "muster.session.status" "`stopped`, `running`, `paused`"
    SESSION_STARTED_US Integer "muster.session.started_time_us" "start, in microseconds since the epoch"
    SESSION_ENDED_US Integer "muster.session.ended_time_us" "end, in microseconds since the epoch"
    SESSION_RESULT Text "muster.session.result" "how it ended, in the tool's words of state"
    SESSION_PROVIDER Text "muster.session.provider" "the coding agent that the tool drives"
    SESSION_EXIT_CODE Integer "muster.session.exit_code" "exit code of the session's process"
    SESSIONS_LIVE Integer "muster.sessions.live" "sessions alive"
    DURATION_KNOWN Truth "muster.duration.known" "on spans: `false` when the duration is not known, so that the span has none"
    ERROR_TYPE Text "error.type" "on spans: the status when it is an error"

    // Readings.
    QUEUE_DEPTH Integer "muster.queue.depth" "causes that wait for the worker"
    TASKS_PENDING Integer "muster.tasks.pending" "tasks that wait"
    TASKS_IN_PROGRESS Integer "muster.tasks.in_progress" "tasks being worked on"
    TASKS_COMPLETED Integer "muster.tasks.completed" "tasks done"
    TASKS_FAILED Integer "muster.tasks.failed" "tasks that failed"
    TASKS_REVIEW Integer "muster.tasks.review" "tasks that wait for a review"
    WORKERS_ACTIVE Integer "muster.workers.active" "workers at work"
    WORKERS_REGISTERED Integer "muster.workers.registered" "workers that the tool has registered"
    FILES_WATCHED Integer "muster.files.watched" "files that the tool watches"
    RESOURCE_SCOPE Text "muster.resource.scope" "`tool`, `worker`, `process_tree`, `machine`"
    CPU_PERCENT Number "muster.resource.cpu_percent" "CPU used; 100 is one core"
    MEMORY_BYTES Integer "muster.resource.memory_bytes" "memory used"
    MEMORY_SIZE_BYTES Integer "muster.resource.memory_size_bytes" "memory there is"
    DISK_IO_BYTES Integer "muster.resource.disk_io_bytes" "read and written since the sample before it"
    PROCESSES Integer "muster.resource.processes" "processes in the tree or on the machine"

    // Findings, files, gates.
    FINDING_SEVERITY Text "muster.finding.severity" "`critical`, `high`, `medium`, `low`"
    FINDING_STATE Text "muster.finding.state" "`found`, `fixed`, `dismissed`"
    FINDING_COUNT Integer "muster.finding.count" "how many"
    FINDING_NATIVE Text "muster.finding.native_severity" "the tool's own word for the severity"
    FINDINGS_CRITICAL Integer "muster.findings.critical" "critical findings that stand now"
    FINDINGS_HIGH Integer "muster.findings.high" "high findings that stand now"
    FINDINGS_MEDIUM Integer "muster.findings.medium" "medium findings that stand now"
    FINDINGS_LOW Integer "muster.findings.low" "low findings that stand now"
    FINDINGS_FIXED Integer "muster.findings.fixed" "findings fixed automatically"
    FILE_CHANGE Text "muster.file.change" "`created`, `modified`, `deleted`, `moved`"
    FILE_COUNT Integer "muster.file.count" "how many files"
    FILE_PATH Text "muster.file.path" "relative to the project; there when file names are opted in"
    PUSH_GATE Text "muster.push.gate" "`pre_push`, `pre_commit`"
    PUSH_ALLOWED Truth "muster.push.allowed" "whether the gate let it through"
    PUSH_PREVENTED Truth "muster.push.prevented_bad_push" "whether a push was stopped that would have failed in CI"
    PUSH_REASON Text "muster.push.reason" "one word of the tool"

    // Usage.
    MODEL Text "gen_ai.request.model" "the model, as the tool names it"
    INPUT_TOKENS Integer "gen_ai.usage.input_tokens" "input tokens, with those read from and written to a cache"
    OUTPUT_TOKENS Integer "gen_ai.usage.output_tokens" "output tokens, with those of reasoning"
    CACHE_READ_TOKENS Integer "gen_ai.usage.cache_read.input_tokens" "of the input tokens: read from a cache"
    CACHE_WRITE_TOKENS Integer "gen_ai.usage.cache_creation.input_tokens" "of the input tokens: written to a cache"
    REASONING_TOKENS Integer "gen_ai.usage.reasoning.output_tokens" "of the output tokens: reasoning"
    REPORTED_COST_USD Number "muster.usage.reported_cost_usd" "what the tool says it cost"
    COMPUTED_COST_USD Number "muster.usage.computed_cost_usd" "what the tokens cost by the tool's price list; not to be added to the reported cost"
    COST_TOTAL_USD Number "muster.cost.total_usd" "the tool's own running total, which may fall when the tool starts over"
    BUDGET_LIMIT_USD Number "muster.budget.limit_usd" "budget that the tool was given"
    BUDGET_USED_USD Number "muster.budget.used_usd" "how much of it is used"
    BUDGET_EXCEEDED Truth "muster.budget.exceeded" "whether the tool says that it is used up"
    CALL_NAME Text "gen_ai.tool.name" "name of the tool that was called"
    CALL_STATUS Text "muster.tool_call.status" "as `muster.run.status`"
    CALL_DURATION_US Integer "muster.tool_call.duration_us" "how long the call took, in microseconds"
    TIME_SAVED_KIND Text "muster.time_saved.kind" "`developer`, `build`"
    TIME_SAVED_US Integer "muster.time_saved.duration_us" "time saved, in microseconds"
    TIME_SAVED_MODELLED Truth "muster.time_saved.modelled" "by a constant for each prevented failure, not measured"

    // Sources and the tool's own log.
    NEWEST_DATA_US Integer "muster.source.newest_data_time_us" "newest time in the tool's own data, in microseconds since the epoch"
    PARSE_ERRORS Integer "muster.source.parse_errors" "records that could not be understood, since the report before it"
    RESCANS Integer "muster.source.rescans" "times the source was read anew"
    RECORDS_SKIPPED Integer "muster.source.records_skipped" "records passed over because of their size or kind"
    READ_ERRORS Integer "muster.source.read_errors" "files that could not be read"
    LOG_NAME Text "muster.log.name" "the tool's own name of the event; what it says is under `muster.log.attribute.` and the tool's own keys"
    LINES Integer "muster.lines.count" "records added to the tool's own event log"
    BUS_COUNT Integer "muster.bus.count" "events on the tool's own bus"
    BUS_LATENCY_US Integer "muster.bus.latency_us" "time to its being stored, in microseconds, when it is one event"
    DISABLED_METRICS Texts "muster.settings.disabled_metrics" "metrics that the tool's settings disable"
    SAMPLE_RATE Number "muster.settings.sample_rate" "share of the tool's events that are sent, when it is sampled"
}

/// What the tool's own attributes are called: this and their own key.
pub(super) const LOG_ATTRIBUTE_PREFIX: &str = "muster.log.attribute.";
