//! Microseconds since the epoch as RFC 3339, quickly: rows come in the order of their days.

use std::io::Write;

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;

/// Writes times; remembers the date of the one before.
#[derive(Debug)]
pub(super) struct Timestamps {
    day: Option<i64>,
    date: String,
}

impl Timestamps {
    pub(super) fn new() -> Self {
        Self { day: None, date: String::new() }
    }

    /// `2026-11-21T08:00:00.000123Z`, in 27 bytes for the years 0 to 9999. A time that no calendar has is written as its
    /// microseconds.
    pub(super) fn write(&mut self, us: i64, out: &mut Vec<u8>) {
        let (day, of_day) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
        if self.day != Some(day) {
            let Ok(time) = jiff::Timestamp::from_second(day * 86_400) else {
                // Writing to memory cannot fail.
                let _ = write!(out, "{us}");
                return;
            };
            self.date = time.strftime("%Y-%m-%dT").to_string();
            self.day = Some(day);
        }
        let seconds = of_day / SECOND_US;
        out.extend_from_slice(self.date.as_bytes());
        digits(seconds / 3_600, 2, out);
        out.push(b':');
        digits(seconds / 60 % 60, 2, out);
        out.push(b':');
        digits(seconds % 60, 2, out);
        out.push(b'.');
        digits(of_day % SECOND_US, 6, out);
        out.push(b'Z');
    }
}

/// The lowest `count` digits, with zeros before them.
fn digits(mut value: i64, count: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + count, b'0');
    for digit in out[start..].iter_mut().rev() {
        // `% 10` of what is not negative is one digit.
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Microseconds as milliseconds, exact: `245`, `245.5`, `-0.007`.
pub(super) fn write_milliseconds(us: i64, out: &mut Vec<u8>) {
    if us < 0 {
        out.push(b'-');
    }
    let (whole, rest) = (us.unsigned_abs() / 1_000, us.unsigned_abs() % 1_000);
    // Writing to memory cannot fail.
    let _ = write!(out, "{whole}");
    if rest > 0 {
        out.push(b'.');
        // Below a thousand.
        digits(rest as i64, 3, out);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(us: i64) -> String {
        let mut out = Vec::new();
        Timestamps::new().write(us, &mut out);
        String::from_utf8(out).expect("text")
    }

    fn milliseconds(us: i64) -> String {
        let mut out = Vec::new();
        write_milliseconds(us, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_time_has_six_digits_and_is_utc() {
        assert_eq!(told(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(told(1_795_000_000_000_123), "2026-11-18T11:06:40.000123Z");
        assert_eq!(told(-1), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn a_time_past_every_calendar_is_its_microseconds() {
        for us in [i64::MAX, i64::MIN] {
            assert_eq!(told(us), us.to_string());
        }
    }

    #[test]
    fn milliseconds_are_exact() {
        for (us, text) in [
            (0, "0"),
            (7, "0.007"),
            (245_000, "245"),
            (245_500, "245.5"),
            (245_010, "245.01"),
            (-7, "-0.007"),
            (i64::MAX, "9223372036854775.807"),
        ] {
            assert_eq!(milliseconds(us), text);
        }
    }
}
