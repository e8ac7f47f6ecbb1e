//! From a checked statement to facts, each text through the door of its class.

use muster::clock::WallTime;
use muster::v1::event::Kind as Event;
use muster::v1::{
    Attribute, Finding, FindingChange, LogRecord, LogSeverity, PushChecked, PushGate, ResourceSample,
    ResourceScope, RunFinished, RunStarted, RunStatus, SessionState, SessionStatus, Severity, TimeSaved,
    TimeSavedKind, Usage, attribute,
};
use sha2::{Digest, Sha256};

use super::{Kind, Statement, Value};
use crate::facts::{ContentField, Facts, WITHHELD};

/// States `said` as facts of `time`.
pub(super) fn state(said: &Statement, time: WallTime, facts: &mut Facts) {
    let read = Read { said };
    let event = match said.kind {
        Kind::Run => return run(&read, time, facts),
        Kind::Session => session(&read, time, facts),
        // "None found" is no finding; on the wire 0 and 1 both mean one.
        Kind::Finding if read.count("count") == Some(0) => return,
        Kind::Finding => finding(&read, facts),
        Kind::Usage => usage(&read, facts),
        Kind::Push => push(&read, facts),
        Kind::Value => value(&read),
        Kind::Log => log(&read, facts),
    };
    facts.push(time, event);
}

/// Values of a statement by their keys. The types are those of the vocabulary, which a test holds to these.
struct Read<'a> {
    said: &'a Statement,
}

impl Read<'_> {
    fn text(&self, key: &str) -> &str {
        match self.said.value(key) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    fn word(&self, key: &str, facts: &mut Facts) -> u32 {
        facts.word(self.text(key))
    }

    fn count(&self, key: &str) -> Option<u64> {
        match self.said.value(key) {
            Some(Value::Count(count)) => Some(*count),
            _ => None,
        }
    }

    fn small(&self, key: &str) -> u32 {
        self.count(key).map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn signed(&self, key: &str) -> Option<i64> {
        match self.said.value(key) {
            Some(Value::Signed(number)) => Some(*number),
            _ => None,
        }
    }

    fn truth(&self, key: &str) -> bool {
        matches!(self.said.value(key), Some(Value::Truth(true)))
    }

    fn time(&self, key: &str) -> Option<u64> {
        match self.said.value(key) {
            Some(Value::Time(time)) => Some(time.0),
            _ => None,
        }
    }

    fn choice(&self, key: &str) -> &'static str {
        match self.said.value(key) {
            Some(Value::Choice(word)) => word,
            _ => "",
        }
    }

    /// First 8 bytes of SHA-256 over the id (event.proto, `RunFinished.run_id`); 0 when there is none.
    fn hash(&self, key: &str) -> u64 {
        let id = self.text(key);
        if id.is_empty() {
            return 0;
        }
        let digest = Sha256::digest(id.as_bytes());
        u64::from_be_bytes(std::array::from_fn(|n| digest[n]))
    }
}

fn run(read: &Read<'_>, time: WallTime, facts: &mut Facts) {
    let worker = read.word("worker", facts);
    let (run_id, iteration) = (read.hash("run_id"), read.small("iteration"));
    let session = read.word("session", facts);
    if read.choice("event") == "started" {
        return facts.push(time, Event::RunStarted(RunStarted { worker, run_id, session, iteration }));
    }
    let status = match read.choice("status") {
        "success" => RunStatus::Success,
        "failure" => RunStatus::Failure,
        "error" => RunStatus::Error,
        "skipped" => RunStatus::Skipped,
        _ => RunStatus::Unspecified,
    };
    let finished = RunFinished {
        worker,
        status: status.into(),
        duration_us: read.count("duration"),
        run_id,
        session,
        queued_us: read.count("queued"),
        replayed: false,
        iteration,
        model: read.word("model", facts),
    };
    facts.push(time, Event::RunFinished(finished));
    if let Some(sample) = used(read, worker) {
        facts.push(time, Event::ResourceSample(sample));
    }
}

/// What the run used, if it says anything of it.
fn used(read: &Read<'_>, worker: u32) -> Option<ResourceSample> {
    let cpu_percent = match (read.count("cpu"), read.count("duration")) {
        (Some(cpu), Some(duration)) if duration > 0 => Some(100.0 * cpu as f64 / duration as f64),
        _ => None,
    };
    let (memory_bytes, disk_io_bytes) = (read.count("memory_bytes"), read.count("io_bytes"));
    if cpu_percent.is_none() && memory_bytes.is_none() && disk_io_bytes.is_none() {
        return None;
    }
    Some(ResourceSample {
        scope: ResourceScope::Worker.into(),
        worker,
        cpu_percent,
        memory_bytes,
        disk_io_bytes,
        memory_total_bytes: None,
        processes: read.small("processes"),
    })
}

fn session(read: &Read<'_>, time: WallTime, facts: &mut Facts) -> Event {
    let status = match read.choice("status") {
        "running" => SessionStatus::Running,
        "paused" => SessionStatus::Paused,
        _ => SessionStatus::Stopped,
    };
    let ended = read.time("ended").or((status == SessionStatus::Stopped).then_some(time.0));
    Event::SessionState(SessionState {
        session: read.word("session", facts),
        status: status.into(),
        iteration: read.count("iteration").unwrap_or_default(),
        iteration_max: read.count("iteration_max").unwrap_or_default(),
        started_time_us: read.time("started"),
        ended_time_us: ended,
        result: read.word("result", facts),
        provider: read.word("provider", facts),
        phase: read.word("phase", facts),
        exit_code: read.signed("exit_code"),
    })
}

fn finding(read: &Read<'_>, facts: &mut Facts) -> Event {
    let severity = match read.choice("severity") {
        "critical" => Severity::Critical,
        "high" => Severity::High,
        "medium" => Severity::Medium,
        _ => Severity::Low,
    };
    let change = match read.choice("change") {
        "fixed" => FindingChange::Fixed,
        "dismissed" => FindingChange::Dismissed,
        _ => FindingChange::Found,
    };
    let file = match read.text("file") {
        "" => 0,
        file => facts.file(file),
    };
    Event::Finding(Finding {
        worker: read.word("worker", facts),
        severity: severity.into(),
        change: change.into(),
        count: read.small("count"),
        native_severity: read.word("native_severity", facts),
        file,
    })
}

fn usage(read: &Read<'_>, facts: &mut Facts) -> Event {
    let tokens = |key| read.count(key).unwrap_or_default();
    Event::Usage(Usage {
        model: read.word("model", facts),
        session: read.word("session", facts),
        worker: read.word("worker", facts),
        input_tokens: tokens("input_tokens"),
        output_tokens: tokens("output_tokens"),
        cache_read_tokens: tokens("cache_read_tokens"),
        cache_write_tokens: tokens("cache_write_tokens"),
        reported_cost_microusd: read.signed("cost_usd"),
        computed_cost_microusd: read.signed("computed_cost_usd"),
        iteration: read.small("iteration"),
        reasoning_tokens: tokens("reasoning_tokens"),
    })
}

fn push(read: &Read<'_>, facts: &mut Facts) -> Event {
    let gate = match read.choice("gate") {
        "pre_push" => PushGate::PrePush,
        "pre_commit" => PushGate::PreCommit,
        _ => PushGate::Unspecified,
    };
    Event::PushChecked(PushChecked {
        gate: gate.into(),
        allowed: read.truth("allowed"),
        prevented_bad_push: read.truth("prevented_bad_push"),
        reason: read.word("reason", facts),
    })
}

fn value(read: &Read<'_>) -> Event {
    let kind = match read.choice("of") {
        "build" => TimeSavedKind::Build,
        _ => TimeSavedKind::Developer,
    };
    let saved_us = read.count("saved").unwrap_or_default();
    Event::TimeSaved(TimeSaved { kind: kind.into(), saved_us, modelled: read.truth("modelled") })
}

/// Ids of traces look like secrets, and are random: they stand under their names alone, in their form alone.
fn is_trace_id(key: &str, id: &str) -> bool {
    let len = match key {
        "trace_id" => 32,
        "span_id" | "parent_span_id" => 16,
        _ => return false,
    };
    id.len() == len && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn log(read: &Read<'_>, facts: &mut Facts) -> Event {
    let severity = match read.choice("severity") {
        "debug" => LogSeverity::Debug,
        "warn" => LogSeverity::Warn,
        "error" => LogSeverity::Error,
        _ => LogSeverity::Info,
    };
    let mut attributes = Vec::with_capacity(read.said.attributes.len() + 1);
    for (key, value) in &read.said.attributes {
        let value = match value {
            _ if facts.withholds_key(key) => attribute::Value::Text(facts.word(WITHHELD)),
            Value::Text(id) if is_trace_id(key, id) => attribute::Value::Text(facts.trace_id(id)),
            Value::Text(text) => attribute::Value::Text(facts.word(text)),
            Value::Count(count) => attribute::Value::Number(*count as f64),
            Value::Signed(whole) => attribute::Value::Integer(*whole),
            Value::Number(number) => attribute::Value::Number(*number),
            Value::Truth(truth) => attribute::Value::Truth(*truth),
            Value::Choice(word) => attribute::Value::Text(facts.word(word)),
            Value::Time(time) => attribute::Value::Integer(time.0 as i64),
        };
        attributes.push(Attribute { key: facts.word(key), value: Some(value) });
    }
    let message = read.text("message");
    if !message.is_empty() && facts.allows(ContentField::Messages) {
        let text = facts.content(ContentField::Messages, message);
        attributes.push(Attribute { key: facts.word("message"), value: Some(attribute::Value::Text(text)) });
    }
    Event::LogRecord(LogRecord {
        name: read.word("name", facts),
        severity: severity.into(),
        attributes,
        session: read.word("session", facts),
    })
}
