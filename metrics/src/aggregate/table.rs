//! The series of one family.
//!
//! A series is 40 bytes and its place in two lists: a hash index over its key, and the order of the page. The order is
//! kept lazily: new series wait in `fresh`, which is merged into `sorted` when it has grown in proportion, so that a
//! page sorts little and an update nothing.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::hash::Hasher;

use hashbrown::HashTable;
use rustc_hash::FxHasher;

use super::origins::OriginId;
use super::owners::OwnerId;
use super::texts::TextId;

/// Most labels of its own that a family has.
pub(super) const LABELS_MAX: usize = 3;

/// Place of a series in its table.
pub(super) type Slot = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeriesKey {
    pub(super) origin: OriginId,
    /// The family's own labels; unused ones are empty.
    pub(super) labels: [TextId; LABELS_MAX],
}

#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) key: SeriesKey,
    /// A counter's integer, or the bits of a gauge's number (NaN: absent). Histograms keep theirs in `buckets`.
    pub(super) value: u64,
    /// Wall time of its first event in microseconds.
    pub(super) created_us: u64,
    /// When it was last updated.
    pub(super) touched_at: u32,
    /// Who owns the gauge.
    pub(super) owner: OwnerId,
}

const FREE: OriginId = u32::MAX;

#[derive(Debug)]
pub(super) struct Table {
    series: Vec<Series>,
    free: Vec<Slot>,
    index: HashTable<Slot>,
    /// Of histograms: for each slot the counts up to each bound, the count above all, and the sum in microseconds.
    buckets: Vec<u64>,
    stride: usize,
    sorted: Vec<Slot>,
    fresh: Vec<Slot>,
}

impl Table {
    /// A table whose histograms have `stride` numbers each; 0 for other families.
    pub(super) fn new(stride: usize) -> Self {
        Self {
            series: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            buckets: Vec::new(),
            stride,
            sorted: Vec::new(),
            fresh: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.series.len() - self.free.len()
    }

    pub(super) fn find(&self, key: &SeriesKey) -> Option<Slot> {
        self.index.find(hash(key), |&slot| self.series[slot as usize].key == *key).copied()
    }

    /// Adds a series that is not there yet.
    pub(super) fn insert(&mut self, series: Series) -> Slot {
        let key = series.key;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.series[slot as usize] = series;
                slot
            }
            None => {
                self.series.push(series);
                self.buckets.resize(self.series.len() * self.stride, 0);
                (self.series.len() - 1) as Slot
            }
        };
        let all = &self.series;
        self.index.insert_unique(hash(&key), slot, |&slot| hash(&all[slot as usize].key));
        self.fresh.push(slot);
        slot
    }

    pub(super) fn get(&self, slot: Slot) -> &Series {
        &self.series[slot as usize]
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> &mut Series {
        &mut self.series[slot as usize]
    }

    pub(super) fn buckets(&self, slot: Slot) -> &[u64] {
        &self.buckets[slot as usize * self.stride..][..self.stride]
    }

    pub(super) fn buckets_mut(&mut self, slot: Slot) -> &mut [u64] {
        &mut self.buckets[slot as usize * self.stride..][..self.stride]
    }

    /// Removes the series that `is_over` and gives them to `removed`.
    pub(super) fn remove_if(
        &mut self,
        is_over: impl Fn(&Series) -> bool,
        mut removed: impl FnMut(&SeriesKey),
    ) {
        let free_before = self.free.len();
        for slot in 0..self.series.len() {
            let series = &self.series[slot];
            if series.key.origin == FREE || !is_over(series) {
                continue;
            }
            removed(&series.key);
            if let Ok(found) = self.index.find_entry(hash(&series.key), |&other| other as usize == slot) {
                found.remove();
            }
            self.series[slot].key.origin = FREE;
            self.buckets[slot * self.stride..][..self.stride].fill(0);
            self.free.push(slot as Slot);
        }
        if self.free.len() > free_before {
            let series = &self.series;
            self.sorted.retain(|&slot| series[slot as usize].key.origin != FREE);
            self.fresh.retain(|&slot| series[slot as usize].key.origin != FREE);
        }
    }

    /// Whether so many series are new that merging them is due.
    pub(super) fn is_unsettled(&self) -> bool {
        self.fresh.len() > 1024 + self.sorted.len() / 2
    }

    /// Merges the new series into the order.
    pub(super) fn settle(&mut self, compare: impl Fn(&Series, &Series) -> Ordering) {
        if let Cow::Owned(order) = self.order(compare) {
            self.sorted = order;
            self.fresh.clear();
        }
    }

    /// All series in the order of `compare`.
    pub(super) fn order(&self, compare: impl Fn(&Series, &Series) -> Ordering) -> Cow<'_, [Slot]> {
        if self.fresh.is_empty() {
            return Cow::Borrowed(&self.sorted);
        }
        let by_slot = |a: &Slot, b: &Slot| compare(&self.series[*a as usize], &self.series[*b as usize]);
        let mut fresh = self.fresh.clone();
        fresh.sort_unstable_by(by_slot);
        let mut order = Vec::with_capacity(self.sorted.len() + fresh.len());
        let mut fresh = fresh.into_iter().peekable();
        for &slot in &self.sorted {
            while let Some(new) = fresh.next_if(|new| by_slot(new, &slot) == Ordering::Less) {
                order.push(new);
            }
            order.push(slot);
        }
        order.extend(fresh);
        Cow::Owned(order)
    }

    pub(super) fn bytes_estimate(&self) -> usize {
        self.series.capacity() * size_of::<Series>()
            + (self.sorted.capacity() + self.fresh.capacity() + self.free.capacity()) * size_of::<Slot>()
            + self.buckets.capacity() * size_of::<u64>()
            + self.index.capacity() * 5
    }
}

fn hash(key: &SeriesKey) -> u64 {
    let [a, b, c] = key.labels.map(|text| u64::from(text.0));
    let mut hasher = FxHasher::default();
    hasher.write_u64(u64::from(key.origin) << 32 | a);
    hasher.write_u64(b << 32 | c);
    hasher.finish()
}
