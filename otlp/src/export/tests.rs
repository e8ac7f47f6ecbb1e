//! What exports promise. The batches are here, the promises in one file each signal.

mod logs;
mod metrics;
mod reference;
mod spans;

use std::collections::BTreeMap;
use std::path::Path;

use ::metrics::Applied;
use muster::atomic_file::{Access, replace};
use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::{Monotonic, WallTime};
use muster::ids::{AgentId, Epoch, StreamKey};
use muster::v1;
use muster::v1::event::Kind;

use crate::proto::common::{KeyValue, any_value::Value};

/// 2026-02-20 12:00:00 UTC.
pub(super) const NOON: WallTime = WallTime(1_771_588_800_000_000);

pub(super) fn key() -> StreamKey {
    let epoch = Epoch::try_from(7).expect("not 0");
    StreamKey { team: "core".parse().expect("valid"), agent: AgentId::from_bytes([0xab; 16]), epoch }
}

pub(super) fn identity(tool: &str, project: &str) -> SourceIdentity {
    SourceIdentity {
        tool: tool.into(),
        project: project.into(),
        user: "dana".into(),
        host: "laptop-17".into(),
        os: "macos".into(),
        repository: "shop".into(),
        branch: "main".into(),
        tool_version: "5.2".into(),
    }
}

/// A batch of one source whose events are a second apart from noon on and numbered from 101.
pub(super) fn batch(tool: &str, make: impl FnOnce(&mut dyn FnMut(&str) -> u32) -> Vec<Kind>) -> v1::Batch {
    let mut builder = BatchBuilder::new();
    let source = builder.source(&identity(tool, "shop")).expect("room");
    let kinds = make(&mut |text| builder.text(text));
    for (index, kind) in kinds.into_iter().enumerate() {
        builder.push(WallTime(NOON.0 + 1_000_000 * index as u64), source, kind);
    }
    v1::Batch { first_seq: 101, ..builder.as_batch().clone() }
}

/// Attributes as text, by key.
pub(super) fn attributes(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let texts = attributes.iter().map(|attribute| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        (attribute.key.as_str(), text(value.expect("every attribute has a value")))
    });
    let texts: BTreeMap<_, _> = texts.collect();
    assert_eq!(texts.len(), attributes.len(), "a key twice in {attributes:?}");
    texts
}

fn text(value: &Value) -> String {
    match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(integer) => format!("{integer}i"),
        Value::DoubleValue(number) => format!("{number:?}"),
        Value::BoolValue(truth) => truth.to_string(),
        Value::ArrayValue(array) => {
            let values = array.values.iter().filter_map(|value| value.value.as_ref()).map(text);
            format!("[{}]", values.collect::<Vec<_>>().join(", "))
        }
        other => panic!("no attribute of Muster is {other:?}"),
    }
}

pub(super) fn applied(seconds: u64) -> Applied {
    let monotonic = Monotonic(std::time::Duration::from_secs(seconds));
    Applied { wall: WallTime(NOON.0 + seconds * 1_000_000), monotonic }
}

/// Compares with the file, or writes it with `MUSTER_BLESS=1`.
pub(super) fn assert_is_file(path: &str, content: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("MUSTER_BLESS").is_some() {
        replace(&path, content.as_bytes(), Access::Umask).expect("the repository can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (ours, theirs)) in content.lines().zip(expected.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {} of {}; MUSTER_BLESS=1 writes it anew", line + 1, path.display());
    }
    assert!(content == expected, "{} differs in length; MUSTER_BLESS=1 writes it anew", path.display());
}

/// One event of every kind that becomes a record, with everything that it can say.
pub(super) fn full(t: &mut dyn FnMut(&str) -> u32) -> Vec<Kind> {
    let (worker, session, model) = (t("linter"), t("s-1"), t("claude-opus-4-5"));
    vec![
        Kind::RunFinished(v1::RunFinished {
            worker,
            status: v1::RunStatus::Failure.into(),
            duration_us: Some(1_500_000),
            run_id: 0xfeed,
            session,
            queued_us: Some(250),
            replayed: true,
            iteration: 3,
            model,
        }),
        Kind::RunStarted(v1::RunStarted { worker, run_id: 0xfeed, session, iteration: 3 }),
        Kind::ToolState(v1::ToolState {
            status: v1::SessionStatus::Running.into(),
            iteration: 3,
            iteration_max: 10,
            started_time_us: Some(NOON.0),
            sessions_live: 1,
            phase: t("build"),
        }),
        Kind::SessionState(v1::SessionState {
            session,
            status: v1::SessionStatus::Stopped.into(),
            iteration: 3,
            iteration_max: 10,
            started_time_us: Some(NOON.0 - 60_000_000),
            ended_time_us: Some(NOON.0),
            result: t("completed"),
            provider: t("claude"),
            phase: t("build"),
            exit_code: Some(-1),
        }),
        Kind::QueueDepth(v1::QueueDepth { worker, depth: 4 }),
        Kind::TaskCounts(v1::TaskCounts { pending: 1, in_progress: 2, completed: 3, failed: 4, review: 5 }),
        Kind::WorkerCounts(v1::WorkerCounts { active: 2, registered: 41 }),
        Kind::Finding(v1::Finding {
            worker,
            severity: v1::Severity::Critical.into(),
            change: v1::FindingChange::Found.into(),
            count: 0,
            native_severity: t("error"),
            file: t("src/lib.rs"),
        }),
        Kind::ActiveFindings(v1::ActiveFindings { critical: 1, high: 2, medium: 3, low: 4 }),
        Kind::FindingsFixed(v1::FindingsFixed { count: 2 }),
        Kind::FileActivity(v1::FileActivity {
            change: v1::FileChange::Modified.into(),
            count: 2,
            file: t("src/lib.rs"),
        }),
        Kind::FilesWatched(v1::FilesWatched { count: 900 }),
        Kind::PushChecked(v1::PushChecked {
            gate: v1::PushGate::PrePush.into(),
            allowed: false,
            prevented_bad_push: true,
            reason: t("failure"),
        }),
        Kind::Usage(v1::Usage {
            model,
            session,
            worker,
            input_tokens: 10,
            output_tokens: 20,
            cache_read_tokens: 300,
            cache_write_tokens: 4000,
            reported_cost_microusd: Some(123_456),
            computed_cost_microusd: Some(120_000),
            iteration: 3,
            reasoning_tokens: 7,
        }),
        Kind::CostTotal(v1::CostTotal { cost_usd: 1.25 }),
        Kind::BudgetState(v1::BudgetState { limit_usd: Some(5.0), used_usd: Some(5.5), exceeded: true }),
        Kind::ToolCall(v1::ToolCall {
            worker,
            name: t("Bash"),
            status: v1::RunStatus::Success.into(),
            duration_us: Some(40),
        }),
        Kind::ResourceSample(v1::ResourceSample {
            scope: v1::ResourceScope::Worker.into(),
            worker,
            cpu_percent: Some(12.5),
            memory_bytes: Some(1 << 30),
            disk_io_bytes: Some(4096),
            memory_total_bytes: Some(1 << 34),
            processes: 3,
        }),
        Kind::TimeSaved(v1::TimeSaved { kind: v1::TimeSavedKind::Build.into(), saved_us: 9, modelled: true }),
        Kind::SourceHealth(v1::SourceHealth {
            newest_data_time_us: NOON.0,
            parse_errors: 1,
            rescans: 2,
            records_skipped: 3,
            read_errors: 4,
        }),
        Kind::SourceEnded(v1::SourceEnded {}),
        Kind::LogRecord(v1::LogRecord {
            name: t("gate_opened"),
            severity: v1::LogSeverity::Warn.into(),
            attributes: vec![
                said(t("phase"), v1::attribute::Value::Text(t("build"))),
                said(t("n"), v1::attribute::Value::Integer(-3)),
                said(t("share"), v1::attribute::Value::Number(0.5)),
                said(t("forced"), v1::attribute::Value::Truth(true)),
                // The first of a key stays.
                said(t("n"), v1::attribute::Value::Integer(4)),
            ],
            session,
        }),
        Kind::LinesRecorded(v1::LinesRecorded { count: 12 }),
        Kind::BusEvents(v1::BusEvents { count: 1, latency_us: Some(80) }),
        Kind::ToolSettings(v1::ToolSettings {
            disabled_metrics: vec![t("loc"), t("latency")],
            sample_rate: 0.25,
        }),
    ]
}

fn said(key: u32, value: v1::attribute::Value) -> v1::Attribute {
    v1::Attribute { key, value: Some(value) }
}
