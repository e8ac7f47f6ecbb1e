//! The history: every acknowledged event as a row of an open file, once, and what is read from them.
//!
//! The journal is the truth; the history is a pure function of it. `fold` turns records into rows of five
//! [`dataset`]s, `store` keeps them as Parquet files whose names carry the range of the journal they hold, so that the list
//! of files is the cursor, `scan` reads files and the journal's rest as one, `summary` counts.
//!
//! It promises that a row is there once whatever was killed when, that a query sees everything that was acknowledged up
//! to now, and that the files can be read by others as they lie (docs/history.md has every column).

/// What tests of the whole system and ours share names this crate as they do.
#[cfg(test)]
extern crate self as history;

mod cells;
pub mod data_dir;
pub mod datadog;
pub mod dataset;
pub mod file;
pub mod fold;
pub mod follow;
pub mod format;
pub mod line_protocol;
pub mod partition;
pub mod query;
pub mod reader;
pub mod readings;
pub mod row;
pub mod scan;
pub mod store;
pub mod summary;
pub mod when;
pub mod writer;
