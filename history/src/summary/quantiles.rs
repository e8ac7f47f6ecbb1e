//! Exact quantiles of any number of durations in bounded memory.
//!
//! As long as all distributions together have at most [`VALUES_MAX`] different values, each value is counted, and one pass
//! over the rows is enough. Past that, values are counted in buckets 1/128 wide, and where that are too many still, in buckets 1/8 wide, of which even 2,000
//! groups have no more than two million. Each quantile is then hunted down: the bucket
//! that it is in is cut into [`SLICES`] slices and the rows are read again, until a slice is one microsecond wide. The
//! answer is the same.
//!
//! The quantile of `n` weighted values at `q` percent is the `n - floor(n * (100 - q) / 100)`th of them in order, at least
//! the first: DuckDB's `quantile_disc`.

use rustc_hash::FxHashMap;

use super::Quantiles;

/// Most different values that are counted one by one, in all distributions of an answer together: about 32 MiB.
pub const VALUES_MAX: usize = 1 << 20;
/// Parts that a bucket is cut into.
const SLICES: u64 = 8_192;
/// How wide buckets are: a bucket is one part of two to this power of its values. The fine ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Grain(u32);

/// Buckets 1/128 wide.
pub(super) const FINE: Grain = Grain(7);
/// Buckets 1/8 wide: at most 496 of a distribution.
pub(super) const COARSE: Grain = Grain(3);
/// The quantiles, in percent.
const PERCENTS: [u64; 3] = [50, 95, 99];

/// Counted durations.
#[derive(Debug, Clone, Default)]
pub(super) struct Distribution {
    /// Weight by value, or by bucket.
    counts: FxHashMap<u64, u64>,
    /// Of its buckets; `None`: values are counted one by one.
    grain: Option<Grain>,
    pub(super) known: u64,
    pub(super) sum_us: u64,
}

/// A quantile that is narrowed down.
#[derive(Debug, Clone)]
struct Hunt {
    low: u64,
    high: u64,
    /// Which of the values from `low` on it is, from 1.
    rank: u64,
    /// Microseconds of a slice.
    width: u64,
    slices: Vec<u64>,
}

/// The quantiles of a distribution on their way.
#[derive(Debug, Clone)]
pub(super) struct Hunts {
    known: u64,
    sum_us: u64,
    hunts: [Hunt; PERCENTS.len()],
}

impl Distribution {
    /// Counts a value.
    pub(super) fn add(&mut self, value: u64, weight: u64) {
        self.known = self.known.saturating_add(weight);
        self.sum_us = self.sum_us.saturating_add(value.saturating_mul(weight));
        let key = self.grain.map_or(value, |grain| bucket(value, grain));
        let count = self.counts.entry(key).or_default();
        *count = count.saturating_add(weight);
    }

    /// How many values, or buckets, are kept.
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// Keeps buckets from now on that are at least as wide.
    pub(super) fn coarsen(&mut self, grain: Grain) {
        if self.grain.is_some_and(|own| own <= grain) {
            return;
        }
        let own = self.grain.replace(grain);
        for (key, weight) in std::mem::take(&mut self.counts) {
            // Narrow buckets lie in wide ones.
            let value = own.map_or(key, |own| edges(key, own).0);
            let count = self.counts.entry(bucket(value, grain)).or_default();
            *count = count.saturating_add(weight);
        }
        self.counts.shrink_to_fit();
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if let Some(grain) = other.grain {
            self.coarsen(grain);
        }
        self.known = self.known.saturating_add(other.known);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        for (&key, &weight) in &other.counts {
            let value = other.grain.map_or(key, |grain| edges(key, grain).0);
            let key = self.grain.map_or(value, |grain| bucket(value, grain));
            let count = self.counts.entry(key).or_default();
            *count = count.saturating_add(weight);
        }
    }

    /// Where its quantiles are; `None`: nothing was counted.
    pub(super) fn hunts(&self) -> Option<Hunts> {
        if self.known == 0 {
            return None;
        }
        let mut counts: Vec<(u64, u64)> = self.counts.iter().map(|(key, weight)| (*key, *weight)).collect();
        counts.sort_unstable();
        let hunts = PERCENTS.map(|percent| {
            let (key, rank) = nth(counts.iter().copied(), rank(self.known, percent));
            let (low, high) = self.grain.map_or((key, key), |grain| edges(key, grain));
            Hunt::new(low, high, rank)
        });
        Some(Hunts { known: self.known, sum_us: self.sum_us, hunts })
    }
}

impl Hunts {
    /// Whether all are found.
    pub(super) fn is_done(&self) -> bool {
        self.hunts.iter().all(|hunt| hunt.low == hunt.high)
    }

    /// Counts a value of the next pass.
    pub(super) fn add(&mut self, value: u64, weight: u64) {
        for hunt in &mut self.hunts {
            if hunt.low < hunt.high && hunt.low <= value && value <= hunt.high {
                let slice = &mut hunt.slices[((value - hunt.low) / hunt.width) as usize];
                *slice = slice.saturating_add(weight);
            }
        }
    }

    /// Narrows down after a pass.
    pub(super) fn narrow(&mut self) {
        for hunt in self.hunts.iter_mut().filter(|hunt| hunt.low < hunt.high) {
            let slices = hunt.slices.iter().zip(0_u64..).map(|(weight, index)| (index, *weight));
            let (slice, rank) = nth(slices, hunt.rank);
            let low = hunt.low + slice * hunt.width;
            *hunt = Hunt::new(low, hunt.high.min(low.saturating_add(hunt.width - 1)), rank);
        }
    }

    /// The quantiles, once all are found.
    pub(super) fn found(&self) -> Quantiles {
        let [p50_us, p95_us, p99_us] = self.hunts.each_ref().map(|hunt| hunt.low);
        Quantiles { known: self.known, sum_us: self.sum_us, p50_us, p95_us, p99_us }
    }
}

impl Hunt {
    fn new(low: u64, high: u64, rank: u64) -> Self {
        // The number of values may be 2^64, which is no u64.
        let width = (high - low) / SLICES + 1;
        let slices = if low == high { 0 } else { ((high - low) / width + 1) as usize };
        Self { low, high, rank, width, slices: vec![0; slices] }
    }
}

/// Which value in order is the quantile, from 1.
fn rank(known: u64, percent: u64) -> u64 {
    let above = u128::from(known) * u128::from(100 - percent) / 100;
    (known - above as u64).max(1)
}

/// The key with the `rank`th of all weights, and which one of its own that is.
fn nth(counts: impl Iterator<Item = (u64, u64)>, rank: u64) -> (u64, u64) {
    let (mut left, mut last) = (rank, (0, 1));
    for (key, weight) in counts {
        if left <= weight {
            return (key, left);
        }
        left -= weight;
        if weight > 0 {
            last = (key, weight);
        }
    }
    last
}

/// The bucket of a value: itself below 128 (8), and 128 (8) of them for each doubling above.
fn bucket(value: u64, Grain(bits): Grain) -> u64 {
    let shift = value.checked_ilog2().unwrap_or(0).saturating_sub(bits);
    if value >> bits == 0 { value } else { (u64::from(shift) << bits) + (value >> shift) }
}

/// First and last value of a bucket.
fn edges(bucket: u64, Grain(bits): Grain) -> (u64, u64) {
    if bucket >> (bits + 1) == 0 {
        return (bucket, bucket);
    }
    let shift = (bucket >> bits) - 1;
    let low = (bucket - (shift << bits)) << shift;
    (low, low + ((1 << shift) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quantile by its definition.
    fn expected(values: &[(u64, u64)], percent: u64) -> u64 {
        let mut all: Vec<u64> =
            values.iter().flat_map(|(value, weight)| std::iter::repeat_n(*value, *weight as usize)).collect();
        all.sort_unstable();
        let n = all.len() as u64;
        all[(n - n * (100 - percent) / 100).max(1) as usize - 1]
    }

    fn found(values: &[(u64, u64)], coarsen_after: usize, grains: &[Grain]) -> Quantiles {
        let mut distribution = Distribution::default();
        for (index, (value, weight)) in values.iter().enumerate() {
            if index == coarsen_after {
                grains.iter().for_each(|grain| distribution.coarsen(*grain));
            }
            distribution.add(*value, *weight);
        }
        let mut hunts = distribution.hunts().unwrap();
        let mut passes = 0;
        while !hunts.is_done() {
            values.iter().for_each(|(value, weight)| hunts.add(*value, *weight));
            hunts.narrow();
            passes += 1;
            assert!(passes <= 6, "it does not end");
        }
        hunts.found()
    }

    #[test]
    fn quantiles_are_exact_counted_one_by_one_or_hunted() {
        for seed in 0..300 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let most = 1_u64 << rng.u32(1..63);
            let values: Vec<_> = (0..rng.usize(1..200)).map(|_| (rng.u64(..most), rng.u64(1..4))).collect();
            for coarsen_after in [usize::MAX, 0, values.len() / 2] {
                for grains in [&[FINE][..], &[COARSE], &[FINE, COARSE]] {
                    let got = found(&values, coarsen_after, grains);
                    let wanted = PERCENTS.map(|percent| expected(&values, percent));
                    assert_eq!([got.p50_us, got.p95_us, got.p99_us], wanted, "seed {seed} {grains:?}");
                }
            }
        }
    }

    #[test]
    fn the_largest_value_is_found_too() {
        for grain in [FINE, COARSE] {
            assert_eq!(found(&[(u64::MAX, 1), (u64::MAX - 1, 1)], 0, &[grain]).p99_us, u64::MAX);
            assert_eq!(found(&[(0, 7)], 0, &[grain]).p50_us, 0);
        }
    }

    #[test]
    fn buckets_are_in_order_and_hold_their_values() {
        for seed in 0..10_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let value = rng.u64(..) >> rng.u32(..64);
            for (grain, parts) in [(FINE, 128), (COARSE, 8)] {
                let (low, high) = edges(bucket(value, grain), grain);
                assert!(low <= value && value <= high, "{value} {low} {high}");
                assert!(high - low <= value / parts, "{value} {low} {high}");
                assert!(high == u64::MAX || bucket(high + 1, grain) == bucket(value, grain) + 1, "{value}");
            }
            assert!(bucket(u64::MAX, COARSE) < 496, "that many buckets a distribution has at the most");
        }
    }

    #[test]
    fn merged_distributions_are_one_of_all_values() {
        let values: Vec<(u64, u64)> = (0..500).map(|index| (index * 977 % 100_003, 1 + index % 3)).collect();
        let (mut whole, mut half, mut other) =
            (Distribution::default(), Distribution::default(), Distribution::default());
        for (index, (value, weight)) in values.iter().enumerate() {
            whole.add(*value, *weight);
            if index % 2 == 0 { &mut half } else { &mut other }.add(*value, *weight);
        }
        half.merge(&other);
        assert_eq!(half.hunts().unwrap().found(), whole.hunts().unwrap().found());
        other.coarsen(FINE);
        half.merge(&other);
        assert!(half.grain == Some(FINE) && half.known > whole.known);
    }
}
