//! Metrics that came over OTLP as Prometheus series, by the OpenTelemetry-to-Prometheus rules (contracts/otlp.md
//! sections 2.5 and 3).
//!
//! [`ForeignSeries`] is a pure function of the payloads it was given, in order, and of the time it was told, as
//! [`metrics::Aggregate`] is: no clock, thread or lock.
//!
//! | part | is |
//! |---|---|
//! | `name`, `label` | names, units and labels of the page |
//! | `identity` | a stream: one writer's sequence of points |
//! | `amount`, `distribution` | sums that stay exact; histograms of every kind as classic buckets |
//! | `store` | teams, families, series, targets, streams |
//! | `fold`, `told` | the way of a point, and what it does |
//! | `expiry` | what leaves, and when |
//! | `page` | exposition |
//! | `snapshot` | all of it as bytes, exactly |
//!
//! **Streams and series.** Session, conversation and request ids are never labels (design.md section 6), so a series is
//! fed by any number of streams. A stream keeps its last point; the series keeps the sum:
//!
//! | point | does |
//! |---|---|
//! | delta sum, delta histogram | is added; the same start and time again is a duplicate |
//! | cumulative sum that only grows, cumulative histogram, summary | its difference to the stream's last point is added. The start time is part of the stream: after a reset, and from two writers who do not know of each other, the values of both are in the sum. A value that falls without a new start was reset as well |
//! | cumulative sum that may fall | its difference to the stream's last point is added, whatever its sign. A stream that ends takes its value with it |
//! | gauge | the last that came |
//! | without a recorded value | a stream that may fall ends; a gauge leaves the page if this stream wrote it last |
//!
//! A counter therefore never falls while its series is on the page. With one stream, a series reads exactly as its
//! source says. A first point whose start is its own time has an unknown start: it makes a series, and adds nothing to
//! one that is there. A stream that was let go for want of room and comes back (its start is before the last point of
//! what its series let go) counts from its first point on, so that nothing counts twice.
//!
//! **Bounds.** Families, series and streams for each team, series for each family and team ([`ForeignConfig`]), label and
//! name lengths, buckets. What finds no room is dropped and counted by reason ([`Dropped`]); for streams, those that
//! were silent longest make room, and what they counted stays counted. Where a series finds none, its counters and
//! histograms go to the overflow series of team and family, whose user, host and project are `__overflow__`, so that sums
//! stay whole; they are counted by reason all the same.
//!
//! **One family a name.** A family belongs to a team, so that no team can spoil another's. A metric that does not fit to
//! a family of its team with that name, or with that name for one of its samples, is dropped. On a page of more teams
//! the family that was there first has the name, and those of other teams that do not fit to it are not on that page.
//!
//! Exemplars are not kept.

mod amount;
mod distribution;
mod expiry;
mod fold;
mod identity;
mod label;
mod name;
mod page;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use metrics::Applied;
use metrics::aggregate::TeamSeriesMax;
use muster::clock::Monotonic;
use muster::ids::Team;
use prost::Message;

pub use page::PageCursor;
pub use snapshot::SnapshotError;
pub use store::Dropped;

use crate::Signal;
use crate::proto::collector_metrics::ExportMetricsServiceRequest;
use store::TeamStore;

/// All series from OTLP.
#[derive(Debug)]
pub struct ForeignSeries {
    config: ForeignConfig,
    timeline: Timeline,
    /// Payloads that were applied: the order in which streams were last heard.
    turn: u64,
    /// Families that were ever made: which was first.
    families_made: u64,
    /// Bounded by the teams that have credentials.
    teams: BTreeMap<String, TeamStore>,
}

/// What may be held and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignConfig {
    /// Most series of one family of one team.
    pub series_per_family_max: usize,
    /// Most series of one team.
    pub team_series_max: TeamSeriesMax,
    /// Most series of one agent: of a user on a host, as the labels have them.
    pub agent_series_max: usize,
    /// Most families of one team.
    pub families_per_team_max: usize,
    /// Most streams of one team.
    pub streams_per_team_max: usize,
    /// How long a series, and a stream that may fall, stays after its last point.
    pub idle_max: Duration,
    /// How long a stream that only grows is remembered after its last point, while its series is there: a laptop that
    /// slept over a holiday goes on where it was.
    pub stream_idle_max: Duration,
}

impl Default for ForeignConfig {
    fn default() -> Self {
        Self {
            series_per_family_max: metrics::aggregate::SERIES_PER_FAMILY_MAX,
            team_series_max: TeamSeriesMax::default(),
            agent_series_max: metrics::aggregate::AGENT_SERIES_MAX,
            families_per_team_max: 2_000,
            // Twice as many as series: those of a restarted process stand beside the ones before for a while.
            streams_per_team_max: 400_000,
            idle_max: metrics::aggregate::COUNTER_IDLE_MAX,
            stream_idle_max: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// Whose a payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// From the credential.
    pub team: &'a Team,
    /// As the agent has it; "": the resource's `user.name`.
    pub user: &'a str,
    /// As the agent has it; "": the resource's `host.name`.
    pub host: &'a str,
    /// As the agent has it; "": the resource's `muster.project`.
    pub project: &'a str,
}

impl<'a> Origin<'a> {
    /// A payload that came to the collector itself.
    pub fn of_team(team: &'a Team) -> Self {
        Self { team, user: "", host: "", project: "" }
    }
}

/// What is held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForeignStats {
    /// Series of all teams.
    pub series: usize,
    /// Families of all teams.
    pub families: usize,
    /// Streams of all teams.
    pub streams: usize,
    /// Log records, data points and spans that came, in the order of [`Signal::ALL`].
    pub items: [u64; 3],
    /// Data points that are in no series of their own, by reason; those that are 0 as well.
    pub dropped: Vec<(Dropped, u64)>,
}

impl ForeignSeries {
    /// Without any series.
    pub fn new(config: ForeignConfig) -> Self {
        let timeline = Timeline::default();
        Self { config, timeline, turn: 0, families_made: 0, teams: BTreeMap::new() }
    }

    /// Takes an `ExportMetricsServiceRequest`. Each payload must be given once. An error changes nothing.
    pub fn apply(
        &mut self,
        origin: &Origin<'_>,
        request: &[u8],
        at: Applied,
    ) -> Result<(), prost::DecodeError> {
        let request = ExportMetricsServiceRequest::decode(request)?;
        self.turn += 1;
        let when = fold::When { now: self.timeline.tick(at.monotonic), turn: self.turn, wall_us: at.wall.0 };
        let team = self.teams.entry(origin.team.as_str().to_owned()).or_default();
        for resource in &request.resource_metrics {
            fold::resource(&self.config, &mut self.families_made, team, origin, resource, when);
        }
        Ok(())
    }

    /// Counts items of a payload that makes no series.
    pub fn count_items(&mut self, team: &Team, signal: Signal, items: u64) {
        let team = self.teams.entry(team.as_str().to_owned()).or_default();
        team.count_items(signal, items);
    }

    /// Lets go of what is idle. Call it every 10 to 60 seconds.
    pub fn expire(&mut self, now: Monotonic) {
        let now = self.timeline.tick(now);
        for team in self.teams.values_mut() {
            expiry::expire(&self.config, team, now);
        }
    }

    /// Everything as bytes, for [`ForeignSeries::restore`].
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::write(self)
    }

    /// What [`ForeignSeries::snapshot`] wrote. On an error: begin with [`ForeignSeries::new`] and replay the journal.
    pub fn restore(config: ForeignConfig, bytes: &[u8]) -> Result<Self, SnapshotError> {
        snapshot::read(config, bytes)
    }

    /// What it holds.
    pub fn stats(&self) -> ForeignStats {
        let mut stats = ForeignStats {
            dropped: Dropped::ALL.iter().map(|reason| (*reason, 0)).collect(),
            ..Default::default()
        };
        for team in self.teams.values() {
            stats.series += team.series;
            stats.families += team.families().count();
            stats.streams += team.streams.len();
            stats.items.iter_mut().zip(team.items).for_each(|(sum, items)| *sum += items);
            stats.dropped.iter_mut().zip(team.dropped).for_each(|((_, sum), dropped)| *sum += dropped);
        }
        stats
    }
}

/// Seconds that go on where the snapshot had them, whatever the process's own clock begins with.
#[derive(Debug, Default)]
struct Timeline {
    now: u32,
    /// Added to a monotonic time; fixed by the first one after a start.
    offset: Option<i64>,
}

impl Timeline {
    fn tick(&mut self, monotonic: Monotonic) -> u32 {
        let seconds = i64::try_from(monotonic.0.as_secs()).unwrap_or(i64::MAX);
        let offset = *self.offset.get_or_insert(i64::from(self.now).saturating_sub(seconds));
        let now = u32::try_from(seconds.saturating_add(offset)).unwrap_or(u32::MAX);
        self.now = self.now.max(now);
        self.now
    }
}
