//! Batches that were taken and are not answered yet, in their order.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use journal::stream::{Appending, Outcome, StreamError};
use muster::clock::Monotonic;
use muster::ids::SeqRange;
use muster::limits::BATCHES_IN_FLIGHT_MAX;

use crate::quota::UsedUp;

/// A batch that waits for its answer.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) bytes: usize,
    pub(super) arrived: Monotonic,
    /// Which time the agent went back before it sent this one.
    pub(super) round: u64,
    pub(super) answer: Answer,
}

/// How its answer comes.
#[derive(Debug)]
pub(super) enum Answer {
    /// From the log.
    Log(Appending),
    /// It is known: the log refused it.
    Refused(StreamError),
    /// It is known: a quota is used up.
    Limited(UsedUp),
    /// It is known: this batch can never be accepted.
    Rejected(String),
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Fate {
    Outcome(Outcome),
    Refused(StreamError),
    Limited(UsedUp),
    Rejected(String),
}

/// At most [`BATCHES_IN_FLIGHT_MAX`] of them.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    taken: VecDeque<Taken>,
}

impl Taken {
    /// How many events it has.
    pub(super) fn events(&self) -> u64 {
        let seqs = SeqRange::new(muster::ids::Seq(self.first_seq), muster::ids::Seq(self.last_seq));
        seqs.map_or(0, SeqRange::count)
    }
}

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.taken.len() < BATCHES_IN_FLIGHT_MAX as usize
    }

    pub(super) fn push(&mut self, taken: Taken) {
        debug_assert!(self.has_room(), "the session reads only while there is room");
        self.taken.push_back(taken);
    }

    /// The oldest batch with its fate, once it is known. Never ready while there is none. Can be dropped and called
    /// again without losing one.
    pub(super) fn next(&mut self) -> impl Future<Output = (Taken, Fate)> + '_ {
        poll_fn(|context| {
            let Some(oldest) = self.taken.front_mut() else { return Poll::Pending };
            let fate = match &mut oldest.answer {
                Answer::Log(appending) => match Pin::new(appending).poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(outcome)) => Fate::Outcome(outcome),
                    Poll::Ready(Err(error)) => Fate::Refused(error),
                },
                Answer::Refused(error) => Fate::Refused(error.clone()),
                Answer::Limited(used_up) => Fate::Limited(*used_up),
                Answer::Rejected(reason) => Fate::Rejected(std::mem::take(reason)),
            };
            match self.taken.pop_front() {
                Some(taken) => Poll::Ready((taken, fate)),
                None => Poll::Pending,
            }
        })
    }
}
