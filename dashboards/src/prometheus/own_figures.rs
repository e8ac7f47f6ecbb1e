//! Figures of destinations and of OTLP that rules and dashboards may name, as the collector's page has them.

use crate::names::FigureKind::{Counter, Gauge};
use crate::names::{FigureKind, OwnFigure};

/// Each with its type and labels.
pub(crate) const FIGURES: &[OwnFigure] = &[
    figure("muster_destination_up", Gauge, &["destination"]),
    figure("muster_destination_queued_records", Gauge, &["destination"]),
    figure("muster_destination_queued_bytes", Gauge, &["destination"]),
    figure("muster_destination_oldest_age_seconds", Gauge, &["destination"]),
    figure("muster_destination_pending_items", Gauge, &["destination", "signal"]),
    figure("muster_destination_accepted_items_total", Counter, &["destination", "signal"]),
    figure("muster_destination_delivered_items_total", Counter, &["destination", "signal"]),
    figure("muster_destination_filtered_items_total", Counter, &["destination", "signal"]),
    figure("muster_destination_retried_items_total", Counter, &["destination", "signal"]),
    figure("muster_destination_dropped_items_total", Counter, &["destination", "signal", "reason"]),
    figure("muster_destination_requests_total", Counter, &["destination", "outcome"]),
    figure("muster_destination_missing_records_total", Counter, &["destination"]),
    figure("muster_destination_dead_letters_deleted_total", Counter, &["destination"]),
    figure("muster_otlp_points_dropped_total", Counter, &["team", "reason"]),
];

const fn figure(name: &'static str, kind: FigureKind, labels: &'static [&'static str]) -> OwnFigure {
    OwnFigure { name, kind, labels }
}
