//! Pages of metrics: Prometheus text 0.0.4 and OpenMetrics 1.0.
//!
//! | | text 0.0.4 | OpenMetrics 1.0 |
//! |---|---|---|
//! | counter `x_total` | `# TYPE x_total counter` | `# TYPE x counter`, and `x_created` beside each `x_total` |
//! | counter `x` | `# TYPE x counter` | `# TYPE x unknown`: a counter's sample must end in `_total` there |
//! | histogram | `le="100"` | `le="100.0"`, and `x_created` |
//! | unit | | `# UNIT` when the name ends with it |
//! | end | | `# EOF` |
//!
//! The writer never writes a number that is none, and nothing of a family without samples. It is used for the series of
//! an aggregate, and [`merge_text`] uses the same rules for families that others made.

mod escape;
mod foreign;
mod format;
mod number;
mod writer;

pub use escape::{LABEL_BYTES_MAX, label_value};
pub use foreign::{MergeReport, merge_text};
pub use format::Format;
pub use writer::{FamilyType, FamilyWriter, Metadata, Number};

#[cfg(test)]
mod tests;
