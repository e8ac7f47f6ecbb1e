//! The Grafana dashboards. One module a dashboard.

use crate::GeneratedFile;

/// Every file for Grafana.
pub fn files() -> Vec<GeneratedFile> {
    Vec::new()
}
