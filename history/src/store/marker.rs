//! Markers and plans as they stand in their files. Their names say what matters; the content is for people, for other
//! programs, and to know the journal again.

use bytes::Bytes;
use journal::Position;
use journal::format::JournalId;
use muster::clock::WallTime;
use serde::{Deserialize, Serialize};

use crate::dataset::SCHEMA_VERSION;
use crate::partition::JournalRange;

/// A record by which a journal is known again: one that was restored from a backup and went on has another one there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRecord {
    /// Its number.
    pub position: u64,
    /// When it was appended, in microseconds since the epoch.
    pub appended_us: u64,
}

/// A range that is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    pub(super) schema_version: u32,
    pub(super) journal: String,
    pub(super) after: u64,
    pub(super) to: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_record: Option<LastRecord>,
    pub(super) files: Vec<MarkedFile>,
}

/// A file that a range made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MarkedFile {
    pub(super) path: String,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// A range that is being written. Whoever finds it after a crash writes the same range again, so that each file gets the
/// name and the rows that it had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) journal: String,
    pub(super) after: u64,
    pub(super) to: u64,
}

/// A merge that is under way: whoever finds it does the same again, or nothing in that folder, so that a file which arrives
/// late never lies across the border of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MergePlan {
    pub(super) after: u64,
    pub(super) to: u64,
    /// How many files become one.
    pub(super) files: u64,
}

impl MergePlan {
    pub(super) fn new(range: JournalRange, files: u64) -> Self {
        Self { after: range.after.0, to: range.to.0, files }
    }

    pub(super) fn range(self) -> JournalRange {
        JournalRange { after: Position(self.after), to: Position(self.to) }
    }

    pub(super) fn encode(self) -> Bytes {
        encode(&self)
    }

    /// `None` if it is damaged: then nothing was begun, for it is whole before anything is.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|plan: &Self| plan.after < plan.to)
    }
}

impl LastRecord {
    /// The record at `position` that was appended at `appended`.
    pub fn new(position: Position, appended: WallTime) -> Self {
        Self { position: position.0, appended_us: appended.0 }
    }
}

impl Marker {
    pub(super) fn new(
        journal: &JournalId,
        range: JournalRange,
        last_record: Option<LastRecord>,
        files: Vec<MarkedFile>,
    ) -> Self {
        let (after, to) = (range.after.0, range.to.0);
        Self { schema_version: SCHEMA_VERSION, journal: hex(journal), after, to, last_record, files }
    }

    pub(super) fn encode(&self) -> Bytes {
        encode(self)
    }

    /// `None` if it is damaged: its name still counts.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Plan {
    pub(super) fn new(journal: &JournalId, range: JournalRange) -> Self {
        Self { journal: hex(journal), after: range.after.0, to: range.to.0 }
    }

    pub(super) fn encode(&self) -> Bytes {
        encode(self)
    }

    /// The range of the plan for what comes after `after`, or what is wrong with it.
    pub(super) fn decode(bytes: &[u8], after: Position) -> Result<JournalRange, String> {
        let plan: Plan = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let range = JournalRange { after: Position(plan.after), to: Position(plan.to) };
        if range.after != after || range.to <= after {
            return Err(format!("it is for the records {} to {}", range.after, range.to));
        }
        Ok(range)
    }
}

fn encode(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).expect("numbers and texts are JSON");
    text.push(b'\n');
    text.into()
}

pub(super) fn hex(journal: &JournalId) -> String {
    journal.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_is_for_another_place_is_refused() {
        let range = JournalRange { after: Position(3), to: Position(9) };
        let bytes = Plan::new(&[1; 16], range).encode();
        assert_eq!(Plan::decode(&bytes, Position(3)), Ok(range));
        assert!(Plan::decode(&bytes, Position(4)).is_err());
        assert!(Plan::decode(b"{", Position(3)).is_err());
    }

    #[test]
    fn a_marker_reads_back_and_a_damaged_one_is_told() {
        let range = JournalRange { after: Position(3), to: Position(9) };
        let file = MarkedFile { path: "runs/x".to_owned(), rows: 2, bytes: 9 };
        let last = Some(LastRecord::new(Position(9), WallTime(5)));
        let marker = Marker::new(&[1; 16], range, last, vec![file]);
        assert_eq!(Marker::decode(&marker.encode()), Some(marker.clone()));
        assert_eq!(Marker::decode(&marker.encode()[..20]), None);
    }
}
