//! Rules and their cases as the YAML that Prometheus and `promtool` read.

use std::fmt::Write;

use super::rule::{Alert, Given, Record, Rule, RuleFile};

/// Where runbooks are, from the root of the repository.
const RUNBOOKS: &str = "docs/alerting.md#";

/// The file of rules.
pub(super) fn rules(file: &RuleFile) -> String {
    let mut out =
        format!("# {}\n# Made from dashboards/src/prometheus/; do not edit.\ngroups:\n", file.about);
    for group in &file.groups {
        line(&mut out, 1, &format!("- name: {}", group.name));
        line(&mut out, 2, &format!("interval: {}", group.interval));
        line(&mut out, 2, "rules:");
        for rule in &group.rules {
            match rule {
                Rule::Record(record) => {
                    line(&mut out, 3, &format!("- record: {}", record.name));
                    expression(&mut out, &record.expr);
                }
                Rule::Alert(alert) => write_alert(&mut out, alert),
            }
        }
    }
    out
}

/// The file of its cases.
pub(super) fn cases(file: &RuleFile) -> String {
    let mut out = format!(
        "# promtool test rules {name}.test.yml\n# Made from dashboards/src/prometheus/; do not edit.\nrule_files:\n  \
         - ../rules/{name}.yml\nevaluation_interval: 1m\ntests:\n",
        name = file.name
    );
    for rule in file.groups.iter().flat_map(|group| &group.rules) {
        match rule {
            Rule::Record(record) => record_cases(&mut out, record),
            Rule::Alert(alert) => alert_cases(&mut out, alert),
        }
    }
    out
}

fn write_alert(out: &mut String, alert: &Alert) {
    line(out, 3, &format!("- alert: {}", alert.name));
    expression(out, &alert.expr);
    if !alert.hold.is_empty() {
        line(out, 4, &format!("for: {}", alert.hold));
    }
    line(out, 4, "labels:");
    for (key, value) in alert_labels(alert) {
        line(out, 5, &format!("{key}: {}", quoted(&value)));
    }
    line(out, 4, "annotations:");
    for (key, value) in annotations(alert) {
        line(out, 5, &format!("{key}: {}", quoted(&value)));
    }
}

fn alert_labels(alert: &Alert) -> Vec<(&'static str, String)> {
    let mut labels = vec![("severity", alert.severity.name().to_owned())];
    labels.extend(alert.labels.iter().cloned());
    labels
}

fn annotations(alert: &Alert) -> [(&'static str, String); 3] {
    [
        ("summary", alert.summary.to_owned()),
        ("description", alert.description.clone()),
        ("runbook_url", format!("{RUNBOOKS}{}", alert.name.to_lowercase())),
    ]
}

fn record_cases(out: &mut String, record: &Record) {
    let mut case = |word: &str, given: &Given, gives: bool| {
        line(out, 1, &format!("- name: {}", quoted(&format!("{} {word}", record.name))));
        input(out, given);
        line(out, 2, "promql_expr_test:");
        line(out, 3, &format!("- expr: round({}, 0.0001)", record.name));
        line(out, 4, &format!("eval_time: {}", record.at));
        if gives {
            let (labels, value) = &record.gives;
            let pairs: Vec<_> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
            line(out, 4, "exp_samples:");
            line(out, 5, &format!("- labels: {}", quoted(&format!("{{{}}}", pairs.join(", ")))));
            line(out, 6, &format!("value: {value}"));
        } else {
            line(out, 4, "exp_samples: []");
        }
    };
    case("has its value", &record.given, true);
    case("is absent", &record.quiet, false);
}

fn alert_cases(out: &mut String, alert: &Alert) {
    let labels = alert_labels(alert);
    let label = labels.iter().skip(1).map(|(_, value)| format!(" ({value})")).collect::<String>();
    let mut case = |given: &Given, value: Option<&str>| {
        let word = if value.is_some() { "fires" } else { "is quiet" };
        line(out, 1, &format!("- name: {}", quoted(&format!("{}{label} {word}", alert.name))));
        input(out, given);
        line(out, 2, "alert_rule_test:");
        line(out, 3, &format!("- alertname: {}", alert.name));
        line(out, 4, &format!("eval_time: {}", alert.fires.at));
        let Some(value) = value else { return line(out, 4, "exp_alerts: []") };
        line(out, 4, "exp_alerts:");
        line(out, 5, "- exp_labels:");
        let series = alert.fires.labels.iter().map(|(key, value)| (*key, (*value).to_owned()));
        for (key, value) in labels.iter().cloned().chain(series) {
            line(out, 8, &format!("{key}: {}", quoted(&value)));
        }
        line(out, 6, "exp_annotations:");
        for (key, text) in annotations(alert) {
            line(out, 8, &format!("{key}: {}", quoted(&filled_in(&text, alert, value))));
        }
    };
    case(&alert.fires.given, Some(alert.fires.value));
    case(&alert.quiet, None);
    alert.more.iter().for_each(|(given, value)| case(given, *value));
}

fn input(out: &mut String, given: &Given) {
    line(out, 2, "interval: 1m");
    line(out, 2, "input_series:");
    for (series, values) in given {
        line(out, 3, &format!("- series: {}", quoted(series)));
        line(out, 4, &format!("values: {}", quoted(values)));
    }
}

/// A text of an alert as Prometheus fills it in, with what `$value` reads.
pub(super) fn filled_in(text: &str, alert: &Alert, value: &str) -> String {
    let mut parts = text.split("{{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once("}}").unwrap_or((part, ""));
        match code.trim().strip_prefix("$labels.") {
            Some(label) => {
                let found = alert.fires.labels.iter().find(|(key, _)| *key == label).map(|(_, value)| *value);
                filled.push_str(found.unwrap_or_default());
            }
            None => filled.push_str(value),
        }
        filled.push_str(rest);
    }
    filled
}

fn expression(out: &mut String, expr: &str) {
    line(out, 4, "expr: |-");
    expr.lines().for_each(|text| line(out, 5, text));
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn line(out: &mut String, depth: usize, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}{text}", "  ".repeat(depth));
}
