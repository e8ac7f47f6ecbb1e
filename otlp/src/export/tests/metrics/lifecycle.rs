//! What comes, what goes, and what survives a restart.

use muster::clock::Monotonic;
use muster::v1;
use muster::v1::event::Kind;
use std::time::Duration;

use super::super::super::StateError;
use super::*;

const LINES: &str = "loki_events_total{team=\"core\",user=\"dana\",host=\"laptop-17\",project=\"shop\"}";
const WATCHED: &str =
    "muster_files_watched{team=\"core\",user=\"dana\",host=\"laptop-17\",project=\"shop\",tool=\"loki\"}";
const HOUR: u64 = 3600;

fn lines(count: u64) -> v1::Batch {
    batch("loki", |_| {
        vec![
            Kind::LinesRecorded(v1::LinesRecorded { count }),
            Kind::FilesWatched(v1::FilesWatched { count: 9 }),
        ]
    })
}

fn hear(export: &mut MetricsExport, batch: &v1::Batch, seconds: u64) {
    let key = key();
    export.apply(&key.team, key.agent, batch, applied(seconds));
}

fn expire(export: &mut MetricsExport, seconds: u64) {
    export.expire(Monotonic(Duration::from_secs(seconds)));
}

#[test]
fn a_cut_that_is_repeated_is_the_same_bytes_and_a_committed_one_is_not_said_again() {
    let mut export = MetricsExport::new(Temporality::Delta);
    hear(&mut export, &batch("devloop", full), 60);
    let first = cut(&export, 60).expect("something was counted");
    let again = cut(&export, 60).expect("something was counted");
    assert_eq!(first.request, again.request);
    export.commit(first);
    let later = export.cut(applied(120).wall, |series| series.family.ends_with("_total"));
    assert!(later.is_none());
}

#[test]
fn what_came_after_a_cut_is_in_the_next_one_whenever_the_cut_is_committed() {
    let mut export = MetricsExport::new(Temporality::Delta);
    hear(&mut export, &lines(3), 0);
    let in_flight = cut(&export, 1).expect("new");
    hear(&mut export, &lines(4), 2);
    export.commit(in_flight);
    assert_eq!(value_of(&cut(&export, 3).expect("new"), LINES), Some(4.0));
    // It is given up: what it had comes with the next.
    hear(&mut export, &lines(5), 4);
    assert_eq!(value_of(&cut(&export, 5).expect("new"), LINES), Some(9.0));
}

#[test]
fn a_restored_export_cuts_the_same_bytes_and_then_waits_for_its_agents() {
    for temporality in [Temporality::Cumulative, Temporality::Delta] {
        let mut export = MetricsExport::new(temporality);
        hear(&mut export, &lines(3), 0);
        let first = cut(&export, 1).expect("new");
        export.commit(first);
        hear(&mut export, &lines(4), 2);
        let bytes = export.snapshot();
        let mut restored = MetricsExport::restore(temporality, &bytes).expect("what we write can be read");
        assert_eq!(restored.snapshot(), bytes);
        let (before, after) = (cut(&export, 3).expect("new"), cut(&restored, 3).expect("new"));
        assert_eq!(before.request, after.request);
        assert!(value_of(&after, WATCHED).is_some());
        restored.hear_nobody();
        let quiet = cut(&restored, 3).expect("counters");
        assert_eq!(value_of(&quiet, LINES), value_of(&before, LINES));
        assert_eq!(value_of(&quiet, WATCHED), None);
        let key = key();
        restored.heard(&key.team, key.agent, Monotonic(Duration::from_secs(3)));
        assert_eq!(value_of(&cut(&restored, 3).expect("new"), WATCHED), Some(9.0));
    }
}

#[test]
fn gauges_of_an_agent_that_is_not_heard_or_of_a_source_that_ended_are_not_sent() {
    let mut export = MetricsExport::new(Temporality::Cumulative);
    hear(&mut export, &lines(3), 0);
    expire(&mut export, 299);
    assert_eq!(value_of(&cut(&export, 299).expect("counters"), WATCHED), Some(9.0));
    expire(&mut export, 302);
    let silent = cut(&export, 302).expect("counters");
    assert_eq!((value_of(&silent, WATCHED), value_of(&silent, LINES)), (None, Some(3.0)));
    let key = key();
    export.heard(&key.team, key.agent, Monotonic(Duration::from_secs(310)));
    assert_eq!(value_of(&cut(&export, 310).expect("counters"), WATCHED), Some(9.0));
    hear(&mut export, &batch("loki", |_| vec![Kind::SourceEnded(v1::SourceEnded {})]), 320);
    assert_eq!(value_of(&cut(&export, 320).expect("counters"), WATCHED), None);
}

#[test]
fn a_counter_does_not_leave_before_its_last_number_was_taken() {
    for temporality in [Temporality::Cumulative, Temporality::Delta] {
        let mut export = MetricsExport::new(temporality);
        hear(&mut export, &lines(3), 0);
        expire(&mut export, 30 * HOUR);
        let late = cut(&export, 30 * HOUR).expect("it waited");
        assert_eq!(value_of(&late, LINES), Some(3.0));
        // While that was under way there was more, and then a day of nothing.
        hear(&mut export, &lines(4), 31 * HOUR);
        export.commit(late);
        expire(&mut export, 60 * HOUR);
        let last = cut(&export, 60 * HOUR).expect("it waited");
        let expected = if temporality == Temporality::Delta { 4.0 } else { 7.0 };
        assert_eq!(value_of(&last, LINES), Some(expected));
        export.commit(last);
        expire(&mut export, 61 * HOUR);
        assert!(cut(&export, 61 * HOUR).is_none(), "all was taken, so it could go");
        // It comes back as another series, which counts from 0.
        hear(&mut export, &lines(5), 62 * HOUR);
        assert_eq!(value_of(&cut(&export, 62 * HOUR).expect("new"), LINES), Some(5.0));
    }
}

#[test]
fn a_series_that_left_and_came_back_between_two_cuts_counts_from_0() {
    let mut export = MetricsExport::new(Temporality::Delta);
    hear(&mut export, &lines(7), 0);
    let first = cut(&export, 1).expect("new");
    export.commit(first);
    // A first commit at the second of the last event keeps the series, so there is one more.
    hear(&mut export, &batch("claude", |_| vec![Kind::LinesRecorded(v1::LinesRecorded { count: 1 })]), HOUR);
    let second = cut(&export, HOUR).expect("new");
    export.commit(second);
    expire(&mut export, 40 * HOUR);
    // The same event time as in its first life: a tool whose clock stands still.
    hear(&mut export, &lines(5), 41 * HOUR);
    assert_eq!(value_of(&cut(&export, 41 * HOUR).expect("new"), LINES), Some(5.0));
}

#[test]
fn a_family_that_settings_hide_keeps_its_count_for_when_it_is_shown() {
    const FOUND: &str =
        "devloop_files_changed_total{team=\"core\",user=\"dana\",host=\"laptop-17\",project=\"shop\"}";
    let disable = |names: &'static [&'static str]| {
        batch("devloop", |t| {
            let disabled_metrics = names.iter().map(|name| t(name)).collect();
            vec![
                Kind::FileActivity(v1::FileActivity { count: 2, ..Default::default() }),
                Kind::ToolSettings(v1::ToolSettings { disabled_metrics, sample_rate: 0.0 }),
            ]
        })
    };
    let mut export = MetricsExport::new(Temporality::Delta);
    let mut told = Vec::new();
    for (seconds, names) in [(0, &[][..]), (10, &["files_changed"]), (20, &["files_changed"]), (30, &[])] {
        hear(&mut export, &disable(names), seconds);
        let cut = cut(&export, seconds).expect("there is more than this family");
        told.push(value_of(&cut, FOUND));
        export.commit(cut);
    }
    assert_eq!(told, [Some(2.0), None, None, Some(6.0)]);
}

#[test]
fn bytes_that_are_no_state_are_refused_and_another_temporality_begins_anew() {
    let mut export = MetricsExport::new(Temporality::Delta);
    hear(&mut export, &lines(3), 0);
    let first = cut(&export, 1).expect("new");
    export.commit(first);
    let bytes = export.snapshot();
    let restore = |bytes: &[u8]| MetricsExport::restore(Temporality::Delta, bytes).map(|_| ());
    for cut in 0..bytes.len() {
        assert!(restore(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        assert!(restore(&damaged).is_err(), "damaged at {place}");
    }
    assert_eq!(restore(b"something else entirely"), Err(StateError::Foreign));
    let mut newer = bytes.clone();
    newer[8] = 9;
    assert_eq!(restore(&newer), Err(StateError::Version { found: 9 }));

    let cumulative = MetricsExport::restore(Temporality::Cumulative, &bytes).expect("the same aggregate");
    assert_eq!(value_of(&cut(&cumulative, 2).expect("all"), LINES), Some(3.0));
    let bytes = cumulative.snapshot();
    let delta = MetricsExport::restore(Temporality::Delta, &bytes).expect("the same aggregate");
    assert_eq!(value_of(&cut(&delta, 2).expect("all"), LINES), Some(3.0));
}
