use std::path::Path;
use std::sync::Arc;

use muster::batch::{self, BatchBuilder, BatchView, SourceIdentity};
use muster::clock::{ManualClock, WallTime};
use muster::ids::Seq;
use muster::v1;
use muster::v1::event::Kind;

use super::{FullPolicy, Spool, SpoolConfig, SpoolError};
use crate::uplink::SpoolFacts;

const NOON: WallTime = WallTime(1_771_588_800_000_000);

fn open(dir: &Path) -> Spool {
    open_with(SpoolConfig::new(dir))
}

fn open_with(config: SpoolConfig) -> Spool {
    Spool::open(config, Arc::new(ManualClock::at(NOON))).expect("opens")
}

/// Events whose duration is their own number, so that a lost or doubled one shows.
fn facts(numbers: std::ops::Range<u64>) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    let source =
        builder.source(&SourceIdentity { tool: "devloop".into(), ..Default::default() }).expect("room");
    let worker = builder.text("linter");
    for number in numbers {
        let run = v1::RunFinished { worker, duration_us: Some(number), ..Default::default() };
        builder.push(WallTime(NOON.0 + number), source, Kind::RunFinished(run));
    }
    builder
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(future)
}

fn append(spool: &mut Spool, numbers: std::ops::Range<u64>, position: &[u8]) {
    block_on(spool.append_step("loki@/p", position.to_vec(), facts(numbers))).expect("spooled");
}

/// (seq, time, number) of every event after `seq`.
fn read_after(spool: &Spool, seq: Seq) -> Vec<(u64, u64, u64)> {
    let mut reader = spool.batches_after(seq);
    let mut events = Vec::new();
    while let Some(sealed) = reader.next_batch().expect("readable") {
        assert_eq!(sealed.crc32c, crc32c::crc32c(&sealed.bytes));
        let decoded = batch::decode(&sealed.bytes).expect("own batch");
        for event in BatchView::new(&decoded).events() {
            let Some(Kind::RunFinished(run)) = event.kind else { panic!("only runs are spooled") };
            events.push((event.seq.0, event.time.0 - NOON.0, run.duration_us.expect("set")));
        }
    }
    events
}

#[test]
fn events_positions_and_numbers_survive_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let mut spool = open(folder.path());
    let identity = spool.identity();
    append(&mut spool, 0..5, b"five");
    append(&mut spool, 5..8, b"eight");
    drop(spool);

    let mut spool = open(folder.path());
    assert_eq!(spool.identity(), identity);
    assert_eq!(spool.last_seq(), Seq(8));
    assert_eq!(spool.position_of("loki@/p").map(|p| &p[..]), Some(&b"eight"[..]));
    append(&mut spool, 8..9, b"nine");
    let numbers: Vec<_> =
        read_after(&spool, Seq(3)).into_iter().map(|(seq, _, number)| (seq, number)).collect();
    // Whole batches: the one that holds event 4 begins at 1.
    assert_eq!(numbers, [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5), (7, 6), (8, 7), (9, 8)]);
}

#[test]
fn a_step_without_events_still_moves_its_position() {
    let folder = tempfile::tempdir().expect("folder");
    let mut spool = open(folder.path());
    append(&mut spool, 0..0, b"moved");
    drop(spool);
    let spool = open(folder.path());
    assert_eq!(spool.position_of("loki@/p").map(|p| &p[..]), Some(&b"moved"[..]));
    assert_eq!(spool.last_seq(), Seq(0));
}

#[test]
fn acknowledgements_survive_and_the_cursor_goes_on_after_them() {
    let folder = tempfile::tempdir().expect("folder");
    let mut spool = open(folder.path());
    append(&mut spool, 0..5, b"a");
    append(&mut spool, 5..10, b"b");
    spool.acknowledge(Seq(5)).expect("acknowledged");
    assert_eq!(spool.events_queued(), 5);
    spool.acknowledge(Seq(10)).expect("acknowledged");
    drop(spool);
    let spool = open(folder.path());
    assert_eq!(spool.acked_seq(), Seq(10));
    assert_eq!(spool.events_queued(), 0);
    assert!(read_after(&spool, Seq(10)).is_empty());
    // A collector that lost its data is refilled from what is kept.
    assert_eq!(read_after(&spool, Seq(0)).len(), 10);
}

#[test]
fn a_new_epoch_has_what_was_kept_numbered_from_one_with_its_times() {
    let folder = tempfile::tempdir().expect("folder");
    let mut spool = open(folder.path());
    append(&mut spool, 0..4, b"a");
    append(&mut spool, 4..9, b"b");
    let old = spool.identity();
    // In the middle of the second batch.
    spool.new_epoch(Seq(6)).expect("switched");
    assert_eq!(read_after(&spool, Seq(0)), [(1, 6, 6), (2, 7, 7), (3, 8, 8)]);
    append(&mut spool, 9..10, b"c");
    drop(spool);

    let spool = open(folder.path());
    assert_eq!(spool.identity().agent_id, old.agent_id);
    assert_ne!(spool.identity().epoch, old.epoch);
    assert_eq!(read_after(&spool, Seq(0)), [(1, 6, 6), (2, 7, 7), (3, 8, 8), (4, 9, 9)]);
    assert_eq!(spool.position_of("loki@/p").map(|p| &p[..]), Some(&b"c"[..]));
    assert_eq!(std::fs::read_dir(folder.path().join("spool")).expect("folder").count(), 1);
}

#[test]
fn a_lost_spool_folder_is_a_new_epoch_of_the_same_agent() {
    let folder = tempfile::tempdir().expect("folder");
    let mut spool = open(folder.path());
    append(&mut spool, 0..4, b"a");
    let old = spool.identity();
    drop(spool);
    std::fs::remove_dir_all(folder.path().join("spool")).expect("removed");
    let spool = open(folder.path());
    assert_eq!(spool.identity().agent_id, old.agent_id);
    assert_ne!(spool.identity().epoch, old.epoch);
    assert_eq!(spool.last_seq(), Seq(0));
}

#[test]
fn a_second_agent_on_the_same_state_directory_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let _first = open(folder.path());
    let second = Spool::open(SpoolConfig::new(folder.path()), Arc::new(ManualClock::at(NOON)));
    assert!(matches!(second, Err(SpoolError::Open(journal::OpenError::Locked(_)))));
}

#[test]
fn the_spool_knows_the_checksum_of_its_own_batches_and_of_no_others() {
    let folder = tempfile::tempdir().expect("folder");
    let mut spool = open(folder.path());
    append(&mut spool, 0..4, b"a");
    append(&mut spool, 4..9, b"b");
    let mut reader = spool.batches_after(Seq(4));
    let second = reader.next_batch().expect("readable").expect("there");
    assert_eq!(spool.checksum_of_batch_ending_at(Seq(9)), Some(second.crc32c));
    assert_eq!(spool.checksum_of_batch_ending_at(Seq(6)), None);
    assert_eq!(spool.checksum_of_batch_ending_at(Seq(0)), None);
}

/// 16 MiB segments: incompressible texts fill them with few events.
fn large_facts(random: &mut fastrand::Rng) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    let source = builder.source(&SourceIdentity::default()).expect("room");
    for _ in 0..500 {
        let text: String = std::iter::repeat_with(|| random.alphanumeric()).take(4000).collect();
        let name = builder.text(&text);
        builder.push(NOON, source, Kind::LogRecord(v1::LogRecord { name, ..Default::default() }));
    }
    builder
}

#[test]
fn positions_survive_when_their_segments_are_gone() {
    let folder = tempfile::tempdir().expect("folder");
    let config = SpoolConfig { acked_bytes_max: 0, ..SpoolConfig::new(folder.path()) };
    let mut spool = open_with(config.clone());
    append(&mut spool, 0..1, b"first position");
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..40 {
        block_on(spool.append_step("other", vec![1], large_facts(&mut random))).expect("spooled");
        spool.acknowledge(spool.last_seq()).expect("acknowledged");
        spool.retain().expect("retained");
    }
    assert!(spool.first_seq() > Seq(1), "nothing was deleted; the test proves nothing");
    let (first, last) = (spool.first_seq(), spool.last_seq());
    drop(spool);
    let spool = open_with(config);
    assert_eq!(spool.position_of("loki@/p").map(|p| &p[..]), Some(&b"first position"[..]));
    assert_eq!((spool.first_seq(), spool.last_seq()), (first, last));
}

#[test]
fn a_full_spool_blocks_or_drops_the_oldest_and_counts_them() {
    let folder = tempfile::tempdir().expect("folder");
    let bytes_max = 48 << 20;
    let mut random = fastrand::Rng::with_seed(2);
    let block = SpoolConfig { bytes_max, ..SpoolConfig::new(folder.path().join("block")) };
    let mut spool = open_with(block);
    while !spool.is_full() {
        block_on(spool.append_step("s", vec![], large_facts(&mut random))).expect("spooled");
    }
    assert_eq!(spool.drops().iter().count(), 0);

    let config = SpoolConfig {
        bytes_max,
        acked_bytes_max: 0,
        full_policy: FullPolicy::DropOldest,
        ..SpoolConfig::new(folder.path().join("drop"))
    };
    let mut spool = open_with(config);
    for _ in 0..40 {
        block_on(spool.append_step("s", vec![], large_facts(&mut random))).expect("spooled");
    }
    let dropped: u64 = spool.drops().iter().map(|(_, events)| events).sum();
    assert!(dropped > 0);
    assert_eq!(spool.events_spooled(), spool.events_queued() + dropped, "spooled = queued + dropped");
}

#[test]
fn what_is_acknowledged_and_kept_does_not_fill_the_spool() {
    let folder = tempfile::tempdir().expect("folder");
    let mut random = fastrand::Rng::with_seed(3);
    let mut spool = open_with(SpoolConfig { bytes_max: 32 << 20, ..SpoolConfig::new(folder.path()) });
    for _ in 0..40 {
        block_on(spool.append_step("s", vec![], large_facts(&mut random))).expect("spooled");
        spool.acknowledge(spool.last_seq()).expect("acknowledged");
        assert!(!spool.is_full(), "nothing waits, yet it is full");
    }
    assert!(spool.journal_stats().bytes > 32 << 20, "too little was kept; the test proves nothing");
}

#[test]
fn events_that_were_dropped_on_purpose_are_not_counted_again_as_damage() {
    let folder = tempfile::tempdir().expect("folder");
    let mut random = fastrand::Rng::with_seed(4);
    let config = SpoolConfig {
        bytes_max: 48 << 20,
        full_policy: FullPolicy::DropOldest,
        ..SpoolConfig::new(folder.path())
    };
    let mut spool = open_with(config);
    for _ in 0..40 {
        block_on(spool.append_step("s", vec![], large_facts(&mut random))).expect("spooled");
    }
    let spooled = spool.events_spooled();
    spool.new_epoch(Seq(0)).expect("switched");
    let reasons: Vec<_> = spool.drops().iter().collect();
    let [("spool_full", dropped)] = reasons[..] else { panic!("one reason: {reasons:?}") };
    assert_eq!(spooled, spool.events_queued() + dropped);
}
