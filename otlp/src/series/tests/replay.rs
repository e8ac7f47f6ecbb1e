//! Snapshots, replays, and an oracle.

use std::collections::BTreeMap;

use metrics::Format;
use proptest::prelude::*;

use super::Bench;
use super::payload::{NOON, Resource, SECOND, at, gauge, histogram_at, key_values, resource};
use crate::proto::metrics::AggregationTemporality::{Cumulative, Delta};
use crate::proto::metrics::SummaryDataPoint;
use crate::series::{ForeignConfig, ForeignSeries};

const T0: u64 = NOON - 3_600 * SECOND;

/// Something of every kind.
fn everything(step: u64) -> Resource {
    let time = T0 + (step + 1) * SECOND;
    let value = step as f64 + 0.5;
    let session = (step % 3).to_string();
    let point = |start| at(start, time, value).attributes(&[("session.id", &session), ("model", "opus")]);
    let mut histogram = histogram_at(T0, time, &[step, step + 1, 2], &[0.5, 1.0 + (step % 2) as f64], value);
    histogram.attributes = key_values(&[("session.id", &session)]);
    let summary = SummaryDataPoint { time_unix_nano: time, count: step, sum: value, ..Default::default() };
    resource(&[("service.name", "tool"), ("service.instance.id", "i"), ("os.type", "linux")])
        .scope("scope", "1")
        .sum("deltas", "By", vec![point(time - SECOND)])
        .sum_of("count", "", Cumulative, true, vec![point(T0)])
        .sum_of("level", "", Cumulative, false, vec![point(T0)])
        .gauge("gauge", "1", vec![point(0)])
        .histogram("cumulative", Cumulative, vec![histogram.clone()])
        .histogram("delta", Delta, vec![histogram])
        .summary("summary", vec![summary])
}

#[test]
fn a_replay_and_restarts_anywhere_give_the_same_page() {
    let (mut plain, mut restarted) = (Bench::new(), Bench::new());
    for step in 0..20 {
        let team = if step % 4 == 0 { "red" } else { "core" };
        plain.send_as(team, everything(step));
        restarted.send_as(team, everything(step));
        restarted.restart();
        assert_eq!(restarted.series.stats(), plain.series.stats());
        for format in [Format::Text004, Format::OpenMetrics100] {
            assert_eq!(restarted.page(format), plain.page(format));
        }
    }
}

#[test]
fn a_family_is_one_block_and_every_line_is_a_sample_or_a_comment() {
    let mut bench = Bench::new();
    for step in 0..5 {
        bench.send_as(if step % 2 == 0 { "red" } else { "core" }, everything(step));
    }
    for format in [Format::Text004, Format::OpenMetrics100] {
        let page = bench.page(format);
        let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let mut names: Vec<&str> = types.collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{page}");
        let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        let mut unique: Vec<&str> =
            samples.iter().filter_map(|line| line.rsplit_once(' ')).map(|s| s.0).collect();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), samples.len(), "{page}");
    }
}

#[test]
fn no_damage_to_a_snapshot_makes_a_panic() {
    let mut bench = Bench::new();
    (0..4).for_each(|step| bench.send(everything(step)));
    let whole = bench.series.snapshot();
    let restore = |bytes: &[u8]| ForeignSeries::restore(ForeignConfig::default(), bytes);
    assert!(restore(&[]).is_err() && restore(b"MUSTFOR1").is_err());
    for at in (0..whole.len()).step_by(3) {
        assert!(restore(&whole[..at]).is_err(), "cut at {at}");
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(restore(&damaged).is_err(), "bit at {at}");
        // With a checksum that is right, the content alone must not make it panic, nor what is done with it later.
        for byte in [0_u8, 1, 0x7f, 0xff] {
            let mut forged = whole.clone();
            forged[at] = byte;
            let end = forged.len() - 4;
            let checksum = crc32c::crc32c(&forged[..end]);
            forged[end..].copy_from_slice(&checksum.to_le_bytes());
            if let Ok(series) = restore(&forged) {
                let mut forged = Bench { series, ..Bench::new() };
                forged.page(Format::OpenMetrics100);
                forged.send(everything(9));
                forged.sleep(90_000);
            }
        }
    }
}

/// What can happen to a stream.
#[derive(Debug, Clone)]
enum Step {
    /// A session counts some more, and sends it as a delta or as its whole.
    Count { session: u8, by: u32, is_double: bool },
    /// A session's process starts anew.
    Reset { session: u8 },
    /// The last payload of all is delivered again.
    Again,
    /// The collector restarts.
    Restart,
    /// A gauge is set.
    Gauge { room: u8, to: i32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_u8, 0..1_000_000_u32, any::<bool>())
            .prop_map(|(session, by, is_double)| Step::Count { session, by, is_double }),
        1 => (0..4_u8).prop_map(|session| Step::Reset { session }),
        1 => Just(Step::Again),
        1 => Just(Step::Restart),
        2 => (0..3_u8, any::<i32>()).prop_map(|(room, to)| Step::Gauge { room, to }),
    ]
}

#[derive(Clone, Copy, Default)]
struct Session {
    start: u64,
    count: u64,
}

/// The payload of a session's count: all of it, and what is new.
fn counted(session: u8, state: Session, by: u32, time: u64, is_double: bool) -> Resource {
    let id = session.to_string();
    let number = |start: u64, value: u64| {
        let mut point = at(start, time, value as f64).attributes(&[("session.id", &id)]);
        if !is_double {
            point.0.value = Some(crate::proto::metrics::number_data_point::Value::AsInt(
                i64::try_from(value).expect("small"),
            ));
        }
        point
    };
    let mut histogram = histogram_at(state.start, time, &[state.count, 0], &[1.0], 0.0);
    histogram.attributes = key_values(&[("session.id", &id)]);
    resource(&[])
        .sum("delta", "", vec![number(time - 1, u64::from(by))])
        .sum_of("whole", "", Cumulative, true, vec![number(state.start, state.count)])
        .histogram("whole_histogram", Cumulative, vec![histogram])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_series_are_what_was_counted(steps in proptest::collection::vec(step(), 1..80)) {
        let mut bench = Bench::new();
        let mut sessions = [Session { start: T0, count: 0 }; 4];
        let (mut total, mut last, mut sent) = (0_u64, None::<Resource>, false);
        let mut rooms: BTreeMap<u8, i32> = BTreeMap::new();
        for (index, step) in steps.into_iter().enumerate() {
            let time = T0 + (index as u64 + 1) * SECOND;
            match step {
                Step::Count { session, by, is_double } => {
                    let state = &mut sessions[usize::from(session)];
                    state.count += u64::from(by);
                    total += u64::from(by);
                    let payload = counted(session, *state, by, time, is_double);
                    (last, sent) = (Some(payload.clone()), true);
                    bench.send(payload);
                }
                Step::Reset { session } => sessions[usize::from(session)] = Session { start: time - 1, count: 0 },
                Step::Again => last.iter().for_each(|payload| bench.send(payload.clone())),
                Step::Restart => bench.restart(),
                Step::Gauge { room, to } => {
                    rooms.insert(room, to);
                    let mut point = gauge(f64::from(to)).attributes(&[("room", &room.to_string())]);
                    point.0.time_unix_nano = time;
                    bench.send(resource(&[]).gauge("room", "", vec![point]));
                }
            }
        }
        let mut expected = Vec::new();
        if sent {
            expected.push(format!("delta_total {total}"));
        }
        expected.extend(rooms.iter().map(|(room, to)| format!("room{{room=\"{room}\"}} {to}")));
        if sent {
            for sample in ["bucket{le=\"1\"}", "bucket{le=\"+Inf\"}"] {
                expected.push(format!("whole_histogram_seconds_{sample} {total}"));
            }
            expected.push("whole_histogram_seconds_sum 0".to_owned());
            expected.push(format!("whole_histogram_seconds_count {total}"));
            expected.push(format!("whole_total {total}"));
        }
        prop_assert_eq!(bench.samples(), expected);
    }
}
