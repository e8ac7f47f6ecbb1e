//! What goes into the spool with the facts, so that a restart neither repeats nor skips.

use serde::{Deserialize, Serialize};

use super::event_facts::Story;
use super::log_file::LogPlace;
use super::state_files::DashboardState;
use super::workers::Workers;
use crate::sources::POSITION_BYTES_MAX;

/// Raised when an older reader could misread a newer position.
const VERSION: u32 = 1;

/// Everything that must outlive a restart. All parts are bounded; together they stay far below the limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Version of the format; set when it is encoded.
    pub version: u32,
    /// How far the event log was read.
    pub log: LogPlace,
    /// What it told.
    pub story: Story,
    /// What is known of workers.
    pub workers: Workers,
    /// The last good `dashboard-state.json`.
    pub dashboard: Option<DashboardState>,
    /// What the newest run was started with, and its process.
    pub run_limit: Option<(u32, u64)>,
    /// Faults that were not reported yet.
    pub unreported: Unreported,
}

/// Faults since the last report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unreported {
    /// Lines and files that are not what they should be.
    pub parse_errors: u64,
    /// Files that could not be read.
    pub read_errors: u64,
    /// Times everything was looked at again. No part of the position: a quiet project would change it.
    #[serde(skip)]
    pub rescans: u64,
    /// Records that were passed over.
    pub records_skipped: u64,
}

impl Position {
    /// As bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let bytes = serde_json::to_vec(&Position { version: VERSION, ..self.clone() }).unwrap_or_default();
        debug_assert!(bytes.len() <= POSITION_BYTES_MAX, "all parts are bounded");
        bytes
    }

    /// From bytes; `None` when they are damaged or of another version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|position: &Self| position.version == VERSION)
    }
}
