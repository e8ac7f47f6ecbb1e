//! Scenario: the disk fills up and has room again, many times. Guarantees: nothing is acknowledged that is not synced;
//! appends say so; it heals without being opened anew, also when nobody but the health check looks.

use std::path::Path;

use super::support::*;
use crate::fs::SimFs;
use crate::{AppendError, Health, Position};

const DISK_BYTES: u64 = 256 << 10;

/// Somebody else's file that takes all but `room` bytes.
fn crowd(fs: &SimFs, room: u64) {
    fs.remove(Path::new("/other"));
    let taken = DISK_BYTES.saturating_sub(fs.used()).saturating_sub(room);
    fs.put(Path::new("/other"), vec![0; taken as usize]);
}

#[test]
fn a_disk_that_fills_twenty_times_stops_acks_and_heals_by_itself_each_time() {
    let fs = SimFs::new();
    fs.set_capacity(Some(DISK_BYTES));
    let (journal, _) = open(&fs);
    let mut last = 0;
    for round in 0..20 {
        crowd(&fs, 500 + round * 333);
        loop {
            match journal.commit(vec![record(last + 1)]) {
                Ok(position) => last = position.0,
                Err(AppendError::DiskFull) => break,
                Err(other) => panic!("round {round}: {other}"),
            }
        }
        settle(&journal);
        assert_eq!(journal.durable(), Position(last));
        assert_eq!(journal.health(), Health::DiskFull);
        assert_eq!(journal.stats().disk_full_events, round + 1);
        assert!(
            matches!(journal.append(record(last + 1)), Err(AppendError::DiskFull)),
            "there is still no room"
        );
        assert_eq!(read(&journal, 0).positions.len() as u64, last, "reading goes on");
        crowd(&fs, 90 << 10);
        if round % 2 == 0 {
            assert_eq!(journal.health(), Health::Degraded { reasons: vec![crate::Reason::NoReserve] });
        }
        fill(&journal, last + 1..=last + 3);
        last += 3;
        assert_eq!(journal.health(), Health::Ok, "round {round}");
        assert!(fs.contents().contains_key(Path::new("/log/reserve")));
    }
    drop(journal);
    assert_eq!(read(&open(&fs).0, 0).positions, (1..=last).collect::<Vec<_>>());
}

#[test]
fn everything_that_was_queued_behind_a_full_disk_is_told() {
    let fs = SimFs::new();
    fs.set_capacity(Some(DISK_BYTES));
    let (journal, _) = open(&fs);
    fill(&journal, 1..=2);
    crowd(&fs, 2000);
    let pending: Vec<_> = (3..=40).map_while(|n| journal.append(record(n)).ok()).collect();
    assert!(pending.len() > 1);
    let outcomes: Vec<_> = pending.into_iter().map(|pending| pending.wait()).collect();
    let good = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    assert!(
        outcomes[good..].iter().all(|outcome| matches!(outcome, Err(AppendError::DiskFull))),
        "{outcomes:?}"
    );
    assert_eq!(journal.durable(), Position(2 + good as u64));
}

#[test]
fn a_full_disk_does_not_keep_a_log_from_opening_and_being_read() {
    let fs = closed_log(30);
    fs.remove(Path::new("/log/reserve"));
    fs.set_capacity(Some(fs.used()));
    let (journal, _) = open(&fs);
    assert_eq!(read(&journal, 0).positions.len(), 30);
    assert!(matches!(journal.commit(vec![record(31)]), Err(AppendError::DiskFull)));
    settle(&journal);
    fs.set_capacity(None);
    fill(&journal, 31..=32);
}
