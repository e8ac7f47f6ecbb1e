//! The overview for New Relic, against the names that its OTLP profile delivers.

use crate::GeneratedFile;

/// Every file for New Relic.
pub fn files() -> Vec<GeneratedFile> {
    Vec::new()
}
