//! DevLoop's guide, dashboard 4: what DevLoop is worth.

use super::DEVLOOP_SCOPE;
use super::model::{Color, Dashboard, Panel, PanelKind, Row, Thresholds, Unit};

/// More than 2 hours a day (guide of DevLoop, "Business Value SLI").
const HOURS_A_DAY: Thresholds = Thresholds { base: Color::Blue, steps: &[(2.0, Color::Green)] };
const NO_GATE: &str = "DevLoop's git hooks are not installed, or nobody has pushed";
const NO_SAVING: &str = "time is counted as saved when the push gate stops a bad push";

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "devloop-value",
        title: "DevLoop: Value Metrics",
        description: "Failures that did not reach CI, and the time that this saved.",
        tags: &["devloop"],
        refresh: "5m",
        from: "now-7d",
        variables: DEVLOOP_SCOPE,
        rows: vec![
            Row::new("The last 7 days", [failures(), build(), developer(), pushes()]),
            Row::new("Day by day", [failures_daily(), developer_daily(), pushes_daily()]),
        ],
    }
}

fn failures() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "CI failures prevented (weekly)",
        Unit::Count,
        "Pushes in the last 7 days that DevLoop's gate stopped and that would have failed in CI.",
    )
    .query("Prevented", "sum(increase(devloop_ci_failures_prevented{@}[7d]))")
    .decimals(0)
    .no_value("none recorded")
    .empty_by_nature(NO_GATE)
    .size(6, 6)
}

fn build() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Build time saved (weekly)",
        Unit::Duration,
        "A model, not a measurement: 15 minutes for each prevented CI failure, as DevLoop itself reckons.",
    )
    .query("Saved", "sum(increase(devloop_build_time_saved_seconds{@}[7d]))")
    .no_value("none recorded")
    .empty_by_nature(NO_SAVING)
    .size(6, 6)
}

fn developer() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Developer hours saved (weekly)",
        Unit::Hours,
        "Developer time that DevLoop says it saved in the last 7 days.",
    )
    .query("Saved", "sum(increase(devloop_developer_time_saved_seconds{@}[7d])) / 3600")
    .decimals(1)
    .no_value("none recorded")
    .empty_by_nature(NO_SAVING)
    .size(6, 6)
}

fn pushes() -> Panel {
    Panel::new(
        PanelKind::Gauge,
        "Push success rate",
        Unit::Share,
        "Share of the pushes of the last 7 days that the gate let through. Pushes are rare: over 5 minutes there would \
         mostly be none.",
    )
    .query(
        "Let through",
        "sum(increase(devloop_successful_pushes{@}[7d])) / (sum(increase(devloop_total_pushes{@}[7d])) > 0)",
    )
    .range(0.0, 1.0)
    .thresholds(Thresholds::down(&[(0.5, Color::Yellow), (0.8, Color::Green)]))
    .no_value("no push")
    .empty_by_nature(NO_GATE)
}

fn failures_daily() -> Panel {
    Panel::new(PanelKind::StackedBars, "CI failures prevented", Unit::Number, "By day and user.")
        .query("{{user}}", "sum by (user) (increase(devloop_ci_failures_prevented{@}[1d]))")
        .step("1d")
        .empty_by_nature(NO_GATE)
        .size(8, 8)
}

fn developer_daily() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Developer hours saved per day",
        Unit::Hours,
        "In the 24 hours before each point. The guide's level is more than 2 hours.",
    )
    .query("Saved", "sum(increase(devloop_developer_time_saved_seconds{@}[1d])) / 3600")
    .thresholds(HOURS_A_DAY)
    .step("1h")
    .empty_by_nature(NO_SAVING)
    .size(8, 8)
}

fn pushes_daily() -> Panel {
    Panel::new(PanelKind::StackedBars, "Pushes", Unit::Number, "Pushes that the gate checked, by day.")
        .query("let through", "sum(increase(devloop_successful_pushes{@}[1d]))")
        .query(
            "stopped",
            "sum(increase(devloop_total_pushes{@}[1d])) - sum(increase(devloop_successful_pushes{@}[1d]))",
        )
        .colors(&[("let through", Color::Green), ("stopped", Color::Orange)])
        .step("1d")
        .empty_by_nature(NO_GATE)
        .size(8, 8)
}
