//! What the receiver counts since the process started.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use otlp::Signal;
use otlp::receive::Outcome;

/// Every outcome with its word.
const OUTCOMES: [(Outcome, &str); 10] = [
    (Outcome::Accepted, "accepted"),
    (Outcome::Partial, "partial"),
    (Outcome::Unauthenticated, "unauthenticated"),
    (Outcome::Invalid, "invalid"),
    (Outcome::TooLarge, "too_large"),
    (Outcome::Unsupported, "unsupported"),
    (Outcome::Slow, "slow"),
    (Outcome::Overloaded, "overloaded"),
    (Outcome::Unavailable, "unavailable"),
    (Outcome::Internal, "internal"),
];

/// The counters.
#[derive(Debug, Default)]
pub struct OtlpCounters {
    requests: [AtomicU64; OUTCOMES.len()],
    items: [AtomicU64; Signal::ALL.len()],
    rejected: AtomicU64,
    redacted: AtomicU64,
}

impl OtlpCounters {
    /// A request was answered.
    pub fn request(&self, outcome: Outcome) {
        let of_outcome = OUTCOMES.iter().zip(&self.requests).find(|((known, _), _)| *known == outcome);
        if let Some((_, counter)) = of_outcome {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A payload is in the spool.
    pub fn spooled(&self, signal: Signal, items: u64, rejected: u64, redacted: u64) {
        let of_signal = Signal::ALL.iter().zip(&self.items).find(|(known, _)| **known == signal);
        if let Some((_, counter)) = of_signal {
            counter.fetch_add(items, Ordering::Relaxed);
        }
        self.rejected.fetch_add(rejected, Ordering::Relaxed);
        self.redacted.fetch_add(redacted, Ordering::Relaxed);
    }

    /// Texts replaced so far.
    pub fn redacted(&self) -> u64 {
        self.redacted.load(Ordering::Relaxed)
    }

    /// Appends the counters as Prometheus text 0.0.4.
    pub fn write_text(&self, page: &mut String) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        head(page, "muster_agent_otlp_requests_total", "OTLP requests answered, by outcome.");
        for ((_, outcome), counter) in OUTCOMES.iter().zip(&self.requests) {
            // Writing to a String cannot fail.
            let _ =
                writeln!(page, "muster_agent_otlp_requests_total{{outcome=\"{outcome}\"}} {}", load(counter));
        }
        head(page, "muster_agent_otlp_items_total", "OTLP log records, data points and spans spooled.");
        for (signal, counter) in Signal::ALL.iter().zip(&self.items) {
            let _ = writeln!(page, "muster_agent_otlp_items_total{{signal=\"{signal}\"}} {}", load(counter));
        }
        head(
            page,
            "muster_agent_otlp_rejected_items_total",
            "OTLP items rejected in requests of which the rest was taken.",
        );
        let _ = writeln!(page, "muster_agent_otlp_rejected_items_total {}", load(&self.rejected));
        head(
            page,
            "muster_agent_otlp_redacted_total",
            "Texts in OTLP payloads that were replaced before the spool.",
        );
        let _ = writeln!(page, "muster_agent_otlp_redacted_total {}", load(&self.redacted));
    }
}

fn head(page: &mut String, name: &str, help: &str) {
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} counter");
}
