//! How an append learns its end, in a thread or in a task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Condvar, Mutex};

use crate::error::AppendError;
use crate::record::Position;

/// How an append ends: the position of its last record.
pub(crate) type Outcome = Result<Position, AppendError>;

/// Told once, by the writer's thread, when a unit is durable or has failed. Must be quick, and must not append.
pub(crate) trait Completion: Send + Sync {
    fn complete(&self, outcome: &Outcome);
}

/// A record that was queued. Comes true once it is durable, as a future or by [`Pending::wait`].
///
/// Dropping it does not take the record back.
#[must_use = "a record is acknowledged only when this comes true"]
#[derive(Debug)]
pub struct Pending {
    slot: Arc<Slot<Outcome>>,
}

/// A value that is set once and waited for by one.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    state: Mutex<SlotState<T>>,
    set: Condvar,
}

#[derive(Debug)]
struct SlotState<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl Pending {
    pub(crate) fn new(slot: Arc<Slot<Outcome>>) -> Self {
        Self { slot }
    }

    /// Blocks the thread until the record is durable or has failed.
    pub fn wait(self) -> Result<Position, AppendError> {
        self.slot.wait()
    }
}

impl Future for Pending {
    type Output = Result<Position, AppendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.slot.poll(context)
    }
}

impl<T: Clone> Slot<T> {
    pub(crate) fn set(&self, value: T) {
        let mut state = self.state.lock();
        state.value = Some(value);
        let waker = state.waker.take();
        drop(state);
        self.set.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn wait(&self) -> T {
        let mut state = self.state.lock();
        loop {
            if let Some(value) = &state.value {
                return value.clone();
            }
            self.set.wait(&mut state);
        }
    }

    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.state.lock();
        if let Some(value) = &state.value {
            return Poll::Ready(value.clone());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { state: Mutex::new(SlotState { value: None, waker: None }), set: Condvar::new() }
    }
}

impl Completion for Slot<Outcome> {
    fn complete(&self, outcome: &Outcome) {
        self.set(outcome.clone());
    }
}
