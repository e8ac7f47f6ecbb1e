//! The tool's time stamps: ISO 8601 with seconds, milliseconds or microseconds, and `Z`, an offset, both, or neither.

use muster::clock::WallTime;

/// A parsed time stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The time; without a zone it is read as UTC.
    pub time: WallTime,
    /// Whether a zone was given. Python cannot compare one without.
    pub zoned: bool,
}

/// Parses a date and time. A date alone, a time before 1970 and anything else is `None`.
pub(super) fn parse(text: &str) -> Option<Stamp> {
    let text = text.trim().as_bytes();
    if text.len() < 16
        || text[4] != b'-'
        || text[7] != b'-'
        || !matches!(text[10], b'T' | b' ')
        || text[13] != b':'
    {
        return None;
    }
    let (year, month, day) = (number(&text[0..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute) = (number(&text[11..13])?, number(&text[14..16])?);
    if !(1..=12).contains(&month) || day < 1 || day > days_of_month(year, month) || hour > 23 || minute > 59 {
        return None;
    }
    let (second, micros, zone) = seconds(&text[16..])?;
    let (offset_s, zoned) = zone_offset(zone)?;
    let days = days_from_civil(year, month, day);
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset_s;
    let us = u64::try_from(seconds).ok()?.checked_mul(1_000_000)?.checked_add(micros)?;
    Some(Stamp { time: WallTime(us), zoned })
}

/// `:SS`, `:SS.ffffff` or nothing; answers seconds, microseconds and what follows.
fn seconds(text: &[u8]) -> Option<(i64, u64, &[u8])> {
    let Some(text) = text.strip_prefix(b":") else { return Some((0, 0, text)) };
    let second = number(text.get(..2)?)?;
    if second > 60 {
        return None;
    }
    let text = &text[2..];
    let Some(fraction) = text.strip_prefix(b".").or_else(|| text.strip_prefix(b",")) else {
        return Some((second, 0, text));
    };
    let len = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
    if len == 0 {
        return None;
    }
    let digits = fraction[..len].iter().chain(std::iter::repeat(&b'0')).take(6);
    let micros = digits.fold(0_u64, |micros, digit| micros * 10 + u64::from(digit - b'0'));
    Some((second, micros, &fraction[len..]))
}

/// `Z`, `+HH:MM`, `+HHMM`, `+HH`, one of them and a stray `Z`, or nothing.
fn zone_offset(text: &[u8]) -> Option<(i64, bool)> {
    let text = match text {
        b"" => return Some((0, false)),
        b"Z" | b"z" => return Some((0, true)),
        _ => text.strip_suffix(b"Z").unwrap_or(text),
    };
    let sign = match text.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = number(text.get(1..3)?)?;
    let minutes = match &text[3..] {
        [] => 0,
        [b':', minutes @ ..] | minutes if minutes.len() == 2 => number(minutes)?,
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some((sign * (hours * 3600 + minutes * 60), true))
}

fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, by counting years from March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_the_writers_use_is_read() {
        let noon = 1_771_588_800_000_000;
        for (text, us, zoned) in [
            ("2026-02-20T12:00:00Z", noon, true),
            ("2026-02-20T12:00:00.250Z", noon + 250_000, true),
            ("2026-02-20T12:00:00.000001+00:00", noon + 1, true),
            ("2026-02-20T14:00:00.5+02:00", noon + 500_000, true),
            ("2026-02-20T12:00:00.1234567Z", noon + 123_456, true),
            ("2026-02-20T12:00:00+00:00Z", noon, true),
            ("2026-02-20T05:00:00-0700", noon, true),
            ("2026-02-20 12:00:00", noon, false),
            ("2026-02-20T12:00", noon, false),
            ("1970-01-01T00:00:00Z", 0, true),
            ("2000-02-29T00:00:00Z", 951_782_400_000_000, true),
        ] {
            assert_eq!(parse(text), Some(Stamp { time: WallTime(us), zoned }), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "yesterday",
            "2026-02-20",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-02-20T24:00:00Z",
            "2026-02-20T12:00:00.Z",
            "2026-02-20T12:00:00 PM",
            "2026-02-20T12:00:00+1",
            "2026-02-20T12:00:0éZ",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
