//! Burn rates of the error budgets of DevLoop's two service levels: runs that fail, and runs that are slow.
//!
//! A burn rate of 1 uses the budget up in exactly 30 days. Two speeds, each with a long window that proves the loss and a
//! short one that ends the alert soon after the trouble: fast is 14.4 times over 1 h and 5 min, or 6 times over 6 h and
//! 30 min; slow is 3 times over 1 d and 2 h, or once over 3 d and 6 h (Google's SRE workbook, chapter 5).
//!
//! "P95 under X" allows 5 % of the runs to take longer than X. Runs are counted by the histogram's bounds; there is none
//! at development's 2 s, so there the next one counts, 2.5 s.

use super::devloop::{BY, RUNS, runs};
use super::rule::{Alert, Firing, Given, Record, Rule, Severity, of_project_in, summed_labels};

/// An environment's budgets.
struct Budget {
    /// The environment of its cases.
    environment: &'static str,
    /// Matches its series.
    selector: &'static str,
    /// Share of runs that may fail.
    failed: f64,
    failed_objective: &'static str,
    /// Longest good run in ms, by the bounds of `devloop_agent_execution_duration_ms`.
    slow_ms: &'static str,
    /// Runs of a hundred that fail and that succeed, and their share: at 18, 8, 4 and 2 times the budget.
    cases: [(&'static str, &'static str, &'static str); 4],
}

/// Share of runs that may be slow where P95 is promised.
const SLOW_BUDGET: f64 = 0.05;

const BUDGETS: [Budget; 4] = [
    Budget {
        environment: "development",
        selector: "environment=\"development\"",
        failed: 0.05,
        failed_objective: "95% succeed",
        slow_ms: "2500",
        cases: [
            ("0+90x40", "0+10x40", "90%"),
            ("0+40x40", "0+60x40", "40%"),
            ("0+20x40", "0+80x40", "20%"),
            ("0+10x40", "0+90x40", "10%"),
        ],
    },
    Budget {
        environment: "staging",
        selector: "environment=\"staging\"",
        failed: 0.02,
        failed_objective: "98% succeed",
        slow_ms: "1000",
        cases: [
            ("0+36x40", "0+64x40", "36%"),
            ("0+16x40", "0+84x40", "16%"),
            ("0+8x40", "0+92x40", "8%"),
            ("0+4x40", "0+96x40", "4%"),
        ],
    },
    Budget {
        environment: "production",
        selector: "environment=\"production\"",
        failed: 0.005,
        failed_objective: "99.5% succeed",
        slow_ms: "500",
        cases: [
            ("0+9x40", "0+91x40", "9%"),
            ("0+4x40", "0+96x40", "4%"),
            ("0+2x40", "0+98x40", "2%"),
            ("0+1x40", "0+99x40", "1%"),
        ],
    },
    // Any other environment, and series without one.
    Budget {
        environment: "laboratory",
        selector: "environment!~\"development|staging|production\"",
        failed: 0.01,
        failed_objective: "99% succeed, by default",
        slow_ms: "1000",
        cases: [
            ("0+18x40", "0+82x40", "18%"),
            ("0+8x40", "0+92x40", "8%"),
            ("0+4x40", "0+96x40", "4%"),
            ("0+2x40", "0+98x40", "2%"),
        ],
    },
];

macro_rules! by_window {
    ($name:literal) => {
        [
            ("5m", concat!($name, "5m")),
            ("30m", concat!($name, "30m")),
            ("1h", concat!($name, "1h")),
            ("2h", concat!($name, "2h")),
            ("6h", concat!($name, "6h")),
            ("1d", concat!($name, "1d")),
            ("3d", concat!($name, "3d")),
        ]
    };
}

/// Windows and the names of the shares of failed runs over them.
pub(super) const FAILED: [(&str, &str); 7] = by_window!("project:devloop_agent_runs_failed:ratio_rate");
/// The same of slow runs.
pub(super) const SLOW: [(&str, &str); 7] = by_window!("project:devloop_agent_runs_slow:ratio_rate");
/// Windows that are cheap.
const SHORT: usize = 5;

/// Shares over the shorter windows.
pub(super) fn short_records() -> Vec<Rule> {
    FAILED[..SHORT].iter().map(failed).chain(SLOW[..SHORT].iter().map(slow)).collect()
}

/// Shares over days, and how much ran at all.
pub(super) fn long_records() -> Vec<Rule> {
    let mut rules: Vec<_> =
        FAILED[SHORT..].iter().map(failed).chain(SLOW[SHORT..].iter().map(slow)).collect();
    rules.push(Rule::Record(Record {
        name: "project:devloop_agent_runs:increase1d",
        expr: format!("sum by ({BY}) (increase({RUNS}[1d]))"),
        given: runs("production", "0+1x40", "0x40"),
        at: "30m",
        gives: (summed_labels("production"), "30"),
        quiet: vec![(of_project_in("production", "devloop_agent_queue_depth", "agent=\"linter\""), "1x40")],
    }));
    rules
}

fn failed((window, name): &(&'static str, &'static str)) -> Rule {
    let all = format!("sum by ({BY}) (rate({RUNS}[{window}]))");
    let expr = format!(
        "(\n  sum by ({BY}) (rate({RUNS}{{status!=\"success\"}}[{window}]))\n  or\n  0 * {all}\n)\n/\n({all} > 0)"
    );
    Rule::Record(Record {
        name,
        expr,
        given: runs("production", "0+98x20", "0+2x20"),
        at: "10m",
        gives: (summed_labels("production"), "0.02"),
        quiet: runs("production", "98+0x20", "2+0x20"),
    })
}

fn slow((window, name): &(&'static str, &'static str)) -> Rule {
    let of = |budget: &Budget| {
        let Budget { selector, slow_ms, .. } = budget;
        // Text has le="500", OpenMetrics and Prometheus 3 have le="500.0".
        let bucket = format!("{DURATION}_bucket{{{selector}, le=~\"{slow_ms}|{slow_ms}[.]0\"}}[{window}]");
        let count = format!("{DURATION}_count{{{selector}}}[{window}]");
        format!("1 - sum by ({BY}) (rate({bucket}))\n  / (sum by ({BY}) (rate({count})) > 0)")
    };
    let expr = BUDGETS.iter().map(of).collect::<Vec<_>>().join("\nor\n");
    Rule::Record(Record {
        name,
        expr,
        given: durations(&BUDGETS[2], "0+80x20", "0+100x20"),
        at: "10m",
        gives: (summed_labels("production"), "0.2"),
        quiet: durations(&BUDGETS[2], "80+0x20", "100+0x20"),
    })
}

const DURATION: &str = "devloop_agent_execution_duration_ms";

/// Runs of which some were fast enough, in either spelling of `le`.
fn durations(budget: &Budget, fast: &'static str, all: &'static str) -> Given {
    let canonical = if budget.environment == "staging" { ".0" } else { "" };
    let le = format!("agent=\"linter\",le=\"{}{canonical}\"", budget.slow_ms);
    vec![
        (of_project_in(budget.environment, &format!("{DURATION}_bucket"), &le), fast),
        (of_project_in(budget.environment, &format!("{DURATION}_count"), "agent=\"linter\""), all),
        // Volume, which is judged by the counter of runs.
        (of_project_in(budget.environment, RUNS, super::devloop::SUCCESS), all),
    ]
}

/// Runs of a hundred that are fast enough where 5 % may be slow, at the same multiples.
const LATE: [(&str, &str); 4] =
    [("0+10x40", "90%"), ("0+60x40", "40%"), ("0+80x40", "20%"), ("0+90x40", "10%")];

/// One of the two promises in one environment.
struct Promise<'a> {
    budget: &'a Budget,
    ratios: &'a [(&'static str, &'static str); 7],
    allowed: f64,
    objective: String,
    /// Cases at 18, 8, 4 and 2 times the budget, and within it.
    burning: [(Given, &'static str); 4],
    within: Given,
    /// All fail, and it is ten runs.
    rare: Given,
    /// `Success` or `Latency` of the name, and what runs do.
    names: [&'static str; 2],
    summaries: [&'static str; 2],
}

/// Fast and slow burns of both budgets in each environment.
pub(super) fn alerts() -> Vec<Rule> {
    let promises = BUDGETS.iter().flat_map(|budget| [success(budget), latency(budget)]);
    promises.flat_map(|promise| [promise.fast(), promise.slow()]).collect()
}

fn success(budget: &Budget) -> Promise<'_> {
    Promise {
        budget,
        ratios: &FAILED,
        allowed: budget.failed,
        objective: budget.failed_objective.to_owned(),
        burning: budget.cases.map(|(bad, good, text)| (runs(budget.environment, good, bad), text)),
        within: runs(budget.environment, "0+999x40", "0+1x40"),
        rare: runs(budget.environment, "0x40", "0x20 1 2 3 4 5 6 7 8 9 10x11"),
        names: ["DevLoopSuccessBudgetBurnFast", "DevLoopSuccessBudgetBurnSlow"],
        summaries: [
            "DevLoop burns its error budget fast ({{ $value | humanizePercentage }} of runs fail)",
            "DevLoop burns its error budget ({{ $value | humanizePercentage }} of runs fail)",
        ],
    }
}

fn latency(budget: &Budget) -> Promise<'_> {
    Promise {
        budget,
        ratios: &SLOW,
        allowed: SLOW_BUDGET,
        objective: format!(
            "95% under {} ms{}",
            budget.slow_ms,
            if budget.environment == "laboratory" { ", by default" } else { "" }
        ),
        burning: LATE.map(|(fast, text)| (durations(budget, fast, "0+100x40"), text)),
        within: durations(budget, "0+98x40", "0+100x40"),
        rare: durations(budget, "0x40", "0x20 1 2 3 4 5 6 7 8 9 10x11"),
        names: ["DevLoopLatencyBudgetBurnFast", "DevLoopLatencyBudgetBurnSlow"],
        summaries: [
            "DevLoop burns its latency budget fast ({{ $value | humanizePercentage }} of runs are slow)",
            "DevLoop burns its latency budget ({{ $value | humanizePercentage }} of runs are slow)",
        ],
    }
}

impl Promise<'_> {
    fn fast(&self) -> Rule {
        let pairs = [("1h", "5m", 14.4), ("6h", "30m", 6.0)];
        let [quick, medium, steady, _] = self.burning.clone();
        let expr = self.burns(pairs, "increase1h", 20);
        let pace = "the budget of 30 days is gone in at most 5";
        let rule = self.alert(0, Severity::Critical, "2m", expr, pace, quick, steady.0);
        rule.and_for(medium.0, medium.1)
    }

    fn slow(&self) -> Rule {
        let pairs = [("1d", "2h", 3.0), ("3d", "6h", 1.0)];
        let [_, _, steady, gentle] = self.burning.clone();
        let expr = self.burns(pairs, "increase1d", 50);
        let pace = "the budget is gone before its 30 days are over";
        let rule = self.alert(1, Severity::Warning, "15m", expr, pace, steady, self.within.clone());
        rule.and_for(gentle.0, gentle.1)
    }

    #[expect(clippy::too_many_arguments, reason = "what two alerts differ in")]
    fn alert(
        &self,
        speed: usize,
        severity: Severity,
        hold: &'static str,
        expr: String,
        pace: &str,
        (given, value): (Given, &'static str),
        quiet: Given,
    ) -> Rule {
        let labels = summed_labels(self.budget.environment);
        let rule = Rule::Alert(Alert {
            name: self.names[speed],
            severity,
            hold,
            expr,
            labels: vec![("objective", self.objective.clone())],
            summary: self.summaries[speed],
            description: format!(
                "Project {{{{ $labels.project }}}} of team {{{{ $labels.team }}}} in {{{{ $labels.environment }}}}: at this \
                 pace {pace}. Objective: {}.",
                self.objective
            ),
            fires: Firing { given, at: "30m", labels, value },
            quiet,
            more: Vec::new(),
        });
        // The trouble is over; it has just begun.
        let rule = rule.but_not_for(self.rare.clone());
        let [long, short] = [[["1h", "6h"], ["5m", "30m"]], [["1d", "3d"], ["2h", "6h"]]][speed];
        rule.but_not_for(self.at(long)).but_not_for(self.at(short))
    }

    /// All runs of these windows were bad, and none of the others'.
    fn at(&self, windows: [&str; 2]) -> Given {
        let environment = self.budget.environment;
        let labels = format!("{{environment=\"{environment}\",team=\"core\",project=\"shop\"}}");
        let ratio = |(window, name): &(&str, &str)| {
            (format!("{name}{labels}"), if windows.contains(window) { "1x40" } else { "0x40" })
        };
        let volume = ["1h", "1d"]
            .map(|span| (format!("project:devloop_agent_runs:increase{span}{labels}"), "1000x40"));
        self.ratios.iter().map(ratio).chain(volume).collect()
    }

    /// Either pair of windows burns, and enough runs to say so.
    fn burns(&self, pairs: [(&str, &str, f64); 2], volume: &str, runs_min: u32) -> String {
        let selector = format!("{{{}}}", self.budget.selector);
        let allowed = self.allowed;
        let name = |window: &str| {
            self.ratios.iter().find(|(of, _)| *of == window).map(|(_, name)| *name).unwrap_or_default()
        };
        let [quick, steady] = pairs.map(|(long, short, times)| {
            let (long, short) = (name(long), name(short));
            format!(
                "  {long}{selector} > {times} * {allowed}\n  and\n  {short}{selector} > {times} * {allowed}\n"
            )
        });
        format!("(\n{quick}  or\n{steady})\nand\nproject:devloop_agent_runs:{volume}{selector} >= {runs_min}")
    }
}
