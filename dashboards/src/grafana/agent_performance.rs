//! DevLoop's guide, dashboard 1: how its agents perform.

use super::model::{Dashboard, Panel, PanelKind, Row, Unit};
use super::{DEVLOOP_SCOPE, expressions, palette};

const DURATION: &str = "devloop_agent_execution_duration_ms";

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "devloop-agent-performance",
        title: "DevLoop: Agent Performance",
        description: "Success, speed and queues of each DevLoop agent.",
        tags: &["devloop"],
        refresh: "15s",
        from: "now-6h",
        variables: DEVLOOP_SCOPE,
        rows: vec![
            Row::new("Success and queues", [success(), queue(), runs()]),
            Row::new("Execution time", [quantiles(), mean(), heatmap(), last_run()]),
            Row::new("Resources", [cpu(), memory()]),
        ],
    }
}

fn success() -> Panel {
    let all = "devloop_agent_runs_total{@}";
    let expression =
        expressions::share("agent", "devloop_agent_runs_total{@, status=\"success\"}", all, "5m");
    Panel::new(
        PanelKind::Lines,
        "Success rate",
        Unit::Share,
        "Share of runs in the last 5 minutes that succeeded, a line each agent. Below 99 % is worth a ticket, below 98 % \
         a page. Without runs there is no line.",
    )
    .query("{{agent}}", expression)
    .range(0.0, 1.0)
    .thresholds(palette::SUCCESS)
}

fn queue() -> Panel {
    Panel::new(
        PanelKind::Gauge,
        "Queue depth",
        Unit::Number,
        "Events that wait for each agent now, in the project where most do. DevLoop keeps no count of its own: this is what is stored and not yet \
         processed. The service level is 50 at most.",
    )
    .query("{{agent}}", "max by (agent) (devloop_agent_queue_depth{@})")
    .range(0.0, 50.0)
    .thresholds(palette::QUEUE)
    .size(12, 8)
}

fn runs() -> Panel {
    Panel::new(
        PanelKind::StackedBars,
        "Runs by status",
        Unit::Number,
        "Runs in each 5 minutes by how they ended. error: the agent itself failed; failure: it reported a failure.",
    )
    .query("{{status}}", "sum by (status) (increase(devloop_agent_runs_total{@}[5m]))")
    .colors(palette::STATUS)
    .step("5m")
    .size(24, 7)
}

fn quantiles() -> Panel {
    let quantile = |q| expressions::quantile(q, "", DURATION, "@", "5m");
    Panel::new(
        PanelKind::Lines,
        "Execution time: P50, P95, P99",
        Unit::Milliseconds,
        "How long runs take, all agents together. P95 above 1 s breaks the service level, above 2 s is critical. Runs that \
         ended in an error are not in it: DevLoop makes up their duration.",
    )
    .query("P50", quantile("0.5"))
    .query("P95", quantile("0.95"))
    .query("P99", quantile("0.99"))
    .thresholds(palette::P95_MS)
}

fn mean() -> Panel {
    Panel::new(
        PanelKind::Bars,
        "Average execution time",
        Unit::Milliseconds,
        "Mean duration of each agent's runs over the last hour.",
    )
    .query("{{agent}}", expressions::mean("agent", DURATION, "@", "1h"))
    .thresholds(palette::P95_MS)
    .size(12, 8)
}

fn heatmap() -> Panel {
    Panel::new(
        PanelKind::Heatmap,
        "Execution time",
        Unit::Milliseconds,
        "How many runs took how long. A second band above the usual one is a slow kind of run that an average hides.",
    )
    .query("{{le}}", format!("sum by (le) (increase({DURATION}_bucket{{@}}[$__rate_interval]))"))
}

fn last_run() -> Panel {
    Panel::new(
        PanelKind::Table,
        "Agents",
        Unit::Number,
        "Each agent's last run, P95 over the last hour and runs of the last day.",
    )
    .column("Last run", Unit::Milliseconds, "max by (agent) (devloop_agent_last_run_ms{@})")
    .column("P95, 1 h", Unit::Milliseconds, expressions::quantile("0.95", "agent", DURATION, "@", "1h"))
    .column_thresholds(palette::P95_MS)
    .column("Runs, 24 h", Unit::Number, "round(sum by (agent) (increase(devloop_agent_runs_total{@}[1d])))")
    .size(12, 8)
}

fn cpu() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "CPU while an agent ran",
        Unit::Percent,
        "DevLoop's agents share one process: this is the whole process while the agent ran. 100 is one core.",
    )
    .query("{{agent}}", "max by (agent) (devloop_agent_cpu_percent{@})")
    .thresholds(palette::CPU)
    .empty_by_nature("DevLoop writes its agents' resources only where its performance monitor is on")
}

fn memory() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Memory while an agent ran",
        Unit::Mebibytes,
        "DevLoop's agents share one process: this is the whole process while the agent ran.",
    )
    .query("{{agent}}", "max by (agent) (devloop_agent_memory_mb{@})")
    .thresholds(palette::MEMORY_MB)
    .empty_by_nature("DevLoop writes its agents' resources only where its performance monitor is on")
}
