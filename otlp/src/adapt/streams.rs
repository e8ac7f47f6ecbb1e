//! What is remembered of each stream, within bounds: the one that was silent longest goes first.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::Stats;
use super::identity::StreamId;
use super::value::Value;

/// What a stream is remembered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Toward {
    /// Cumulative points come, deltas go: the value is the last one that came.
    Delta,
    /// Deltas come, cumulative points go: the value is the last one that went.
    Cumulative,
    /// Deltas come and go: only the last second that was used counts.
    Delta1s,
}

/// The last of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Baseline {
    pub toward: Toward,
    /// Start of the last point, or of the sum.
    pub start: u64,
    /// Time of the last point that came.
    pub time: u64,
    /// The last second that a delta point was given, for destinations that keep one a second.
    pub second: u64,
    /// See [`Toward`].
    pub value: Value,
}

/// All streams of an adapter.
#[derive(Debug)]
pub(super) struct Streams {
    by_id: HashMap<StreamId, Known>,
    /// Streams by when they were last put, oldest first.
    by_use: BTreeMap<u64, StreamId>,
    uses: u64,
    bytes: usize,
    streams_max: usize,
    bytes_max: usize,
    forgotten: u64,
    /// Cumulative streams that say that they began after this were never seen before.
    seen_since: Option<u64>,
}

#[derive(Debug)]
struct Known {
    used: u64,
    baseline: Baseline,
}

impl Streams {
    /// None yet.
    pub fn new(streams_max: usize, bytes_max: usize) -> Self {
        Self {
            by_id: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            streams_max: streams_max.max(1),
            bytes_max,
            forgotten: 0,
            seen_since: None,
        }
    }

    /// Says what time it is before a request; only the first time counts.
    pub fn begin(&mut self, now_ns: u64) {
        if self.seen_since.is_none() {
            self.seen_since = Some(now_ns);
            self.uses += 1;
        }
    }

    /// Since when every stream that began would still be known.
    pub fn seen_since(&self) -> u64 {
        self.seen_since.unwrap_or(u64::MAX)
    }

    /// Takes out what is known of a stream, to be put back.
    pub fn take(&mut self, id: StreamId) -> Option<Baseline> {
        let known = self.by_id.remove(&id)?;
        self.by_use.remove(&known.used);
        self.bytes -= weight(&known.baseline);
        Some(known.baseline)
    }

    /// Remembers a stream as the one used last, and forgets others where there are too many. It stays itself.
    pub fn put(&mut self, id: StreamId, baseline: Baseline) {
        self.take(id);
        self.uses += 1;
        self.bytes += weight(&baseline);
        self.by_use.insert(self.uses, id);
        self.by_id.insert(id, Known { used: self.uses, baseline });
        while self.by_id.len() > 1 && (self.by_id.len() > self.streams_max || self.bytes > self.bytes_max) {
            let Some((_, oldest)) = self.by_use.first_key_value() else { break };
            let oldest = *oldest;
            let forgotten = self.take(oldest);
            self.forgotten += 1;
            // It may come back with all that it counted, and must not be taken for a new one.
            let counted_to =
                forgotten.filter(|forgotten| forgotten.toward == Toward::Delta).map(|it| it.time);
            self.seen_since = self.seen_since.map(|since| since.max(counted_to.unwrap_or(0)));
        }
    }

    /// Those that there are, the one silent longest first.
    pub fn by_use(&self) -> impl ExactSizeIterator<Item = (StreamId, &Baseline)> {
        self.by_use.values().map(|id| (*id, &self.by_id[id].baseline))
    }

    /// Goes on from a snapshot.
    pub fn set_seen_since(&mut self, seen_since: Option<u64>) {
        self.seen_since = seen_since;
    }

    /// As it goes into a snapshot.
    pub fn raw_seen_since(&self) -> Option<u64> {
        self.seen_since
    }

    /// Grows with every change.
    pub fn generation(&self) -> u64 {
        self.uses
    }

    /// What there is.
    pub fn stats(&self) -> Stats {
        Stats { streams: self.by_id.len(), state_bytes: self.bytes, streams_forgotten: self.forgotten }
    }
}

/// About what a stream takes in memory, with its share of the two maps.
fn weight(baseline: &Baseline) -> usize {
    const ENTRY: usize = size_of::<Known>() + size_of::<StreamId>() + 48;
    ENTRY + baseline.value.buckets() * size_of::<u64>()
}
