//! Figures of what comes over OTLP to the collector itself.

use otlp::Signal;
use otlp::receive::{Outcome, Transport};

use super::{By, Counts, Label, OtlpRejection};

/// Counters of the OTLP doors, since the start.
#[derive(Debug, Default)]
pub struct OtlpFigures {
    /// Requests by what became of them.
    pub requests: By<Signal, By<Transport, Counts<Outcome>>>,
    /// Items that are durable.
    pub items_accepted: Counts<Signal>,
    /// Bytes of payloads that are durable.
    pub bytes_accepted: Counts<Signal>,
    /// Items that can never be taken, of requests that were.
    pub items_rejected: By<Signal, Counts<OtlpRejection>>,
}

impl Label for Signal {
    const ALL: &'static [Self] = &Signal::ALL;

    fn name(self) -> &'static str {
        Signal::name(self)
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Transport {
    const ALL: &'static [Self] = &[Transport::Grpc, Transport::Http];

    fn name(self) -> &'static str {
        match self {
            Transport::Grpc => "grpc",
            Transport::Http => "http",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Outcome {
    const ALL: &'static [Self] = &[
        Outcome::Accepted,
        Outcome::Partial,
        Outcome::Unauthenticated,
        Outcome::Invalid,
        Outcome::TooLarge,
        Outcome::Unsupported,
        Outcome::Slow,
        Outcome::Overloaded,
        Outcome::Limited,
        Outcome::Unavailable,
        Outcome::Internal,
    ];

    fn name(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Partial => "partial",
            Outcome::Unauthenticated => "unauthenticated",
            Outcome::Invalid => "invalid",
            Outcome::TooLarge => "too_large",
            Outcome::Unsupported => "unsupported",
            Outcome::Slow => "slow",
            Outcome::Overloaded => "overloaded",
            Outcome::Limited => "limited",
            Outcome::Unavailable => "unavailable",
            Outcome::Internal => "internal",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_is_at_its_own_index() {
        fn check<L: Label + PartialEq + std::fmt::Debug>() {
            for (place, label) in L::ALL.iter().enumerate() {
                assert_eq!(label.index(), place, "{}", label.name());
            }
        }
        check::<Signal>();
        check::<Transport>();
        check::<Outcome>();
        check::<OtlpRejection>();
    }
}
