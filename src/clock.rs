//! Time as an argument. The only place in the workspace that asks the system for it.
//!
//! Wall time is data: it is written into events and shown to people. Order, timeouts and duplicates are decided by
//! sequence numbers and [`Monotonic`] time alone (reliability.md §0 rule 10).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct WallTime(pub u64);

/// Time since the clock was made; never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Monotonic(pub Duration);

/// Where time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall time, for data only.
    fn wall(&self) -> WallTime;
    /// Time that never goes back, for order and timeouts.
    fn monotonic(&self) -> Monotonic;
}

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

/// A clock that a test moves by hand.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    wall_us: Arc<AtomicU64>,
    monotonic_us: Arc<AtomicU64>,
}

impl WallTime {
    /// Seconds since the epoch as Prometheus and JSON give them.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// How long after `earlier` this is; zero when it is before, since wall clocks jump.
    pub fn since(self, earlier: WallTime) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn wall(&self) -> WallTime {
        // A clock before 1970 reads as the epoch itself: wall time is data and must never stop the program.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(self.origin.elapsed())
    }
}

impl ManualClock {
    /// A clock that stands at `wall`.
    pub fn at(wall: WallTime) -> Self {
        let clock = Self::default();
        clock.set_wall(wall);
        clock
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.wall_us.fetch_add(us, Ordering::SeqCst);
        self.monotonic_us.fetch_add(us, Ordering::SeqCst);
    }

    /// Sets wall time alone, as an operator or NTP would.
    pub fn set_wall(&self, wall: WallTime) {
        self.wall_us.store(wall.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> WallTime {
        WallTime(self.wall_us.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(Duration::from_micros(self.monotonic_us.load(Ordering::SeqCst)))
    }
}
