//! The durable position, and who waits for it to move.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::record::Position;

/// The durable position. Each waiter has one place, so that the waiters bound the memory.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    position: AtomicU64,
    waiters: Mutex<Waiters>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Waiters {
    closed: bool,
    next_id: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// Wakes its owner when more is durable, or when the log is closed or poisoned.
#[derive(Debug)]
pub struct Subscription {
    durable: Arc<Durable>,
    id: u64,
    seen: Position,
}

impl Durable {
    pub(crate) fn at(position: u64) -> Self {
        Self { position: AtomicU64::new(position), ..Self::default() }
    }

    pub(crate) fn position(&self) -> Position {
        Position(self.position.load(Ordering::Acquire))
    }

    pub(crate) fn advance(&self, to: u64) {
        self.position.store(to, Ordering::Release);
        self.wake(&mut self.waiters.lock());
    }

    /// Nothing more will become durable.
    pub(crate) fn close(&self) {
        let mut waiters = self.waiters.lock();
        waiters.closed = true;
        self.wake(&mut waiters);
    }

    fn wake(&self, waiters: &mut Waiters) {
        self.moved.notify_all();
        for (_, waker) in std::mem::take(&mut waiters.wakers) {
            waker.wake();
        }
    }
}

impl Subscription {
    pub(crate) fn new(durable: Arc<Durable>) -> Self {
        let mut waiters = durable.waiters.lock();
        let id = waiters.next_id;
        waiters.next_id += 1;
        drop(waiters);
        Self { seen: durable.position(), durable, id }
    }

    /// The last durable position now; what [`Subscription::changed`] compares with next.
    pub fn position(&mut self) -> Position {
        self.seen = self.durable.position();
        self.seen
    }

    /// Comes true when the durable position is past the last one that this subscription told. `None` once the log is
    /// closed or poisoned and nothing is left to tell. Can be dropped and called again without losing a wake-up.
    pub fn changed(&mut self) -> impl Future<Output = Option<Position>> + '_ {
        poll_fn(|context| {
            // Looked at under the lock that `advance` wakes under, so that no move falls between look and wait.
            let mut waiters = self.durable.waiters.lock();
            let now = self.durable.position();
            if now > self.seen {
                self.seen = now;
                Poll::Ready(Some(now))
            } else if waiters.closed {
                Poll::Ready(None)
            } else {
                waiters.wakers.insert(self.id, context.waker().clone());
                Poll::Pending
            }
        })
    }

    /// As [`Subscription::changed`], for threads. `None` also when nothing came within `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Option<Position> {
        let mut waiters = self.durable.waiters.lock();
        let mut is_in_time = true;
        loop {
            let now = self.durable.position();
            if now > self.seen {
                self.seen = now;
                return Some(now);
            }
            if waiters.closed || !is_in_time {
                return None;
            }
            is_in_time = !self.durable.moved.wait_for(&mut waiters, timeout).timed_out();
        }
    }
}

impl Clone for Subscription {
    fn clone(&self) -> Self {
        let mut clone = Self::new(self.durable.clone());
        clone.seen = self.seen;
        clone
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.durable.waiters.lock().wakers.remove(&self.id);
    }
}
