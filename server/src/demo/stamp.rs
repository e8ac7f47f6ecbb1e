//! The five ways in which the watched tools write a moment.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use muster::clock::WallTime;

/// `2026-02-20T12:00:00Z`: shell scripts.
pub(super) fn seconds_z(at: WallTime) -> String {
    timestamp(at).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-02-20T12:00:00.250000Z`: Loki Mode's stream parser and hooks.
pub(super) fn micros_z(at: WallTime) -> String {
    timestamp(at).strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// `2026-02-20T12:00:00.250000+00:00`: Python's aware `isoformat`.
pub(super) fn micros_offset(at: WallTime) -> String {
    timestamp(at).strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string()
}

/// `2026-02-20T13:00:00.250000` in the machine's zone: Python's naive `isoformat`; `between` is `T` or a space.
pub(super) fn local_naive(at: WallTime, between: char) -> String {
    let local = timestamp(at).to_zoned(TimeZone::system());
    format!("{}{between}{}", local.strftime("%Y-%m-%d"), local.strftime("%H:%M:%S.%6f"))
}

/// `20260220T120000Z`: inside Loki Mode's review ids.
pub(super) fn seconds_in_id(at: WallTime) -> String {
    timestamp(at).strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// `2026-02-20`.
pub(super) fn day(at: WallTime) -> String {
    timestamp(at).strftime("%Y-%m-%d").to_string()
}

/// `Fri Feb 20 12:00:00 UTC 2026`: `date` in a shell.
pub(super) fn shell_date(at: WallTime) -> String {
    timestamp(at).strftime("%a %b %e %H:%M:%S UTC %Y").to_string()
}

fn timestamp(at: WallTime) -> Timestamp {
    // A clock past year 9999 reads as the epoch: time is data and never stops the demo.
    i64::try_from(at.0)
        .ok()
        .and_then(|us| Timestamp::from_microsecond(us).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_in_the_real_files() {
        let at = WallTime(1_771_588_800_250_000);
        assert_eq!(seconds_z(at), "2026-02-20T12:00:00Z");
        assert_eq!(micros_z(at), "2026-02-20T12:00:00.250000Z");
        assert_eq!(micros_offset(at), "2026-02-20T12:00:00.250000+00:00");
        assert_eq!(seconds_in_id(at), "20260220T120000Z");
        assert_eq!(shell_date(at), "Fri Feb 20 12:00:00 UTC 2026");
        assert_eq!(local_naive(at, ' ').len(), "2026-02-20 12:00:00.250000".len());
        assert_eq!(seconds_z(WallTime(u64::MAX)), "1970-01-01T00:00:00Z");
    }
}
