//! Sums that stay exact.
//!
//! An [`Amount`] is a pair of doubles whose sum it stands for (about 106 bits): every 64-bit integer and every double is
//! one exactly, and so is nearly every difference of two of them. A counter that is made of increments reads as the
//! value that its source reports, not as that value and the dust of a thousand additions.

use metrics::exposition::Number;

/// Integers of at most this magnitude are written without an exponent.
const INTEGER_MAX: f64 = 9.3e18;

/// A sum.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Amount {
    high: f64,
    low: f64,
}

impl Amount {
    pub(super) const ZERO: Amount = Amount { high: 0.0, low: 0.0 };

    pub(super) fn integer(number: i64) -> Self {
        let high = number as f64;
        // Below 2^11 in magnitude, so exact.
        Self { high, low: (i128::from(number) - high as i128) as f64 }
    }

    pub(super) fn float(number: f64) -> Self {
        Self { high: number, low: 0.0 }
    }

    /// The pair, for snapshots.
    pub(super) fn parts(self) -> [f64; 2] {
        [self.high, self.low]
    }

    /// What [`Amount::parts`] gave.
    pub(super) fn of_parts([high, low]: [f64; 2]) -> Self {
        Self { high, low }
    }

    pub(super) fn is_finite(self) -> bool {
        self.high.is_finite() && self.low.is_finite()
    }

    pub(super) fn is_negative(self) -> bool {
        self.high < 0.0 || (self.high == 0.0 && self.low < 0.0)
    }

    /// The sum. One that would not be finite is left as it was: a total saturates.
    pub(super) fn plus(self, other: Self) -> Self {
        let (high, error) = two_sum(self.high, other.high);
        let (high, low) = two_sum(high, error + (self.low + other.low));
        if high.is_finite() && low.is_finite() { Self { high, low } } else { self }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.plus(Self { high: -other.high, low: -other.low })
    }

    /// As it stands on a page: a whole number without a fraction, else the nearest double.
    pub(super) fn number(self) -> Number {
        if self.high.fract() == 0.0 && self.low.fract() == 0.0 && self.high.abs() <= INTEGER_MAX {
            return Number::Integer((self.high as i128).saturating_add(self.low as i128));
        }
        Number::Float(self.high + self.low)
    }
}

/// The rounded sum and what rounding lost.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    (sum, (a - (sum - of_b)) + (b - of_b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_64_bits_add_up_exactly() {
        let sum = Amount::integer(i64::MAX).plus(Amount::integer(-1)).minus(Amount::integer(i64::MAX - 5));
        assert_eq!(sum.number(), Number::Integer(4));
        assert_eq!(Amount::integer(i64::MAX).number(), Number::Integer(i128::from(i64::MAX)));
        assert_eq!(Amount::integer(i64::MIN).number(), Number::Integer(i128::from(i64::MIN)));
    }

    #[test]
    fn increments_of_a_double_add_up_to_it() {
        let (mut total, mut last) = (Amount::ZERO, Amount::ZERO);
        for step in 1..1_000 {
            let now = Amount::float(0.001_3 * f64::from(step));
            total = total.plus(now.minus(last));
            last = now;
            assert_eq!(total.number(), Number::Float(0.001_3 * f64::from(step)), "step {step}");
        }
        let tenths = (0..10).fold(Amount::ZERO, |sum, _| sum.plus(Amount::float(0.1)));
        assert_eq!(tenths.number(), Number::Float(1.0));
    }

    #[test]
    fn a_sum_over_the_largest_double_stays_where_it_was() {
        let large = Amount::float(f64::MAX);
        assert_eq!(large.plus(large), large);
    }
}
