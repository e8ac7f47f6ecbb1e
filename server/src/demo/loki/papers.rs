//! The shapes of Loki Mode's files, contracts/loki-mode.md sections 1.1 to 1.10.

use fastrand::Rng;
use muster::clock::WallTime;

use super::script::Script;
use crate::demo::json::{Json, object};
use crate::demo::stamp;
use crate::demo::truth::TaskCounts;

/// Version that the demo's files name.
const VERSION: &str = "9.22.12";
/// Loki Mode keeps this many completed and failed tasks.
const TASKS_KEPT: usize = 50;

/// Millionths of a dollar as the files say it.
pub(super) fn usd(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// An entry of `state/agents.json`.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    id: String,
    tool_id: String,
    kind: &'static str,
    model: &'static str,
    task: String,
    spawned_at: String,
    completed_at: Option<String>,
    /// Counted for the orchestrator alone.
    tool_count: Option<u64>,
}

impl Agent {
    pub(super) fn orchestrator(model: &'static str, now: WallTime) -> Self {
        Self {
            id: "orchestrator-main".to_owned(),
            tool_id: "orchestrator-main".to_owned(),
            kind: "orchestrator",
            model,
            task: "Initializing...".to_owned(),
            spawned_at: stamp::micros_z(now),
            completed_at: None,
            tool_count: Some(0),
        }
    }

    pub(super) fn subagent(number: u64, kind: &'static str, task: &str, now: WallTime) -> Self {
        Self {
            id: format!("agent-toolu_{number:02}"),
            tool_id: format!("toolu_{number:02}demo"),
            kind,
            model: "sonnet",
            task: task.to_owned(),
            spawned_at: stamp::micros_z(now),
            completed_at: None,
            tool_count: None,
        }
    }

    pub(super) fn use_tool(&mut self, task: &str) {
        task.clone_into(&mut self.task);
        self.tool_count = self.tool_count.map(|count| count + 1);
    }

    pub(super) fn complete(&mut self, now: WallTime) {
        self.completed_at.get_or_insert_with(|| stamp::micros_z(now));
    }

    pub(super) fn is_active(&self) -> bool {
        self.completed_at.is_none()
    }

    pub(super) fn entry(&self) -> Json {
        let mut entry = vec![
            ("agent_id".into(), self.id.as_str().into()),
            ("tool_id".into(), self.tool_id.as_str().into()),
            ("agent_type".into(), self.kind.into()),
            ("model".into(), self.model.into()),
            ("current_task".into(), self.task.as_str().into()),
            ("status".into(), if self.is_active() { "active" } else { "completed" }.into()),
            ("spawned_at".into(), self.spawned_at.as_str().into()),
            ("tasks_completed".into(), Json::List(Vec::new())),
        ];
        if let Some(count) = self.tool_count {
            entry.push(("tool_count".into(), count.into()));
        }
        if let Some(at) = &self.completed_at {
            entry.push(("completed_at".into(), at.as_str().into()));
        }
        Json::Object(entry)
    }
}

/// The task files.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pending: Vec<(String, Json)>,
    in_progress: Option<Json>,
    completed: Vec<(String, Json)>,
    failed: Vec<(String, Json)>,
}

impl Queue {
    pub(super) fn counts(&self) -> TaskCounts {
        TaskCounts {
            pending: self.pending.len() as u64,
            in_progress: u64::from(self.in_progress.is_some()),
            completed: self.completed.len() as u64,
            failed: self.failed.len() as u64,
        }
    }

    pub(super) fn add_pending(&mut self, number: u64, title: &str, now: WallTime) {
        let id = format!("prd-{number:03}");
        let task = object! {
            "id": id.as_str(), "type": "prd", "title": title, "description": "invented for the demo",
            "source": "prd", "priority": "normal", "status": "pending", "created_at": stamp::seconds_z(now),
        };
        self.pending.push((id, task));
    }

    pub(super) fn start_iteration(&mut self, iteration: u64, script: &Script, now: WallTime) {
        self.in_progress = Some(object! {
            "id": format!("iteration-{iteration}"), "type": "iteration",
            "title": format!("Iteration {iteration}"), "description": format!("PRD: {}", script.prd),
            "status": "in_progress", "priority": "medium", "startedAt": stamp::seconds_z(now),
            "provider": script.provider,
        });
    }

    /// Moves the iteration to its end; a completed one takes a pending task with it.
    pub(super) fn end_iteration(
        &mut self,
        iteration: u64,
        ok: bool,
        code: i32,
        script: &Script,
        now: WallTime,
    ) {
        self.in_progress = None;
        let status = if ok { "completed" } else { "failed" };
        let id = format!("iteration-{iteration}");
        let task = object! {
            "id": id.as_str(), "type": "iteration", "title": format!("Iteration {iteration}"),
            "status": status, "completedAt": stamp::seconds_z(now), "exitCode": code,
            "provider": script.provider,
        };
        keep(if ok { &mut self.completed } else { &mut self.failed }, id, task);
        if ok && !self.pending.is_empty() {
            let (id, _) = self.pending.remove(0);
            let task = object! {
                "id": id.as_str(), "type": "prd", "title": "Done in the demo", "status": "completed",
                "completedAt": stamp::seconds_z(now), "provider": script.provider,
            };
            keep(&mut self.completed, id, task);
        }
    }

    pub(super) fn files(&self) -> [(&'static str, Json); 7] {
        [
            ("pending", list(&self.pending)),
            ("in-progress", Json::List(self.in_progress.iter().cloned().collect())),
            ("review", Json::List(Vec::new())),
            ("completed", list(&self.completed)),
            ("failed", list(&self.failed)),
            ("dead-letter", Json::List(Vec::new())),
            ("current-task", self.in_progress.clone().unwrap_or(Json::Object(Vec::new()))),
        ]
    }
}

fn list(tasks: &[(String, Json)]) -> Json {
    Json::List(tasks.iter().map(|(_, task)| task.clone()).collect())
}

/// Adds or replaces by id and forgets the oldest: iteration 1 of a second session replaces that of the first.
fn keep(tasks: &mut Vec<(String, Json)>, id: String, task: Json) {
    tasks.retain(|(known, _)| *known != id);
    tasks.push((id, task));
    let over = tasks.len().saturating_sub(TASKS_KEPT);
    tasks.drain(..over);
}

/// `council/state.json`.
#[derive(Debug, Default)]
pub(super) struct Council {
    approvals: u64,
    rejections: u64,
    last_iteration: u64,
    verdicts: Vec<Json>,
}

impl Council {
    pub(super) fn record(&mut self, iteration: u64, approve: u64, now: WallTime) {
        self.approvals += approve;
        self.rejections += 3 - approve;
        self.last_iteration = iteration;
        self.verdicts.push(object! {
            "iteration": iteration, "approve": approve, "reject": 3 - approve,
            "timestamp": stamp::seconds_z(now),
        });
    }

    pub(super) fn state(&self) -> Json {
        object! {
            "initialized": true, "enabled": true, "total_votes": self.approvals + self.rejections,
            "approve_votes": self.approvals, "reject_votes": self.rejections,
            "last_check_iteration": self.last_iteration, "consecutive_no_change": 0, "done_signals": 0,
            "verdicts": self.verdicts.clone(),
        }
    }
}

/// Tokens of an iteration, in hundreds so that every cost is a whole number of millionths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cache_read: u64,
    pub(super) cache_creation: u64,
}

impl Usage {
    pub(super) fn invent(rng: &mut Rng, script: &Script) -> Self {
        let scale = if script.complexity == "simple" { 1 } else { 2 };
        Self {
            input: rng.u64(8..80) * 100 * scale,
            output: rng.u64(40..240) * 100 * scale,
            cache_read: rng.u64(2_000..9_000) * 100,
            cache_creation: rng.u64(60..400) * 100,
        }
    }

    /// Cache reads cost a tenth of the input price and cache writes five quarters of it.
    pub(super) fn cost_microusd(self, script: &Script) -> u64 {
        let [input, output] = script.price;
        self.input * input
            + self.output * output
            + self.cache_read * input / 10
            + self.cache_creation * input * 5 / 4
    }
}

/// `metrics/efficiency/iteration-N.json`.
#[derive(Debug)]
pub(super) struct Iteration {
    pub(super) number: u64,
    pub(super) model: &'static str,
    pub(super) phase: &'static str,
    pub(super) provider: &'static str,
    pub(super) duration_ms: u64,
    pub(super) status: &'static str,
    /// `None` is written as zeros: not measured.
    pub(super) usage: Option<Usage>,
}

impl Iteration {
    pub(super) fn record(&self, script: &Script, now: WallTime) -> String {
        let tokens = |of: fn(Usage) -> u64| self.usage.map_or(0, of);
        let cost = self.usage.map_or(Json::from(0), |usage| usd(usage.cost_microusd(script)).into());
        let record = object! {
            "iteration": self.number, "model": self.model, "phase": self.phase,
            "duration_ms": self.duration_ms, "provider": self.provider, "status": self.status,
            "input_tokens": tokens(|usage| usage.input), "output_tokens": tokens(|usage| usage.output),
            "cache_read_tokens": tokens(|usage| usage.cache_read),
            "cache_creation_tokens": tokens(|usage| usage.cache_creation),
            "cost_usd": cost, "timestamp": stamp::seconds_z(now),
        };
        format!("{}\n", record.pretty())
    }
}

/// `dashboard-state.json`.
pub(super) struct Dashboard<'a> {
    pub(super) script: &'static Script,
    pub(super) root: &'a str,
    pub(super) mode: &'static str,
    pub(super) phase: &'static str,
    pub(super) first_start: &'a str,
    pub(super) queue: &'a Queue,
    pub(super) agents: &'a [Agent],
    pub(super) load: [u64; 2],
    pub(super) council: Json,
    pub(super) budget: Json,
    pub(super) now: WallTime,
}

impl Dashboard<'_> {
    pub(super) fn text(&self) -> String {
        // The monitor is forked before the first iteration: iteration and step stay 0 for the whole run.
        let state = object! {
            "timestamp": stamp::seconds_z(self.now), "version": VERSION,
            "project": object! { "name": self.script.project, "path": self.root },
            "mode": self.mode, "provider": self.script.provider, "phase": self.phase,
            "complexity": self.script.complexity, "iteration": 0, "startedAt": self.first_start,
            "rarv": object! { "currentStep": 0, "stages": vec!["reason", "act", "reflect", "verify"] },
            "tasks": self.tasks(),
            "agents": Json::List(self.agents.iter().map(Agent::entry).collect()),
            "metrics": object! {
                "tasksCompleted": 0, "tasksFailed": 0, "cpuUsage": self.load[0], "memoryUsage": self.load[1],
                "resourceStatus": "ok",
            },
            "memory": object! { "episodic": 4, "semantic": 2, "procedural": 1 },
            "qualityGates": Json::Null, "council": self.council.clone(), "budget": self.budget.clone(),
            "checklist": Json::Null, "appRunner": object! {}, "playwright": Json::Null,
            "context": Json::Null, "tokens": Json::Null,
            "notifications": object! {
                "total": 0, "unacknowledged": 0, "critical": 0, "warning": 0, "info": 0,
            },
        };
        format!("{}\n", state.pretty())
    }

    fn tasks(&self) -> Json {
        let in_progress = Json::List(self.queue.in_progress.iter().cloned().collect());
        object! {
            "pending": list(&self.queue.pending), "inProgress": in_progress,
            "review": Json::List(Vec::new()), "completed": list(&self.queue.completed),
            "failed": list(&self.queue.failed),
        }
    }
}

/// `metrics/budget.json`.
pub(super) fn budget(limit: u64, used: u64, exceeded_at: Option<&str>, now: WallTime) -> Json {
    let [limit, used] = [usd(limit), usd(used)];
    match exceeded_at {
        Some(at) => object! {
            "limit": limit, "budget_limit": limit, "budget_used": used, "exceeded": true, "exceeded_at": at,
        },
        None => object! {
            "limit": limit, "budget_limit": limit, "budget_used": used, "created_at": stamp::seconds_z(now),
        },
    }
}

/// `pricing.json`.
pub(super) fn pricing(now: WallTime) -> String {
    let model = |input: f64, output: f64, label: &str| {
        object! { "input": input, "output": output, "label": label, "provider": "claude" }
    };
    let text = object! {
        "provider": "claude", "updated": stamp::day(now), "source": "static",
        "models": object! {
            "opus": model(5.0, 25.0, "Opus"), "sonnet": model(3.0, 15.0, "Sonnet"),
            "haiku": model(1.0, 5.0, "Haiku"),
        },
    };
    format!("{}\n", text.pretty())
}

/// `state/orchestrator.json`.
pub(super) fn orchestrator(phase: &str, complexity: &str, first_start: &str) -> String {
    let text = object! {
        "version": VERSION, "currentPhase": phase, "startedAt": first_start, "agents": object! {},
        "metrics": object! { "tasksCompleted": 0, "tasksFailed": 0, "retries": 0 }, "complexity": complexity,
    };
    format!("{}\n", text.pretty())
}

/// `state/resources.json`.
pub(super) fn resources([cpu, memory]: [u64; 2], now: WallTime) -> String {
    let of = |percent: u64| object! { "usage_percent": percent, "threshold_percent": 80, "status": "ok" };
    let text = object! {
        "timestamp": stamp::seconds_z(now), "cpu": of(cpu), "memory": of(memory), "overall_status": "ok",
        "warning_message": "",
    };
    format!("{}\n", text.pretty())
}

/// `STATUS.txt`.
pub(super) fn status(phase: &str, pending: u64, now: WallTime) -> String {
    format!("Updated: {}\n\nPhase: {phase}\n\nTasks:\n  Pending: {pending}\n", stamp::shell_date(now))
}

/// `CONTINUITY.md`.
pub(super) fn continuity(iteration: u64, phase: &str, script: &Script, now: WallTime) -> String {
    format!(
        "# Session Continuity\n\nUpdated: {}\n\n## Current State\n\n- Iteration: {iteration}\n- Phase: {phase}\n\
         - RARV Step: VERIFY\n- Provider: {}\n",
        stamp::seconds_z(now),
        script.provider
    )
}

/// A line that a hook of the provider's own command line leaves in `events.jsonl` (envelope B).
pub(super) fn hook(iteration: u64, now: WallTime) -> String {
    let line = object! {
        "type": "claude_hook_stop", "source": "claude-hook", "timestamp": stamp::micros_z(now),
        "payload": object! { "session_id": format!("demo-{iteration}"), "hook_event_name": "Stop" },
    };
    line.line()
}
