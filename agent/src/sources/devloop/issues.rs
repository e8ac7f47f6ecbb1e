//! What a run found: each worker's result data to issues by severity. Pure.
//!
//! Every DevLoop worker reports in its own shape (contracts/devloop.md section 2.2). [`found`] reads them all into the
//! worker's own words, and [`severity`] is the one table from those words to Muster's four. docs/devloop-severities.md
//! shows the same table to users.

use muster::v1::Severity;
use serde_json::Value;

/// Most different native severities that one run may report; what is over it is counted under `other`.
const SEVERITIES_PER_RUN_MAX: usize = 12;

/// Issues of one native severity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Issues {
    /// The worker's own word.
    pub native: String,
    /// How many.
    pub count: u32,
}

/// From a worker's native severity to Muster's. `*` stands for every worker without a line of its own.
const SEVERITIES: &[(&str, &str, Severity)] = &[
    ("linter", "error", Severity::High),
    ("linter", "warning", Severity::Medium),
    ("formatter", "format", Severity::Low),
    ("test-runner", "test_failure", Severity::High),
    ("type-checker", "error", Severity::High),
    ("type-checker", "warning", Severity::Medium),
    ("type-checker", "note", Severity::Low),
    ("performance-profiler", "high_complexity", Severity::Medium),
    ("*", "critical", Severity::Critical),
    ("*", "blocker", Severity::Critical),
    ("*", "high", Severity::High),
    ("*", "error", Severity::High),
    ("*", "medium", Severity::Medium),
    ("*", "moderate", Severity::Medium),
    ("*", "warning", Severity::Medium),
    ("*", "low", Severity::Low),
    ("*", "info", Severity::Low),
    ("*", "note", Severity::Low),
    ("*", "style", Severity::Low),
    // A word that nobody has told us: neither hidden at the bottom nor waking anybody up.
    ("*", "*", Severity::Medium),
];

/// Muster's severity for a worker's own word.
pub(super) fn severity(worker: &str, native: &str) -> Severity {
    let matches = |pattern: &str, text: &str| pattern == "*" || pattern == text;
    SEVERITIES
        .iter()
        .find(|(of_worker, word, _)| matches(of_worker, worker) && matches(word, native))
        .map_or(Severity::Medium, |&(_, _, severity)| severity)
}

/// What a run of `worker` found, by native severity, in order of first mention.
pub(super) fn found(worker: &str, data: &Value) -> Vec<Issues> {
    let mut tally = Tally::default();
    match worker {
        "formatter" => tally.add("format", u64::from(data["needs_formatting"].as_bool().unwrap_or(false))),
        "test-runner" => tally.add("test_failure", data["failed"].as_u64().unwrap_or(0)),
        "performance-profiler" => {
            let functions = data["high_complexity_functions"].as_array().map_or(0, Vec::len);
            tally.add("high_complexity", functions as u64);
        }
        "linter" => tally.add_each(data, linter_word),
        _ => tally.add_each(data, severity_word),
    }
    tally.issues
}

/// The severity that DevLoop's linter gives a finding: eslint's number, else by the family of the rule's code.
fn linter_word(issue: &Value) -> String {
    match (&issue["severity"], issue["code"].as_str()) {
        (Value::Number(number), _) => if number.as_u64() == Some(2) { "error" } else { "warning" }.to_owned(),
        (Value::String(word), _) => word.to_lowercase(),
        (_, Some(code)) if code.starts_with(['E', 'F']) => "error".to_owned(),
        _ => "warning".to_owned(),
    }
}

fn severity_word(issue: &Value) -> String {
    match issue["severity"].as_str() {
        Some(word) if !word.is_empty() => word.to_lowercase(),
        _ => "unknown".to_owned(),
    }
}

#[derive(Default)]
struct Tally {
    issues: Vec<Issues>,
}

impl Tally {
    /// The issues of `issues` or `vulnerabilities`; where a worker gives only a number of them, that number.
    fn add_each(&mut self, data: &Value, word: fn(&Value) -> String) {
        let listed = ["issues", "vulnerabilities"].into_iter().find_map(|key| data[key].as_array());
        match listed {
            Some(issues) => issues.iter().for_each(|issue| self.add(&word(issue), 1)),
            None => {
                let number = ["issue_count", "issues_found"].into_iter().find_map(|key| data[key].as_u64());
                self.add("unknown", number.unwrap_or(0));
            }
        }
    }

    fn add(&mut self, native: &str, count: u64) {
        if count == 0 {
            return;
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let full = self.issues.len() >= SEVERITIES_PER_RUN_MAX;
        let native = if full && !self.issues.iter().any(|i| i.native == native) { "other" } else { native };
        match self.issues.iter_mut().find(|issues| issues.native == native) {
            Some(issues) => issues.count = issues.count.saturating_add(count),
            None => self.issues.push(Issues { native: native.to_owned(), count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(worker: &str, data: Value) -> Vec<(String, u32)> {
        found(worker, &data).into_iter().map(|issues| (issues.native, issues.count)).collect()
    }

    fn pairs(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
        expected.iter().map(|&(word, count)| (word.to_owned(), count)).collect()
    }

    #[test]
    fn every_worker_s_own_shape_is_read() {
        let ruff = json!({"issues": [{"code": "F401"}, {"code": "E999"}, {"code": "W291"}]});
        assert_eq!(of("linter", ruff), pairs(&[("error", 2), ("warning", 1)]));
        let eslint = json!({"issues": [{"ruleId": "x", "severity": 2}, {"ruleId": "y", "severity": 1}]});
        assert_eq!(of("linter", eslint), pairs(&[("error", 1), ("warning", 1)]));
        assert_eq!(of("formatter", json!({"needs_formatting": true})), pairs(&[("format", 1)]));
        assert_eq!(of("test-runner", json!({"failed": 3})), pairs(&[("test_failure", 3)]));
        let bandit = json!({"issues": [{"severity": "HIGH"}, {"severity": "LOW"}], "issues_found": 2});
        assert_eq!(of("security-scanner", bandit), pairs(&[("high", 1), ("low", 1)]));
        let radon = json!({"high_complexity_functions": [{"name": "f"}]});
        assert_eq!(of("performance-profiler", radon), pairs(&[("high_complexity", 1)]));
        let snyk = json!({"vulnerabilities": [{"severity": "critical"}]});
        assert_eq!(of("snyk", snyk), pairs(&[("critical", 1)]));
        assert_eq!(of("custom", json!({"issues_found": 4})), pairs(&[("unknown", 4)]));
        assert_eq!(of("linter", Value::Null), pairs(&[]));
    }

    #[test]
    fn the_words_of_one_run_are_bounded() {
        let issues: Vec<Value> = (0..500).map(|n| json!({"severity": format!("s{n}")})).collect();
        let issues = of("custom", json!({ "issues": issues }));
        assert_eq!(issues.len(), SEVERITIES_PER_RUN_MAX + 1);
        assert_eq!(issues.iter().map(|(_, count)| count).sum::<u32>(), 500);
    }

    #[test]
    fn the_table_in_the_documentation_is_this_table() {
        let documented = include_str!("../../../../docs/devloop-severities.md");
        for (worker, native, severity) in SEVERITIES {
            let line = format!("| `{worker}` | `{native}` | {} |", format!("{severity:?}").to_lowercase());
            assert!(documented.contains(&line), "docs/devloop-severities.md lacks {line}");
        }
    }
}
