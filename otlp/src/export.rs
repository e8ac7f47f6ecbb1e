//! Muster's own facts as OTLP: events as log records, sessions and runs as spans, the catalogue as metrics.
//!
//! Everything here is a function of its arguments: the same batch gives the same bytes, so a journal range that is
//! exported twice is the same export twice, and what identifies an item does not change between the two.
//!
//! | part | gives | identified by |
//! |---|---|---|
//! | [`logs()`] | a log record for each event | `muster.item.id`: agent, epoch, number of the event |
//! | [`spans()`] | a span for each run that ended and each session that ended | trace id and span id, hashes of who and what |
//! | [`MetricsExport`] | the catalogue as sums, gauges and histograms | resource, name, attributes and time of the point |
//!
//! A request that [`logs()`] and [`spans()`] return has one resource for each source of the batch that said something
//! wanted. Requests of one signal may be put one after the other: together they are one request with all resources.
//!
//! What leaves is listed in `docs/otlp-export.md`, which is made from the tables here ([`reference_page`]).
//!
//! - Events of a kind that a newer agent has: passed over and counted ([`Exported::unknown`]).
//! - OTLP that a tool sent (`OtlpPayload`) is not made into log records or spans: it goes out as it came.
//! - Text that is not known ("") is no attribute; a number that is absent is none either.
//! - Numbers above `i64::MAX`, which OTLP's integers cannot hold, are sent as `i64::MAX`.

mod attributes;
mod events;
mod identity;
mod keys;
mod logs;
mod metrics;
mod reference;
mod resource;
mod spans;
mod words;

pub use logs::{logs, numbered_logs};
pub use metrics::{Cut, MetricsExport, SeriesFacts, StateError, Temporality};
pub use reference::reference_page;
pub use spans::{numbered_spans, spans};

use bytes::Bytes;

/// A request that was made of a batch, and what became of the batch's events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exported {
    /// The `Export*ServiceRequest`; empty when it has no items.
    pub request: Bytes,
    /// Log records or spans in it.
    pub items: u64,
    /// Items that the caller did not want.
    pub unwanted: u64,
    /// Events of kinds that this version does not know.
    pub unknown: u64,
}

/// What a filter may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFacts<'a> {
    /// The team, from the credential.
    pub team: &'a str,
    /// The watched tool.
    pub tool: &'a str,
    /// The project's name.
    pub project: &'a str,
    /// The event's name, such as `muster.run.finished`.
    pub name: &'static str,
    /// How grave it is.
    pub severity: EventSeverity,
}

/// How grave an event is. Samples (what a gauge reads now) are [`Debug`](EventSeverity::Debug), so that a filter at
/// `info` keeps what happened and leaves out what merely is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventSeverity {
    /// A reading, or a detail.
    Debug,
    /// Something happened, as it should.
    Info,
    /// Somebody may want to look.
    Warn,
    /// Something broke.
    Error,
}

impl EventSeverity {
    /// OTLP's `SeverityNumber`.
    pub const fn number(self) -> i32 {
        match self {
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
        }
    }

    /// OTLP's short name.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

#[cfg(test)]
mod tests;
