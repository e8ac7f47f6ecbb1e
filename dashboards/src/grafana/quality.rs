//! DevLoop's guide, dashboard 3: what its agents find.

use super::model::{Color, Dashboard, Panel, PanelKind, Row, Thresholds, Unit};
use super::{DEVLOOP_SCOPE, palette};

/// More than 100 a day (guide of DevLoop, "Business Value SLI").
const WEEK: Thresholds = Thresholds { base: Color::Blue, steps: &[(700.0, Color::Green)] };

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "devloop-quality",
        title: "DevLoop: Quality Metrics",
        description: "Issues that DevLoop's agents find, and what becomes of them.",
        tags: &["devloop"],
        refresh: "1m",
        from: "now-24h",
        variables: DEVLOOP_SCOPE,
        rows: vec![
            Row::new("Issues", [active(), found()]),
            Row::new("What becomes of them", [fixed(), dismissed(), week(), critical()]),
        ],
    }
}

fn active() -> Panel {
    Panel::new(
        PanelKind::StackedAreas,
        "Issues by severity",
        Unit::Count,
        "Issues that stand now: those of the newest run of each agent on each file.",
    )
    .query("{{severity}}", "sum by (severity) (devloop_active_issues{@})")
    .colors(palette::SEVERITY)
}

fn found() -> Panel {
    Panel::new(
        PanelKind::Lines,
        "Issues found per hour",
        Unit::Count,
        "Issues reported in the hour before each point. DevLoop reports an issue again at each save that still has it.",
    )
    .query("{{severity}}", "sum by (severity) (increase(devloop_issues_found_total{@}[1h]))")
    .colors(palette::SEVERITY)
}

fn fixed() -> Panel {
    Panel::new(
        PanelKind::Gauge,
        "Auto-fix rate",
        Unit::Share,
        "Issues fixed automatically in relation to issues reported, since counting began.",
    )
    .query("Fixed", "sum(devloop_issues_autofixed_total{@}) / (sum(devloop_issues_found_total{@}) > 0)")
    .range(0.0, 1.0)
    .no_value("no fix recorded")
    .empty_by_nature("DevLoop asks for confirmation before a fix, and records none without it")
}

fn dismissed() -> Panel {
    Panel::new(
        PanelKind::Gauge,
        "False positive rate",
        Unit::Share,
        "Issues that a person dismissed in relation to issues reported, since counting began.",
    )
    .query("Dismissed", "sum(devloop_false_positives_total{@}) / (sum(devloop_issues_found_total{@}) > 0)")
    .range(0.0, 1.0)
    .thresholds(Thresholds::up(&[(0.1, Color::Yellow), (0.25, Color::Red)]))
    .no_value("none dismissed")
    .empty_by_nature("nobody has dismissed an issue")
}

fn week() -> Panel {
    Panel::new(
        PanelKind::Stat,
        "Issues prevented (weekly)",
        Unit::Count,
        "Issues that DevLoop reported in the last 7 days, before anybody else could. Repeats count again. The guide's \
         level is more than 100 a day.",
    )
    .query("Issues", "sum(increase(devloop_issues_found_total{@}[7d]))")
    .decimals(0)
    .thresholds(WEEK)
    .size(6, 6)
}

fn critical() -> Panel {
    Panel::new(PanelKind::Stat, "Critical and high now", Unit::Count, "The issues to look at first.")
        .query("Critical", "sum(devloop_active_issues{@, severity=\"critical\"})")
        .query("High", "sum(devloop_active_issues{@, severity=\"high\"})")
        .thresholds(palette::NONE_WANTED)
        .size(6, 6)
}
