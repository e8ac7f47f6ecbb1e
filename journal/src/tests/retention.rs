//! What is deleted when, and what is not.

use std::sync::Arc;
use std::time::Duration;

use muster::clock::WallTime;

use super::support::*;
use crate::fs::SimFs;
use crate::{Config, GapReason, Journal, Position, Retention, SlowReader};

const DAY: Duration = Duration::from_secs(86_400);

fn retaining(bytes_max: Option<u64>, age_max: Option<Duration>, slow_reader: SlowReader) -> Config {
    let mut config = config();
    config.retention = Retention { age_max, bytes_max, slow_reader };
    config
}

#[test]
fn the_oldest_segments_go_when_there_are_too_many_bytes() {
    let fs = SimFs::new();
    let (journal, _) = open_with(&fs, retaining(Some(12 << 10), None, SlowReader::Keep));
    fill(&journal, 1..=200);
    journal.retain();
    let stats = journal.stats();
    assert!(stats.bytes <= 12 << 10 && stats.segments >= 2, "{stats:?}");
    assert_eq!(stats.dropped_by_retention, 0, "nobody was reading");
    let first = journal.first().0;
    let told = read(&journal, 0);
    assert_eq!(told.gaps, [(1, first - 1, GapReason::Retention)]);
    drop(journal);
    let (journal, recovery) = open_with(&fs, retaining(Some(12 << 10), None, SlowReader::Keep));
    assert_eq!((recovery.last, journal.first()), (Position(200), Position(first)));
}

#[test]
fn retention_waits_for_the_slowest_cursor() {
    let fs = SimFs::new();
    let (journal, _) = open_with(&fs, retaining(Some(8 << 10), None, SlowReader::Keep));
    let slow = journal.cursor("slow").unwrap();
    let fast = journal.cursor("fast").unwrap();
    fill(&journal, 1..=150);
    fast.advance(Position(150)).unwrap();
    assert_eq!(journal.retain().held_by_cursor, 1);
    assert_eq!(read(&journal, 0).positions.len(), 150);
    slow.advance(Position(70)).unwrap();
    let report = journal.retain();
    assert!(report.segments > 0 && report.dropped_unread == 0, "{report:?}");
    assert!(journal.first() <= Position(71));
    assert_eq!(read(&journal, 70).positions.len(), 80);
    drop((journal, slow, fast));
    // Known to retention before anybody claims it again.
    let (journal, _) = open_with(&fs, retaining(Some(8 << 10), None, SlowReader::Keep));
    assert_eq!(journal.retain().segments, 0);
    journal.remove_cursor("slow").unwrap();
    assert!(journal.retain().segments > 0);
}

#[test]
fn a_slow_reader_may_lose_the_oldest_and_then_both_sides_know_how_much() {
    let fs = SimFs::new();
    let (journal, _) = open_with(&fs, retaining(Some(8 << 10), None, SlowReader::DropOldest));
    let cursor = journal.cursor("sink").unwrap();
    fill(&journal, 1..=20);
    cursor.advance(Position(5)).unwrap();
    let mut reader = journal.reader(cursor.position());
    reader.read().unwrap();
    fill(&journal, 21..=200);
    journal.retain();
    let first = journal.first().0;
    assert_eq!(journal.stats().dropped_by_retention, first - 1 - 5);
    assert_eq!(read(&journal, 5).gaps, [(6, first - 1, GapReason::Retention)]);
    // One that was reading goes on, and is told what it missed.
    let rest: Vec<_> = reader.map(Result::unwrap).collect();
    let gap =
        crate::ReadItem::Gap { from: Position(7), to: Position(first - 1), reason: GapReason::Retention };
    assert!(rest.contains(&gap), "{:?}", &rest[..3]);
}

#[test]
fn age_deletes_what_is_old_by_both_clocks() {
    let fs = SimFs::new();
    let clock = clock();
    let config = retaining(None, Some(DAY), SlowReader::Keep);
    let (journal, _) = Journal::open(config, Arc::new(fs), Arc::new(clock.clone())).unwrap();
    fill(&journal, 1..=60);
    assert_eq!(journal.retain().segments, 0);
    clock.advance(DAY / 2);
    fill(&journal, 61..=100);
    clock.advance(DAY / 2 + Duration::from_secs(1));
    let report = journal.retain();
    assert!(report.segments > 0);
    let first = journal.first().0;
    assert!((40..=61).contains(&first), "the half-day-old ones stay: {first}");
    clock.advance(DAY);
    journal.retain();
    assert_eq!(journal.stats().segments, 1, "the active one always stays");
}

#[test]
fn a_jump_of_the_wall_clock_deletes_nothing() {
    let fs = SimFs::new();
    let clock = clock();
    let config = retaining(None, Some(DAY), SlowReader::Keep);
    let now = 1_700_000_000_000_000;
    let years = 10 * 365 * 86_400 * 1_000_000;
    let (journal, _) = Journal::open(config.clone(), Arc::new(fs.clone()), Arc::new(clock.clone())).unwrap();
    fill(&journal, 1..=60);
    for wall in [now + years, now - years, 0, u64::MAX, now] {
        clock.set_wall(WallTime(wall));
        assert_eq!(journal.retain().segments, 0, "{wall}");
    }
    drop(journal);
    // Nor does one while nothing ran, until the process has had time to see it set right.
    clock.set_wall(WallTime(now + years));
    let (journal, _) = Journal::open(config, Arc::new(fs), Arc::new(clock.clone())).unwrap();
    assert_eq!(journal.retain().segments, 0);
    clock.advance(Duration::from_secs(3601));
    assert!(journal.retain().segments > 0);
}
