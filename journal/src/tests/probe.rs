//! Scenario: somebody asks whether the writer still comes round. Guarantees: it is answered when idle, under load and on
//! a full disk, without a write; not while the writer hangs; and with the reason once nothing is taken any more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::support::*;
use crate::fs::{Fault, OpKind, SimFs, Trigger};
use crate::{AppendError, Pending, Position};

fn is_answered(probe: &mut Pending) -> bool {
    matches!(Pin::new(probe).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
}

#[test]
fn an_idle_writer_answers_and_writes_nothing() {
    let fs = SimFs::new();
    let (journal, _) = open(&fs);
    fill(&journal, 1..=3);
    // After the last group the writer still says that it is synced; it answers once that is done.
    journal.probe().unwrap().wait().unwrap();
    let (syncs, writes) = (fs.syncs(), fs.writes());
    for _ in 0..100 {
        assert_eq!(journal.probe().unwrap().wait().unwrap(), Position(3));
    }
    assert_eq!((fs.syncs(), fs.writes()), (syncs, writes));
    fill(&journal, 4..=5);
}

#[test]
fn a_writer_that_hangs_does_not_answer_until_it_goes_on() {
    let fs = SimFs::new();
    let (journal, _) = open(&fs);
    let held = journal.shared().segments.lock();
    let pending = journal.append(record(1)).unwrap();
    while !journal.shared().queue.lock().units.is_empty() {
        std::thread::yield_now();
    }
    let mut probe = journal.probe().unwrap();
    for _ in 0..1000 {
        assert!(!is_answered(&mut probe));
        std::thread::yield_now();
    }
    drop(held);
    assert_eq!(probe.wait().unwrap(), Position(1));
    assert_eq!(pending.wait().unwrap(), Position(1));
}

#[test]
fn a_poisoned_log_says_so() {
    let fs = SimFs::new();
    let (journal, _) = open(&fs);
    fs.inject(Fault { kind: OpKind::SyncData, trigger: Trigger::Once, errno: 5 });
    assert!(journal.commit(vec![record(1)]).is_err());
    let told = journal.probe().and_then(Pending::wait);
    assert!(matches!(told, Err(AppendError::Poisoned(_))), "{told:?}");
}
