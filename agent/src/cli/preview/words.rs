//! An event of a batch with its texts in place of their indexes: what `preview` shows.
//!
//! Every field that the wire carries is shown; a field that is not set is left out, as on the wire.

use muster::batch::{BatchView, EventView};
use muster::v1;
use muster::v1::event::Kind;
use serde_json::{Map, Value, json};

/// One event as a JSON object.
pub(super) fn event(view: &BatchView<'_>, event: &EventView<'_>) -> Value {
    let source = view.source(event.source);
    let mut object = Map::new();
    object.insert("time_us".into(), event.time.0.into());
    if let Some(source) = source {
        let fields = [
            ("tool", source.tool),
            ("project", source.project),
            ("user", source.user),
            ("host", source.host),
            ("os", source.os),
            ("repository", source.repository),
            ("branch", source.branch),
            ("tool_version", source.tool_version),
        ];
        object.extend(
            fields.into_iter().filter(|(_, text)| !text.is_empty()).map(|(n, t)| (n.to_owned(), t.into())),
        );
    }
    if event.weight > 1 {
        object.insert("weight".into(), event.weight.into());
    }
    let (name, fields) = event.kind.map_or(("unknown", Vec::new()), |kind| fields(view, kind));
    let mut shown = Map::new();
    for (field, value) in fields {
        let is_set = !matches!(&value, Value::Null)
            && value != json!("")
            && value != json!(0)
            && value != json!(false);
        if is_set {
            shown.insert(field.to_owned(), value);
        }
    }
    object.insert(name.to_owned(), Value::Object(shown));
    Value::Object(object)
}

type Fields = Vec<(&'static str, Value)>;

fn fields(view: &BatchView<'_>, kind: &Kind) -> (&'static str, Fields) {
    let text = |index: u32| json!(view.text(index));
    match kind {
        Kind::RunFinished(run) => ("run_finished", run_finished(view, run)),
        Kind::RunStarted(run) => (
            "run_started",
            vec![
                ("worker", text(run.worker)),
                ("run_id", json!(run.run_id)),
                ("session", text(run.session)),
                ("iteration", json!(run.iteration)),
            ],
        ),
        Kind::ToolState(state) => (
            "tool_state",
            vec![
                ("status", json!(state.status().as_str_name())),
                ("iteration", json!(state.iteration)),
                ("iteration_max", json!(state.iteration_max)),
                ("started_time_us", json!(state.started_time_us)),
                ("sessions_live", json!(state.sessions_live)),
                ("phase", text(state.phase)),
            ],
        ),
        Kind::SessionState(state) => ("session_state", session_state(view, state)),
        Kind::Usage(usage) => ("usage", self::usage(view, usage)),
        Kind::Finding(finding) => (
            "finding",
            vec![
                ("worker", text(finding.worker)),
                ("severity", json!(finding.severity().as_str_name())),
                ("change", json!(finding.change().as_str_name())),
                ("count", json!(finding.count.max(1))),
                ("native_severity", text(finding.native_severity)),
                ("file", text(finding.file)),
            ],
        ),
        Kind::PushChecked(push) => (
            "push_checked",
            vec![
                ("gate", json!(push.gate().as_str_name())),
                ("allowed", json!(push.allowed)),
                ("prevented_bad_push", json!(push.prevented_bad_push)),
                ("reason", text(push.reason)),
            ],
        ),
        Kind::FileActivity(file) => (
            "file_activity",
            vec![
                ("change", json!(file.change().as_str_name())),
                ("count", json!(file.count.max(1))),
                ("file", text(file.file)),
            ],
        ),
        Kind::ToolCall(call) => (
            "tool_call",
            vec![
                ("worker", text(call.worker)),
                ("name", text(call.name)),
                ("status", json!(call.status().as_str_name())),
                ("duration_us", json!(call.duration_us)),
            ],
        ),
        Kind::ResourceSample(sample) => ("resource_sample", resource_sample(view, sample)),
        Kind::LogRecord(log) => ("log_record", log_record(view, log)),
        other => numbers(view, other),
    }
}

/// Kinds that hold little more than numbers.
fn numbers(view: &BatchView<'_>, kind: &Kind) -> (&'static str, Fields) {
    let text = |index: u32| json!(view.text(index));
    match kind {
        Kind::QueueDepth(queue) => {
            ("queue_depth", vec![("worker", text(queue.worker)), ("depth", json!(queue.depth))])
        }
        Kind::TaskCounts(tasks) => (
            "task_counts",
            vec![
                ("pending", json!(tasks.pending)),
                ("in_progress", json!(tasks.in_progress)),
                ("completed", json!(tasks.completed)),
                ("failed", json!(tasks.failed)),
                ("review", json!(tasks.review)),
            ],
        ),
        Kind::WorkerCounts(workers) => (
            "worker_counts",
            vec![("active", json!(workers.active)), ("registered", json!(workers.registered))],
        ),
        Kind::ActiveFindings(active) => (
            "active_findings",
            vec![
                ("critical", json!(active.critical)),
                ("high", json!(active.high)),
                ("medium", json!(active.medium)),
                ("low", json!(active.low)),
            ],
        ),
        Kind::FindingsFixed(fixed) => ("findings_fixed", vec![("count", json!(fixed.count))]),
        Kind::FilesWatched(files) => ("files_watched", vec![("count", json!(files.count))]),
        Kind::CostTotal(cost) => ("cost_total", vec![("cost_usd", json!(cost.cost_usd))]),
        Kind::BudgetState(budget) => (
            "budget_state",
            vec![
                ("limit_usd", json!(budget.limit_usd)),
                ("used_usd", json!(budget.used_usd)),
                ("exceeded", json!(budget.exceeded)),
            ],
        ),
        Kind::TimeSaved(saved) => (
            "time_saved",
            vec![
                ("kind", json!(saved.kind().as_str_name())),
                ("saved_us", json!(saved.saved_us)),
                ("modelled", json!(saved.modelled)),
            ],
        ),
        Kind::SourceHealth(health) => (
            "source_health",
            vec![
                ("newest_data_time_us", json!(health.newest_data_time_us)),
                ("parse_errors", json!(health.parse_errors)),
                ("rescans", json!(health.rescans)),
                ("records_skipped", json!(health.records_skipped)),
                ("read_errors", json!(health.read_errors)),
            ],
        ),
        Kind::LinesRecorded(lines) => ("lines_recorded", vec![("count", json!(lines.count))]),
        Kind::BusEvents(bus) => {
            ("bus_events", vec![("count", json!(bus.count)), ("latency_us", json!(bus.latency_us))])
        }
        Kind::ToolSettings(settings) => (
            "tool_settings",
            vec![
                ("disabled_metrics", settings.disabled_metrics.iter().map(|i| text(*i)).collect()),
                ("sample_rate", json!(settings.sample_rate)),
            ],
        ),
        Kind::OtlpPayload(otlp) => (
            "otlp_payload",
            vec![
                ("signal", json!(otlp.signal().as_str_name())),
                ("items", json!(otlp.item_count)),
                ("bytes", json!(otlp.payload.len())),
            ],
        ),
        _ => ("source_ended", Vec::new()),
    }
}

fn run_finished(view: &BatchView<'_>, run: &v1::RunFinished) -> Fields {
    vec![
        ("worker", json!(view.text(run.worker))),
        ("status", json!(run.status().as_str_name())),
        ("duration_us", json!(run.duration_us)),
        ("run_id", json!(run.run_id)),
        ("session", json!(view.text(run.session))),
        ("queued_us", json!(run.queued_us)),
        ("replayed", json!(run.replayed)),
        ("iteration", json!(run.iteration)),
        ("model", json!(view.text(run.model))),
    ]
}

fn session_state(view: &BatchView<'_>, state: &v1::SessionState) -> Fields {
    vec![
        ("session", json!(view.text(state.session))),
        ("status", json!(state.status().as_str_name())),
        ("iteration", json!(state.iteration)),
        ("iteration_max", json!(state.iteration_max)),
        ("started_time_us", json!(state.started_time_us)),
        ("ended_time_us", json!(state.ended_time_us)),
        ("result", json!(view.text(state.result))),
        ("provider", json!(view.text(state.provider))),
        ("phase", json!(view.text(state.phase))),
        ("exit_code", json!(state.exit_code)),
    ]
}

fn usage(view: &BatchView<'_>, usage: &v1::Usage) -> Fields {
    vec![
        ("model", json!(view.text(usage.model))),
        ("session", json!(view.text(usage.session))),
        ("worker", json!(view.text(usage.worker))),
        ("input_tokens", json!(usage.input_tokens)),
        ("output_tokens", json!(usage.output_tokens)),
        ("cache_read_tokens", json!(usage.cache_read_tokens)),
        ("cache_write_tokens", json!(usage.cache_write_tokens)),
        ("reasoning_tokens", json!(usage.reasoning_tokens)),
        ("reported_cost_microusd", json!(usage.reported_cost_microusd)),
        ("computed_cost_microusd", json!(usage.computed_cost_microusd)),
        ("iteration", json!(usage.iteration)),
    ]
}

fn resource_sample(view: &BatchView<'_>, sample: &v1::ResourceSample) -> Fields {
    vec![
        ("scope", json!(sample.scope().as_str_name())),
        ("worker", json!(view.text(sample.worker))),
        ("cpu_percent", json!(sample.cpu_percent)),
        ("memory_bytes", json!(sample.memory_bytes)),
        ("disk_io_bytes", json!(sample.disk_io_bytes)),
        ("memory_total_bytes", json!(sample.memory_total_bytes)),
        ("processes", json!(sample.processes)),
    ]
}

fn log_record(view: &BatchView<'_>, log: &v1::LogRecord) -> Fields {
    let attributes: Map<String, Value> = log
        .attributes
        .iter()
        .map(|attribute| {
            let value = match attribute.value {
                Some(v1::attribute::Value::Text(index)) => json!(view.text(index)),
                Some(v1::attribute::Value::Integer(number)) => json!(number),
                Some(v1::attribute::Value::Number(number)) => json!(number),
                Some(v1::attribute::Value::Truth(truth)) => json!(truth),
                None => Value::Null,
            };
            (view.text(attribute.key).to_owned(), value)
        })
        .collect();
    vec![
        ("name", json!(view.text(log.name))),
        ("severity", json!(log.severity().as_str_name())),
        ("session", json!(view.text(log.session))),
        ("attributes", Value::Object(attributes)),
    ]
}
