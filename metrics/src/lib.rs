//! The catalogue of metrics, the aggregation of events into series, and the exposition of pages.
//!
//! - [`catalogue`]: the one table of what there is: names, types, units, help, labels, and the rule from events.
//! - [`Aggregate`]: batches in, series out; pure, without clock, thread or lock; snapshots for a restart.
//! - [`exposition`]: Prometheus text 0.0.4 and OpenMetrics 1.0, for these series and for families that others made.

pub mod aggregate;
pub mod catalogue;
pub mod exposition;

pub use aggregate::{
    Aggregate, AggregateConfig, AggregateStats, Applied, LabelScope, Mark, PageCursor, PageRequest,
    SeriesValue, SeriesView, SnapshotError,
};
pub use exposition::Format;
