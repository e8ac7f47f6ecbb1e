//! The spool: what was observed and is not yet surely at the collector.
//!
//! # Promises
//!
//! - Events and the position of the source they came from are one journal record: after a crash both are there or neither.
//! - Events are numbered from 1 without gaps within an epoch; the bytes of a batch never change.
//! - What the collector acknowledged is kept for a bound (24 h or 256 MiB), so that a collector restored from an old
//!   backup can be refilled. What it has not acknowledged is kept until [`SpoolConfig::bytes_max`]; then
//!   [`FullPolicy`] decides, and each dropped event is counted.
//! - A new epoch is one atomic write (`identity.json`): a crash before it leaves the old epoch whole, after it the new one.
//!
//! # Layout
//!
//! ```text
//! <state_dir>                      locked by whoever has the spool: an agent, or a command for a moment
//! <state_dir>/identity.json        agent id, epoch
//! <state_dir>/spool/<epoch>/       a journal; cursor `uplink`: acknowledged, cursor `positions`: the newest checkpoint
//! ```
//!
//! At the head of each new segment stands a checkpoint with all positions; the cursor `positions` keeps retention from
//! taking the newest one.
//!
//! # Failures
//!
//! | failure | what happens |
//! |---|---|
//! | disk full | appends fail, sources wait at their last durable position and go on by themselves when there is room |
//! | failed fsync | the journal is poisoned; every append fails until the agent is started again |
//! | a damaged record | its events are lost, counted (`spool_damaged`); the uplink takes a new epoch behind it |
//! | a damaged checkpoint | positions since the one before are read again from the records behind it |
//! | the spool's folder is gone, the identity is not | a new epoch |

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::fs::DirLock;
use journal::{AppendError, Cursor, Journal, Pending, Position, Retention, SlowReader};
use muster::batch::{BatchBuilder, BatchError, SealedBatch};
use muster::clock::{Clock, WallTime};
use muster::ids::Seq;
use muster::limits::BATCH_BYTES_MAX;

use crate::identity::{Identity, IdentityError};
use crate::sources::POSITION_BYTES_MAX;

mod epoch;
mod reader;
pub mod record;
mod recover;

pub use reader::BatchReader;

use record::{KIND_CHECKPOINT, KIND_STEP};

/// Bounds of the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// Where the agent keeps its state.
    pub state_dir: PathBuf,
    /// Most bytes of events that are not acknowledged.
    pub bytes_max: u64,
    /// What happens at `bytes_max`.
    pub full_policy: FullPolicy,
    /// Acknowledged segments are kept this long ...
    pub acked_age_max: Duration,
    /// ... or until there are this many bytes.
    pub acked_bytes_max: u64,
}

/// What happens when the spool is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FullPolicy {
    /// Sources wait. Their own files hold what is not read yet, so nothing is lost unless the tool deletes it.
    #[default]
    Block,
    /// The oldest events that are not acknowledged are dropped and counted.
    DropOldest,
}

impl SpoolConfig {
    /// The defaults, in `state_dir`.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            bytes_max: 1 << 30,
            full_policy: FullPolicy::Block,
            acked_age_max: Duration::from_secs(24 * 3600),
            acked_bytes_max: 256 << 20,
        }
    }
}

/// Small segments let acknowledged ones go in small pieces; a step's record is far smaller.
const SEGMENT_BYTES_MAX: u64 = 16 << 20;
/// A record is one batch with one source's position, or all positions.
const RECORD_BYTES_MAX: u32 = (BATCH_BYTES_MAX + 64 * POSITION_BYTES_MAX) as u32;
/// The cursor is only a hint where to go on (the collector's mark is the truth), so it is not written for each ack.
const CURSOR_EVERY_EVENTS: u64 = 10_000;

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The journal does not open: another agent runs on this state directory, a newer format, no permission.
    #[error(transparent)]
    Open(#[from] journal::OpenError),
    /// The journal takes no records.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A cursor cannot be read or moved.
    #[error(transparent)]
    Cursor(#[from] journal::CursorError),
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] journal::ReadError),
    /// The facts of a step do not fit into a batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A folder cannot be made or removed.
    #[error("cannot use {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SpoolError {
    /// Whether somebody else has the spool now.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Open(journal::OpenError::Locked(_)))
    }
}

/// Events dropped, by reason, since the process started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drops(BTreeMap<&'static str, u64>);

/// An open spool.
#[derive(Debug)]
pub struct Spool {
    config: SpoolConfig,
    clock: Arc<dyn Clock>,
    identity: Identity,
    /// Of the state directory: the lock of one epoch's journal does not keep others from starting another epoch.
    lock: Option<Box<dyn DirLock>>,
    reading: Reading,
    journal: Arc<Journal>,
    uplink_cursor: Cursor,
    positions_cursor: Cursor,
    positions: BTreeMap<String, Bytes>,
    segment_first: Position,
    last_seq: Seq,
    first_seq: Seq,
    acked: Acked,
    /// Batches appended and not acknowledged, thinned: where to set the cursor on an ack.
    trail: VecDeque<Unacked>,
    unacked_bytes: u64,
    drops: Drops,
    /// Drops up to here are counted, so that a welcome that shows them does not count them again.
    drops_counted_to: Seq,
    events_spooled: u64,
}

/// One or more batches that are not acknowledged.
#[derive(Debug, Clone, Copy)]
struct Unacked {
    last_seq: Seq,
    position: Position,
    bytes: u64,
    spooled: WallTime,
}

/// What is read of a spool when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Everything that is not acknowledged.
    All,
    /// From the newest checkpoint on.
    FromCheckpoint,
}

/// How far the collector has told us that it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Acked {
    seq: Seq,
    position: Position,
    cursor_seq: Seq,
}

impl Spool {
    /// Opens the spool of `config.state_dir`, or makes a new agent.
    pub fn open(config: SpoolConfig, clock: Arc<dyn Clock>) -> Result<Self, SpoolError> {
        recover::open(config, clock, Reading::All)
    }

    /// Opens the spool to append to it and nothing else, in the time that two segments take to read, however much waits
    /// for the collector. What waits is known to a segment, and nothing is dropped to make room: that is the agent's.
    pub fn open_to_append(config: SpoolConfig, clock: Arc<dyn Clock>) -> Result<Self, SpoolError> {
        recover::open(config, clock, Reading::FromCheckpoint)
    }

    /// Spools what one source said in one step together with its position, and waits until it is durable. Answers the
    /// batch; `None` when there were no events.
    pub async fn append_step(
        &mut self,
        source: &str,
        position: Vec<u8>,
        facts: BatchBuilder,
    ) -> Result<Option<SealedBatch>, SpoolError> {
        self.make_room()?;
        let batch = if facts.is_empty() { None } else { Some(facts.seal(self.last_seq.next())?) };
        let position = Bytes::from(position);
        let record = record::step(batch.as_ref(), &[(source, position.clone())]);
        let at = self.journal.append(record)?.await?;
        self.positions.insert(source.to_owned(), position);
        if let Some(batch) = &batch {
            self.last_seq = batch.seqs.last();
            self.events_spooled += batch.seqs.count();
            let bytes = batch.bytes.len() as u64;
            self.note_unacked(Unacked {
                last_seq: batch.seqs.last(),
                position: at,
                bytes,
                spooled: self.clock.wall(),
            });
        }
        // The step is durable: a checkpoint that is not written now is tried again at the next step.
        if let Err(error) = self.checkpoint_if_rotated().await {
            tracing::warn!(%error, "cannot write the positions at the head of a new segment yet");
        }
        Ok(batch)
    }

    /// The last durable position of a source.
    pub fn position_of(&self, source: &str) -> Option<&Bytes> {
        self.positions.get(source)
    }

    /// Forgets the position of a source that is gone, with the next checkpoint.
    pub fn forget(&mut self, source: &str) {
        self.positions.remove(source);
    }

    /// Who this agent is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The collector has everything up to `seq`, durably.
    pub fn acknowledge(&mut self, seq: Seq) -> Result<(), SpoolError> {
        if seq <= self.acked.seq {
            return Ok(());
        }
        self.acked.seq = seq;
        while let Some(oldest) = self.trail.front().copied().filter(|oldest| oldest.last_seq <= seq) {
            self.acked.position = oldest.position;
            self.unacked_bytes -= oldest.bytes;
            self.trail.pop_front();
        }
        if seq.0 - self.acked.cursor_seq.0 >= CURSOR_EVERY_EVENTS || seq == self.last_seq {
            self.store_cursor()?;
        }
        Ok(())
    }

    /// Reads batches whose events come after `seq`; what is acknowledged may be read again from the bound that is kept.
    pub fn batches_after(&self, seq: Seq) -> BatchReader {
        let from = if seq >= self.acked.seq { self.acked.position } else { Position::ZERO };
        BatchReader::new(self.journal.reader(from), seq)
    }

    /// Asks whether the writer still comes round and takes records; see [`Journal::probe`].
    pub fn probe(&self) -> Result<Pending, AppendError> {
        self.journal.probe()
    }

    /// Wakes when more is spooled.
    pub fn subscribe(&self) -> journal::Subscription {
        self.journal.subscribe()
    }

    /// Where the agent keeps its state.
    pub fn state_dir(&self) -> &Path {
        &self.config.state_dir
    }

    /// Wall time, for a heartbeat.
    pub fn wall(&self) -> WallTime {
        self.clock.wall()
    }

    /// When the oldest batch that is not acknowledged was spooled.
    pub fn oldest_unacked(&self) -> Option<WallTime> {
        self.trail.front().map(|oldest| oldest.spooled)
    }

    /// Stores how far the collector has acknowledged, if that moved. For a timer: the cursor lags under load.
    pub fn save_acked(&mut self) -> Result<(), SpoolError> {
        if self.acked.seq == self.acked.cursor_seq { Ok(()) } else { self.store_cursor() }
    }

    /// Events dropped so far.
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Counts events that were dropped for `reason`.
    pub fn count_drop(&mut self, reason: &'static str, events: u64) {
        *self.drops.0.entry(reason).or_default() += events;
    }

    /// Events spooled since the process started.
    pub fn events_spooled(&self) -> u64 {
        self.events_spooled
    }

    /// Events that are not acknowledged.
    pub fn events_queued(&self) -> u64 {
        self.last_seq.0.saturating_sub(self.acked.seq.0.max(self.first_seq.0.saturating_sub(1)))
    }

    /// Bytes of the batches that are not acknowledged.
    pub fn unacked_bytes(&self) -> u64 {
        self.unacked_bytes
    }

    /// Highest seq that is acknowledged.
    pub fn acked_seq(&self) -> Seq {
        self.acked.seq
    }

    /// Last event ever spooled in this epoch.
    pub fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// First event that is still there; one past the last when none is.
    pub fn first_seq(&self) -> Seq {
        self.first_seq
    }

    /// Figures of the journal below.
    pub fn journal_stats(&self) -> journal::Stats {
        self.journal.stats()
    }

    /// Whether sources must wait: the spool is full and its policy is to block.
    pub fn is_full(&self) -> bool {
        let makes_room = self.config.full_policy == FullPolicy::DropOldest && self.reading == Reading::All;
        !makes_room && self.unacked_bytes >= self.config.bytes_max
    }

    /// Takes a new epoch with the events after `keep_after`, renumbered from 1. The old spool is gone after it.
    pub fn new_epoch(&mut self, keep_after: Seq) -> Result<(), SpoolError> {
        epoch::switch(self, keep_after)
    }

    /// Applies the retention of acknowledged segments and finds what is left. For a slow timer.
    pub fn retain(&mut self) -> Result<(), SpoolError> {
        self.store_cursor()?;
        self.journal.retain();
        self.first_seq = recover::first_seq(&self.journal, self.last_seq)?;
        Ok(())
    }

    fn make_room(&mut self) -> Result<(), SpoolError> {
        let is_allowed = self.config.full_policy == FullPolicy::DropOldest && self.reading == Reading::All;
        if !is_allowed || self.unacked_bytes < self.config.bytes_max {
            return Ok(());
        }
        // Half of the trail: dropping batch by batch would rewrite the cursor for each.
        let Some(position) = self.trail.get(self.trail.len() / 2).map(|middle| middle.position) else {
            return Ok(());
        };
        self.trail.retain(|unacked| unacked.position > position);
        self.unacked_bytes = self.trail.iter().map(|unacked| unacked.bytes).sum();
        self.uplink_cursor.advance(position)?;
        self.acked.position = position;
        let kept_before = self.first_seq.0.max(self.acked.seq.next().0);
        self.journal.retain();
        self.first_seq = recover::first_seq(&self.journal, self.last_seq)?;
        let dropped = self.first_seq.0.saturating_sub(kept_before);
        if dropped > 0 {
            self.count_drop("spool_full", dropped);
            self.drops_counted_to = Seq(self.first_seq.0 - 1);
            tracing::warn!(dropped, "spool is full; dropped the oldest events that were not acknowledged");
        }
        Ok(())
    }

    /// How many of the events after `mark` are gone and not counted as dropped yet.
    pub fn history_gone_since(&self, mark: Seq) -> u64 {
        (self.first_seq.0 - 1).saturating_sub(self.drops_counted_to.max(mark).0)
    }

    fn store_cursor(&mut self) -> Result<(), SpoolError> {
        self.uplink_cursor.advance(self.acked.position)?;
        self.acked.cursor_seq = self.acked.seq;
        Ok(())
    }

    /// Bounded: past the bound every other entry joins the one after it, which only makes the cursor lag.
    fn note_unacked(&mut self, unacked: Unacked) {
        const TRAIL_MAX: usize = 4096;
        self.unacked_bytes += unacked.bytes;
        if self.trail.len() >= TRAIL_MAX {
            let halved = self.trail.make_contiguous().chunks(2).map(|pair| match pair {
                [first, second] => {
                    Unacked { bytes: first.bytes + second.bytes, spooled: first.spooled, ..*second }
                }
                rest => rest[0],
            });
            self.trail = halved.collect();
        }
        self.trail.push_back(unacked);
    }

    async fn checkpoint_if_rotated(&mut self) -> Result<(), SpoolError> {
        let Some(&newest) = self.journal.segment_firsts().last() else { return Ok(()) };
        if newest == self.segment_first {
            return Ok(());
        }
        let pending = self.append_checkpoint()?;
        let at = pending.await?;
        self.positions_cursor.advance(Position(at.0 - 1))?;
        self.segment_first = newest;
        Ok(())
    }

    fn append_checkpoint(&self) -> Result<Pending, AppendError> {
        let positions: Vec<_> = self.positions.iter().map(|(name, p)| (name.as_str(), p.clone())).collect();
        self.journal.append(record::checkpoint(self.last_seq, &positions))
    }
}

impl Drops {
    /// Reason and events.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(reason, events)| (*reason, *events))
    }
}

impl crate::uplink::SpoolFacts for Spool {
    fn first_seq(&self) -> Seq {
        self.first_seq
    }

    fn last_seq(&self) -> Seq {
        self.last_seq
    }

    fn acked_seq(&self) -> Seq {
        self.acked.seq
    }

    fn checksum_of_batch_ending_at(&self, last_seq: Seq) -> Option<u32> {
        recover::checksum_of_batch_ending_at(&self.journal, last_seq)
    }
}

fn journal_config(config: &SpoolConfig, identity: Identity) -> journal::Config {
    journal::Config {
        segment_bytes_max: SEGMENT_BYTES_MAX,
        record_bytes_max: RECORD_BYTES_MAX,
        reserve_bytes: 1 << 20,
        queue_bytes_max: 2 * RECORD_BYTES_MAX as usize,
        retention: Retention {
            age_max: Some(config.acked_age_max),
            bytes_max: Some(config.acked_bytes_max.min(config.bytes_max).max(2 * SEGMENT_BYTES_MAX)),
            slow_reader: SlowReader::Keep,
        },
        read_block_bytes: 64 << 10,
        preallocate_bytes: 1 << 20,
        ..journal::Config::new(spool_dir(&config.state_dir, identity))
    }
}

fn spool_dir(state_dir: &Path, identity: Identity) -> PathBuf {
    state_dir.join("spool").join(identity.epoch.to_string())
}

#[cfg(test)]
mod tests;
