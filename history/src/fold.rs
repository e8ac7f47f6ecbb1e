//! Records of the journal in, sorted rows out, a folder at a time.
//!
//! [`Fold`] is a pure function of the records it was given: the same range of the journal gives the same rows in the same
//! order, which is what makes a file's name a promise of its content. It owns no clock, file or thread.
//!
//! | part | is |
//! |---|---|
//! | `texts` | each text once; a row holds its number |
//! | `origins` | who and where, once for all rows that share it |
//! | `rows` | the rows of one folder, column by column, until they are sorted |
//! | `kinds` | what each kind of event says, as rows |
//! | `attributes` | JSON of what a log event carries |
//!
//! **Every event has at least one row**; a gauge that reads several things has one each, all with the event's `seq`.
//! A record is taken whole or not at all. What cannot be true is kept as near as a column can say it:
//!
//! | in the event | in the row |
//! |---|---|
//! | a number above 2^63 - 1 | 2^63 - 1 |
//! | a time after the year 9999 | the year's last microsecond, among the undated |
//! | a start or end of a session after the year 9999 | null |
//! | a text index outside the batch's table, or "" | null |
//! | a negative cost | null: the counters count it as not known |
//! | NaN, infinity | null |
//! | a word of a newer agent | `unknown` |
//! | attributes of more than 16 KiB | the first of them, and `"muster.cut":true` |
//!
//! Bounds: a record adds at most [`ROWS_PER_EVENT_MAX`] rows an event; who folds many records looks at
//! [`Fold::memory_bytes`] between them.

mod attributes;
mod kinds;
mod origins;
mod rows;
mod texts;
mod words;

use std::collections::{BTreeMap, HashMap};

use arrow_array::RecordBatch;
use journal::Position;
use journal::stream::{OtlpEntry, StreamEntry, StreamItem};
use muster::batch::{BatchError, BatchView};
use muster::clock::WallTime;
use muster::ids::{AgentId, Epoch, StreamKey, Team};
use muster::v1;
use rustc_hash::FxHashMap;

use crate::dataset::DataSet;
use crate::partition::{Day, Partition};
use attributes::Attributes;
use kinds::Fact;
use origins::{OriginId, Origins};
use rows::{Cell, Head, Rows, Sorter};
use texts::{TextId, Texts};

/// Most rows of one event.
pub const ROWS_PER_EVENT_MAX: usize = 6;
/// 9999-12-31T23:59:59.999999Z: the last time that every reader of the files can show.
pub const TIME_US_MAX: u64 = 253_402_300_799_999_999;

/// Why a record gave no rows. It can never give any: pass over it and count it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// Its bytes are no batch.
    #[error("record {position} of the journal is no batch", position = position.0)]
    Batch {
        /// Its place.
        position: Position,
        /// What is wrong with it.
        source: BatchError,
    },
}

/// Rows in the making.
#[derive(Debug, Default)]
pub struct Fold {
    texts: Texts,
    origins: Origins,
    /// Hashed with a random seed: agents choose their ids.
    streams: HashMap<(AgentId, Epoch), [TextId; 2]>,
    teams: Vec<Team>,
    /// Folders in the order of their first row.
    folders: Vec<Folder>,
    folder_of: FxHashMap<FolderKey, usize>,
    row_count: u64,
    attributes: Attributes,
    memo: Memo,
}

type FolderKey = (DataSet, u32, Day);

#[derive(Debug)]
struct Folder {
    key: FolderKey,
    rows: Rows,
}

/// What has been looked up for the record at hand.
#[derive(Debug, Default)]
struct Memo {
    texts: Vec<Option<TextId>>,
    origins: Vec<Option<OriginId>>,
    /// The last folder of each data set: the next row is nearly always of the same day.
    folders: [Option<(Day, usize)>; DataSet::ALL.len()],
}

impl Fold {
    /// Without rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the rows of a record. Gaps and records of other kinds have none. On an error nothing of the record was
    /// taken, and what was taken before stays.
    pub fn take(&mut self, item: &StreamItem) -> Result<(), FoldError> {
        match item {
            StreamItem::Batch(entry) => self.take_batch(entry),
            StreamItem::Otlp(entry) => {
                self.take_otlp(entry);
                Ok(())
            }
            StreamItem::Gap { .. } | StreamItem::Other { .. } => Ok(()),
        }
    }

    /// Rows so far.
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// Folders so far: how many batches [`Self::finish`] will give.
    pub fn partitions(&self) -> usize {
        self.folders.len()
    }

    /// Bytes that the rows take, roughly. [`Self::finish`] takes about as many again; [`Self::into_batches`] only as
    /// many as the largest folder needs.
    pub fn memory_bytes(&self) -> usize {
        let rows: usize = self.folders.iter().map(|folder| folder.rows.memory_bytes()).sum();
        rows + self.texts.memory_bytes() + self.origins.memory_bytes()
    }

    /// The rows of every folder, in the files' schema, sorted by (time, agent_id, epoch, seq).
    pub fn finish(self) -> BTreeMap<Partition, RecordBatch> {
        self.into_batches().collect()
    }

    /// As [`Self::finish`], one folder after the other in the order of the partitions: each is freed when the next is
    /// asked for.
    pub fn into_batches(self) -> impl Iterator<Item = (Partition, RecordBatch)> {
        let Self { texts, origins, teams, folders, .. } = self;
        let mut folders: Vec<(Partition, Rows)> = folders
            .into_iter()
            .map(|Folder { key: (data_set, team, day), rows }| {
                (Partition { data_set, team: teams[team as usize].clone(), day }, rows)
            })
            .collect();
        folders.sort_by(|a, b| a.0.cmp(&b.0));
        let mut sorter = Sorter::new(texts, origins);
        folders.into_iter().map(move |(partition, rows)| {
            let batch = rows.finish(partition.data_set, &mut sorter);
            (partition, batch)
        })
    }

    fn take_batch(&mut self, entry: &StreamEntry) -> Result<(), FoldError> {
        let batch = muster::batch::decode(&entry.bytes)
            .map_err(|source| FoldError::Batch { position: entry.position, source })?;
        let view = BatchView::new(&batch);
        self.start(&batch);
        let team = self.team(&entry.key.team);
        let stream = self.stream(&entry.key);
        for event in view.events() {
            let origin = self.origin(&batch, event.source, stream);
            let mut fact = Fact {
                fold: self,
                batch: &batch,
                team,
                appended: entry.appended_wall,
                head: Head {
                    time_us: time_us(event.time),
                    origin,
                    // `decode` checked that the numbers end before u64::MAX.
                    seq: Some(integer(event.seq.0)),
                    weight: u32::try_from(event.weight).unwrap_or(u32::MAX),
                },
                time: event.time,
            };
            fact.take(event.kind);
        }
        Ok(())
    }

    fn take_otlp(&mut self, entry: &OtlpEntry) {
        let team = self.team(&entry.team);
        let head =
            Head { time_us: time_us(entry.appended_wall), origin: OriginId::NOBODY, seq: None, weight: 1 };
        let cells = kinds::EventRow::otlp(entry.signal as i32, entry.items).cells();
        self.memo.folders = Default::default();
        self.push(DataSet::Events, team, Day::of(entry.appended_wall, entry.appended_wall), head, &cells);
    }

    /// The texts of an agent and its epoch.
    fn stream(&mut self, key: &StreamKey) -> [TextId; 2] {
        let texts = &mut self.texts;
        *self
            .streams
            .entry((key.agent, key.epoch))
            .or_insert_with(|| [texts.intern(&key.agent.to_string()), texts.intern(&key.epoch.to_string())])
    }

    fn start(&mut self, batch: &v1::Batch) {
        self.memo.texts.clear();
        self.memo.texts.resize(batch.strings.len(), None);
        self.memo.origins.clear();
        self.memo.origins.resize(batch.sources.len(), None);
        self.memo.folders = Default::default();
        self.attributes.start();
    }

    fn team(&mut self, team: &Team) -> u32 {
        // A collector has few teams, and one record has one.
        let known = self.teams.iter().position(|other| other == team);
        known.unwrap_or_else(|| {
            self.teams.push(team.clone());
            self.teams.len() - 1
        }) as u32
    }

    /// The number of a text of the batch.
    fn text(&mut self, batch: &v1::Batch, index: u32) -> TextId {
        let Some(memo) = self.memo.texts.get_mut(index as usize) else { return TextId::NONE };
        *memo.get_or_insert_with(|| {
            self.texts.intern(batch.strings.get(index as usize).map_or("", String::as_str))
        })
    }

    fn origin(&mut self, batch: &v1::Batch, source: usize, stream: [TextId; 2]) -> OriginId {
        match self.memo.origins.get(source) {
            Some(Some(origin)) => *origin,
            Some(None) => {
                let source_of = &batch.sources[source];
                let texts = [
                    source_of.tool,
                    source_of.project,
                    source_of.user,
                    source_of.host,
                    source_of.os,
                    source_of.repository,
                    source_of.branch,
                    source_of.tool_version,
                ]
                .map(|index| self.text(batch, index));
                let origin = self.origins.intern(stream, texts);
                self.memo.origins[source] = Some(origin);
                origin
            }
            // `decode` checked every source's index.
            None => OriginId::NOBODY,
        }
    }

    fn push(&mut self, data_set: DataSet, team: u32, day: Day, head: Head, cells: &[Cell]) {
        let folder = match self.memo.folders[data_set as usize] {
            Some((last, folder)) if last == day => folder,
            _ => self.folder((data_set, team, day)),
        };
        self.folders[folder].rows.push(head, cells, &self.attributes);
        self.row_count += 1;
    }

    fn folder(&mut self, key: FolderKey) -> usize {
        let folder = *self.folder_of.entry(key).or_insert_with(|| {
            self.folders.push(Folder { key, rows: Rows::new(key.0) });
            self.folders.len() - 1
        });
        self.memo.folders[key.0 as usize] = Some((key.2, folder));
        folder
    }
}

/// A time as a column has it.
fn time_us(time: WallTime) -> i64 {
    integer(time.0.min(TIME_US_MAX))
}

/// A number as a column has it.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
