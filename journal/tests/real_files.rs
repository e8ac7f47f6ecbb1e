//! The log over the system's own files.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::fs::RealFs;
use journal::{Config, Health, Journal, OpenError, Position, ReadItem, Record, Recovery};
use muster::clock::SystemClock;

fn config(dir: &std::path::Path) -> Config {
    let mut config = Config::new(dir);
    config.segment_bytes_max = 64 << 10;
    config.record_bytes_max = 32 << 10;
    config.queue_bytes_max = 1 << 20;
    config.reserve_bytes = 64 << 10;
    config.preallocate_bytes = 16 << 10;
    config.read_block_bytes = 8 << 10;
    config
}

fn open(dir: &std::path::Path) -> (Journal, Recovery) {
    Journal::open(config(dir), Arc::new(RealFs), Arc::new(SystemClock::new())).unwrap()
}

fn record(n: u64, len: usize) -> Record {
    let payload = Bytes::from(vec![n as u8; len]);
    Record { kind: 1, meta: Bytes::from(n.to_le_bytes().to_vec()), payload }
}

fn positions(journal: &Journal, from: u64) -> Vec<u64> {
    journal
        .reader(Position(from))
        .map(|item| match item.unwrap() {
            ReadItem::Entry(entry) => {
                assert_eq!(entry.meta[..], entry.position.0.to_le_bytes());
                assert!(entry.payload.iter().all(|&b| b == entry.position.0 as u8));
                entry.position.0
            }
            gap => panic!("{gap:?}"),
        })
        .collect()
}

#[test]
fn what_was_committed_is_there_after_reopening_over_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    {
        let (journal, recovery) = open(&path);
        assert!(recovery.is_new);
        let pending: Vec<_> =
            (1..=300).map(|n| journal.append(record(n, (n as usize * 37) % 3000)).unwrap()).collect();
        for (i, pending) in pending.into_iter().enumerate() {
            assert_eq!(pending.wait().unwrap(), Position(i as u64 + 1));
        }
        assert_eq!(positions(&journal, 0), (1..=300).collect::<Vec<_>>());
        assert!(journal.stats().segments > 3);
    }
    let (journal, recovery) = open(&path);
    assert_eq!(recovery, Recovery { last: Position(300), ..Recovery::default() });
    assert_eq!(positions(&journal, 123), (124..=300).collect::<Vec<_>>());
    assert_eq!(journal.commit(vec![record(301, 5), record(302, 6000)]).unwrap(), Position(302));
    assert_eq!(positions(&journal, 299), [300, 301, 302]);
    assert_eq!(journal.health(), Health::Ok);
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = open(dir.path());
    let second = Journal::open(config(dir.path()), Arc::new(RealFs), Arc::new(SystemClock::new()));
    assert!(matches!(second, Err(OpenError::Locked(_))), "{second:?}");
    drop(first);
    open(dir.path());
}

#[test]
fn a_subscriber_learns_that_more_is_durable_and_that_the_log_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let mut subscription = journal.subscribe();
    let waiter = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while let Some(position) = subscription.wait(Duration::from_secs(20)) {
            seen.push(position);
        }
        seen
    });
    for n in 1..=3 {
        journal.commit(vec![record(n, 10)]).unwrap();
    }
    drop(journal);
    assert_eq!(waiter.join().unwrap().last(), Some(&Position(3)));
}

#[test]
fn a_deleted_segment_poisons_instead_of_acknowledging_into_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    journal.commit(vec![record(1, 10)]).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert!(matches!(journal.commit(vec![record(2, 10)]), Err(journal::AppendError::Poisoned(_))));
    assert!(matches!(journal.health(), Health::Poisoned(_)));
}

#[test]
fn a_replaced_folder_is_noticed_and_nothing_goes_into_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("log"), dir.path().join("moved"));
    let (journal, _) = open(&path);
    journal.commit(vec![record(1, 10)]).unwrap();
    assert!(std::process::Command::new("mv").args([&path, &moved]).status().unwrap().success());
    std::fs::create_dir(&path).unwrap();
    let replaced = Health::Degraded { reasons: vec![journal::Reason::FolderReplaced] };
    assert_eq!(journal.health(), replaced);
    let poisoned = (2..50).find_map(|n| journal.commit(vec![record(n, 3000)]).err());
    assert!(matches!(poisoned, Some(journal::AppendError::Poisoned(_))), "{poisoned:?}");
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
}

#[test]
fn many_threads_append_while_others_read_and_segments_come_and_go() {
    const THREADS: u64 = 4;
    const EACH: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.retention.bytes_max = Some(192 << 10);
    let (journal, _) = Journal::open(config, Arc::new(RealFs), Arc::new(SystemClock::new())).unwrap();
    let journal = Arc::new(journal);
    let cursor = journal.cursor("follower").unwrap();
    let writers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let journal = journal.clone();
            std::thread::spawn(move || {
                let mut pending = Vec::new();
                for n in 0..EACH {
                    let record = record(thread * EACH + n, (n as usize * 91) % 4000);
                    pending.push(loop {
                        match journal.append(record.clone()) {
                            Ok(pending) => break pending,
                            Err(journal::AppendError::Full) => std::thread::yield_now(),
                            Err(other) => panic!("{other}"),
                        }
                    });
                }
                let positions: Vec<u64> = pending.into_iter().map(|p| p.wait().unwrap().0).collect();
                assert!(positions.is_sorted(), "one thread's records are in its order");
                positions
            })
        })
        .collect();
    let mut subscription = journal.subscribe();
    let mut reader = journal.reader(Position(0));
    let mut next_of = [0; THREADS as usize];
    let mut last = 0;
    while last < THREADS * EACH {
        let Some(item) = reader.read().unwrap() else {
            subscription.wait(Duration::from_secs(20)).unwrap();
            continue;
        };
        let ReadItem::Entry(entry) = item else { panic!("{item:?}") };
        let n = u64::from_le_bytes(entry.meta[..].try_into().unwrap());
        let (thread, n) = ((n / EACH) as usize, n % EACH);
        assert_eq!(n, next_of[thread], "in the order of its thread, and once");
        next_of[thread] += 1;
        assert!(entry.payload.iter().all(|&b| b == (thread as u64 * EACH + n) as u8));
        last = entry.position.0;
        if last % 100 == 0 {
            cursor.advance(entry.position).unwrap();
        }
    }
    let mut positions: Vec<u64> = writers.into_iter().flat_map(|w| w.join().unwrap()).collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=THREADS * EACH).collect::<Vec<_>>());
    assert!(journal.stats().fsyncs < THREADS * EACH, "groups were shared");
    journal.retain();
    assert!(journal.first() > Position(1));
}
