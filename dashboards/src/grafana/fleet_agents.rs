//! Tier 2: how the workers of all tools perform. For developers and those who keep the service up.

use super::model::{Dashboard, Panel, PanelKind, Row, Unit};
use super::{FLEET_SCOPE, expressions, palette};

const NO_CALLS: &str = "no tool that was watched reports its tool calls";
const DURATION: &str = "muster_run_duration_seconds";
const DID_SOMETHING: &str = "muster_runs_total{@tool, status!=\"skipped\"}";
const SUCCEEDED: &str = "muster_runs_total{@tool, status=\"success\"}";

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "muster-agents",
        title: "Muster 2: Agent Performance",
        description: "How the agents of all tools perform: success and failure, time, queues, tool calls.",
        tags: &["fleet"],
        refresh: "15s",
        from: "now-6h",
        variables: FLEET_SCOPE,
        rows: vec![
            Row::new("Success and failure", [success(), runs(), table()]),
            Row::new("Time", [quantiles(), by_agent(), heatmap(), mean()]),
            Row::new("Queues", [queue(), wait()]),
            Row::new("Tool calls", [calls(), calls_failed(), calls_slow()]),
        ],
    }
}

fn success() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Success rate",
        Unit::Share,
        "Share of runs in the last 5 minutes that succeeded, of those that did something, a line each agent.",
    )
    .query("{{tool}} {{agent}}", expressions::share("tool, agent", SUCCEEDED, DID_SOMETHING, "5m"))
    .range(0.0, 1.0)
    .thresholds(palette::SUCCESS)
}

fn runs() -> Panel {
    Panel::new(
        PanelKind::StackedBars,
        "Runs by status",
        Unit::Number,
        "Runs in each 5 minutes by how they ended; skipped: there was nothing to do.",
    )
    .query("{{status}}", "sum by (status) (increase(muster_runs_total{@tool}[5m]))")
    .colors(palette::STATUS)
    .step("5m")
}

fn table() -> Panel {
    let by = "tool, agent";
    let count =
        |selector: &str| format!("round(sum by ({by}) (increase(muster_runs_total{{@tool{selector}}}[1d])))");
    Panel::new(
        PanelKind::Table,
        "Agents, last 24 hours",
        Unit::Number,
        "Each agent of each tool at a glance.",
    )
    .column("Runs", Unit::Number, count(""))
    .column("Failures", Unit::Number, count(", status=\"failure\""))
    .column("Errors", Unit::Number, count(", status=\"error\""))
    .column_thresholds(palette::NONE_WANTED)
    .column("Success rate", Unit::Share, expressions::share(by, SUCCEEDED, DID_SOMETHING, "1d"))
    .column_thresholds(palette::SUCCESS)
    .column("P95", Unit::Seconds, expressions::quantile("0.95", by, DURATION, "@tool", "1d"))
    .column("Waiting", Unit::Number, format!("max by ({by}) (muster_queue_depth{{@tool}})"))
    .column_thresholds(palette::QUEUE)
}

fn quantiles() -> Panel {
    let quantile = |q| expressions::quantile(q, "tool", DURATION, "@tool", "5m");
    Panel::new(
        PanelKind::Lines,
        "Run time: P50, P95, P99",
        Unit::Seconds,
        "How long runs take, by tool. A formatter's run and an iteration of a coding agent are orders apart: choose a tool.",
    )
    .query("P50 {{tool}}", quantile("0.5"))
    .query("P95 {{tool}}", quantile("0.95"))
    .query("P99 {{tool}}", quantile("0.99"))
}

fn by_agent() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "P95 by agent",
        Unit::Seconds,
        "Which agent is slow, over the last 15 minutes.",
    )
    .query("{{tool}} {{agent}}", expressions::quantile("0.95", "tool, agent", DURATION, "@tool", "15m"))
}

fn heatmap() -> Panel {
    Panel::new(PanelKind::Heatmap, "Run time", Unit::Seconds, "How many runs took how long.")
        .query("{{le}}", format!("sum by (le) (increase({DURATION}_bucket{{@tool}}[$__rate_interval]))"))
}

fn mean() -> Panel {
    Panel::new(PanelKind::Bars, "Average run time, 1 h", Unit::Seconds, "Mean duration of each agent's runs.")
        .query("{{tool}} {{agent}}", expressions::mean("tool, agent", DURATION, "@tool", "1h"))
        .size(12, 8)
}

fn queue() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Queue depth",
        Unit::Number,
        "Causes that wait for each agent, in the project where most do; 50 is the level not to pass.",
    )
    .query("{{tool}} {{agent}}", "max by (tool, agent) (muster_queue_depth{@tool})")
    .thresholds(palette::QUEUE)
}

fn wait() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Time in the queue: P95",
        Unit::Seconds,
        "Time between a run's cause and its start, where the tool records it.",
    )
    .query(
        "{{tool}} {{agent}}",
        expressions::quantile("0.95", "tool, agent", "muster_run_queue_seconds", "@tool", "15m"),
    )
    .empty_by_nature("no tool that was watched records how long its runs waited")
}

fn calls() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Tool calls",
        Unit::PerMinute,
        "The ten most called tools of coding agents, a minute.",
    )
    .query("{{name}}", "topk(10, sum by (name) (rate(muster_tool_calls_total{@tool}[5m])) * 60)")
    .empty_by_nature(NO_CALLS)
    .size(8, 8)
}

fn calls_failed() -> Panel {
    let failed = "muster_tool_calls_total{@tool, status=~\"failure|error\"}";
    Panel::new(
        PanelKind::Lines,
        "Failed tool calls",
        Unit::Share,
        "Share of each tool's calls that failed. A coding agent that meets the same failure again and again is stuck.",
    )
    .query("{{name}}", expressions::share("name", failed, "muster_tool_calls_total{@tool}", "15m"))
    .range(0.0, 1.0)
    .empty_by_nature(NO_CALLS)
    .size(8, 8)
}

fn calls_slow() -> Panel {
    let family = "muster_tool_call_duration_seconds";
    Panel::new(PanelKind::Lines, "Tool call time: P95", Unit::Seconds, "Which tools coding agents wait for.")
        .query("{{name}}", expressions::quantile("0.95", "name", family, "@tool", "15m"))
        .empty_by_nature(NO_CALLS)
        .size(8, 8)
}
