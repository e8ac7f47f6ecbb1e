//! The reference page of what Muster sends, `docs/otlp-export.md`.

use std::fmt::Write;

use super::keys::{self, Key};

/// What the page says of one event. A test holds it against what [`super::logs()`] writes.
pub(super) struct EventEntry {
    pub(super) name: &'static str,
    /// The message in `event.proto`.
    pub(super) kind: &'static str,
    pub(super) severity: &'static str,
    /// What a full event has, besides what every record has.
    pub(super) attributes: &'static [Key],
}

/// The whole page as Markdown.
pub fn reference_page() -> String {
    let mut page = String::from(HEAD);
    page.push_str("\n## Resources\n\n");
    page.push_str(RESOURCES);
    attribute_table(RESOURCE_KEYS, &mut page);
    page.push_str("\n## Events as log records\n\n");
    page.push_str(LOGS);
    page.push_str("| event name | severity | attributes | from |\n|---|---|---|---|\n");
    for event in EVENTS {
        let attributes: Vec<_> = event.attributes.iter().map(|key| format!("`{}`", key.name)).collect();
        let (name, severity, kind) = (event.name, event.severity, event.kind);
        let _ = writeln!(page, "| `{name}` | {severity} | {} | `{kind}` |", attributes.join(", "));
    }
    page.push_str("\n## Sessions and runs as spans\n\n");
    page.push_str(SPANS);
    page.push_str("\n## Metrics\n\n");
    page.push_str(METRICS);
    page.push_str("\n## Attributes of records and spans\n\n");
    let own = keys::ALL.iter().filter(|key| !RESOURCE_KEYS.contains(key));
    attribute_table(&own.copied().collect::<Vec<_>>(), &mut page);
    page
}

fn attribute_table(keys: &[Key], page: &mut String) {
    page.push_str("| attribute | type | what it says |\n|---|---|---|\n");
    for key in keys {
        let _ = writeln!(page, "| `{}` | {} | {} |", key.name, key.of.name(), key.says);
    }
}

const RESOURCE_KEYS: &[Key] = &[
    keys::SERVICE_NAME,
    keys::SERVICE_INSTANCE,
    keys::USER,
    keys::HOST,
    keys::TEAM,
    keys::PROJECT,
    keys::OS,
    keys::TOOL,
    keys::TOOL_VERSION,
    keys::REPOSITORY,
    keys::BRANCH,
];

const fn event(
    name: &'static str,
    kind: &'static str,
    severity: &'static str,
    attributes: &'static [Key],
) -> EventEntry {
    EventEntry { name, kind, severity, attributes }
}

pub(super) const EVENTS: &[EventEntry] = {
    use super::keys::*;
    &[
        event(
            "muster.run.finished",
            "RunFinished",
            "INFO; `skipped` DEBUG, `failure` WARN, `error` ERROR",
            &[
                SESSION,
                WORKER,
                RUN_ID,
                RUN_STATUS,
                RUN_DURATION_US,
                RUN_QUEUED_US,
                RUN_REPLAYED,
                ITERATION,
                MODEL,
            ],
        ),
        event("muster.run.started", "RunStarted", "INFO", &[SESSION, WORKER, RUN_ID, ITERATION]),
        event(
            "muster.tool.state",
            "ToolState",
            "DEBUG",
            &[SESSION_STATUS, ITERATION, ITERATION_MAX, SESSION_STARTED_US, SESSIONS_LIVE, PHASE],
        ),
        event(
            "muster.session.state",
            "SessionState",
            "INFO; WARN with an exit code other than 0",
            &[
                SESSION,
                SESSION_STATUS,
                ITERATION,
                ITERATION_MAX,
                SESSION_STARTED_US,
                SESSION_ENDED_US,
                SESSION_RESULT,
                SESSION_PROVIDER,
                PHASE,
                SESSION_EXIT_CODE,
            ],
        ),
        event("muster.queue.depth", "QueueDepth", "DEBUG", &[WORKER, QUEUE_DEPTH]),
        event(
            "muster.task.counts",
            "TaskCounts",
            "DEBUG",
            &[TASKS_PENDING, TASKS_IN_PROGRESS, TASKS_COMPLETED, TASKS_FAILED, TASKS_REVIEW],
        ),
        event("muster.worker.counts", "WorkerCounts", "DEBUG", &[WORKERS_ACTIVE, WORKERS_REGISTERED]),
        event(
            "muster.finding",
            "Finding",
            "INFO; found and `high` WARN, found and `critical` ERROR",
            &[WORKER, FINDING_SEVERITY, FINDING_STATE, FINDING_COUNT, FINDING_NATIVE, FILE_PATH],
        ),
        event(
            "muster.findings.active",
            "ActiveFindings",
            "DEBUG",
            &[FINDINGS_CRITICAL, FINDINGS_HIGH, FINDINGS_MEDIUM, FINDINGS_LOW],
        ),
        event("muster.findings.fixed", "FindingsFixed", "INFO", &[FINDINGS_FIXED]),
        event("muster.file.activity", "FileActivity", "DEBUG", &[FILE_CHANGE, FILE_COUNT, FILE_PATH]),
        event("muster.files.watched", "FilesWatched", "DEBUG", &[FILES_WATCHED]),
        event(
            "muster.push.checked",
            "PushChecked",
            "INFO; WARN when it was stopped",
            &[PUSH_GATE, PUSH_ALLOWED, PUSH_PREVENTED, PUSH_REASON],
        ),
        event(
            "muster.usage",
            "Usage",
            "INFO",
            &[
                SESSION,
                MODEL,
                WORKER,
                ITERATION,
                INPUT_TOKENS,
                OUTPUT_TOKENS,
                CACHE_READ_TOKENS,
                CACHE_WRITE_TOKENS,
                REASONING_TOKENS,
                REPORTED_COST_USD,
                COMPUTED_COST_USD,
            ],
        ),
        event("muster.cost.total", "CostTotal", "DEBUG", &[COST_TOTAL_USD]),
        event(
            "muster.budget.state",
            "BudgetState",
            "DEBUG; WARN when it is used up",
            &[BUDGET_LIMIT_USD, BUDGET_USED_USD, BUDGET_EXCEEDED],
        ),
        event(
            "muster.tool.call",
            "ToolCall",
            "as `muster.run.finished`",
            &[CALL_NAME, WORKER, CALL_STATUS, CALL_DURATION_US],
        ),
        event(
            "muster.resource.sample",
            "ResourceSample",
            "DEBUG",
            &[RESOURCE_SCOPE, WORKER, CPU_PERCENT, MEMORY_BYTES, MEMORY_SIZE_BYTES, DISK_IO_BYTES, PROCESSES],
        ),
        event(
            "muster.time.saved",
            "TimeSaved",
            "INFO",
            &[TIME_SAVED_KIND, TIME_SAVED_US, TIME_SAVED_MODELLED],
        ),
        event(
            "muster.source.health",
            "SourceHealth",
            "DEBUG; WARN when something could not be read or understood",
            &[NEWEST_DATA_US, PARSE_ERRORS, RESCANS, RECORDS_SKIPPED, READ_ERRORS],
        ),
        event("muster.source.ended", "SourceEnded", "INFO", &[]),
        event("muster.log", "LogRecord", "the record's own; INFO when it has none", &[SESSION, LOG_NAME]),
        event("muster.lines.recorded", "LinesRecorded", "DEBUG", &[LINES]),
        event("muster.bus.events", "BusEvents", "DEBUG", &[BUS_COUNT, BUS_LATENCY_US]),
        event("muster.tool.settings", "ToolSettings", "DEBUG", &[DISABLED_METRICS, SAMPLE_RATE]),
    ]
};

const HEAD: &str = "# What Muster sends over OTLP

This page is generated from the tables in `otlp/src/export/` (`MUSTER_BLESS=1 cargo test -p otlp export` writes it).

Destinations get Muster's own facts in OTLP's three signals, besides what tools sent over OTLP, which goes out as it came:

- every event as a log record,
- every session and run that ended as a span,
- the metrics of the [catalogue](metrics.md) as OTLP metrics.

All of it is a function of the journal. What is sent again after a failure or a restart has the same ids, so a
destination that looks at them has each item once.

A text that is not known is no attribute, and so is a number that is absent. Names are those of the OpenTelemetry semantic
conventions where these mean the same; everything else begins with `muster.` and has its unit in its name.
";

const RESOURCES: &str = "One resource is one watched tool of a project. Metrics have one resource for a project, with its first six
attributes; there the tool is the label `tool` of the data point. `service.instance.id` is what keeps two projects apart where a
destination looks at it alone: Prometheus makes `job` and `instance` of the service's name and instance, and adds the others
to the series when they are listed under `otlp.promote_resource_attributes`.

The scope is `muster`, with Muster's version.

";

const LOGS: &str = "Every record has the event's time, as observed time the one when the collector journaled it, the event's name as name and
body, `muster.item.id`, and the trace and span that it belongs to, if it tells its run or session. `muster.weight` is on
events that stand for others. Events of kinds that the collector does not know are counted and not sent.

Readings (what a gauge shows) are DEBUG, so a destination with `severity = \"info\"` gets what happened.

";

const SPANS: &str = "A session is a trace and its root span, `session`; a run is a span in it, `run <worker>`. A run that belongs to no
session is a trace of its own. A span is sent when its end is known: its attributes are those of `muster.run.finished` and
`muster.session.state`. Until a session has ended, the parent of its runs is not there yet.

- Ids are hashes (SHA-256): a trace of team, user, host, tool, project and the session's name; a run's span of its trace and
  the run's id, or of the event's identity when the tool has no ids for its runs.
- Start is end less duration. When the duration is not known, the span has none and `muster.duration.known` is `false`.
- Status is OK after `success` and `skipped` or an exit code of 0, ERROR after `failure`, `error` or another exit code, else
  unset. `error.type` and the status' message have the word.
";

const METRICS: &str = "Names, descriptions and attributes are those of the [catalogue](metrics.md), whose labels `team`, `user`, `host` and
`project` are attributes of the resource. Empty labels are left out.

- Counters are monotonic sums: integers, or doubles where they count seconds or money. Histograms are explicit histograms with the
  catalogue's bounds. Gauges are gauges.
- Cumulative or delta as the destination wants it. A cumulative series starts just before its first event; a delta goes from
  the last export that the destination took, and series without a change are left out. The deltas add up to the cumulative
  number and to the one on `/metrics`.
- Gauges are sent while their source is there and its agent is heard.
- Units are UCUM's (`s`, `By`, `%`, `{USD}`). Metrics in `_ms` and `_mb` have none beside their name, because Prometheus would
  append it to the name once more.
- Prometheus appends `_total` to counters whose name in the guides has none, such as `devloop_successful_pushes`.
";
