//! The overview for Datadog, against the names that its OTLP profile delivers.

use crate::GeneratedFile;

/// Every file for Datadog.
pub fn files() -> Vec<GeneratedFile> {
    Vec::new()
}
