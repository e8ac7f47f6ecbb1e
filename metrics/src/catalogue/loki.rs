//! The nine series of Loki Mode's guide: names, order, HELP, TYPE and labels as its own endpoint has them
//! (contracts/loki-mode.md section 2).

use muster::words::word;

use super::words::session_status;
use super::{COUNT, Family, GAUGE, Rule, SECONDS_SINCE, STATUS};

const LOKI: Family =
    Family { name: "", kind: GAUGE, unit: "", help: "", labels: &[], tool: Some("loki"), rules: &[] };

pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "loki_session_status",
        help: "Current session status (0=stopped, 1=running, 2=paused)",
        rules: &[Rule::ToolState(|state, fact| {
            if let Some(status) = session_status(state.status) {
                fact.set([], status);
            }
        })],
        ..LOKI
    },
    Family {
        name: "loki_iteration_current",
        help: "Current iteration number",
        rules: &[Rule::ToolState(|state, fact| fact.set([], state.iteration as f64))],
        ..LOKI
    },
    Family {
        name: "loki_iteration_max",
        help: "Maximum configured iterations",
        rules: &[Rule::ToolState(|state, fact| {
            if state.iteration_max > 0 {
                fact.set([], state.iteration_max as f64);
            }
        })],
        ..LOKI
    },
    Family {
        name: "loki_tasks_total",
        help: "Number of tasks by status",
        labels: &[STATUS],
        rules: &[Rule::TaskCounts(|tasks, fact| {
            fact.set([word::PENDING.into()], tasks.pending as f64);
            fact.set([word::IN_PROGRESS.into()], tasks.in_progress as f64);
            fact.set([word::COMPLETED.into()], tasks.completed as f64);
            fact.set([word::FAILED.into()], tasks.failed as f64);
        })],
        ..LOKI
    },
    Family {
        name: "loki_agents_active",
        help: "Number of currently active agents",
        rules: &[Rule::WorkerCounts(|workers, fact| fact.set([], workers.active as f64))],
        ..LOKI
    },
    Family {
        name: "loki_agents_total",
        help: "Total number of agents registered",
        rules: &[Rule::WorkerCounts(|workers, fact| fact.set([], workers.registered as f64))],
        ..LOKI
    },
    Family {
        name: "loki_cost_usd",
        unit: "usd",
        help: "Estimated total cost in USD",
        rules: &[Rule::CostTotal(|cost, fact| fact.set([], cost.cost_usd))],
        ..LOKI
    },
    Family {
        name: "loki_events_total",
        kind: COUNT,
        help: "Total number of events recorded",
        rules: &[Rule::LinesRecorded(|lines, fact| fact.add([], lines.count))],
        ..LOKI
    },
    Family {
        name: "loki_uptime_seconds",
        kind: SECONDS_SINCE,
        unit: "seconds",
        help: "Seconds since session started",
        rules: &[Rule::ToolState(|state, fact| fact.set([], state.started_time_us.unwrap_or(0) as f64))],
        ..LOKI
    },
];
