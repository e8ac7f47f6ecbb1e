//! The month of the bench as the data folder of a collector that was ended: the files, as the collector keeps them, a
//! journal that has nothing after them, and what the collector's page of metrics would say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use history::data_dir::{HISTORY_FOLDER, JOURNAL_FOLDER};
use history::file;
use history::partition::JournalRange;
use history::store::{Encoded, LastRecord, Place, Store};
use journal::Journal;
use journal::fs::RealFs;
use journal::stream::StreamItem;
use metrics::aggregate::PageRequest;
use metrics::{Aggregate, AggregateConfig, Applied};
use muster::atomic_file::{self, Access};
use muster::clock::{Monotonic, SystemClock, WallTime};
use muster::v1;
use prost::Message;

use super::Files;

/// The page of metrics at the month's end, in the data folder.
pub const PAGE: &str = "metrics.txt";

/// A store that is written to.
pub struct Out {
    runtime: tokio::runtime::Runtime,
    folder: PathBuf,
    store: Arc<Store>,
    aggregate: Aggregate,
    now: WallTime,
}

/// Long enough that all of a day's files are merged.
const SETTLED_US: u64 = 7 * 3_600_000_000;

impl Out {
    pub fn new(folder: &Path) -> anyhow::Result<Self> {
        ensure!(!folder.exists(), "{} is there already: name a new folder", folder.display());
        std::fs::create_dir_all(folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let config = journal::Config::new(folder.join(JOURNAL_FOLDER));
        let (journal, _) = Journal::open(config, Arc::new(RealFs), Arc::new(SystemClock::new()))?;
        let place = Place::Local(folder.join(HISTORY_FOLDER));
        let store = runtime.block_on(Store::open(&place, journal.id()))?;
        let aggregate = Aggregate::new(AggregateConfig::collector());
        let folder = folder.to_owned();
        Ok(Self { runtime, folder, store: Arc::new(store), aggregate, now: WallTime(0) })
    }

    /// Keeps a flush.
    pub fn commit(&mut self, range: JournalRange, files: &Files, items: &[StreamItem]) -> anyhow::Result<()> {
        for item in items {
            self.count(item)?;
        }
        let encoded = files.iter().map(|(partition, bytes)| {
            let rows = file::row_count(bytes.clone())?;
            Ok((partition.clone(), Encoded { bytes: bytes.clone(), rows }))
        });
        let encoded: BTreeMap<_, _> = encoded.collect::<anyhow::Result<_>>()?;
        let last = LastRecord::new(range.to, self.now);
        Ok(self.runtime.block_on(self.store.commit(range, encoded, Some(last), self.now))?)
    }

    /// Counts a record as the collector's page does.
    fn count(&mut self, item: &StreamItem) -> anyhow::Result<()> {
        let StreamItem::Batch(entry) = item else { return Ok(()) };
        self.now = entry.appended_wall;
        let batch = v1::Batch::decode(entry.bytes.clone()).context("a batch that we made")?;
        let at = Applied { wall: self.now, monotonic: Monotonic::default() };
        self.aggregate.apply(&entry.key.team, entry.key.agent, &batch, at);
        Ok(())
    }

    /// Writes down what the page says at the end.
    pub fn finish(&self) -> anyhow::Result<()> {
        let overflowed = self.aggregate.stats().overflowed;
        ensure!(overflowed == 0, "{overflowed} facts had no room for a series of their own");
        let mut page = Vec::new();
        self.aggregate.render(&PageRequest::default(), self.now, &mut page);
        Ok(atomic_file::replace(&self.folder.join(PAGE), &page, Access::Umask)?)
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
