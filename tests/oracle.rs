//! The oracle itself: a judge that cannot say no proves nothing.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::path::Path;
use std::sync::Arc;

use journal::fs::RealFs;
use journal::stream::{JournalStreamLog, Sealed, StreamLog};
use journal::{Config, Journal};
use muster::clock::{SystemClock, WallTime};
use muster::ids::{Seq, SeqRange, StreamKey, Team};
use support::oracle::Stored;
use support::payload::Issuer;
use support::seeded;

#[test]
fn the_oracle_takes_a_true_journal() {
    let (stored, _) = judge(|issuer| vec![sealed(issuer, 1, 4), sealed(issuer, 5, 2)]);
    assert!(stored.faults.is_empty() && stored.foreign.is_empty(), "{stored:?}");
    let stream = stored.streams.values().next().unwrap();
    assert_eq!((stream.last, stream.runs.values().sum::<u64>()), (6, 6));
}

#[test]
fn the_oracle_sees_a_lost_and_a_doubled_event() {
    // Five to eight never came; the log was told to go on.
    let (stored, _) = judge(|issuer| vec![sealed(issuer, 1, 4), sealed(issuer, 9, 2)]);
    assert!(stored.faults.iter().any(|f| f.contains("9..=10 stored after 4")), "{:?}", stored.faults);
    // The bytes of five and six, under the numbers seven and eight.
    let (stored, _) = judge(|issuer| {
        let doubled = issuer.batch(Seq(5), 2);
        let seqs = SeqRange::new(Seq(7), Seq(8)).unwrap();
        let doubled = Sealed { seqs, crc32c: doubled.crc32c, bytes: doubled.bytes };
        vec![sealed(issuer, 1, 4), sealed(issuer, 5, 2), doubled]
    });
    assert!(!stored.faults.is_empty());
}

#[test]
fn the_oracle_sees_a_changed_event_and_one_that_nobody_issued() {
    // Another agent's payload under this agent's numbers.
    let (stored, _) = judge(|issuer| {
        let other = Issuer { agent: muster::ids::AgentId::from_bytes([9; 16]), ..issuer.clone() };
        vec![sealed(&other, 1, 1)]
    });
    assert!(!stored.faults.is_empty(), "a changed payload");
    let (_, foreign) = judge(|issuer| vec![sealed(issuer, 1, 1)]);
    assert!(!foreign.foreign.is_empty(), "a batch of an agent that the fleet does not have");
}

/// Writes batches into a journal as one agent's, and reads it as the oracle does: once knowing the agent, once not.
fn judge(batches: impl FnOnce(&Issuer) -> Vec<Sealed>) -> (Stored, Stored) {
    let mut random = seeded("oracle");
    let issuer = Issuer::new("p0".to_owned(), WallTime(1_700_000_000_000_000), &mut random);
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("journal"), &issuer, batches(&issuer));
    let stranger = Issuer::new("p1".to_owned(), WallTime(1_700_000_000_000_000), &mut random);
    (Stored::read(folder.path(), std::slice::from_ref(&issuer)), Stored::read(folder.path(), &[stranger]))
}

fn write(dir: &Path, issuer: &Issuer, batches: Vec<Sealed>) {
    let clock = Arc::new(SystemClock::new());
    let (journal, _) = Journal::open(Config::new(dir), Arc::new(RealFs), clock).unwrap();
    let (log, _) = JournalStreamLog::open(Arc::new(journal)).unwrap();
    let key = StreamKey { team: Team::default_team(), agent: issuer.agent, epoch: issuer.epoch };
    for batch in batches {
        log.skip_to(&key, batch.seqs.first()).unwrap();
        log.append(&key, batch).unwrap().wait().unwrap();
    }
}

fn sealed(issuer: &Issuer, first: u64, count: u64) -> Sealed {
    let batch = issuer.batch(Seq(first), count);
    Sealed { seqs: batch.seqs, crc32c: batch.crc32c, bytes: batch.bytes }
}
