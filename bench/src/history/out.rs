//! The files of the bench, kept in a store as the collector keeps them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use history::file;
use history::partition::JournalRange;
use history::store::{Encoded, LastRecord, Place, Store};
use journal::stream::StreamItem;
use muster::clock::WallTime;

use super::Files;

/// A store that is written to.
pub struct Out {
    runtime: tokio::runtime::Runtime,
    store: Arc<Store>,
    now: WallTime,
}

/// The made-up journal's.
const JOURNAL_ID: journal::format::JournalId = [0x5f; 16];
/// Long enough that all of a day's files are merged.
const SETTLED_US: u64 = 7 * 3_600_000_000;

impl Out {
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        ensure!(!folder.exists(), "{} is there already: name a new folder", folder.display());
        std::fs::create_dir_all(folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let store = runtime.block_on(Store::open(&Place::Local(folder.to_owned()), JOURNAL_ID))?;
        Ok(Self { runtime, store: Arc::new(store), now: WallTime(0) })
    }

    /// Keeps a flush.
    pub fn commit(&mut self, range: JournalRange, files: &Files, items: &[StreamItem]) -> anyhow::Result<()> {
        if let Some(StreamItem::Batch(last)) = items.last() {
            self.now = last.appended_wall;
        }
        let encoded = files.iter().map(|(partition, bytes)| {
            let rows = file::row_count(bytes.clone())?;
            Ok((partition.clone(), Encoded { bytes: bytes.clone(), rows }))
        });
        let encoded: BTreeMap<_, _> = encoded.collect::<anyhow::Result<_>>()?;
        let last = LastRecord::new(range.to, self.now);
        Ok(self.runtime.block_on(self.store.commit(range, encoded, Some(last), self.now))?)
    }

    /// Merges what is to be merged.
    pub fn settle(&mut self) -> anyhow::Result<()> {
        let now = WallTime(self.now.0 + SETTLED_US);
        while self.runtime.block_on(self.store.compact_once(now))?.is_some() {}
        Ok(())
    }

    /// What was written.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }
}
