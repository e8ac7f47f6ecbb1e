//! Formats, numbers, and families of others.

use super::*;

#[test]
fn each_scraper_gets_the_format_that_it_asks_for() {
    let cases = [
        (None, Format::Text004),
        (Some(""), Format::Text004),
        (Some("*/*"), Format::Text004),
        (Some("text/html, */*;q=0.1"), Format::Text004),
        // Prometheus 3 (contracts/otlp.md section 3.2).
        (
            Some(
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ),
            Format::OpenMetrics100,
        ),
        // Prometheus 2.
        (
            Some(
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ),
            Format::OpenMetrics100,
        ),
        (Some("application/openmetrics-text"), Format::OpenMetrics100),
        (Some("Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8"), Format::OpenMetrics100),
        (Some("application/openmetrics-text;version=0.0.1"), Format::Text004),
        (Some("application/openmetrics-text;version=2.0.0,text/plain;q=0.5"), Format::Text004),
        (Some("application/openmetrics-text;q=0.3,text/plain;q=0.9"), Format::Text004),
        (Some("application/openmetrics-text;q=0"), Format::Text004),
        (Some("application/openmetrics-text;q=junk"), Format::Text004),
        (Some(";;;,,,=q"), Format::Text004),
    ];
    for (accept, format) in cases {
        assert_eq!(Format::negotiate(accept), format, "{accept:?}");
    }
}

fn written(push: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    push(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn numbers_are_exact_and_short() {
    for (millionths, text) in [
        (0, "0"),
        (1, "0.000001"),
        (1_250_000, "1.25"),
        (60_000_000, "60"),
        (u64::MAX, "18446744073709.551615"),
    ] {
        assert_eq!(written(|out| number::push_millionths(millionths, out)), text);
    }
    let floats = [
        (0.0, "0"),
        (-0.0, "0"),
        (2.5, "2.5"),
        (-3.0, "-3"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e300, "1e300"),
    ];
    for (float, text) in floats {
        assert_eq!(written(|out| number::push_float(float, out)), text);
    }
    for (float, text) in
        [(1.0, "1.0"), (0.25, "0.25"), (10_000.0, "10000.0"), (1e-5, "1.0e-05"), (2.5e20, "2.5e+20")]
    {
        assert_eq!(number::canonical_float(float), text);
    }
}

#[test]
fn a_bound_is_as_the_guide_writes_it_in_text_and_canonical_in_open_metrics() {
    assert_eq!(written(|out| number::push_scaled(100_000, 1_000, out)), "100");
    assert_eq!(written(|out| number::push_scaled_canonical(100_000, 1_000, out)), "100.0");
    assert_eq!(written(|out| number::push_scaled_canonical(10_000, 1_000_000, out)), "0.01");
}

const OWN: &str = r#"# HELP muster_journal_appends_total Batches appended
# TYPE muster_journal_appends_total counter
muster_journal_appends_total{result="ok"} 7
# HELP up_since Since when
# TYPE up_since gauge
up_since 1.5e9
# HELP odd_counter A counter without the suffix
# TYPE odd_counter counter
odd_counter 3 1771588800000
# HELP fsync_seconds Time of "fsync"
# TYPE fsync_seconds histogram
fsync_seconds_bucket{disk="a,le=\"1\"",le="1"} 2
fsync_seconds_bucket{disk="a,le=\"1\"",le="+Inf"} 3
fsync_seconds_sum{disk="a,le=\"1\""} 2.5
fsync_seconds_count{disk="a,le=\"1\""} 3
untyped_thing{x="}"} 4
"#;

fn merged(page: &str, format: Format) -> (String, MergeReport) {
    let mut out = Vec::new();
    let report = merge_text(page, format, |_| true, &mut out);
    (String::from_utf8(out).expect("UTF-8"), report)
}

#[test]
fn families_of_others_pass_through_as_text() {
    let (page, report) = merged(OWN, Format::Text004);
    let expected = OWN
        .replace(" 1771588800000", "")
        .replace("untyped_thing{", "# TYPE untyped_thing untyped\nuntyped_thing{");
    assert_eq!(page, expected);
    assert_eq!(report, MergeReport { families: 5, families_dropped: 0, samples_dropped: 0 });
}

#[test]
fn families_of_others_become_open_metrics() {
    let (page, _) = merged(OWN, Format::OpenMetrics100);
    let expected = r#"# HELP muster_journal_appends Batches appended
# TYPE muster_journal_appends counter
muster_journal_appends_total{result="ok"} 7
# HELP up_since Since when
# TYPE up_since gauge
up_since 1.5e9
# HELP odd_counter A counter without the suffix
# TYPE odd_counter unknown
odd_counter 3
# HELP fsync_seconds Time of \"fsync\"
# TYPE fsync_seconds histogram
fsync_seconds_bucket{disk="a,le=\"1\"",le="1.0"} 2
fsync_seconds_bucket{disk="a,le=\"1\"",le="+Inf"} 3
fsync_seconds_sum{disk="a,le=\"1\""} 2.5
fsync_seconds_count{disk="a,le=\"1\""} 3
# TYPE untyped_thing unknown
untyped_thing{x="}"} 4
"#;
    assert_eq!(page, expected);
}

#[test]
fn what_would_break_the_page_is_left_out_and_counted() {
    let page = "# TYPE loki_cost_usd gauge\nloki_cost_usd 1\n\
                # TYPE a_total counter\na_total 1\n\
                # TYPE b gauge\nb 1\n\
                # TYPE a_total counter\na_total 2\n\
                # TYPE c_total counter\nc_total -1\nc_total NaN\n\
                # TYPE d gauge\nd{broken 1\nd\n9d 1\nd one\nd 5\n# a comment\n\n";
    let (text, report) = merged(page, Format::Text004);
    assert_eq!(text, "# TYPE a_total counter\na_total 1\n# TYPE b gauge\nb 1\n# TYPE d gauge\nd 5\n");
    assert_eq!(report, MergeReport { families: 3, families_dropped: 2, samples_dropped: 6 });
}

#[test]
fn a_family_that_is_not_wanted_is_not_there() {
    let mut out = Vec::new();
    let report = merge_text(OWN, Format::Text004, |family| family.is_named("fsync_seconds_sum"), &mut out);
    assert_eq!(report.families, 1);
    assert!(String::from_utf8(out).expect("UTF-8").starts_with("# HELP fsync_seconds "));
}

proptest::proptest! {
    /// Whatever a registry says, the merge neither panics nor lets a line through that is no line.
    #[test]
    fn any_text_can_be_merged(page in "([a-z_#{}=\",\\\\ \n+.0-9eTYPHELcounter]|# TYPE a histogram\n|a_bucket){0,80}") {
        for format in [Format::Text004, Format::OpenMetrics100] {
            let (text, _) = merged(&page, format);
            for line in text.lines() {
                proptest::prop_assert!(line.starts_with('#') || line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok()), "{:?}", line);
            }
        }
    }

    /// A label value never ends its quotes or its line, and is stable.
    #[test]
    fn an_escaped_label_stays_within_its_quotes(text in ".{0,200}") {
        let escaped = label_value(&text);
        let mut backslashes = 0;
        for character in escaped.chars() {
            proptest::prop_assert!(!character.is_control());
            proptest::prop_assert!(character != '"' || backslashes % 2 == 1);
            backslashes = if character == '\\' { backslashes + 1 } else { 0 };
        }
        proptest::prop_assert!(backslashes % 2 == 0);
    }
}
