//! Loki Mode's guide: its seven panels, and the example queries of the guide that tell more.

use super::model::{Color, Dashboard, Panel, PanelKind, Row, Thresholds, Unit};
use super::{LOKI_SCOPE, palette};

/// The guide's alerts on a budget of 5 dollars.
const BUDGET: Thresholds = Thresholds::up(&[(4.0, Color::Yellow), (4.5, Color::Red)]);
const PROGRESS: Thresholds = Thresholds { base: Color::Yellow, steps: &[(50.0, Color::Green)] };
/// More than 50 may be runaway spawning (guide of Loki Mode, `LokiTooManyAgents`).
const AGENTS: Thresholds = Thresholds::up(&[(50.0, Color::Red)]);
/// More than one in ten (guide of Loki Mode, `LokiHighFailureRate`).
const FAILED: Thresholds = Thresholds::up(&[(0.1, Color::Yellow)]);

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "loki-mode",
        title: "Loki Mode",
        description: "Sessions of Loki Mode: state, progress, tasks, agents, cost and events.",
        tags: &["loki-mode"],
        refresh: "15s",
        from: "now-6h",
        variables: LOKI_SCOPE,
        rows: vec![
            Row::new("Session", [status(), progress(), uptime(), cost()]),
            Row::new("Work", [tasks(), agents(), events()]),
            Row::new("Rates", [cost_per_hour(), completed(), failed()]),
        ],
    }
}

fn status() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Session Status",
        Unit::Number,
        "Whether a session is alive in each project. Loki Mode's own page keeps saying \"running\" after a session has \
         ended; this does not.",
    )
    .query("{{user}} {{project}}", "loki_session_status{@}")
    .mappings(palette::SESSION)
    .size(6, 6)
}

fn progress() -> Panel {
    Panel::new(
        PanelKind::Gauge,
        "Iteration Progress",
        Unit::Percent,
        "Iterations done of those that the session may have.",
    )
    .query("{{user}} {{project}}", "loki_iteration_current{@} / (loki_iteration_max{@} > 0) * 100")
    .range(0.0, 100.0)
    .thresholds(PROGRESS)
}

fn uptime() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Uptime",
        Unit::Duration,
        "Since the oldest live session of each project started; 0 when none is alive.",
    )
    .query("{{user}} {{project}}", "loki_uptime_seconds{@}")
    .size(6, 6)
}

fn cost() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Cost Tracking",
        Unit::Usd,
        "Loki Mode's own estimate of what each project's session cost. Yellow from $4.00 and red from $4.50, for the \
         guide's budget of $5.00; set your own in the alerts. Older versions of Loki Mode record no cost.",
    )
    .query("{{user}} {{project}}", "loki_cost_usd{@}")
    .decimals(2)
    .thresholds(BUDGET)
    .no_value("not known")
    .size(6, 6)
}

fn tasks() -> Panel {
    Panel::new(PanelKind::Pie, "Task Distribution", Unit::Number, "Tasks on the board by status.")
        .query("{{status}}", "sum by (status) (loki_tasks_total{@})")
        .colors(palette::STATUS)
}

fn agents() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Agent Activity",
        Unit::Number,
        "Agents at work in each project. More than 50 may be runaway spawning.",
    )
    .query("Active Agents {{project}}", "sum by (project) (loki_agents_active{@})")
    .thresholds(AGENTS)
    .size(8, 8)
}

fn events() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Event Rate",
        Unit::PerSecond,
        "Events that Loki Mode records a second. A running session without events is stuck.",
    )
    .query("Events per second {{project}}", "sum by (project) (rate(loki_events_total{@}[5m]))")
    .size(8, 8)
}

fn cost_per_hour() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Cost per hour",
        Unit::Usd,
        "What was added to each project's cost in the hour before each point. A new session that starts over at 0 reads 0.",
    )
    .query("{{project}}", "sum by (project) (clamp_min(delta(loki_cost_usd{@}[1h]), 0))")
    .decimals(2)
    .size(8, 8)
}

fn completed() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Tasks completed per hour",
        Unit::Number,
        "How many more tasks are complete than an hour before.",
    )
    .query(
        "{{project}}",
        "sum by (project) (clamp_min(delta(loki_tasks_total{@, status=\"completed\"}[1h]), 0))",
    )
    .size(8, 8)
}

fn failed() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Failed task ratio",
        Unit::Share,
        "Failed tasks in relation to all tasks on the board. Above 10 % the guide's alert fires.",
    )
    .query(
        "{{project}}",
        "sum by (project) (loki_tasks_total{@, status=\"failed\"}) / (sum by (project) (loki_tasks_total{@}) > 0)",
    )
    .thresholds(FAILED)
    .size(8, 8)
}
