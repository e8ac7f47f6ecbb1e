//! Dashboards, rules and alerts, described in code and generated as the files that a team imports.
//!
//! - [`grafana`]: one module a dashboard, over a small typed description of rows, panels and queries.
//! - [`prometheus`]: scrape configurations, recording rules, alerts and their tests.
//! - [`datadog`], [`newrelic`], [`elastic`]: the overview for those that read OTLP, from one description.
//! - [`mod@reference`]: the page about the service's own figures.
//! - [`names`]: every series that an expression may name, with its type and labels.
//!
//! The files in `dashboards/` are what [`files`] gives; a test fails when they differ, and `MUSTER_BLESS=1 cargo test -p
//! dashboards --test files` writes them. The command `muster dashboards export` writes the same files from the binary.

pub mod datadog;
pub mod elastic;
pub mod grafana;
pub mod names;
pub mod newrelic;
mod overview;
pub mod prometheus;
pub mod reference;

#[cfg(test)]
pub(crate) mod check;
#[cfg(test)]
mod documents;

/// A file as a team gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Where it lies under the folder of dashboards, with `/` between its parts.
    pub path: String,
    /// All of it; ends with a line feed.
    pub content: String,
}

impl GeneratedFile {
    /// A file at `path`.
    pub fn new(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self { path: path.into(), content: content.into() }
    }
}

/// Every file, sorted by path.
pub fn files() -> Vec<GeneratedFile> {
    let mut files = grafana::files();
    files.extend(prometheus::files());
    files.extend(datadog::files());
    files.extend(newrelic::files());
    files.extend(elastic::files());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}
