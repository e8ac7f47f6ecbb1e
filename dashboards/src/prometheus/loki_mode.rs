//! The six alerts of Loki Mode's guide under its names, made to work: one project at a time, and quiet where nothing is
//! wrong.

use super::rule::{Alert, Firing, Given, Group, Rule, RuleFile, Severity, of_project, project_labels};

pub(super) fn file() -> RuleFile {
    let rules = vec![
        session_down(),
        budget(
            "LokiBudgetWarning",
            Severity::Warning,
            ["0.8", "4.00"],
            "Loki Mode cost approaching budget limit",
        ),
        budget("LokiBudgetCritical", Severity::Critical, ["0.9", "4.50"], "Loki Mode cost exceeds budget"),
        stagnation(),
        failures(),
        agents(),
    ];
    RuleFile {
        name: "loki-mode",
        about: "Loki Mode: the six alerts of its guide.",
        groups: vec![Group { name: "loki-mode", interval: "30s", rules }],
    }
}

const STATUS: &str = "loki_session_status";

fn alert(
    name: &'static str,
    severity: Severity,
    hold: &'static str,
    expr: impl Into<String>,
    texts: [&'static str; 2],
    (fires, at, value): (Given, &'static str, &'static str),
    quiet: Given,
) -> Rule {
    let [summary, description] = texts;
    let fires = Firing { given: fires, at, labels: project_labels(), value };
    let (expr, description) = (expr.into(), description.to_owned());
    Rule::Alert(Alert {
        name,
        severity,
        hold,
        expr,
        labels: Vec::new(),
        summary,
        description,
        fires,
        quiet,
        more: Vec::new(),
    })
}

fn session_down() -> Rule {
    let status = |values| vec![(of_project(STATUS, ""), values)];
    alert(
        "LokiSessionDown",
        Severity::Warning,
        "5m",
        // A project whose last session ended long ago is not down.
        "loki_session_status == 0\nand\nmax_over_time(loki_session_status[1h]) > 0",
        [
            "Loki Mode session is not running",
            "The session in project {{ $labels.project }} of {{ $labels.user }} on {{ $labels.host }} ran within the last \
             hour and has been stopped for more than 5 minutes.",
        ],
        (status("1x10 0x30"), "20m", ""),
        status("0x40"),
    )
}

fn budget(name: &'static str, severity: Severity, [share, fixed]: [&str; 2], summary: &'static str) -> Rule {
    let limit = "(muster_budget_limit_usd{tool=\"loki\"} > 0)";
    let cost = |values| (of_project("loki_cost_usd", ""), values);
    let known = (of_project("muster_budget_limit_usd", "tool=\"loki\""), "20x30");
    let unlimited = (of_project("muster_budget_limit_usd", "tool=\"loki\""), "0x30");
    alert(
        name,
        severity,
        "",
        format!(
            "loki_cost_usd > ignoring (tool) {share} * {limit}\nor\nloki_cost_usd > {fixed} unless ignoring (tool) {limit}"
        ),
        [
            summary,
            "Current cost of project {{ $labels.project }} on {{ $labels.host }}: ${{ $value | printf \"%.2f\" }}, of the \
             budget that the session was given, or of $5.00 where none is known.",
        ],
        (vec![cost("0+1x30"), known.clone()], "19m", "19.00"),
        // More than the guide's fixed limits, and a quarter of the budget.
        vec![cost("4.9x30"), known],
    )
    .and_for(vec![cost("0+1x30")], "19.00")
    .and_for(vec![cost("4.6x30"), unlimited], "4.60")
    .but_not_for(vec![cost("3.9x30")])
}

fn stagnation() -> Rule {
    let given = |iteration, uptime, status| {
        vec![
            (of_project("loki_iteration_current", ""), iteration),
            (of_project(STATUS, ""), status),
            (of_project("loki_uptime_seconds", ""), uptime),
        ]
    };
    alert(
        "LokiStagnation",
        Severity::Critical,
        "10m",
        // A session that is younger than the window has not had the time.
        "changes(loki_iteration_current[30m]) == 0\nand\nloki_session_status == 1\nand\nloki_uptime_seconds > 1800",
        [
            "Loki Mode iteration not progressing",
            "No iteration progress in 30 minutes in project {{ $labels.project }} of {{ $labels.user }} on \
             {{ $labels.host }}.",
        ],
        (given("7x60", "600+60x60", "1x60"), "50m", ""),
        given("7x45 8x15", "600+60x60", "1x60"),
    )
    // Too young; paused.
    .but_not_for(given("_x20 7x40", "_x20 0+60x40", "_x20 1x40"))
    .but_not_for(given("7x60", "600+60x60", "2x60"))
}

fn failures() -> Rule {
    let tasks = |status: &str| of_project("loki_tasks_total", &format!("status=\"{status}\""));
    let given =
        |failed| vec![(tasks("failed"), failed), (tasks("completed"), "8x20"), (tasks("pending"), "0x20")];
    alert(
        "LokiHighFailureRate",
        Severity::Warning,
        "5m",
        "sum without (status) (loki_tasks_total{status=\"failed\"})\n/\nsum without (status) (loki_tasks_total)\n> 0.1",
        [
            "High task failure rate",
            "{{ $value | humanizePercentage }} of the tasks of project {{ $labels.project }} on {{ $labels.host }} are \
             failing.",
        ],
        (given("2x20"), "10m", "20%"),
        // A tenth.
        vec![(tasks("failed"), "1x20"), (tasks("completed"), "9x20")],
    )
}

fn agents() -> Rule {
    let agents = |values| vec![(of_project("loki_agents_active", ""), values)];
    alert(
        "LokiTooManyAgents",
        Severity::Warning,
        "10m",
        "loki_agents_active > 50",
        [
            "Too many active agents",
            "{{ $value }} agents active in project {{ $labels.project }} of {{ $labels.user }} on {{ $labels.host }}, may \
             indicate runaway spawning.",
        ],
        (agents("51x30"), "20m", "51"),
        agents("50x30"),
    )
}
