//! Muster's own metrics for one destination: counted from the journal's batches, said once an interval.
//!
//! Time here is the wall time of the journal's records, so that a replay says the same at the same places: when a record
//! comes after an interval's end, everything is said as of that end, before the record is counted. When no record comes,
//! the clock's time is taken; what was said then is committed with the state, so that no number is said twice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::Applied;
use muster::clock::{Monotonic, WallTime};
use muster::ids::{AgentId, Team};
use muster::v1;
use otlp::export::{MetricsExport, Temporality};
use otlp::profile;

use crate::config::destination::Destination;

/// Everything there was to say at one time.
#[derive(Debug)]
pub(super) struct Said {
    /// An `ExportMetricsServiceRequest`.
    pub(super) request: Bytes,
    pub(super) time: WallTime,
}

/// See the module.
pub(super) struct OwnMetrics {
    destination: Arc<Destination>,
    temporality: Temporality,
    export: MetricsExport,
    interval_us: u64,
    /// Number of the interval that runs, since the epoch; 0 before the first record.
    interval: u64,
    /// The newest time that was seen: walls may go back, this does not.
    newest: WallTime,
    /// Whether anything was counted since it was last said.
    is_news: bool,
}

impl OwnMetrics {
    pub(super) fn new(destination: &Arc<Destination>) -> Self {
        let temporality = match destination.profile.metrics.monotonic {
            profile::Temporality::Delta => Temporality::Delta,
            profile::Temporality::Cumulative | profile::Temporality::AsIs => Temporality::Cumulative,
        };
        let interval_us = u64::try_from(destination.metrics_interval.as_micros()).unwrap_or(u64::MAX);
        Self {
            destination: destination.clone(),
            temporality,
            export: MetricsExport::new(temporality),
            interval_us: interval_us.max(1),
            interval: 0,
            newest: WallTime::default(),
            is_news: false,
        }
    }

    /// Counts a batch.
    pub(super) fn apply(&mut self, team: &Team, agent: AgentId, batch: &v1::Batch, wall: WallTime) {
        self.newest = self.newest.max(wall);
        let at = Applied { wall, monotonic: monotonic(self.newest) };
        self.export.apply(team, agent, batch, at);
        self.is_news = true;
    }

    /// What is to be said before a record of that time is counted.
    pub(super) fn pass_time(&mut self, wall: WallTime) -> Option<Said> {
        self.newest = self.newest.max(wall);
        let interval = self.newest.0 / self.interval_us;
        let is_first = self.interval == 0;
        if interval <= self.interval {
            return None;
        }
        self.interval = interval;
        if is_first { None } else { self.say(WallTime(interval * self.interval_us)) }
    }

    /// What is to be said since no record has come for an interval. Gauges and cumulative sums go on being said, deltas
    /// only when there are any.
    pub(super) fn pass_idle_time(&mut self, now: WallTime) -> Option<Said> {
        let is_due = now.0 / self.interval_us > self.interval && self.interval > 0;
        if !is_due || (self.temporality == Temporality::Delta && !self.is_news) {
            return None;
        }
        self.pass_time(now)
    }

    /// Everything as bytes.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [self.interval, self.newest.0, u64::from(self.is_news)] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.export.snapshot());
        bytes
    }

    /// Goes on where a snapshot was taken; on an error, in words, it stays as it is.
    pub(super) fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (numbers, export) = bytes.split_at_checked(24).ok_or("too short")?;
        let export = MetricsExport::restore(self.temporality, export).map_err(|error| error.to_string())?;
        let number = |n: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&numbers[8 * n..8 * n + 8]);
            u64::from_le_bytes(number)
        };
        (self.interval, self.newest, self.is_news) = (number(0), WallTime(number(1)), number(2) != 0);
        self.export = export;
        Ok(())
    }

    fn say(&mut self, time: WallTime) -> Option<Said> {
        self.export.expire(monotonic(self.newest));
        self.is_news = false;
        let filter = &self.destination.filter;
        let wants = |series: &otlp::export::SeriesFacts<'_>| {
            filter.wants_series(series.team, series.project, series.tool)
        };
        let cut = self.export.cut(time, wants)?;
        let said = Said { request: cut.request.clone(), time: cut.time };
        // In what is kept; on disk with the next state, when the destination has it.
        self.export.commit(cut);
        Some(said)
    }
}

/// A replay must see the silence of agents where it was.
fn monotonic(wall: WallTime) -> Monotonic {
    Monotonic(Duration::from_micros(wall.0))
}
