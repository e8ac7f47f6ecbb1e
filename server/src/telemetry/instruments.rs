//! Which figures there are, under which names. Read when somebody asks, so that counting costs one atomic addition.

use std::sync::Arc;

use ::otlp::receive::{Budget, Outcome};
use journal::Journal;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::aggregate::View;
use crate::figures::{Counts, Door, Figures, Label, Level};
use crate::quota::Quotas;

/// What is observed.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Counters.
    pub figures: Arc<Figures>,
    /// The journal.
    pub journal: Arc<Journal>,
    /// What the journal folds into.
    pub view: Arc<View>,
    /// The bytes that OTLP requests hold.
    pub otlp_budget: Arc<Budget>,
    /// What teams and agents may send.
    pub quotas: Arc<Quotas>,
}

/// Registers all instruments with `meter`.
pub fn observe(meter: &Meter, observed: &Observed) {
    connections(meter, &observed.figures);
    streams(meter, &observed.figures);
    journal(meter, &observed.journal);
    aggregate(meter, observed);
    otlp(meter, observed);
    quotas(meter, observed.quotas.clone());
}

/// Name, help, and where the number is.
type JournalFigure = (&'static str, &'static str, fn(journal::Stats) -> u64);

fn connections(meter: &Meter, figures: &Arc<Figures>) {
    let by_door = |pick: fn(&Figures, Door) -> &Level| {
        let figures = figures.clone();
        move || Door::ALL.iter().map(|door| (door.name(), pick(&figures, *door).value())).collect()
    };
    labelled_gauge(meter, "muster_server_connections", "Open connections", "door", {
        by_door(Figures::connections)
    });
    let help = "1 while connections wait because no descriptor or permit is free";
    labelled_gauge(meter, "muster_server_accept_paused", help, "door", by_door(Figures::accept_paused));
    labelled(meter, "muster_server_connections_accepted", "Connections accepted", "door", {
        counts(figures, |f| &f.connections_accepted)
    });
    let help = "Connections closed before they were of use";
    labelled(meter, "muster_server_connections_refused", help, "reason", {
        counts(figures, |f| &f.connections_refused)
    });
}

fn streams(meter: &Meter, figures: &Arc<Figures>) {
    let f = figures.clone();
    gauge(meter, "muster_server_streams", "Open agent streams", move || f.streams.value());
    let help = "Agent streams refused or ended by the collector";
    labelled(meter, "muster_server_streams_ended", help, "reason", counts(figures, |f| &f.streams_ended));
    let help = "Batches by what became of them";
    labelled(meter, "muster_server_batches", help, "outcome", counts(figures, |f| &f.batches));
    let f = figures.clone();
    let help = "Events acknowledged as durable for the first time since the start";
    counter(meter, "muster_server_events_accepted", help, move || f.events_accepted.value());
    let f = figures.clone();
    let help = "Bytes of batches acknowledged as durable for the first time since the start";
    counter(meter, "muster_server_accepted_bytes", help, move || f.bytes_accepted.value());
    let f = figures.clone();
    let help = "Events that agents could no longer send when they connected";
    counter(meter, "muster_server_events_missing", help, move || f.events_missing.value());
    let help = "Requests for certificates of agents by what became of them";
    labelled(meter, "muster_server_enrolments", help, "outcome", counts(figures, |f| &f.enrolments));
    let help = "Credentials that were not accepted";
    labelled(meter, "muster_server_credentials_refused", help, "reason", {
        counts(figures, |f| &f.credentials_refused)
    });
    let help = "Changes of configuration, certificate and tokens while running";
    labelled(meter, "muster_server_reloads", help, "result", counts(figures, |f| &f.reloads));
    let f = figures.clone();
    let help = "Configurations offered to agents";
    counter(meter, "muster_server_configuration_offers", help, move || f.configurations_offered.value());
    let help = "What agents said of the configuration that they are offered";
    labelled(meter, "muster_server_configuration_answers", help, "answer", {
        counts(figures, |f| &f.configuration_answers)
    });
    let f = figures.clone();
    counter(meter, "muster_audit_lines", "Lines written to the audit log", move || f.audit_lines.value());
    let f = figures.clone();
    let help = "Entries that the audit log has as a number alone: too many different ones within a minute";
    counter(meter, "muster_audit_merged", help, move || f.audit_merged.value());
    let help = "Entries that could not be written to the audit log";
    labelled(meter, "muster_audit_dropped", help, "reason", counts(figures, |f| &f.audit_dropped));
}

fn journal(meter: &Meter, journal: &Arc<Journal>) {
    let counters: [JournalFigure; 5] = [
        ("muster_server_journal_syncs", "Times the journal was synced to disk", |s| s.fsyncs),
        ("muster_server_journal_records", "Records made durable since the start", |s| s.records_appended),
        ("muster_server_journal_appended_bytes", "Bytes made durable since the start", |s| s.bytes_appended),
        ("muster_server_journal_disk_full", "Times the disk was full", |s| s.disk_full_events),
        (
            "muster_server_journal_dropped_records",
            "Records that retention deleted before they were read",
            |s| s.dropped_by_retention,
        ),
    ];
    for (name, help, pick) in counters {
        let journal = journal.clone();
        counter(meter, name, help, move || pick(journal.stats()));
    }
    let gauges: [JournalFigure; 5] = [
        ("muster_server_journal_bytes", "Size of the journal", |s| s.bytes),
        ("muster_server_journal_segments", "Segments of the journal", |s| s.segments),
        ("muster_server_journal_queued_bytes", "Bytes that wait for the disk", |s| s.queued_bytes as u64),
        ("muster_server_journal_quarantined_records", "Records lost to damage", |s| s.quarantined_records),
        ("muster_server_journal_missing_records", "Records that no segment has", |s| s.missing_records),
    ];
    for (name, help, pick) in gauges {
        let journal = journal.clone();
        gauge(meter, name, help, move || i64::try_from(pick(journal.stats())).unwrap_or(i64::MAX));
    }
}

fn aggregate(meter: &Meter, observed: &Observed) {
    let f = observed.figures.clone();
    let help = "Events folded into series since the start, replay included";
    counter(meter, "muster_server_events_aggregated", help, move || f.events_aggregated.value());
    let help = "Journal records that the aggregate passed over";
    labelled(meter, "muster_server_records_passed_over", help, "reason", {
        counts(&observed.figures, |f| &f.records_passed_over)
    });
    let f = observed.figures.clone();
    let help = "Journal records that were missing when the aggregate came to them";
    counter(meter, "muster_server_records_missing", help, move || f.records_missing.value());
    let (view, journal) = (observed.view.clone(), observed.journal.clone());
    let help = "Durable records that are not yet in the aggregate";
    gauge(meter, "muster_server_aggregate_lag_records", help, move || {
        i64::try_from(journal.durable().0.saturating_sub(view.position().0)).unwrap_or(i64::MAX)
    });
    let f = observed.figures.clone();
    let help = "Snapshots of the aggregate, by result";
    labelled(meter, "muster_server_snapshots", help, "result", move || {
        vec![("written", f.snapshots_written.value()), ("failed", f.snapshots_failed.value())]
    });
    let view = observed.view.clone();
    gauge(meter, "muster_server_series", "Series of the aggregate", move || {
        i64::try_from(view.aggregate.read().stats().series).unwrap_or(i64::MAX)
    });
    let view = observed.view.clone();
    let help = "Agents that are known, by whether they have a stream";
    labelled_gauge(meter, "muster_server_agents", help, "state", move || {
        let (connected, known) = view.fleet.agent_counts();
        vec![("connected", connected as i64), ("away", (known - connected) as i64)]
    });
    let view = observed.view.clone();
    let help = "Connected agents by what became of the configuration that they are offered";
    labelled_gauge(meter, "muster_server_agent_configurations", help, "state", move || {
        let counts = view.fleet.configuration_counts();
        counts.map(|(state, agents)| (state.name(), agents as i64)).to_vec()
    });
}

fn otlp(meter: &Meter, observed: &Observed) {
    let figures = observed.figures.clone();
    let help = "OTLP requests to the collector by what became of them";
    let instrument = meter.u64_observable_counter("muster_otlp_requests").with_description(help);
    let callback = instrument.with_callback(move |observer| {
        for (signal, of_signal) in figures.otlp.requests.iter() {
            for (transport, outcomes) in of_signal.iter() {
                for (outcome, count) in outcomes.iter() {
                    // Most of the sixty never happen.
                    if count > 0 || outcome == Outcome::Accepted.name() {
                        let labels = [("signal", signal), ("transport", transport), ("outcome", outcome)];
                        observer.observe(count, &labels.map(|(key, value)| KeyValue::new(key, value)));
                    }
                }
            }
        }
    });
    callback.build();
    let help = "Log records, data points and spans that came over OTLP and are durable";
    labelled(meter, "muster_otlp_items_accepted", help, "signal", {
        counts(&observed.figures, |f| &f.otlp.items_accepted)
    });
    let help = "Bytes of OTLP payloads that are durable, decompressed";
    labelled(meter, "muster_otlp_accepted_bytes", help, "signal", {
        counts(&observed.figures, |f| &f.otlp.bytes_accepted)
    });
    let figures = observed.figures.clone();
    let help = "Log records, data points and spans that were not taken of requests that were";
    let instrument = meter.u64_observable_counter("muster_otlp_items_rejected").with_description(help);
    let callback = instrument.with_callback(move |observer| {
        for (signal, reasons) in figures.otlp.items_rejected.iter() {
            for (reason, count) in reasons.iter() {
                observer.observe(count, &[KeyValue::new("signal", signal), KeyValue::new("reason", reason)]);
            }
        }
    });
    callback.build();
    let budget = observed.otlp_budget.clone();
    gauge(meter, "muster_otlp_memory_bytes", "Bytes that OTLP requests under way hold", move || {
        i64::try_from(budget.bytes_taken()).unwrap_or(i64::MAX)
    });
}

fn quotas(meter: &Meter, quotas: Arc<Quotas>) {
    let help = "Batches, OTLP requests and streams that a quota refused for a while";
    let instrument = meter.u64_observable_counter("muster_quota_refusals").with_description(help);
    let callback = instrument.with_callback(move |observer| {
        for (team, reason, count) in quotas.refusals() {
            observer.observe(count, &[KeyValue::new("team", team), KeyValue::new("reason", reason)]);
        }
    });
    callback.build();
}

fn counts<L: Label + Send + Sync>(
    figures: &Arc<Figures>,
    pick: fn(&Figures) -> &Counts<L>,
) -> impl Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static {
    let figures = figures.clone();
    move || pick(&figures).iter().collect()
}

pub(super) fn counter(
    meter: &Meter,
    name: &'static str,
    help: &'static str,
    read: impl Fn() -> u64 + Send + Sync + 'static,
) {
    let instrument = meter.u64_observable_counter(name).with_description(help);
    instrument.with_callback(move |observer| observer.observe(read(), &[])).build();
}

pub(super) fn gauge(
    meter: &Meter,
    name: &'static str,
    help: &'static str,
    read: impl Fn() -> i64 + Send + Sync + 'static,
) {
    let instrument = meter.i64_observable_gauge(name).with_description(help);
    instrument.with_callback(move |observer| observer.observe(read(), &[])).build();
}

pub(super) fn labelled(
    meter: &Meter,
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: impl Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static,
) {
    let instrument = meter.u64_observable_counter(name).with_description(help);
    let callback = instrument.with_callback(move |observer| {
        for (value, count) in read() {
            observer.observe(count, &[KeyValue::new(label, value)]);
        }
    });
    callback.build();
}

fn labelled_gauge(
    meter: &Meter,
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: impl Fn() -> Vec<(&'static str, i64)> + Send + Sync + 'static,
) {
    let instrument = meter.i64_observable_gauge(name).with_description(help);
    let callback = instrument.with_callback(move |observer| {
        for (value, level) in read() {
            observer.observe(level, &[KeyValue::new(label, value)]);
        }
    });
    callback.build();
}
