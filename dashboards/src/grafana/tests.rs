//! The dashboards against the catalogue, against Grafana's rules of layout, and against the guides.

use std::collections::BTreeSet;

use super::model::{GRID_WIDTH, PanelKind};
use super::*;
use crate::check::check;

#[test]
fn every_expression_names_what_exists_and_every_legend_what_it_answers_with() {
    let mut faults = Vec::new();
    for query in panel_queries() {
        let place = format!("{}, {}: {}", query.dashboard, query.panel, query.expression);
        match check(&query.for_all("5m", "1h")) {
            Err(found) => faults.push(format!("{place}\n    {}", found.join("\n    "))),
            Ok(labels) => {
                for label in legend_labels(query.legend).filter(|label| !labels.contains(*label)) {
                    faults.push(format!("{place}\n    the legend has {label:?}, the answer {labels:?}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_variable_is_left_in_an_expression_for_all() {
    for query in panel_queries() {
        let expression = query.for_all("5m", "1h");
        assert!(!expression.contains(['$', '@']), "{expression}");
    }
}

#[test]
fn variables_ask_for_labels_that_their_samples_have() {
    for (dashboard, variable) in variable_queries() {
        let labels = check(variable.from).expect(dashboard);
        assert!(labels.contains(variable.name), "{dashboard}: {}", variable.name);
    }
}

#[test]
fn the_filters_of_an_expression_are_the_variables_of_its_dashboard() {
    for dashboard in dashboards() {
        let known: BTreeSet<_> = dashboard.variables.iter().map(|variable| variable.name).collect();
        for query in panel_queries().iter().filter(|query| query.dashboard == dashboard.uid) {
            for name in ["team", "user", "project", "tool"] {
                assert!(
                    known.contains(name) || !query.expression.contains(&format!("${name}")),
                    "{}",
                    query.expression
                );
            }
        }
    }
}

#[test]
fn rows_are_full_width_and_panels_of_a_line_have_one_height() {
    let mut faults = Vec::new();
    for dashboard in dashboards() {
        for row in &dashboard.rows {
            let mut line: Vec<u32> = Vec::new();
            let mut width = 0;
            for panel in &row.panels {
                width += panel.width;
                line.push(panel.height);
                let place = format!("{}, {}, {}", dashboard.uid, row.title, panel.title);
                if width > GRID_WIDTH || line.iter().any(|height| *height != line[0]) {
                    faults.push(format!("{place}: {width} wide, heights {line:?}"));
                }
                if width >= GRID_WIDTH {
                    (line, width) = (Vec::new(), 0);
                }
            }
            if width != 0 {
                faults.push(format!("{}, {}: the last line is {width} wide", dashboard.uid, row.title));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn uids_and_titles_are_unique_and_short_enough_and_every_panel_says_what_it_is() {
    let mut seen = BTreeSet::new();
    for dashboard in dashboards() {
        assert!(seen.insert(dashboard.uid) && seen.insert(dashboard.title), "{}", dashboard.uid);
        assert!(dashboard.uid.len() <= 40 && !dashboard.description.is_empty());
        let mut titles = BTreeSet::new();
        for panel in dashboard.rows.iter().flat_map(|row| &row.panels) {
            let place = format!("{}, {}", dashboard.uid, panel.title);
            assert!(titles.insert(panel.title), "{place}: twice");
            assert!(panel.description.ends_with('.'), "{place}: {}", panel.description);
            assert!((1..=8).contains(&panel.queries.len()), "{place}");
            assert!(panel.queries.iter().all(|query| !query.legend.is_empty()), "{place}");
            let steps =
                panel.thresholds.iter().chain(panel.queries.iter().filter_map(|q| q.thresholds.as_ref()));
            for thresholds in steps {
                assert!(thresholds.steps.is_sorted_by(|a, b| a.0 < b.0), "{place}");
            }
            let legends: BTreeSet<_> = panel.queries.iter().map(|query| query.legend).collect();
            assert!(panel.kind != PanelKind::Table || legends.len() == panel.queries.len(), "{place}");
        }
    }
}

/// Guide of DevLoop: "Grafana Dashboards" and "Dashboard Refresh Rates"; guide of Loki Mode: "Create Dashboard".
#[test]
fn what_the_guides_list_is_there() {
    let dashboards = dashboards();
    for (uid, refresh, panels) in [
        (
            "devloop-agent-performance",
            "15s",
            vec!["Success rate", "Queue depth", "Average execution time", "Execution time"],
        ),
        ("devloop-system-health", "15s", vec!["CPU usage", "Memory usage", "Agent stats", "Watched files"]),
        (
            "devloop-quality",
            "1m",
            vec!["Issues by severity", "Issues found per hour", "Auto-fix rate", "Issues prevented (weekly)"],
        ),
        (
            "devloop-value",
            "5m",
            vec![
                "CI failures prevented (weekly)",
                "Build time saved (weekly)",
                "Developer hours saved (weekly)",
                "Push success rate",
            ],
        ),
        (
            "loki-mode",
            "15s",
            vec![
                "Session Status",
                "Iteration Progress",
                "Task Distribution",
                "Agent Activity",
                "Cost Tracking",
                "Event Rate",
                "Uptime",
            ],
        ),
        ("muster-overview", "1m", vec![]),
        ("muster-agents", "15s", vec![]),
        ("muster-analytics", "1h", vec![]),
        ("muster-debugging", "5s", vec![]),
    ] {
        let dashboard = dashboards.iter().find(|dashboard| dashboard.uid == uid).expect(uid);
        assert_eq!(dashboard.refresh, refresh, "{uid}");
        let titles: Vec<_> =
            dashboard.rows.iter().flat_map(|row| &row.panels).map(|panel| panel.title).collect();
        for panel in panels {
            assert!(titles.contains(&panel), "{uid}: {panel}");
        }
    }
}

#[test]
fn ids_are_unique_and_no_panel_lies_on_another() {
    for file in files().iter().filter(|file| file.path.ends_with(".json")) {
        let page: serde_json::Value = serde_json::from_str(&file.content).expect("JSON");
        let panels = page["panels"].as_array().expect("panels");
        let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), panels.len(), "{}", file.path);
        let mut taken = BTreeSet::new();
        for panel in panels {
            let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            for cell in
                (at("y")..at("y") + at("h")).flat_map(|y| (at("x")..at("x") + at("w")).map(move |x| (x, y)))
            {
                assert!(taken.insert(cell), "{}: {} lies on another", file.path, panel["title"]);
            }
        }
    }
}

#[test]
fn a_number_without_a_history_is_what_is_now() {
    let mut seen = 0;
    for file in files().iter().filter(|file| file.path.ends_with(".json")) {
        let page: serde_json::Value = serde_json::from_str(&file.content).expect("JSON");
        for panel in page["panels"].as_array().expect("panels") {
            let is_now = ["stat", "gauge", "bargauge", "piechart", "table"]
                .contains(&panel["type"].as_str().unwrap_or_default());
            for target in panel["targets"].as_array().into_iter().flatten() {
                assert_eq!(target["instant"], is_now, "{}: {}", file.path, panel["title"]);
                assert_eq!(target["range"], !is_now, "{}: {}", file.path, panel["title"]);
            }
            if panel["type"] == "stat" {
                assert_eq!(panel["options"]["graphMode"], "none", "{}: {}", file.path, panel["title"]);
                seen += 1;
            }
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn a_quantile_of_nothing_is_no_line_and_no_queue_is_summed_against_a_limit() {
    for query in panel_queries() {
        let expression = &query.expression;
        assert!(!expression.contains("histogram_quantile") || expression.ends_with(">= 0"), "{expression}");
        let is_sum = expression.starts_with("sum") && expression.contains("_queue_depth{");
        assert!(!is_sum, "{}, {}: {expression}", query.dashboard, query.panel);
    }
}

fn legend_labels(legend: &str) -> impl Iterator<Item = &str> {
    legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(label, _)| label)
}
