//! How long to wait before the next attempt. Pure; the randomness is the caller's.

use std::time::Duration;

/// Longest wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait at all, unless the destination asks for more.
const CAP: Duration = Duration::from_secs(30);
/// A shorter wait that a destination asks for is taken as none.
const TOLD_MIN: Duration = Duration::from_millis(100);
/// After a refused credential: somebody has to act, and each attempt is a line in somebody's audit.
pub(super) const REFUSED_WAIT: Duration = Duration::from_secs(60);

/// The wait after the `attempt`th failure in a row, from 1.
///
/// Exponential from 1 s to 30 s, and full jitter over the upper half also at the cap: collectors that failed together do
/// not come back together (reliability.md section 0 rule 9). `told` is what the destination asked for: never less,
/// with a tenth of jitter on top.
pub(crate) fn wait(attempt: u32, told: Option<Duration>, random: &mut fastrand::Rng) -> Duration {
    let cap = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(5)).min(CAP);
    let own = cap.mul_f64(0.5 + random.f64() / 2.0);
    match told {
        // "At once" and a time that has passed are no reason to be asked in a tight loop.
        Some(told) if told < TOLD_MIN => own,
        Some(told) => told + told.mul_f64(random.f64() / 10.0),
        None => own,
    }
}

/// [`REFUSED_WAIT`], give or take a tenth.
pub(super) fn refused_wait(random: &mut fastrand::Rng) -> Duration {
    REFUSED_WAIT.mul_f64(0.9 + random.f64() / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_differ_there() {
        let mut random = fastrand::Rng::with_seed(7);
        for (attempt, most) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (60, 30)] {
            let wait = wait(attempt, None, &mut random);
            let most = Duration::from_secs(most);
            assert!(wait >= most / 2 && wait <= most, "attempt {attempt}: {wait:?}");
        }
        let at_cap: std::collections::BTreeSet<_> = (0..50).map(|_| wait(60, None, &mut random)).collect();
        assert!(at_cap.len() > 40, "only {} different waits", at_cap.len());
    }

    #[test]
    fn what_the_destination_asks_for_is_never_undercut() {
        let mut random = fastrand::Rng::with_seed(7);
        let told = Duration::from_secs(90);
        assert!((0..50).all(|_| wait(1, Some(told), &mut random) >= told));
        assert!(wait(9, Some(Duration::ZERO), &mut random) >= CAP / 2, "no tight loop because it was told 0");
    }
}
