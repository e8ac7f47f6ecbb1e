//! The catalogue against the guides, and against itself.

use std::collections::HashSet;

use super::*;
use crate::exposition::FamilyType::{self, Counter, Gauge, Histogram};

/// Every name that the guides give, with type and labels (guides of Loki Mode and DevLoop, "Available Metrics";
/// the families of DevLoop's dashboards and SLIs; types where the guide has none: contracts/devloop.md section 2.3).
const GUIDES: &[(&str, FamilyType, &[&str])] = &[
    ("loki_session_status", Gauge, &[]),
    ("loki_iteration_current", Gauge, &[]),
    ("loki_iteration_max", Gauge, &[]),
    ("loki_tasks_total", Gauge, &["status"]),
    ("loki_agents_active", Gauge, &[]),
    ("loki_agents_total", Gauge, &[]),
    ("loki_cost_usd", Gauge, &[]),
    ("loki_events_total", Counter, &[]),
    ("loki_uptime_seconds", Gauge, &[]),
    ("devloop_agent_runs_total", Counter, &["agent", "status"]),
    ("devloop_agent_queue_depth", Gauge, &["agent"]),
    ("devloop_agent_execution_duration_ms", Histogram, &["agent"]),
    ("devloop_agent_last_run_ms", Gauge, &["agent"]),
    ("devloop_system_cpu_percent", Gauge, &[]),
    ("devloop_system_memory_mb", Gauge, &[]),
    ("devloop_agent_cpu_percent", Gauge, &["agent"]),
    ("devloop_agent_memory_mb", Gauge, &["agent"]),
    ("devloop_files_watched", Gauge, &[]),
    ("devloop_files_changed_total", Counter, &[]),
    ("devloop_issues_found_total", Counter, &["severity"]),
    ("devloop_issues_autofixed_total", Counter, &[]),
    ("devloop_active_issues", Gauge, &["severity"]),
    ("devloop_events_processed_total", Counter, &[]),
    ("devloop_event_latency_ms", Histogram, &[]),
    ("devloop_event_queue_size", Gauge, &[]),
    ("devloop_false_positives_total", Counter, &[]),
    ("devloop_ci_failures_prevented", Counter, &[]),
    ("devloop_build_time_saved_seconds", Counter, &[]),
    ("devloop_developer_time_saved_seconds", Counter, &[]),
    ("devloop_successful_pushes", Counter, &[]),
    ("devloop_total_pushes", Counter, &[]),
    ("devloop_disk_io_bytes", Counter, &[]),
];

#[test]
fn every_name_of_both_guides_is_here_with_that_type_and_those_labels_and_no_other() {
    let ours: Vec<_> = families()
        .iter()
        .filter(|family| family.name.starts_with("loki_") || family.name.starts_with("devloop_"))
        .map(|family| {
            let labels: Vec<_> = family.labels.iter().map(|label| label.name).collect();
            (family.name, family.metadata().kind, labels)
        })
        .collect();
    let guides: Vec<_> = GUIDES.iter().map(|(name, kind, labels)| (*name, *kind, labels.to_vec())).collect();
    assert_eq!(ours, guides);
}

#[test]
fn the_guides_buckets_are_there() {
    let id = find("devloop_event_latency_ms").expect("there");
    let MetricKind::Histogram(bounds) = id.family().kind else { panic!("not a histogram") };
    let ms: Vec<_> = bounds.upper_us.iter().map(|us| us / bounds.unit_us).collect();
    assert_eq!(ms, [10, 50, 100, 250, 500, 1000, 2500, 5000, 10000]);
}

#[test]
fn names_are_valid_unique_and_say_what_they_are() {
    let mut names = HashSet::new();
    for family in families() {
        let valid =
            |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(valid(family.name) && family.labels.iter().all(|label| valid(label.name)), "{}", family.name);
        let open_metrics = family.metadata().family_name(crate::Format::OpenMetrics100);
        assert!(names.insert(open_metrics), "{} twice", family.name);
        assert!(!family.help.is_empty() && !family.help.contains(['\n', '|']), "{}", family.name);
        assert!(family.labels.len() <= 3, "{}: a series has room for three labels", family.name);
        if family.name.starts_with("muster_") {
            let counter = matches!(family.kind, MetricKind::Counter(_));
            assert_eq!(counter, family.name.ends_with("_total"), "{}", family.name);
            let base = family.name.trim_end_matches("_total");
            assert!(base.ends_with(family.unit), "{} in {}", family.name, family.unit);
            assert!(matches!(family.unit, "" | "seconds" | "bytes" | "usd" | "percent"), "{}", family.name);
            assert!(matches!(family.labels[0].name, "tool" | "family"), "{}", family.name);
        }
        let forbidden =
            ["session", "run", "request", "conversation", "id", "team", "user", "host", "project", "le"];
        assert!(family.labels.iter().all(|label| !forbidden.contains(&label.name)), "{}", family.name);
    }
}

#[test]
fn no_sample_of_a_family_is_a_sample_of_another() {
    for family in families() {
        for suffix in ["", "_bucket", "_sum", "_count", "_total", "_created"] {
            let name = format!("{}{suffix}", family.metadata().family_name(crate::Format::OpenMetrics100));
            let named = families().iter().filter(|other| other.metadata().is_named(&name)).count();
            assert!(named <= 1, "{name} belongs to {named} families");
        }
    }
}

#[test]
fn bounds_ascend_and_sums_have_their_parts() {
    for family in families() {
        if let MetricKind::Histogram(bounds) = family.kind {
            assert!(bounds.upper_us.is_sorted_by(|a, b| a < b), "{}", family.name);
        }
        if let MetricKind::Gauge(Reading::SumOf(other)) = family.kind {
            let parts = find(other).expect("parts are in the catalogue").family();
            assert!(matches!(parts.kind, MetricKind::Gauge(Reading::Value)) && parts.tool == family.tool);
        }
    }
}

#[test]
fn a_disabled_name_means_its_family_in_every_spelling_of_the_guide() {
    let disabled = |name| disabled_by(name).map(|id| id.family().name).collect::<Vec<_>>();
    for name in ["event_latency_histogram", "event_latency", "event_latency_ms", "devloop_event_latency_ms"] {
        assert_eq!(disabled(name), ["devloop_event_latency_ms"], "{name}");
    }
    assert_eq!(disabled("agent_runs_total"), ["devloop_agent_runs_total"]);
    assert_eq!(disabled("agent_execution_duration_histogram"), ["devloop_agent_execution_duration_ms"]);
    assert_eq!(disabled("agent"), Vec::<&str>::new());
    assert_eq!(disabled(""), Vec::<&str>::new());
    assert_eq!(disabled("loki_cost_usd"), Vec::<&str>::new());
    assert_eq!(disabled("muster_runs_total"), Vec::<&str>::new());
}
