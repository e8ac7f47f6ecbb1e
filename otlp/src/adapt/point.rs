//! The three kinds of points that have a temporality, seen alike.

use super::value::{Explicit, Exponential, Summed, Value};
use crate::proto::common::KeyValue;
use crate::proto::metrics::number_data_point::Value as Number;
use crate::proto::metrics::{
    DataPointFlags, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint,
};

/// Most buckets of a point that is added or taken away; another is invalid there. SDKs make 160, or a few dozen.
pub(super) const BUCKETS_MAX: usize = 4096;

/// A point with times, attributes and a value.
pub(super) trait Point {
    fn attributes(&self) -> &Vec<KeyValue>;
    fn attributes_mut(&mut self) -> &mut Vec<KeyValue>;
    fn flags(&self) -> u32;
    fn start(&self) -> u64;
    fn time(&self) -> u64;
    fn set_times(&mut self, start: u64, time: u64);
    /// Takes the value out; `None` when there is none, or one that cannot be.
    fn take(&mut self) -> Option<Value>;
    /// Puts a value of this kind in; another kind, which nothing makes, leaves the point empty.
    fn put(&mut self, value: Value);
    /// Whether its number, or its sum, is finite.
    fn is_finite(&self) -> bool;

    /// Whether it is only a mark that there is nothing.
    fn has_no_value(&self) -> bool {
        self.flags() & DataPointFlags::NoRecordedValueMask as u32 != 0
    }
}

macro_rules! shared_fields {
    () => {
        fn attributes(&self) -> &Vec<KeyValue> {
            &self.attributes
        }

        fn attributes_mut(&mut self) -> &mut Vec<KeyValue> {
            &mut self.attributes
        }

        fn flags(&self) -> u32 {
            self.flags
        }

        fn start(&self) -> u64 {
            self.start_time_unix_nano
        }

        fn time(&self) -> u64 {
            self.time_unix_nano
        }

        fn set_times(&mut self, start: u64, time: u64) {
            self.start_time_unix_nano = start;
            self.time_unix_nano = time;
        }
    };
}

impl Point for NumberDataPoint {
    shared_fields!();

    fn take(&mut self) -> Option<Value> {
        Some(match self.value.take()? {
            Number::AsInt(int) => Value::Int(int),
            Number::AsDouble(double) => Value::Double(double),
        })
    }

    fn put(&mut self, value: Value) {
        self.value = match value {
            Value::Int(int) => Some(Number::AsInt(int)),
            Value::Double(double) => Some(Number::AsDouble(double)),
            Value::Explicit(..) | Value::Exponential(..) => None,
        };
    }

    fn is_finite(&self) -> bool {
        !matches!(self.value, Some(Number::AsDouble(double)) if !double.is_finite())
    }
}

impl Point for HistogramDataPoint {
    shared_fields!();

    fn take(&mut self) -> Option<Value> {
        let bounds = std::mem::take(&mut self.explicit_bounds);
        let counts = std::mem::take(&mut self.bucket_counts);
        // No buckets at all, or one more than bounds.
        let fits = counts.len() == bounds.len() + 1 || (counts.is_empty() && bounds.is_empty());
        let summed = Summed { count: self.count, sum: self.sum, min: self.min, max: self.max };
        fits.then_some(Value::Explicit(summed, Explicit { bounds, counts }))
    }

    fn put(&mut self, value: Value) {
        if let Value::Explicit(summed, explicit) = value {
            Summed { count: self.count, sum: self.sum, min: self.min, max: self.max } = summed;
            self.explicit_bounds = explicit.bounds;
            self.bucket_counts = explicit.counts;
        }
    }

    fn is_finite(&self) -> bool {
        self.sum.is_none_or(f64::is_finite)
    }
}

impl Point for ExponentialHistogramDataPoint {
    shared_fields!();

    fn take(&mut self) -> Option<Value> {
        let summed = Summed { count: self.count, sum: self.sum, min: self.min, max: self.max };
        let exponential = Exponential {
            scale: self.scale,
            zero_count: self.zero_count,
            zero_threshold: self.zero_threshold,
            positive: self.positive.take().unwrap_or_default(),
            negative: self.negative.take().unwrap_or_default(),
        };
        Some(Value::Exponential(summed, exponential))
    }

    fn put(&mut self, value: Value) {
        if let Value::Exponential(summed, exponential) = value {
            Summed { count: self.count, sum: self.sum, min: self.min, max: self.max } = summed;
            self.scale = exponential.scale;
            self.zero_count = exponential.zero_count;
            self.zero_threshold = exponential.zero_threshold;
            self.positive = Some(exponential.positive);
            self.negative = Some(exponential.negative);
        }
    }

    fn is_finite(&self) -> bool {
        self.sum.is_none_or(f64::is_finite)
    }
}
