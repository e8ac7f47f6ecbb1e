//! The event that a row came from.
//!
//! The words of rows are those of the wire's enumerations, in lower case and without their name: `pre_push` is
//! `PUSH_GATE_PRE_PUSH`. One that is not known stands for "not known" there too.

use history::dataset::DataSet;
use history::row::Rows;
use muster::batch::BatchBuilder;
use muster::v1::event::Kind;
use muster::v1::{self, attribute::Value as Said};
use serde_json::Value;

use crate::delivery::PassedOver;

/// The event, with its texts in `batch`.
pub(super) fn of_row(rows: &Rows<'_>, row: usize, batch: &mut BatchBuilder) -> Result<Kind, PassedOver> {
    let mut reader = Reader { rows, row, batch };
    match rows.data_set() {
        DataSet::Runs => Ok(reader.run()),
        DataSet::Events => reader.event(),
        DataSet::Sessions => Ok(reader.session()),
        DataSet::Usage => Ok(reader.usage()),
        DataSet::Samples => Err(PassedOver("samples are no events")),
    }
}

struct Reader<'a, 'b> {
    rows: &'a Rows<'a>,
    row: usize,
    batch: &'b mut BatchBuilder,
}

impl<'a> Reader<'a, '_> {
    fn word(&self, column: &str) -> &'a str {
        self.rows.named(column, self.row).text().unwrap_or_default()
    }

    fn text(&mut self, column: &str) -> u32 {
        let word = self.word(column);
        self.batch.text(word)
    }

    /// A number of an enumeration, 0 when it is not known.
    fn number(&self, column: &str, prefix: &str, of_name: impl Fn(&str) -> Option<i32>) -> i32 {
        of_name(&format!("{prefix}_{}", self.word(column).to_ascii_uppercase())).unwrap_or_default()
    }

    fn status(&self, column: &str) -> i32 {
        self.number(column, "RUN_STATUS", |name| v1::RunStatus::from_str_name(name).map(Into::into))
    }

    fn amount_if(&self, column: &str) -> Option<u64> {
        self.rows.named(column, self.row).integer().and_then(|amount| u64::try_from(amount).ok())
    }

    fn amount(&self, column: &str) -> u64 {
        self.amount_if(column).unwrap_or_default()
    }

    /// As much of it as the wire holds.
    fn amount_u32(&self, column: &str) -> u32 {
        u32::try_from(self.amount(column)).unwrap_or(u32::MAX)
    }

    fn time(&self, column: &str) -> Option<u64> {
        self.rows.named(column, self.row).time().and_then(|us| u64::try_from(us).ok())
    }

    fn run(&mut self) -> Kind {
        Kind::RunFinished(v1::RunFinished {
            worker: self.text("worker"),
            status: self.status("status"),
            duration_us: self.amount_if("duration_us"),
            run_id: 0,
            session: self.text("session"),
            queued_us: self.amount_if("queued_us"),
            replayed: self.rows.named("replayed", self.row).truth().unwrap_or_default(),
            iteration: self.amount_u32("iteration"),
            model: self.text("model"),
        })
    }

    fn session(&mut self) -> Kind {
        let status = |name: &str| v1::SessionStatus::from_str_name(name).map(Into::into);
        Kind::SessionState(v1::SessionState {
            session: self.text("session"),
            status: self.number("status", "SESSION_STATUS", status),
            iteration: self.amount("iteration"),
            iteration_max: self.amount("iteration_max"),
            started_time_us: self.time("started_time"),
            ended_time_us: self.time("ended_time"),
            result: self.text("result"),
            provider: self.text("provider"),
            phase: self.text("phase"),
            exit_code: self.rows.named("exit_code", self.row).integer(),
        })
    }

    fn usage(&mut self) -> Kind {
        Kind::Usage(v1::Usage {
            model: self.text("model"),
            session: self.text("session"),
            worker: self.text("worker"),
            input_tokens: self.amount("input_tokens"),
            output_tokens: self.amount("output_tokens"),
            cache_read_tokens: self.amount("cache_read_tokens"),
            cache_write_tokens: self.amount("cache_write_tokens"),
            reported_cost_microusd: self.rows.named("reported_cost_microusd", self.row).integer(),
            computed_cost_microusd: self.rows.named("computed_cost_microusd", self.row).integer(),
            iteration: self.amount_u32("iteration"),
            reasoning_tokens: self.amount("reasoning_tokens"),
        })
    }

    fn event(&mut self) -> Result<Kind, PassedOver> {
        Ok(match self.word("kind") {
            "run_started" => Kind::RunStarted(v1::RunStarted {
                worker: self.text("worker"),
                run_id: 0,
                session: self.text("session"),
                iteration: self.amount_u32("iteration"),
            }),
            "finding" => self.finding(),
            "findings_fixed" => Kind::FindingsFixed(v1::FindingsFixed { count: self.amount("count") }),
            "file_activity" => Kind::FileActivity(v1::FileActivity {
                change: self.number("outcome", "FILE_CHANGE", |name| {
                    v1::FileChange::from_str_name(name).map(Into::into)
                }),
                count: self.amount_u32("count"),
                file: self.text("file"),
            }),
            "push_checked" => Kind::PushChecked(v1::PushChecked {
                gate: self
                    .number("name", "PUSH_GATE", |name| v1::PushGate::from_str_name(name).map(Into::into)),
                allowed: self.word("outcome") == "allowed",
                prevented_bad_push: self.word("outcome") == "prevented",
                reason: self.text("reason"),
            }),
            "tool_call" => Kind::ToolCall(v1::ToolCall {
                worker: self.text("worker"),
                name: self.text("name"),
                status: self.status("outcome"),
                duration_us: self.amount_if("duration_us"),
            }),
            "time_saved" => Kind::TimeSaved(v1::TimeSaved {
                kind: self.number("name", "TIME_SAVED_KIND", |name| {
                    v1::TimeSavedKind::from_str_name(name).map(Into::into)
                }),
                saved_us: self.amount("duration_us"),
                modelled: self.word("outcome") == "modelled",
            }),
            "lines_recorded" => Kind::LinesRecorded(v1::LinesRecorded { count: self.amount("count") }),
            "bus_events" => Kind::BusEvents(v1::BusEvents {
                count: self.amount_u32("count"),
                latency_us: self.amount_if("duration_us"),
            }),
            "source_ended" => Kind::SourceEnded(v1::SourceEnded::default()),
            "tool_settings" => self.settings(),
            "log" => self.log(),
            "otlp" => {
                return Err(PassedOver("they came over OTLP, and the history does not keep what is in them"));
            }
            _ => return Err(PassedOver("they are of a kind that this version does not know")),
        })
    }

    fn finding(&mut self) -> Kind {
        let change = |name: &str| v1::FindingChange::from_str_name(name).map(Into::into);
        let severity = |name: &str| v1::Severity::from_str_name(name).map(Into::into);
        Kind::Finding(v1::Finding {
            worker: self.text("worker"),
            severity: self.number("severity", "SEVERITY", severity),
            change: self.number("outcome", "FINDING_CHANGE", change),
            count: self.amount_u32("count"),
            native_severity: self.text("reason"),
            file: self.text("file"),
        })
    }

    fn log(&mut self) -> Kind {
        let severity = |name: &str| v1::LogSeverity::from_str_name(name).map(Into::into);
        let attributes = self.attributes();
        Kind::LogRecord(v1::LogRecord {
            severity: self.number("severity", "LOG_SEVERITY", severity),
            name: self.text("name"),
            session: self.text("session"),
            attributes: attributes
                .into_iter()
                .filter_map(|(key, value)| self.attribute(&key, value))
                .collect(),
        })
    }

    /// The names of the disabled metrics are members with the value `disabled`, beside `sample_rate`.
    fn settings(&mut self) -> Kind {
        let attributes = self.attributes();
        let sample_rate = attributes.get("sample_rate").and_then(Value::as_f64).unwrap_or_default();
        let disabled = attributes.iter().filter(|(_, value)| *value == "disabled");
        let disabled_metrics = disabled.map(|(name, _)| self.batch.text(name)).collect();
        Kind::ToolSettings(v1::ToolSettings { disabled_metrics, sample_rate })
    }

    fn attributes(&self) -> serde_json::Map<String, Value> {
        serde_json::from_str(self.word("attributes")).unwrap_or_default()
    }

    fn attribute(&mut self, key: &str, value: Value) -> Option<v1::Attribute> {
        let said = match value {
            Value::String(text) => Said::Text(self.batch.text(&text)),
            Value::Number(number) => match number.as_i64() {
                Some(integer) => Said::Integer(integer),
                None => Said::Number(number.as_f64()?),
            },
            Value::Bool(truth) => Said::Truth(truth),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some(v1::Attribute { key: self.batch.text(key), value: Some(said) })
    }
}
