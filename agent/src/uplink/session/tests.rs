use std::collections::BTreeMap;

use super::*;
use crate::uplink::session::{Decision, Opening};

/// A spool whose batch ending at `last` has checksum `crc`.
#[derive(Default)]
struct Spool {
    first: u64,
    last: u64,
    acked: u64,
    batches: BTreeMap<u64, u32>,
}

impl SpoolFacts for Spool {
    fn first_seq(&self) -> Seq {
        Seq(self.first)
    }
    fn last_seq(&self) -> Seq {
        Seq(self.last)
    }
    fn acked_seq(&self) -> Seq {
        Seq(self.acked)
    }
    fn checksum_of_batch_ending_at(&self, last_seq: Seq) -> Option<u32> {
        self.batches.get(&last_seq.0).copied()
    }
}

fn spool() -> Spool {
    Spool { first: 1, last: 40, acked: 20, batches: [(10, 1), (20, 2), (30, 3), (40, 4)].into() }
}

fn welcome(mark: u64, recent: &[(u64, u32)]) -> v1::Welcome {
    let recent = recent.iter().map(|&(last_seq, crc32c)| v1::BatchMark { last_seq, crc32c }).collect();
    v1::Welcome { high_water_mark: mark, recent, ..Default::default() }
}

fn range(first: u64, last: u64) -> SeqRange {
    SeqRange::new(Seq(first), Seq(last)).expect("valid")
}

fn verdict(outcome: v1::verdict::Outcome, durable_seq: u64) -> v1::Verdict {
    v1::Verdict { outcome: outcome.into(), durable_seq, ..Default::default() }
}

#[test]
fn a_collector_that_knows_less_than_it_acknowledged_is_refilled_from_its_mark() {
    assert_eq!(open(&welcome(10, &[(10, 1)]), &spool()), Opening::After(Seq(10)));
    assert_eq!(open(&welcome(0, &[]), &spool()), Opening::After(Seq(0)));
}

#[test]
fn a_mark_beyond_the_spool_is_a_clone_and_what_was_never_shared_goes_on() {
    let marks = [(20, 2), (30, 3), (50, 9)];
    let expected = Opening::NewEpoch { keep_after: Seq(30), reason: NewEpochReason::Cloned };
    assert_eq!(open(&welcome(50, &marks), &spool()), expected);
}

#[test]
fn another_checksum_at_the_mark_is_a_clone() {
    let expected = Opening::NewEpoch { keep_after: Seq(20), reason: NewEpochReason::Cloned };
    assert_eq!(open(&welcome(30, &[(20, 2), (30, 99)]), &spool()), expected);
    // A batch of the other history that ends where none of ours does.
    assert_eq!(open(&welcome(33, &[(20, 2), (33, 7)]), &spool()), expected);
}

#[test]
fn events_that_nobody_has_any_more_are_counted_and_the_rest_goes_on() {
    let pruned = Spool { first: 21, batches: [(30, 3), (40, 4)].into(), ..spool() };
    let expected =
        Opening::NewEpoch { keep_after: Seq(20), reason: NewEpochReason::HistoryGone { events_lost: 10 } };
    assert_eq!(open(&welcome(10, &[(10, 1)]), &pruned), expected);
    assert_eq!(open(&welcome(20, &[(20, 2)]), &pruned), Opening::After(Seq(20)));
}

#[test]
fn acknowledgements_open_the_window_in_order() {
    let mut session = Session::new(Seq(0), 2);
    session.sent(range(1, 10), 100);
    session.sent(range(11, 20), 100);
    assert!(!session.may_send());
    let appended = verdict(v1::verdict::Outcome::Appended, 10);
    assert_eq!(session.on_verdict(&appended, &spool()), Decision::Acked(Seq(10)));
    assert!(session.may_send());
    assert_eq!(session.next_seq(), Seq(21));
    assert_eq!(session.on_verdict(&appended, &spool()), Decision::Nothing);
}

#[test]
fn an_acknowledgement_beyond_what_was_sent_acknowledges_only_what_was_sent() {
    let mut session = Session::new(Seq(0), 4);
    session.sent(range(1, 10), 100);
    let beyond = verdict(v1::verdict::Outcome::Appended, 1_000);
    assert_eq!(session.on_verdict(&beyond, &spool()), Decision::Acked(Seq(10)));
}

#[test]
fn a_gap_or_a_throttle_sends_everything_unanswered_again() {
    let mut session = Session::new(Seq(10), 4);
    session.sent(range(11, 20), 100);
    session.sent(range(21, 30), 100);
    assert_eq!(session.on_throttle(), Decision::Rewind(Seq(10)));
    assert_eq!(session.next_seq(), Seq(11));
    session.sent(range(11, 20), 100);
    assert_eq!(
        session.on_verdict(&verdict(v1::verdict::Outcome::Gap, 0), &spool()),
        Decision::Rewind(Seq(0))
    );
    assert_eq!(session.next_seq(), Seq(1));
}

#[test]
fn a_fenced_agent_keeps_what_it_alone_has() {
    let mut session = Session::new(Seq(20), 4);
    session.sent(range(21, 30), 1);
    let mut fenced = verdict(v1::verdict::Outcome::Fenced, 25);
    fenced.recent =
        vec![v1::BatchMark { last_seq: 20, crc32c: 2 }, v1::BatchMark { last_seq: 25, crc32c: 8 }];
    let expected = Decision::NewEpoch { keep_after: Seq(20), reason: NewEpochReason::Cloned };
    assert_eq!(session.on_verdict(&fenced, &spool()), expected);
}

#[test]
fn a_rejected_batch_is_left_behind_and_counted() {
    let mut session = Session::new(Seq(0), 4);
    session.sent(range(1, 10), 1);
    session.sent(range(11, 20), 1);
    let rejected = v1::Verdict { rejected_last_seq: 10, ..verdict(v1::verdict::Outcome::Rejected, 0) };
    let expected =
        Decision::NewEpoch { keep_after: Seq(10), reason: NewEpochReason::Rejected { events: 10 } };
    assert_eq!(session.on_verdict(&rejected, &spool()), expected);
}
