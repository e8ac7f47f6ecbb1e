//! The nine series of every fixture against what the real endpoint answers.

use std::collections::BTreeMap;
use std::fs;

use super::support::{World, fixtures, time};

/// What `expected_metrics.txt` says; `None` where the real endpoint breaks.
fn expected(name: &str) -> Option<BTreeMap<String, f64>> {
    let text = fs::read_to_string(fixtures().join(name).join("expected_metrics.txt")).unwrap();
    if text.starts_with("HTTP 500") {
        return None;
    }
    let mut series = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("loki_")) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        series.insert(name.to_owned(), value.parse().unwrap());
    }
    Some(series)
}

fn check(name: &str, exceptions: &[(&str, f64)]) {
    let mut meant = expected(name).unwrap_or_default();
    for (series, value) in exceptions {
        meant.insert((*series).to_owned(), *value);
    }
    let mut world = World::fixture(name);
    let now = world.now;
    let read = world.run().series(now);
    assert!(read.values().all(|value| value.is_finite()), "{name}: {read:?}");
    for (series, value) in meant {
        let ours = read[&series];
        assert!((ours - value).abs() < 1e-9 || ours == value, "{name}: {series} is {ours}, not {value}");
    }
}

#[test]
fn the_six_main_trees_read_as_the_real_endpoint_reads_them_but_for_the_values_it_gets_wrong() {
    check("running", &[("loki_uptime_seconds", 5395.0)]);
    check("paused", &[("loki_uptime_seconds", 3596.0)]);
    check("stopped", &[("loki_iteration_current", 1.0), ("loki_uptime_seconds", 0.0)]);
    check(
        "stale-after-exit",
        &[("loki_session_status", 0.0), ("loki_iteration_current", 2.0), ("loki_uptime_seconds", 0.0)],
    );
    check("corrupt", &[("loki_uptime_seconds", 3596.0)]);
    check("multi-session", &[("loki_iteration_current", 2.0), ("loki_uptime_seconds", 1796.0)]);
}

/// Where we differ from the real endpoint on purpose, and why.
fn deliberate(name: &str) -> &'static [(&'static str, f64)] {
    match name {
        // The state file is not known to be younger than 60 s, and there is no pid file: nothing proves that it runs.
        "mode-running" | "state-tasks-pending-string" => &[("loki_session_status", 0.0)],
        "state-float-iteration" => &[("loki_session_status", 0.0), ("loki_iteration_current", 7.0)],
        // No count: a number is true or absent.
        "huge-int-iteration" | "state-nan-iteration" | "state-string-iteration" => {
            &[("loki_session_status", 0.0), ("loki_iteration_current", 0.0)]
        }
        // EPERM means alive.
        "no-state-eperm-pid" => &[("loki_session_status", 1.0)],
        // The real endpoint breaks on these.
        "cost-efficiency-invalid-utf8" => &[("loki_cost_usd", 1.0)],
        "cost-model-null" | "cost-string-bad" => &[("loki_cost_usd", 0.0)],
        "cost-pricing-list" => &[("loki_cost_usd", 5.0)],
        "env-max-iterations-garbage" => &[("loki_iteration_max", 1000.0)],
        "state-tasks-pending-null" => &[("loki_tasks_total{status=\"pending\"}", 0.0)],
        _ => &[],
    }
}

#[test]
fn no_edge_case_breaks_the_source_and_each_reads_as_at_the_real_endpoint_or_differs_on_purpose() {
    let mut cases = 0;
    for entry in fs::read_dir(fixtures().join("edge-cases")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        check(&format!("edge-cases/{name}"), deliberate(&name));
        cases += 1;
    }
    assert!(cases >= 35, "the fixtures are there");
}

#[test]
fn the_running_tree_tells_its_sessions_iterations_usage_budget_and_reviews() {
    let mut world = World::fixture("running");
    world.run();
    world.wait(5);
    let reading = &world.reading;
    assert_eq!(reading.count(" session pid-48213-1771583405 RUNNING"), 1, "{:#?}", reading.said);
    assert_eq!(reading.count(" session "), 1);
    assert_eq!(reading.count("started orchestrator"), 7);
    let orchestrator: Vec<_> = reading.runs.iter().filter(|(worker, _)| worker == "orchestrator").collect();
    assert_eq!(orchestrator.len(), 6);
    assert!(orchestrator.iter().all(|(_, run)| run.duration_us.is_some_and(|us| us > 610_000_000)));
    assert_eq!(reading.count("run orchestrator FAILURE #4"), 1);
    assert_eq!(reading.count("run eng-qa SUCCESS"), 1);
    assert_eq!(reading.count("run ops-sre ERROR"), 1);
    // Iteration 4 is all zero and 6 has no tokens: unknown, not free.
    assert_eq!(reading.usage.len(), 4);
    assert_eq!(
        reading.count("usage #1 sonnet 1500+820+52000+4100 Some(431200) Some(47775)"),
        1,
        "{:#?}",
        reading.said
    );
    assert_eq!(reading.count("usage #5 claude-sonnet-made-up-id 100000+20000+0+0 None None"), 1);
    assert_eq!(
        reading.count("log council_vote iteration=6 approve=1 reject=2 threshold=2 result=REJECTED"),
        1
    );
    assert_eq!(reading.count("log rollback checkpoint=cp-6-1771587000"), 1);
    assert_eq!(reading.count("call Bash"), 1);
    assert_eq!(reading.budget.unwrap().limit_usd, Some(25.0));
    assert_eq!(reading.phase, "DEVELOPMENT");
    assert_eq!(reading.health.newest_data_time_us, time("2026-02-20T12:00:00Z").0);
}

#[test]
fn a_dead_run_is_closed_with_the_result_that_its_state_file_gives() {
    let mut world = World::fixture("stale-after-exit");
    world.run();
    world.wait(5);
    let reading = &world.reading;
    let end = "session pid-31000-1771574404 STOPPED max_iterations_reached Some(0)";
    assert_eq!(reading.count(end), 1, "{:#?}", reading.said);
    assert_eq!(reading.count("run orchestrator SUCCESS"), 2);
    assert!(reading.usage.is_empty(), "this version measured nothing");
}
