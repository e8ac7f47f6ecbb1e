//! The five data sets and every column of them, in one table.
//!
//! From it come the Arrow and Parquet schemas, docs/history.md and the names that exports use. Units are in the names. A
//! text that is not known is null, never empty. A column is never renamed or given another meaning: a new one comes at the
//! end of its table and raises [`SCHEMA_VERSION`], and a reader of older files sees null there.
//!
//! The team and the UTC date are not columns of the files but folders (`team=.../date=...`, as Hive has them), which
//! DuckDB, pandas, Polars, Spark and ClickHouse show as columns.

mod reference;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

pub use reference::reference_page;

/// The version of the tables, under the key [`SCHEMA_VERSION_KEY`] of every file's metadata.
pub const SCHEMA_VERSION: u32 = 1;
/// Key of the version in a file's metadata.
pub const SCHEMA_VERSION_KEY: &str = "muster.schema_version";
/// Key of the data set's name in a file's metadata.
pub const DATA_SET_KEY: &str = "muster.data_set";

/// A kind of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataSet {
    /// One row a finished run of a worker.
    Runs,
    /// One row a fact that is in none of the others: findings, pushes, file changes, tool calls, logs.
    Events,
    /// One row a change of a session's state.
    Sessions,
    /// One row a report of tokens and cost.
    Usage,
    /// One row a reading of a gauge.
    Samples,
}

/// A column of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name, with its unit where it has one.
    pub name: &'static str,
    /// What its values are.
    pub values: Values,
    /// Whether it may be null: the fact was not known.
    pub is_nullable: bool,
    /// What it says.
    pub help: &'static str,
}

/// What a column's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Microseconds since the epoch, UTC.
    Time,
    /// A text of few different values: a dictionary.
    Word,
    /// A text that is different in most rows.
    Text,
    /// A 64-bit signed integer.
    Integer,
    /// A double.
    Number,
    /// True or false.
    Truth,
}

/// A name that is no data set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no data set: there are runs, events, sessions, usage and samples")]
pub struct UnknownDataSet(String);

impl DataSet {
    /// All of them.
    pub const ALL: [DataSet; 5] =
        [DataSet::Runs, DataSet::Events, DataSet::Sessions, DataSet::Usage, DataSet::Samples];

    /// Its name: the folder of its files and the last part of its path under `/api/v1/history/`.
    pub const fn name(self) -> &'static str {
        match self {
            DataSet::Runs => "runs",
            DataSet::Events => "events",
            DataSet::Sessions => "sessions",
            DataSet::Usage => "usage",
            DataSet::Samples => "samples",
        }
    }

    /// Its columns in the files: those that all data sets have, then its own.
    pub fn columns(self) -> impl Iterator<Item = &'static Column> {
        SHARED.iter().chain(self.own_columns())
    }

    /// Its place among [`Self::columns`].
    pub fn column_index(self, name: &str) -> Option<usize> {
        self.columns().position(|column| column.name == name)
    }

    /// The columns that only it has.
    pub const fn own_columns(self) -> &'static [Column] {
        match self {
            DataSet::Runs => RUNS,
            DataSet::Events => EVENTS,
            DataSet::Sessions => SESSIONS,
            DataSet::Usage => USAGE,
            DataSet::Samples => SAMPLES,
        }
    }

    /// The schema of its files.
    pub fn file_schema(self) -> SchemaRef {
        let fields: Vec<Field> = self.columns().map(Column::field).collect();
        Arc::new(Schema::new_with_metadata(fields, self.metadata()))
    }

    /// The schema of what a scan answers: the files' columns, and `team` after `time`.
    pub fn row_schema(self) -> SchemaRef {
        let mut fields: Vec<Field> = self.columns().map(Column::field).collect();
        fields.insert(1, TEAM.field());
        Arc::new(Schema::new_with_metadata(fields, self.metadata()))
    }

    fn metadata(self) -> HashMap<String, String> {
        HashMap::from([
            (SCHEMA_VERSION_KEY.to_owned(), SCHEMA_VERSION.to_string()),
            (DATA_SET_KEY.to_owned(), self.name().to_owned()),
        ])
    }
}

impl fmt::Display for DataSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DataSet {
    type Err = UnknownDataSet;

    fn from_str(name: &str) -> Result<Self, UnknownDataSet> {
        Self::ALL.into_iter().find(|set| set.name() == name).ok_or_else(|| UnknownDataSet(name.to_owned()))
    }
}

impl Column {
    /// The column as an Arrow field.
    pub fn field(&self) -> Field {
        Field::new(self.name, self.values.data_type(), self.is_nullable)
    }
}

impl Values {
    /// Its Arrow type.
    pub fn data_type(self) -> DataType {
        match self {
            Values::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Values::Word => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            Values::Text => DataType::Utf8,
            Values::Integer => DataType::Int64,
            Values::Number => DataType::Float64,
            Values::Truth => DataType::Boolean,
        }
    }
}

const fn known(name: &'static str, values: Values, help: &'static str) -> Column {
    Column { name, values, is_nullable: false, help }
}

const fn maybe(name: &'static str, values: Values, help: &'static str) -> Column {
    Column { name, values, is_nullable: true, help }
}

/// The team, which is a folder and no column of the files.
pub const TEAM: Column = known("team", Values::Word, "the tenant, by the credential of who sent it");

/// What every row has.
const SHARED: &[Column] = &[
    known("time", Values::Time, "when it happened, by the clock of the machine it happened on"),
    maybe(
        "agent_id",
        Values::Word,
        "the agent that saw it, 32 hexadecimal digits; null: sent straight to the collector over OTLP",
    ),
    maybe("epoch", Values::Word, "the life of the agent's spool, 16 hexadecimal digits"),
    maybe(
        "seq",
        Values::Integer,
        "the number of the event in that life: with agent_id and epoch it names the event",
    ),
    known(
        "weight",
        Values::Integer,
        "how many events the row stands for, where the tool's data is sampled; else 1",
    ),
    maybe("tool", Values::Word, "what was watched"),
    maybe("project", Values::Word, "the watched project"),
    maybe("user", Values::Word, "the user who runs the agent"),
    maybe("host", Values::Word, "the machine"),
    maybe("os", Values::Word, "its operating system"),
    maybe("repository", Values::Word, "the repository of the project"),
    maybe("branch", Values::Word, "its branch"),
    maybe("tool_version", Values::Word, "the version of the tool"),
];

const RUNS: &[Column] = &[
    maybe("worker", Values::Word, "who ran: what the guides call the agent"),
    known(
        "status",
        Values::Word,
        "success, failure (it ran, and what it checked is not right), error (it broke), skipped, or unknown",
    ),
    maybe("duration_us", Values::Integer, "how long it ran, in microseconds"),
    maybe("queued_us", Values::Integer, "from its cause to its start, in microseconds"),
    maybe("session", Values::Word, "the tool's name of the session"),
    maybe("iteration", Values::Integer, "the iteration it belongs to"),
    maybe("model", Values::Word, "the model that it used"),
    known("replayed", Values::Truth, "whether the tool ran an old cause again after a restart"),
];

const EVENTS: &[Column] = &[
    known(
        "kind",
        Values::Word,
        "run_started, finding, findings_fixed, file_activity, push_checked, tool_call, time_saved, lines_recorded, bus_events, source_ended, tool_settings, log, otlp, or unknown (of a newer agent)",
    ),
    maybe(
        "name",
        Values::Word,
        "the tool that was called, the name of the log event, the signal of OTLP, what time was saved for, the gate of a push",
    ),
    maybe("worker", Values::Word, "who did it"),
    maybe("session", Values::Word, "the tool's name of the session"),
    maybe("iteration", Values::Integer, "the iteration it belongs to"),
    maybe(
        "severity",
        Values::Word,
        "critical, high, medium, low of a finding; debug, info, warn, error of a log",
    ),
    maybe(
        "outcome",
        Values::Word,
        "found, fixed, dismissed; created, modified, deleted, moved; allowed, stopped, prevented (stopped, and it would have failed in CI); success, failure, error, skipped; modelled, measured",
    ),
    maybe("reason", Values::Word, "the tool's own word for the severity or for why a push was stopped"),
    known(
        "count",
        Values::Integer,
        "how many: findings, changes, lines, items; else 1. Times weight is what the counters count",
    ),
    maybe(
        "duration_us",
        Values::Integer,
        "how long the call took, how much time was saved, the event's latency, in microseconds",
    ),
    maybe("file", Values::Word, "the file, relative to the project, where file names are opted in"),
    maybe(
        "attributes",
        Values::Text,
        "the attributes of a log event, or the settings of a tool, as a JSON object of at most 16 KiB",
    ),
];

const SESSIONS: &[Column] = &[
    maybe("session", Values::Word, "the tool's name of the session"),
    known("status", Values::Word, "running, paused, stopped, or unknown"),
    known("iteration", Values::Integer, "the iteration it is in"),
    maybe("iteration_max", Values::Integer, "the last iteration it may reach"),
    maybe("started_time", Values::Time, "when it began"),
    maybe("ended_time", Values::Time, "when it ended"),
    maybe("result", Values::Word, "how it ended, in the tool's words"),
    maybe("provider", Values::Word, "the provider of its model"),
    maybe("phase", Values::Word, "the phase it is in, in the tool's words"),
    maybe("exit_code", Values::Integer, "the exit code of the tool"),
];

const USAGE: &[Column] = &[
    maybe("worker", Values::Word, "who used it"),
    maybe("session", Values::Word, "the tool's name of the session"),
    maybe("iteration", Values::Integer, "the iteration it belongs to"),
    maybe("model", Values::Word, "the model"),
    known("input_tokens", Values::Integer, "tokens read that no cache had"),
    known(
        "output_tokens",
        Values::Integer,
        "tokens written, without those for reasoning where the tool tells them apart",
    ),
    known("cache_read_tokens", Values::Integer, "tokens read from the provider's cache"),
    known("cache_write_tokens", Values::Integer, "tokens written to the provider's cache"),
    known("reasoning_tokens", Values::Integer, "tokens written for reasoning"),
    maybe(
        "reported_cost_microusd",
        Values::Integer,
        "what the tool says it cost, in millionths of a US dollar; null: it did not say",
    ),
    maybe(
        "computed_cost_microusd",
        Values::Integer,
        "what the tokens cost by the tool's own price list, in millionths of a US dollar; null: no price known",
    ),
];

const SAMPLES: &[Column] = &[
    known(
        "name",
        Values::Word,
        "what was read, with its unit: session_status, session_iteration, session_iteration_max, session_started_time_us, sessions_live, session_phase, queue_depth, tasks_pending, tasks_in_progress, tasks_completed, tasks_failed, tasks_review, workers_active, workers_registered, active_findings_critical, active_findings_high, active_findings_medium, active_findings_low, files_watched, cost_usd, budget_limit_usd, budget_used_usd, budget_exceeded, cpu_percent, memory_bytes, disk_io_bytes, memory_total_bytes, processes, newest_data_time_us, parse_errors, rescans, records_skipped, read_errors",
    ),
    maybe("scope", Values::Word, "of a resource: tool, worker, process_tree or machine"),
    maybe("worker", Values::Word, "whose it is"),
    maybe(
        "value",
        Values::Number,
        "what it read; null where the reading is a word or nothing. 0, 1, 2 of session_status: stopped, running, paused",
    ),
    maybe("text", Values::Word, "what it read, where it is a word"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_reference_page_is_what_the_tables_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/history.md");
        let page = reference_page();
        if std::env::var_os("MUSTER_BLESS").is_some() {
            let access = muster::atomic_file::Access::Umask;
            muster::atomic_file::replace(path.as_ref(), page.as_bytes(), access).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == page, "{path} is not what the tables say; MUSTER_BLESS=1 writes it anew");
    }

    #[test]
    fn no_data_set_has_a_column_twice_and_time_comes_first() {
        for set in DataSet::ALL {
            let names: Vec<_> = set.columns().map(|column| column.name).collect();
            assert_eq!(names[0], "time");
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{set}");
            assert_eq!(set.row_schema().fields().len(), names.len() + 1);
        }
    }

    #[test]
    fn a_data_set_is_known_by_its_name() {
        for set in DataSet::ALL {
            assert_eq!(set.name().parse(), Ok(set));
        }
        assert!("run".parse::<DataSet>().is_err());
    }
}
