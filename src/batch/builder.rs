//! From facts to a sealed batch.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::BatchError;
use crate::clock::WallTime;
use crate::ids::{IdError, Seq, SeqRange};
use crate::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, SOURCES_MAX, TEXT_BYTES_MAX, TEXTS_MAX};
use crate::v1;

/// Index of a text in the batch's string table.
pub type TextRef = u32;

/// Index of a source in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceIndex(u32);

/// Who and where, as texts. Empty means not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SourceIdentity {
    /// `loki`, `devloop`, `host`, ...
    pub tool: String,
    /// The project's name (design.md §3).
    pub project: String,
    /// Login name of the developer.
    pub user: String,
    /// The machine's name.
    pub host: String,
    /// `linux`, `macos`, `windows`.
    pub os: String,
    /// The git remote's repository name, never its address.
    pub repository: String,
    /// The git branch.
    pub branch: String,
    /// The tool's own version.
    pub tool_version: String,
}

/// Collects events into one self-contained batch.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    texts: BTreeMap<String, TextRef>,
    batch: v1::Batch,
    last_time_us: u64,
}

/// A batch with its numbers and bytes, ready for spool and wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBatch {
    /// The numbers of its events.
    pub seqs: SeqRange,
    /// CRC-32C of `bytes`.
    pub crc32c: u32,
    /// The encoded [`v1::Batch`].
    pub bytes: Bytes,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> Self {
        let mut builder = Self::default();
        builder.batch.strings.push(String::new());
        builder.texts.insert(String::new(), 0);
        builder
    }

    /// The index of `text`, cut at [`TEXT_BYTES_MAX`]. A full table answers 0 ("not known"): the bound is far above
    /// what [`BATCH_EVENTS_MAX`] events of bounded sources need.
    pub fn text(&mut self, text: &str) -> TextRef {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        if let Some(&index) = self.texts.get(text) {
            return index;
        }
        let index = self.batch.strings.len();
        if index >= TEXTS_MAX {
            return 0;
        }
        self.batch.strings.push(text.to_owned());
        self.texts.insert(text.to_owned(), index as TextRef);
        index as TextRef
    }

    /// The text behind an index.
    pub fn resolve(&self, index: TextRef) -> &str {
        self.batch.strings.get(index as usize).map_or("", String::as_str)
    }

    /// Declares a source; the same identity twice is the same index. `None` when the batch has [`SOURCES_MAX`].
    pub fn source(&mut self, identity: &SourceIdentity) -> Option<SourceIndex> {
        let source = v1::Source {
            tool: self.text(&identity.tool),
            project: self.text(&identity.project),
            user: self.text(&identity.user),
            host: self.text(&identity.host),
            os: self.text(&identity.os),
            repository: self.text(&identity.repository),
            branch: self.text(&identity.branch),
            tool_version: self.text(&identity.tool_version),
        };
        if let Some(index) = self.batch.sources.iter().position(|s| *s == source) {
            return Some(SourceIndex(index as u32));
        }
        if self.batch.sources.len() >= SOURCES_MAX {
            return None;
        }
        self.batch.sources.push(source);
        Some(SourceIndex((self.batch.sources.len() - 1) as u32))
    }

    /// Adds an event that counts once.
    pub fn push(&mut self, time: WallTime, source: SourceIndex, kind: v1::event::Kind) {
        self.push_weighted(time, source, 1, kind);
    }

    /// Adds an event that stands for `weight` of its kind.
    pub fn push_weighted(&mut self, time: WallTime, source: SourceIndex, weight: u32, kind: v1::event::Kind) {
        if self.batch.events.is_empty() {
            self.batch.base_time_us = time.0;
            self.last_time_us = time.0;
        }
        let time_delta_us = time.0.wrapping_sub(self.last_time_us) as i64;
        self.last_time_us = time.0;
        // 1 is the default on the wire and costs nothing as 0.
        let weight = if weight == 1 { 0 } else { weight };
        self.batch.events.push(v1::Event { time_delta_us, source: source.0, weight, kind: Some(kind) });
    }

    /// Lets the event at `index` stand for `weight` more of its kind. False, and nothing changes: there is no such event,
    /// or its weight has no room for them.
    pub fn add_weight(&mut self, index: usize, weight: u32) -> bool {
        let Some(event) = self.batch.events.get_mut(index) else { return false };
        // 0 and 1 both mean one.
        let Some(sum) = event.weight.max(1).checked_add(weight.max(1)) else { return false };
        event.weight = sum;
        true
    }

    /// Events so far.
    pub fn len(&self) -> usize {
        self.batch.events.len()
    }

    /// Nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.batch.events.is_empty()
    }

    /// What was collected, for looking at it (`preview`, tests).
    pub fn as_batch(&self) -> &v1::Batch {
        &self.batch
    }

    /// Numbers the events from `first` and encodes. A batch over a bound of [`crate::limits`] is an error, and so is
    /// one without events.
    pub fn seal(mut self, first: Seq) -> Result<SealedBatch, BatchError> {
        let count = self.batch.events.len();
        if count > BATCH_EVENTS_MAX {
            return Err(BatchError::TooMany { what: "events", count, max: BATCH_EVENTS_MAX });
        }
        let last = count.checked_sub(1).and_then(|n| first.0.checked_add(n as u64));
        let last = last.ok_or(BatchError::Sequence)?;
        let seqs = SeqRange::new(first, Seq(last)).map_err(|_: IdError| BatchError::Sequence)?;
        self.batch.first_seq = first.0;
        let bytes = Bytes::from(self.batch.encode_to_vec());
        if bytes.len() > BATCH_BYTES_MAX {
            return Err(BatchError::TooMany { what: "bytes", count: bytes.len(), max: BATCH_BYTES_MAX });
        }
        Ok(SealedBatch { seqs, crc32c: crc32c::crc32c(&bytes), bytes })
    }
}
