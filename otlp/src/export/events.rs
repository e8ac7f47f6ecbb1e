//! What an event is called, how grave it is and what it says: the one place that knows every kind.
//!
//! The matches here have no arm for "the rest": a new kind in `event.proto` fails to compile until it is told what it
//! is called.

use muster::batch::BatchView;
use muster::v1;
use muster::v1::event::Kind;

use super::attributes::Attributes;
use super::{EventSeverity, keys, words};
use crate::proto::common::any_value::Value;

/// Name and severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Title {
    pub(super) name: &'static str,
    pub(super) severity: EventSeverity,
}

/// The title of a kind; `None` for OTLP of a tool, which is not Muster's to tell.
pub(super) fn title(kind: &Kind) -> Option<Title> {
    use EventSeverity::{Debug, Info, Warn};
    let (name, severity) = match kind {
        Kind::RunFinished(run) => ("muster.run.finished", run_severity(run.status)),
        Kind::RunStarted(_) => ("muster.run.started", Info),
        Kind::ToolState(_) => ("muster.tool.state", Debug),
        Kind::SessionState(session) => ("muster.session.state", session_severity(session)),
        Kind::QueueDepth(_) => ("muster.queue.depth", Debug),
        Kind::TaskCounts(_) => ("muster.task.counts", Debug),
        Kind::WorkerCounts(_) => ("muster.worker.counts", Debug),
        Kind::Finding(finding) => ("muster.finding", finding_severity(finding)),
        Kind::ActiveFindings(_) => ("muster.findings.active", Debug),
        Kind::FileActivity(_) => ("muster.file.activity", Debug),
        Kind::FilesWatched(_) => ("muster.files.watched", Debug),
        Kind::PushChecked(push) => ("muster.push.checked", if push.allowed { Info } else { Warn }),
        Kind::Usage(_) => ("muster.usage", Info),
        Kind::CostTotal(_) => ("muster.cost.total", Debug),
        Kind::ToolCall(call) => ("muster.tool.call", run_severity(call.status)),
        Kind::ResourceSample(_) => ("muster.resource.sample", Debug),
        Kind::TimeSaved(_) => ("muster.time.saved", Info),
        Kind::SourceHealth(health) => ("muster.source.health", health_severity(health)),
        Kind::LogRecord(record) => ("muster.log", log_severity(record)),
        Kind::OtlpPayload(_) => return None,
        Kind::LinesRecorded(_) => ("muster.lines.recorded", Debug),
        Kind::BusEvents(_) => ("muster.bus.events", Debug),
        Kind::SourceEnded(_) => ("muster.source.ended", Info),
        Kind::BudgetState(budget) => ("muster.budget.state", if budget.exceeded { Warn } else { Debug }),
        Kind::ToolSettings(_) => ("muster.tool.settings", Debug),
        Kind::FindingsFixed(_) => ("muster.findings.fixed", Info),
    };
    Some(Title { name, severity })
}

fn run_severity(status: i32) -> EventSeverity {
    match v1::RunStatus::try_from(status) {
        Ok(v1::RunStatus::Error) => EventSeverity::Error,
        Ok(v1::RunStatus::Failure) => EventSeverity::Warn,
        Ok(v1::RunStatus::Skipped) => EventSeverity::Debug,
        Ok(v1::RunStatus::Success | v1::RunStatus::Unspecified) | Err(_) => EventSeverity::Info,
    }
}

fn session_severity(session: &v1::SessionState) -> EventSeverity {
    match session.exit_code {
        Some(code) if code != 0 => EventSeverity::Warn,
        _ => EventSeverity::Info,
    }
}

fn finding_severity(finding: &v1::Finding) -> EventSeverity {
    match (finding.change(), finding.severity()) {
        (v1::FindingChange::Found, v1::Severity::Critical) => EventSeverity::Error,
        (v1::FindingChange::Found, v1::Severity::High) => EventSeverity::Warn,
        _ => EventSeverity::Info,
    }
}

fn health_severity(health: &v1::SourceHealth) -> EventSeverity {
    if health.parse_errors > 0 || health.read_errors > 0 { EventSeverity::Warn } else { EventSeverity::Debug }
}

fn log_severity(record: &v1::LogRecord) -> EventSeverity {
    match v1::LogSeverity::try_from(record.severity) {
        Ok(v1::LogSeverity::Debug) => EventSeverity::Debug,
        Ok(v1::LogSeverity::Warn) => EventSeverity::Warn,
        Ok(v1::LogSeverity::Error) => EventSeverity::Error,
        Ok(v1::LogSeverity::Info | v1::LogSeverity::Unspecified) | Err(_) => EventSeverity::Info,
    }
}

/// The name of the event's session; "" when it has none.
pub(super) fn session_of<'a>(kind: &Kind, texts: &BatchView<'a>) -> &'a str {
    match kind {
        Kind::RunFinished(run) => texts.text(run.session),
        Kind::RunStarted(run) => texts.text(run.session),
        Kind::SessionState(session) => texts.text(session.session),
        Kind::Usage(usage) => texts.text(usage.session),
        Kind::LogRecord(record) => texts.text(record.session),
        _ => "",
    }
}

/// Adds what the event says.
pub(super) fn describe(kind: &Kind, texts: &BatchView<'_>, attributes: &mut Attributes) {
    attributes.text(keys::SESSION, session_of(kind, texts));
    match kind {
        Kind::RunFinished(run) => run_finished(run, texts, attributes),
        Kind::RunStarted(run) => run_started(run, texts, attributes),
        Kind::ToolState(state) => tool_state(state, texts, attributes),
        Kind::SessionState(session) => session_state(session, texts, attributes),
        Kind::QueueDepth(queue) => {
            attributes.text(keys::WORKER, texts.text(queue.worker));
            attributes.integer(keys::QUEUE_DEPTH, queue.depth);
        }
        Kind::TaskCounts(tasks) => task_counts(tasks, attributes),
        Kind::WorkerCounts(workers) => {
            attributes.integer(keys::WORKERS_ACTIVE, workers.active);
            attributes.integer(keys::WORKERS_REGISTERED, workers.registered);
        }
        Kind::Finding(found) => finding(found, texts, attributes),
        Kind::ActiveFindings(active) => {
            attributes.integer(keys::FINDINGS_CRITICAL, active.critical);
            attributes.integer(keys::FINDINGS_HIGH, active.high);
            attributes.integer(keys::FINDINGS_MEDIUM, active.medium);
            attributes.integer(keys::FINDINGS_LOW, active.low);
        }
        Kind::FileActivity(file) => {
            attributes.text(keys::FILE_CHANGE, words::file_change(file.change));
            attributes.integer(keys::FILE_COUNT, at_least_one(file.count));
            attributes.text(keys::FILE_PATH, texts.text(file.file));
        }
        Kind::FilesWatched(files) => attributes.integer(keys::FILES_WATCHED, files.count),
        Kind::PushChecked(push) => push_checked(push, texts, attributes),
        Kind::Usage(used) => usage(used, texts, attributes),
        Kind::CostTotal(cost) => attributes.number_if(keys::COST_TOTAL_USD, Some(cost.cost_usd)),
        Kind::ToolCall(call) => {
            attributes.text(keys::CALL_NAME, texts.text(call.name));
            attributes.text(keys::WORKER, texts.text(call.worker));
            attributes.text(keys::CALL_STATUS, words::run_status(call.status));
            attributes.integer_if(keys::CALL_DURATION_US, call.duration_us);
        }
        Kind::ResourceSample(sample) => resource_sample(sample, texts, attributes),
        Kind::TimeSaved(saved) => {
            attributes.text(keys::TIME_SAVED_KIND, words::time_saved_kind(saved.kind));
            attributes.integer(keys::TIME_SAVED_US, saved.saved_us);
            attributes.truth(keys::TIME_SAVED_MODELLED, saved.modelled);
        }
        Kind::SourceHealth(health) => source_health(health, attributes),
        Kind::LogRecord(record) => log_record(record, texts, attributes),
        Kind::OtlpPayload(_) | Kind::SourceEnded(_) => {}
        Kind::LinesRecorded(lines) => attributes.integer(keys::LINES, lines.count),
        Kind::BusEvents(bus) => {
            attributes.integer(keys::BUS_COUNT, u64::from(bus.count));
            attributes.integer_if(keys::BUS_LATENCY_US, bus.latency_us);
        }
        Kind::BudgetState(budget) => {
            attributes.number_if(keys::BUDGET_LIMIT_USD, budget.limit_usd);
            attributes.number_if(keys::BUDGET_USED_USD, budget.used_usd);
            attributes.truth(keys::BUDGET_EXCEEDED, budget.exceeded);
        }
        Kind::ToolSettings(settings) => {
            let disabled = settings.disabled_metrics.iter().map(|&name| texts.text(name));
            attributes.texts(keys::DISABLED_METRICS, disabled);
            attributes.number_if(keys::SAMPLE_RATE, Some(settings.sample_rate).filter(|rate| *rate > 0.0));
        }
        Kind::FindingsFixed(fixed) => attributes.integer(keys::FINDINGS_FIXED, fixed.count),
    }
}

fn run_finished(run: &v1::RunFinished, texts: &BatchView<'_>, attributes: &mut Attributes) {
    attributes.text(keys::WORKER, texts.text(run.worker));
    attributes.text(keys::RUN_ID, &run_id(run.run_id));
    attributes.text(keys::RUN_STATUS, words::run_status(run.status));
    attributes.integer_if(keys::RUN_DURATION_US, run.duration_us);
    attributes.integer_if(keys::RUN_QUEUED_US, run.queued_us);
    if run.replayed {
        attributes.truth(keys::RUN_REPLAYED, true);
    }
    attributes.positive(keys::ITERATION, u64::from(run.iteration));
    attributes.text(keys::MODEL, texts.text(run.model));
}

fn run_started(run: &v1::RunStarted, texts: &BatchView<'_>, attributes: &mut Attributes) {
    attributes.text(keys::WORKER, texts.text(run.worker));
    attributes.text(keys::RUN_ID, &run_id(run.run_id));
    attributes.positive(keys::ITERATION, u64::from(run.iteration));
}

fn run_id(id: u64) -> String {
    if id == 0 { String::new() } else { format!("{id:016x}") }
}

fn tool_state(state: &v1::ToolState, texts: &BatchView<'_>, attributes: &mut Attributes) {
    attributes.text(keys::SESSION_STATUS, words::session_status(state.status));
    attributes.integer(keys::ITERATION, state.iteration);
    attributes.positive(keys::ITERATION_MAX, state.iteration_max);
    attributes.integer_if(keys::SESSION_STARTED_US, state.started_time_us);
    attributes.integer(keys::SESSIONS_LIVE, u64::from(state.sessions_live));
    attributes.text(keys::PHASE, texts.text(state.phase));
}

fn session_state(session: &v1::SessionState, texts: &BatchView<'_>, attributes: &mut Attributes) {
    attributes.text(keys::SESSION_STATUS, words::session_status(session.status));
    attributes.integer(keys::ITERATION, session.iteration);
    attributes.positive(keys::ITERATION_MAX, session.iteration_max);
    attributes.integer_if(keys::SESSION_STARTED_US, session.started_time_us);
    attributes.integer_if(keys::SESSION_ENDED_US, session.ended_time_us);
    attributes.text(keys::SESSION_RESULT, texts.text(session.result));
    attributes.text(keys::SESSION_PROVIDER, texts.text(session.provider));
    attributes.text(keys::PHASE, texts.text(session.phase));
    if let Some(code) = session.exit_code {
        attributes.signed(keys::SESSION_EXIT_CODE, code);
    }
}

fn task_counts(tasks: &v1::TaskCounts, attributes: &mut Attributes) {
    attributes.integer(keys::TASKS_PENDING, tasks.pending);
    attributes.integer(keys::TASKS_IN_PROGRESS, tasks.in_progress);
    attributes.integer(keys::TASKS_COMPLETED, tasks.completed);
    attributes.integer(keys::TASKS_FAILED, tasks.failed);
    attributes.integer(keys::TASKS_REVIEW, tasks.review);
}

fn finding(finding: &v1::Finding, texts: &BatchView<'_>, attributes: &mut Attributes) {
    attributes.text(keys::WORKER, texts.text(finding.worker));
    attributes.text(keys::FINDING_SEVERITY, words::severity(finding.severity));
    attributes.text(keys::FINDING_STATE, words::finding_state(finding.change));
    attributes.integer(keys::FINDING_COUNT, at_least_one(finding.count));
    attributes.text(keys::FINDING_NATIVE, texts.text(finding.native_severity));
    attributes.text(keys::FILE_PATH, texts.text(finding.file));
}

fn push_checked(push: &v1::PushChecked, texts: &BatchView<'_>, attributes: &mut Attributes) {
    attributes.text(keys::PUSH_GATE, words::push_gate(push.gate));
    attributes.truth(keys::PUSH_ALLOWED, push.allowed);
    attributes.truth(keys::PUSH_PREVENTED, push.prevented_bad_push);
    attributes.text(keys::PUSH_REASON, texts.text(push.reason));
}

/// Tokens as the GenAI conventions count them: the cache's are part of the input's, reasoning's part of the output's.
/// A usage whose tokens are all 0 is one whose tokens nobody told.
fn usage(usage: &v1::Usage, texts: &BatchView<'_>, attributes: &mut Attributes) {
    attributes.text(keys::MODEL, texts.text(usage.model));
    attributes.text(keys::WORKER, texts.text(usage.worker));
    attributes.positive(keys::ITERATION, u64::from(usage.iteration));
    let cached = usage.cache_read_tokens.saturating_add(usage.cache_write_tokens);
    let input = usage.input_tokens.saturating_add(cached);
    let output = usage.output_tokens.saturating_add(usage.reasoning_tokens);
    if input > 0 || output > 0 {
        attributes.integer(keys::INPUT_TOKENS, input);
        attributes.integer(keys::OUTPUT_TOKENS, output);
        attributes.positive(keys::CACHE_READ_TOKENS, usage.cache_read_tokens);
        attributes.positive(keys::CACHE_WRITE_TOKENS, usage.cache_write_tokens);
        attributes.positive(keys::REASONING_TOKENS, usage.reasoning_tokens);
    }
    let usd = |microusd: Option<i64>| microusd.map(|microusd| microusd as f64 / 1e6);
    attributes.number_if(keys::REPORTED_COST_USD, usd(usage.reported_cost_microusd));
    attributes.number_if(keys::COMPUTED_COST_USD, usd(usage.computed_cost_microusd));
}

fn resource_sample(sample: &v1::ResourceSample, texts: &BatchView<'_>, attributes: &mut Attributes) {
    attributes.text(keys::RESOURCE_SCOPE, words::resource_scope(sample.scope));
    attributes.text(keys::WORKER, texts.text(sample.worker));
    attributes.number_if(keys::CPU_PERCENT, sample.cpu_percent);
    attributes.integer_if(keys::MEMORY_BYTES, sample.memory_bytes);
    attributes.integer_if(keys::MEMORY_SIZE_BYTES, sample.memory_total_bytes);
    attributes.integer_if(keys::DISK_IO_BYTES, sample.disk_io_bytes);
    attributes.positive(keys::PROCESSES, u64::from(sample.processes));
}

fn source_health(health: &v1::SourceHealth, attributes: &mut Attributes) {
    attributes.positive(keys::NEWEST_DATA_US, health.newest_data_time_us);
    attributes.integer(keys::PARSE_ERRORS, health.parse_errors);
    attributes.integer(keys::RESCANS, health.rescans);
    attributes.integer(keys::RECORDS_SKIPPED, health.records_skipped);
    attributes.integer(keys::READ_ERRORS, health.read_errors);
}

fn log_record(record: &v1::LogRecord, texts: &BatchView<'_>, attributes: &mut Attributes) {
    use muster::v1::attribute::Value as Said;
    attributes.text(keys::LOG_NAME, texts.text(record.name));
    for attribute in &record.attributes {
        let (key, Some(said)) = (texts.text(attribute.key), &attribute.value) else { continue };
        let value = match *said {
            Said::Text(text) => Value::StringValue(texts.text(text).to_owned()),
            Said::Integer(integer) => Value::IntValue(integer),
            Said::Number(number) => Value::DoubleValue(number),
            Said::Truth(truth) => Value::BoolValue(truth),
        };
        if !key.is_empty() {
            attributes.foreign(format!("{}{key}", keys::LOG_ATTRIBUTE_PREFIX), value);
        }
    }
}

/// Wire counts where 0 and 1 both mean one.
fn at_least_one(count: u32) -> u64 {
    u64::from(count.max(1))
}
