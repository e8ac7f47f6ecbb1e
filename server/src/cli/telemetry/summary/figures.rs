//! The figures of a summary as short lines: what each is called, what it says, and how it changed.
//!
//! A figure that is not there has no line: unknown is not 0.

use history::summary::{
    Figures, FindingFigures, PushFigures, Quantiles, RunFigures, SessionFigures, Summary, TimeSavedFigures,
    UsageFigures,
};
use history::when::rfc3339;

/// One figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// What it is.
    pub(super) label: &'static str,
    /// What it says.
    pub(super) value: String,
    /// Against the time before, where that was counted.
    pub(super) change: String,
}

/// `2026-11-20T08:00:00Z to 2026-11-21T08:00:00Z`
pub(super) fn range(summary: &Summary) -> String {
    format!("{} to {}", rfc3339(summary.from), rfc3339(summary.to))
}

/// What the change is against, in words.
pub(super) fn compared(summary: &Summary) -> Option<String> {
    let before = summary.before.as_ref()?;
    Some(format!("change against {} to {}", rfc3339(before.from), rfc3339(summary.from)))
}

/// All figures.
pub(super) fn lines(summary: &Summary) -> Vec<Line> {
    let now = &summary.total;
    let before = summary.before.as_ref().map(|before| &before.total);
    let mut lines = runs(&now.runs, before.map(|before| &before.runs));
    if let Some(found) = &now.findings {
        lines.extend(findings(found, before.and_then(|before| before.findings.as_ref())));
    }
    if let Some(pushed) = &now.pushes {
        lines.extend(pushes(pushed, before.and_then(|before| before.pushes.as_ref())));
    }
    if let Some(saved) = &now.time_saved {
        lines.extend(time_saved(saved, before.and_then(|before| before.time_saved.as_ref())));
    }
    if let Some(seen) = &now.sessions {
        lines.extend(sessions(seen, before.and_then(|before| before.sessions.as_ref())));
    }
    if let Some(used) = &now.usage {
        lines.extend(usage(used, before.and_then(|before| before.usage.as_ref())));
    }
    lines
}

fn line(label: &'static str, value: String, change: String) -> Line {
    Line { label, value, change }
}

fn runs(now: &RunFigures, before: Option<&RunFigures>) -> Vec<Line> {
    let statuses = [
        (now.success, "success"),
        (now.failure, "failure"),
        (now.error, "error"),
        (now.skipped, "skipped"),
        (now.unknown, "unknown"),
    ];
    let value = format!("{}{}", count(now.total), parts(&statuses));
    let mut lines = vec![line("runs", value, change(now.total, before.map(|before| before.total)))];
    if let Some(rate) = now.success_rate {
        let before = before.and_then(|before| before.success_rate);
        let change = before.map_or_else(String::new, |before| {
            let points = (rate - before) * 100.0;
            if points.abs() < 0.05 { "=".to_owned() } else { format!("{points:+.1} points") }
        });
        // A run that had nothing to do is no failure, as the guide's counters have it.
        let rule = if now.skipped > 0 { " (success and skipped, of all)" } else { " (success, of all)" };
        lines.push(line("success rate", format!("{}{rule}", percent(rate)), change));
    }
    // They take no time, and half of all may be they.
    let skipped = if now.skipped > 0 { " (skipped runs too)" } else { "" };
    let kinds = [
        ("duration p50 / p95 / p99", now.duration, before.and_then(|before| before.duration)),
        ("queue time p50 / p95 / p99", now.queued, before.and_then(|before| before.queued)),
    ];
    for (label, now, before) in kinds {
        if let Some(now) = now {
            let value = format!("{}{skipped}", quantiles(&now));
            lines.push(line(label, value, p95_change(&now, before.as_ref())));
        }
    }
    lines
}

fn p95_change(now: &Quantiles, before: Option<&Quantiles>) -> String {
    let change = change(now.p95_us, before.map(|before| before.p95_us));
    if change.is_empty() || change == "=" { change } else { format!("p95 {change}") }
}

fn findings(now: &FindingFigures, before: Option<&FindingFigures>) -> Vec<Line> {
    let severities = [
        (now.critical, "critical"),
        (now.high, "high"),
        (now.medium, "medium"),
        (now.low, "low"),
        (now.unknown, "without severity"),
    ];
    let found = format!("{}{}", count(now.found), parts(&severities));
    let mut lines = vec![line("findings", found, change(now.found, before.map(|before| before.found)))];
    let fixed = [(now.fixed, "fixed"), (now.autofixed, "fixed automatically"), (now.dismissed, "dismissed")];
    let told: Vec<_> =
        fixed.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{} {word}", count(*n))).collect();
    if !told.is_empty() {
        lines.push(line("of findings", told.join(", "), String::new()));
    }
    lines
}

fn pushes(now: &PushFigures, before: Option<&PushFigures>) -> Vec<Line> {
    let gates = [(now.allowed, "allowed"), (now.stopped, "stopped")];
    let checked = format!("{}{}", count(now.checked), parts(&gates));
    let mut lines =
        vec![line("pushes checked", checked, change(now.checked, before.map(|before| before.checked)))];
    if now.commits_checked > 0 {
        let commits = format!("{}{}", count(now.commits_checked), parts(&[(now.commits_stopped, "stopped")]));
        let before = before.map(|before| before.commits_checked);
        lines.push(line("commits checked", commits, change(now.commits_checked, before)));
    }
    let prevented = before.map(|before| before.prevented_ci_failures);
    let change = change(now.prevented_ci_failures, prevented);
    lines.push(line("CI failures prevented", count(now.prevented_ci_failures), change));
    lines
}

fn time_saved(now: &TimeSavedFigures, before: Option<&TimeSavedFigures>) -> Vec<Line> {
    let sum = |of: &TimeSavedFigures| of.developer_us.saturating_add(of.build_us).saturating_add(of.other_us);
    let kinds = [(now.developer_us, "of developers"), (now.build_us, "of builds"), (now.other_us, "other")];
    let told: Vec<_> = kinds
        .iter()
        .filter(|(us, _)| *us > 0)
        .map(|(us, word)| format!("{} {word}", duration(*us)))
        .collect();
    let mut value = if told.is_empty() { duration(0) } else { told.join(", ") };
    if now.modelled_us > 0 {
        // A constant for each prevented failure is no measurement, and whoever reads the figure must know.
        value += &format!("; {} of it by the tool's model, not measured", duration(now.modelled_us));
    }
    vec![line("time saved", value, change(sum(now), before.map(sum)))]
}

fn sessions(now: &SessionFigures, before: Option<&SessionFigures>) -> Vec<Line> {
    let value = format!("{}{}", count(now.seen), parts(&[(now.started, "started")]));
    vec![line("sessions", value, change(now.seen, before.map(|before| before.seen)))]
}

fn usage(now: &UsageFigures, before: Option<&UsageFigures>) -> Vec<Line> {
    let mut cost = dollars(now.cost_microusd());
    if now.reported_cost_microusd > 0 && now.computed_cost_microusd > 0 {
        cost += &format!(
            " ({} reported, {} computed)",
            dollars(now.reported_cost_microusd),
            dollars(now.computed_cost_microusd)
        );
    }
    if now.cost_unknown > 0 {
        cost += &format!(
            "; not known of {} of {} reports ({} tokens)",
            count(now.cost_unknown),
            count(now.reports),
            count(now.cost_unknown_tokens)
        );
    }
    let kinds = [
        (now.input_tokens, "input"),
        (now.output_tokens, "output"),
        (now.cache_read_tokens, "cache read"),
        (now.cache_write_tokens, "cache write"),
        (now.reasoning_tokens, "reasoning"),
    ];
    let tokens = format!("{}{}", count(now.tokens()), parts(&kinds));
    vec![
        line("known cost", cost, change(now.cost_microusd(), before.map(UsageFigures::cost_microusd))),
        line("tokens", tokens, change(now.tokens(), before.map(UsageFigures::tokens))),
    ]
}

/// The columns of a group: runs, success rate, p95, findings, known cost. What is not there is `-`.
pub(super) fn columns(figures: &Figures) -> [String; 5] {
    let none = || "-".to_owned();
    [
        count(figures.runs.total),
        figures.runs.success_rate.map_or_else(none, percent),
        figures.runs.duration.map_or_else(none, |duration| self::duration(duration.p95_us)),
        figures.findings.map_or_else(none, |findings| count(findings.found)),
        figures.usage.map_or_else(none, |usage| {
            // Nothing was used, or nobody knows what it cost: both are no 0 dollars.
            if usage.reports == usage.cost_unknown { none() } else { dollars(usage.cost_microusd()) }
        }),
    ]
}

/// What [`columns`] are.
pub(super) const COLUMNS: [&str; 5] = ["runs", "success", "p95", "findings", "known cost"];

/// ` (3 success, 1 failure)`, without those that are 0.
fn parts(of: &[(u64, &str)]) -> String {
    let told: Vec<_> =
        of.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{} {word}", count(*n))).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
}

/// `+12 %`; `=` if it is the same; `new` if there was none; nothing if it was not counted.
fn change(now: u64, before: Option<u64>) -> String {
    match before {
        None => String::new(),
        Some(before) if before == now => "=".to_owned(),
        Some(0) => "new".to_owned(),
        Some(before) => {
            let percent = (now as f64 / before as f64 - 1.0) * 100.0;
            if percent.abs() >= 9.5 { format!("{percent:+.0} %") } else { format!("{percent:+.1} %") }
        }
    }
}

/// `12,345`
pub(in super::super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut told = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

/// `98.2 %`; never 100 when something is missing, nor 0 when something is there.
pub(super) fn percent(rate: f64) -> String {
    let tenths = (rate * 1_000.0).round() / 10.0;
    let tenths = if rate < 1.0 { tenths.min(99.9) } else { tenths };
    let tenths = if rate > 0.0 { tenths.max(0.1) } else { tenths };
    format!("{tenths:.1} %")
}

/// `12 ms`, `1.24 s`, `3.5 min`, `2.1 h`
pub(in super::super) fn duration(us: u64) -> String {
    let us = us as f64;
    for (unit_us, unit, until) in [(1e3, "ms", 1e3), (1e6, "s", 120.0), (6e7, "min", 120.0)] {
        let value = us / unit_us;
        if value < until {
            return format!("{} {unit}", short(value));
        }
    }
    format!("{} h", short(us / 3.6e9))
}

/// Three digits, no more.
fn short(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn quantiles(of: &Quantiles) -> String {
    format!("{} / {} / {}", duration(of.p50_us), duration(of.p95_us), duration(of.p99_us))
}

/// `$12.34`; below a dollar with as many digits as say something.
pub(in super::super) fn dollars(microusd: u64) -> String {
    let value = microusd as f64 / 1e6;
    match microusd {
        0 => "$0".to_owned(),
        1..10_000 => format!("${value:.4}"),
        _ => {
            let cents = format!("{value:.2}");
            let (whole, rest) = cents.split_once('.').unwrap_or((&cents, "00"));
            format!("${}.{rest}", whole.parse().map_or_else(|_| whole.to_owned(), count))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_people_write_them() {
        for (n, told) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), told);
        }
        for (us, told) in [
            (0, "0 ms"),
            (7, "0.01 ms"),
            (245_123, "245 ms"),
            (1_240_000, "1.24 s"),
            (119_000_000, "119 s"),
            (210_000_000, "3.5 min"),
            (7_560_000_000, "2.1 h"),
        ] {
            assert_eq!(duration(us), told);
        }
        for (microusd, told) in
            [(0, "$0"), (1_234, "$0.0012"), (12_340_000, "$12.34"), (1_234_567_890, "$1,234.57")]
        {
            assert_eq!(dollars(microusd), told);
        }
    }

    #[test]
    fn a_rate_is_never_rounded_to_all_or_nothing() {
        for (rate, told) in
            [(1.0, "100.0 %"), (0.9999, "99.9 %"), (0.0, "0.0 %"), (0.0001, "0.1 %"), (0.5, "50.0 %")]
        {
            assert_eq!(percent(rate), told);
        }
    }

    #[test]
    fn a_change_says_from_what() {
        for (now, before, told) in [
            (5, None, ""),
            (5, Some(5), "="),
            (5, Some(0), "new"),
            (0, Some(5), "-100 %"),
            (110, Some(100), "+10 %"),
            (101, Some(100), "+1.0 %"),
            (300, Some(100), "+200 %"),
        ] {
            assert_eq!(change(now, before), told);
        }
    }

    #[test]
    fn what_is_not_known_is_not_told_as_nothing() {
        let figures = Figures {
            usage: Some(UsageFigures { reports: 2, cost_unknown: 2, ..UsageFigures::default() }),
            ..Figures::default()
        };
        assert_eq!(columns(&figures), ["0", "-", "-", "-", "-"]);
        let used = UsageFigures {
            reports: 2,
            cost_unknown: 1,
            reported_cost_microusd: 5_000_000,
            ..Default::default()
        };
        let lines = usage(&used, None);
        assert!(lines[0].value.starts_with("$5.00; not known of 1 of 2"), "{lines:?}");
    }
}
