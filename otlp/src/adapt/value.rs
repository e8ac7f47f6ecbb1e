//! What a point says, and the two things that temporality needs of it: adding and taking away.

use super::exponential as buckets;
use crate::proto::metrics::exponential_histogram_data_point::Buckets;

/// A point's value, apart from its times and attributes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A whole number.
    Int(i64),
    /// Any number.
    Double(f64),
    /// A histogram of given bounds.
    Explicit(Summed, Explicit),
    /// An exponential histogram.
    Exponential(Summed, Exponential),
}

/// What both kinds of histograms have.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Summed {
    pub count: u64,
    pub sum: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
}

/// Bounds and counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Explicit {
    pub bounds: Vec<f64>,
    pub counts: Vec<u64>,
}

/// Scale and counts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exponential {
    pub scale: i32,
    pub zero_count: u64,
    pub zero_threshold: f64,
    pub positive: Buckets,
    pub negative: Buckets,
}

/// What a later value is to an earlier one.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// That much was added.
    Grown(Value),
    /// It is less: counting began anew.
    Fallen,
    /// They are of different kinds or layouts.
    Other,
}

impl Value {
    /// Whether everything in it is a number that can be added to.
    pub fn is_finite(&self) -> bool {
        match self {
            Value::Int(_) => true,
            Value::Double(number) => number.is_finite(),
            Value::Explicit(summed, explicit) => {
                summed.is_finite() && explicit.bounds.iter().all(|bound| !bound.is_nan())
            }
            Value::Exponential(summed, exponential) => {
                summed.is_finite() && exponential.zero_threshold.is_finite()
            }
        }
    }

    /// Buckets in it.
    pub fn buckets(&self) -> usize {
        match self {
            Value::Int(_) | Value::Double(_) => 0,
            Value::Explicit(_, explicit) => explicit.counts.len() + explicit.bounds.len(),
            Value::Exponential(_, exponential) => {
                exponential.positive.bucket_counts.len() + exponential.negative.bucket_counts.len()
            }
        }
    }

    /// What was added since `earlier`.
    pub fn since(&self, earlier: &Value) -> Change {
        match (self, earlier) {
            (Value::Int(later), Value::Int(earlier)) => match later.checked_sub(*earlier) {
                Some(added) if added >= 0 => Change::Grown(Value::Int(added)),
                _ => Change::Fallen,
            },
            (Value::Explicit(later, a), Value::Explicit(earlier, b)) if a.bounds == b.bounds => {
                let counts = minus(&a.counts, &b.counts);
                later.grown(earlier, counts, |summed, counts| {
                    Value::Explicit(summed, Explicit { bounds: a.bounds.clone(), counts })
                })
            }
            (Value::Exponential(later, a), Value::Exponential(earlier, b))
                if a.zero_threshold == b.zero_threshold =>
            {
                later.grown(earlier, a.minus(b), Value::Exponential)
            }
            _ => match (self.number(), earlier.number()) {
                (Some(later), Some(earlier)) if later >= earlier => {
                    Change::Grown(Value::Double(later - earlier))
                }
                (Some(_), Some(_)) => Change::Fallen,
                _ => Change::Other,
            },
        }
    }

    /// Adds `more`; `false`, and nothing done, when they do not fit together.
    pub fn add(&mut self, more: &Value) -> bool {
        match (&mut *self, more) {
            (Value::Int(sum), Value::Int(more)) => {
                let exact = sum.checked_add(*more);
                let float = Value::Double(*sum as f64 + *more as f64);
                *self = exact.map_or(float, Value::Int);
            }
            (Value::Explicit(summed, a), Value::Explicit(more, b))
                if a.bounds == b.bounds && a.counts.len() == b.counts.len() =>
            {
                summed.add(more);
                a.counts.iter_mut().zip(&b.counts).for_each(|(to, more)| *to = to.saturating_add(*more));
            }
            (Value::Exponential(summed, a), Value::Exponential(more, b))
                if a.zero_threshold == b.zero_threshold =>
            {
                summed.add(more);
                a.add(b);
            }
            _ => match (self.number(), more.number()) {
                (Some(sum), Some(more)) => *self = Value::Double(sum + more),
                _ => return false,
            },
        }
        true
    }

    fn number(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(*number as f64),
            Value::Double(number) => Some(*number),
            Value::Explicit(..) | Value::Exponential(..) => None,
        }
    }
}

impl Summed {
    fn is_finite(&self) -> bool {
        self.sum.is_none_or(f64::is_finite)
    }

    /// The change of a histogram whose buckets changed by `rest`. The sum may fall, since values may be negative; least and
    /// greatest of the time between are not known.
    fn grown<T>(&self, earlier: &Summed, rest: Option<T>, value: impl Fn(Summed, T) -> Value) -> Change {
        match (self.count.checked_sub(earlier.count), rest) {
            (Some(count), Some(rest)) => {
                let sum = self.sum.zip(earlier.sum).map(|(later, earlier)| later - earlier);
                Change::Grown(value(Summed { count, sum, min: None, max: None }, rest))
            }
            _ => Change::Fallen,
        }
    }

    fn add(&mut self, more: &Summed) {
        self.count = self.count.saturating_add(more.count);
        self.sum = self.sum.zip(more.sum).map(|(sum, more)| sum + more);
        self.min = self.min.zip(more.min).map(|(a, b)| a.min(b));
        self.max = self.max.zip(more.max).map(|(a, b)| a.max(b));
    }
}

fn minus(later: &[u64], earlier: &[u64]) -> Option<Vec<u64>> {
    if later.len() != earlier.len() {
        return None;
    }
    later.iter().zip(earlier).map(|(later, earlier)| later.checked_sub(*earlier)).collect()
}

impl Exponential {
    /// Both sides at the lower of the two scales.
    fn minus(&self, earlier: &Exponential) -> Option<Exponential> {
        let scale = self.scale.min(earlier.scale);
        let (later, earlier) = (self.at(scale), earlier.at(scale));
        Some(Exponential {
            scale,
            zero_count: later.zero_count.checked_sub(earlier.zero_count)?,
            zero_threshold: later.zero_threshold,
            positive: buckets::minus(&later.positive, &earlier.positive)?,
            negative: buckets::minus(&later.negative, &earlier.negative)?,
        })
    }

    fn add(&mut self, more: &Exponential) {
        let scale = self.scale.min(more.scale);
        let (one, other) = (self.at(scale), more.at(scale));
        let by = buckets::downscale_for_sum(&one.positive, &other.positive)
            .max(buckets::downscale_for_sum(&one.negative, &other.negative));
        let scale = scale.saturating_sub_unsigned(by);
        let (mut sum, other) = (one.at(scale), other.at(scale));
        buckets::add(&mut sum.positive, &other.positive);
        buckets::add(&mut sum.negative, &other.negative);
        sum.zero_count = sum.zero_count.saturating_add(other.zero_count);
        *self = sum;
    }

    /// The same at a scale that is not above its own.
    fn at(&self, scale: i32) -> Exponential {
        // Past 33 there is one bucket left on each side of one: more changes nothing.
        let by = self.scale.abs_diff(scale).min(33);
        let mut same = self.clone();
        buckets::downscale(&mut same.positive, by);
        buckets::downscale(&mut same.negative, by);
        same.scale = scale;
        same
    }
}
