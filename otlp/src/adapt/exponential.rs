//! Exponential histograms: joining, adding, taking away, and making explicit ones of them.
//!
//! Bucket `i` of scale `s` holds values in `(base^i, base^(i+1)]` with `base = 2^(2^-s)`. A scale less joins buckets two by
//! two: index `i` becomes `i >> 1` (OpenTelemetry's metrics data model, "Exponential Scale").

use crate::proto::metrics::exponential_histogram_data_point::Buckets;
use crate::proto::metrics::{ExponentialHistogramDataPoint, HistogramDataPoint};

/// Most buckets of one sign after adding; more are joined. Twice what SDKs make.
pub const ADDED_BUCKETS_MAX: usize = 320;

/// Most buckets, of both signs, that become explicit ones; more are joined.
pub const EXPLICIT_BUCKETS_MAX: usize = 160;

/// An explicit histogram of the same values: a bound for each bucket from the first to the last that is not empty, with
/// one for the zeros, and finite bounds only. Sum, count, minimum, maximum and exemplars stay.
pub fn to_explicit(mut point: ExponentialHistogramDataPoint) -> HistogramDataPoint {
    let mut positive = point.positive.take().unwrap_or_default();
    let mut negative = point.negative.take().unwrap_or_default();
    let by = downscale_for(EXPLICIT_BUCKETS_MAX, |by| width(&positive, by) + width(&negative, by));
    downscale(&mut positive, by);
    downscale(&mut negative, by);
    let scale = i64::from(point.scale) - i64::from(by);

    let mut explicit = Ascending::default();
    for (index, count) in counted(&negative).rev() {
        // The far side of a negative bucket is below it: a bound without counts where nothing touches it yet.
        explicit.push(-boundary(scale, index + 1), 0);
        explicit.push(-boundary(scale, index), count);
    }
    if point.zero_count > 0 || !explicit.bounds.is_empty() {
        explicit.push(point.zero_threshold.max(0.0), point.zero_count);
    }
    for (index, count) in counted(&positive) {
        explicit.push(boundary(scale, index), 0);
        explicit.push(boundary(scale, index + 1), count);
    }
    let (explicit_bounds, bucket_counts) = explicit.finish();
    HistogramDataPoint {
        attributes: point.attributes,
        start_time_unix_nano: point.start_time_unix_nano,
        time_unix_nano: point.time_unix_nano,
        count: point.count,
        sum: point.sum,
        bucket_counts,
        explicit_bounds,
        exemplars: point.exemplars,
        flags: point.flags,
        min: point.min,
        max: point.max,
    }
}

/// Bounds that rise and the counts up to each; what no finite bound holds is above them all.
#[derive(Default)]
struct Ascending {
    bounds: Vec<f64>,
    counts: Vec<u64>,
    /// Values under the first bound, until there is one.
    below: u64,
    above: u64,
}

impl Ascending {
    /// `count` values at or under `bound` and above the bound before. A bound that does not rise, because floats end
    /// before buckets do, gives its count to the one before.
    fn push(&mut self, bound: f64, count: u64) {
        match (self.bounds.last(), self.counts.last_mut()) {
            _ if bound == f64::INFINITY => self.above = self.above.saturating_add(count),
            _ if bound == f64::NEG_INFINITY => self.below = self.below.saturating_add(count),
            (Some(last), Some(counted)) if bound <= *last => *counted = counted.saturating_add(count),
            _ => {
                self.bounds.push(bound);
                self.counts.push(count.saturating_add(std::mem::take(&mut self.below)));
            }
        }
    }

    fn finish(mut self) -> (Vec<f64>, Vec<u64>) {
        self.counts.push(self.above.saturating_add(self.below));
        (self.bounds, self.counts)
    }
}

/// Upper bound of bucket `index - 1` and lower bound of bucket `index`.
fn boundary(scale: i64, index: i64) -> f64 {
    let scale = i32::try_from(scale).unwrap_or(if scale < 0 { i32::MIN } else { i32::MAX });
    // 2^-scale overflows for scales that no float needs: the product is then infinite, or zero for bucket zero.
    if index == 0 { 1.0 } else { (index as f64 * (-f64::from(scale)).exp2()).exp2() }
}

/// The buckets that are not empty, by index.
fn counted(buckets: &Buckets) -> impl DoubleEndedIterator<Item = (i64, u64)> {
    let offset = i64::from(buckets.offset);
    buckets
        .bucket_counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(move |(place, count)| (offset + place as i64, *count))
}

/// First and last index that is not empty.
fn span(buckets: &Buckets) -> Option<(i64, i64)> {
    let first = counted(buckets).next()?.0;
    let last = counted(buckets).next_back()?.0;
    Some((first, last))
}

/// Buckets from the first to the last that is not empty, at `by` scales less.
fn width(buckets: &Buckets, by: u32) -> usize {
    span(buckets).map_or(0, |(first, last)| ((last >> by) - (first >> by) + 1) as usize)
}

/// The least number of scales to give up so that `width` is at most `max`.
fn downscale_for(max: usize, width: impl Fn(u32) -> usize) -> u32 {
    // Indexes have 32 bits: at 33 there are two buckets left at most.
    (0..=33).find(|by| width(*by) <= max).unwrap_or(33)
}

/// Joins buckets until the scale is `by` less, and leaves out empty ones at both ends.
pub fn downscale(buckets: &mut Buckets, by: u32) {
    let Some((first, last)) = span(buckets) else {
        *buckets = Buckets::default();
        return;
    };
    let (low, high) = (first >> by, last >> by);
    let mut joined = vec![0_u64; (high - low + 1) as usize];
    for (index, count) in counted(buckets) {
        let place = &mut joined[((index >> by) - low) as usize];
        *place = place.saturating_add(count);
    }
    // An index of 32 bits, shifted down, has 32 bits.
    *buckets = Buckets { offset: i32::try_from(low).unwrap_or(i32::MIN), bucket_counts: joined };
}

/// How many scales two sets of buckets, already of one scale, must give up so that their union has at most
/// [`ADDED_BUCKETS_MAX`].
pub fn downscale_for_sum(one: &Buckets, other: &Buckets) -> u32 {
    let both = |by: u32| match (span(one), span(other)) {
        (Some((a, b)), Some((c, d))) => ((b.max(d) >> by) - (a.min(c) >> by) + 1) as usize,
        _ => width(one, by).max(width(other, by)),
    };
    downscale_for(ADDED_BUCKETS_MAX, both)
}

/// Adds `other` to `to`, both of one scale. Call [`downscale_for_sum`] first: it bounds what this allocates.
pub fn add(to: &mut Buckets, other: &Buckets) {
    let (Some((a, b)), Some((c, d))) = (span(to), span(other)) else {
        if span(to).is_none() {
            other.clone_into(to);
        }
        return;
    };
    let low = a.min(c);
    let mut sum = vec![0_u64; (b.max(d) - low + 1) as usize];
    for (index, count) in counted(to).chain(counted(other)) {
        let place = &mut sum[(index - low) as usize];
        *place = place.saturating_add(count);
    }
    *to = Buckets { offset: i32::try_from(low).unwrap_or(i32::MIN), bucket_counts: sum };
}

/// `later - earlier`, both of one scale; `None` when a bucket fell.
pub fn minus(later: &Buckets, earlier: &Buckets) -> Option<Buckets> {
    let mut rest = later.clone();
    let offset = i64::from(later.offset);
    for (index, count) in counted(earlier) {
        let place = usize::try_from(index - offset).ok()?;
        let left = rest.bucket_counts.get_mut(place)?;
        *left = left.checked_sub(count)?;
    }
    downscale(&mut rest, 0);
    Some(rest)
}
