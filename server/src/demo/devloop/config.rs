//! `agents.json` as `devloop init` writes it for the demo (schema 1.1.0), and the project's source files.

use super::workers::{WORKERS, Worker};
use crate::demo::json::{Json, object};

/// Files that the invented developer saves, with their first content.
pub(super) const SOURCES: [(&str, &str); 6] = [
    ("src/cart.py", "def checkout(items):\n    return sum(item.price for item in items)\n"),
    ("src/pricing.py", "def rounded(price):\n    return round(price, 2)\n"),
    ("src/tax.py", "RATES = {\"standard\": 20, \"reduced\": 5}\n"),
    ("tests/test_cart.py", "def test_an_empty_cart_costs_nothing():\n    assert True\n"),
    ("web/app.ts", "export const title: string = \"shop\";\n"),
    ("README.md", "# shopapi\n\nAn invented shop.\n"),
];

/// The text of `agents.json`.
pub(super) fn agents_json() -> String {
    let mut agents: Vec<_> = WORKERS.iter().map(|&worker| (worker.name().into(), agent(worker))).collect();
    // Enabled by init, yet their triggers never come.
    agents.push(("agent-health-monitor".into(), idle(&["agent:*:completed"])));
    agents.push(("git-commit-assistant".into(), idle(&["git:pre-commit", "git:commit"])));
    let text = object! {
        "version": "1.1.0", "enabled": true, "agents": Json::Object(agents), "global": global(),
        "eventSystem": object! { "collectors": object! {}, "dispatcher": object! {}, "store": object! {} },
    };
    text.pretty()
}

fn agent(worker: Worker) -> Json {
    let triggers: Vec<&str> =
        ["file:modified", "file:created"].into_iter().filter(|kind| worker.is_triggered_by(kind)).collect();
    let patterns = vec!["**/*.py", "**/*.js", "**/*.ts"];
    let config = match worker {
        Worker::Linter => object! {
            "autoFix": false, "reportOnly": true, "filePatterns": patterns,
            "linters": object! { "python": "ruff", "typescript": "eslint" },
        },
        Worker::Formatter => object! {
            "formatOnSave": false, "reportOnly": true, "filePatterns": patterns,
            "formatters": object! { "python": "black", "typescript": "prettier" },
        },
        Worker::TestRunner => object! {
            "runOnSave": true, "relatedTestsOnly": true, "testFrameworks": object! { "python": "pytest" },
        },
        Worker::TypeChecker => object! { "enabled_tools": vec!["mypy"], "max_issues": 50 },
        Worker::SecurityScanner => object! {
            "enabled_tools": vec!["bandit"], "severity_threshold": "low", "max_issues": 50,
        },
        Worker::PerformanceProfiler => object! {
            "complexity_threshold": 10, "enabled_tools": vec!["radon"], "max_issues": 50,
        },
    };
    object! { "enabled": true, "triggers": triggers, "config": config }
}

fn idle(triggers: &[&str]) -> Json {
    object! { "enabled": true, "triggers": triggers.to_vec(), "config": object! {} }
}

fn global() -> Json {
    object! {
        "mode": "report-only", "maxConcurrentAgents": 5, "notificationLevel": "summary",
        "resourceLimits": object! {
            "maxCpu": 50, "maxMemory": 500, "checkIntervalSeconds": 10, "enforcementAction": "pause",
            "resumeThresholdPercent": 0.8,
        },
        "daemon": object! { "heartbeatInterval": 30, "healthCheckEnabled": true },
        "logging": object! {},
        "contextStore": object! { "enabled": true, "path": ".devloop/context" },
        "autonomousFixes": object! { "enabled": true, "safetyLevel": "safe_only" },
    }
}
