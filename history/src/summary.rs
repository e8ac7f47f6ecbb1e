//! What happened in a range of time, counted from rows.
//!
//! Every figure is the one that the counters of `/metrics` grew by in the same time, and the one that anybody counts from
//! the files. `weight` is how many events a row stands for, and each figure counts with it.
//!
//! | figure | is |
//! |---|---|
//! | success rate | runs that succeeded or had nothing to do, of all runs that ended: `devloop_agent_runs_total{status="success"}` over all of it, as the guide has it |
//! | p50, p95, p99 | exact: the smallest known duration that so many of a hundred runs do not exceed (DuckDB's `quantile_disc`) |
//! | cost | of each piece of work what the tool reported, else what its tokens cost by the tool's prices, else not known: never two of them |
//! | pushes | checks before a push; checks before a commit are apart |
//! | modelled time | a tool's own constant for each prevented failure, and no measurement |
//!
//! A figure that a question leaves no sense for is absent and not 0: sessions know no worker, events no model, and only runs
//! have a status to filter by.

mod answer;
mod count;
mod groups;
mod quantiles;
mod sessions;
mod tally;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use muster::clock::WallTime;
use serde::{Deserialize, Serialize};

use crate::query::{Filter, TimeRange};

pub use quantiles::VALUES_MAX;
pub use sessions::SESSIONS_MAX;

/// Most groups that are told apart in an answer. The others are added up.
pub const GROUPS_SHOWN_MAX: usize = 100;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryAsked {
    /// Of which time.
    pub range: TimeRange,
    /// Of which rows.
    pub filter: Filter,
    /// How to part them.
    pub by: Option<By>,
    /// Whether to count the time of the same length directly before it too.
    pub compare: bool,
}

/// What rows are parted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The team.
    Team,
    /// The user.
    User,
    /// The project.
    Project,
    /// The tool.
    Tool,
    /// The worker: what the guides call the agent.
    Agent,
    /// The model.
    Model,
    /// The UTC day.
    Day,
}

/// A name that rows are not parted by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is nothing to group by: there are team, user, project, tool, agent, model and day")]
pub struct UnknownBy(String);

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// First moment of the range.
    #[serde(with = "rfc3339")]
    pub from: WallTime,
    /// First moment after it.
    #[serde(with = "rfc3339")]
    pub to: WallTime,
    /// Everything together.
    pub total: Figures,
    /// The same for the time before, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// What the groups are, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// Those with the most runs first (days: in order), at most [`GROUPS_SHOWN_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Groups that had no room in `groups`, added up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<Others>,
    /// How the figures went over the range.
    pub series: Series,
    /// What the reader must know of the answer, in sentences: files that could not be read, records that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

/// The time before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// Its first moment; it ends where the range begins.
    #[serde(with = "rfc3339")]
    pub from: WallTime,
    /// Its figures.
    pub total: Figures,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its name; `None`: not known. Of a day its date.
    pub name: Option<String>,
    /// Its figures.
    pub figures: Figures,
}

/// The groups without room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Others {
    /// How many they are; at least that many, where there are more than can be told apart.
    pub groups: u64,
    /// Their figures together.
    pub figures: Figures,
}

/// Figures over time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Series {
    /// Seconds between two points: 3600 in a range of at most two days, else 86400. Points are on full hours or UTC days.
    pub step_seconds: u64,
    /// In order, those without rows too; the newest [`POINTS_MAX`] of a longer range.
    pub points: Vec<Point>,
}

/// Most points of a series.
pub const POINTS_MAX: usize = 800;

/// Figures of an hour or a day, as far as it lies in the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Its beginning.
    #[serde(with = "rfc3339")]
    pub start: WallTime,
    /// Runs that ended.
    pub runs: u64,
    /// Those of them that succeeded or had nothing to do.
    pub succeeded: u64,
    /// Findings that runs reported.
    pub findings: u64,
    /// Known cost, in millionths of a US dollar.
    pub cost_microusd: u64,
}

/// All figures of a group or of everything. A part that is absent was not to be had for what was asked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Runs of workers.
    pub runs: RunFigures,
    /// Findings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<FindingFigures>,
    /// Gates before pushes and commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushes: Option<PushFigures>,
    /// Time saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_saved: Option<TimeSavedFigures>,
    /// Sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<SessionFigures>,
    /// Tokens and cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageFigures>,
}

/// Runs that ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunFigures {
    /// All of them.
    pub total: u64,
    /// They succeeded.
    pub success: u64,
    /// They ran, and what they checked is not right.
    pub failure: u64,
    /// They broke.
    pub error: u64,
    /// They had nothing to do.
    pub skipped: u64,
    /// A newer agent said what we do not know.
    pub unknown: u64,
    /// (success + skipped) / total; absent without runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_rate: Option<f64>,
    /// How long they ran; absent when no run's duration is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Quantiles>,
    /// How long they waited from their cause to their start; absent when of none it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<Quantiles>,
}

/// Exact quantiles of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Of how many runs it is known.
    pub known: u64,
    /// All of them together, in microseconds.
    pub sum_us: u64,
    /// Half of them take at most this, in microseconds.
    pub p50_us: u64,
    /// 95 of 100 take at most this, in microseconds.
    pub p95_us: u64,
    /// 99 of 100 take at most this, in microseconds.
    pub p99_us: u64,
}

/// Findings. The same finding counts again when it is reported again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FindingFigures {
    /// Reported by runs, of all severities.
    pub found: u64,
    /// Critical ones of them.
    pub critical: u64,
    /// High ones of them.
    pub high: u64,
    /// Medium ones of them.
    pub medium: u64,
    /// Low ones of them.
    pub low: u64,
    /// Those without a severity that is known.
    pub unknown: u64,
    /// Said to be fixed, one by one.
    pub fixed: u64,
    /// Fixed automatically, as the tool's own log counts them. It may count some of `fixed` too: do not add them up.
    pub autofixed: u64,
    /// Said by a person to be none.
    pub dismissed: u64,
}

/// Gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PushFigures {
    /// Pushes that a gate checked.
    pub checked: u64,
    /// Pushes that it let through.
    pub allowed: u64,
    /// Pushes that it stopped, those that would have failed in CI among them.
    pub stopped: u64,
    /// CI failures prevented: stopped pushes that would have failed, and those that the tool tells of without a gate.
    pub prevented_ci_failures: u64,
    /// Commits that a gate checked.
    pub commits_checked: u64,
    /// Commits that it stopped.
    pub commits_stopped: u64,
}

/// Time saved, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TimeSavedFigures {
    /// Of developers.
    pub developer_us: u64,
    /// Of builds.
    pub build_us: u64,
    /// Of neither that is known.
    pub other_us: u64,
    /// How much of all of it is a model's constant and no measurement.
    pub modelled_us: u64,
}

/// Sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SessionFigures {
    /// Different sessions that said something.
    pub seen: u64,
    /// Those of them that began in the range.
    pub started: u64,
}

/// Tokens and cost. Kinds of tokens do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageFigures {
    /// Pieces of work whose tokens were reported.
    pub reports: u64,
    /// Tokens read that no cache had.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Tokens read from the provider's cache.
    pub cache_read_tokens: u64,
    /// Tokens written to the provider's cache.
    pub cache_write_tokens: u64,
    /// Tokens written for reasoning.
    pub reasoning_tokens: u64,
    /// Cost that tools reported, in millionths of a US dollar.
    pub reported_cost_microusd: u64,
    /// Cost of pieces of work of which no cost was reported but prices are known, in millionths of a US dollar.
    pub computed_cost_microusd: u64,
    /// Pieces of work whose cost nobody knows.
    pub cost_unknown: u64,
    /// Tokens of all kinds in those.
    pub cost_unknown_tokens: u64,
}

impl UsageFigures {
    /// Tokens of all kinds.
    pub fn tokens(&self) -> u64 {
        [self.output_tokens, self.cache_read_tokens, self.cache_write_tokens, self.reasoning_tokens]
            .into_iter()
            .fold(self.input_tokens, u64::saturating_add)
    }

    /// Known cost, reported and computed, in millionths of a US dollar.
    pub fn cost_microusd(&self) -> u64 {
        self.reported_cost_microusd.saturating_add(self.computed_cost_microusd)
    }
}

impl By {
    /// All of them.
    pub const ALL: [By; 7] = [By::Team, By::User, By::Project, By::Tool, By::Agent, By::Model, By::Day];

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            By::Team => "team",
            By::User => "user",
            By::Project => "project",
            By::Tool => "tool",
            By::Agent => "agent",
            By::Model => "model",
            By::Day => "day",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for By {
    type Err = UnknownBy;

    fn from_str(name: &str) -> Result<Self, UnknownBy> {
        Self::ALL.into_iter().find(|by| by.name() == name).ok_or_else(|| UnknownBy(name.to_owned()))
    }
}

/// Times in JSON.
mod rfc3339 {
    use muster::clock::WallTime;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(time: &WallTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&crate::when::rfc3339(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<WallTime, D::Error> {
        let text = String::deserialize(from)?;
        let time: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        u64::try_from(time.as_microsecond()).map(WallTime).map_err(|_| de::Error::custom("time before 1970"))
    }
}
