//! The reference of the service's own figures: `docs/metrics-service.md`, made from [`crate::names`].
//!
//! The types and labels are those that a running collector and agent are held to; the meanings are here, one for each
//! figure, and a test fails when one lacks or is of no use.

use std::fmt::Write;

use crate::names::{
    AGENT_CERTIFICATE_FIGURES, AGENT_FIGURES, AGENT_OTLP_FIGURES, COLLECTOR_FIGURES, DESTINATION_FIGURES,
    FigureKind, OTLP_TEAM_FIGURES, OwnFigure,
};

const HEAD: &str = "# Figures of the service itself

What Muster says of itself, besides the [catalogue of the tools](metrics.md). This page is generated from
`dashboards/src/names.rs` and `dashboards/src/reference.rs` (`MUSTER_BLESS=1 cargo test -p dashboards --test files` writes it).

- Counters begin anew with their process, and are there from the start at 0, unless a label's value is only known with its
  first event, such as a reason.
- A histogram has the samples `_bucket`, `_sum` and `_count`.
- Prometheus adds `job` and `instance`, and the shipped configurations `environment`.
- An operator's token shows the collector's figures, a team's does not ([tokens](prometheus.md#tokens)).
";

/// The page.
pub fn service_page() -> String {
    let mut page = HEAD.to_owned();
    for (title, about, figures) in [
        ("Collector", "On the collector's page.", COLLECTOR_FIGURES),
        ("Destinations", "On the collector's page while it has destinations.", DESTINATION_FIGURES),
        ("OTLP by team", "On the collector's page once a team sent OTLP.", OTLP_TEAM_FIGURES),
        ("Agent", "On an agent's own page, which is on loopback.", AGENT_FIGURES),
        ("An agent's certificate", "On an agent's own page once it is enrolled.", AGENT_CERTIFICATE_FIGURES),
        ("OTLP at the agent", "On an agent's own page while it takes OTLP.", AGENT_OTLP_FIGURES),
    ] {
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## {title}\n\n{about}\n\n| name | type | labels | what it says |\n|---|---|---|---|\n"
        );
        for figure in figures {
            page.push_str(&row(figure));
        }
    }
    page
}

fn row(figure: &OwnFigure) -> String {
    let kind = match figure.kind {
        FigureKind::Counter => "counter",
        FigureKind::Gauge => "gauge",
        FigureKind::Histogram => "histogram",
    };
    let labels: Vec<_> = figure.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {kind} | {} | {} |\n", figure.name, labels.join(", "), meaning(figure.name))
}

fn meaning(name: &str) -> &'static str {
    MEANINGS.iter().find(|(of, _)| *of == name).map_or("", |(_, text)| text)
}

/// What each figure says.
const MEANINGS: &[(&str, &str)] = &[
    ("muster_server_connections", "Open connections"),
    ("muster_server_accept_paused", "1 while connections wait because no descriptor or permit is free"),
    ("muster_server_connections_accepted_total", "Connections accepted"),
    ("muster_server_connections_refused_total", "Connections closed before they were of use"),
    ("muster_server_streams", "Open agent streams"),
    ("muster_server_streams_ended_total", "Agent streams refused or ended by the collector"),
    ("muster_server_batches_total", "Batches by what became of them"),
    (
        "muster_server_events_accepted_total",
        "Events acknowledged as durable for the first time since the start",
    ),
    (
        "muster_server_accepted_bytes_total",
        "Bytes of batches acknowledged as durable for the first time since the start",
    ),
    ("muster_server_events_missing_total", "Events that agents could no longer send when they connected"),
    ("muster_server_enrolments_total", "Requests for certificates of agents by what became of them"),
    ("muster_server_credentials_refused_total", "Credentials that were not accepted"),
    ("muster_server_reloads_total", "Changes of configuration, certificate and tokens while running"),
    (
        "muster_server_configuration_offers_total",
        "Configurations offered to agents ([remote configuration](remote-configuration.md))",
    ),
    (
        "muster_server_configuration_answers_total",
        "What agents said of the configuration that they are offered: `own`, `applied`, `rejected`, `invalid`",
    ),
    (
        "muster_quota_refusals_total",
        "Batches, OTLP requests and streams that a quota refused for a while ([limits](limits.md))",
    ),
    ("muster_audit_lines_total", "Lines written to the audit log"),
    (
        "muster_audit_merged_total",
        "Entries that the audit log has as a number alone: too many different ones within a minute",
    ),
    ("muster_audit_dropped_total", "Entries that could not be written to the audit log"),
    ("muster_server_journal_syncs_total", "Times the journal was synced to disk"),
    ("muster_server_journal_records_total", "Records made durable in the journal since the start"),
    ("muster_server_journal_appended_bytes_total", "Bytes made durable in the journal since the start"),
    ("muster_server_journal_disk_full_total", "Times the journal's disk was full"),
    ("muster_server_journal_dropped_records_total", "Records that retention deleted before they were read"),
    ("muster_server_journal_bytes", "Size of the journal"),
    ("muster_server_journal_segments", "Segments of the journal"),
    ("muster_server_journal_queued_bytes", "Bytes that wait for the journal's disk"),
    ("muster_server_journal_quarantined_records", "Records of the journal lost to damage"),
    ("muster_server_journal_missing_records", "Records of the journal that no segment has"),
    ("muster_server_events_aggregated_total", "Events folded into series since the start, replay included"),
    ("muster_server_records_passed_over_total", "Journal records that the aggregate passed over"),
    (
        "muster_server_records_missing_total",
        "Journal records that were missing when the aggregate came to them",
    ),
    ("muster_server_aggregate_lag_records", "Durable records that are not yet in the aggregate"),
    ("muster_server_snapshots_total", "Snapshots of the aggregate, by result"),
    ("muster_server_series", "Series of the aggregate"),
    ("muster_server_agents", "Agents that are known, by whether they have a stream"),
    (
        "muster_server_agent_configurations",
        "Connected agents by what became of the configuration that they are offered: `not_taken`, `pending`, `own`, \
         `applied`, `rejected`",
    ),
    ("muster_server_ack", "Seconds from a batch's arrival to its durable acknowledgement"),
    ("muster_otlp_requests_total", "OTLP requests to the collector by what became of them"),
    (
        "muster_otlp_items_accepted_total",
        "Log records, data points and spans that came over OTLP and are durable",
    ),
    (
        "muster_otlp_items_rejected_total",
        "Log records, data points and spans that were not taken of requests that were",
    ),
    ("muster_otlp_accepted_bytes_total", "Bytes of OTLP payloads that are durable, decompressed"),
    ("muster_otlp_memory_bytes", "Bytes that OTLP requests under way hold"),
    ("muster_history_rows_total", "Rows written to the history"),
    (
        "muster_history_failures_total",
        "Times that the history could not be written, merged or cut, and is tried again",
    ),
    ("muster_history_flushes_total", "Ranges of the journal written to the history"),
    ("muster_history_compactions_total", "Times that small files became one"),
    ("muster_history_compacted_files_total", "Files that became part of others"),
    ("muster_history_expired_files_total", "Files that retention deleted"),
    ("muster_history_expired_bytes_total", "Bytes that retention deleted"),
    (
        "muster_history_records_passed_over_total",
        "Journal records that gave no rows since they cannot be read",
    ),
    (
        "muster_history_records_missing_total",
        "Journal records that were missing when the history came to them",
    ),
    ("muster_history_set_aside_files_total", "Files that could not be read and were set aside"),
    ("muster_history_files", "Files of the history"),
    ("muster_history_bytes", "Size of the history's files"),
    ("muster_history_lag_records", "Durable records that are in no file of the history yet"),
    ("muster_history_lag_seconds", "How long the oldest of these has waited"),
    ("muster_history_up", "Whether the history can be written"),
    ("muster_destination_queued_records", "Journal records that the destination has not yet got"),
    (
        "muster_destination_queued_bytes",
        "Bytes of the journal records that the destination has not yet got, about",
    ),
    (
        "muster_destination_oldest_age_seconds",
        "How long the oldest record that waits for the destination has waited",
    ),
    ("muster_destination_up", "Whether the last request was taken; nothing before the first"),
    ("muster_destination_pending_items", "Accepted items that are neither delivered nor dropped"),
    ("muster_destination_accepted_items_total", "Items that came out of the journal and are wanted"),
    ("muster_destination_delivered_items_total", "Items that the destination took"),
    ("muster_destination_filtered_items_total", "Items that filters and signals left out"),
    ("muster_destination_retried_items_total", "Items of dead letters that were taken after all"),
    ("muster_destination_dropped_items_total", "Items that the destination will not get, by reason"),
    ("muster_destination_requests_total", "Requests by what became of them"),
    ("muster_destination_missing_records_total", "Journal records that were gone before they were forwarded"),
    ("muster_destination_dead_letters_deleted_total", "Dead letters deleted to keep their bound"),
    ("muster_otlp_folded_items_total", "Items from OTLP of a team that were folded into series"),
    (
        "muster_otlp_points_dropped_total",
        "Data points from OTLP of a team that are in no series of their own, by reason",
    ),
    ("muster_otlp_series", "Series of a team's metrics from OTLP"),
    ("muster_otlp_streams", "Streams of a team's metrics from OTLP that are remembered"),
    ("muster_agent_events_spooled_total", "Events made durable in the spool"),
    ("muster_agent_events_acked_total", "Events that the collector made durable"),
    ("muster_agent_events_queued", "Events in the spool that are not acknowledged"),
    ("muster_agent_events_dropped_total", "Events dropped, by reason"),
    ("muster_agent_spool_bytes", "Bytes of the spool, kept acknowledged ones included"),
    ("muster_agent_spool_quarantined_records_total", "Damaged spool records set aside"),
    ("muster_agent_spool_refusals_total", "Steps that the spool refused; they are read again"),
    ("muster_agent_connected", "Whether a stream to the collector is open"),
    ("muster_agent_connects_total", "Streams opened to the collector"),
    ("muster_agent_new_epochs_total", "Epochs taken after the first of this process"),
    ("muster_agent_projects", "Projects watched"),
    ("muster_agent_sources", "Sources read"),
    ("muster_agent_steps_total", "Steps taken by sources"),
    ("muster_agent_source_panics_total", "Panics of sources, each contained"),
    ("muster_agent_rescans_forced_total", "Lost notifications made up for by looking at everything"),
    ("muster_agent_memory_bytes", "Resident memory of the agent"),
    ("muster_agent_cpu_seconds_total", "CPU time of the agent"),
    ("muster_agent_local_requests_total", "Requests of local commands (`exec`, `emit`), by outcome"),
    ("muster_agent_local_events_total", "Events of local commands spooled"),
    (
        "muster_agent_configuration",
        "How it stands with the collector's configuration (`not_taken`, `own`, `applied`, `rejected`): 1 for the state that is",
    ),
    ("muster_agent_configuration_offers_total", "Offers of the collector, by outcome"),
    (
        "muster_agent_certificate_remaining_seconds",
        "Seconds until the agent's certificate ends, negative after",
    ),
    ("muster_agent_certificate_renewals_total", "Renewals of the agent's certificate, by outcome"),
    ("muster_agent_otlp_requests_total", "OTLP requests answered, by outcome"),
    ("muster_agent_otlp_items_total", "OTLP log records, data points and spans spooled"),
    ("muster_agent_otlp_rejected_items_total", "OTLP items rejected in requests of which the rest was taken"),
    ("muster_agent_otlp_redacted_total", "Texts in OTLP payloads that were replaced before the spool"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::MEANINGS;
    use crate::names::own_figures;

    #[test]
    fn each_figure_has_one_meaning_and_nothing_else_has() {
        let named: BTreeSet<_> = MEANINGS.iter().map(|(name, _)| *name).collect();
        assert_eq!(named.len(), MEANINGS.len(), "one is there twice");
        assert_eq!(named, own_figures().map(|figure| figure.name).collect());
        assert!(
            MEANINGS.iter().all(|(_, text)| text.len() > 8 && !text.ends_with('.') && !text.contains('|'))
        );
    }
}
