//! Every series that an expression may name, with its type and labels.
//!
//! Four kinds: the catalogue of metrics (`docs/metrics.md`), the own figures of the collector and of the agent, what the
//! recording rules make, and what Prometheus itself adds (`up`). A histogram is known by its samples: `_bucket`, `_sum`
//! and `_count`. The tables of own figures are held against the pages of a running collector and a running agent by
//! `tests/dashboards.rs`.

use metrics::catalogue::{self, MetricKind};

use crate::prometheus;

/// Labels that Prometheus gives to all it scrapes: its own two, and `environment` of the shipped scrape configurations.
pub const SCRAPE_LABELS: &[&str] = &["job", "instance", "environment"];
/// Labels that every family of the catalogue has on the collector's page.
pub const SCOPE_LABELS: &[&str] = &["team", "user", "host", "project"];

/// What a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// Only grows: `rate` and `increase` make sense.
    Counter,
    /// Reads what is now.
    Gauge,
    /// One bucket of a classic histogram; grows like a counter and has `le`.
    Bucket,
}

/// A sample that an expression may select.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What it is.
    pub kind: SampleKind,
    /// All of its labels.
    pub labels: Vec<&'static str>,
}

/// A series that a recording rule makes.
#[derive(Debug, Clone, Copy)]
pub struct Recorded {
    /// Its name, `level:metric:operation` or as a guide has it.
    pub name: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

/// A figure of the service itself, as its page has it.
#[derive(Debug, Clone, Copy)]
pub struct OwnFigure {
    /// Its name on the page, without `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    /// Its type on the page.
    pub kind: FigureKind,
    /// Its labels.
    pub labels: &'static [&'static str],
}

/// Type of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureKind {
    /// Only grows.
    Counter,
    /// Reads what is now.
    Gauge,
    /// Classic histogram.
    Histogram,
}

/// The sample of that name, or `None` when nothing exposes it.
pub fn find(name: &str) -> Option<Sample> {
    from_catalogue(name).or_else(|| own(name)).or_else(|| recorded(name)).or_else(|| prometheus_own(name))
}

/// The collector's own figures, on its page.
pub const COLLECTOR_FIGURES: &[OwnFigure] = &[
    gauge("muster_server_connections", &["door"]),
    gauge("muster_server_accept_paused", &["door"]),
    counter("muster_server_connections_accepted_total", &["door"]),
    counter("muster_server_connections_refused_total", &["reason"]),
    gauge("muster_server_streams", &[]),
    counter("muster_server_streams_ended_total", &["reason"]),
    counter("muster_server_batches_total", &["outcome"]),
    counter("muster_server_events_accepted_total", &[]),
    counter("muster_server_accepted_bytes_total", &[]),
    counter("muster_server_events_missing_total", &[]),
    counter("muster_server_enrolments_total", &["outcome"]),
    counter("muster_server_credentials_refused_total", &["reason"]),
    counter("muster_server_reloads_total", &["result"]),
    counter("muster_server_configuration_offers_total", &[]),
    counter("muster_server_configuration_answers_total", &["answer"]),
    counter("muster_quota_refusals_total", &["team", "reason"]),
    counter("muster_audit_lines_total", &[]),
    counter("muster_audit_merged_total", &[]),
    counter("muster_audit_dropped_total", &["reason"]),
    counter("muster_server_journal_syncs_total", &[]),
    counter("muster_server_journal_records_total", &[]),
    counter("muster_server_journal_appended_bytes_total", &[]),
    counter("muster_server_journal_disk_full_total", &[]),
    counter("muster_server_journal_dropped_records_total", &[]),
    gauge("muster_server_journal_bytes", &[]),
    gauge("muster_server_journal_segments", &[]),
    gauge("muster_server_journal_queued_bytes", &[]),
    gauge("muster_server_journal_quarantined_records", &[]),
    gauge("muster_server_journal_missing_records", &[]),
    counter("muster_server_events_aggregated_total", &[]),
    counter("muster_server_records_passed_over_total", &["reason"]),
    counter("muster_server_records_missing_total", &[]),
    gauge("muster_server_aggregate_lag_records", &[]),
    counter("muster_server_snapshots_total", &["result"]),
    gauge("muster_server_series", &[]),
    gauge("muster_server_agents", &["state"]),
    gauge("muster_server_agent_configurations", &["state"]),
    histogram("muster_server_ack", &[]),
    counter("muster_otlp_requests_total", &["signal", "transport", "outcome"]),
    counter("muster_otlp_items_accepted_total", &["signal"]),
    counter("muster_otlp_items_rejected_total", &["signal", "reason"]),
    counter("muster_otlp_accepted_bytes_total", &["signal"]),
    gauge("muster_otlp_memory_bytes", &[]),
    counter("muster_history_rows_total", &["data_set"]),
    counter("muster_history_failures_total", &["reason"]),
    counter("muster_history_flushes_total", &[]),
    counter("muster_history_compactions_total", &[]),
    counter("muster_history_compacted_files_total", &[]),
    counter("muster_history_expired_files_total", &[]),
    counter("muster_history_expired_bytes_total", &[]),
    counter("muster_history_records_passed_over_total", &[]),
    counter("muster_history_records_missing_total", &[]),
    counter("muster_history_set_aside_files_total", &[]),
    gauge("muster_history_files", &[]),
    gauge("muster_history_bytes", &[]),
    gauge("muster_history_lag_records", &[]),
    gauge("muster_history_lag_seconds", &[]),
    gauge("muster_history_up", &[]),
];

/// The collector's figures of each destination, on its page while it has destinations.
pub const DESTINATION_FIGURES: &[OwnFigure] = &[
    gauge("muster_destination_queued_records", &["destination"]),
    gauge("muster_destination_queued_bytes", &["destination"]),
    gauge("muster_destination_oldest_age_seconds", &["destination"]),
    gauge("muster_destination_up", &["destination"]),
    gauge("muster_destination_pending_items", &["destination", "signal"]),
    counter("muster_destination_accepted_items_total", &["destination", "signal"]),
    counter("muster_destination_delivered_items_total", &["destination", "signal"]),
    counter("muster_destination_filtered_items_total", &["destination", "signal"]),
    counter("muster_destination_retried_items_total", &["destination", "signal"]),
    counter("muster_destination_dropped_items_total", &["destination", "signal", "reason"]),
    counter("muster_destination_requests_total", &["destination", "outcome"]),
    counter("muster_destination_missing_records_total", &["destination"]),
    counter("muster_destination_dead_letters_deleted_total", &["destination"]),
];

/// The collector's figures of what a team sent over OTLP, on its page once the team did.
pub const OTLP_TEAM_FIGURES: &[OwnFigure] = &[
    counter("muster_otlp_folded_items_total", &["team", "signal"]),
    counter("muster_otlp_points_dropped_total", &["team", "reason"]),
    gauge("muster_otlp_series", &["team"]),
    gauge("muster_otlp_streams", &["team"]),
];

/// An agent's own figures, on its page.
pub const AGENT_FIGURES: &[OwnFigure] = &[
    counter("muster_agent_events_spooled_total", &[]),
    counter("muster_agent_events_acked_total", &[]),
    gauge("muster_agent_events_queued", &[]),
    counter("muster_agent_events_dropped_total", &["reason"]),
    gauge("muster_agent_spool_bytes", &[]),
    counter("muster_agent_spool_quarantined_records_total", &[]),
    counter("muster_agent_spool_refusals_total", &[]),
    gauge("muster_agent_connected", &[]),
    counter("muster_agent_connects_total", &[]),
    counter("muster_agent_new_epochs_total", &[]),
    gauge("muster_agent_projects", &[]),
    gauge("muster_agent_sources", &[]),
    counter("muster_agent_steps_total", &[]),
    counter("muster_agent_source_panics_total", &[]),
    counter("muster_agent_rescans_forced_total", &[]),
    gauge("muster_agent_memory_bytes", &[]),
    counter("muster_agent_cpu_seconds_total", &[]),
    counter("muster_agent_local_requests_total", &["outcome"]),
    counter("muster_agent_local_events_total", &[]),
    gauge("muster_agent_configuration", &["state"]),
    counter("muster_agent_configuration_offers_total", &["outcome"]),
];

/// An agent's figures of its certificate, on its page once it is enrolled.
pub const AGENT_CERTIFICATE_FIGURES: &[OwnFigure] = &[
    gauge("muster_agent_certificate_remaining_seconds", &[]),
    counter("muster_agent_certificate_renewals_total", &["outcome"]),
];

/// An agent's figures of what tools sent to it over OTLP, on its page while it takes OTLP.
pub const AGENT_OTLP_FIGURES: &[OwnFigure] = &[
    counter("muster_agent_otlp_requests_total", &["outcome"]),
    counter("muster_agent_otlp_items_total", &["signal"]),
    counter("muster_agent_otlp_rejected_items_total", &[]),
    counter("muster_agent_otlp_redacted_total", &[]),
];

const fn counter(name: &'static str, labels: &'static [&'static str]) -> OwnFigure {
    OwnFigure { name, kind: FigureKind::Counter, labels }
}

const fn gauge(name: &'static str, labels: &'static [&'static str]) -> OwnFigure {
    OwnFigure { name, kind: FigureKind::Gauge, labels }
}

const fn histogram(name: &'static str, labels: &'static [&'static str]) -> OwnFigure {
    OwnFigure { name, kind: FigureKind::Histogram, labels }
}

/// Every own figure of the service.
pub(crate) fn own_figures() -> impl Iterator<Item = &'static OwnFigure> {
    let of_agents = AGENT_FIGURES.iter().chain(AGENT_CERTIFICATE_FIGURES).chain(AGENT_OTLP_FIGURES);
    COLLECTOR_FIGURES.iter().chain(DESTINATION_FIGURES).chain(OTLP_TEAM_FIGURES).chain(of_agents)
}

fn from_catalogue(name: &str) -> Option<Sample> {
    catalogue::families().iter().find_map(|family| {
        let kind = sample_kind(family.name, figure_kind(family.kind), name)?;
        let own = family.labels.iter().map(|label| label.name);
        Some(sample(kind, SCOPE_LABELS.iter().copied().chain(own)))
    })
}

fn own(name: &str) -> Option<Sample> {
    own_figures().find_map(|figure| {
        let kind = sample_kind(figure.name, figure.kind, name)?;
        Some(sample(kind, figure.labels.iter().copied()))
    })
}

fn recorded(name: &str) -> Option<Sample> {
    let recorded = prometheus::recorded().iter().find(|recorded| recorded.name == name)?;
    Some(Sample { kind: SampleKind::Gauge, labels: recorded.labels.to_vec() })
}

fn prometheus_own(name: &str) -> Option<Sample> {
    match name {
        "up" | "scrape_duration_seconds" | "scrape_samples_scraped" => {
            Some(sample(SampleKind::Gauge, std::iter::empty()))
        }
        // What the alerts' own expressions leave of labels comes on top.
        "ALERTS" => Some(sample(SampleKind::Gauge, ["alertname", "alertstate", "severity"].into_iter())),
        _ => None,
    }
}

fn sample(kind: SampleKind, labels: impl Iterator<Item = &'static str>) -> Sample {
    let bucket = (kind == SampleKind::Bucket).then_some("le");
    Sample { kind, labels: SCRAPE_LABELS.iter().copied().chain(labels).chain(bucket).collect() }
}

/// What the sample `name` of the family `family` is, if it is one of its samples.
fn sample_kind(family: &str, kind: FigureKind, name: &str) -> Option<SampleKind> {
    let suffix = name.strip_prefix(family)?;
    match (kind, suffix) {
        (FigureKind::Counter, "") | (FigureKind::Histogram, "_sum" | "_count") => Some(SampleKind::Counter),
        (FigureKind::Gauge, "") => Some(SampleKind::Gauge),
        (FigureKind::Histogram, "_bucket") => Some(SampleKind::Bucket),
        _ => None,
    }
}

pub(crate) fn figure_kind(kind: MetricKind) -> FigureKind {
    match kind {
        MetricKind::Counter(_) => FigureKind::Counter,
        MetricKind::Gauge(_) => FigureKind::Gauge,
        MetricKind::Histogram(_) => FigureKind::Histogram,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_known_with_its_type_and_labels_and_nothing_else_is() {
        let runs = find("devloop_agent_runs_total").expect("in the catalogue");
        assert_eq!(runs.kind, SampleKind::Counter);
        assert_eq!(runs.labels[3..], ["team", "user", "host", "project", "agent", "status"]);
        let bucket = find("devloop_agent_execution_duration_ms_bucket").expect("a sample of a histogram");
        assert_eq!((bucket.kind, bucket.labels.last()), (SampleKind::Bucket, Some(&"le")));
        assert_eq!(find("muster_server_ack_count").expect("an own figure").kind, SampleKind::Counter);
        assert_eq!(find("up").expect("Prometheus has it").kind, SampleKind::Gauge);
        for unknown in
            ["devloop_agent_execution_duration_ms", "devloop_agent_runs", "loki_events", "total_time"]
        {
            assert_eq!(find(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn no_own_figure_has_the_name_of_another_family() {
        let own: Vec<_> = own_figures().map(|figure| figure.name).collect();
        for (index, name) in own.iter().enumerate() {
            assert!(catalogue::find(name).is_none() && !own[index + 1..].contains(name), "{name}");
        }
    }
}
