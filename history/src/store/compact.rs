//! Making one file of several that lie side by side, so that there are few and they are small for their rows.
//!
//! Files are of tiers by their size, each [`TIER_FACTOR`] times the one before. [`FAN_IN`] of one tier that lie side by
//! side become one of a higher tier, so a row is written again a few times in all. A folder to which nothing came for
//! [`SETTLED_AFTER`] is made one file, or as few as [`COMPACTED_BYTES_MAX`] allows. What is chosen is a function of the
//! list of files and of the time, so after a crash the same is done again.
//!
//! What is merged is written down first ([`MergePlan`]), as what is flushed is: a merge that was not heard of, since its answer was lost or the
//! process died, is done again as it was and not otherwise, so the ranges of files never lie across each other. Files on both sides
//! of one that was set aside are not merged before it is in its place, since what their range covers is deleted.
//!
//! What is held in memory: the files that are merged, as they are stored, the one that is made, and a batch of each.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use journal::failpoint::failpoint;
use muster::clock::WallTime;
use tokio::task::yield_now;

use super::marker::MergePlan;
use super::name::{FileName, JournalTag, merge_path};
use super::visible::FileEntry;
use super::{State, Store, StoreError, key_of};
use crate::file::{self, Encoder, FileError, MergeInput};
use crate::partition::{JournalRange, Partition};

/// Files that become one.
pub const FAN_IN: usize = 8;
/// Most files that become one in a folder to which nothing comes any more.
pub const FILES_MERGED_MAX: usize = 64;
/// Largest file that compaction makes, by the sum of what it is made of: some three million runs.
pub const COMPACTED_BYTES_MAX: u64 = 32 << 20;
/// Largest file of the lowest tier.
const FIRST_TIER_BYTES: u64 = 64 << 10;
/// Between tiers.
const TIER_FACTOR: u64 = 8;
/// A folder is at rest when its newest file is older than this.
const SETTLED_AFTER: Duration = Duration::from_secs(6 * 3600);
/// Files that are fetched at once.
const GETS_MAX: usize = 4;

/// What one compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Files that were merged.
    pub files: u64,
    /// Their bytes.
    pub bytes_before: u64,
    /// Bytes of the file that has their rows now.
    pub bytes: u64,
}

/// Why there is no merged file.
enum MergeError {
    /// One of the files cannot be read.
    Input(usize, FileError),
    /// What came out is not what went in.
    Output(String),
}

impl From<ArrowError> for MergeError {
    fn from(error: ArrowError) -> Self {
        MergeError::Output(error.to_string())
    }
}

impl Store {
    /// Merges the files of one folder, if there are any to merge: call it until it says `None`. A file that cannot be
    /// read is set aside, and counts as work that was done.
    pub async fn compact_once(&self, now: WallTime) -> Result<Option<Compacted>, StoreError> {
        let _one_at_a_time = self.changing.lock().await;
        self.refuse_read_only()?;
        let chosen = self.next_merge(now);
        let [first, .., last] = chosen.as_slice() else { return Ok(None) };
        let range = JournalRange { after: first.range.after, to: last.range.to };
        let inputs = self.fetch(&chosen).await?;
        let done = Compacted {
            files: chosen.len() as u64,
            bytes_before: chosen.iter().map(|file| file.bytes).sum(),
            bytes: 0,
        };
        let merged = match merge(&inputs, first, range).await {
            Ok(merged) => merged,
            Err(MergeError::Input(index, error)) => {
                self.set_aside(&chosen[index], &error.to_string());
                self.sweep().await?;
                return Ok(Some(Compacted { files: 0, bytes_before: 0, ..done }));
            }
            Err(MergeError::Output(problem)) => {
                let (place, partition) = (self.place().to_owned(), first.path.to_string());
                return Err(StoreError::Rows { place, partition, problem });
            }
        };
        drop(inputs);
        self.begin_merge(&first.partition, MergePlan::new(range, chosen.len() as u64)).await?;
        failpoint("history-mid-compaction");
        let name = FileName { partition: first.partition.clone(), journal: self.tag, range };
        let file = Arc::new(FileEntry::new(name, merged.len() as u64, now));
        self.shelf.put(&file.path, merged).await?;
        failpoint("history-before-delete");
        let (bytes, plan) = (file.bytes, merge_path(self.tag, &file.partition));
        self.replace(chosen, file);
        if let Err(error) = self.shelf.delete(&plan).await {
            // The next one takes its place, and whoever opens the store sees that it is done.
            tracing::debug!(%error, "cannot delete what is done with");
        }
        self.sweep().await?;
        Ok(Some(Compacted { bytes, ..done }))
    }

    /// What is merged next: what was begun before all else.
    fn next_merge(&self, now: WallTime) -> Vec<Arc<FileEntry>> {
        let state = self.state.lock();
        let begun = state.merging.iter().map(|(partition, plan)| planned(&state, self.tag, partition, *plan));
        if let Some(files) = begun.flatten().next() {
            return files;
        }
        let is_free =
            |file: &&Arc<FileEntry>| file.journal == self.tag && !state.merging.contains_key(&file.partition);
        choose(state.visible.values().filter(is_free), &state.aside, now)
    }

    /// Writes down what is about to be merged.
    async fn begin_merge(&self, partition: &Partition, plan: MergePlan) -> Result<(), StoreError> {
        self.shelf.put(&merge_path(self.tag, partition), plan.encode()).await?;
        self.state.lock().merging.insert(partition.clone(), plan);
        Ok(())
    }

    /// The files' contents. One that is not there is empty, which no file is: it is set aside as one that cannot be read.
    async fn fetch(&self, files: &[Arc<FileEntry>]) -> Result<Vec<Bytes>, StoreError> {
        let gets = files.iter().map(|file| self.shelf.get(&file.path));
        futures::stream::iter(gets).buffered(GETS_MAX).map_ok(Option::unwrap_or_default).try_collect().await
    }

    fn replace(&self, old: Vec<Arc<FileEntry>>, new: Arc<FileEntry>) {
        let mut state = self.state.lock();
        for file in &old {
            // A scan may have set it aside meanwhile: then its bytes are taken off already.
            if state.visible.remove(&key_of(file)).is_some() {
                state.bytes -= file.bytes;
            }
        }
        state.bytes += new.bytes;
        state.merging.remove(&new.partition);
        state.visible.insert(key_of(&new), new);
        state.retiring.extend(old);
    }
}

/// One file of several. Gives way between pieces: seconds of work must not keep a collector from stopping.
async fn merge(inputs: &[Bytes], first: &FileEntry, range: JournalRange) -> Result<Bytes, MergeError> {
    let data_set = first.partition.data_set;
    let mut readers = Vec::with_capacity(inputs.len());
    for (index, bytes) in inputs.iter().enumerate() {
        let failed = move |error| MergeError::Input(index, error);
        let batches = file::read(data_set, bytes.clone()).map_err(failed)?;
        readers.push(MergeInput::from(batches.map(move |batch| batch.map_err(failed))));
    }
    let unwritten = |error: FileError| MergeError::Output(error.to_string());
    let mut encoder = Encoder::new(data_set, range, Vec::new()).map_err(unwritten)?;
    let mut rows_out = 0;
    for batch in file::merge(readers) {
        let batch: RecordBatch = batch?;
        rows_out += batch.num_rows() as u64;
        encoder.write(&batch).map_err(unwritten)?;
        yield_now().await;
    }
    let merged = Bytes::from(encoder.finish().map_err(unwritten)?);
    // What is merged is deleted next: not before it is sure that all of it is there.
    let mut rows_in = 0;
    for (index, bytes) in inputs.iter().enumerate() {
        rows_in += file::row_count(bytes.clone()).map_err(|error| MergeError::Input(index, error))?;
    }
    let rows_there = file::row_count(merged.clone()).map_err(unwritten)?;
    if rows_in != rows_out || rows_there != rows_out {
        return Err(MergeError::Output(format!(
            "{rows_in} rows became {rows_out}, of which {rows_there} are there"
        )));
    }
    Ok(merged)
}

/// The files of a merge that was begun, if they are all there. One that was set aside or dropped meanwhile leaves the merge
/// undone and its folder unmerged: the next opening sees whether it was done after all.
fn planned(
    state: &State,
    tag: JournalTag,
    partition: &Partition,
    plan: MergePlan,
) -> Option<Vec<Arc<FileEntry>>> {
    let own = state.visible.values().filter(|file| file.journal == tag && file.partition == *partition);
    let files: Vec<_> = own.filter(|file| plan.range().covers(file.range)).cloned().collect();
    (files.len() as u64 == plan.files).then_some(files)
}

/// The next files to merge, oldest first; empty if there are none. `files` come by folder and range, and those on both sides
/// of one of `aside` are not merged with each other. Pure.
fn choose<'a>(
    files: impl Iterator<Item = &'a Arc<FileEntry>>,
    aside: &[Arc<FileEntry>],
    now: WallTime,
) -> Vec<Arc<FileEntry>> {
    let files: Vec<&Arc<FileEntry>> = files.collect();
    let is_between = |a: &FileEntry, bad: &FileEntry, b: &FileEntry| {
        (&bad.partition, bad.journal) == (&a.partition, a.journal)
            && a.range.to <= bad.range.after
            && bad.range.to <= b.range.after
    };
    let go_together = |a: &&Arc<FileEntry>, b: &&Arc<FileEntry>| {
        a.partition == b.partition && !aside.iter().any(|bad| is_between(a, bad, b))
    };
    let parts = files.chunk_by(go_together).map(|part| choose_in_part(part, now));
    let chosen = parts.into_iter().find(|chosen| !chosen.is_empty()).unwrap_or_default();
    chosen.iter().map(|file| Arc::clone(file)).collect()
}

/// Of a folder, or of what lies on one side of a file that was set aside.
fn choose_in_part<'a, 'f>(folder: &'f [&'a Arc<FileEntry>], now: WallTime) -> &'f [&'a Arc<FileEntry>] {
    let top = tier_of(COMPACTED_BYTES_MAX);
    let by_tier = (0..=top).find_map(|tier| run_of_tier(folder, tier));
    by_tier.or_else(|| run_at_rest(folder, now)).unwrap_or_default()
}

/// [`FAN_IN`] files of a tier with nothing larger between them.
fn run_of_tier<'a, 'f>(folder: &'f [&'a Arc<FileEntry>], tier: u32) -> Option<&'f [&'a Arc<FileEntry>]> {
    let (mut first, mut count, mut bytes) = (0, 0, 0);
    for (at, file) in folder.iter().enumerate() {
        let own = tier_of(file.bytes);
        if own > tier {
            count = 0;
            continue;
        }
        if count == 0 {
            // What is smaller goes with the next ones of its own tier.
            if own < tier {
                continue;
            }
            (first, bytes) = (at, 0);
        }
        bytes += file.bytes;
        count += usize::from(own == tier);
        let is_too_much = bytes > COMPACTED_BYTES_MAX || at + 1 - first > FILES_MERGED_MAX;
        if is_too_much {
            count = 0;
        } else if count == FAN_IN {
            return Some(&folder[first..=at]);
        }
    }
    None
}

/// As many as fit into one file, of a folder to which nothing comes any more.
fn run_at_rest<'a, 'f>(folder: &'f [&'a Arc<FileEntry>], now: WallTime) -> Option<&'f [&'a Arc<FileEntry>]> {
    let newest = folder.iter().map(|file| file.modified).max()?;
    if now.since(newest) < SETTLED_AFTER {
        return None;
    }
    let (mut first, mut bytes) = (0, 0);
    for (at, file) in folder.iter().enumerate() {
        if bytes + file.bytes > COMPACTED_BYTES_MAX || at - first >= FILES_MERGED_MAX {
            if at - first >= 2 {
                return Some(&folder[first..at]);
            }
            (first, bytes) = (at, 0);
        }
        bytes += file.bytes;
    }
    (folder.len() - first >= 2).then(|| &folder[first..])
}

fn tier_of(bytes: u64) -> u32 {
    let (mut tier, mut bound) = (0, FIRST_TIER_BYTES);
    while bytes > bound {
        bound *= TIER_FACTOR;
        tier += 1;
    }
    tier
}
