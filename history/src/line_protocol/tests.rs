use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::row::tests::{TestRow, Value, batch, text};

const NOW_US: i64 = 1_795_000_000_000_000;

fn lines(data_set: DataSet, detail: Detail, rows: &[TestRow]) -> Vec<String> {
    let batch = batch(data_set, rows);
    let rows = Rows::new(data_set, &batch).expect("rows");
    let mut encoder = LineEncoder::new(data_set, detail);
    let mut out = Vec::new();
    for row in 0..rows.len() {
        encoder.encode(&rows, row, &mut out).expect("a time that can be said");
    }
    String::from_utf8(out).expect("UTF-8").lines().map(str::to_owned).collect()
}

fn run(time_us: i64, worker: &str) -> TestRow {
    TestRow::from([
        ("time", Value::Integer(time_us)),
        ("team", text("platform")),
        ("worker", text(worker)),
        ("status", text("success")),
        ("duration_us", Value::Integer(1500)),
        ("session", text("s-1")),
        ("seq", Value::Integer(7)),
    ])
}

/// One line, read as InfluxDB reads it, by other means than those that wrote it.
#[derive(Debug, PartialEq)]
struct Point {
    series: BTreeMap<String, String>,
    fields: BTreeMap<String, String>,
    time_ns: i64,
}

fn parse(line: &str) -> Point {
    let (mut parts, mut at, mut is_quoted) = (vec![String::new()], 0, false);
    let chars: Vec<char> = line.chars().collect();
    while at < chars.len() {
        let last = parts.last_mut().expect("one at least");
        match chars[at] {
            '\\' if at + 1 < chars.len() => {
                last.extend(&chars[at..at + 2]);
                at += 1;
            }
            // A quote is one in fields alone.
            '"' => {
                last.push('"');
                is_quoted = parts.len() > 1 && !is_quoted;
            }
            ' ' if !is_quoted => parts.push(String::new()),
            c => last.push(c),
        }
        at += 1;
    }
    let [series, fields, time]: [String; 3] = parts.try_into().expect("three parts");
    let pairs = |text: &str, skip: usize| -> BTreeMap<String, String> {
        split(text, ',', skip == 0)
            .into_iter()
            .skip(skip)
            .map(|pair| {
                let pair = split(&pair, '=', skip == 0);
                assert_eq!(pair.len(), 2, "{pair:?} of {line}");
                (pair[0].clone(), pair[1].clone())
            })
            .collect()
    };
    Point { series: pairs(&series, 1), fields: pairs(&fields, 0), time_ns: time.parse().expect("a number") }
}

/// Parts between separators that are neither escaped nor quoted.
fn split(text: &str, separator: char, has_quotes: bool) -> Vec<String> {
    let (mut parts, mut is_escaped, mut is_quoted) = (vec![String::new()], false, false);
    for c in text.chars() {
        if c == separator && !is_escaped && !is_quoted {
            parts.push(String::new());
            continue;
        }
        if c == '"' && !is_escaped && has_quotes {
            is_quoted = !is_quoted;
        }
        is_escaped = c == '\\' && !is_escaped;
        parts.last_mut().expect("one at least").push(c);
    }
    parts
}

#[test]
fn a_run_is_a_line_of_sorted_tags_and_typed_fields() {
    let expected = "muster_runs,status=success,team=platform,worker=linter \
                    weight=1i,duration_us=1500i,replayed=false 1795000000000000000";
    assert_eq!(lines(DataSet::Runs, Detail::Figures, &[run(NOW_US, "linter")]), [expected]);
    let expected = "muster_runs,status=success,team=platform,worker=linter \
                    seq=7i,weight=1i,duration_us=1500i,session=\"s-1\",replayed=false 1795000000000000000";
    assert_eq!(lines(DataSet::Runs, Detail::All, &[run(NOW_US, "linter")]), [expected]);
}

#[test]
fn every_data_set_has_a_field_in_every_row_and_bounded_tags() {
    for set in DataSet::ALL {
        let line = &lines(set, Detail::Figures, &[TestRow::from([("time", Value::Integer(NOW_US))])])[0];
        assert!(parse(line).fields.contains_key("weight"), "{line}");
        let encoder = LineEncoder::new(set, Detail::All);
        let tags = encoder.columns.iter().filter(|placed| placed.place == Place::Tag);
        for tag in tags {
            let never = ["agent_id", "epoch", "seq", "session", "file", "attributes", "branch"];
            assert!(!never.contains(&tag.column.name), "{} would make a series a row", tag.column.name);
        }
    }
}

#[test]
fn texts_are_escaped_and_what_cannot_be_said_is_replaced() {
    let tag = |worker: &str| {
        let line = &lines(DataSet::Runs, Detail::Figures, &[run(NOW_US, worker)])[0];
        parse(line).series["worker"].clone()
    };
    assert_eq!(tag("a b,c=d"), r"a\ b\,c\=d");
    assert_eq!(tag("line\nbreak"), r"line\ break");
    assert_eq!(tag(r"DOMAIN\user"), r"DOMAIN\user");
    assert_eq!(tag(r"a\,b"), r"a/\,b");
    assert_eq!(tag(r"end\"), "end/");
    assert_eq!(tag(r"\\x"), r"/\x");
    assert_eq!(tag("\"quoted\" ünï 漢"), "\"quoted\"\\ ünï\\ 漢");
    let mut row = run(NOW_US, "w");
    row.insert("session", text("say \"hi\" \\ there\nnow"));
    let line = &lines(DataSet::Runs, Detail::All, &[row])[0];
    assert_eq!(parse(line).fields["session"], r#""say \"hi\" \\ there now""#);
}

#[test]
fn numbers_that_are_none_are_left_out() {
    let sample = |value| {
        TestRow::from([
            ("time", Value::Integer(NOW_US)),
            ("name", text("cpu_percent")),
            ("value", Value::Number(value)),
        ])
    };
    let written =
        lines(DataSet::Samples, Detail::Figures, &[sample(12.5), sample(f64::NAN), sample(f64::INFINITY)]);
    let values: Vec<_> = written.iter().map(|line| parse(line).fields.get("value").cloned()).collect();
    assert_eq!(values, [Some("12.5".to_owned()), None, None]);
}

#[test]
fn runs_of_the_same_worker_in_the_same_microsecond_are_points_of_their_own() {
    let rows: Vec<_> = (0..2500).map(|_| run(NOW_US, "linter")).chain([run(NOW_US, "tester")]).collect();
    let written = lines(DataSet::Runs, Detail::Figures, &rows);
    let points: BTreeSet<_> = written.iter().map(|line| parse(line)).map(|p| (p.series, p.time_ns)).collect();
    assert_eq!(points.len(), 2501);
    assert!(points.iter().all(|(_, time_ns)| time_ns / 1000 == NOW_US));
    let laps: BTreeSet<_> = points.iter().filter_map(|(series, _)| series.get("lap")).collect();
    assert_eq!(laps.len(), 2, "two laps beside the first");
    assert!(written[2500].ends_with("000"), "another worker's first run has number 0: {}", written[2500]);
}

#[test]
fn what_is_encoded_after_rows_that_were_passed_over_is_what_it_would_have_been() {
    let rows: Vec<_> = (0..30).map(|n| run(NOW_US + i64::from(n / 10), "linter")).collect();
    let whole = lines(DataSet::Runs, Detail::Figures, &rows);
    let batch = batch(DataSet::Runs, &rows);
    let rows = Rows::new(DataSet::Runs, &batch).expect("rows");
    for cut in 0..30 {
        let mut encoder = LineEncoder::new(DataSet::Runs, Detail::Figures);
        (0..cut).for_each(|row| encoder.pass_over(&rows, row));
        let mut out = Vec::new();
        for row in cut..30 {
            encoder.encode(&rows, row, &mut out).expect("encoded");
        }
        let rest: Vec<_> = String::from_utf8(out).expect("UTF-8").lines().map(str::to_owned).collect();
        assert_eq!(rest, whole[cut..], "from {cut}");
    }
}

#[test]
fn a_time_that_nanoseconds_cannot_hold_is_refused_and_leaves_no_half_line() {
    let rows = [run(-1, "w"), run(i64::MAX / 1000, "w"), run(i64::MAX, "w"), run(0, "w")];
    let batch = batch(DataSet::Runs, &rows);
    let rows = Rows::new(DataSet::Runs, &batch).expect("rows");
    let mut encoder = LineEncoder::new(DataSet::Runs, Detail::Figures);
    let mut out = Vec::new();
    for row in 0..3 {
        assert_eq!(encoder.encode(&rows, row, &mut out), Err(Unsayable { time_us: rows.time_us(row) }));
        assert!(out.is_empty());
    }
    encoder.encode(&rows, 3, &mut out).expect("the epoch itself");
    assert!(out.ends_with(b" 0\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the texts are: a line is one line, parts as it should, and no two rows are the same point.
    #[test]
    fn no_two_rows_are_the_same_point_whatever_their_texts(
        rows in prop::collection::vec((0i64..3, r#"[\\ ,="a\n😀]{0,6}"#, r#"[\\ ,=b\t]{0,3}"#, any::<i64>()), 1..60)
    ) {
        let mut rows = rows;
        rows.sort_by_key(|row| row.0);
        let made: Vec<_> = rows.iter().map(|(time, worker, model, duration)| {
            let mut row = run(NOW_US + time, worker);
            row.insert("model", text(model));
            row.insert("session", text(worker));
            row.insert("duration_us", Value::Integer(*duration));
            row
        }).collect();
        let written = lines(DataSet::Runs, Detail::All, &made);
        prop_assert_eq!(written.len(), rows.len());
        let mut points = BTreeSet::new();
        for (line, (time, _, _, duration)) in written.iter().zip(&rows) {
            let point = parse(line);
            prop_assert_eq!(point.time_ns / 1000, NOW_US + time);
            prop_assert_eq!(&point.fields["duration_us"], &format!("{duration}i"));
            prop_assert!(points.insert((point.series, point.time_ns)), "twice: {}", line);
        }
    }
}
