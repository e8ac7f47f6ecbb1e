//! Scenario: the process is killed at a named place. Guarantee: everything that it had acknowledged is there, units are
//! whole, and the log goes on. Needs the feature `failpoints`.
//!
//! The test runs itself again as the process that is killed.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use journal::fs::RealFs;
use journal::{Config, Journal, Position, ReadItem, Record, Retention};
use muster::clock::SystemClock;

const DIR: &str = "MUSTER_TEST_JOURNAL_DIR";
const UNIT: u64 = 3;

fn open(dir: &Path) -> Journal {
    let mut config = Config::new(dir);
    config.segment_bytes_max = 8192;
    config.record_bytes_max = 4096;
    config.queue_bytes_max = 64 << 10;
    config.reserve_bytes = 4096;
    config.preallocate_bytes = 2048;
    config.retention = Retention { bytes_max: Some(32 << 10), ..Retention::default() };
    Journal::open(config, Arc::new(RealFs), Arc::new(SystemClock::new())).unwrap().0
}

fn record(n: u64) -> Record {
    let payload = Bytes::from(vec![n as u8; (n * 37 % 600) as usize]);
    Record { kind: 1, meta: Bytes::from(n.to_le_bytes().to_vec()), payload }
}

/// Appends until it is killed, and says on its output what was acknowledged.
#[test]
fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let journal = open(Path::new(&dir));
    let cursor = journal.cursor("sink").unwrap();
    let mut out = std::io::stdout();
    loop {
        let next = journal.durable().0 + 1;
        let last = journal.commit((next..next + UNIT).map(record).collect()).unwrap();
        writeln!(out, "acknowledged {last}").unwrap();
        out.flush().unwrap();
        cursor.advance(last).unwrap();
        writeln!(out, "advanced {last}").unwrap();
        out.flush().unwrap();
    }
}

/// The largest number after `word` in what the killed process said.
fn run_until_killed(dir: &Path, failpoint: &str) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["the_process_that_is_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env("MUSTER_FAILPOINT", failpoint)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut acknowledged, mut advanced) = (0, 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        // The harness may begin the line with its own words.
        if let Some((_, number)) = line.rsplit_once("acknowledged ") {
            acknowledged = number.parse().unwrap();
        } else if let Some((_, number)) = line.rsplit_once("advanced ") {
            advanced = number.parse().unwrap();
        }
    }
    let status = child.wait().unwrap();
    assert!(!status.success(), "{failpoint} was never reached");
    (acknowledged, advanced)
}

#[test]
fn a_kill_at_any_place_loses_nothing_that_was_acknowledged() {
    for site in
        ["after-write", "before-sync", "after-sync-before-ack", "mid-rotate", "mid-delete", "mid-cursor"]
    {
        let dir = tempfile::tempdir().unwrap();
        let (mut acknowledged, mut advanced) = (0, 0);
        for hit in [1, 2, 3, 5, 8, 13] {
            let told = run_until_killed(dir.path(), &format!("{site}:{hit}"));
            acknowledged = told.0.max(acknowledged);
            advanced = told.1.max(advanced);
            let journal = open(dir.path());
            let durable = journal.durable().0;
            assert!(
                durable >= acknowledged,
                "{site}:{hit}: {acknowledged} was acknowledged, {durable} is there"
            );
            assert_eq!(durable % UNIT, 0, "{site}:{hit}: a unit was torn");
            let cursor = journal.cursor("sink").unwrap().position().0;
            assert!(cursor >= advanced && cursor <= durable, "{site}:{hit}");
            let mut next = journal.first().0;
            for item in journal.reader(Position(next - 1)) {
                let ReadItem::Entry(entry) = item.unwrap() else { panic!("{site}:{hit}: a gap") };
                assert_eq!((entry.position.0, entry.payload), (next, record(next).payload), "{site}:{hit}");
                next += 1;
            }
            assert_eq!(next, durable + 1);
        }
    }
}
