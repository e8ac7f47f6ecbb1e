//! Files of rows, each with the range of the journal it holds in its name, so that the list of files is the cursor.
//!
//! ```text
//! plan    _commits/<journal>-<after>.plan                "the records after `after` up to `to` are being written"
//! files   <data set>/team=<team>/date=<day>/<journal>-<after>-<to>.parquet
//! merge   _commits/<journal>-<data set>-team=<team>-date=<day>.merge      "these files of a folder are being made one"
//! marker  _commits/<journal>-<after>-<to>.json           "all of that range is here": the cursor is now `to`
//! ```
//!
//! Each step is on disk, or taken by the bucket, before the next begins. A crash before the marker leaves a plan, and
//! perhaps files; whoever opens the store next must write exactly that range again ([`Store::planned`]), which gives each
//! file the name and the rows that it had. So nothing is missing, doubled or half there, however late a killed
//! process's last request arrives at a bucket.
//!
//! Compaction writes one file that covers several of one partition and then deletes these; between the two, what is
//! covered does not count ([`visible`]).
//!
//! | failure | what happens |
//! |---|---|
//! | a crash anywhere | the next opening deletes what is superseded or of no plan, and the planned range is written again |
//! | a full disk, a bucket that is away, a missing permission | an error that says which; nothing is committed, nothing is lost |
//! | a file cannot be read | set aside: moved to `_corrupt/`; the rest is served. Until it is there nothing is merged across it |
//! | the answer to a merge is lost | the same merge again; a file that lies across others all the same is passed over |
//! | the newest marker's content is damaged | its name counts |
//! | the journal ends before the cursor, or has another record there | refused: it was restored from an older backup |

mod commit;
mod compact;
mod error;
mod marker;
pub mod name;
mod place;
mod retain;
mod shelf;
#[cfg(test)]
mod tests;
mod visible;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use journal::Position;
use journal::format::JournalId;
use object_store::ObjectStore;
use object_store::path::Path;
use parking_lot::Mutex;

pub use commit::Encoded;
pub use compact::{COMPACTED_BYTES_MAX, Compacted, FAN_IN, FILES_MERGED_MAX};
pub use error::{FailureReason, StoreError};
pub use marker::LastRecord;
pub use place::{Credentials, Place, PlaceError, S3Place};
pub use retain::{Retained, Retention};
pub use shelf::open_bucket;
pub use visible::FileEntry;

use crate::dataset::DataSet;
use crate::partition::{JournalRange, Partition};
use marker::{Marker, MergePlan, Plan};
use name::{JournalTag, Name};
use shelf::{Listed, Shelf};
use visible::{Sorted, sort_out};

/// Most files that a store keeps track of: at 300 bytes each, 300 MB. Past it nothing more is written.
pub const FILES_MAX: usize = 1_000_000;

/// An open store. One writes: who has the journal's lock.
pub struct Store {
    shelf: Shelf,
    journal: JournalId,
    tag: JournalTag,
    is_read_only: bool,
    state: Mutex<State>,
    /// Held by whatever changes files.
    changing: tokio::sync::Mutex<()>,
}

/// What is committed, as one: the files have exactly the rows of the records up to `covered_to`.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Every visible file. None of them is deleted as long as somebody holds its `Arc`.
    pub files: Vec<Arc<FileEntry>>,
    /// How far the journal's records are in them.
    pub covered_to: Position,
}

/// How much is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreSize {
    /// Visible files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were set aside since it was opened.
    pub files_set_aside: u64,
}

#[derive(Debug, Default)]
struct State {
    cursor: Position,
    planned: Option<JournalRange>,
    last_record: Option<LastRecord>,
    visible: BTreeMap<FileKey, Arc<FileEntry>>,
    bytes: u64,
    /// Superseded or past retention: deleted when no scan holds them.
    retiring: Vec<Arc<FileEntry>>,
    /// To be moved out of the way.
    aside: Vec<Arc<FileEntry>>,
    /// Merges that were begun and not heard of.
    merging: BTreeMap<Partition, MergePlan>,
    set_aside: u64,
    old_markers: Vec<JournalRange>,
}

type FileKey = (Partition, JournalTag, Position);

/// What a listing says.
struct Found {
    files: Vec<Arc<FileEntry>>,
    markers: HashMap<JournalTag, Vec<JournalRange>>,
    plans: HashMap<JournalTag, Vec<Position>>,
    merges: Vec<(JournalTag, Partition)>,
    /// Left by a crash in the middle of a write.
    unfinished: Vec<Path>,
}

impl Store {
    /// Opens a place and repairs what a crash left. Call it inside a tokio runtime with threads of its own, which runs
    /// the requests to a bucket.
    pub async fn open(place: &Place, journal: JournalId) -> Result<Self, StoreError> {
        Self::read(place, journal, false).await
    }

    /// Opens a place to read from it: nothing in it is changed.
    pub async fn open_for_reading(place: &Place, journal: JournalId) -> Result<Self, StoreError> {
        Self::read(place, journal, true).await
    }

    /// How far the journal's records are committed.
    pub fn cursor(&self) -> Position {
        self.state.lock().cursor
    }

    /// A range that was begun and not committed: what is committed next must be this range.
    pub fn planned(&self) -> Option<JournalRange> {
        self.state.lock().planned
    }

    /// The last record of the newest commit, to know the journal again.
    pub fn last_record(&self) -> Option<LastRecord> {
        self.state.lock().last_record
    }

    /// What is committed now.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        Snapshot { files: state.visible.values().cloned().collect(), covered_to: state.cursor }
    }

    /// [`Self::snapshot`] with the files of one data set.
    pub fn snapshot_of(&self, data_set: DataSet) -> Snapshot {
        let state = self.state.lock();
        let files = state.visible.values().filter(|file| file.partition.data_set == data_set);
        Snapshot { files: files.cloned().collect(), covered_to: state.cursor }
    }

    /// How much is there.
    pub fn size(&self) -> StoreSize {
        let state = self.state.lock();
        let files = state.visible.len() as u64;
        StoreSize { files, bytes: state.bytes, files_set_aside: state.set_aside }
    }

    /// The files, for reading; paths are those of [`FileEntry::path`].
    pub fn objects(&self) -> Arc<dyn ObjectStore> {
        self.shelf.objects()
    }

    /// Whether it is a folder of this machine.
    pub fn is_local(&self) -> bool {
        self.shelf.is_local()
    }

    /// Where it is, for people.
    pub fn place(&self) -> &str {
        self.shelf.place()
    }

    /// Passes a file over from now on, since it cannot be read. Returns at once; the file is moved to `_corrupt/` with
    /// the next change. Twice is no error.
    pub fn set_aside(&self, file: &FileEntry, why: &str) {
        let mut state = self.state.lock();
        let key = (file.partition.clone(), file.journal, file.range.after);
        let Some(removed) = state.visible.get(&key).filter(|known| known.range == file.range).cloned() else {
            return;
        };
        state.visible.remove(&key);
        state.bytes -= removed.bytes;
        state.set_aside += 1;
        let (place, path) = (self.place(), &file.path);
        tracing::error!(place, %path, why, "file of the history cannot be read; it is set aside and the rest is served");
        if !self.is_read_only {
            state.aside.push(removed);
        }
    }
}

impl Store {
    async fn read(place: &Place, journal: JournalId, is_read_only: bool) -> Result<Self, StoreError> {
        Self::on(Shelf::open(place)?, journal, is_read_only).await
    }

    async fn on(shelf: Shelf, journal: JournalId, is_read_only: bool) -> Result<Self, StoreError> {
        let tag = JournalTag::of(&journal);
        let found = Found::among(shelf.list().await?);
        let store = Self {
            shelf,
            journal,
            tag,
            is_read_only,
            state: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        };
        store.recover(found).await?;
        Ok(store)
    }

    async fn recover(&self, found: Found) -> Result<(), StoreError> {
        let end_of = |ranges: &Vec<JournalRange>| ranges.iter().map(|range| range.to).max();
        let cursors: HashMap<JournalTag, Position> =
            found.markers.iter().filter_map(|(tag, ranges)| Some((*tag, end_of(ranges)?))).collect();
        let cursor_of = |tag: JournalTag| cursors.get(&tag).copied().unwrap_or(Position::ZERO);
        let cursor = cursor_of(self.tag);
        let sorted = sort_out(found.files.clone(), cursor_of);
        let planned = self.read_plan(&found, cursor).await?;
        let (merging, merged) = self.read_merges(&found, &sorted).await?;
        if let Some(file) = sorted.overlapping.first() {
            let (place, path, count) = (self.place(), &file.path, sorted.overlapping.len());
            tracing::warn!(place, %path, count, "files of the history lie across others that have their rows; they are passed over");
        }
        if !self.is_read_only {
            self.clean(&found, &sorted, planned).await?;
            for path in &merged {
                self.shelf.delete(path).await?;
            }
        }
        let markers = found.markers.get(&self.tag).cloned().unwrap_or_default();
        let (newest, old_markers): (Vec<_>, Vec<_>) =
            markers.into_iter().partition(|range| range.to == cursor);
        let last_record = self.read_last_record(newest.first().copied()).await?;
        let mut state = self.state.lock();
        state.bytes = sorted.visible.iter().map(|file| file.bytes).sum();
        state.visible = sorted.visible.into_iter().map(|file| (key_of(&file), file)).collect();
        state.old_markers = old_markers;
        state.merging = merging;
        (state.cursor, state.planned, state.last_record) = (cursor, planned, last_record);
        Ok(())
    }

    /// Deletes what a crash left. What is of another journal is its own collector's, and stays.
    async fn clean(
        &self,
        found: &Found,
        sorted: &Sorted,
        planned: Option<JournalRange>,
    ) -> Result<(), StoreError> {
        let is_ours = |file: &&Arc<FileEntry>| file.journal == self.tag;
        let orphans = sorted.unfinished.iter().filter(|file| planned != Some(file.range));
        for file in sorted.superseded.iter().chain(orphans).filter(is_ours) {
            self.shelf.delete(&file.path).await?;
        }
        for path in &found.unfinished {
            self.shelf.delete(path).await?;
        }
        let plans = found.plans.get(&self.tag).into_iter().flatten();
        for after in plans.filter(|after| planned.is_none_or(|range| range.after != **after)) {
            self.shelf.delete(&name::plan_path(self.tag, *after)).await?;
        }
        Ok(())
    }

    async fn read_plan(&self, found: &Found, cursor: Position) -> Result<Option<JournalRange>, StoreError> {
        if !found.plans.get(&self.tag).is_some_and(|plans| plans.contains(&cursor)) {
            return Ok(None);
        }
        let path = name::plan_path(self.tag, cursor);
        let Some(bytes) = self.shelf.get_small(&path).await? else { return Ok(None) };
        let plan = Plan::decode(&bytes, cursor);
        if let Err(problem) = &plan {
            // Without it, what it made is of no plan and goes.
            tracing::error!(place = self.place(), %path, problem, "plan of the history is damaged");
        }
        Ok(plan.ok())
    }

    /// The merges that were begun and are not done, and the plans of those that are.
    async fn read_merges(
        &self,
        found: &Found,
        sorted: &Sorted,
    ) -> Result<(BTreeMap<Partition, MergePlan>, Vec<Path>), StoreError> {
        let (mut begun, mut done) = (BTreeMap::new(), Vec::new());
        for (tag, partition) in found.merges.iter().filter(|(tag, _)| *tag == self.tag) {
            let path = name::merge_path(*tag, partition);
            let plan = self.shelf.get_small(&path).await?.and_then(|bytes| MergePlan::decode(&bytes));
            let mut own =
                sorted.visible.iter().filter(|file| file.journal == *tag && file.partition == *partition);
            match plan {
                // A file that covers it is it, or was made of it; without files there is nothing to merge.
                Some(plan) if own.any(|file| plan.range().meets(file.range)) => {
                    let is_done = sorted.visible.iter().any(|file| {
                        file.journal == *tag
                            && file.partition == *partition
                            && file.range.covers(plan.range())
                    });
                    if is_done {
                        done.push(path);
                    } else {
                        begun.insert(partition.clone(), plan);
                    }
                }
                _ => done.push(path),
            }
        }
        Ok((begun, done))
    }

    async fn read_last_record(&self, newest: Option<JournalRange>) -> Result<Option<LastRecord>, StoreError> {
        let Some(range) = newest else { return Ok(None) };
        let bytes = self.shelf.get_small(&name::marker_path(self.tag, range)).await?;
        Ok(bytes.and_then(|bytes| Marker::decode(&bytes)).and_then(|marker| marker.last_record))
    }

    fn refuse_read_only(&self) -> Result<(), StoreError> {
        if self.is_read_only { Err(StoreError::ReadOnly(self.place().to_owned())) } else { Ok(()) }
    }
}

impl Found {
    fn among(listed: Vec<Listed>) -> Self {
        let (files, unfinished) = (Vec::new(), Vec::new());
        let merges = Vec::new();
        let mut found = Self { files, markers: HashMap::new(), plans: HashMap::new(), merges, unfinished };
        for Listed { path, bytes, modified } in listed {
            match Name::parse(&path) {
                Some(Name::File(name)) => found.files.push(Arc::new(FileEntry::new(name, bytes, modified))),
                Some(Name::Marker(tag, range)) => found.markers.entry(tag).or_default().push(range),
                Some(Name::Plan(tag, after)) => found.plans.entry(tag).or_default().push(after),
                Some(Name::Merge(tag, partition)) => found.merges.push((tag, partition)),
                None if path.as_ref().starts_with(name::UNFINISHED) => found.unfinished.push(path),
                None => {}
            }
        }
        found
    }
}

fn key_of(file: &FileEntry) -> FileKey {
    (file.partition.clone(), file.journal, file.range.after)
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let (files, cursor) = (state.visible.len(), state.cursor);
        f.debug_struct("Store")
            .field("place", &self.place())
            .field("files", &files)
            .field("cursor", &cursor)
            .finish()
    }
}
