//! From records of the event log to facts: one table of what each type is.
//!
//! | type | facts |
//! |---|---|
//! | `session_start`, `session_end`, `session_stop`, `session_pause`, `session_resume` | `SessionState` |
//! | `iteration_start` | `RunStarted` of the worker `orchestrator` |
//! | `iteration_complete` | `RunFinished`, and `Usage` from the efficiency file |
//! | `claude_hook_*` with a tool's name | `ToolCall` and a log record |
//! | everything else, and of the above what could not be understood | `LogRecord` with numbers, truth values and words of state |
//!
//! Texts pass only by name of the field: a field of [`WORD_FIELDS`] whose value is one word, or content that is opted in.

use muster::clock::{Monotonic, WallTime};
use muster::v1;
use muster::v1::event::Kind;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cost::{self, IterationRecord, PriceList};
use super::efficiency::Efficiency;
use super::events_log::Record;
use super::iterations::{Finished, Iterations, Told, both};
use super::json::Loose;
use super::liveness::{Live, PidFile};
use super::seen::Seen;
use super::sessions::{End, Sessions, Start, Surroundings};
use super::state_files::short;
use super::timestamp;
use crate::facts::{ContentField, Facts};

/// The worker whose runs are the iterations.
const ORCHESTRATOR: &str = "orchestrator";
/// Most attributes of a log record.
const ATTRIBUTES_MAX: usize = 16;
/// A time stamp further in the future than this is a wrong clock.
const FUTURE_US_MAX: u64 = 24 * 3600 * 1_000_000;

/// Types that are worth more than a note.
const SEVERITIES: [(&str, v1::LogSeverity); 17] = [
    ("budget_warning", v1::LogSeverity::Warn),
    ("budget_exceeded", v1::LogSeverity::Error),
    ("watchdog_alert", v1::LogSeverity::Warn),
    ("rollback", v1::LogSeverity::Warn),
    ("checkpoint.metadata.dropped", v1::LogSeverity::Warn),
    ("policy_denied", v1::LogSeverity::Warn),
    ("provider_failover", v1::LogSeverity::Warn),
    ("gate_stuck", v1::LogSeverity::Warn),
    ("capability_degraded", v1::LogSeverity::Warn),
    ("dashboard_crash", v1::LogSeverity::Error),
    ("review_verification_failed", v1::LogSeverity::Warn),
    ("managed_agents_fallback", v1::LogSeverity::Warn),
    ("code_review_diff_oversized", v1::LogSeverity::Warn),
    ("code_review_prompt_oversized", v1::LogSeverity::Warn),
    ("code_review_dependency_context_oversized", v1::LogSeverity::Warn),
    ("cli_command_deprecated", v1::LogSeverity::Debug),
    ("agent_prompt", v1::LogSeverity::Debug),
];

/// Fields whose texts are words that the tool itself writes.
const WORD_FIELDS: [&str; 24] = [
    "action",
    "approval",
    "autonomy_mode",
    "capability",
    "checkpoint",
    "complexity",
    "confidence",
    "field",
    "from",
    "gate",
    "hook_event_name",
    "model",
    "outcome",
    "phase",
    "process",
    "provider",
    "reason",
    "result",
    "source",
    "stage",
    "status",
    "tier",
    "to",
    "type",
];

/// Fields that hold content, and which opt-in lets them pass.
const CONTENT_FIELDS: [(&str, ContentField); 8] = [
    ("prd", ContentField::Prompts),
    ("prompt", ContentField::Prompts),
    ("message", ContentField::Messages),
    ("statement", ContentField::Messages),
    ("evidence", ContentField::Messages),
    ("task", ContentField::Tasks),
    ("title", ContentField::Tasks),
    ("current_task", ContentField::Tasks),
];

/// What the log has told so far; part of the position.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Story {
    /// Sessions.
    pub sessions: Sessions,
    /// Iterations as runs.
    pub iterations: Iterations,
    /// Efficiency records that were stated.
    pub stated: Seen,
    /// The phase by the newest `phase_change`.
    pub phase: String,
    /// Newest time in the tool's data.
    pub newest_us: u64,
    /// Limit of iterations that the newest `session_start` names.
    pub iteration_max: Option<u64>,
    hooks: HookCalls,
}

/// A tool call is told before it (`PreToolUse`), after it, or both, as the hooks are set up. It is counted by what
/// comes after it, and by what comes before it as long as nothing ever came after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct HookCalls {
    results_come: bool,
    call_counted: bool,
}

/// What surrounds the record that is told.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    /// Wall time now.
    pub now: WallTime,
    /// Monotonic time now.
    pub monotonic: Monotonic,
    /// Sessions that live now.
    pub live: &'a [Live],
    /// Pid files, for the ids of sessions.
    pub pid_files: &'a [PidFile],
    /// Efficiency files.
    pub efficiency: &'a Efficiency,
    /// Prices.
    pub prices: &'a PriceList,
    /// For session states.
    pub around: Surroundings<'a>,
}

impl Story {
    /// States what one record says.
    pub(super) fn tell(&mut self, record: &Record, scene: &Scene<'_>, facts: &mut Facts) {
        let time = self.time_of(record, scene.now);
        let pid = record.field("pid").as_count().and_then(|pid| u32::try_from(pid).ok());
        let iteration = record.field("iteration").as_count();
        let iteration32 = iteration.and_then(|n| u32::try_from(n).ok());
        let around = scene.around;
        match (record.kind.as_str(), iteration32) {
            ("session_start", _) => {
                let id = scene.pid_files.iter().find(|file| file.pid.is_some() && file.pid == pid);
                let id = id.and_then(|file| file.session_id.as_deref());
                let before = self.sessions.run_scope();
                let provider = record.field("provider").as_text();
                let start = Start { pid, session_id: id, provider, live: scene.live };
                self.sessions.start(time, start, around, facts);
                if self.sessions.run_scope() != before {
                    self.iterations.new_session();
                    self.iteration_max = record.field("max_iterations").as_count().filter(|n| *n > 0);
                }
            }
            ("session_end", _) => self.sessions.end(end_of(record, time), pid, scene.live, around, facts),
            ("session_stop", _) => self.sessions.stop(end_of(record, time), pid),
            ("session_pause", _) => self.sessions.pause(time, pid, true, scene.live, around, facts),
            ("session_resume", _) => self.sessions.pause(time, pid, false, scene.live, around, facts),
            ("iteration_start", Some(n)) => {
                self.sessions.iterate(u64::from(n));
                self.iterations.begin(n, time);
                let started = v1::RunStarted {
                    worker: facts.word(ORCHESTRATOR),
                    run_id: self.run_id(n),
                    session: facts.word(&self.sessions.newest),
                    iteration: n,
                };
                facts.push(time, Kind::RunStarted(started));
            }
            ("iteration_complete", Some(n)) => self.complete(n, time, record, scene, facts),
            (kind, _) => {
                if kind.starts_with("claude_hook_") {
                    self.hook(kind, record, time, facts);
                }
                if kind == "phase_change" {
                    self.phase = short(record.field("to").as_text());
                }
                self.log(record, time, facts);
            }
        }
    }

    /// States an iteration that an efficiency file tells of.
    pub(super) fn tell_record(&mut self, record: &IterationRecord, scene: &Scene<'_>, facts: &mut Facts) {
        self.newest_us = self.newest_us.max(sane(record.time, scene.now).unwrap_or_default().0);
        self.spend(record, scene.prices, facts);
        let finished = self.finished(record.iteration, record.time);
        let finished = by_file(finished, record);
        if let Some(run) = self.iterations.told(Told::ByFile, finished, scene.monotonic) {
            say_run(&run, facts);
        }
    }

    /// States the iterations that waited long enough for their other half.
    pub(super) fn settle(&mut self, monotonic: Monotonic, facts: &mut Facts) {
        while let Some(run) = self.iterations.settled(monotonic) {
            say_run(&run, facts);
        }
    }

    fn complete(&mut self, n: u32, time: WallTime, record: &Record, scene: &Scene<'_>, facts: &mut Facts) {
        self.sessions.iterate(u64::from(n));
        let mut finished = self.finished(n, time);
        finished.duration_us = self.iterations.end(n, time);
        finished.failed = match record.field("status").as_text() {
            "completed" => Some(false),
            "failed" => Some(true),
            _ => record.field("exitCode").as_count().map(|code| code != 0),
        };
        if let Some(file) = scene.efficiency.take(n, time, &mut self.stated) {
            self.spend(&file, scene.prices, facts);
            let other = by_file(finished.clone(), &file);
            say_run(&both(finished, other), facts);
        } else if let Some(run) = self.iterations.told(Told::ByEvent, finished, scene.monotonic) {
            say_run(&run, facts);
        }
    }

    fn finished(&self, iteration: u32, time: WallTime) -> Finished {
        Finished {
            iteration,
            time_us: time.0,
            failed: None,
            duration_us: None,
            model: String::new(),
            session: self.sessions.newest.clone(),
            run_id: self.run_id(iteration),
        }
    }

    /// Loki Mode has no ids of iterations: session and number are one.
    fn run_id(&self, iteration: u32) -> u64 {
        hash64(&format!("{}/{iteration}", self.sessions.run_scope()))
    }

    fn spend(&self, record: &IterationRecord, prices: &PriceList, facts: &mut Facts) {
        let spent = record.spent;
        if spent.is_unknown() {
            return;
        }
        let usage = v1::Usage {
            model: facts.word(&record.model),
            session: facts.word(&self.sessions.newest),
            worker: facts.word(ORCHESTRATOR),
            input_tokens: spent.input_tokens,
            output_tokens: spent.output_tokens,
            cache_read_tokens: spent.cache_read_tokens,
            cache_write_tokens: spent.cache_write_tokens,
            reported_cost_microusd: spent.reported_usd.and_then(cost::microusd),
            computed_cost_microusd: spent.computed_usd(&record.model, prices).and_then(cost::microusd),
            iteration: record.iteration,
            reasoning_tokens: 0,
        };
        facts.push(record.time, Kind::Usage(usage));
    }

    fn hook(&mut self, kind: &str, record: &Record, time: WallTime, facts: &mut Facts) {
        let tool = match record.field("tool_name").as_text() {
            "" => record.field("tool").as_text(),
            name => name,
        };
        if tool.is_empty() {
            return;
        }
        let status = match &kind["claude_hook_".len()..] {
            "pretooluse" | "pre_tool_use" if self.hooks.results_come => return,
            "pretooluse" | "pre_tool_use" => {
                self.hooks.call_counted = true;
                v1::RunStatus::Unspecified
            }
            "posttooluse" | "post_tool_use" => v1::RunStatus::Success,
            "posttoolusefailure" | "post_tool_use_failure" => v1::RunStatus::Error,
            _ => return,
        };
        if status != v1::RunStatus::Unspecified {
            self.hooks.results_come = true;
            if std::mem::take(&mut self.hooks.call_counted) {
                return;
            }
        }
        let call = v1::ToolCall {
            worker: facts.word(ORCHESTRATOR),
            name: facts.word(tool),
            status: status.into(),
            duration_us: None,
        };
        facts.push(time, Kind::ToolCall(call));
    }

    fn log(&self, record: &Record, time: WallTime, facts: &mut Facts) {
        let severity =
            SEVERITIES.iter().find(|(kind, _)| *kind == record.kind).map(|(_, severity)| *severity);
        let hook = record.kind.starts_with("claude_hook_");
        let default = if hook { v1::LogSeverity::Debug } else { v1::LogSeverity::Info };
        let mut attributes = Vec::new();
        for (key, value) in &record.fields {
            if attributes.len() < ATTRIBUTES_MAX
                && let Some(attribute) = attribute(key, value, facts)
            {
                attributes.push(attribute);
            }
        }
        if !record.text.is_empty() && facts.allows(ContentField::Messages) {
            let text = facts.content(ContentField::Messages, &record.text);
            attributes.push(v1::Attribute {
                key: facts.word("data"),
                value: Some(v1::attribute::Value::Text(text)),
            });
        }
        let log = v1::LogRecord {
            name: facts.word(&record.kind),
            severity: severity.unwrap_or(default).into(),
            attributes,
            session: facts.word(&self.sessions.newest),
        };
        facts.push(time, Kind::LogRecord(log));
    }

    /// The record's own time. Without one, or with one from the far future, it happened when the one before it did.
    fn time_of(&mut self, record: &Record, now: WallTime) -> WallTime {
        let stamp = timestamp::parse(&record.timestamp).and_then(|stamp| sane(stamp.time, now));
        let Some(time) = stamp else {
            return if self.newest_us > 0 { WallTime(self.newest_us) } else { now };
        };
        self.newest_us = self.newest_us.max(time.0);
        time
    }
}

fn sane(time: WallTime, now: WallTime) -> Option<WallTime> {
    (time.0 <= now.0.saturating_add(FUTURE_US_MAX)).then_some(time)
}

fn by_file(finished: Finished, file: &IterationRecord) -> Finished {
    Finished { failed: file.failed, duration_us: file.duration_us, model: file.model.clone(), ..finished }
}

fn end_of(record: &Record, time: WallTime) -> End {
    let exit_code = match record.field("result") {
        Loose::Integer(code) => Some(*code),
        Loose::Text(code) => super::json::python_int(code),
        _ => None,
    };
    let reason = record.field("reason").as_text();
    let result = match (reason, exit_code) {
        ("", Some(0)) => "completed",
        ("", Some(_)) => "failed",
        ("", None) if record.kind == "session_stop" => "stop_requested",
        (reason, _) => one_word(reason).unwrap_or(""),
    };
    End { time_us: time.0, result: result.to_owned(), exit_code }
}

fn say_run(run: &Finished, facts: &mut Facts) {
    let status = match run.failed {
        Some(true) => v1::RunStatus::Failure,
        Some(false) => v1::RunStatus::Success,
        None => v1::RunStatus::Unspecified,
    };
    let finished = v1::RunFinished {
        worker: facts.word(ORCHESTRATOR),
        status: status.into(),
        duration_us: run.duration_us,
        run_id: run.run_id,
        session: facts.word(&run.session),
        queued_us: None,
        replayed: false,
        iteration: run.iteration,
        model: facts.word(&run.model),
    };
    facts.push(WallTime(run.time_us), Kind::RunFinished(finished));
}

fn attribute(key: &str, value: &Loose, facts: &mut Facts) -> Option<v1::Attribute> {
    use v1::attribute::Value;
    one_word(key)?;
    let value = match value {
        Loose::Truth(truth) => Value::Truth(*truth),
        Loose::Integer(n) => Value::Integer(*n),
        Loose::Number(n) => Value::Number(*n),
        Loose::Text(text) => text_value(key, text, facts)?,
        Loose::Null | Loose::Nested => return None,
    };
    Some(v1::Attribute { key: facts.word(key), value: Some(value) })
}

/// Numbers that the tool wrote as texts are numbers.
fn text_value(key: &str, text: &str, facts: &mut Facts) -> Option<v1::attribute::Value> {
    use v1::attribute::Value;
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() < 16
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    {
        let integer = text.parse().ok().map(Value::Integer);
        return integer.or_else(|| text.parse().ok().map(Value::Number));
    }
    if let Some((_, field)) = CONTENT_FIELDS.iter().find(|(name, _)| *name == key) {
        return facts.allows(*field).then(|| Value::Text(facts.content(*field, text)));
    }
    let word = WORD_FIELDS.contains(&key).then(|| one_word(text)).flatten()?;
    Some(Value::Text(facts.word(word)))
}

/// A text without blanks, as words of state and names of fields are.
fn one_word(text: &str) -> Option<&str> {
    (!text.is_empty() && text.len() <= 64 && !text.contains(char::is_whitespace)).then_some(text)
}

/// First 8 bytes of SHA-256.
pub(super) fn hash64(text: &str) -> u64 {
    Sha256::digest(text.as_bytes()).iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}
