//! Making a range whole: plan, files, marker, each durable before the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use journal::failpoint::failpoint;
use muster::clock::WallTime;

use super::marker::{LastRecord, MarkedFile, Marker, Plan};
use super::name::{FileName, marker_path, plan_path};
use super::visible::FileEntry;
use super::{FILES_MAX, Store, StoreError, key_of};
use crate::partition::{JournalRange, Partition};

/// Files that are on their way at once; more do not make a store faster.
const PUTS_MAX: usize = 8;

/// A file of rows before it has a place.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The file.
    pub bytes: Bytes,
    /// How many rows it has.
    pub rows: u64,
}

impl Store {
    /// Makes a range whole: when this returns, its rows are committed and the cursor is at its end; after an error none
    /// of them is, and the same range must be committed next ([`Store::planned`]). `files` are the range's rows, all of
    /// them; `last` is its last record, to know the journal again; `now` is for [`FileEntry::modified`].
    pub async fn commit(
        &self,
        range: JournalRange,
        files: BTreeMap<Partition, Encoded>,
        last: Option<LastRecord>,
        now: WallTime,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = self.changing.lock().await;
        self.refuse_read_only()?;
        self.check_follows(range, files.len())?;
        self.plan(range).await?;
        failpoint("history-before-file");
        let named = files
            .into_iter()
            .map(|(partition, encoded)| (FileName { partition, journal: self.tag, range }, encoded));
        let puts = named.map(|(name, encoded)| self.put_rows(name, encoded, now));
        let written: Vec<(FileEntry, u64)> =
            futures::stream::iter(puts).buffered(PUTS_MAX).try_collect().await?;
        failpoint("history-before-marker");
        let marked = written.iter().map(|(file, rows)| MarkedFile {
            path: file.path.to_string(),
            rows: *rows,
            bytes: file.bytes,
        });
        let marker = Marker::new(&self.journal, range, last, marked.collect());
        // Of the same name has the same content: an earlier life's last request arrived after all.
        self.shelf.put_new(&marker_path(self.tag, range), marker.encode()).await?;
        failpoint("history-after-marker");
        let old_markers = self.note_committed(range, written, last);
        self.drop_old(range, &old_markers).await;
        Ok(())
    }

    fn check_follows(&self, range: JournalRange, new_files: usize) -> Result<(), StoreError> {
        let state = self.state.lock();
        let cursor = state.cursor;
        if range.after != cursor || range.to <= range.after {
            return Err(StoreError::NotNext { range, cursor });
        }
        if let Some(planned) = state.planned.filter(|planned| *planned != range) {
            return Err(StoreError::Planned(planned));
        }
        let files = state.visible.len();
        if files + new_files > FILES_MAX {
            return Err(StoreError::TooManyFiles { place: self.place().to_owned(), files });
        }
        Ok(())
    }

    /// Writes down what is about to be written, if that has not been done.
    async fn plan(&self, range: JournalRange) -> Result<(), StoreError> {
        if self.state.lock().planned.is_some() {
            return Ok(());
        }
        let path = plan_path(self.tag, range.after);
        if !self.shelf.put_new(&path, Plan::new(&self.journal, range).encode()).await? {
            // An earlier request arrived after all, this life's or another's. What it says holds.
            let bytes = self.shelf.get_small(&path).await?.unwrap_or_default();
            if let Ok(earlier) = Plan::decode(&bytes, range.after) {
                self.state.lock().planned = Some(earlier);
                return if earlier == range { Ok(()) } else { Err(StoreError::Planned(earlier)) };
            }
            self.shelf.put(&path, Plan::new(&self.journal, range).encode()).await?;
        }
        self.state.lock().planned = Some(range);
        Ok(())
    }

    async fn put_rows(
        &self,
        name: FileName,
        encoded: Encoded,
        now: WallTime,
    ) -> Result<(FileEntry, u64), StoreError> {
        let file = FileEntry::new(name, encoded.bytes.len() as u64, now);
        self.shelf.put(&file.path, encoded.bytes).await?;
        failpoint("history-after-file");
        Ok((file, encoded.rows))
    }

    fn note_committed(
        &self,
        range: JournalRange,
        written: Vec<(FileEntry, u64)>,
        last: Option<LastRecord>,
    ) -> Vec<JournalRange> {
        let mut state = self.state.lock();
        for (file, _) in written {
            state.bytes += file.bytes;
            state.visible.insert(key_of(&file), Arc::new(file));
        }
        state.cursor = range.to;
        state.planned = None;
        state.last_record = last;
        std::mem::replace(&mut state.old_markers, vec![range])
    }

    /// Deletes the plan and the markers before this one. What cannot be deleted costs nothing but its room, and goes
    /// with the next opening or commit.
    async fn drop_old(&self, range: JournalRange, old_markers: &[JournalRange]) {
        let markers = old_markers.iter().map(|old| marker_path(self.tag, *old));
        for path in markers.chain([plan_path(self.tag, range.after)]) {
            if let Err(error) = self.shelf.delete(&path).await {
                tracing::debug!(%error, "cannot delete what is done with");
            }
        }
    }
}
