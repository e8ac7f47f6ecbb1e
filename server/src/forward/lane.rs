//! Brings one request to its end: delivered, or dropped and counted. It gives up for two reasons alone: the
//! destination will never take it, or the queue's bound has passed it.
//!
//! | verdict | what is done |
//! |---|---|
//! | delivered | what it rejects is counted and kept as a dead letter, not sent again |
//! | retry | again, with growing waits, or when it says; all requests of the destination wait when it says so |
//! | refused | again every minute, with the credential read anew: a wrong key must not cost telemetry; a dead letter, if others are delivered meanwhile |
//! | too large | in halves, one after the other, down to one item |
//! | permanent | kept as a dead letter, and on |

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use journal::Position;
use muster::clock::{Clock, Monotonic};
use otlp::Signal;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use super::answer::Verdict;
use super::client::Client;
use super::cut::halves;
use super::dead_letter::{DeadLetters, Head};
use super::encode::{Encoding, Outgoing, Unfit};
use super::figures::{Attempt, DestinationFigures, reason};
use super::retry;
use super::window::Range;

/// What a destination's tasks are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Orders {
    /// Begin nothing new.
    pub(super) stop: bool,
    /// What begins before it is dropped: the queue is over its bound.
    pub(super) drop_until: Position,
}

/// Comes true when nothing new is to be begun.
pub(super) async fn told_to_stop(orders: &mut watch::Receiver<Orders>) {
    // The guard that `wait_for` gives must not live across another await.
    let _ = orders.wait_for(|orders| orders.stop).await;
}

/// What is known of a request besides what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    /// The part of the journal that it was made of.
    pub(super) range: Range,
    /// It is a dead letter: counted as dropped before, and not part of the queue.
    pub(super) is_dead_letter: bool,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Every item of it is accounted for.
    Settled,
    /// The destination stops; it will be sent again.
    Abandoned,
}

/// What the requests of one destination share.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) client: Arc<Client>,
    pub(super) encoding: Encoding,
    pub(super) letters: Arc<DeadLetters>,
    pub(super) figures: Arc<DestinationFigures>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Mutex<fastrand::Rng>,
    /// The destination asked for no request before this.
    pub(super) not_before: Mutex<Monotonic>,
    pub(super) orders: watch::Receiver<Orders>,
    /// Requests that were delivered.
    pub(super) deliveries: AtomicU64,
    /// For each signal: `deliveries` when the first of the refusals in a row came.
    pub(super) refused_at: Mutex<[Option<u64>; 3]>,
    /// A dead letter that was tried again could not be kept again: what was moved for the retry must stay. They are
    /// tried one after the other, so that this is said of the last one.
    pub(super) is_unburied: AtomicBool,
}

/// What is to be done after a verdict.
enum Next {
    /// This part has ended.
    Done,
    /// Again after so long.
    After(Duration),
    /// These instead.
    Instead(Vec<Outgoing>),
}

impl Lane {
    /// Sends a request until it has ended.
    pub(super) async fn deliver(&self, job: Job, outgoing: Outgoing) -> Ending {
        let mut parts = VecDeque::from([outgoing]);
        let mut failures = 0;
        let mut wait = Duration::ZERO;
        while let Some(part) = parts.front() {
            match self.ready(job, wait.max(self.hold())).await {
                Ready::Go => {}
                Ready::Stop => return Ending::Abandoned,
                Ready::Drop => {
                    for part in &parts {
                        self.figures.drop_items(part.signal, reason::QUEUE_FULL, part.items);
                    }
                    return Ending::Settled;
                }
            }
            let verdict = self.client.send(part).await;
            match self.judge(job, part, verdict, &mut failures).await {
                Next::Done => {
                    parts.pop_front();
                    (failures, wait) = (0, Duration::ZERO);
                }
                Next::After(again) => wait = again,
                Next::Instead(smaller) => {
                    parts.pop_front();
                    smaller.into_iter().rev().for_each(|part| parts.push_front(part));
                    wait = Duration::ZERO;
                }
            }
        }
        Ending::Settled
    }

    async fn judge(&self, job: Job, part: &Outgoing, verdict: Verdict, failures: &mut u32) -> Next {
        match verdict {
            Verdict::Delivered { rejected, message } => {
                self.figures.attempts.add(Attempt::Delivered, 1);
                self.figures.succeeded();
                self.deliveries.fetch_add(1, Ordering::Relaxed);
                self.refused_at.lock()[part.signal as usize] = None;
                self.delivered(job, part, rejected, &message).await;
                Next::Done
            }
            Verdict::Retry { after, why } => {
                self.figures.attempts.add(Attempt::Retry, 1);
                *failures = failures.saturating_add(1);
                self.failed(*failures, &why);
                let wait = retry::wait(*failures, after, &mut self.random.lock());
                if after.is_some() {
                    self.hold_for(wait);
                }
                Next::After(wait)
            }
            // The credential is right for others of the same destination: it is this signal or payload that is not taken,
            // and it must not hold them up.
            Verdict::Refused { why } if self.takes_others(part.signal) => {
                self.figures.attempts.add(Attempt::Refused, 1);
                self.give_up(job, part, reason::PERMANENT, &why).await;
                Next::Done
            }
            Verdict::Refused { why } => {
                self.figures.attempts.add(Attempt::Refused, 1);
                *failures = failures.saturating_add(1);
                self.failed(*failures, &format!("{why}; is the credential right?"));
                self.client.read_credential_again();
                Next::After(retry::refused_wait(&mut self.random.lock()))
            }
            Verdict::TooLarge { why } => {
                self.figures.attempts.add(Attempt::TooLarge, 1);
                match self.smaller(part) {
                    Some(parts) => Next::Instead(parts),
                    None => {
                        self.give_up(job, part, reason::TOO_LARGE, &why).await;
                        Next::Done
                    }
                }
            }
            Verdict::Permanent { why } => {
                self.figures.attempts.add(Attempt::Permanent, 1);
                self.give_up(job, part, reason::PERMANENT, &why).await;
                Next::Done
            }
        }
    }

    /// Whether something was delivered since this signal is refused.
    fn takes_others(&self, signal: Signal) -> bool {
        let deliveries = self.deliveries.load(Ordering::Relaxed);
        let since = *self.refused_at.lock()[signal as usize].get_or_insert(deliveries);
        deliveries > since
    }

    async fn delivered(&self, job: Job, part: &Outgoing, rejected: u64, message: &str) {
        let rejected = rejected.min(part.items);
        let delivered = if job.is_dead_letter { &self.figures.retried } else { &self.figures.delivered };
        delivered.add(part.signal, part.items - rejected);
        self.count_dropped(job, part.signal, reason::REJECTED, rejected);
        if rejected == 0 {
            if !message.is_empty() {
                self.figures.warned(self.clock.wall(), message);
                tracing::warn!(destination = %self.name, message, "destination warns");
            }
            return;
        }
        let why = format!("partial success, {rejected} of {} rejected: {message}", part.items);
        self.figures.warned(self.clock.wall(), &why);
        tracing::warn!(destination = %self.name, signal = %part.signal, why, "destination rejected items");
        let head = Head::new(self.clock.wall(), part.signal, part.items, rejected, &why, job.range);
        self.bury(head, part.request.clone()).await;
    }

    /// Sends a dead letter again. It ends as it would have the first time, and is counted apart.
    pub(super) async fn redeliver(&self, head: &Head, request: bytes::Bytes) -> Ending {
        let range = Range { after: Position(head.after), end: Position(head.end) };
        let job = Job { range, is_dead_letter: true };
        match self.encoding.write(head.signal, head.items, request.clone()) {
            Ok(outgoing) => self.deliver(job, outgoing).await,
            Err(why) => {
                let body = bytes::Bytes::new();
                let unsendable = Outgoing { signal: head.signal, items: head.items, request, body };
                self.give_up(job, &unsendable, reason::MALFORMED, &why).await;
                Ending::Settled
            }
        }
    }

    /// Counts a request as dropped and keeps it as a dead letter.
    async fn give_up(&self, job: Job, part: &Outgoing, reason: &'static str, why: &str) {
        let (signal, items) = (part.signal, part.items);
        self.count_dropped(job, signal, reason, items);
        self.figures.failed(self.clock.wall(), why);
        tracing::warn!(destination = %self.name, %signal, items, why, "request given up and kept as a dead letter");
        let head = Head::new(self.clock.wall(), signal, items, items, why, job.range);
        if !self.bury(head, part.request.clone()).await && job.is_dead_letter {
            self.is_unburied.store(true, Ordering::Relaxed);
        }
    }

    fn count_dropped(&self, job: Job, signal: Signal, reason: &'static str, items: u64) {
        if !job.is_dead_letter {
            self.figures.drop_items(signal, reason, items);
        }
    }

    /// As [`Lane::give_up`] for a request that was never fit to be sent, on a thread that may block.
    pub(super) fn give_up_unfit(&self, range: Range, signal: Signal, unfit: &Unfit, reason: &'static str) {
        self.figures.drop_items(signal, reason, unfit.items);
        self.figures.warned(self.clock.wall(), &unfit.why);
        tracing::warn!(destination = %self.name, %signal, items = unfit.items, why = unfit.why, "payload given up");
        let head = Head::new(self.clock.wall(), signal, unfit.items, unfit.items, &unfit.why, range);
        let put = self.letters.put(&head, &unfit.request);
        self.buried(put.map_err(|error| error.to_string()));
    }

    async fn bury(&self, head: Head, request: bytes::Bytes) -> bool {
        let letters = self.letters.clone();
        let put = tokio::task::spawn_blocking(move || letters.put(&head, &request)).await;
        self.buried(match put {
            Ok(put) => put.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Says whether it was kept.
    fn buried(&self, put: Result<u64, String>) -> bool {
        match put {
            Ok(deleted) => {
                self.figures.dead_letters_deleted.add(deleted);
                true
            }
            Err(error) => {
                tracing::warn!(destination = %self.name, error, "dead letter cannot be kept");
                false
            }
        }
    }

    fn smaller(&self, part: &Outgoing) -> Option<Vec<Outgoing>> {
        let parts = halves(part.signal, part.items, &part.request)?;
        parts
            .into_iter()
            .map(|(request, items)| self.encoding.write(part.signal, items, request).ok())
            .collect()
    }

    /// The first failure in a row is told, and then few.
    fn failed(&self, failures: u32, why: &str) {
        self.figures.failed(self.clock.wall(), why);
        if failures.is_power_of_two() {
            tracing::warn!(destination = %self.name, why, failures, "destination does not take requests; trying again");
        }
    }

    fn hold_for(&self, wait: Duration) {
        let until = Monotonic(self.clock.monotonic().0 + wait);
        let mut not_before = self.not_before.lock();
        *not_before = (*not_before).max(until);
    }

    fn hold(&self) -> Duration {
        self.not_before.lock().0.saturating_sub(self.clock.monotonic().0)
    }

    /// Waits, unless an order comes first.
    async fn ready(&self, job: Job, wait: Duration) -> Ready {
        let mut orders = self.orders.clone();
        let is_passed = |orders: &Orders| !job.is_dead_letter && job.range.after < orders.drop_until;
        let ordered = async {
            // Nobody left who gives orders: the collector is gone. The guard must not live across an await.
            orders.wait_for(|orders| orders.stop || is_passed(orders)).await.is_ok_and(|orders| !orders.stop)
        };
        // Orders go first, also when there is nothing to wait for.
        tokio::select! {
            biased;
            is_passed = ordered => if is_passed { Ready::Drop } else { Ready::Stop },
            () = sleep(wait) => Ready::Go,
        }
    }
}

enum Ready {
    Go,
    Stop,
    Drop,
}
