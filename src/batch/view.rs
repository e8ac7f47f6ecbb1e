//! Reading a decoded batch without thinking of indexes.

use crate::clock::WallTime;
use crate::ids::Seq;
use crate::v1;

/// A decoded batch whose texts, sources, times and numbers can be asked for by name.
#[derive(Debug, Clone, Copy)]
pub struct BatchView<'a> {
    batch: &'a v1::Batch,
}

/// One event of a batch with its number, absolute time and source.
#[derive(Debug, Clone, Copy)]
pub struct EventView<'a> {
    /// Its number.
    pub seq: Seq,
    /// Its wall time.
    pub time: WallTime,
    /// Index of its source in the batch.
    pub source: usize,
    /// How many events it stands for; at least 1.
    pub weight: u64,
    /// What happened; `None` when a newer agent sent a kind we do not know.
    pub kind: Option<&'a v1::event::Kind>,
}

/// A source with its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceView<'a> {
    /// See [`super::SourceIdentity`].
    pub tool: &'a str,
    /// See [`super::SourceIdentity`].
    pub project: &'a str,
    /// See [`super::SourceIdentity`].
    pub user: &'a str,
    /// See [`super::SourceIdentity`].
    pub host: &'a str,
    /// See [`super::SourceIdentity`].
    pub os: &'a str,
    /// See [`super::SourceIdentity`].
    pub repository: &'a str,
    /// See [`super::SourceIdentity`].
    pub branch: &'a str,
    /// See [`super::SourceIdentity`].
    pub tool_version: &'a str,
}

impl<'a> BatchView<'a> {
    /// A view of a batch that [`super::decode`] returned.
    pub fn new(batch: &'a v1::Batch) -> Self {
        Self { batch }
    }

    /// The text behind an index; "" when it is outside the table.
    pub fn text(&self, index: u32) -> &'a str {
        self.batch.strings.get(index as usize).map_or("", String::as_str)
    }

    /// How many sources it declares.
    pub fn source_count(&self) -> usize {
        self.batch.sources.len()
    }

    /// A source by its index.
    pub fn source(&self, index: usize) -> Option<SourceView<'a>> {
        let source = self.batch.sources.get(index)?;
        Some(SourceView {
            tool: self.text(source.tool),
            project: self.text(source.project),
            user: self.text(source.user),
            host: self.text(source.host),
            os: self.text(source.os),
            repository: self.text(source.repository),
            branch: self.text(source.branch),
            tool_version: self.text(source.tool_version),
        })
    }

    /// How many events it has.
    pub fn event_count(&self) -> usize {
        self.batch.events.len()
    }

    /// Its events, in order, with absolute times.
    pub fn events(&self) -> impl Iterator<Item = EventView<'a>> + use<'a> {
        let first_seq = self.batch.first_seq;
        let mut time_us = self.batch.base_time_us;
        self.batch.events.iter().enumerate().map(move |(index, event)| {
            time_us = time_us.wrapping_add(event.time_delta_us as u64);
            EventView {
                seq: Seq(first_seq + index as u64),
                time: WallTime(time_us),
                source: event.source as usize,
                weight: u64::from(event.weight.max(1)),
                kind: event.kind.as_ref(),
            }
        })
    }
}
