//! The stream log over a local journal.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use muster::ids::{Seq, SeqRange, StreamKey, Team};
use parking_lot::Mutex;

use super::state::{Decision, Stream};
use super::{
    Appending, Ending, KIND_BATCH, KIND_CHECKPOINT, KIND_OTLP, Mark, OtlpEntry, OtlpPart, Outcome,
    STREAMS_MAX, Sealed, StreamEntry, StreamError, StreamItem, StreamLog, WAITING_MAX, checkpoint, meta,
    payload,
};
use crate::Journal;
use crate::completion::{self, Completion, Pending, Slot};
use crate::error::{AppendError, ReadError};
use crate::format::FRAME_HEAD_BYTES;
use crate::queue::Records;
use crate::record::{Position, ReadItem, Record};

/// Part of a segment that a checkpoint may take.
const CHECKPOINT_SHARE: u64 = 8;

/// Streams over a [`Journal`]. Open it before anything else appends, and append through it alone.
#[derive(Debug)]
pub struct JournalStreamLog {
    journal: Arc<Journal>,
    streams: Arc<Streams>,
}

/// What opening a stream log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamRecovery {
    /// Streams known.
    pub streams: usize,
    /// Records read to know them.
    pub records_read: u64,
    /// Whether a checkpoint was found, or none was needed. If not, streams that were silent since the oldest segment
    /// begin at 0, and their agents will send again what they still have.
    pub has_checkpoint: bool,
    /// Positions that were damaged or missing on the way.
    pub positions_lost: u64,
    /// Sequence numbers that streams jumped over, by damage or because it was allowed.
    pub seqs_skipped: u64,
    /// Batches whose meta could not be understood.
    pub metas_unknown: u64,
}

impl StreamRecovery {
    /// Whether something of the streams' past is gone.
    pub fn is_damaged(&self) -> bool {
        !self.has_checkpoint || self.positions_lost > 0 || self.metas_unknown > 0
    }
}

/// Why a stream log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum StreamOpenError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log could not be written.
    #[error(transparent)]
    Append(AppendError),
    /// The log's records are too small for a checkpoint.
    #[error("journal setting record_bytes_max is {0}, too small for a checkpoint: make it at least {1}")]
    RecordsTooSmall(u32, usize),
    /// More streams than the bound.
    #[error("journal has more than {0} streams: raise the bound")]
    TooManyStreams(usize),
}

#[derive(Debug)]
struct Streams {
    map: Mutex<HashMap<StreamKey, Stream>>,
    streams_max: usize,
}

/// Tells a stream what became of its batch, in the writer's thread, before the caller learns it.
struct BatchCompletion {
    streams: Arc<Streams>,
    key: StreamKey,
    last: Seq,
    slot: Arc<Slot<Ending>>,
}

impl JournalStreamLog {
    /// Rebuilds the marks from the newest checkpoint on, and has a checkpoint written with each new segment.
    pub fn open(journal: Arc<Journal>) -> Result<(Self, StreamRecovery), StreamOpenError> {
        Self::open_bounded(journal, STREAMS_MAX)
    }

    /// As [`JournalStreamLog::open`], with another bound of streams.
    pub fn open_bounded(
        journal: Arc<Journal>,
        streams_max: usize,
    ) -> Result<(Self, StreamRecovery), StreamOpenError> {
        let config = &journal.shared().config;
        let least = checkpoint::PART_BYTES_MAX + FRAME_HEAD_BYTES + 16;
        if (config.record_bytes_max as usize) < least {
            return Err(StreamOpenError::RecordsTooSmall(config.record_bytes_max, least));
        }
        let (map, recovery) = rebuild(&journal, streams_max)?;
        let streams = Arc::new(Streams { map: Mutex::new(map), streams_max });
        let checkpoint_bytes = (config.segment_bytes_max / CHECKPOINT_SHARE) as usize;
        let marks = streams.clone();
        *journal.shared().segment_head.lock() = Some(Box::new(move || {
            let map = marks.map.lock();
            checkpoint::encode(map.iter().map(|(key, stream)| (key, stream.mark())), checkpoint_bytes)
        }));
        begin_with_checkpoint(&journal, &streams, checkpoint_bytes)?;
        Ok((Self { journal, streams }, recovery))
    }

    /// The log below.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Streams known.
    pub fn streams(&self) -> usize {
        self.streams.map.lock().len()
    }

    /// All streams with how far each is durable.
    pub fn marks(&self) -> Vec<(StreamKey, Seq)> {
        self.streams.map.lock().iter().map(|(key, stream)| (key.clone(), stream.mark().durable)).collect()
    }
}

impl StreamLog for JournalStreamLog {
    fn append(&self, key: &StreamKey, batch: Sealed) -> Result<Appending, StreamError> {
        // Held until the record is queued, so that a stream's records are queued in the order of their numbers.
        let mut map = self.streams.map.lock();
        let unknown = Stream::default();
        let stream = map.get(key).unwrap_or(&unknown);
        match stream.decide(batch.seqs, batch.crc32c) {
            Decision::Repeated => Ok(Appending::known(Ok(stream.duplicate()))),
            Decision::Gap { expected } => Ok(Appending::known(Ok(Outcome::Gap { expected }))),
            Decision::Fenced => Ok(Appending::known(Ok(Outcome::Fenced))),
            Decision::RepeatedSoon => {
                if stream.waiting() >= WAITING_MAX {
                    return Err(AppendError::Full.into());
                }
                let slot = Arc::new(Slot::default());
                map.entry(key.clone()).or_default().wait_for(batch.seqs.last(), slot.clone());
                Ok(Appending::waiting(slot))
            }
            Decision::Append => {
                self.streams.check_room(&map, key)?;
                let slot = self.queue(key, &batch)?;
                map.entry(key.clone()).or_default().accept(batch.seqs, batch.crc32c);
                Ok(Appending::waiting(slot))
            }
        }
    }

    fn append_otlp(&self, team: &Team, parts: Vec<OtlpPart>) -> Result<Pending, AppendError> {
        self.journal.append_all(parts.into_iter().map(|part| payload::record(team, part)).collect())
    }

    fn read(&self, from: Position) -> Box<dyn Iterator<Item = Result<StreamItem, ReadError>> + Send> {
        Box::new(self.journal.reader(from).map(|item| item.map(stream_item)))
    }

    fn high_water_mark(&self, key: &StreamKey) -> Mark {
        self.streams.map.lock().get(key).map(Stream::mark).unwrap_or_default()
    }

    fn skip_to(&self, key: &StreamKey, next: Seq) -> Result<(), StreamError> {
        let mut map = self.streams.map.lock();
        self.streams.check_room(&map, key)?;
        map.entry(key.clone()).or_default().skip_to(next);
        Ok(())
    }
}

impl JournalStreamLog {
    fn queue(&self, key: &StreamKey, batch: &Sealed) -> Result<Arc<Slot<Ending>>, StreamError> {
        let meta = meta::encode(key, batch.seqs, batch.crc32c);
        let record = Record { kind: KIND_BATCH, meta, payload: batch.bytes.clone() };
        let slot = Arc::new(Slot::default());
        let done = BatchCompletion {
            streams: self.streams.clone(),
            key: key.clone(),
            last: batch.seqs.last(),
            slot: slot.clone(),
        };
        self.journal.shared().submit(Records::One(record), Arc::new(done))?;
        Ok(slot)
    }
}

impl Streams {
    fn check_room(&self, map: &HashMap<StreamKey, Stream>, key: &StreamKey) -> Result<(), StreamError> {
        if map.len() >= self.streams_max && !map.contains_key(key) {
            return Err(StreamError::TooManyStreams(map.len()));
        }
        Ok(())
    }
}

impl Completion for BatchCompletion {
    fn complete(&self, outcome: &completion::Outcome) {
        let mut map = self.streams.map.lock();
        let Some(stream) = map.get_mut(&self.key) else { return };
        let (own, repeats, repeat_ending) = match outcome {
            Ok(_) => {
                let due = stream.settle(self.last);
                (Ok(Outcome::Appended { durable: self.last }), due, Ok(stream.duplicate()))
            }
            Err(error) => {
                let failed = Err(StreamError::Append(error.clone()));
                (failed.clone(), stream.fall_back(), failed)
            }
        };
        drop(map);
        self.slot.set(own);
        for repeat in repeats {
            repeat.set(repeat_ending.clone());
        }
    }
}

/// What a read item means to a reader of batches.
fn stream_item(item: ReadItem) -> StreamItem {
    match item {
        ReadItem::Gap { from, to, reason } => StreamItem::Gap { from, to, reason },
        ReadItem::Entry(entry) => {
            let known = match entry.kind {
                KIND_BATCH => StreamEntry::try_from(&entry).map(StreamItem::Batch),
                _ => OtlpEntry::try_from(&entry).map(StreamItem::Otlp),
            };
            known.unwrap_or(StreamItem::Other { position: entry.position, kind: entry.kind })
        }
    }
}

/// A crash can leave a new segment without the checkpoint that it should begin with. Without one, retention would one day
/// delete the last that there is.
fn begin_with_checkpoint(
    journal: &Journal,
    streams: &Streams,
    bytes_max: usize,
) -> Result<(), StreamOpenError> {
    let last_segment = journal.segment_firsts().pop().unwrap_or_default();
    let is_bare = last_segment > Position(1) && journal.durable() < last_segment;
    if !is_bare {
        return Ok(());
    }
    let records = {
        let map = streams.map.lock();
        checkpoint::encode(map.iter().map(|(key, stream)| (key, stream.mark())), bytes_max)
    };
    match journal.commit(records) {
        Ok(_) => Ok(()),
        // Opening must work on a full disk; the next segment has one again.
        Err(error @ (AppendError::DiskFull | AppendError::Full)) => {
            tracing::warn!(%error, "cannot write a checkpoint into the new segment");
            Ok(())
        }
        Err(error) => Err(StreamOpenError::Append(error)),
    }
}

/// Reads the newest checkpoint that is whole, and the metas of all records after it.
fn rebuild(
    journal: &Journal,
    streams_max: usize,
) -> Result<(HashMap<StreamKey, Stream>, StreamRecovery), StreamOpenError> {
    let mut recovery = StreamRecovery::default();
    let mut marks: HashMap<StreamKey, Mark> = HashMap::new();
    let firsts = journal.segment_firsts();
    let mut from = Position(firsts.first().map_or(0, |first| first.0 - 1));
    // The first segment of a log needs none.
    recovery.has_checkpoint = from == Position::ZERO;
    for first in firsts.iter().rev() {
        if let Some((found, last)) = read_checkpoint(journal, *first)? {
            marks = found;
            from = last;
            recovery.has_checkpoint = true;
            break;
        }
    }
    for item in journal.reader(from).skip_payloads() {
        recovery.records_read += 1;
        match item? {
            ReadItem::Gap { from, to, .. } => recovery.positions_lost += to.0 - from.0 + 1,
            ReadItem::Entry(entry) if matches!(entry.kind, KIND_CHECKPOINT | KIND_OTLP) => {}
            ReadItem::Entry(entry) => match StreamEntry::try_from(&entry) {
                Ok(batch) => note_batch(&mut marks, batch, &mut recovery),
                Err(_) => recovery.metas_unknown += 1,
            },
        }
        if marks.len() > streams_max {
            return Err(StreamOpenError::TooManyStreams(streams_max));
        }
    }
    recovery.streams = marks.len();
    Ok((marks.into_iter().map(|(key, mark)| (key, Stream::at(mark))).collect(), recovery))
}

fn note_batch(marks: &mut HashMap<StreamKey, Mark>, batch: StreamEntry, recovery: &mut StreamRecovery) {
    let mark = marks.entry(batch.key).or_default();
    let seqs: SeqRange = batch.seqs;
    if seqs.first() > mark.durable.next() {
        recovery.seqs_skipped += seqs.first().0 - mark.durable.0 - 1;
    }
    if seqs.last() > mark.durable {
        mark.durable = seqs.last();
        if mark.recent.len() >= super::RECENT_BATCHES_MAX {
            mark.recent.remove(0);
        }
        mark.recent.push((seqs.last(), batch.crc32c));
    }
}

type Checkpoint = (HashMap<StreamKey, Mark>, Position);

/// The checkpoint that begins at `first`, if there is one and all of it is good, and its last position.
fn read_checkpoint(journal: &Journal, first: Position) -> Result<Option<Checkpoint>, ReadError> {
    let mut marks = HashMap::new();
    let mut wanted = 0;
    for item in journal.reader(Position(first.0 - 1)) {
        let ReadItem::Entry(entry) = item? else { return Ok(None) };
        if entry.kind != KIND_CHECKPOINT {
            return Ok(None);
        }
        let Ok((part, parts)) = checkpoint::part_of(&entry) else { return Ok(None) };
        let payload: Bytes = entry.payload;
        let Ok(found) = checkpoint::decode(&payload) else { return Ok(None) };
        if part != wanted {
            return Ok(None);
        }
        marks.extend(found);
        wanted += 1;
        if wanted == parts {
            return Ok(Some((marks, entry.position)));
        }
    }
    Ok(None)
}
