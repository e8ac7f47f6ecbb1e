use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::rule::{Alert, Record, Rule};
use super::{recorded, rule_files, yaml};
use crate::check::check;
use crate::names;

fn rules() -> Vec<Rule> {
    rule_files().into_iter().flat_map(|file| file.groups).flat_map(|group| group.rules).collect()
}

fn alerts() -> Vec<Alert> {
    let only = |rule| match rule {
        Rule::Alert(alert) => Some(alert),
        Rule::Record(_) => None,
    };
    rules().into_iter().filter_map(only).collect()
}

fn records() -> Vec<Record> {
    let only = |rule| match rule {
        Rule::Record(record) => Some(record),
        Rule::Alert(_) => None,
    };
    rules().into_iter().filter_map(only).collect()
}

#[test]
fn every_rule_names_what_exists_and_each_record_has_the_labels_that_it_declares() {
    let mut declared: BTreeMap<_, _> = recorded().iter().map(|r| (r.name, r.labels)).collect();
    assert_eq!(declared.len(), recorded().len(), "a name is declared twice");
    for record in records() {
        let found = check(&record.expr).unwrap_or_else(|faults| panic!("{}: {faults:?}", record.name));
        let labels =
            declared.remove(record.name).unwrap_or_else(|| panic!("{} is not declared", record.name));
        let wanted: BTreeSet<_> = labels.iter().map(|label| (*label).to_owned()).collect();
        assert_eq!(found, wanted, "{}", record.name);
    }
    assert!(declared.is_empty(), "declared and not made: {declared:?}");
    for alert in alerts() {
        check(&alert.expr).unwrap_or_else(|faults| panic!("{}: {faults:?}", alert.name));
    }
}

#[test]
fn an_alerts_texts_use_labels_that_it_has() {
    for alert in alerts() {
        let labels = check(&alert.expr).expect("checked above");
        for text in [alert.summary, &alert.description] {
            for part in text.split("$labels.").skip(1) {
                let label: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                assert!(labels.contains(&label), "{} has no label {label}: {labels:?}", alert.name);
            }
            assert!(!text.contains("  "), "{}: {text}", alert.name);
            let filled = yaml::filled_in(text, &alert, alert.fires.value);
            assert!(!filled.contains("{{") && !filled.contains("}}"), "{filled}");
        }
        for (label, _) in &alert.fires.labels {
            assert!(labels.contains(*label), "{}: its case has the label {label}", alert.name);
        }
    }
}

#[test]
fn no_two_alerts_of_one_name_have_the_same_labels() {
    let mut seen = BTreeSet::new();
    for alert in alerts() {
        assert!(seen.insert((alert.name, format!("{:?}", alert.labels))), "{} is there twice", alert.name);
    }
}

#[test]
fn every_series_of_a_case_exists_with_all_of_its_labels() {
    let mut given: Vec<String> = Vec::new();
    for rule in rules() {
        given.extend(
            match rule {
                Rule::Alert(alert) => {
                    let more = alert.more.into_iter().flat_map(|(given, _)| given);
                    [alert.fires.given, alert.quiet].concat().into_iter().chain(more).collect()
                }
                Rule::Record(record) => [record.given, record.quiet].concat(),
            }
            .into_iter()
            .map(|(series, _)| series),
        );
    }
    for series in given {
        let (name, rest) = series.split_once('{').expect("a series with labels");
        let sample = names::find(name).unwrap_or_else(|| panic!("nothing exposes {name}"));
        let labels: BTreeSet<_> = rest
            .trim_end_matches('}')
            .split("\",")
            .filter_map(|pair| pair.split_once('='))
            .map(|pair| pair.0)
            .collect();
        for label in &labels {
            assert!(sample.labels.contains(label), "{name} has no label {label}");
        }
        // A series that a page has, it has with all of its labels; only `absent` is given another one.
        let missing: Vec<_> = sample.labels.iter().filter(|label| !labels.contains(**label)).collect();
        assert!(missing.is_empty() || name == "up", "{series} lacks {missing:?}");
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/alerting.md");
    let page = fs::read_to_string(&path).expect("docs/alerting.md can be read");
    let written: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let wanted: BTreeSet<_> = alerts().iter().map(|alert| alert.name).collect();
    assert_eq!(written, wanted);
    for name in wanted {
        let section = page.split(&format!("\n### {name}\n")).nth(1).expect("just found");
        let section = section.split("\n#").next().unwrap_or_default();
        for part in ["Means:", "Look at:", "Do:"] {
            assert!(section.contains(part), "{name} does not say {part}");
        }
    }
}

#[test]
fn what_mutes_and_is_muted_exists_and_has_the_labels_that_must_be_equal() {
    let known: BTreeMap<_, _> =
        alerts().iter().map(|alert| (alert.name, check(&alert.expr).expect("checked above"))).collect();
    let rules = super::alertmanager::CONFIGURATION.split("inhibit_rules:").nth(1).expect("there are some");
    let mut seen = 0;
    for rule in rules.split("- source_matchers:").skip(1) {
        let quoted = |text: &str| text.split('"').nth(1).map(str::to_owned);
        let names: Vec<String> = rule
            .split("alertname")
            .skip(1)
            .filter_map(quoted)
            .flat_map(|names| names.split('|').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert!(names.len() >= 2, "{rule}");
        let equal =
            rule.split_once("equal: [").and_then(|(_, rest)| rest.split_once(']')).map_or("", |part| part.0);
        for name in names {
            let labels = known.get(name.as_str()).unwrap_or_else(|| panic!("no alert is called {name}"));
            for label in equal.split(", ").filter(|label| !label.is_empty()) {
                assert!(labels.contains(label), "{name} has no label {label}");
            }
        }
        // Without an environment in common, staging would mute production.
        assert!(!equal.is_empty() || rule.contains("MusterCollectorMissing"), "{rule}");
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn the_guides_names_and_degrees_are_kept() {
    let found: BTreeSet<_> = alerts().iter().map(|alert| (alert.name, alert.severity.name())).collect();
    for named in [
        ("DevLoopAgentResponseTimeSLOViolation", "warning"),
        ("DevLoopSuccessRateSLOViolation", "critical"),
        ("LokiSessionDown", "warning"),
        ("LokiBudgetWarning", "warning"),
        ("LokiBudgetCritical", "critical"),
        ("LokiStagnation", "critical"),
        ("LokiHighFailureRate", "warning"),
        ("LokiTooManyAgents", "warning"),
    ] {
        assert!(found.contains(&named), "{named:?}");
    }
    for name in [
        "devloop_slo:agent_response_time:p95_1h",
        "devloop_slo:success_rate:5m",
        "devloop_agent_success_rate:5m",
        "devloop_agent_latency:p95_5m",
    ] {
        assert!(recorded().iter().any(|record| record.name == name), "{name}");
    }
}
