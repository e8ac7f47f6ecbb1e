//! The bytes that all requests together may make us hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Refusal;

/// A request is under way for milliseconds: those that are will have ended then.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A bound on bytes. At it, requests are refused as [`Refusal::Overloaded`].
#[derive(Debug)]
pub struct Budget {
    bytes_max: AtomicUsize,
    bytes_taken: AtomicUsize,
}

/// Bytes of a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub struct Room {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A bound of `bytes_max`.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max: AtomicUsize::new(bytes_max), bytes_taken: AtomicUsize::new(0) })
    }

    /// Changes the bound; what is held over a lower one goes when its request ends.
    pub fn set_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Bytes that are taken now.
    pub fn bytes_taken(&self) -> usize {
        self.bytes_taken.load(Ordering::Relaxed)
    }

    /// Room for `bytes`, if there is.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Room, Refusal> {
        let mut room = Room { budget: self.clone(), bytes: 0 };
        room.grow(bytes)?;
        Ok(room)
    }
}

impl Room {
    /// Takes `bytes` more; what it had stays its own when there is no room for them.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes == 0 {
            return Ok(());
        }
        let bytes_max = self.budget.bytes_max.load(Ordering::Relaxed);
        let within = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= bytes_max);
        match self.budget.bytes_taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, within) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(_) => Err(Refusal::Overloaded { retry_after: RETRY_AFTER }),
        }
    }

    /// Takes what is missing to `bytes` in all.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.grow(bytes.saturating_sub(self.bytes))
    }

    /// Gives back what is over `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let over = self.bytes.saturating_sub(bytes);
        self.budget.bytes_taken.fetch_sub(over, Ordering::AcqRel);
        self.bytes -= over;
    }

    /// What it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back_to_the_last_byte() {
        let budget = Budget::new(100);
        let mut room = budget.reserve(60).expect("room");
        assert!(budget.reserve(41).is_err());
        room.grow(40).expect("room");
        assert!(matches!(room.grow(1), Err(Refusal::Overloaded { .. })));
        assert!(room.grow(usize::MAX).is_err());
        assert_eq!((room.bytes(), budget.bytes_taken()), (100, 100));
        room.shrink_to(10);
        assert_eq!(budget.bytes_taken(), 10);
        drop(room);
        assert_eq!(budget.bytes_taken(), 0);
    }

    #[test]
    fn a_lower_bound_cuts_nobody_and_admits_nobody_until_enough_has_gone() {
        let budget = Budget::new(100);
        let room = budget.reserve(80).expect("room");
        budget.set_max(50);
        assert!(budget.reserve(1).is_err());
        drop(room);
        assert!(budget.reserve(50).is_ok());
    }
}
