//! Tier 3: where it goes over weeks. For team leads.

use super::model::{Color, Dashboard, Panel, PanelKind, Row, Thresholds, Unit};
use super::{FLEET_SCOPE, expressions, palette};

const NOTHING_PRICED: &str = "no tool that was watched reports tokens or cost";
const NO_GATE: &str = "no git hooks are installed, or nobody has pushed";

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "muster-analytics",
        title: "Muster 3: Detailed Analytics",
        description: "Cost, tokens, quality and value over weeks, by user, project, tool and model.",
        tags: &["fleet"],
        refresh: "1h",
        from: "now-30d",
        variables: FLEET_SCOPE,
        rows: vec![
            Row::new("Cost", [cost_by("user"), cost_by("project"), cost_by("model"), cost_source(), who()]),
            Row::new("Tokens", [tokens(), cache(), running_total()]),
            Row::new("Quality", [active(), found(), success(), p95()]),
            Row::new("Value", [saved(), pushes(), prevented(), changes()]),
        ],
    }
}

fn cost_by(label: &'static str) -> Panel {
    let (title, legend) = match label {
        "user" => ("Cost per day by user", "{{user}}"),
        "project" => ("Cost per day by project", "{{project}}"),
        _ => ("Cost per day by model", "{{model}}"),
    };
    Panel::new(
        PanelKind::StackedBars,
        title,
        Unit::Usd,
        "Each piece of work once: as reported, else by price list.",
    )
    .query(legend, format!("sum by ({label}) (increase(muster_usage_cost_usd_total{{@tool}}[1d]))"))
    .decimals(2)
    .step("1d")
    .empty_by_nature(NOTHING_PRICED)
    .size(8, 8)
}

fn cost_source() -> Panel {
    Panel::new(
        PanelKind::StackedBars,
        "How cost is known",
        Unit::Usd,
        "reported: the tool said it. computed: its tokens were priced. Work of unknown cost is in neither.",
    )
    .query("{{source}}", "sum by (source) (increase(muster_usage_cost_usd_total{@tool}[1d]))")
    .colors(&[("reported", Color::Green), ("computed", Color::Blue)])
    .step("1d")
    .empty_by_nature(NOTHING_PRICED)
    .size(8, 9)
}

fn who() -> Panel {
    let sum = |family: &str| format!("sum by (team, user) (increase({family}{{@tool}}[$__range]))");
    Panel::new(
        PanelKind::Table,
        "Users",
        Unit::Number,
        "Over the chosen time, for showback: cost, tokens, runs, time saved.",
    )
    .column("Cost", Unit::Usd, sum("muster_usage_cost_usd_total"))
    .column("Cost unknown", Unit::Number, format!("round({})", sum("muster_usage_cost_unknown_total")))
    .query_empty_by_nature("all cost is known")
    .column_thresholds(palette::NONE_WANTED)
    .column("Tokens", Unit::Count, sum("muster_usage_tokens_total"))
    .column("Runs", Unit::Count, sum("muster_runs_total"))
    .column("Time saved", Unit::Duration, sum("muster_time_saved_seconds_total"))
    .size(16, 9)
}

fn tokens() -> Panel {
    Panel::new(PanelKind::StackedBars, "Tokens per day by kind", Unit::Count, "The kinds do not overlap.")
        .query("{{kind}}", "sum by (kind) (increase(muster_usage_tokens_total{@tool}[1d]))")
        .step("1d")
        .empty_by_nature(NOTHING_PRICED)
        .size(8, 8)
}

fn cache() -> Panel {
    let read = "muster_usage_tokens_total{@tool, kind=\"cache_read\"}";
    let input = "muster_usage_tokens_total{@tool, kind=~\"input|cache_read|cache_write\"}";
    Panel::new(
        PanelKind::Lines,
        "Input from the cache",
        Unit::Share,
        "Share of input tokens that were read from the cache. Coding agents are usually above 90 %; a fall is a rise of cost.",
    )
    .query("{{tool}}", expressions::share("tool", read, input, "1d"))
    .range(0.0, 1.0)
    .thresholds(Thresholds::down(&[(0.5, Color::Yellow), (0.8, Color::Green)]))
    .step("1h")
    .empty_by_nature(NOTHING_PRICED)
    .size(8, 8)
}

fn running_total() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Cost as tools total it",
        Unit::Usd,
        "Each project's own running total. It falls when a tool starts over; the panels of cost above do not.",
    )
    .query("{{project}}", "sum by (project) (muster_cost_usd{@tool})")
    .decimals(2)
    .size(8, 8)
}

fn active() -> Panel {
    Panel::new(PanelKind::StackedAreas, "Findings that stand", Unit::Count, "By severity, over all projects.")
        .query("{{severity}}", "sum by (severity) (muster_active_findings{@tool})")
        .colors(palette::SEVERITY)
}

fn found() -> Panel {
    Panel::new(
        PanelKind::StackedBars,
        "Findings per day",
        Unit::Count,
        "By severity; a finding that is reported again counts again.",
    )
    .query("{{severity}}", "sum by (severity) (increase(muster_findings_total{@tool, state=\"found\"}[1d]))")
    .colors(palette::SEVERITY)
    .step("1d")
}

fn success() -> Panel {
    let success = "muster_runs_total{@tool, status=\"success\"}";
    let all = "muster_runs_total{@tool, status!=\"skipped\"}";
    Panel::new(PanelKind::Lines, "Success rate by day", Unit::Share, "Over the 24 hours before each point.")
        .query("{{tool}}", expressions::share("tool", success, all, "1d"))
        .range(0.0, 1.0)
        .thresholds(palette::SUCCESS)
        .step("1h")
}

fn p95() -> Panel {
    let family = "muster_run_duration_seconds";
    Panel::new(PanelKind::Lines, "P95 run time by day", Unit::Seconds, "Over the 24 hours before each point.")
        .query("{{tool}}", expressions::quantile("0.95", "tool", family, "@tool", "1d"))
        .step("1h")
}

fn saved() -> Panel {
    Panel::new(
        PanelKind::StackedBars,
        "Time saved per day",
        Unit::Hours,
        "By kind. modelled true: a constant for each prevented failure, not a measurement.",
    )
    .query(
        "{{kind}}, modelled {{modelled}}",
        "sum by (kind, modelled) (increase(muster_time_saved_seconds_total{@tool}[1d])) / 3600",
    )
    .step("1d")
    .empty_by_nature("no bad push was stopped")
}

fn pushes() -> Panel {
    Panel::new(
        PanelKind::StackedBars,
        "Pushes and commits checked per day",
        Unit::Number,
        "By gate and result.",
    )
    .query("{{gate}} {{result}}", "sum by (gate, result) (increase(muster_pushes_checked_total{@tool}[1d]))")
    .step("1d")
    .empty_by_nature(NO_GATE)
}

fn prevented() -> Panel {
    Panel::new(
        PanelKind::StackedBars,
        "Bad pushes prevented per day",
        Unit::Number,
        "Stopped pushes and commits that would have failed in CI, by user.",
    )
    .query("{{user}}", "sum by (user) (increase(muster_bad_pushes_prevented_total{@tool}[1d]))")
    .step("1d")
    .empty_by_nature(NO_GATE)
}

fn changes() -> Panel {
    Panel::new(
        PanelKind::StackedBars,
        "File changes per day",
        Unit::Count,
        "By project, as the tools saw them.",
    )
    .query("{{project}}", "sum by (project) (increase(muster_file_changes_total{@tool}[1d]))")
    .step("1d")
}
