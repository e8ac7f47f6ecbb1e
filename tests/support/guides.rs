//! The PromQL of the two users' guides, each with what it must answer when Loki Mode and DevLoop both run.

/// What a query must answer.
#[derive(Debug, Clone, Copy)]
pub enum Expect {
    /// At least one series.
    Series,
    /// No error; whether there is a series depends on the values.
    Valid,
    /// Nothing, by PromQL's own rules, for this reason.
    Nothing(&'static str),
}

use Expect::{Nothing, Series, Valid};

const UNMATCHED: &str = "the two sides have no label set in common: the guide leaves out `ignoring` or `sum`";
const NO_SERIES: &str = "the guide's own placeholder is no series";

/// Every expression of the guides, in their order; first Loki Mode's, then DevLoop's.
pub const QUERIES: &[(&str, Expect)] = &[
    ("loki_session_status", Series),
    ("loki_iteration_current / loki_iteration_max * 100", Series),
    ("loki_tasks_total", Series),
    ("loki_agents_active", Series),
    ("loki_agents_total", Series),
    ("loki_cost_usd", Series),
    ("loki_uptime_seconds", Series),
    ("rate(loki_events_total[5m])", Series),
    ("loki_session_status == 1", Valid),
    ("loki_tasks_total{status=\"pending\"} + loki_tasks_total{status=\"in_progress\"}", Nothing(UNMATCHED)),
    (
        "loki_tasks_total{status=\"pending\"} + ignoring(status) loki_tasks_total{status=\"in_progress\"}",
        Series,
    ),
    ("rate(loki_cost_usd[1h]) * 3600", Series),
    ("rate(loki_events_total[5m]) * 60", Series),
    ("rate(loki_tasks_total{status=\"completed\"}[10m])", Series),
    ("loki_tasks_total{status=\"failed\"} / sum(loki_tasks_total)", Nothing(UNMATCHED)),
    ("sum(loki_tasks_total{status=\"failed\"}) / sum(loki_tasks_total)", Series),
    ("loki_session_status == 0", Valid),
    ("loki_cost_usd > 4.00", Valid),
    ("loki_cost_usd > 4.50", Valid),
    ("changes(loki_iteration_current[30m]) == 0 and loki_session_status == 1", Valid),
    ("loki_tasks_total{status=\"failed\"} / sum(loki_tasks_total) > 0.1", Nothing(UNMATCHED)),
    ("loki_agents_active > 50", Valid),
    (
        "avg(rate(devloop_agent_execution_duration_ms_sum[5m]) / rate(devloop_agent_execution_duration_ms_count[5m]))",
        Series,
    ),
    ("rate(devloop_agent_runs_total{status=\"success\"}[5m]) / rate(devloop_agent_runs_total[5m])", Series),
    ("devloop_agent_queue_depth", Series),
    ("histogram_quantile(0.95, rate(devloop_agent_execution_duration_ms_bucket[5m]))", Series),
    ("devloop_agent_last_run_ms", Series),
    ("devloop_system_cpu_percent", Series),
    ("devloop_system_memory_mb / 1024", Series),
    ("count(devloop_agent_runs_total) by (agent)", Series),
    ("devloop_files_watched", Series),
    ("rate(devloop_files_changed_total[5m])", Series),
    ("sum(devloop_active_issues) by (severity)", Series),
    ("increase(devloop_issues_found_total[1h])", Series),
    ("devloop_issues_autofixed_total / devloop_issues_found_total", Nothing(UNMATCHED)),
    ("sum(devloop_issues_autofixed_total) / sum(devloop_issues_found_total)", Series),
    ("devloop_false_positives_total / devloop_issues_found_total", Nothing(UNMATCHED)),
    ("sum(devloop_false_positives_total) / sum(devloop_issues_found_total)", Series),
    ("rate(devloop_ci_failures_prevented[24h]) * 60 * 60 * 24", Series),
    ("rate(devloop_build_time_saved_seconds[24h]) * 60 * 60 * 24", Series),
    ("rate(devloop_developer_time_saved_seconds[24h]) / 3600", Series),
    ("rate(devloop_successful_pushes[5m]) / rate(devloop_total_pushes[5m])", Series),
    (
        "histogram_quantile(0.95, devloop_agent_execution_duration_ms) < 1000",
        Nothing("a histogram has no series of its bare name"),
    ),
    ("max(devloop_agent_queue_depth) < 50", Series),
    ("rate(devloop_events_processed_total[5m])", Series),
    ("rate(devloop_events_processed_total[5m]) > (100/60)", Valid),
    ("histogram_quantile(0.95, rate(devloop_event_latency_ms_bucket[5m]))", Series),
    ("devloop_event_queue_size", Series),
    (
        "rate(devloop_agent_runs_total{status=\"success\"}[5m]) / rate(devloop_agent_runs_total[5m]) > 0.99",
        Series,
    ),
    ("rate(devloop_agent_runs_total{status=\"error\"}[5m]) < 0.01", Valid),
    ("rate(devloop_agent_runs_total{status=\"error\"}[5m])", Series),
    ("(total_time - downtime) / total_time > 0.999", Nothing(NO_SERIES)),
    ("devloop_system_cpu_percent < 50", Valid),
    ("devloop_system_memory_mb < 500", Valid),
    ("rate(devloop_disk_io_bytes[5m]) < 100000000", Series),
    ("increase(devloop_issues_found_total[24h]) > 100", Valid),
    ("increase(devloop_developer_time_saved_seconds[24h]) / 3600 > 2", Valid),
    ("1 - (current_cost / baseline_cost) > 0.2", Nothing(NO_SERIES)),
    ("histogram_quantile(0.95, rate(devloop_agent_execution_duration_ms_bucket[1h]))", Series),
    ("devloop_agent_cpu_percent", Series),
    ("devloop_agent_memory_mb", Series),
];
