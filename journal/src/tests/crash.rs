//! Scenario: the power goes at any operation, and what was not synced reaches the disk or does not, in any order, in
//! whole or in sectors. Guarantees: opening works; what was acknowledged is there; nothing else than what was
//! appended is; a unit is whole or absent; a cursor is where it was or where it was going.

use super::support::*;
use crate::fs::{CrashChoice, Fault, OpKind, SimFs, Trigger};
use crate::{AppendError, GapReason, Position, Retention};

/// What the caller was told, each with how many operations had happened by then.
#[derive(Default)]
struct Told {
    acknowledged: Vec<(u64, usize)>,
    units: Vec<(u64, u64)>,
    cursor: Vec<(u64, usize)>,
}

fn small() -> crate::Config {
    let mut config = config();
    config.retention = Retention { bytes_max: Some(12 << 10), ..Retention::default() };
    config.reserve_bytes = 512;
    config
}

/// Appends over several segments, alone and in units, moves a cursor, closes, opens, and appends more.
fn history(fs: &SimFs) -> Told {
    let mut told = Told::default();
    let mut next = 1;
    for _life in 0..2 {
        let (journal, _) = open_with(fs, small());
        let cursor = journal.cursor("sink").unwrap();
        for step in 0..14 {
            let count = 1 + step % 4;
            let unit: Vec<_> = (next..next + count).map(record).collect();
            let last = journal.commit(unit).unwrap().0;
            told.units.push((next, last));
            told.acknowledged.push((last, fs.operations()));
            next = last + 1;
            if step % 5 == 4 {
                cursor.advance(Position(last - 1)).unwrap();
                told.cursor.push((last - 1, fs.operations()));
            }
        }
        journal.retain();
    }
    told
}

fn check(told: &Told, crashed: &SimFs, prefix: usize, what: &str) {
    let acknowledged =
        told.acknowledged.iter().filter(|ack| ack.1 <= prefix).map(|ack| ack.0).max().unwrap_or(0);
    let cursor_least = told.cursor.iter().filter(|ack| ack.1 <= prefix).map(|ack| ack.0).max().unwrap_or(0);
    let (journal, recovery) = open_with(crashed, small());
    let durable = journal.durable().0;
    assert!(durable >= acknowledged, "{what}: {acknowledged} was acknowledged: {recovery:?}");
    assert!(recovery.skipped_to.is_none(), "{what}: {recovery:?}");
    let read = read(&journal, 0);
    let all_gone_are_old = read.gaps.iter().all(|gap| gap.0 == 1 && gap.2 == GapReason::Retention);
    assert!(all_gone_are_old, "{what}: {:?} {recovery:?}", read.gaps);
    assert!(
        told.units.iter().any(|unit| unit.1 == durable) || durable == 0,
        "{what}: {durable} is within a unit"
    );
    let cursor = journal.cursor("sink").unwrap();
    assert!(cursor.position().0 >= cursor_least && cursor.position().0 <= durable, "{what}");
    assert!(
        recovery.cursors_damaged.is_empty() || prefix < 40 || cursor.position().0 >= cursor_least,
        "{what}"
    );
    // It goes on, and what it repaired stays repaired.
    fill(&journal, durable + 1..=durable + 2);
    drop(journal);
    let (journal, _) = open_with(crashed, small());
    assert_eq!(journal.durable().0, durable + 2, "{what}");
    super::support::read(&journal, 0);
}

#[test]
fn after_a_crash_anywhere_everything_acknowledged_is_there_and_nothing_else() {
    let fs = SimFs::new();
    let start = fs.copy();
    fs.record();
    let told = history(&fs);
    let operations = fs.operations();
    assert!(operations > 100, "{operations}");
    for prefix in 0..=operations {
        // The folder itself is durable before anything in it.
        check(
            &told,
            &fs.crashed(&start, prefix, || CrashChoice::Drop),
            prefix,
            &format!("prefix {prefix}, dropped"),
        );
        check(
            &told,
            &fs.crashed(&start, prefix, || CrashChoice::Keep),
            prefix,
            &format!("prefix {prefix}, kept"),
        );
        for round in 0..8 {
            let seed = (prefix as u64) << 8 | round;
            let mut random = fastrand_like(seed);
            let crashed = fs.crashed(&start, prefix, || match random() % 3 {
                0 => CrashChoice::Keep,
                1 => CrashChoice::Drop,
                _ => CrashChoice::Torn(random()),
            });
            check(&told, &crashed, prefix, &format!("prefix {prefix}, seed {seed}"));
        }
    }
}

#[test]
fn a_large_group_torn_in_any_sectors_leaves_a_prefix() {
    let fs = SimFs::new();
    let start = fs.copy();
    fs.record();
    let (journal, _) = open(&fs);
    let before = fs.operations();
    let pending: Vec<_> = (1..=12).map(|n| journal.append(record(n)).unwrap()).collect();
    for one in pending {
        one.wait().unwrap();
    }
    for prefix in before..=fs.operations() {
        for seed in 0..200 {
            let mut random = fastrand_like(seed);
            let crashed = fs.crashed(&start, prefix, || CrashChoice::Torn(random()));
            let (journal, _) = open(&crashed);
            let told = read(&journal, 0);
            assert!(told.gaps.is_empty(), "prefix {prefix} seed {seed}: {told:?}");
        }
    }
    drop(journal);
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_written_again_before_it_counts() {
    let fs = SimFs::new();
    let start = fs.copy();
    fs.record();
    let (journal, _) = open(&fs);
    fill(&journal, 1..=3);
    fs.inject(Fault { kind: OpKind::SyncData, trigger: Trigger::Once, errno: 5 });
    assert!(matches!(journal.commit(vec![record(4)]), Err(AppendError::Poisoned(_))));
    drop(journal);
    let (journal, recovery) = open(&fs);
    assert_eq!(recovery.last, Position(4), "the cache still shows it");
    let crashed = fs.crashed(&start, fs.operations(), || CrashChoice::Drop);
    assert_eq!(read(&open(&crashed).0, 0).positions, [1, 2, 3, 4], "it was synced before it counted");
    fill(&journal, 5..=5);
    let crashed = fs.crashed(&start, fs.operations(), || CrashChoice::Drop);
    assert_eq!(read(&open(&crashed).0, 0).positions, [1, 2, 3, 4, 5]);
}

/// Another record of the same size: its frame fits exactly where the other's was.
fn other_record(position: u64) -> crate::Record {
    let mut other = record(position);
    other.payload = vec![0xEE; other.payload.len()].into();
    other
}

fn gathering() -> crate::Config {
    let mut config = config();
    config.commit_interval = std::time::Duration::from_millis(100);
    config.preallocate_bytes = 0;
    config.reserve_bytes = 0;
    config
}

#[test]
fn frames_behind_a_torn_record_never_come_back_when_its_place_is_filled_again() {
    let fs = SimFs::new();
    let (journal, _) = open_with(&fs, gathering());
    journal.commit(vec![record(1)]).unwrap();
    let group: Vec<_> = (2..=5).map(|n| journal.append(record(n)).unwrap()).collect();
    for pending in group {
        pending.wait().unwrap();
    }
    drop(journal);
    let frames = frames(&fs, &segment(1));
    let (_, at, len) = frames[1];
    let end = frames[4].1 + frames[4].2;
    let mut bytes = fs.contents()[&segment(1)][..end].to_vec();
    bytes[at + len - 1] ^= 1;
    fs.put(&segment(1), bytes);
    let start = fs.copy();
    fs.record();
    let (journal, recovery) = open_with(&fs, gathering());
    assert_eq!((recovery.last, recovery.torn_records), (Position(1), 4), "{recovery:?}");
    journal.commit(vec![other_record(2)]).unwrap();
    let crashed = fs.crashed(&start, fs.operations(), || CrashChoice::Drop);
    assert_eq!(open(&crashed).1.last, Position(2));
}

#[test]
fn frames_of_a_group_that_a_full_disk_refused_never_come_back() {
    let fs = SimFs::new();
    let start = fs.copy();
    fs.record();
    let (journal, _) = open_with(&fs, gathering());
    journal.commit(vec![record(1)]).unwrap();
    let bytes = |n| crate::queue::Records::One(record(n)).frame_bytes();
    fs.set_capacity(Some(fs.used() + bytes(2) + bytes(3)));
    let group: Vec<_> = (2..=5).map(|n| journal.append(record(n)).unwrap()).collect();
    for pending in group {
        assert!(matches!(pending.wait(), Err(AppendError::DiskFull)));
    }
    settle(&journal);
    fs.set_capacity(None);
    assert_eq!(journal.commit(vec![other_record(2)]).unwrap(), Position(2));
    let crashed = fs.crashed(&start, fs.operations(), || CrashChoice::Drop);
    assert_eq!(open(&crashed).1.last, Position(2));
}
