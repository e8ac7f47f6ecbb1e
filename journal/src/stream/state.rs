//! One stream's numbers: what was accepted, what is durable, who waits. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use muster::ids::{Seq, SeqRange};

use super::{Ending, Mark, Outcome, RECENT_BATCHES_MAX};
use crate::completion::Slot;

/// A stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The last number that was queued; at least `durable`.
    accepted: Seq,
    durable: Seq,
    /// The newest durable batches, then those that are queued; oldest first.
    recent: VecDeque<(Seq, u32)>,
    /// Repeats that wait for what they repeat, with the number that must be durable.
    waiting: Vec<(Seq, Arc<Slot<Ending>>)>,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Append,
    /// It is durable already.
    Repeated,
    /// It is queued already: answer when it is durable.
    RepeatedSoon,
    Gap {
        expected: Seq,
    },
    Fenced,
}

impl Stream {
    pub(super) fn at(mark: Mark) -> Self {
        Self {
            accepted: mark.durable,
            durable: mark.durable,
            recent: mark.recent.into(),
            waiting: Vec::new(),
        }
    }

    pub(super) fn decide(&self, seqs: SeqRange, crc32c: u32) -> Decision {
        if seqs.first() == self.accepted.next() {
            return Decision::Append;
        }
        if seqs.first() > self.accepted {
            return Decision::Gap { expected: self.accepted.next() };
        }
        let is_other = |&(last, crc): &(Seq, u32)| last == seqs.last() && crc != crc32c;
        if seqs.last() > self.accepted || self.recent.iter().any(is_other) {
            return Decision::Fenced;
        }
        if seqs.last() <= self.durable { Decision::Repeated } else { Decision::RepeatedSoon }
    }

    /// The batch was queued.
    pub(super) fn accept(&mut self, seqs: SeqRange, crc32c: u32) {
        self.accepted = seqs.last();
        self.recent.push_back((seqs.last(), crc32c));
        while self.recent.len() > RECENT_BATCHES_MAX && self.recent[0].0 < self.durable {
            self.recent.pop_front();
        }
    }

    /// A batch that ends at `last` is durable. The repeats that may be answered now.
    pub(super) fn settle(&mut self, last: Seq) -> Vec<Arc<Slot<Ending>>> {
        self.durable = self.durable.max(last);
        let durable = self.durable;
        let mut due = Vec::new();
        self.waiting.retain(|(until, slot)| {
            let is_due = *until <= durable;
            if is_due {
                due.push(slot.clone());
            }
            !is_due
        });
        due
    }

    /// Queued batches failed: the stream is back where it is durable. All that wait, wait in vain.
    pub(super) fn fall_back(&mut self) -> Vec<Arc<Slot<Ending>>> {
        self.accepted = self.durable;
        while self.recent.back().is_some_and(|&(last, _)| last > self.durable) {
            self.recent.pop_back();
        }
        self.waiting.drain(..).map(|(_, slot)| slot).collect()
    }

    /// Lets the stream go on at `next`. Only when nothing is queued.
    pub(super) fn skip_to(&mut self, next: Seq) {
        if next > self.accepted.next() && self.accepted == self.durable {
            self.accepted = Seq(next.0 - 1);
            self.durable = self.accepted;
        }
    }

    pub(super) fn wait_for(&mut self, last: Seq, slot: Arc<Slot<Ending>>) {
        self.waiting.push((last, slot));
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn duplicate(&self) -> Outcome {
        Outcome::Duplicate { durable: self.durable }
    }

    /// The durable mark.
    pub(super) fn mark(&self) -> Mark {
        let durable: Vec<_> = self.recent.iter().copied().filter(|&(last, _)| last <= self.durable).collect();
        let newest = durable.len().saturating_sub(RECENT_BATCHES_MAX);
        Mark { durable: self.durable, recent: durable[newest..].to_vec() }
    }
}
