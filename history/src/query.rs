//! What is asked of the history: a data set, a range of time and a filter.

use muster::clock::WallTime;
use muster::ids::Team;

use crate::dataset::DataSet;

/// A range of wall time: `from` is in it, `to` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// First microsecond in it.
    pub from: WallTime,
    /// First microsecond after it.
    pub to: WallTime,
}

/// Which rows. A text that is `None` lets every row through; one that is set lets those through that equal it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// The team; for a reader with a team's token it is always set, by the credential.
    pub team: Option<Team>,
    /// The project.
    pub project: Option<String>,
    /// The tool.
    pub tool: Option<String>,
    /// The worker: what the guides call the agent.
    pub worker: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The status of a run or session (`success`, `failure`, ...), the outcome of an event.
    pub status: Option<String>,
}

/// Which rows of which data set, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What kind of rows.
    pub data_set: DataSet,
    /// Of which time.
    pub range: TimeRange,
    /// Which of them.
    pub filter: Filter,
    /// Names of the columns that are wanted, in any order; `None` is all. `time` and `team` are always there.
    pub columns: Option<Vec<&'static str>>,
    /// Whether rows must come in the order of their time (then team, agent, epoch, seq). Without it they come as they lie.
    pub is_sorted: bool,
}
