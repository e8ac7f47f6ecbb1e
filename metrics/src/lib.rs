//! The catalogue of metrics, the aggregation of events into series, and the exposition of pages.
