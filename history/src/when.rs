//! Times as people write them: `24h ago`, `yesterday`, `2026-11-01 14:30 Europe/Berlin`.
//!
//! | text | is |
//! |---|---|
//! | `now` | the time it is |
//! | `30m ago`, `24h ago`, `7d ago`, `2w ago`, `1h30m ago`; without `ago` the same | that long before now; a day is 24 hours |
//! | `today`, `yesterday` | the beginning of that day in the zone |
//! | `2026-11-01` | the beginning of that day in the zone |
//! | `2026-11-01 14:30`, `today 14:30`, with seconds, with `T` for the space | that time by a clock of the zone |
//! | `2026-11-01T14:30:00Z`, `...+01:00` | RFC 3339: its own offset |
//! | any of them and ` UTC` or ` Europe/Berlin` | in that zone instead |
//!
//! Where a clock is put forward, a time that it never shows is as much later as the clock was put forward; where it is
//! put back, a time that it shows twice is the first one (RFC 5545). A day begins with its first moment, which is not
//! midnight everywhere. What is not understood is an error with examples: no text has a meaning by default.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use muster::clock::WallTime;

use crate::query::TimeRange;

/// What errors show.
pub const EXAMPLES: &str = "24h ago, 7d ago, yesterday, today, now, 2026-11-01, 2026-11-01 14:30, \
                            2026-11-01T14:30:00Z, 2026-11-01 14:30 Europe/Berlin";

/// Longest text that is looked at.
const TEXT_BYTES_MAX: usize = 128;

/// Why a text is no time, or two are no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// It is none of the forms.
    #[error("{text:?} is no time that is understood; write it like one of: {EXAMPLES}")]
    NotUnderstood {
        /// As it was given, cut.
        text: String,
    },
    /// It names a zone that this machine does not know.
    #[error(
        "time zone {zone:?} is not known here; write it as in Europe/Berlin or UTC, or an offset as in 2026-11-01T14:30:00+01:00"
    )]
    UnknownZone {
        /// The zone as it was given, cut.
        zone: String,
    },
    /// It is before 1970, or past what a time can be.
    #[error("{text:?} is before 1970 or after 9999; write a time like one of: {EXAMPLES}")]
    OutOfRange {
        /// As it was given, cut.
        text: String,
    },
    /// The start is not before the end.
    #[error("the start {start} is not before the end {end}: give an earlier start or a later end")]
    StartNotBeforeEnd {
        /// The start as text and time.
        start: String,
        /// The end as text and time.
        end: String,
    },
}

/// The time that `text` says, to the microsecond; `zone` is where local dates are meant.
pub fn parse(text: &str, now: WallTime, zone: &TimeZone) -> Result<WallTime, WhenError> {
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.len() > TEXT_BYTES_MAX {
        return Err(not_understood(text));
    }
    let (words, named) = split_zone(trimmed)?;
    let zone = named.as_ref().unwrap_or(zone);
    let found = ago(words, now)
        .or_else(|| instant(words))
        .or_else(|| local(words, now, zone))
        .ok_or_else(|| not_understood(text))?;
    found.ok_or_else(|| WhenError::OutOfRange { text: cut(text) })
}

/// The range from `start` up to `end`. Without an end it ends now.
pub fn range(start: &str, end: Option<&str>, now: WallTime, zone: &TimeZone) -> Result<TimeRange, WhenError> {
    let from = parse(start, now, zone)?;
    let to = end.map_or(Ok(now), |end| parse(end, now, zone))?;
    if from >= to {
        let told = |text: &str, time| format!("{} ({})", cut(text), rfc3339(time));
        return Err(WhenError::StartNotBeforeEnd {
            start: told(start, from),
            end: told(end.unwrap_or("now"), to),
        });
    }
    Ok(TimeRange { from, to })
}

/// The time as RFC 3339 in UTC, with as many digits of a second as it needs.
pub fn rfc3339(time: WallTime) -> String {
    match i64::try_from(time.0).ok().and_then(|us| Timestamp::from_microsecond(us).ok()) {
        Some(timestamp) => timestamp.to_string(),
        // Past the year 9999; no parser of ours makes one.
        None => format!("{} microseconds after 1970", time.0),
    }
}

/// `None`: the text has not this form. `Some(None)`: it has, but is no time that can be.
type Found = Option<Option<WallTime>>;

/// Takes a zone's name off the end.
fn split_zone(text: &str) -> Result<(&str, Option<TimeZone>), WhenError> {
    let Some((before, last)) = text.rsplit_once(char::is_whitespace) else { return Ok((text, None)) };
    if last.eq_ignore_ascii_case("utc") || last.eq_ignore_ascii_case("z") {
        return Ok((before.trim_end(), Some(TimeZone::UTC)));
    }
    // Only names with a slash: `ago` and `14:30` are no zones, and abbreviations mean different zones to different people.
    if !last.contains('/') {
        return Ok((text, None));
    }
    match TimeZone::get(last) {
        Ok(zone) => Ok((before.trim_end(), Some(zone))),
        Err(_) => Err(WhenError::UnknownZone { zone: cut(last) }),
    }
}

/// `now`, `24h ago`, `7d`.
fn ago(text: &str, now: WallTime) -> Found {
    if text.eq_ignore_ascii_case("now") {
        return Some(Some(now));
    }
    let is_ago = text.len() > 3 && text.is_char_boundary(text.len() - 3);
    let (before, last) = if is_ago { text.split_at(text.len() - 3) } else { (text, "") };
    let amount = if last.eq_ignore_ascii_case("ago") { before.trim_end() } else { text };
    let us = amount_us(amount)?;
    Some(us.and_then(|us| now.0.checked_sub(us)).map(WallTime))
}

/// `1h30m` in microseconds. `Some(None)`: longer than can be.
fn amount_us(text: &str) -> Option<Option<u64>> {
    let mut rest = text;
    let mut total = Some(0_u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        if number.is_empty() {
            return None;
        }
        let unit_us = unit_us(unit)?;
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_us));
        total = total.zip(part).and_then(|(total, part)| total.checked_add(part));
        rest = after.trim_start();
    }
    Some(total)
}

fn unit_us(unit: &str) -> Option<u64> {
    // Others write months so.
    if unit == "M" {
        return None;
    }
    let seconds = match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 604_800,
        _ => return None,
    };
    Some(seconds * 1_000_000)
}

/// RFC 3339 with an offset of its own, and maybe a zone in brackets (RFC 9557).
fn instant(text: &str) -> Found {
    if text.ends_with(']') {
        return Some(wall(text.parse::<jiff::Zoned>().ok()?.timestamp()));
    }
    Some(wall(text.parse::<Timestamp>().ok()?))
}

/// A date or a date and time by a clock of the zone.
fn local(text: &str, now: WallTime, zone: &TimeZone) -> Found {
    // `T` parts a date of digits from a time; `today` has one too.
    let at_t = |text: &str| text.as_bytes().get(10).is_some_and(|b| matches!(b, b'T' | b't'));
    let (date, time) = match text.split_once(char::is_whitespace) {
        Some((date, time)) => (date, Some(time.trim())),
        None if at_t(text) => (&text[..10], Some(&text[11..])),
        None => (text, None),
    };
    let date = day(date, now, zone)?;
    let Some(time) = time else {
        let start = date.to_zoned(zone.clone()).and_then(|zoned| zoned.start_of_day());
        return Some(start.ok().and_then(|zoned| wall(zoned.timestamp())));
    };
    // Only a clock: jiff would also take a time without colons, and pass over an offset or a zone after it.
    let is_clock = time.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
    if !is_clock || time.as_bytes().get(2) != Some(&b':') {
        return None;
    }
    let clock: jiff::civil::Time = time.parse().ok()?;
    let zoned = DateTime::from_parts(date, clock).to_zoned(zone.clone());
    Some(zoned.ok().and_then(|zoned| wall(zoned.timestamp())))
}

fn is_day_word(text: &str) -> bool {
    ["today", "yesterday"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn day(text: &str, now: WallTime, zone: &TimeZone) -> Option<Date> {
    if is_day_word(text) {
        let now = Timestamp::from_microsecond(i64::try_from(now.0).ok()?).ok()?;
        let today = now.to_zoned(zone.clone()).date();
        return if text.eq_ignore_ascii_case("today") { Some(today) } else { today.yesterday().ok() };
    }
    // Exactly `2026-11-01`: a date without dashes may as well be a number.
    let is_date = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    if is_date { text.parse().ok() } else { None }
}

fn wall(timestamp: Timestamp) -> Option<WallTime> {
    u64::try_from(timestamp.as_microsecond()).ok().map(WallTime)
}

fn not_understood(text: &str) -> WhenError {
    WhenError::NotUnderstood { text: cut(text) }
}

/// For a message: an error is no place for a long text.
fn cut(text: &str) -> String {
    text.trim().chars().take(60).collect()
}

#[cfg(test)]
mod tests;
