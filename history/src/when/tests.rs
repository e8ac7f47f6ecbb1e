use proptest::prelude::*;

use super::*;

/// 2026-11-22 00:36:36.123456 UTC.
const NOW: WallTime = WallTime(1_795_307_796_123_456);

fn berlin() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

fn at(text: &str) -> WallTime {
    wall(text.parse::<Timestamp>().unwrap()).unwrap()
}

fn utc(text: &str) -> Result<WallTime, WhenError> {
    parse(text, NOW, &TimeZone::UTC)
}

#[test]
fn an_age_is_counted_back_from_now_with_and_without_ago() {
    let hour = 3_600_000_000;
    for (text, hours) in [
        ("24h ago", 24),
        ("24h", 24),
        ("7d ago", 7 * 24),
        ("7d", 7 * 24),
        (" 2 Weeks  AGO ", 2 * 7 * 24),
        ("1 hour ago", 1),
        ("60min", 1),
        ("1h 60m ago", 2),
        ("0h", 0),
        ("now", 0),
        ("24h ago Europe/Berlin", 24),
    ] {
        assert_eq!(utc(text), Ok(WallTime(NOW.0 - hours * hour)), "{text:?}");
    }
    assert_eq!(utc("30m ago"), Ok(WallTime(NOW.0 - hour / 2)));
    assert_eq!(utc("90s"), Ok(WallTime(NOW.0 - 90_000_000)));
}

#[test]
fn days_begin_where_the_zone_says() {
    for (text, instant) in [
        ("today", "2026-11-21T23:00:00Z"),
        ("yesterday", "2026-11-20T23:00:00Z"),
        ("Yesterday 14:30", "2026-11-21T13:30:00Z"),
        ("2026-11-01", "2026-10-31T23:00:00Z"),
        ("2026-11-01 14:30", "2026-11-01T13:30:00Z"),
        ("2026-11-01T14:30", "2026-11-01T13:30:00Z"),
        ("2026-11-01 14:30:15.5", "2026-11-01T13:30:15.5Z"),
        ("2026-07-01 14:30", "2026-07-01T12:30:00Z"),
        ("2026-11-01 14:30 UTC", "2026-11-01T14:30:00Z"),
        ("2026-11-01 14:30 America/New_York", "2026-11-01T19:30:00Z"),
        ("today UTC", "2026-11-22T00:00:00Z"),
        ("2026-11-01T14:30:00Z", "2026-11-01T14:30:00Z"),
        ("2026-11-01 14:30:00+05:30", "2026-11-01T09:00:00Z"),
        ("2026-11-01T14:30:00+01:00[Europe/Berlin]", "2026-11-01T13:30:00Z"),
    ] {
        assert_eq!(parse(text, NOW, &berlin()), Ok(at(instant)), "{text:?}");
    }
}

#[test]
fn a_day_on_which_the_clock_is_changed_has_23_or_25_hours() {
    let hours = |from: &str, to: &str| {
        let [from, to] = [from, to].map(|text| parse(text, NOW, &berlin()).unwrap());
        (to.0 - from.0) / 3_600_000_000
    };
    assert_eq!(hours("2026-03-29", "2026-03-30"), 23);
    assert_eq!(hours("2026-10-25", "2026-10-26"), 25);
    // A time that the clock never showed is as much later as it was put forward; the first of two is taken.
    assert_eq!(parse("2026-03-29 02:30", NOW, &berlin()), Ok(at("2026-03-29T01:30:00Z")));
    assert_eq!(parse("2026-10-25 02:30", NOW, &berlin()), Ok(at("2026-10-25T00:30:00Z")));
}

#[test]
fn a_day_without_a_midnight_begins_with_its_first_moment() {
    // In Beirut the clock goes from 24:00 to 01:00.
    assert_eq!(utc("2026-03-29 Asia/Beirut"), Ok(at("2026-03-28T22:00:00Z")));
    assert_eq!(utc("2026-03-29 01:00 Asia/Beirut"), Ok(at("2026-03-28T22:00:00Z")));
}

#[test]
fn what_is_not_understood_is_an_error_with_examples() {
    for text in [
        "",
        " ",
        "soon",
        "24",
        "ago",
        "h ago",
        "24x ago",
        "-24h",
        "1.5h",
        "tomorrow",
        "last week",
        "2026",
        "20261101",
        "2026-13-01",
        "2026-02-30",
        "2026-11-01 25:00",
        "2026-11-01 1430",
        "11/01/2026 x",
        "2026-11-01 14:30 CET",
        "2026-11-01T14:30:00X",
        "today yesterday",
        "yesterday ago",
        "ﬁ",
        "1h ago ago",
        "1h and 5m",
        "1M",
        "today 14:30+02:00",
        "yesterday 08:00-05:00",
        "today 14:30Z",
        "2026-11-01T14:30[Europe/Berln]",
        "2026-11-01T14:30-05:00[Europe/Berlin]",
    ] {
        let error = utc(text).expect_err(text);
        assert!(matches!(error, WhenError::NotUnderstood { .. }), "{text:?}: {error}");
        assert!(error.to_string().contains("24h ago"), "{error}");
    }
    assert!(matches!(utc(&"9".repeat(1000)), Err(WhenError::NotUnderstood { .. })));
}

#[test]
fn an_unknown_zone_and_a_time_that_cannot_be_are_told_apart() {
    assert_eq!(
        utc("2026-11-01 Europe/Berlyn"),
        Err(WhenError::UnknownZone { zone: "Europe/Berlyn".to_owned() })
    );
    for text in
        ["1960-01-01", "1969-12-31T23:59:59Z", "9000w ago", "99999999999999999999h", "99999999999999999w"]
    {
        assert!(matches!(utc(text), Err(WhenError::OutOfRange { .. })), "{text:?}: {:?}", utc(text));
    }
}

#[test]
fn a_range_must_begin_before_it_ends_and_says_both() {
    let range = |start, end| range(start, end, NOW, &TimeZone::UTC);
    let day = range("2026-11-01", Some("2026-11-02")).unwrap();
    assert_eq!(day.to.0 - day.from.0, 86_400_000_000);
    assert_eq!(range("24h ago", None).unwrap().to, NOW);
    let error = range("2026-11-02", Some("yesterday 00:00")).map(|_| ());
    assert_eq!(error, Ok(()));
    for (start, end) in [("2026-11-02", Some("2026-11-01")), ("now", None), ("today", Some("today"))] {
        let error = range(start, end).unwrap_err().to_string();
        assert!(error.contains(start) && error.contains(end.unwrap_or("now")), "{error}");
        assert!(error.contains("2026-11-"), "{error}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(us in 0..253_402_300_799_000_000_u64) {
        let zones = [TimeZone::UTC, berlin()];
        for zone in zones {
            prop_assert_eq!(parse(&rfc3339(WallTime(us)), NOW, &zone), Ok(WallTime(us)));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}") {
        let _ = utc(&text);
    }

    #[test]
    fn nothing_near_a_time_makes_it_panic(text in "(today|yesterday|[0-9]{1,4}|2026-[0-9]{2}-[0-9]{2})?[ T]?([0-9]{1,2}:?){0,3}(Z| UTC| Europe/Berlin|[hdwms])?( ago)?") {
        let _ = parse(&text, NOW, &berlin());
    }

    #[test]
    fn a_local_time_of_every_day_is_within_a_day_of_the_same_in_utc(days in 0_i32..20_000, minutes in 0_i64..1440) {
        let date = jiff::civil::date(1971, 1, 1).saturating_add(jiff::Span::new().days(days));
        let text = format!("{date} {:02}:{:02}", minutes / 60, minutes % 60);
        let (local, utc) = (parse(&text, NOW, &berlin()).unwrap(), utc(&text).unwrap());
        let hours = utc.0.abs_diff(local.0) as f64 / 3.6e9;
        prop_assert!((0.0..=2.0).contains(&hours), "{} {}", text, hours);
    }
}
