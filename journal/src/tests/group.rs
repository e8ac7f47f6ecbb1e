//! Group commit, the bounds of the queue, and what a reader holds.

use super::support::*;
use crate::fs::SimFs;
use crate::{AppendError, Position, ReadItem, Record};

#[test]
fn many_appends_share_one_sync() {
    let fs = SimFs::new();
    let mut config = config();
    config.segment_bytes_max = 1 << 20;
    config.queue_bytes_max = 1 << 20;
    config.commit_interval = std::time::Duration::from_millis(200);
    let (journal, _) = open_with(&fs, config);
    let (syncs, writes) = (fs.syncs(), fs.writes());
    let pending: Vec<_> = (1..=500).map(|n| journal.append(record(n)).unwrap()).collect();
    for one in pending {
        one.wait().unwrap();
    }
    assert!(fs.syncs() - syncs <= 3, "{} syncs", fs.syncs() - syncs);
    assert!(fs.writes() - writes <= 12, "{} writes", fs.writes() - writes);
    assert_eq!(read(&journal, 0).positions.len(), 500);
}

#[test]
fn the_queue_is_bounded_by_bytes_and_says_so() {
    let fs = SimFs::new();
    let mut config = config();
    config.queue_bytes_max = 4096;
    config.commit_interval = std::time::Duration::from_secs(5);
    let (journal, _) = open_with(&fs, config);
    let mut kept = Vec::new();
    let refused = loop {
        match journal.append(Record { payload: vec![1; 700].into(), ..Record::default() }) {
            Ok(pending) => kept.push(pending),
            Err(error) => break error,
        }
        assert!(kept.len() < 10_000);
        assert!(journal.stats().queued_bytes <= 4096);
    };
    assert!(matches!(refused, AppendError::Full));
    drop(journal);
    assert!(kept.into_iter().all(|pending| pending.wait().is_ok()), "closing writes what is queued");
}

#[test]
fn a_record_past_the_bounds_is_refused_and_an_empty_commit_too() {
    let fs = SimFs::new();
    let (journal, _) = open(&fs);
    let large = Record { payload: vec![0; 2049 - 44].into(), ..Record::default() };
    assert!(matches!(journal.append(large), Err(AppendError::TooLarge { bytes: 2049, max: 2048 })));
    let meta = Record { meta: vec![0; 65_536].into(), ..Record::default() };
    assert!(matches!(journal.append(meta), Err(AppendError::TooLarge { max: 65_535, .. })));
    assert!(matches!(journal.commit(Vec::new()), Err(AppendError::Empty)));
    let fits = Record { payload: vec![0; 2048 - 44].into(), ..Record::default() };
    assert_eq!(journal.commit(vec![fits]).unwrap(), Position(1));
}

#[test]
fn a_unit_larger_than_a_segment_stays_together() {
    let fs = SimFs::new();
    let (journal, _) = open(&fs);
    fill(&journal, 1..=3);
    journal.commit((4..=60).map(record).collect()).unwrap();
    let firsts = journal.segment_firsts();
    assert_eq!(firsts[..2], [Position(1), Position(4)]);
    assert_eq!(read(&journal, 0).positions, (1..=60).collect::<Vec<_>>());
    fill(&journal, 61..=62);
    drop(journal);
    assert_eq!(read(&open(&fs).0, 0).positions, (1..=62).collect::<Vec<_>>());
}

#[test]
fn a_reader_goes_on_where_it_stopped_and_payloads_share_its_block() {
    let fs = SimFs::new();
    let (journal, _) = open(&fs);
    let mut reader = journal.reader(Position(0)).block_bytes(64 << 10);
    assert_eq!(reader.read().unwrap(), None);
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for position in 1..=50 {
        fill(&journal, position..=position);
        match reader.read().unwrap() {
            Some(ReadItem::Entry(entry)) => assert_eq!(entry.position, Position(position)),
            other => panic!("{other:?}"),
        }
        assert_eq!(reader.read().unwrap(), None);
        assert_eq!(reader.position(), Position(position));
    }
    for item in journal.reader(Position(0)).block_bytes(64 << 10).take(5) {
        let Ok(ReadItem::Entry(entry)) = item else { panic!("{item:?}") };
        spans.push((entry.meta.as_ptr() as usize, entry.payload.as_ptr() as usize));
    }
    assert!(spans.windows(2).all(|pair| pair[1].0 > pair[0].1 && pair[1].0 - pair[0].1 < 2048), "one block");
}

#[test]
fn a_reader_that_skips_payloads_reads_little() {
    let fs = SimFs::new();
    let mut config = config();
    config.segment_bytes_max = 8 << 20;
    config.record_bytes_max = 64 << 10;
    config.queue_bytes_max = 8 << 20;
    let (journal, _) = open_with(&fs, config);
    let big =
        |n: u64| Record { kind: 1, meta: n.to_le_bytes().to_vec().into(), payload: vec![7; 50_000].into() };
    for n in 1..=40 {
        journal.commit(vec![big(n)]).unwrap();
    }
    let items: Vec<_> = journal.reader(Position(0)).skip_payloads().map(Result::unwrap).collect();
    assert_eq!(items.len(), 40);
    for (i, item) in items.iter().enumerate() {
        let ReadItem::Entry(entry) = item else { panic!("{item:?}") };
        assert_eq!(entry.meta[..], (i as u64 + 1).to_le_bytes());
        assert!(entry.payload.is_empty());
    }
}

#[test]
fn a_pending_append_can_be_awaited_in_a_task() {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake};

    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    fn block_on<F: Future>(future: F) -> F::Output {
        let waker = Arc::new(Unpark(std::thread::current())).into();
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    let fs = SimFs::new();
    let (journal, _) = open(&fs);
    let mut subscription = journal.subscribe();
    for n in 1..=20 {
        let pending = journal.append(record(n)).unwrap();
        assert_eq!(block_on(subscription.changed()), Some(Position(n)));
        assert_eq!(block_on(pending).unwrap(), Position(n));
    }
    drop(journal);
    assert_eq!(block_on(subscription.changed()), None);
}

#[test]
fn readers_that_keep_up_and_readers_that_lag_see_the_same_records_as_the_files_have() {
    for seed in 0..30u64 {
        let mut random = fastrand_like(seed);
        let fs = SimFs::new();
        let mut config = config();
        config.tail_bytes_max = 3000;
        let (journal, _) = open_with(&fs, config.clone());
        let mut near = journal.reader(Position::ZERO);
        let mut far = journal.reader(Position::ZERO);
        let (mut seen_near, mut seen_far) = (Vec::new(), Vec::new());
        let mut written = 0;
        while written < 200 {
            let count = 1 + random() % 4;
            journal.commit((1..=count).map(|n| record(written + n)).collect()).unwrap();
            written += count;
            seen_near.extend(near.by_ref().map(Result::unwrap));
            if random().is_multiple_of(10) {
                seen_far.extend(far.by_ref().take(1 + (random() % 80) as usize).map(Result::unwrap));
            }
        }
        seen_near.extend(near.map(Result::unwrap));
        seen_far.extend(far.map(Result::unwrap));
        drop(journal);
        config.tail_bytes_max = 0;
        let (journal, _) = open_with(&fs, config);
        let on_disk: Vec<_> = journal.reader(Position::ZERO).map(Result::unwrap).collect();
        assert_eq!(on_disk.len(), written as usize, "seed {seed}");
        assert_eq!(seen_near, on_disk, "seed {seed}");
        assert_eq!(seen_far, on_disk, "seed {seed}");
    }
}
