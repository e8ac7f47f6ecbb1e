//! The overview for Elastic, against the names that its OTLP profile delivers.

use crate::GeneratedFile;

/// Every file for Elastic.
pub fn files() -> Vec<GeneratedFile> {
    Vec::new()
}
