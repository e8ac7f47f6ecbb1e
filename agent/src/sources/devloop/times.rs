//! Times as DevLoop writes them (contracts/devloop.md section 6.10).
//!
//! Epoch seconds as floats in the database, RFC 3339 in lines, and `...+00:00Z`, which is neither. A time that cannot
//! be read is absent, never the epoch.

use std::time::Duration;

use muster::clock::WallTime;

/// Last second that is taken for a time: the end of the year 9999.
const EPOCH_SECONDS_MAX: f64 = 253_402_300_799.0;

/// How far ahead of our clock a stated time may be before it is taken for nonsense.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// Seconds since the epoch as a float.
pub(super) fn from_epoch_seconds(seconds: f64) -> Option<WallTime> {
    (seconds > 0.0 && seconds <= EPOCH_SECONDS_MAX).then(|| WallTime((seconds * 1e6).round() as u64))
}

/// RFC 3339, with `Z`, with an offset, or wrongly with both.
pub(super) fn from_text(text: &str) -> Option<WallTime> {
    let text = if text.ends_with("+00:00Z") { &text[..text.len() - 1] } else { text };
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(timestamp.as_microsecond()).ok().map(WallTime)
}

/// The time to state: the stated one unless it is absent or lies far in the future.
pub(in crate::sources) fn believable(stated: Option<WallTime>, now: WallTime) -> WallTime {
    match stated {
        Some(time) if !time.since(now).gt(&AHEAD_MAX) => time,
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_in_which_devloop_writes_a_time_is_read() {
        for text in ["2026-03-10T09:00:00Z", "2026-03-10T09:00:00.000000+00:00", "2026-03-10T09:00:00+00:00Z"]
        {
            assert_eq!(from_text(text), Some(WallTime(1_773_133_200_000_000)), "{text}");
        }
        assert_eq!(from_epoch_seconds(1_773_133_200.002), Some(WallTime(1_773_133_200_002_000)));
    }

    #[test]
    fn what_is_no_time_is_absent_and_a_far_future_becomes_now() {
        assert_eq!(from_text(""), None);
        assert_eq!(from_text("yesterday"), None);
        for seconds in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e18] {
            assert_eq!(from_epoch_seconds(seconds), None, "{seconds}");
        }
        let now = WallTime(1_773_133_200_000_000);
        assert_eq!(believable(from_text("2099-01-01T00:00:00+00:00"), now), now);
        assert_eq!(believable(None, now), now);
    }
}
