//! Tier 1: is everything well? For team leads and those on call.

use super::model::{Color, Dashboard, Panel, PanelKind, Row, Thresholds, Unit};
use super::{FLEET_SCOPE, expressions, palette};

const NOTHING_PRICED: &str = "no tool that was watched reports tokens or cost";
/// 99.9 % (guide of DevLoop, "Reliability SLI").
const AVAILABILITY: Thresholds = Thresholds::down(&[(0.99, Color::Yellow), (0.999, Color::Green)]);
const BUDGET: Thresholds = Thresholds::up(&[(0.8, Color::Yellow), (0.9, Color::Red)]);
/// Seconds without anything new from a tool that runs.
const DATA_AGE: Thresholds = Thresholds::up(&[(300.0, Color::Yellow), (1_800.0, Color::Red)]);

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "muster-overview",
        title: "Muster 1: Overview",
        description: "Is everything well? Health, service levels, cost and alerts of the whole fleet.",
        tags: &["fleet"],
        refresh: "1m",
        from: "now-24h",
        variables: FLEET_SCOPE,
        rows: vec![
            Row::new(
                "Right now",
                [agents(), sessions(), workers(), findings(), data_age(), destinations(), alerts()],
            ),
            Row::new("Service levels", [success(), p95(), cpu(), memory(), availability(), queue()]),
            Row::new("Cost and value", [cost(), tokens(), unpriced(), budget(), saved(), pushes()]),
            Row::new("Sessions", [table()]),
        ],
    }
}

fn agents() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Machines",
        Unit::Number,
        "Muster agents that have a stream to the collector, and those that had one and do not now. A laptop that sleeps is \
         away too.",
    )
    .query("connected", "sum(muster_server_agents{state=\"connected\"})")
    .query("away", "sum(muster_server_agents{state=\"away\"})")
    .colors(&[("connected", Color::Green), ("away", Color::Gray)])
}

fn sessions() -> Panel {
    Panel::new(PanelKind::Stat, "Live sessions", Unit::Number, "Sessions alive, by tool.")
        .query("{{tool}}", "sum by (tool) (muster_sessions_live{@tool})")
}

fn workers() -> Panel {
    Panel::new(PanelKind::Stat, "Active workers", Unit::Number, "Agents of the tools that are at work.")
        .query("{{tool}}", "sum by (tool) (muster_workers_active{@tool})")
}

fn findings() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Critical and high findings",
        Unit::Count,
        "Findings that stand now and should not wait.",
    )
    .query("{{severity}}", "sum by (severity) (muster_active_findings{@tool, severity=~\"critical|high\"})")
    .thresholds(palette::NONE_WANTED)
}

fn data_age() -> Panel {
    Panel::new(
        PanelKind::Bars,
        "Oldest data",
        Unit::Seconds,
        "Age of the newest data in each tool's own files, for the project where it is oldest. An idle tool ages too: look \
         at it together with live sessions.",
    )
    .query("{{tool}}", "max by (tool) (muster_source_data_age_seconds{@tool})")
    .thresholds(DATA_AGE)
    .size(8, 7)
}

fn destinations() -> Panel {
    Panel::new(
        PanelKind::Bars,
        "Destinations behind",
        Unit::Seconds,
        "How long the oldest record has waited for each place that telemetry is forwarded to. Above a minute it does not \
         keep up or is down.",
    )
    .query("{{destination}}", "max by (destination) (muster_destination_oldest_age_seconds)")
    .thresholds(palette::BEHIND)
    .no_value("no destination")
    .empty_by_nature("no destination is configured")
    .size(8, 7)
}

fn alerts() -> Panel {
    Panel::new(
        PanelKind::Table,
        "Firing alerts",
        Unit::Number,
        "All alerts that fire in this Prometheus now, of every team, whatever is chosen above; without those that only inform. \
         The shipped rules must be loaded here: without them nothing fires. What Alertmanager mutes or silences shows too.",
    )
    .column("Alerts", Unit::Number, "sum by (alertname, severity) (ALERTS{alertstate=\"firing\", severity!=\"info\"})")
    .no_value("nothing fires, or no rules are loaded")
    .empty_by_nature("nothing fires on a sound system")
    .size(8, 7)
}

fn success() -> Panel {
    let all = "muster_runs_total{@tool, status!=\"skipped\"}";
    Panel::new(
        PanelKind::Stat,
        "Success rate, 1 h",
        Unit::Share,
        "Share of runs that succeeded, of those that did something. Below 99 % is a warning, below 98 % critical.",
    )
    .query("{{tool}}", expressions::share("tool", "muster_runs_total{@tool, status=\"success\"}", all, "1h"))
    .decimals(1)
    .thresholds(palette::SUCCESS)
    .no_value("no runs")
}

fn p95() -> Panel {
    let family = "devloop_agent_execution_duration_ms";
    Panel::new(
        PanelKind::Stat,
        "DevLoop P95, 1 h",
        Unit::Milliseconds,
        "95 of 100 runs of DevLoop's agents are faster than this. Above 1 s is a warning, above 2 s critical.",
    )
    .query("P95", expressions::quantile("0.95", "", family, "@", "1h"))
    .thresholds(palette::P95_MS)
    .no_value("no runs")
}

fn cpu() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Highest CPU",
        Unit::Percent,
        "The most that one tool uses in one project, as it measured itself; 100 is one core.",
    )
    .query("{{tool}}", "max by (tool) (muster_process_cpu_percent{@tool, scope=\"tool\"})")
    .thresholds(palette::CPU)
    .empty_by_nature("no tool that was watched measures itself")
}

fn memory() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Highest memory",
        Unit::Bytes,
        "The most that one tool uses in one project, as it measured itself.",
    )
    .query("{{tool}}", "max by (tool) (muster_process_memory_bytes{@tool, scope=\"tool\"})")
    .thresholds(Thresholds::up(&[(524_288_000.0, Color::Yellow), (1_073_741_824.0, Color::Red)]))
    .empty_by_nature("no tool that was watched measures itself")
}

fn availability() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Availability",
        Unit::Share,
        "Share of the scrapes in the chosen time that each target of Muster answered. The service level is 99.9 %.",
    )
    .query("{{job}}", "avg by (job) (avg_over_time(up{job=~\"muster.*|devloop|loki-mode\"}[$__range]))")
    .decimals(2)
    .thresholds(AVAILABILITY)
    .size(12, 6)
}

fn queue() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Longest queue",
        Unit::Number,
        "Causes that wait for the busiest worker of each tool.",
    )
    .query("{{tool}}", "max by (tool) (muster_queue_depth{@tool})")
    .thresholds(palette::QUEUE)
    .size(12, 6)
}

fn cost() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Cost, 24 h",
        Unit::Usd,
        "What tools reported, or what their tokens cost by price list; each piece of work once.",
    )
    .query("{{tool}}", "sum by (tool) (increase(muster_usage_cost_usd_total{@tool}[1d]))")
    .decimals(2)
    .no_value("not known")
    .empty_by_nature(NOTHING_PRICED)
}

fn tokens() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Tokens, 24 h",
        Unit::Count,
        "Tokens of all kinds, those read from the cache included.",
    )
    .query("{{tool}}", "sum by (tool) (increase(muster_usage_tokens_total{@tool}[1d]))")
    .no_value("not known")
    .empty_by_nature(NOTHING_PRICED)
}

fn unpriced() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Work of unknown cost, 24 h",
        Unit::Count,
        "Pieces of work whose cost nobody told. The cost beside this is too low by theirs: add the models to the price list.",
    )
    .query("{{tool}}", "sum by (tool) (increase(muster_usage_cost_unknown_total{@tool}[1d]))")
    .decimals(0)
    .thresholds(palette::NONE_WANTED)
    .no_value("none")
    .empty_by_nature("all cost is known")
}

fn budget() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Budget used",
        Unit::Share,
        "The fullest budget of each tool. Yellow from 80 %, red from 90 %.",
    )
    .query("{{tool}}", "max by (tool) (muster_budget_used_usd{@tool} / (muster_budget_limit_usd{@tool} > 0))")
    .thresholds(BUDGET)
    .no_value("no budget")
    .empty_by_nature("no tool was given a budget")
}

fn saved() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Time saved, 7 days",
        Unit::Duration,
        "Time that tools say they saved; a constant for each prevented failure where they do not measure it.",
    )
    .query("{{tool}}", "sum by (tool) (increase(muster_time_saved_seconds_total{@tool}[7d]))")
    .no_value("none recorded")
    .empty_by_nature("no bad push was stopped")
    .size(12, 4)
}

fn pushes() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Pushes checked, 7 days",
        Unit::Number,
        "Pushes and commits that a gate checked, by result.",
    )
    .query("{{result}}", "sum by (result) (increase(muster_pushes_checked_total{@tool}[7d]))")
    .decimals(0)
    .no_value("none recorded")
    .empty_by_nature("no git hooks are installed, or nobody has pushed")
    .size(12, 4)
}

fn table() -> Panel {
    let by = "by (team, user, project, tool)";
    Panel::new(
        PanelKind::Table,
        "Sessions",
        Unit::Number,
        "Every project that is watched: state, progress, time since its session started, and the age of its newest data.",
    )
    .column("State", Unit::Number, format!("max {by} (muster_session_status{{@tool}})"))
    .column_mappings(palette::SESSION)
    .column("Iteration", Unit::Number, format!("max {by} (muster_session_iteration{{@tool}})"))
    .column("Uptime", Unit::Duration, format!("max {by} (muster_session_uptime_seconds{{@tool}})"))
    .column("Cost", Unit::Usd, format!("sum {by} (muster_cost_usd{{@tool}})"))
    .column("Data age", Unit::Seconds, format!("max {by} (muster_source_data_age_seconds{{@tool}})"))
    .column_thresholds(DATA_AGE)
    .size(24, 10)
}
