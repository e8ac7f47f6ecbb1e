//! A destination's blocking half, on a thread of its own: reads the journal after the destination's cursor, makes units
//! of it, and hands them to the pipeline, as many as have room.
//!
//! ```text
//! start:   state at P -> records up to the cursor through it, unsent -> the unit that was begun, if one was -> on
//! round:   read -> gather -> a unit when enough is gathered, or nothing more has come for a while
//! blocked: the pipeline has no room -> look once a second whether the queue is over its bound
//! ```
//!
//! Over its bound, the oldest of the queue goes: what is made of it is counted as dropped and not sent, the cursor passes
//! it. What is kept between records sees it all the same, so that sums stay right.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use journal::stream::{StreamItem, StreamLog};
use journal::{Journal, Position, ReadError, Subscription};
use muster::clock::{Monotonic, WallTime};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::sleep;

use super::commit::Committer;
use super::encode::Outgoing;
use super::lane::{Lane, Orders};
use super::prepare::Preparer;
use super::window::{Range, Unit};
use crate::config::destination::Destination;
use crate::stop::stopped;

/// Longest time that a record waits for others to travel with.
const GATHER_MAX: Duration = Duration::from_millis(200);
/// How often a reader that is blocked looks at the queue's bound, and whether it is to stop.
const BLOCKED_LOOK: Duration = Duration::from_secs(1);
/// Longest sleep of an idle reader.
const IDLE_LOOK: Duration = Duration::from_secs(30);
/// Before a read that failed is tried again.
const READ_RETRY: Duration = Duration::from_secs(1);
/// Records between looks at the clock and the stop.
const RECORDS_A_ROUND: usize = 256;
/// Bytes of requests that wait or are out, for each destination.
const ROOM_BYTES: usize = 8 << 20;
/// A semaphore counts to 2^29 at least: in these.
const ROOM_UNIT_BYTES: usize = 1 << 10;
/// Records between two saved states: what a restart reads again without sending.
const STATE_RECORDS: u64 = 10_000;
/// Bytes of records likewise: the journal cannot let go of what comes after a saved state.
const STATE_BYTES: usize = 64 << 20;
/// Of the bound, what is freed at once: not every record on its own.
const FREED_SHARE: u64 = 16;

type Items = Box<dyn Iterator<Item = Result<StreamItem, ReadError>> + Send>;

/// What a reader is made of.
pub(super) struct Reader {
    pub(super) destination: Arc<Destination>,
    pub(super) journal: Arc<Journal>,
    pub(super) log: Arc<dyn StreamLog>,
    pub(super) wake: Subscription,
    pub(super) lane: Arc<Lane>,
    pub(super) committer: Arc<Committer>,
    pub(super) preparer: Preparer,
    pub(super) units: mpsc::Sender<Unit>,
    pub(super) orders: watch::Sender<Orders>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Where it is.
struct Progress {
    /// End of the unit before.
    after: Position,
    /// The last record that was taken.
    position: Position,
    /// When the first record of the unit was appended, and when it was read.
    began: Option<(WallTime, Monotonic)>,
    /// The unit that an earlier life had begun, and how many of its requests have ended.
    begun: Option<(Range, usize)>,
    room: Arc<Semaphore>,
    looked: Monotonic,
    /// The state is saved past this position.
    state_due: Position,
    /// Of records since the state was saved.
    state_bytes: usize,
    /// Something was said that no record brought about: only the state knows.
    has_idle_cut: bool,
}

/// How a round of reading ended.
enum Round {
    /// There may be more.
    More,
    /// At the durable end.
    End,
    /// The journal could not be read.
    Failed,
    /// The collector stops, or the pipeline has gone.
    Stop,
}

impl Reader {
    pub(super) fn run(mut self, runtime: &Runtime) {
        let cursor = self.committer.cursor.position();
        let mut at = Progress {
            after: cursor,
            position: cursor,
            began: None,
            begun: self.committer.progress(),
            room: Arc::new(Semaphore::new(ROOM_BYTES / ROOM_UNIT_BYTES)),
            looked: Monotonic::default(),
            state_due: cursor,
            state_bytes: 0,
            has_idle_cut: false,
        };
        loop {
            match self.restore(cursor) {
                Ok(true) => break,
                Ok(false) => return,
                Err(error) => {
                    tracing::error!(destination = %self.destination.name, %error, "cannot read the journal; trying again");
                    runtime.block_on(self.pause(READ_RETRY));
                    if self.is_stopped() {
                        return;
                    }
                }
            }
        }
        if !self.repeat_idle_cut(runtime, &mut at) {
            return;
        }
        let mut items = self.log.read(cursor);
        loop {
            self.keep_bound(&mut at);
            match self.round(runtime, &mut items, &mut at) {
                Round::Stop => return,
                Round::More if self.is_stopped() => return,
                Round::More => {}
                Round::End if self.is_due(&at) => {
                    if !self.emit(runtime, &mut at) {
                        return;
                    }
                }
                Round::End if self.passes_idle_time(&mut at) => {
                    if !self.emit(runtime, &mut at) {
                        return;
                    }
                }
                Round::End => self.wait(runtime, &at),
                Round::Failed => runtime.block_on(self.pause(READ_RETRY)),
            }
            if self.is_stopped() {
                return;
            }
        }
    }

    /// Brings what is kept between records to where the cursor is. False if the collector stops meanwhile.
    fn restore(&mut self, cursor: Position) -> Result<bool, ReadError> {
        let Some((position, bytes)) = self.committer.state() else { return Ok(true) };
        self.preparer.restore(&bytes);
        self.preparer.count_nothing();
        for item in self.log.read(position) {
            let item = item?;
            if position_of(&item) > cursor {
                break;
            }
            self.take_guarded(&item);
            if self.preparer.is_full() {
                self.preparer.fall_back(Default::default());
            }
            if self.is_stopped() {
                return Ok(false);
            }
        }
        self.preparer.count_again();
        Ok(true)
    }

    /// What was said without a record may have arrived before a crash, and the state not been saved: it is said again as it
    /// was, so that a destination can know it. False if there is nobody to take it.
    fn repeat_idle_cut(&mut self, runtime: &Runtime, at: &mut Progress) -> bool {
        let Some(time) = self.committer.idle_cut() else { return true };
        if !self.preparer.pass_idle_time(time) {
            return true;
        }
        at.has_idle_cut = true;
        self.emit(runtime, at)
    }

    /// What is kept, when it is time to save it; not before the one that was given last is saved.
    fn state(&mut self, at: &mut Progress) -> Option<Vec<u8>> {
        let is_due = at.position > at.state_due || at.state_bytes >= STATE_BYTES || at.has_idle_cut;
        if !is_due || self.committer.is_state_pending() {
            return None;
        }
        let state = self.preparer.snapshot()?;
        self.committer.expect_state();
        at.has_idle_cut = false;
        at.state_bytes = 0;
        at.state_due = Position(at.position.0 + STATE_RECORDS);
        Some(state)
    }

    /// Whether Muster's own metrics had to be said although no record came.
    fn passes_idle_time(&mut self, at: &mut Progress) -> bool {
        // Only when all is delivered: what a destination that is down has to be told does not pile up.
        let is_at_rest = at.began.is_none() && self.lane.figures.committed() >= at.position;
        let now = self.lane.clock.wall();
        let passed = is_at_rest && self.preparer.pass_idle_time(now);
        if passed && let Err(error) = self.committer.note_idle_cut(now) {
            tracing::warn!(destination = %self.destination.name, %error, "a crash now could have metrics said twice");
        }
        at.has_idle_cut |= passed;
        passed
    }

    /// One record must cost one record, whatever is in it.
    fn take_guarded(&mut self, item: &StreamItem) {
        let mark = self.preparer.mark();
        let preparer = &mut self.preparer;
        if catch_unwind(AssertUnwindSafe(|| preparer.take(item))).is_err() {
            self.preparer.fall_back(mark);
            self.lane.figures.records_missing.add(1);
            let (destination, position) = (&self.destination.name, position_of(item));
            tracing::error!(%destination, %position, "journal record made its reader panic; it is not forwarded");
        }
    }

    fn round(&mut self, runtime: &Runtime, items: &mut Items, at: &mut Progress) -> Round {
        for _ in 0..RECORDS_A_ROUND {
            let item = match items.next() {
                None => return Round::End,
                Some(Ok(item)) => item,
                Some(Err(error)) => {
                    tracing::error!(destination = %self.destination.name, %error, "cannot read the journal; trying again");
                    return Round::Failed;
                }
            };
            if at.begun.is_none() && self.preparer.is_crowded_by(&item) && !self.emit(runtime, at) {
                return Round::Stop;
            }
            self.take(&item, at);
            let is_whole = match at.begun {
                Some((range, _)) => at.position >= range.end,
                None => self.preparer.is_full() || self.is_last_dropped(at),
            };
            if is_whole && !self.emit(runtime, at) {
                return Round::Stop;
            }
        }
        Round::More
    }

    fn take(&mut self, item: &StreamItem, at: &mut Progress) {
        let wall = match item {
            StreamItem::Batch(entry) => {
                at.state_bytes += entry.bytes.len();
                Some(entry.appended_wall)
            }
            StreamItem::Otlp(entry) => {
                at.state_bytes += entry.bytes.len();
                Some(entry.appended_wall)
            }
            StreamItem::Other { .. } => None,
            StreamItem::Gap { from, to, reason } => {
                self.lane.figures.records_missing.add(to.0 - from.0 + 1);
                let (destination, reason) = (&self.destination.name, reason.as_str());
                tracing::error!(%destination, %from, %to, reason, "journal records are missing; they are not forwarded");
                None
            }
        };
        self.take_guarded(item);
        at.position = position_of(item);
        if at.began.is_none() {
            let now = self.lane.clock.monotonic();
            at.began = Some((wall.unwrap_or_else(|| self.lane.clock.wall()), now));
        }
    }

    /// Whether what is dropped ends here: not more goes than has to.
    fn is_last_dropped(&self, at: &Progress) -> bool {
        let drop_until = self.orders.borrow().drop_until;
        at.after < drop_until && at.position >= drop_until
    }

    /// Whether what is gathered has waited long enough for more.
    fn is_due(&self, at: &Progress) -> bool {
        let now = self.lane.clock.monotonic();
        let is_old = at.began.is_some_and(|(_, began)| now.0.saturating_sub(began.0) >= GATHER_MAX);
        is_old && at.begun.is_none()
    }

    /// Hands what is gathered to the pipeline. False if there is nobody to take it.
    fn emit(&mut self, runtime: &Runtime, at: &mut Progress) -> bool {
        let range = Range { after: at.after, end: at.position };
        let requests = if range.after < self.orders.borrow().drop_until {
            self.preparer.drop_gathered();
            Vec::new()
        } else {
            self.preparer.finish(range)
        };
        let delivered = match at.begun.take() {
            Some((begun, done)) if begun == range => done.min(requests.len()),
            _ => 0,
        };
        for outgoing in &requests[..delivered] {
            self.lane.figures.delivered.add(outgoing.signal, outgoing.items);
        }
        let Some(room) = self.room(runtime, at, &requests) else { return false };
        let oldest = at.began.take().map_or(WallTime::default(), |(wall, _)| wall);
        at.after = range.end;
        let state = self.state(at);
        let unit = Unit { after: range.after, end: range.end, oldest, requests, delivered, state, room };
        self.hand_over(runtime, at, unit)
    }

    /// Waits for room. `None` if the collector stops.
    fn room(
        &mut self,
        runtime: &Runtime,
        at: &mut Progress,
        requests: &[Outgoing],
    ) -> Option<Option<OwnedSemaphorePermit>> {
        let bytes: usize = requests.iter().map(Outgoing::bytes_held).sum();
        if bytes == 0 {
            return Some(None);
        }
        let permits = bytes.div_ceil(ROOM_UNIT_BYTES).min(ROOM_BYTES / ROOM_UNIT_BYTES);
        loop {
            let room = at.room.clone();
            let mut stop = self.stop.clone();
            let got = runtime.block_on(async {
                tokio::select! {
                    // At most ROOM_BYTES / ROOM_UNIT_BYTES.
                    permit = room.acquire_many_owned(permits as u32) => Some(permit.ok()),
                    () = sleep(BLOCKED_LOOK) => None,
                    () = stopped(&mut stop) => Some(None),
                }
            });
            match got {
                Some(permit) => return permit.map(Some),
                None => self.keep_bound(at),
            }
        }
    }

    fn hand_over(&mut self, runtime: &Runtime, at: &mut Progress, unit: Unit) -> bool {
        loop {
            let mut stop = self.stop.clone();
            let units = self.units.clone();
            let slot = runtime.block_on(async {
                tokio::select! {
                    slot = units.reserve_owned() => Some(slot.ok()),
                    () = sleep(BLOCKED_LOOK) => None,
                    () = stopped(&mut stop) => Some(None),
                }
            });
            match slot {
                Some(Some(slot)) => {
                    slot.send(unit);
                    return true;
                }
                Some(None) => return false,
                None => self.keep_bound(at),
            }
        }
    }

    /// Has the oldest of the queue dropped when it is over its bound. Looks once in a while.
    fn keep_bound(&mut self, at: &mut Progress) {
        let now = self.lane.clock.monotonic();
        if at.looked != Monotonic::default() && now.0.saturating_sub(at.looked.0) < BLOCKED_LOOK {
            return;
        }
        at.looked = now;
        let max = self.destination.queue_bytes_max;
        let queued = self.journal.bytes_after(self.lane.figures.committed());
        if queued <= max {
            return;
        }
        let drop_until = self.journal.position_before(max - max / FREED_SHARE);
        if drop_until > self.orders.borrow().drop_until {
            let destination = &self.destination.name;
            tracing::warn!(%destination, queued, max, %drop_until, "queue is over its bound; its oldest part is dropped");
            self.orders.send_modify(|orders| orders.drop_until = drop_until);
        }
    }

    fn wait(&mut self, runtime: &Runtime, at: &Progress) {
        let now = self.lane.clock.monotonic();
        let longest = match at.began {
            Some((_, began)) => GATHER_MAX.saturating_sub(now.0.saturating_sub(began.0)),
            // It may be over its bound by now, or at rest.
            None if self.lane.figures.committed() < at.position => BLOCKED_LOOK,
            None => IDLE_LOOK.min(self.destination.metrics_interval),
        };
        runtime.block_on(async {
            tokio::select! {
                more = self.wake.changed() => {
                    if more.is_none() {
                        // Poisoned: the collector stops. Not to spin until it says so.
                        sleep(READ_RETRY).await;
                    }
                }
                () = sleep(longest) => {}
                () = stopped(&mut self.stop) => {}
            }
        });
    }

    async fn pause(&mut self, wait: Duration) {
        tokio::select! {
            () = sleep(wait) => {}
            () = stopped(&mut self.stop) => {}
        }
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }
}

fn position_of(item: &StreamItem) -> Position {
    match item {
        StreamItem::Batch(entry) => entry.position,
        StreamItem::Otlp(entry) => entry.position,
        StreamItem::Other { position, .. } => *position,
        StreamItem::Gap { to, .. } => *to,
    }
}
