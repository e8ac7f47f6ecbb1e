//! Which facts a sample rate below one keeps. Pure.
//!
//! The choice is made by a fact's own id, so it is the same after a restart, and a kept fact carries the weight of all
//! that it stands for. The rate is rounded to one in `weight`, so that weights add up to the true count on average.
//! Failures, errors, findings and everything that is worth money are never thinned: they do not ask.

/// Keeps one in `weight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sampling {
    weight: u32,
}

/// Smallest rate that is followed: below it the kept facts say nothing any more.
const RATE_MIN: f64 = 0.001;

impl Default for Sampling {
    fn default() -> Self {
        Self { weight: 1 }
    }
}

impl Sampling {
    /// Keeps about `rate` of all facts; all of them when there is none, or none between zero and one.
    pub(super) fn of_rate(rate: Option<f64>) -> Self {
        match rate {
            Some(rate) if rate > 0.0 && rate < 1.0 => {
                Self { weight: (1.0 / rate.max(RATE_MIN)).round() as u32 }
            }
            _ => Self::default(),
        }
    }

    /// The rate that is really followed; 0 when everything is kept, as `ToolSettings` has it.
    pub(super) fn rate(self) -> f64 {
        if self.weight <= 1 { 0.0 } else { 1.0 / f64::from(self.weight) }
    }

    /// The weight with which the fact of this id is stated; `None` when another one stands for it.
    pub(super) fn weight_of(self, id: u64) -> Option<u32> {
        // Not the id's low bits alone: an id may be a counter.
        let mixed =
            id.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (self.weight <= 1 || mixed.is_multiple_of(u64::from(self.weight))).then_some(self.weight.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_the_kept_add_up_to_about_all() {
        for rate in [0.5, 0.1, 0.3] {
            let sampling = Sampling::of_rate(Some(rate));
            let total: u64 = (0..20_000u64).filter_map(|id| sampling.weight_of(id)).map(u64::from).sum();
            assert!((18_500..21_500).contains(&total), "rate {rate}: {total} of 20000");
        }
    }

    #[test]
    fn without_a_sensible_rate_everything_is_kept_once() {
        for rate in [None, Some(1.0), Some(0.0), Some(-1.0), Some(f64::NAN), Some(7.0)] {
            let sampling = Sampling::of_rate(rate);
            assert!((0..100).all(|id| sampling.weight_of(id) == Some(1)), "{rate:?}");
        }
    }
}
