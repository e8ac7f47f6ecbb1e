//! The suite that every stream log must pass, and what only the local one does.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use muster::clock::{ManualClock, WallTime};
use muster::ids::{AgentId, Epoch, Seq, SeqRange, StreamKey, Team};
use muster::v1;

use super::*;
use crate::fs::{CrashChoice, Fault, OpKind, SimFs, Trigger};
use crate::{Config, Journal, Retention};

fn key(agent: u8) -> StreamKey {
    let epoch = Epoch::try_from(7).unwrap();
    StreamKey { team: "platform".parse().unwrap(), agent: AgentId::from_bytes([agent; 16]), epoch }
}

fn batch(first: u64, last: u64) -> Sealed {
    with_content(first, last, format!("{first}..={last}").into())
}

fn with_content(first: u64, last: u64, bytes: Bytes) -> Sealed {
    Sealed { seqs: SeqRange::new(Seq(first), Seq(last)).unwrap(), crc32c: crc32c::crc32c(&bytes), bytes }
}

fn config() -> Config {
    let mut config = Config::new("/log");
    config.segment_bytes_max = 64 << 10;
    config.record_bytes_max = 512 << 10;
    config.queue_bytes_max = 1 << 20;
    config.reserve_bytes = 1024;
    config.preallocate_bytes = 0;
    config
}

fn open(fs: &SimFs) -> (JournalStreamLog, StreamRecovery) {
    open_with(fs, config())
}

fn open_with(fs: &SimFs, config: Config) -> (JournalStreamLog, StreamRecovery) {
    let clock = ManualClock::at(WallTime(1_700_000_000_000_000));
    let (journal, _) = Journal::open(config, Arc::new(fs.clone()), Arc::new(clock)).unwrap();
    JournalStreamLog::open(Arc::new(journal)).unwrap()
}

fn appended(last: u64) -> Outcome {
    Outcome::Appended { durable: Seq(last) }
}

fn duplicate(last: u64) -> Outcome {
    Outcome::Duplicate { durable: Seq(last) }
}

fn gap(expected: u64) -> Outcome {
    Outcome::Gap { expected: Seq(expected) }
}

fn put(log: &dyn StreamLog, agent: u8, first: u64, last: u64) -> Outcome {
    log.append(&key(agent), batch(first, last)).unwrap().wait().unwrap()
}

fn batches(log: &dyn StreamLog) -> Vec<(u8, u64, u64)> {
    let mut all = Vec::new();
    for item in log.read(Position::ZERO) {
        if let StreamItem::Batch(entry) = item.unwrap() {
            assert_eq!(entry.crc32c, crc32c::crc32c(&entry.bytes));
            all.push((entry.key.agent.as_bytes()[0], entry.seqs.first().0, entry.seqs.last().0));
        }
    }
    all
}

/// What holds for every implementation; `reopen` ends one life of the log and begins the next.
fn conformance<L: StreamLog>(mut log: L, reopen: impl Fn(L) -> L) {
    assert_eq!(log.high_water_mark(&key(1)), Mark::default());
    assert_eq!(put(&log, 1, 1, 10), appended(10));
    assert_eq!(put(&log, 1, 11, 11), appended(11));
    assert_eq!(put(&log, 2, 1, 3), appended(3));
    for _life in 0..2 {
        assert_eq!(put(&log, 1, 1, 10), duplicate(11), "a repeat");
        assert_eq!(put(&log, 1, 11, 11), duplicate(11));
        assert_eq!(put(&log, 1, 13, 20), gap(12));
        assert_eq!(put(&log, 3, 5, 6), gap(1), "of a stream that nobody knows");
        assert_eq!(put(&log, 1, 11, 12), Outcome::Fenced, "an overlap");
        let clone = with_content(11, 11, "another history".into());
        assert_eq!(log.append(&key(1), clone).unwrap().wait().unwrap(), Outcome::Fenced);
        let mark = log.high_water_mark(&key(1));
        assert_eq!(mark.durable, Seq(11));
        let crc = |first, last| batch(first, last).crc32c;
        assert_eq!(mark.recent, [(Seq(10), crc(1, 10)), (Seq(11), crc(11, 11))]);
        assert_eq!(batches(&log), [(1, 1, 10), (1, 11, 11), (2, 1, 3)]);
        log = reopen(log);
    }
    // Many in flight; a repeat of what is not durable yet waits for it.
    let pending: Vec<_> =
        (0..100).map(|i| log.append(&key(1), batch(12 + i * 2, 13 + i * 2)).unwrap()).collect();
    let repeat = log.append(&key(1), batch(210, 211)).unwrap();
    for (i, one) in pending.into_iter().enumerate() {
        assert_eq!(one.wait().unwrap(), appended(13 + i as u64 * 2));
    }
    assert_eq!(repeat.wait().unwrap(), duplicate(211));
    let mark = log.high_water_mark(&key(1));
    assert_eq!((mark.durable, mark.recent.len()), (Seq(211), RECENT_BATCHES_MAX));
    assert_eq!(mark.recent.last().unwrap().0, Seq(211));
    // What can never come is jumped over, once.
    log.skip_to(&key(1), Seq(500)).unwrap();
    log.skip_to(&key(1), Seq(300)).unwrap();
    assert_eq!(put(&log, 1, 212, 213), duplicate(499));
    assert_eq!(put(&log, 1, 500, 501), appended(501));
    let before = log.high_water_mark(&key(1));
    log = reopen(log);
    assert_eq!(log.high_water_mark(&key(1)), before);
    assert_eq!(put(&log, 1, 502, 502), appended(502));
}

#[test]
fn the_local_log_conforms() {
    let fs = SimFs::new();
    conformance(open(&fs).0, |log| {
        drop(log);
        open(&fs).0
    });
}

#[test]
fn marks_outlive_the_segments_that_made_them() {
    let fs = SimFs::new();
    let mut config = config();
    config.retention = Retention { bytes_max: Some(128 << 10), ..Retention::default() };
    let (log, recovery) = open_with(&fs, config.clone());
    assert!(recovery.has_checkpoint);
    assert_eq!(put(&log, 9, 1, 5), appended(5));
    for n in 1..=40 {
        let big = with_content(n, n, vec![n as u8; 10_000].into());
        assert_eq!(log.append(&key(1), big).unwrap().wait().unwrap(), appended(n));
    }
    assert!(log.journal().first() > Position(1), "the first segments are gone");
    let before = (log.high_water_mark(&key(9)), log.high_water_mark(&key(1)));
    drop(log);
    let (log, recovery) = open_with(&fs, config);
    assert!(recovery.has_checkpoint && recovery.records_read < 10, "{recovery:?}");
    assert_eq!((log.high_water_mark(&key(9)), log.high_water_mark(&key(1))), before);
    assert_eq!(put(&log, 9, 1, 5), duplicate(5));
}

#[test]
fn a_damaged_checkpoint_is_made_up_for_by_the_one_before() {
    let fs = SimFs::new();
    let (log, _) = open(&fs);
    for n in 1..=30 {
        log.append(&key(1), with_content(n, n, vec![n as u8; 10_000].into())).unwrap().wait().unwrap();
    }
    let last = log.journal().segment_firsts().pop().unwrap();
    let before = log.high_water_mark(&key(1));
    drop(log);
    let path = crate::segments::segment_path(Path::new("/log"), last.0);
    let mut bytes = fs.contents()[&path].clone();
    bytes[1024 + 50] ^= 1;
    fs.put(&path, bytes);
    let (log, recovery) = open(&fs);
    assert!(
        recovery.has_checkpoint && recovery.positions_lost == 1 && recovery.seqs_skipped == 0,
        "{recovery:?}"
    );
    assert_eq!(log.high_water_mark(&key(1)), before);
}

#[test]
fn many_streams_make_a_checkpoint_of_many_parts() {
    let fs = SimFs::new();
    let (log, _) = open(&fs);
    let keys: Vec<_> =
        (0..6000u64).map(|n| StreamKey { epoch: Epoch::try_from(n + 1).unwrap(), ..key(1) }).collect();
    for key in &keys {
        let pending = log.append(key, batch(1, 3)).unwrap();
        drop(pending);
        if log.journal().stats().queued_bytes > 500_000 {
            log.append(key, batch(4, 4)).unwrap().wait().unwrap();
        }
    }
    log.append(&keys[0], with_content(5, 5, vec![0; 100].into())).unwrap().wait().unwrap();
    drop(log);
    let (log, recovery) = open(&fs);
    assert_eq!((recovery.streams, recovery.has_checkpoint), (6000, true));
    for key in &keys[1..] {
        assert!(log.high_water_mark(key).durable >= Seq(3));
    }
}

#[test]
fn a_failed_append_falls_back_and_everything_behind_it_is_refused() {
    let fs = SimFs::new();
    let (log, _) = open(&fs);
    assert_eq!(put(&log, 1, 1, 4), appended(4));
    fs.set_capacity(Some(fs.used()));
    let big = |first, last| with_content(first, last, vec![1; 3000].into());
    let failed: Vec<_> = [(5, 6), (7, 8), (9, 9)]
        .map(|(first, last)| log.append(&key(1), big(first, last)).and_then(Appending::wait))
        .into_iter()
        .collect();
    assert!(matches!(failed[0], Err(StreamError::Append(AppendError::DiskFull))), "{failed:?}");
    assert!(
        failed[1..].iter().all(|f| matches!(f, Err(_) | Ok(Outcome::Gap { expected: Seq(5) }))),
        "{failed:?}"
    );
    assert_eq!(log.high_water_mark(&key(1)).durable, Seq(4));
    fs.set_capacity(None);
    let outcome = loop {
        match log.append(&key(1), big(7, 8)).unwrap().wait() {
            Ok(outcome) => break outcome,
            Err(error) => assert!(matches!(error, StreamError::Append(AppendError::DiskFull))),
        }
    };
    assert_eq!(outcome, gap(5));
    for (first, last) in [(5, 6), (7, 8)] {
        loop {
            match log.append(&key(1), big(first, last)).and_then(Appending::wait) {
                Ok(outcome) => break assert_eq!(outcome, appended(last)),
                Err(error) => assert!(matches!(error, StreamError::Append(AppendError::DiskFull))),
            }
        }
    }
    assert_eq!(batches(&log), [(1, 1, 4), (1, 5, 6), (1, 7, 8)]);
}

#[test]
fn after_a_failed_sync_nothing_is_answered_as_durable() {
    let fs = SimFs::new();
    let (log, _) = open(&fs);
    assert_eq!(put(&log, 1, 1, 4), appended(4));
    fs.inject(Fault { kind: OpKind::SyncData, trigger: Trigger::Once, errno: 5 });
    let outcome = log.append(&key(1), batch(5, 6)).unwrap().wait();
    assert!(matches!(outcome, Err(StreamError::Append(AppendError::Poisoned(_)))), "{outcome:?}");
    assert_eq!(put(&log, 1, 1, 4), duplicate(4), "what is durable stays durable");
    assert!(log.append(&key(1), batch(5, 6)).and_then(Appending::wait).is_err());
    assert_eq!(log.high_water_mark(&key(1)).durable, Seq(4));
}

#[test]
fn streams_are_bounded() {
    let fs = SimFs::new();
    let clock = Arc::new(ManualClock::default());
    let (journal, _) = Journal::open(config(), Arc::new(fs), clock).unwrap();
    let (log, _) = JournalStreamLog::open_bounded(Arc::new(journal), 2).unwrap();
    assert_eq!(put(&log, 1, 1, 1), appended(1));
    assert_eq!(put(&log, 2, 1, 1), appended(1));
    assert!(matches!(log.append(&key(3), batch(1, 1)), Err(StreamError::TooManyStreams(2))));
    assert_eq!(put(&log, 1, 2, 2), appended(2));
}

#[test]
fn a_damaged_batch_costs_its_own_numbers_alone() {
    let fs = SimFs::new();
    let (log, _) = open(&fs);
    for n in 0..5 {
        put(&log, 1, n * 10 + 1, n * 10 + 10);
    }
    drop(log);
    let path = crate::segments::segment_path(Path::new("/log"), 1);
    let mut bytes = fs.contents()[&path].clone();
    let at = bytes.windows(7).position(|w| w == b"21..=30").unwrap();
    bytes[at] ^= 4;
    fs.put(&path, bytes);
    let (log, _) = open(&fs);
    assert_eq!(log.high_water_mark(&key(1)).durable, Seq(50));
    assert_eq!(batches(&log), [(1, 1, 10), (1, 11, 20), (1, 31, 40), (1, 41, 50)]);
}

#[test]
fn a_batch_meta_is_as_specified() {
    let meta = meta::encode(&key(2), SeqRange::new(Seq(3), Seq(4)).unwrap(), 0x0506_0708);
    let expected = [
        &b"\x01\x08platform"[..],
        &[2; 16],
        b"\x07\0\0\0\0\0\0\0",
        b"\x03\0\0\0\0\0\0\0",
        b"\x04\0\0\0\0\0\0\0",
        b"\x08\x07\x06\x05",
    ];
    assert_eq!(meta[..], expected.concat());
}

#[test]
fn marks_larger_than_a_segment_do_not_begin_a_segment_for_each_batch() {
    let fs = SimFs::new();
    let (log, _) = open(&fs);
    for n in 0..1500u64 {
        let key = StreamKey { epoch: Epoch::try_from(n + 1).unwrap(), ..key(1) };
        log.append(&key, batch(1, 3)).unwrap().wait().unwrap();
    }
    let before = log.journal().stats();
    for n in 1..=200 {
        log.append(&key(2), with_content(n, n, vec![3; 400].into())).unwrap().wait().unwrap();
    }
    let after = log.journal().stats();
    assert!(after.segments - before.segments <= 5, "{before:?} {after:?}");
}

#[test]
fn a_segment_that_a_crash_left_without_a_checkpoint_gets_one() {
    let fs = SimFs::new();
    let (log, _) = open(&fs);
    for n in 1..=30 {
        log.append(&key(1), with_content(n, n, vec![n as u8; 10_000].into())).unwrap().wait().unwrap();
    }
    let last = log.journal().segment_firsts().pop().unwrap();
    drop(log);
    let path = crate::segments::segment_path(Path::new("/log"), last.0);
    let bytes = fs.contents()[&path].clone();
    fs.put(&path, bytes[..1024 + 10].to_vec());
    let (log, _) = open(&fs);
    let before = log.high_water_mark(&key(1));
    assert_eq!(log.journal().durable(), last, "the checkpoint is its first record");
    drop(log);
    let (log, recovery) = open(&fs);
    assert_eq!(recovery.records_read, 0);
    assert_eq!(log.high_water_mark(&key(1)), before);
}

/// Segments so small that a checkpoint comes every few batches.
fn crowded() -> Config {
    let mut config = config();
    config.segment_bytes_max = 4096;
    config.reserve_bytes = 0;
    config.retention = Retention { bytes_max: Some(12 << 10), ..Retention::default() };
    config
}

#[test]
fn after_a_crash_anywhere_each_mark_is_what_the_log_has_and_nothing_answered_is_lost() {
    let fs = SimFs::new();
    let start = fs.copy();
    fs.record();
    let mut answered = Vec::new();
    for life in 0..2u64 {
        let (log, _) = open_with(&fs, crowded());
        for n in life * 10 + 1..=life * 10 + 10 {
            // Three streams in one group; each batch has two numbers.
            let pending = [1, 2, 3].map(|agent| {
                let content = vec![agent; 100 * agent as usize];
                log.append(&key(agent), with_content(n * 2 - 1, n * 2, content.into())).unwrap()
            });
            for (agent, one) in [1, 2, 3].into_iter().zip(pending) {
                assert_eq!(one.wait().unwrap(), appended(n * 2));
                answered.push((agent, n * 2, fs.operations()));
            }
        }
    }
    for prefix in 0..=fs.operations() {
        for round in 0..6 {
            let seed = (prefix as u64) << 8 | round;
            let mut random = seed;
            let crashed = fs.crashed(&start, prefix, || {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                match (random >> 33) % 3 {
                    0 => CrashChoice::Keep,
                    1 => CrashChoice::Drop,
                    _ => CrashChoice::Torn(random >> 7),
                }
            });
            let (log, recovery) = open_with(&crashed, crowded());
            assert_eq!((recovery.seqs_skipped, recovery.positions_lost), (0, 0), "seed {seed}: {recovery:?}");
            assert!(recovery.has_checkpoint, "seed {seed}");
            for agent in [1, 2, 3] {
                let mark = log.high_water_mark(&key(agent)).durable.0;
                let due = answered.iter().filter(|a| a.0 == agent && a.2 <= prefix).map(|a| a.1).max();
                assert!(
                    mark >= due.unwrap_or(0),
                    "seed {seed}: agent {agent} was answered {due:?} and has {mark}"
                );
                let in_log = batches(&log).iter().filter(|b| b.0 == agent).map(|b| b.2).max();
                assert!(in_log.is_none_or(|last| last == mark), "seed {seed}: {in_log:?} {mark}");
                assert_eq!(put(&log, agent, mark + 1, mark + 2), appended(mark + 2), "seed {seed}");
            }
        }
    }
}

#[test]
fn otlp_payloads_stand_in_the_log_among_batches_and_survive_a_reopening_without_touching_marks() {
    let fs = SimFs::new();
    let team: Team = "platform".parse().unwrap();
    let part = |signal, items, text: &'static str| OtlpPart {
        signal,
        items,
        bytes: Bytes::from_static(text.as_bytes()),
    };
    {
        let (log, _) = open(&fs);
        put(&log, 1, 1, 3);
        let parts = vec![part(v1::OtlpSignal::Logs, 7, "seven"), part(v1::OtlpSignal::Metrics, 2, "two")];
        let last = log.append_otlp(&team, parts).unwrap().wait().unwrap();
        assert_eq!(last, Position(3));
        assert!(matches!(log.append_otlp(&team, Vec::new()), Err(AppendError::Empty)));
        put(&log, 1, 4, 4);
    }
    let (log, recovery) = open(&fs);
    assert_eq!((recovery.metas_unknown, recovery.streams), (0, 1));
    assert_eq!(log.high_water_mark(&key(1)).durable, Seq(4));
    let items: Vec<_> = log.read(Position::ZERO).map(Result::unwrap).collect();
    let otlp: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            StreamItem::Otlp(entry) => Some((entry.position, entry.signal, entry.items, &entry.bytes[..])),
            _ => None,
        })
        .collect();
    assert_eq!(
        otlp,
        [
            (Position(2), v1::OtlpSignal::Logs, 7, &b"seven"[..]),
            (Position(3), v1::OtlpSignal::Metrics, 2, &b"two"[..])
        ]
    );
    assert_eq!(batches(&log).len(), 2);
}
