//! The uplink's side of the protocol as a pure state machine: messages and spool facts in, decisions out.
//!
//! ```text
//!            Welcome                      Appended, Duplicate (durable)
//! connect ────────────> streaming(next) ──────────────────────────────> acked moves, window opens
//!                          │   ▲  Gap(durable), Throttle: back to durable + 1
//!                          │   └──────────────────────────────────────────
//!                          ├─ Fenced, or another history at the mark ───> new epoch after the fork point
//!                          └─ Rejected: set that batch aside ───────────> new epoch after it
//! ```
//!
//! What is sent is always whole batches as the spool has them, so a retry is the same bytes. Nothing here trusts the
//! collector's numbers: a mark that is ahead of the spool or has another checksum means that somebody else writes under
//! our name, and never that our events are known.

use std::collections::VecDeque;

use muster::ids::{Seq, SeqRange};
use muster::limits::{BATCHES_IN_FLIGHT_MAX, RECENT_BATCHES_MAX};
use muster::v1;

/// Most bytes that are sent and not answered.
pub const IN_FLIGHT_BYTES_MAX: usize = 8 << 20;

/// What the spool can say about itself when a stream begins.
pub trait SpoolFacts {
    /// First event that is still there; `last_seq` + 1 when none is.
    fn first_seq(&self) -> Seq;
    /// Last event ever spooled in this epoch.
    fn last_seq(&self) -> Seq;
    /// Highest event that a collector has acknowledged to us.
    fn acked_seq(&self) -> Seq;
    /// Checksum of our own batch that ends at `last_seq`, if it is still there.
    fn checksum_of_batch_ending_at(&self, last_seq: Seq) -> Option<u32>;
}

/// How a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Go on after this event.
    After(Seq),
    /// Our history is not the collector's: take a new epoch with what comes after `keep_after`.
    NewEpoch {
        /// Everything after it is ours alone and must be sent under the new epoch.
        keep_after: Seq,
        /// Why.
        reason: NewEpochReason,
    },
}

/// Why the agent leaves its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewEpochReason {
    /// Another live agent, or a copy of us that ran before, uses this id and epoch.
    Cloned,
    /// The collector lacks events that we no longer have.
    HistoryGone {
        /// How many.
        events_lost: u64,
    },
    /// The collector can never accept a batch; it was set aside.
    Rejected {
        /// Events in it.
        events: u64,
    },
    /// A record of the spool could not be read.
    SpoolDamaged,
}

/// What to do on a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Up to here everything is durable.
    Acked(Seq),
    /// Nothing changed.
    Nothing,
    /// Read the spool anew after this event.
    Rewind(Seq),
    /// Leave the epoch.
    NewEpoch {
        /// Everything after it goes on.
        keep_after: Seq,
        /// The collector's newest batches, to find the fork.
        reason: NewEpochReason,
    },
}

/// One stream's state after its welcome.
#[derive(Debug)]
pub struct Session {
    acked: Seq,
    in_flight: VecDeque<(SeqRange, usize)>,
    in_flight_bytes: usize,
    in_flight_max: usize,
}

/// Decides how to begin from the collector's welcome.
pub fn open(welcome: &v1::Welcome, spool: &dyn SpoolFacts) -> Opening {
    let mark = Seq(welcome.high_water_mark);
    let (first, last) = (spool.first_seq(), spool.last_seq());
    let theirs = welcome.recent.iter().rev().find(|m| m.last_seq == mark.0).map(|m| m.crc32c);
    let ours = spool.checksum_of_batch_ending_at(mark);
    let other_history = match (theirs, ours) {
        (Some(theirs), Some(ours)) => theirs != ours,
        // The mark is inside the spool, but no batch of ours ends there.
        (Some(_), None) => mark >= first && mark <= last,
        (None, _) => false,
    };
    if mark > last || other_history {
        return Opening::NewEpoch {
            keep_after: fork_point(&welcome.recent, spool),
            reason: NewEpochReason::Cloned,
        };
    }
    if mark.next() < first {
        let events_lost = first.0 - mark.next().0;
        let keep_after = Seq(first.0 - 1);
        return Opening::NewEpoch { keep_after, reason: NewEpochReason::HistoryGone { events_lost } };
    }
    Opening::After(mark)
}

/// The last event that is surely the collector's and ours alike: what comes after it is ours alone.
pub fn fork_point(recent: &[v1::BatchMark], spool: &dyn SpoolFacts) -> Seq {
    let newest_first = recent.iter().rev().take(RECENT_BATCHES_MAX);
    let shared = newest_first
        .filter(|mark| spool.checksum_of_batch_ending_at(Seq(mark.last_seq)) == Some(mark.crc32c))
        .map(|mark| Seq(mark.last_seq))
        .next();
    shared.unwrap_or(Seq::ZERO).max(spool.acked_seq())
}

impl Session {
    /// A stream that goes on after `acked`.
    pub fn new(acked: Seq, batches_in_flight_max: u32) -> Self {
        let in_flight_max = batches_in_flight_max.clamp(1, BATCHES_IN_FLIGHT_MAX) as usize;
        Self { acked, in_flight: VecDeque::with_capacity(in_flight_max), in_flight_bytes: 0, in_flight_max }
    }

    /// Whether another batch may be sent now. One batch is always allowed, however large.
    pub fn may_send(&self) -> bool {
        self.in_flight.is_empty()
            || (self.in_flight.len() < self.in_flight_max && self.in_flight_bytes < IN_FLIGHT_BYTES_MAX)
    }

    /// The number that the next batch to send must begin with.
    pub fn next_seq(&self) -> Seq {
        self.in_flight.back().map_or(self.acked, |(seqs, _)| seqs.last()).next()
    }

    /// A batch was handed to the stream.
    pub fn sent(&mut self, seqs: SeqRange, bytes: usize) {
        debug_assert_eq!(seqs.first(), self.next_seq(), "batches are sent in order");
        self.in_flight.push_back((seqs, bytes));
        self.in_flight_bytes += bytes;
    }

    /// Batches sent and not answered.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Takes a verdict.
    pub fn on_verdict(&mut self, verdict: &v1::Verdict, spool: &dyn SpoolFacts) -> Decision {
        use v1::verdict::Outcome;
        let durable = Seq(verdict.durable_seq);
        match verdict.outcome() {
            Outcome::Appended | Outcome::Duplicate => self.on_durable(durable),
            Outcome::Gap => self.rewind(durable),
            Outcome::Fenced => Decision::NewEpoch {
                keep_after: fork_point(&verdict.recent, spool).max(self.acked),
                reason: NewEpochReason::Cloned,
            },
            Outcome::Rejected => self.on_rejected(Seq(verdict.rejected_last_seq)),
            // A newer collector's verdict: it acknowledges nothing, and the next welcome tells where we are.
            Outcome::Unspecified => Decision::Nothing,
        }
    }

    /// Everything that is not answered is to be sent again.
    pub fn on_throttle(&mut self) -> Decision {
        self.rewind(self.acked)
    }

    fn on_durable(&mut self, durable: Seq) -> Decision {
        let sent_last = self.next_seq().0 - 1;
        // A mark beyond what we sent is not about our events.
        let durable = durable.min(Seq(sent_last));
        if durable <= self.acked {
            return Decision::Nothing;
        }
        while let Some((seqs, bytes)) = self.in_flight.front().copied() {
            if seqs.last() > durable {
                break;
            }
            self.in_flight.pop_front();
            self.in_flight_bytes -= bytes;
        }
        self.acked = durable;
        Decision::Acked(durable)
    }

    /// `durable` may be below what was acknowledged: a collector that was restored from a backup is refilled.
    fn rewind(&mut self, durable: Seq) -> Decision {
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.acked = durable;
        Decision::Rewind(durable)
    }

    fn on_rejected(&mut self, rejected_last: Seq) -> Decision {
        let Some((seqs, _)) = self.in_flight.iter().find(|(seqs, _)| seqs.last() == rejected_last).copied()
        else {
            return Decision::Nothing;
        };
        Decision::NewEpoch {
            keep_after: seqs.last(),
            reason: NewEpochReason::Rejected { events: seqs.count() },
        }
    }
}

#[cfg(test)]
mod tests;
