//! Histograms as classic buckets, whatever they came as.
//!
//! A [`Distribution`] has counts by upper bound. Nothing that is done to one loses a count, and a count is never moved
//! below the values that it stands for:
//!
//! - **Other bounds** ([`Distribution::add`]): a series has all bounds that its points had, up to [`BOUNDS_MAX`]. Counts
//!   stay at the bound they were told with; a bound that is new begins with what is counted from then on. Past
//!   [`BOUNDS_MAX`] counts go to the next larger bound that is there.
//! - **Cumulative** ([`Distribution::since`]): the difference to the point before, by bound. Between points of different
//!   bounds the differences of the running counts are taken, held between 0 and the difference of the whole.
//! - **Exponential**: bounds are powers of two, whatever the scale: buckets of scales from 0 up nest in them exactly, and
//!   those below 0 have such bounds already. A point that spans more than [`EXPONENTS_MAX`] of them gets powers of 4,
//!   16 and so on. The zero bucket is `le="0"`, or the next power of two of its threshold. Negative buckets have negative
//!   bounds.

use std::collections::BTreeMap;

use super::Dropped;
use super::amount::Amount;
use crate::proto::metrics::exponential_histogram_data_point::Buckets;
use crate::proto::metrics::{ExponentialHistogramDataPoint, HistogramDataPoint};

/// Most bounds of a point or a series, but the infinite one.
pub(super) const BOUNDS_MAX: usize = 200;
/// Most powers of two that an exponential histogram's positive or negative values are shown by.
const EXPONENTS_MAX: i64 = 32;
/// Exponents of the smallest and the largest power of two that a double can be.
const EXPONENTS: std::ops::RangeInclusive<i64> = -1074..=1023;

/// Counts by upper bound.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Distribution {
    /// Ascending and finite.
    pub(super) bounds: Vec<f64>,
    /// One a bound, and one above all. Not cumulative.
    pub(super) counts: Vec<u64>,
    /// Sum of all values; `None` when some source did not tell it.
    pub(super) sum: Option<Amount>,
}

impl Distribution {
    /// With nothing counted.
    pub(super) fn empty() -> Self {
        Self { bounds: Vec::new(), counts: vec![0], sum: Some(Amount::ZERO) }
    }

    /// An explicit histogram's point.
    pub(super) fn explicit(point: &HistogramDataPoint) -> Result<Self, Dropped> {
        let mut bounds = point.explicit_bounds.clone();
        let mut counts = point.bucket_counts.clone();
        if counts.is_empty() && bounds.is_empty() {
            counts.push(point.count);
        }
        if bounds.last() == Some(&f64::INFINITY) && counts.len() == bounds.len() + 1 {
            // The bucket above infinity is empty, or its counts belong below.
            bounds.pop();
            let above = counts.pop().unwrap_or(0);
            if let Some(last) = counts.last_mut() {
                *last = last.saturating_add(above);
            }
        }
        let is_ascending = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        let is_whole =
            counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count)) == Some(point.count);
        if counts.len() != bounds.len() + 1 || !is_ascending || !is_whole {
            return Err(Dropped::Malformed);
        }
        if bounds.iter().any(|bound| !bound.is_finite()) {
            return Err(Dropped::Malformed);
        }
        if bounds.len() > BOUNDS_MAX {
            return Err(Dropped::TooManyBuckets);
        }
        // Not to tell 0 from -0.
        bounds.iter_mut().for_each(|bound| *bound += 0.0);
        Ok(Self { bounds, counts, sum: sum(point.sum)? })
    }

    /// An exponential histogram's point.
    pub(super) fn exponential(point: &ExponentialHistogramDataPoint) -> Result<Self, Dropped> {
        let mut by_bound = Vec::new();
        if point.zero_count > 0 {
            by_bound.push((zero_bound(point.zero_threshold)?, point.zero_count));
        }
        // A bucket of exponent e ends at 2^e. Below zero its upper end is the one that is nearer to zero.
        let positive = exponents(point.scale, point.positive.as_ref(), 1)?;
        by_bound.extend(bounded(positive).map(|(e, count)| (power(e), count)));
        let negative = exponents(point.scale, point.negative.as_ref(), 0)?;
        let negative = negative.into_iter().map(|(e, count)| (-e, count)).collect();
        by_bound.extend(bounded(negative).map(|(e, count)| (-power(-e), count)));
        by_bound.sort_by(|a, b| a.0.total_cmp(&b.0));

        let mut whole = Self { bounds: Vec::new(), counts: Vec::new(), sum: sum(point.sum)? };
        let mut above = 0_u64;
        for (bound, count) in by_bound {
            if bound.is_infinite() {
                above = above.checked_add(count).ok_or(Dropped::Malformed)?;
            } else if whole.bounds.last() == Some(&bound) {
                let last = whole.counts.last_mut().ok_or(Dropped::Malformed)?;
                *last = last.checked_add(count).ok_or(Dropped::Malformed)?;
            } else {
                whole.bounds.push(bound);
                whole.counts.push(count);
            }
        }
        whole.counts.push(above);
        let total = whole.counts.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        if total == Some(point.count) { Ok(whole) } else { Err(Dropped::Malformed) }
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What came since `last`; `None` when it is no continuation of it: a count fell.
    pub(super) fn since(&self, last: &Self) -> Option<Self> {
        let total = self.count().checked_sub(last.count())?;
        let sum = self.sum.zip(last.sum).map(|(now, before)| now.minus(before));
        if self.bounds == last.bounds {
            let pairs = self.counts.iter().zip(&last.counts);
            let counts = pairs.map(|(now, before)| now.checked_sub(*before)).collect::<Option<_>>()?;
            return Some(Self { bounds: self.bounds.clone(), counts, sum });
        }
        let mut counts = Vec::with_capacity(self.counts.len());
        let (mut now, mut taken) = (0_u64, 0_u64);
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            now = now.saturating_add(*count);
            let below = last.bounds.partition_point(|other| other <= bound);
            let before = last.counts[..below].iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
            let running = now.saturating_sub(before).clamp(taken, total);
            counts.push(running - taken);
            taken = running;
        }
        counts.push(total - taken);
        Some(Self { bounds: self.bounds.clone(), counts, sum })
    }

    /// Counts `more` as well.
    pub(super) fn add(&mut self, more: &Self) {
        for bound in &more.bounds {
            let at = self.bounds.partition_point(|other| other < bound);
            if self.bounds.get(at) != Some(bound) && self.bounds.len() < BOUNDS_MAX {
                self.bounds.insert(at, *bound);
                self.counts.insert(at, 0);
            }
        }
        for (index, count) in more.counts.iter().enumerate() {
            let at = match more.bounds.get(index) {
                Some(bound) => self.bounds.partition_point(|other| other < bound),
                None => self.bounds.len(),
            };
            if let Some(slot) = self.counts.get_mut(at) {
                *slot = slot.saturating_add(*count);
            }
        }
        self.sum = self.sum.zip(more.sum).map(|(sum, more)| sum.plus(more));
    }
}

fn sum(sum: Option<f64>) -> Result<Option<Amount>, Dropped> {
    match sum {
        Some(sum) if !sum.is_finite() => Err(Dropped::NotFinite),
        sum => Ok(sum.map(Amount::float)),
    }
}

/// Counts by the exponent of two where their bucket ends (`upper` 1) or begins (`upper` 0).
fn exponents(scale: i32, buckets: Option<&Buckets>, upper: i64) -> Result<BTreeMap<i64, u64>, Dropped> {
    let mut by_exponent = BTreeMap::new();
    let Some(buckets) = buckets else { return Ok(by_exponent) };
    for (position, count) in buckets.bucket_counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let index = i64::from(buckets.offset).saturating_add(position as i64);
        let exponent = if scale >= 0 {
            (index >> scale.min(62)) + upper
        } else {
            // Twelve doublings leave the range of doubles, whatever the index.
            (index + upper).clamp(-1 << 32, 1 << 32) << (-i64::from(scale)).min(12)
        };
        // Above the range is infinity, which is no begin; below it there are no values.
        let exponent = exponent.clamp(*EXPONENTS.start(), *EXPONENTS.end() + upper);
        let slot: &mut u64 = by_exponent.entry(exponent).or_default();
        *slot = slot.checked_add(*count).ok_or(Dropped::Malformed)?;
    }
    Ok(by_exponent)
}

/// Every step of exponents from the one below the first to the last, each with its count; the step so wide that there are
/// few enough, and each count at the next step up.
fn bounded(by_exponent: BTreeMap<i64, u64>) -> impl Iterator<Item = (i64, u64)> {
    let mut step = 1;
    let ends = by_exponent.first_key_value().zip(by_exponent.last_key_value());
    let (first, last) = ends.map_or((1, -1), |((first, _), (last, _))| (*first, *last));
    while (last - first) / step >= EXPONENTS_MAX {
        step *= 2;
    }
    let up = move |exponent: i64| (exponent + step - 1).div_euclid(step) * step;
    let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
    if first <= last {
        let steps = (0..).map(|n| up(first) - step + n * step).take_while(|exponent| *exponent <= up(last));
        counts.extend(steps.map(|exponent| (exponent, 0)));
    }
    for (exponent, count) in by_exponent {
        // Below the sum of all, which is checked.
        let slot = counts.entry(up(exponent)).or_default();
        *slot = slot.saturating_add(count);
    }
    counts.into_iter()
}

/// 2 to the exponent; beyond the doubles, infinity or the smallest.
fn power(exponent: i64) -> f64 {
    match exponent {
        1024.. => f64::INFINITY,
        -1022..1024 => f64::from_bits(((exponent + 1023) as u64) << 52),
        -1074..-1022 => f64::from_bits(1 << (exponent + 1074)),
        ..-1074 => f64::from_bits(1),
    }
}

/// The upper bound of the zero bucket.
fn zero_bound(threshold: f64) -> Result<f64, Dropped> {
    if threshold == 0.0 {
        return Ok(0.0);
    }
    if !threshold.is_finite() || threshold < 0.0 {
        return Err(Dropped::Malformed);
    }
    let exponent = (threshold.to_bits() >> 52) as i64 - 1023;
    let is_power = threshold.to_bits() & ((1 << 52) - 1) == 0;
    Ok(power(if is_power { exponent } else { exponent + 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explicit(bounds: &[f64], counts: &[u64], sum: f64) -> Distribution {
        Distribution::explicit(&HistogramDataPoint {
            count: counts.iter().sum(),
            sum: Some(sum),
            bucket_counts: counts.to_vec(),
            explicit_bounds: bounds.to_vec(),
            ..Default::default()
        })
        .expect("well formed")
    }

    fn exponential(scale: i32, zero: u64, positive: (i32, &[u64]), negative: (i32, &[u64])) -> Distribution {
        let buckets = |(offset, counts): (i32, &[u64])| {
            (!counts.is_empty()).then(|| Buckets { offset, bucket_counts: counts.to_vec() })
        };
        let count = zero + positive.1.iter().sum::<u64>() + negative.1.iter().sum::<u64>();
        Distribution::exponential(&ExponentialHistogramDataPoint {
            count,
            scale,
            zero_count: zero,
            positive: buckets(positive),
            negative: buckets(negative),
            sum: Some(1.0),
            ..Default::default()
        })
        .expect("well formed")
    }

    fn shown(distribution: &Distribution) -> Vec<(f64, u64)> {
        let infinity = [f64::INFINITY];
        let bounds = distribution.bounds.iter().chain(&infinity);
        bounds.copied().zip(distribution.counts.iter().copied()).collect()
    }

    const NO_BOUND: f64 = f64::INFINITY;

    #[test]
    fn counts_of_other_bounds_stay_at_the_bound_they_were_told_with() {
        let mut series = Distribution::empty();
        series.add(&explicit(&[1.0, 10.0], &[1, 2, 3], 40.0));
        series.add(&explicit(&[5.0, 10.0, 50.0], &[4, 5, 6, 7], 1.5));
        assert_eq!(shown(&series), [(1.0, 1), (5.0, 4), (10.0, 7), (50.0, 6), (NO_BOUND, 10)]);
        assert_eq!(series.sum, Some(Amount::float(41.5)));
        assert_eq!(series.count(), 28);
    }

    #[test]
    fn past_the_most_bounds_counts_go_to_the_next_larger_one() {
        let bounds: Vec<f64> = (0..BOUNDS_MAX).map(|n| n as f64 * 10.0).collect();
        let mut series = Distribution::empty();
        series.add(&explicit(&bounds, &vec![1; BOUNDS_MAX + 1], 0.0));
        series.add(&explicit(&[15.0, 99_999.0], &[1, 1, 1], 0.0));
        assert_eq!((series.bounds.len(), series.count()), (BOUNDS_MAX, BOUNDS_MAX as u64 + 4));
        assert_eq!((series.counts[2], series.counts[BOUNDS_MAX]), (2, 3));
    }

    #[test]
    fn a_cumulative_difference_over_changed_bounds_conserves_the_count() {
        let before = explicit(&[1.0, 10.0], &[5, 5, 5], 100.0);
        let after = explicit(&[2.0, 10.0, 100.0], &[6, 6, 4, 3], 130.0);
        let since = after.since(&before).expect("grown");
        assert_eq!(shown(&since), [(2.0, 1), (10.0, 1), (100.0, 2), (NO_BOUND, 0)]);
        assert_eq!(since.sum, Some(Amount::float(30.0)));
        assert!(before.since(&after).is_none(), "a fall is a reset");
        assert!(explicit(&[1.0, 10.0], &[4, 9, 9], 0.0).since(&before).is_none(), "so is one of a bucket");
    }

    #[test]
    fn exponential_buckets_of_every_scale_end_at_powers_of_two() {
        // Scale 1: (1, 1.41], (1.41, 2], (2, 2.83], (2.83, 4].
        let fine = exponential(1, 0, (0, &[1, 2, 3, 4]), (0, &[]));
        assert_eq!(shown(&fine), [(1.0, 0), (2.0, 3), (4.0, 7), (NO_BOUND, 0)]);
        // Scale -1: (1/4, 1], (1, 4], (4, 16].
        let coarse = exponential(-1, 0, (-1, &[1, 2, 3]), (0, &[]));
        assert_eq!(
            shown(&coarse),
            [(0.5, 0), (1.0, 1), (2.0, 0), (4.0, 2), (8.0, 0), (16.0, 3), (NO_BOUND, 0)]
        );
        // Scale 20 around 1: indexes -1 and 0.
        let finest = exponential(20, 0, (-1, &[5, 6]), (0, &[]));
        assert_eq!(shown(&finest), [(0.5, 0), (1.0, 5), (2.0, 6), (NO_BOUND, 0)]);
    }

    #[test]
    fn zero_and_negative_buckets_are_in_order() {
        let whole = exponential(0, 7, (0, &[2]), (0, &[3, 4]));
        // [-2, -1) has 3, [-4, -2) has 4.
        assert_eq!(
            shown(&whole),
            [(-4.0, 0), (-2.0, 4), (-1.0, 3), (0.0, 7), (1.0, 0), (2.0, 2), (NO_BOUND, 0)]
        );
    }

    #[test]
    fn a_wide_exponential_histogram_has_few_buckets_and_all_its_counts() {
        for scale in [-11, -4, 0, 3, 20] {
            let counts = vec![1; 4_000];
            let wide = exponential(scale, 1, (-2_000, &counts), (-2_000, &counts));
            assert_eq!(wide.count(), 8_001, "scale {scale}");
            assert!(wide.bounds.len() <= 70, "scale {scale}: {}", wide.bounds.len());
            assert!(wide.bounds.windows(2).all(|pair| pair[0] < pair[1]), "scale {scale}");
        }
        for (offset, scale) in [(i32::MAX, 0), (i32::MIN, 0), (i32::MAX, i32::MIN), (i32::MIN, i32::MAX)] {
            assert_eq!(exponential(scale, 0, (offset, &[1, 1]), (offset, &[1])).count(), 3);
        }
    }

    #[test]
    fn a_threshold_of_zero_rounds_up_to_a_power_of_two() {
        assert_eq!(zero_bound(0.0), Ok(0.0));
        assert_eq!(zero_bound(0.25), Ok(0.25));
        assert_eq!(zero_bound(0.3), Ok(0.5));
        assert_eq!(zero_bound(-1.0), Err(Dropped::Malformed));
    }

    #[test]
    fn a_point_that_contradicts_itself_is_malformed() {
        let point = |count, counts: &[u64], bounds: &[f64]| {
            Distribution::explicit(&HistogramDataPoint {
                count,
                bucket_counts: counts.to_vec(),
                explicit_bounds: bounds.to_vec(),
                ..Default::default()
            })
        };
        assert_eq!(point(3, &[1, 1], &[1.0]), Err(Dropped::Malformed));
        assert_eq!(point(2, &[1, 1], &[1.0, 2.0]), Err(Dropped::Malformed));
        assert_eq!(point(3, &[1, 1, 1], &[2.0, 1.0]), Err(Dropped::Malformed));
        assert_eq!(point(2, &[1, 1], &[f64::NAN]), Err(Dropped::Malformed));
        assert_eq!(point(0, &[0; 300], &[0.0; 299].map(|_: f64| 0.0)), Err(Dropped::Malformed));
        assert_eq!(point(5, &[], &[]).map(|whole| whole.counts), Ok(vec![5]));
        let above = point(3, &[1, 2, 0], &[1.0, f64::INFINITY]).expect("the last bound says nothing");
        assert_eq!((above.bounds, above.counts), (vec![1.0], vec![1, 2]));
    }
}
