//! What the small state files say (contracts/loki-mode.md sections 1.1, 1.3, 1.7 to 1.10), from their bytes.
//!
//! Each parser answers `None` for bytes that are not the whole file it expects; the caller then keeps the last good
//! value. A field of the wrong type is as absent.

use muster::clock::WallTime;
use serde::{Deserialize, Serialize};

use super::json::{self, Length, List, Loose, Object};
use super::timestamp;
use crate::facts::WORD_BYTES_MAX;

/// `dashboard-state.json`: what its monitor last wrote.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DashboardState {
    /// `autonomous`, `running`, `paused`, `stopped`, `demo`.
    pub mode: String,
    /// The monitor's iteration.
    pub iteration: u64,
    /// The project's first start; only with a time zone, as the real endpoint demands.
    pub started_us: Option<u64>,
    /// When the file was written, by its own account. No part of a position: it changes every few seconds.
    #[serde(skip)]
    pub written_us: Option<u64>,
    /// The version that first initialised the project.
    pub version: String,
    /// The phase, free text of the tool.
    pub phase: String,
    /// `claude`, `codex`, ...
    pub provider: String,
    /// The task board.
    pub tasks: TaskBoard,
    /// The copy of `state/agents.json`.
    pub workers: WorkerCount,
}

/// How many tasks stand in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TaskBoard {
    /// Waiting.
    pub pending: u64,
    /// Being worked on.
    pub in_progress: u64,
    /// Done; the tool keeps the last 50.
    pub completed: u64,
    /// Given up; the tool keeps the last 50.
    pub failed: u64,
    /// Waiting for review.
    pub review: u64,
}

/// How many workers are registered, and how many of them work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WorkerCount {
    /// Status `active`.
    pub active: u64,
    /// All.
    pub registered: u64,
}

/// One entry of `state/agents.json`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Worker {
    agent_id: Loose,
    agent_type: Loose,
    model: Loose,
    status: Loose,
    spawned_at: Loose,
    completed_at: Loose,
}

impl Worker {
    /// Its id.
    pub(super) fn id(&self) -> &str {
        self.agent_id.as_text()
    }

    /// `eng-backend`, `orchestrator`, ...
    pub(super) fn role(&self) -> &str {
        self.agent_type.as_text()
    }

    /// The model it runs on.
    pub(super) fn model(&self) -> &str {
        self.model.as_text()
    }

    /// `active`, `completed`, `crashed`.
    pub(super) fn status(&self) -> &str {
        self.status.as_text()
    }

    /// When it was spawned.
    pub(super) fn spawned(&self) -> Option<WallTime> {
        timestamp::parse(self.spawned_at.as_text()).map(|stamp| stamp.time)
    }

    /// When it ended.
    pub(super) fn completed(&self) -> Option<WallTime> {
        timestamp::parse(self.completed_at.as_text()).map(|stamp| stamp.time)
    }
}

/// `metrics/budget.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Budget {
    /// What may be spent.
    pub limit_usd: Option<f64>,
    /// What was spent when it was last checked.
    pub used_usd: Option<f64>,
    /// Whether the tool says that the limit was reached.
    pub exceeded: bool,
    /// A limit of iterations, where a version writes one.
    pub max_iterations: Option<u64>,
}

/// `autonomy-state.json`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct AutonomyState {
    /// `running`, `completed`, `max_iterations_reached`, ...
    pub status: String,
    /// Whose state it is.
    pub pid: Option<u64>,
    /// How often it has iterated (v9).
    pub iteration: Option<u64>,
}

/// `session.json` of a session that a skill started, without `run.sh`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SkillSession {
    /// `running`, `stopped`.
    pub status: String,
    /// Its start.
    pub started: Option<WallTime>,
    /// Its last turn.
    pub updated: Option<WallTime>,
    /// `claude`, `codex`, ...
    pub provider: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawDashboardState {
    mode: Loose,
    iteration: Loose,
    started_at: Loose,
    timestamp: Loose,
    version: Loose,
    phase: Loose,
    provider: Loose,
    tasks: Object<RawTasks>,
    agents: List<Object<Worker>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawTasks {
    pending: Length,
    in_progress: Length,
    completed: Length,
    failed: Length,
    review: Length,
}

/// Parses `dashboard-state.json`.
pub(super) fn dashboard_state(bytes: &[u8]) -> Option<DashboardState> {
    let raw = json::parse::<Object<RawDashboardState>>(bytes)?.0?;
    let tasks = raw.tasks.0.unwrap_or_default();
    let started = timestamp::parse(raw.started_at.as_text()).filter(|stamp| stamp.zoned);
    Some(DashboardState {
        mode: short(raw.mode.as_text()),
        iteration: raw.iteration.as_count().unwrap_or(0),
        started_us: started.map(|stamp| stamp.time.0),
        written_us: timestamp::parse(raw.timestamp.as_text()).map(|stamp| stamp.time.0),
        version: short(raw.version.as_text()),
        phase: short(raw.phase.as_text()),
        provider: short(raw.provider.as_text()),
        tasks: TaskBoard {
            pending: tasks.pending.0.unwrap_or(0),
            in_progress: tasks.in_progress.0.unwrap_or(0),
            completed: tasks.completed.0.unwrap_or(0),
            failed: tasks.failed.0.unwrap_or(0),
            review: tasks.review.0.unwrap_or(0),
        },
        workers: count_workers(&raw.agents.0.unwrap_or_default()),
    })
}

/// A word that is kept in a position: what is longer than a word may be stays too long, and is redacted later.
pub(super) fn short(text: &str) -> String {
    text[..text.floor_char_boundary(WORD_BYTES_MAX + 1)].to_owned()
}

/// What `state/agents.json` holds. An element that is no object is a worker of which nothing is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster {
    /// The numbers.
    pub count: WorkerCount,
    /// The entries that are objects.
    pub workers: Vec<Worker>,
}

/// Parses `state/agents.json`. JSON that is no list is an empty roster, as for the real endpoint.
pub(super) fn roster(bytes: &[u8]) -> Option<Roster> {
    let list = json::parse::<List<Object<Worker>>>(bytes)?.0.unwrap_or_default();
    Some(Roster {
        count: count_workers(&list),
        workers: list.into_iter().filter_map(|worker| worker.0).collect(),
    })
}

fn count_workers(list: &[Object<Worker>]) -> WorkerCount {
    let active =
        list.iter().filter(|worker| worker.0.as_ref().is_some_and(|w| w.status() == "active")).count();
    WorkerCount { active: active as u64, registered: list.len() as u64 }
}

/// Parses a file of `queue/`: a list of tasks, or an object with one. Answers how many there are.
pub(super) fn queue_length(bytes: &[u8]) -> Option<u64> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Wrapped {
        tasks: Length,
    }
    if let Some(list) = json::parse::<List<serde::de::IgnoredAny>>(bytes)?.0 {
        return Some(list.len() as u64);
    }
    Some(json::parse::<Object<Wrapped>>(bytes)?.0.unwrap_or_default().tasks.0.unwrap_or(0))
}

/// Parses `metrics/budget.json`.
pub(super) fn budget(bytes: &[u8]) -> Option<Budget> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Raw {
        limit: Loose,
        budget_limit: Loose,
        budget_used: Loose,
        exceeded: Loose,
        max_iterations: Loose,
    }
    let raw = json::parse::<Object<Raw>>(bytes)?.0?;
    Some(Budget {
        limit_usd: raw.limit.as_float().or_else(|| raw.budget_limit.as_float()),
        used_usd: raw.budget_used.as_float(),
        exceeded: raw.exceeded == Loose::Truth(true),
        max_iterations: raw.max_iterations.as_count().filter(|n| *n > 0),
    })
}

/// Parses `autonomy-state.json`.
pub(super) fn autonomy_state(bytes: &[u8]) -> Option<AutonomyState> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Raw {
        status: Loose,
        pid: Loose,
        iteration_count: Loose,
    }
    let raw = json::parse::<Object<Raw>>(bytes)?.0?;
    Some(AutonomyState {
        status: short(raw.status.as_text()),
        pid: raw.pid.as_count(),
        iteration: raw.iteration_count.as_count(),
    })
}

/// Parses `session.json`.
pub(super) fn skill_session(bytes: &[u8]) -> Option<SkillSession> {
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Raw {
        status: Loose,
        started_at: Loose,
        updated_at: Loose,
        provider: Loose,
    }
    let raw = json::parse::<Object<Raw>>(bytes)?.0?;
    let time = |field: &Loose| timestamp::parse(field.as_text()).map(|stamp| stamp.time);
    Some(SkillSession {
        status: short(raw.status.as_text()),
        started: time(&raw.started_at),
        updated: time(&raw.updated_at),
        provider: raw.provider.as_text().to_owned(),
    })
}
