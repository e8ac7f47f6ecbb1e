//! Figures of the history, on the page while it is on.

use std::sync::Arc;

use history::dataset::DataSet;
use history::store::FailureReason;
use history::writer::WriterFigures;
use opentelemetry::metrics::Meter;

use super::instruments::{counter, gauge, labelled};
use crate::history::ServedHistory;

/// Name, help, and where the number is.
type Counter = (&'static str, &'static str, fn(&WriterFigures) -> u64);
type Gauge = (&'static str, &'static str, fn(&ServedHistory) -> u64);

/// Registers all instruments with `meter`.
pub fn observe_history(meter: &Meter, history: &Arc<ServedHistory>) {
    let served = history.clone();
    labelled(meter, "muster_history_rows", "Rows written to the history", "data_set", move || {
        let figures = served.archive().figures();
        DataSet::ALL.into_iter().map(|set| (set.name(), figures.rows(set))).collect()
    });
    let served = history.clone();
    let help = "Times that the history could not be written, merged or cut, and is tried again";
    labelled(meter, "muster_history_failures", help, "reason", move || {
        let figures = served.archive().figures();
        FailureReason::ALL.into_iter().map(|reason| (reason.name(), figures.failures(reason))).collect()
    });
    counters(meter, history);
    gauges(meter, history);
}

fn counters(meter: &Meter, history: &Arc<ServedHistory>) {
    let counters: [Counter; 7] = [
        ("muster_history_flushes", "Ranges of the journal written to the history", |f| f.flushes()),
        ("muster_history_compactions", "Times that small files became one", |f| f.compactions()),
        ("muster_history_compacted_files", "Files that became part of others", |f| f.files_compacted()),
        ("muster_history_expired_files", "Files that retention deleted", |f| f.files_expired()),
        ("muster_history_expired_bytes", "Bytes that retention deleted", |f| f.bytes_expired()),
        (
            "muster_history_records_passed_over",
            "Journal records that gave no rows since they cannot be read",
            { |f| f.records_passed_over() },
        ),
        (
            "muster_history_records_missing",
            "Journal records that were missing when the history came to them",
            { |f| f.records_missing() },
        ),
    ];
    for (name, help, pick) in counters {
        let served = history.clone();
        counter(meter, name, help, move || pick(served.archive().figures()));
    }
    let served = history.clone();
    let help = "Files that could not be read and were set aside";
    counter(meter, "muster_history_set_aside_files", help, move || size(&served).files_set_aside);
}

fn gauges(meter: &Meter, history: &Arc<ServedHistory>) {
    let gauges: [Gauge; 5] = [
        ("muster_history_files", "Files of the history", |h| size(h).files),
        ("muster_history_bytes", "Size of the history's files", |h| size(h).bytes),
        ("muster_history_lag_records", "Durable records that are in no file of the history yet", |h| {
            h.lag_records()
        }),
        ("muster_history_lag_seconds", "How long the oldest of these has waited", |h| {
            h.archive().figures().waiting_seconds()
        }),
        ("muster_history_up", "Whether the history can be written", |h| {
            u64::from(h.archive().problem().is_none())
        }),
    ];
    for (name, help, read) in gauges {
        let served = history.clone();
        gauge(meter, name, help, move || i64::try_from(read(&served)).unwrap_or(i64::MAX));
    }
}

fn size(history: &ServedHistory) -> history::store::StoreSize {
    history.archive().store().map(|store| store.size()).unwrap_or_default()
}
