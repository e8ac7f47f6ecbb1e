//! What DevLoop's workers make of a file: invented results in the shapes of contracts/devloop.md sections 1.6 and 2.2.

use fastrand::Rng;

use super::findings::Finding;
use crate::demo::json::{Json, object};

/// A worker; DevLoop calls it an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worker {
    Linter,
    Formatter,
    TestRunner,
    TypeChecker,
    SecurityScanner,
    PerformanceProfiler,
}

/// All that run, in the order in which they take an event.
pub(super) const WORKERS: [Worker; 6] = [
    Worker::Linter,
    Worker::Formatter,
    Worker::TestRunner,
    Worker::TypeChecker,
    Worker::SecurityScanner,
    Worker::PerformanceProfiler,
];

/// Kinds of files that workers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Module,
    Test,
    Script,
    Text,
}

/// A run's result as its handler returns it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) result: RunResult,
    /// Of the handler itself, without DevLoop's 0.1 s of sampling.
    pub(super) duration_ms: u64,
    pub(super) message: String,
    /// `payload.data`; `Json::Null` where the worker gives none.
    pub(super) data: Json,
    pub(super) error: Option<String>,
    /// Issues by the tool's own severity.
    pub(super) issues: Vec<(&'static str, u64)>,
    pub(super) findings: Vec<Finding>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunResult {
    Success,
    Skipped,
    Failure,
    Raised,
}

/// Ruff's rules that the demo's code breaks: code, what it says, line, column.
const LINTS: [(&str, &str, u64, u64); 5] = [
    ("F401", "`os` imported but unused", 1, 8),
    ("E501", "Line too long", 14, 89),
    ("W291", "Trailing whitespace", 7, 20),
    ("I001", "Import block is un-sorted or un-formatted", 1, 1),
    ("B006", "Do not use mutable data structures for argument defaults", 9, 22),
];

/// Bandit's findings: test, severity, what it says, line.
const RISKS: [(&str, &str, &str, u64); 3] = [
    ("B608", "MEDIUM", "Possible SQL injection vector through string-based query construction.", 31),
    ("B602", "HIGH", "subprocess call with shell=True identified, security issue.", 18),
    ("B101", "LOW", "Use of assert detected.", 44),
];

impl Worker {
    /// The name in rows, files and series.
    pub(super) fn name(self) -> &'static str {
        match self {
            Worker::Linter => "linter",
            Worker::Formatter => "formatter",
            Worker::TestRunner => "test-runner",
            Worker::TypeChecker => "type-checker",
            Worker::SecurityScanner => "security-scanner",
            Worker::PerformanceProfiler => "performance-profiler",
        }
    }

    /// Whether an event of this type starts a run, by the triggers in agents.json.
    pub(super) fn is_triggered_by(self, kind: &str) -> bool {
        kind == "file:modified" || (kind == "file:created" && self != Worker::Formatter)
    }

    /// Runs on a file, given by its absolute path.
    pub(super) fn run(self, path: &str, rng: &mut Rng) -> Outcome {
        let name = path.rsplit('/').next().unwrap_or(path);
        let kind = Kind::of(path);
        if let Some(reason) = self.nothing_to_do(path, name, kind) {
            return Outcome::skipped(reason);
        }
        // Now and then any handler meets a value that it did not expect.
        if rng.u32(..100) < 2 {
            return Outcome::raised();
        }
        match self {
            Worker::Linter => lint(path, name, kind, rng),
            Worker::Formatter => check_format(path, name, kind, rng),
            Worker::TestRunner => run_tests(path, rng),
            Worker::TypeChecker => check_types(path, rng),
            Worker::SecurityScanner => scan(path, name, rng),
            Worker::PerformanceProfiler => profile(path, rng),
        }
    }

    fn nothing_to_do(self, path: &str, name: &str, kind: Kind) -> Option<String> {
        use Worker::{Formatter, Linter, PerformanceProfiler, SecurityScanner, TestRunner, TypeChecker};
        match (self, kind) {
            (Linter | Formatter, Kind::Text) => Some(format!("Skipped {name} (not in patterns)")),
            (TestRunner, Kind::Text) => Some("No test framework configured for .md".to_owned()),
            (TestRunner, Kind::Script) => Some(format!("No tests found for {name}")),
            (TestRunner, Kind::Module) if !path.ends_with("cart.py") && !path.ends_with("pricing.py") => {
                Some(format!("No tests found for {name}"))
            }
            (TypeChecker | SecurityScanner, Kind::Test) => Some(format!("Excluded file: {path}")),
            (PerformanceProfiler, Kind::Test) => Some(format!("File too small to analyze: {path}")),
            (TypeChecker | SecurityScanner | PerformanceProfiler, Kind::Script | Kind::Text) => {
                Some(format!("Skipped non-Python file: {path}"))
            }
            _ => None,
        }
    }
}

impl Kind {
    fn of(path: &str) -> Self {
        if path.contains("/tests/") {
            Kind::Test
        } else if path.ends_with(".py") {
            Kind::Module
        } else if path.ends_with(".ts") {
            Kind::Script
        } else {
            Kind::Text
        }
    }
}

impl Outcome {
    fn success(duration_ms: u64, message: String, data: Json) -> Self {
        Self {
            result: RunResult::Success,
            duration_ms,
            message,
            data,
            error: None,
            issues: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn failure(duration_ms: u64, message: String, data: Json, error: Option<String>) -> Self {
        Self { error, result: RunResult::Failure, ..Self::success(duration_ms, message, data) }
    }

    fn skipped(message: String) -> Self {
        Self { result: RunResult::Skipped, ..Self::success(0, message, Json::Null) }
    }

    /// DevLoop gives every raised run this duration.
    fn raised() -> Self {
        let error = "'NoneType' object is not subscriptable".to_owned();
        Self {
            result: RunResult::Raised,
            error: Some(error),
            ..Self::success(100, String::new(), Json::Null)
        }
    }

    fn with(mut self, issues: Vec<(&'static str, u64)>, findings: Vec<Finding>) -> Self {
        self.issues = issues;
        self.findings = findings;
        self
    }
}

fn lint(path: &str, name: &str, kind: Kind, rng: &mut Rng) -> Outcome {
    if kind == Kind::Script {
        return lint_script(path, name, rng);
    }
    let data = |issues: Vec<Json>| {
        let count = issues.len();
        object! { "file": path, "linter": "ruff", "issues": issues, "issue_count": count }
    };
    if rng.u32(..100) < 5 {
        let message = format!("Linter error on {name}: ruff execution timeout");
        return Outcome::failure(5010 + rng.u64(..20), message, data(Vec::new()), None);
    }
    let found: Vec<_> = LINTS.into_iter().filter(|_| rng.u32(..100) < 22).collect();
    let issues = found.iter().map(|&(code, text, row, column)| {
        object! {
            "cell": Json::Null, "code": code, "end_location": object! { "column": column + 2, "row": row },
            "filename": "", "fix": Json::Null, "location": object! { "column": column, "row": row },
            "message": text, "noqa_row": row, "url": format!("https://docs.astral.sh/ruff/rules/{code}"),
        }
    });
    let data = data(issues.collect());
    let serious = found.iter().filter(|(code, ..)| code.starts_with(['E', 'F'])).count() as u64;
    let findings = found.iter().map(|&(code, text, row, column)| Finding {
        id: format!("linter-{path}-{row}-{code}"),
        line: Some(row),
        column: Some(column),
        severity: if code.starts_with(['E', 'F']) { "error" } else { "warning" },
        category: code.to_owned(),
        message: text.to_owned(),
        context: object! { "linter": "ruff", "fixable": false, "auto_fixable": false },
        ..Finding::of(Worker::Linter, path)
    });
    let findings = findings.collect();
    Outcome::success(140 + rng.u64(..120), issue_message(found.len(), name), data)
        .with(counted([("error", serious), ("warning", found.len() as u64 - serious)]), findings)
}

fn lint_script(path: &str, name: &str, rng: &mut Rng) -> Outcome {
    let text = "'a' is never reassigned. Use 'const' instead.";
    let found = usize::from(rng.u32(..100) < 30);
    let issue =
        || object! { "ruleId": "prefer-const", "severity": 1, "line": 1, "column": 7, "message": text };
    let issues: Vec<Json> = (0..found).map(|_| issue()).collect();
    let data = object! { "file": path, "linter": "eslint", "issues": issues, "issue_count": found };
    let findings = (0..found).map(|_| Finding {
        id: format!("linter-{path}-1-prefer-const"),
        line: Some(1),
        column: Some(7),
        severity: "warning",
        category: "prefer-const".to_owned(),
        message: text.to_owned(),
        context: object! { "linter": "eslint", "fixable": false, "auto_fixable": false },
        ..Finding::of(Worker::Linter, path)
    });
    let findings = findings.collect();
    Outcome::success(560 + rng.u64(..90), issue_message(found, name), data)
        .with(counted([("warning", found as u64)]), findings)
}

fn check_format(path: &str, name: &str, kind: Kind, rng: &mut Rng) -> Outcome {
    let tool = if kind == Kind::Script { "prettier" } else { "black" };
    let data = |needed: bool| {
        object! { "file": path, "formatter": tool, "needs_formatting": needed, "report_only": true }
    };
    let duration_ms = 210 + rng.u64(..90);
    let roll = rng.u32(..100);
    if roll < 5 {
        let error = format!("error: cannot format {name}: Cannot parse: 12:1");
        let message = format!("Check failed for {name}: {error}");
        return Outcome::failure(duration_ms, message, data(false), Some(error));
    }
    if roll >= 35 {
        return Outcome::success(duration_ms, format!("No formatting needed for {name}"), data(false));
    }
    let finding = Finding {
        id: format!("formatter-{path}-{tool}"),
        severity: "info",
        message: format!("{name} needs formatting with {tool}"),
        suggestion: format!("Run {tool} on {path}"),
        auto_fixable: true,
        context: object! { "formatter": tool, "blocking": false },
        ..Finding::of(Worker::Formatter, path)
    };
    let message = format!("Would format {name} with {tool} (report-only mode)");
    Outcome::success(duration_ms, message, data(true)).with(vec![("format", 1)], vec![finding])
}

fn run_tests(path: &str, rng: &mut Rng) -> Outcome {
    let data = |passed: u64, failed: u64| {
        object! {
            "file": path, "framework": "pytest", "passed": passed, "failed": failed, "skipped": 0,
            "total": passed + failed, "failures": Json::List(Vec::new()),
        }
    };
    let roll = rng.u32(..100);
    if roll < 3 {
        let error = "pytest command not found".to_owned();
        return Outcome::failure(20, format!("Test error: {error}"), data(0, 0), Some(error));
    }
    let total = rng.u64(7..=14);
    let duration_ms = 1200 + rng.u64(..1600);
    if roll >= 15 {
        return Outcome::success(duration_ms, format!("\u{2713} {total} test(s) passed"), data(total, 0));
    }
    let failed = rng.u64(1..=3);
    let passed = total - failed;
    let finding = Finding {
        id: format!("test-runner-{path}-failed"),
        severity: "error",
        message: format!("{failed} test(s) failed in pytest"),
        context: object! { "framework": "pytest", "failed": failed, "passed": passed, "blocking": true },
        ..Finding::of(Worker::TestRunner, path)
    };
    let message = format!("\u{2717} {failed} test(s) failed, {passed} passed");
    Outcome::failure(duration_ms, message, data(passed, failed), None)
        .with(vec![("test_failure", failed)], vec![finding])
}

fn check_types(path: &str, rng: &mut Rng) -> Outcome {
    let roll = rng.u32(..100);
    if roll < 3 {
        let error = "mypy crashed: INTERNAL ERROR".to_owned();
        return Outcome::failure(400, format!("Type check failed: {error}"), Json::Null, Some(error));
    }
    let found = if roll < 25 { 1 } else { 0 };
    let issue = |severity: &str, text: &str, code: &str| {
        object! {
            "filename": "", "line_number": 22, "severity": severity, "message": text, "error_code": code,
            "tool": "mypy",
        }
    };
    let mut issues = Vec::new();
    if found > 0 {
        issues.push(issue("error", "Incompatible return value type", "return-value"));
        issues.push(issue("note", "See the documentation", ""));
    }
    let data = object! {
        "file": path, "tool": "mypy", "issues_found": issues.len(), "issues": issues,
        "severity_breakdown": object! { "error": found, "warning": 0, "note": found, "unknown": 0 },
        "errors": Json::List(Vec::new()),
    };
    let found = u64::from(found > 0);
    Outcome::success(900 + rng.u64(..900), format!("Type checked {path} with mypy"), data)
        .with(counted([("error", found), ("note", found)]), Vec::new())
}

fn scan(path: &str, name: &str, rng: &mut Rng) -> Outcome {
    let found: Vec<_> = RISKS.into_iter().filter(|_| rng.u32(..100) < 10).collect();
    let count = |severity: &str| found.iter().filter(|risk| risk.1 == severity).count() as u64;
    let [low, medium, high] = [count("LOW"), count("MEDIUM"), count("HIGH")];
    let issues: Vec<Json> = found
        .iter()
        .map(|&(test, severity, text, line)| {
            object! {
                "code": "", "filename": "", "line_number": line, "line_range": vec![line], "test_id": test,
                "test_name": "", "severity": severity, "confidence": "HIGH", "text": text,
                "cwe": object! {}, "more_info": "",
            }
        })
        .collect();
    let data = object! {
        "file": path, "tool": "bandit", "issues_found": issues.len(), "issues": issues,
        "severity_breakdown": object! { "low": low, "medium": medium, "high": high, "unknown": 0 },
        "confidence_breakdown": object! { "low": 0, "medium": 0, "high": found.len(), "unknown": 0 },
        "errors": Json::List(Vec::new()),
    };
    let findings = found.iter().enumerate().map(|(index, &(test, severity, text, line))| Finding {
        id: format!("security_{name}_{line}_{index}"),
        line: Some(line),
        severity: match severity {
            "HIGH" => "error",
            "MEDIUM" => "warning",
            _ => "info",
        },
        blocking: severity == "HIGH",
        category: format!("security_{test}"),
        message: text.to_owned(),
        ..Finding::of(Worker::SecurityScanner, path)
    });
    let findings = findings.collect();
    Outcome::success(800 + rng.u64(..1000), format!("Scanned {path} with bandit"), data)
        .with(counted([("low", low), ("medium", medium), ("high", high)]), findings)
}

fn profile(path: &str, rng: &mut Rng) -> Outcome {
    let complexity = 3 + rng.u64(..10);
    let is_high = complexity > 10;
    let function = || {
        object! {
            "name": "checkout", "type": "function", "complexity": complexity, "line_number": 40, "end_line": 80,
            "rank": if is_high { "C" } else { "B" }, "file": "",
        }
    };
    let high: Vec<Json> = is_high.then(function).into_iter().collect();
    let data = object! {
        "file": path, "tool": "radon", "functions_analyzed": 1, "metrics": vec![function()],
        "complexity_summary": object! {
            "average_complexity": complexity as f64, "max_complexity": complexity,
            "high_complexity_count": high.len(), "total_functions": 1,
        },
        "high_complexity_functions": high, "errors": Json::List(Vec::new()),
    };
    let finding = is_high.then(|| Finding {
        id: format!("performance-profiler-{path}-checkout"),
        line: Some(40),
        severity: "info",
        message: format!("High complexity function: checkout (complexity: {complexity})"),
        context: function(),
        ..Finding::of(Worker::PerformanceProfiler, path)
    });
    Outcome::success(260 + rng.u64(..120), format!("Analyzed {path} with radon"), data)
        .with(counted([("high_complexity", u64::from(is_high))]), finding.into_iter().collect())
}

fn issue_message(count: usize, name: &str) -> String {
    if count == 0 { format!("No issues in {name}") } else { format!("Found {count} issue(s) in {name}") }
}

/// The severities that occur.
fn counted<const N: usize>(counts: [(&'static str, u64); N]) -> Vec<(&'static str, u64)> {
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}
