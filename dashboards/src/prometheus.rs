//! Scrape configurations, recording rules and alerts for Prometheus and Alertmanager.

use crate::GeneratedFile;
use crate::names::Recorded;

/// Every file for Prometheus.
pub fn files() -> Vec<GeneratedFile> {
    Vec::new()
}

/// The series that the recording rules make. Dashboards and alerts may name them.
pub fn recorded() -> &'static [Recorded] {
    &[]
}
