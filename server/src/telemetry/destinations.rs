//! Figures of each destination at work. One that is taken out takes its series with it.
//!
//! At rest, for each destination and signal: accepted = delivered + dropped, and nothing is pending.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};
use otlp::Signal;

use crate::figures::Counts;
use crate::forward::Live;
use crate::forward::figures::{DestinationFigures, Observed};

/// Name, help, and where the number is.
type Gauge = (&'static str, &'static str, fn(&Observed) -> Option<i64>);
type BySignal = (&'static str, &'static str, fn(&DestinationFigures) -> &Counts<Signal>);

/// Registers all instruments with `meter`.
pub(super) fn observe(meter: &Meter, destinations: &Live) {
    gauges(meter, destinations);
    items(meter, destinations);
    requests(meter, destinations);
}

fn gauges(meter: &Meter, destinations: &Live) {
    let gauges: [Gauge; 4] = [
        ("muster_destination_queued_records", "Journal records that the destination has not yet got", |o| {
            Some(whole(o.queued_records()))
        }),
        ("muster_destination_queued_bytes", "Bytes of these, about", |o| Some(whole(o.queued_bytes()))),
        ("muster_destination_oldest_age_seconds", "How long the oldest of these has waited", |o| {
            Some(whole(o.oldest_age_seconds()))
        }),
        ("muster_destination_up", "Whether the last request was taken; nothing before the first", |o| {
            o.figures.is_up().map(i64::from)
        }),
    ];
    for (name, help, read) in gauges {
        let destinations = destinations.clone();
        let instrument = meter.i64_observable_gauge(name).with_description(help);
        let callback = instrument.with_callback(move |observer| {
            for destination in &destinations.all() {
                if let Some(value) = read(destination) {
                    observer.observe(value, &[of(destination)]);
                }
            }
        });
        callback.build();
    }
    let destinations = destinations.clone();
    let help = "Items that came out of the journal and are on their way";
    let instrument = meter.i64_observable_gauge("muster_destination_pending_items").with_description(help);
    let callback = instrument.with_callback(move |observer| {
        for destination in &destinations.all() {
            for signal in Signal::ALL {
                let pending = whole(destination.figures.pending(signal));
                observer.observe(pending, &[of(destination), KeyValue::new("signal", signal.name())]);
            }
        }
    });
    callback.build();
}

fn items(meter: &Meter, destinations: &Live) {
    let counters: [BySignal; 4] = [
        ("muster_destination_accepted_items", "Items that came out of the journal and are wanted", |f| {
            &f.accepted
        }),
        ("muster_destination_delivered_items", "Items that the destination took", |f| &f.delivered),
        ("muster_destination_filtered_items", "Items that filters and signals left out", |f| &f.filtered),
        ("muster_destination_retried_items", "Items of dead letters that were taken after all", |f| {
            &f.retried
        }),
    ];
    for (name, help, pick) in counters {
        counter(meter, destinations, name, help, move |destination, observer| {
            for (signal, count) in pick(&destination.figures).iter() {
                observer.observe(count, &[of(destination), KeyValue::new("signal", signal)]);
            }
        });
    }
    let help = "Items that the destination will not get";
    counter(meter, destinations, "muster_destination_dropped_items", help, |destination, observer| {
        for ((signal, reason), count) in destination.figures.dropped() {
            let labels = [of(destination), KeyValue::new("signal", signal), KeyValue::new("reason", reason)];
            observer.observe(count, &labels);
        }
    });
}

fn requests(meter: &Meter, destinations: &Live) {
    let help = "Requests by what became of them";
    counter(meter, destinations, "muster_destination_requests", help, |destination, observer| {
        for (outcome, count) in destination.figures.attempts.iter() {
            observer.observe(count, &[of(destination), KeyValue::new("outcome", outcome)]);
        }
    });
    let help = "Journal records that were gone before they were forwarded";
    counter(meter, destinations, "muster_destination_missing_records", help, |destination, observer| {
        observer.observe(destination.figures.records_missing.value(), &[of(destination)]);
    });
    let help = "Dead letters deleted to keep their bound";
    counter(meter, destinations, "muster_destination_dead_letters_deleted", help, |destination, observer| {
        observer.observe(destination.figures.dead_letters_deleted.value(), &[of(destination)]);
    });
}

fn counter(
    meter: &Meter,
    destinations: &Live,
    name: &'static str,
    help: &'static str,
    read: impl Fn(&Observed, &dyn AsyncInstrument<u64>) + Send + Sync + 'static,
) {
    let destinations = destinations.clone();
    let instrument = meter.u64_observable_counter(name).with_description(help);
    let callback = instrument.with_callback(move |observer| {
        destinations.all().iter().for_each(|destination| read(destination, observer));
    });
    callback.build();
}

fn of(destination: &Observed) -> KeyValue {
    KeyValue::new("destination", destination.name.clone())
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
