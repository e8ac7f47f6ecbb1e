//! DevLoop: the guide's service levels by environment, its thresholds, and the series that both are made of.
//!
//! All by environment, team and project: a rate over every worker and machine of a project. Where nothing ran there is
//! no value, and where all failed the value is 0. Rates of success are judged from [`RUNS_MIN`] runs an hour on, since
//! one failure of three is no incident.

use super::burn;
use super::rule::{
    Alert, Firing, Given, Group, Labels, Record, Rule, RuleFile, Severity, of_project, of_project_in,
    project_labels, summed_labels,
};

/// What rules are summed by.
pub(super) const BY: &str = "environment, team, project";
const BY_AGENT: &str = "environment, team, project, agent";
/// Runs in an hour below which a rate of success is not judged.
const RUNS_MIN: &str = "10";

/// A service level of the guide. An environment that is none of the three has the guide's example.
struct Level {
    name: &'static str,
    /// The environment of its cases.
    environment: &'static str,
    /// Matches its series.
    selector: &'static str,
    p95_ms: &'static str,
    success: &'static str,
    success_text: &'static str,
    memory_mb: Option<&'static str>,
    /// Bounds between which runs are too slow, their P95, and bounds between which they are not.
    slow: ([&'static str; 2], &'static str, [&'static str; 2]),
    /// Runs that succeed and fail: too few succeed, their share, and enough do.
    failing: ([&'static str; 2], &'static str, [&'static str; 2]),
    /// Memory that is too much, what it reads, and what is not.
    heavy: [&'static str; 3],
}

const LEVELS: [Level; 4] = [
    Level {
        name: "development",
        environment: "development",
        selector: "environment=\"development\"",
        p95_ms: "2000",
        success: "0.95",
        success_text: "95%",
        memory_mb: Some("1024"),
        slow: (["1000", "2500"], "2425", ["500", "1000"]),
        failing: (["0+94x40", "0+6x40"], "94%", ["0+96x40", "0+4x40"]),
        heavy: ["1025x30", "1025", "1024x30"],
    },
    Level {
        name: "staging",
        environment: "staging",
        selector: "environment=\"staging\"",
        p95_ms: "1000",
        success: "0.98",
        success_text: "98%",
        memory_mb: Some("500"),
        slow: (["1000", "2500"], "2425", ["500", "1000"]),
        failing: (["0+97x40", "0+3x40"], "97%", ["0+98x40", "0+2x40"]),
        heavy: ["501x30", "501", "500x30"],
    },
    Level {
        name: "production",
        environment: "production",
        selector: "environment=\"production\"",
        p95_ms: "500",
        success: "0.995",
        success_text: "99.5%",
        memory_mb: Some("250"),
        slow: (["500", "1000"], "975", ["250", "500"]),
        failing: (["0+99x40", "0+1x40"], "99%", ["0+996x40", "0+4x40"]),
        heavy: ["251x30", "251", "250x30"],
    },
    Level {
        name: "default",
        environment: "laboratory",
        selector: "environment!~\"development|staging|production\"",
        p95_ms: "1000",
        success: "0.99",
        success_text: "99%",
        memory_mb: None,
        slow: (["1000", "2500"], "2425", ["500", "1000"]),
        failing: (["0+98x40", "0+2x40"], "98%", ["0+99x40", "0+1x40"]),
        heavy: ["0x30", "0", "0x30"],
    },
];

pub(super) fn file() -> RuleFile {
    let mut levels = Vec::new();
    for level in &LEVELS {
        levels.extend([response_time(level), success_rate(level)]);
        levels.extend(level.memory_mb.map(|limit| memory(level, limit)));
    }
    RuleFile {
        name: "devloop",
        about: "DevLoop: service levels by environment, thresholds, and the series that they are made of.",
        groups: vec![
            Group { name: "devloop.rules", interval: "30s", rules: records() },
            Group { name: "devloop.burn.short", interval: "30s", rules: burn::short_records() },
            Group { name: "devloop.burn.long", interval: "2m", rules: burn::long_records() },
            Group { name: "devloop.slo", interval: "30s", rules: levels },
            Group { name: "devloop.burn", interval: "30s", rules: burn::alerts() },
            Group { name: "devloop.thresholds", interval: "30s", rules: thresholds() },
        ],
    }
}

/// The share of successful runs, the guide's own definition: a run that is no success counts against it.
fn success_share(by: &str, window: &str) -> String {
    let all = format!("sum by ({by}) (rate(devloop_agent_runs_total[{window}]))");
    format!(
        "(\n  sum by ({by}) (rate(devloop_agent_runs_total{{status=\"success\"}}[{window}]))\n  or\n  0 * {all}\n)\n/\n({all} > 0)"
    )
}

/// The 95th percentile; no value instead of NaN where nothing ran.
fn p95(by: &str, window: &str) -> String {
    let rate = format!("rate(devloop_agent_execution_duration_ms_bucket[{window}])");
    format!("histogram_quantile(0.95, sum by ({by}, le) ({rate})) > 0")
}

fn records() -> Vec<Rule> {
    // All in the bucket from 500 to 1000: 500 + 0.95 * 500.
    let with_agent = |mut labels: Labels| {
        labels.push(("agent", "linter"));
        labels
    };
    let summed = || summed_labels("production");
    let record = |name, expr, given: Given, at, labels: Labels, value, quiet: Given| {
        Rule::Record(Record { name, expr, given, at, gives: (labels, value), quiet })
    };
    vec![
        record(
            "devloop_slo:agent_response_time:p95_1h",
            p95(BY, "1h"),
            durations("0+10x70"),
            "65m",
            summed(),
            "975",
            durations("7+0x70"),
        ),
        record(
            "devloop_slo:agent_response_time:p95_5m",
            p95(BY, "5m"),
            durations("0+10x20"),
            "15m",
            summed(),
            "975",
            durations("7+0x20"),
        ),
        record(
            "devloop_slo:success_rate:5m",
            success_share(BY, "5m"),
            runs("production", "0+9x20", "0+1x20"),
            "15m",
            summed(),
            "0.9",
            runs("production", "9+0x20", "1+0x20"),
        ),
        record(
            "devloop_slo:success_rate:30m",
            success_share(BY, "30m"),
            // A burst every seven minutes: a window of five has none of them at times.
            runs("production", "0x6 9x6 18x6 27x6 36x6 45x6", "0x6 1x6 2x6 3x6 4x6 5x6"),
            "34m",
            summed(),
            "0.9",
            runs("production", "9+0x40", "1+0x40"),
        ),
        record(
            "devloop_agent_success_rate:5m",
            success_share(BY_AGENT, "5m"),
            // Nothing ever succeeded: 0, not nothing.
            vec![(of_project(RUNS, FAILURE), "0+5x20")],
            "15m",
            with_agent(summed()),
            "0",
            runs("production", "9+0x20", "1+0x20"),
        ),
        record(
            "devloop_agent_latency:p95_5m",
            p95(BY_AGENT, "5m"),
            durations("0+10x20"),
            "15m",
            with_agent(summed()),
            "975",
            durations("7+0x20"),
        ),
        record(
            "project:devloop_agent_runs:increase1h",
            format!("sum by ({BY}) (increase({RUNS}[1h]))"),
            runs("production", "0+9x80", "0+1x80"),
            "70m",
            summed(),
            "600",
            vec![(of_project("devloop_agent_queue_depth", "agent=\"linter\""), "1x80")],
        ),
    ]
}

pub(super) const RUNS: &str = "devloop_agent_runs_total";
pub(super) const SUCCESS: &str = "agent=\"linter\",status=\"success\"";
pub(super) const FAILURE: &str = "agent=\"linter\",status=\"failure\"";

/// Runs of one worker.
pub(super) fn runs(environment: &str, success: &'static str, failure: &'static str) -> Given {
    vec![
        (of_project_in(environment, RUNS, SUCCESS), success),
        (of_project_in(environment, RUNS, FAILURE), failure),
    ]
}

/// Runs that all took between 500 and 1000 ms.
fn durations(values: &'static str) -> Given {
    durations_in("production", ["500", "1000"], values)
}

/// Runs that all took between two neighbouring bounds.
fn durations_in(environment: &str, bounds: [&str; 2], values: &'static str) -> Given {
    let bucket = |le: &str| {
        let more = format!("agent=\"linter\",le=\"{le}\"");
        of_project_in(environment, "devloop_agent_execution_duration_ms_bucket", &more)
    };
    vec![(bucket(bounds[0]), "0x90"), (bucket(bounds[1]), values), (bucket("+Inf"), values)]
}

fn response_time(level: &Level) -> Rule {
    Rule::Alert(Alert {
        name: "DevLoopAgentResponseTimeSLOViolation",
        severity: Severity::Warning,
        hold: "5m",
        expr: format!("devloop_slo:agent_response_time:p95_1h{{{}}} > {}", level.selector, level.p95_ms),
        labels: vec![("objective", format!("{}: P95 under {} ms", level.name, level.p95_ms))],
        summary: "DevLoop P95 agent response time exceeds SLO ({{ $value | printf \"%.0f\" }}ms)",
        description: format!(
            "In project {{{{ $labels.project }}}} of team {{{{ $labels.team }}}} 95 % of the last hour's runs took up to \
             {{{{ $value | printf \"%.0f\" }}}} ms. The service level is {} ms.",
            level.p95_ms
        ),
        fires: Firing {
            given: durations_in(level.environment, level.slow.0, "0+10x20"),
            at: "15m",
            labels: summed_labels(level.environment),
            value: level.slow.1,
        },
        quiet: durations_in(level.environment, level.slow.2, "0+10x20"),
        more: Vec::new(),
    })
}

fn success_rate(level: &Level) -> Rule {
    let rule = Rule::Alert(Alert {
        name: "DevLoopSuccessRateSLOViolation",
        severity: Severity::Critical,
        hold: "15m",
        expr: format!(
            "devloop_slo:success_rate:30m{{{}}} < {}\nand\nproject:devloop_agent_runs:increase1h >= {RUNS_MIN}",
            level.selector, level.success
        ),
        labels: vec![("objective", format!("{}: {} succeed", level.name, level.success_text))],
        summary: "DevLoop success rate below SLO ({{ $value | humanizePercentage }})",
        description: format!(
            "In project {{{{ $labels.project }}}} of team {{{{ $labels.team }}}} {{{{ $value | humanizePercentage }}}} of \
             the runs succeed. The service level is {}.",
            level.success_text
        ),
        fires: Firing {
            given: runs(level.environment, level.failing.0[0], level.failing.0[1]),
            at: "30m",
            labels: summed_labels(level.environment),
            value: level.failing.1,
        },
        // Half of them fail, but there are only seven an hour.
        quiet: runs(level.environment, "0x20 1x10 2x10", "0x18 1x10 2x12"),
        more: Vec::new(),
    });
    let rule = rule.but_not_for(runs(level.environment, level.failing.2[0], level.failing.2[1]));
    // Six runs every seven minutes, of which two fail: between them five minutes are empty.
    let in_bursts = runs(level.environment, "0x6 4x6 8x6 12x6 16x6 20x6", "0x6 2x6 4x6 6x6 8x6 10x6");
    rule.and_for(in_bursts, "66.67%")
}

fn memory(level: &Level, limit: &str) -> Rule {
    let labels = project_labels().into_iter().map(|(key, value)| match key {
        "environment" => (key, level.environment),
        _ => (key, value),
    });
    let given = |values, runs| measured(level.environment, MEMORY, values, runs);
    let rule = Rule::Alert(Alert {
        name: "DevLoopMemorySLOViolation",
        severity: Severity::Warning,
        hold: "10m",
        expr: while_runs(&format!("{MEMORY}{{{}}} > {limit}", level.selector)),
        labels: vec![("objective", format!("{}: under {limit} MiB", level.name))],
        summary: "DevLoop uses more memory than its SLO ({{ $value | printf \"%.0f\" }} MiB)",
        description: format!(
            "DevLoop in project {{{{ $labels.project }}}} on {{{{ $labels.host }}}} uses \
             {{{{ $value | printf \"%.0f\" }}}} MiB. The service level is {limit} MiB."
        ),
        fires: Firing {
            given: given(level.heavy[0], "0+1x30"),
            at: "20m",
            labels: labels.collect(),
            value: level.heavy[1],
        },
        quiet: given(level.heavy[2], "0+1x30"),
        more: Vec::new(),
    });
    rule.but_not_for(given(level.heavy[0], "0+1x5 5x25"))
}

/// Where the thresholds hold. Development is held to its own level, which allows more.
const NOT_DEVELOPMENT: &str = "environment!=\"development\"";

const CPU: &str = "devloop_system_cpu_percent";
const MEMORY: &str = "devloop_system_memory_mb";

fn thresholds() -> Vec<Rule> {
    use Severity::{Critical, Warning};
    vec![
        success_below("DevLoopSuccessRateCritical", Critical, "0.98", "0+9x30"),
        success_below("DevLoopSuccessRateWarning", Warning, "0.99", "0+65.6666667x30"),
        latency_above("DevLoopLatencyCritical", Critical, "2000", ["2500", "5000"], "4875"),
        latency_above("DevLoopLatencyWarning", Warning, "1000", ["1000", "2500"], "2425"),
        usage_above("DevLoopCpuCritical", Critical, CPU, "80", "% of a core", "81x30", "81"),
        usage_above("DevLoopCpuWarning", Warning, CPU, "60", "% of a core", "61x30", "61"),
        usage_above("DevLoopMemoryCritical", Critical, MEMORY, "1024", " MiB", "1025x30", "1025"),
        usage_above("DevLoopMemoryWarning", Warning, MEMORY, "500", " MiB", "501x30", "501"),
        queue_depth(),
        agent_added(),
    ]
}

fn success_below(name: &'static str, severity: Severity, limit: &str, success: &'static str) -> Rule {
    let value = if limit == "0.98" { "90%" } else { "98.5%" };
    let rule = Rule::Alert(Alert {
        name,
        severity,
        hold: "5m",
        expr: format!(
            "devloop_slo:success_rate:30m{{{NOT_DEVELOPMENT}}} < {limit}\nand\nproject:devloop_agent_runs:increase1h >= {RUNS_MIN}"
        ),
        labels: Vec::new(),
        summary: "Runs of DevLoop fail ({{ $value | humanizePercentage }} succeed)",
        description: "In project {{ $labels.project }} of team {{ $labels.team }} {{ $value | humanizePercentage }} of the \
                      runs of the last 30 minutes succeeded."
            .to_owned(),
        fires: Firing {
            given: runs("production", success, "0+1x30"),
            at: "20m",
            labels: summed_labels("production"),
            value,
        },
        // 99.5 %.
        quiet: runs("production", "0+199x30", "0+1x30"),
        more: Vec::new(),
    });
    rule.but_not_for(runs("development", success, "0+1x30"))
}

fn latency_above(
    name: &'static str,
    severity: Severity,
    limit: &str,
    bounds: [&'static str; 2],
    value: &'static str,
) -> Rule {
    let rule = Rule::Alert(Alert {
        name,
        severity,
        hold: "5m",
        expr: format!("devloop_slo:agent_response_time:p95_5m{{{NOT_DEVELOPMENT}}} > {limit}"),
        labels: Vec::new(),
        summary: "Runs of DevLoop are slow (P95 {{ $value | printf \"%.0f\" }} ms)",
        description: format!(
            "In project {{{{ $labels.project }}}} of team {{{{ $labels.team }}}} 95 % of the last 5 minutes' runs took up to \
             {{{{ $value | printf \"%.0f\" }}}} ms; the limit is {limit} ms."
        ),
        fires: Firing {
            given: durations_in("production", bounds, "0+10x30"),
            at: "20m",
            labels: summed_labels("production"),
            value,
        },
        quiet: durations("0+10x30"),
        more: Vec::new(),
    });
    rule.but_not_for(durations_in("development", bounds, "0+10x30"))
}

fn usage_above(
    name: &'static str,
    severity: Severity,
    series: &str,
    limit: &str,
    unit: &str,
    high: &'static str,
    value: &'static str,
) -> Rule {
    let what = if series == CPU { "CPU" } else { "memory" };
    // Development has a level of its own for memory.
    let selector = if series == CPU { "" } else { NOT_DEVELOPMENT };
    let rule = Rule::Alert(Alert {
        name,
        severity,
        hold: "10m",
        expr: while_runs(&format!("{series}{{{selector}}} > {limit}")),
        labels: Vec::new(),
        summary: if series == CPU {
            "DevLoop uses much CPU ({{ $value | printf \"%.0f\" }} %)"
        } else {
            "DevLoop uses much memory ({{ $value | printf \"%.0f\" }} MiB)"
        },
        description: format!(
            "DevLoop in project {{{{ $labels.project }}}} on {{{{ $labels.host }}}} has used more than {limit}{unit} of \
             {what} for 10 minutes, now {{{{ $value | printf \"%.0f\" }}}}{unit}."
        )
        .replace("% of a core of CPU", "% of a core"),
        fires: Firing {
            given: measured("production", series, high, "0+1x30"),
            at: "20m",
            labels: project_labels(),
            value,
        },
        // A peak of a minute.
        quiet: measured("production", series, "20x10 2000 20x20", "0+1x30"),
        more: Vec::new(),
    });
    // The last reading of one that stands still since.
    let rule = rule.but_not_for(measured("production", series, high, "0+1x5 5x25"));
    if series == CPU { rule } else { rule.but_not_for(measured("development", series, high, "0+1x30")) }
}

/// DevLoop measures itself while it runs something; what it measured last stands until it ends.
fn while_runs(expr: &str) -> String {
    let by = "environment, team, user, host, project";
    format!("{expr}\nand on ({by})\nsum by ({by}) (increase({RUNS}[10m])) > 0")
}

/// What DevLoop reads of itself, and its runs.
fn measured(environment: &str, series: &str, values: &'static str, runs: &'static str) -> Given {
    vec![(of_project_in(environment, series, ""), values), (of_project_in(environment, RUNS, SUCCESS), runs)]
}

fn queue_depth() -> Rule {
    let queue = of_project("devloop_agent_queue_depth", "agent=\"linter\"");
    let mut labels = summed_labels("production");
    labels.push(("agent", "linter"));
    Rule::Alert(Alert {
        name: "DevLoopQueueDepthHigh",
        severity: Severity::Warning,
        hold: "10m",
        expr: format!("max by ({BY_AGENT}) (devloop_agent_queue_depth) > 50"),
        labels: Vec::new(),
        summary: "Events wait for DevLoop's {{ $labels.agent }} ({{ $value }})",
        description: "{{ $value }} events wait for agent {{ $labels.agent }} in project {{ $labels.project }}. The service \
                      level is 50 at most."
            .to_owned(),
        fires: Firing { given: vec![(queue.clone(), "51x30")], at: "20m", labels, value: "51" },
        quiet: vec![(queue, "50x30")],
        more: Vec::new(),
    })
}

fn agent_added() -> Rule {
    let group = |by: &str, more: &str| format!("group by ({by}) ({RUNS}{more})");
    let mut labels = summed_labels("production");
    labels.push(("agent", "linter"));
    let old = "agent=\"formatter\",status=\"success\"";
    Rule::Alert(Alert {
        name: "DevLoopAgentAdded",
        severity: Severity::Info,
        hold: "",
        expr: format!(
            "{}\nunless\n{}\nand on ({BY})\n{}",
            group(BY_AGENT, ""),
            group(BY_AGENT, " offset 1h"),
            group(BY, " offset 1h")
        ),
        labels: Vec::new(),
        summary: "New DevLoop agent {{ $labels.agent }} in {{ $labels.project }}",
        description:
            "Agent {{ $labels.agent }} ran for the first time in project {{ $labels.project }} of team \
                      {{ $labels.team }}."
                .to_owned(),
        fires: Firing {
            given: vec![(of_project(RUNS, old), "0+1x100"), (of_project(RUNS, SUCCESS), "_x80 1+1x20")],
            at: "90m",
            labels,
            value: "1",
        },
        // A project that is new altogether.
        quiet: vec![(of_project(RUNS, SUCCESS), "_x80 1+1x20")],
        more: Vec::new(),
    })
}
