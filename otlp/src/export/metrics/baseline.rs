//! What a destination has of each series: from here its next delta counts.
//!
//! A series is known by a hash of its family, scope and labels, since the aggregate's own numbers for it do not outlive
//! a restart; and by the time of its first event, since one that left and came back counts from 0.

use hashbrown::HashMap;
use metrics::{Mark, SeriesValue, SeriesView};
use muster::clock::WallTime;
use sha2::{Digest, Sha256};

use super::NOTHING_SETTLED;

/// First half of a SHA-256: the chance that two of a billion series share one is below 10^-20.
pub(super) type SeriesHash = [u8; 16];

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Baseline {
    /// When the last cut was, and the aggregate's mark at it.
    pub(super) cut: Option<(WallTime, Mark)>,
    /// For deltas alone.
    pub(super) series: HashMap<SeriesHash, Sent>,
}

/// The numbers that have been sent of a series.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) created_us: u64,
    /// A counter's units, a histogram's sum in microseconds.
    pub(super) value: u64,
    /// A histogram's counts.
    pub(super) counts: Box<[u64]>,
}

/// What is new of a series.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// A gauge changes by being read.
    Reading,
    Units(u64),
    Histogram {
        counts: Vec<u64>,
        sum_us: u64,
    },
}

impl Baseline {
    pub(super) fn time(&self) -> Option<WallTime> {
        self.cut.map(|(time, _)| time)
    }

    /// Everything before it has been sent.
    pub(super) fn mark(&self) -> Mark {
        self.cut.map_or(NOTHING_SETTLED, |(_, mark)| mark)
    }

    /// The baseline of the cut after this one, without series.
    pub(super) fn next(&self, time: WallTime, mark: Mark) -> Self {
        Self { cut: Some((time, mark)), series: HashMap::with_capacity(self.series.len()) }
    }

    /// Writes into `next` what the destination has of the series when it has this cut, and answers what is new of it;
    /// `None` when nothing is, or when it is not sent.
    pub(super) fn advance(&self, series: &SeriesView<'_>, is_sent: bool, next: &mut Self) -> Option<Change> {
        let (value, counts): (u64, &[u64]) = match series.value {
            SeriesValue::Gauge(_) => return is_sent.then_some(Change::Reading),
            SeriesValue::Counter { units, .. } => (units, &[]),
            SeriesValue::Histogram { counts, sum_us, .. } => (sum_us, counts),
        };
        let key = hash(series);
        let now = Sent { created_us: series.created.0, value, counts: counts.into() };
        let before = self.series.get(&key).filter(|sent| sent.is_earlier_of(&now));
        if !is_sent {
            if let Some(before) = before {
                next.series.insert(key, before.clone());
            }
            return None;
        }
        let change = now.since(before);
        next.series.insert(key, now);
        change
    }
}

impl Sent {
    /// Whether these are earlier numbers of the series that has `now`, and not of one that left since.
    fn is_earlier_of(&self, now: &Sent) -> bool {
        self.created_us == now.created_us
            && self.value <= now.value
            && self.counts.len() == now.counts.len()
            && self.counts.iter().zip(&now.counts).all(|(then, now)| then <= now)
    }

    /// What came since `before`, which is [earlier](Sent::is_earlier_of). A series that is new is sent although it may be 0: that it exists is news.
    fn since(&self, before: Option<&Sent>) -> Option<Change> {
        if before == Some(self) {
            return None;
        }
        let value = self.value - before.map_or(0, |before| before.value);
        if self.counts.is_empty() {
            return Some(Change::Units(value));
        }
        let mut counts = self.counts.to_vec();
        if let Some(before) = before {
            counts.iter_mut().zip(&before.counts).for_each(|(now, then)| *now -= *then);
        }
        Some(Change::Histogram { counts, sum_us: value })
    }
}

/// Each text with its length before it, so that no two series are the same bytes.
fn hash(series: &SeriesView<'_>) -> SeriesHash {
    let mut hasher = Sha256::new();
    let texts = series.scope.iter().copied().chain(series.labels().map(|(_, value)| value));
    for text in std::iter::once(series.family.name).chain(texts) {
        hasher.update((text.len() as u32).to_le_bytes());
        hasher.update(text);
    }
    let hash: [u8; 32] = hasher.finalize().into();
    let mut half = SeriesHash::default();
    half.copy_from_slice(&hash[..16]);
    half
}
