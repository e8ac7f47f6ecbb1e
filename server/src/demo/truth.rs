//! What a correct reader must have counted by now.
//!
//! Every figure is raised right after the write that makes it true, so after [`super::Demo::tick`] returns the files and
//! the truth agree. Counters start with [`super::Demo::create`]: they are what a reader has counted that was there from
//! the start and that counted everything once.

use std::collections::BTreeMap;

/// All that the demo has made true since it was created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truth {
    /// By project folder (`shopapi`, `webshop`).
    pub loki: BTreeMap<String, LokiTruth>,
    /// Of `shopapi`, the only project with a DevLoop.
    pub devloop: DevloopTruth,
    /// Ticks that ended in an error. Some of their writes may be on disk uncounted: the rest is exact only at zero.
    pub failed_ticks: u64,
}

/// What one Loki Mode state directory says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LokiTruth {
    /// Lines of `events.jsonl`; one record is one line.
    pub event_lines: u64,
    /// The same by `type`; lines of the envelope without a type are under their `event`.
    pub events: BTreeMap<String, u64>,
    /// Iterations that started.
    pub iterations_started: u64,
    /// Iterations that ended with status `completed`.
    pub iterations_completed: u64,
    /// Iterations that ended with status `failed`.
    pub iterations_failed: u64,
    /// Iterations whose record has neither cost nor tokens: their cost is unknown, not zero.
    pub iterations_unmeasured: u64,
    /// Cost of all iterations of all sessions in millionths of a US dollar; where a record has tokens and no cost,
    /// the tokens at the prices of `pricing.json`, cache tokens free, as the real endpoint reckons.
    pub cost_microusd: u64,
    /// The part of the cost whose records are on disk now: those of the newest session, what `loki_cost_usd` shows.
    pub cost_on_disk_microusd: u64,
    /// Input tokens of all iterations.
    pub input_tokens: u64,
    /// Output tokens of all iterations.
    pub output_tokens: u64,
    /// Cache tokens read, of all iterations.
    pub cache_read_tokens: u64,
    /// Cache tokens written, of all iterations.
    pub cache_creation_tokens: u64,
    /// `loki_session_status`: 2 paused, 1 running, 0 none. `None` where the rules leave it open: no process, and a state
    /// file in mode `autonomous` that is younger than 60 s.
    pub session_status: Option<u8>,
    /// Iteration of the newest session, 0 before its first.
    pub iteration: u64,
    /// Tasks as the newest `dashboard-state.json` lists them.
    pub tasks: TaskCounts,
    /// Agents in the last list with entries, whether or not the monitor has written `[]` over it since.
    pub agents: AgentCounts,
    /// Votes with result `APPROVED`.
    pub council_approvals: u64,
    /// Votes with result `REJECTED`.
    pub council_rejections: u64,
}

/// Tasks by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Not begun.
    pub pending: u64,
    /// In work.
    pub in_progress: u64,
    /// Done; Loki Mode keeps the last 50.
    pub completed: u64,
    /// Failed; Loki Mode keeps the last 50.
    pub failed: u64,
}

/// Agents of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgentCounts {
    /// With status `active`.
    pub active: u64,
    /// All.
    pub total: u64,
}

/// What one DevLoop state directory says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DevloopTruth {
    /// Rows ever stored in `events.db`, each with its own id.
    pub bus_rows: u64,
    /// Rows that are still there: a restart counts sequences from 1 and replaces old rows.
    pub bus_rows_on_disk: u64,
    /// Rows of type `file:*`.
    pub file_events: u64,
    /// Rows `agent:*:completed` by worker.
    pub runs: BTreeMap<String, RunCounts>,
    /// Issues of those runs by worker and the tool's own severity, counted anew on each run, as `expected.json` of the
    /// fixtures defines them.
    pub issues: BTreeMap<(String, String), u64>,
    /// Issues of the newest run of each worker on each file, by worker and severity. Since the demo's start.
    pub active_issues: BTreeMap<(String, String), u64>,
    /// Complete lines of `events.jsonl`.
    pub event_lines: u64,
    /// Lines of `performance/metrics.jsonl`: one a run, raised ones too.
    pub metric_lines: u64,
    /// Outcomes of the pre-push hook.
    pub pushes: CheckCounts,
    /// Outcomes of the pre-commit hook.
    pub commits: CheckCounts,
    /// Findings in all tier files, repeated ones too.
    pub findings_on_disk: u64,
    /// Lines of `feedback/feedback.jsonl` by `feedback_type`.
    pub feedback: BTreeMap<String, u64>,
    /// Rows `agent:resource_limit_exceeded`.
    pub resource_pauses: u64,
    /// Times that the tool was started again.
    pub restarts: u64,
}

/// Runs of one worker. The first two are `success` in the guide's family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunCounts {
    /// Succeeded and did something.
    pub success: u64,
    /// Succeeded because there was nothing to do.
    pub skipped: u64,
    /// Ended with `success` false.
    pub failure: u64,
    /// Raised: `success` false, an error and no message.
    pub error: u64,
}

/// Outcomes of a hook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckCounts {
    /// Let through.
    pub passed: u64,
    /// Held back.
    pub prevented: u64,
}

impl Truth {
    /// Runs of all workers.
    pub fn runs_total(&self) -> u64 {
        self.devloop.runs.values().map(RunCounts::total).sum()
    }
}

impl RunCounts {
    /// All runs.
    pub fn total(&self) -> u64 {
        self.success + self.skipped + self.failure + self.error
    }
}
