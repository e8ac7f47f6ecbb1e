//! One quota of one sender: a bucket that fills at a rate. Pure: time is an argument.

use std::time::Duration;

use muster::clock::Monotonic;

/// What a bucket holds, in seconds of its rate: agents gather while they are away for a moment and send it at once.
pub const BURST_SECONDS: u64 = 5;

/// Who is refused comes back to a bucket with this much in it, in seconds of its rate, and so not for one batch alone.
const RETURN_SECONDS: f64 = 1.0;

/// A bucket; in debt when below zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bucket {
    level: f64,
    at: Monotonic,
}

impl Bucket {
    /// Full.
    pub(super) fn full(rate: Option<u64>, now: Monotonic) -> Self {
        Self { level: rate.map_or(0.0, |rate| (rate * BURST_SECONDS) as f64), at: now }
    }

    /// How long until there is room; `None`: there is. A rate that has changed counts from the last look on.
    pub(super) fn wait(&mut self, rate: Option<u64>, now: Monotonic) -> Option<Duration> {
        let Some(rate) = rate else {
            // Without a bound nothing is used.
            *self = Self { level: 0.0, at: now };
            return None;
        };
        let since = now.0.saturating_sub(self.at.0).as_secs_f64();
        let rate_f = rate as f64;
        self.level = (self.level + since * rate_f).min((rate * BURST_SECONDS) as f64);
        self.at = now;
        if self.level > 0.0 {
            return None;
        }
        Duration::try_from_secs_f64((RETURN_SECONDS * rate_f - self.level) / rate_f).ok()
    }

    /// Takes, into debt if need be.
    pub(super) fn take(&mut self, wanted: u64) {
        self.level -= wanted as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Monotonic {
        Monotonic(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn over_a_long_time_a_bucket_gives_its_rate_and_one_burst() {
        let (rate, mut taken) = (Some(100), 0);
        let mut bucket = Bucket::full(rate, at(0.0));
        for step in 0..100_000 {
            let now = at(f64::from(step) / 1_000.0);
            if bucket.wait(rate, now).is_none() {
                bucket.take(7);
                taken += 7;
            }
        }
        let most = 100 * 100 + 100 * BURST_SECONDS + 7;
        assert!((most - 20..=most).contains(&taken), "{taken} of {most}");
    }

    #[test]
    fn what_is_larger_than_the_bucket_is_taken_once_and_paid_for() {
        let rate = Some(10);
        let mut bucket = Bucket::full(rate, at(0.0));
        assert_eq!(bucket.wait(rate, at(0.0)), None);
        bucket.take(1_000);
        let wait = bucket.wait(rate, at(0.0)).expect("in debt");
        assert_eq!(wait, Duration::from_secs(96), "95 s of debt and one more");
        assert!(bucket.wait(rate, at(95.0)).is_some());
        assert_eq!(bucket.wait(rate, at(95.1)), None);
    }

    #[test]
    fn a_quota_that_is_lifted_leaves_no_debt() {
        let mut bucket = Bucket::full(Some(1), at(0.0));
        bucket.take(1_000_000);
        assert!(bucket.wait(Some(1), at(1.0)).is_some());
        assert_eq!(bucket.wait(None, at(1.0)), None);
        assert_eq!(bucket.wait(Some(1), at(2.0)), None);
    }
}
