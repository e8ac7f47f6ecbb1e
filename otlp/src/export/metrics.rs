//! The catalogue's metrics as OTLP, for one destination.
//!
//! A [`MetricsExport`] counts batches as `/metrics` does, and now and then [cuts](MetricsExport::cut): everything that
//! there is to say at that time, as one request. A cut changes nothing; what was sent is [committed](MetricsExport::commit)
//! when the destination has it. A cut that is repeated, at the same time and with nothing applied in between, is the same
//! bytes.
//!
//! ```text
//! apply ... apply ── cut ──> send ──> commit ── apply ... apply ── cut ── ...
//!                     ^        │fails
//!                     └────────┘
//! ```
//!
//! - Cumulative: each sum since the series' first event. Delta: what came since the last committed cut; series without a
//!   change are left out. The sum of all committed deltas is the cumulative number is the number on the page, to the
//!   unit: differences are taken of the integers in which the aggregate counts.
//! - Gauges are sent as they read at the cut; those whose agent is not heard or whose source ended are not sent.
//! - A counter or histogram that leaves the aggregate for its age has been sent to its last number before.
//! - After a restart: [`MetricsExport::restore`], repeat the cut that may have been in flight, then
//!   [`MetricsExport::hear_nobody`], since nobody knows for how long the agents were not there.
//!
//! Bounds are the aggregate's (series a family and team); for deltas about 50 bytes more a series.

mod baseline;
pub(super) mod points;
mod state;

pub use state::StateError;

use bytes::Bytes;
use metrics::{Aggregate, AggregateConfig, AggregateStats, Applied, Mark, SeriesView};
use muster::clock::{Monotonic, WallTime};
use muster::ids::{AgentId, Team};
use muster::v1;

use self::baseline::Baseline;
use self::points::Request;

/// Counts batches and says what is new.
#[derive(Debug)]
pub struct MetricsExport {
    aggregate: Aggregate,
    temporality: Temporality,
    baseline: Baseline,
}

/// From when on sums and histograms count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Temporality {
    /// From the series' first event.
    Cumulative,
    /// From the last committed cut.
    Delta,
}

/// What a filter may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesFacts<'a> {
    /// The team.
    pub team: &'a str,
    /// The watched tool; `None` for what the aggregation says of itself.
    pub tool: Option<&'a str>,
    /// The project's name.
    pub project: &'a str,
    /// Name of the family, such as `muster_runs_total`.
    pub family: &'static str,
}

/// Everything there was to say at one time.
#[derive(Debug)]
pub struct Cut {
    /// An `ExportMetricsServiceRequest`.
    pub request: Bytes,
    /// Data points in it.
    pub items: u64,
    /// The points' time.
    pub time: WallTime,
    baseline: Baseline,
}

impl MetricsExport {
    /// Nothing counted yet.
    pub fn new(temporality: Temporality) -> Self {
        let aggregate = Aggregate::new(AggregateConfig::collector());
        Self { aggregate, temporality, baseline: Baseline::default() }
    }

    /// Counts a batch that [`muster::batch::decode`] returned. Each batch once, in the order of its agent.
    pub fn apply(&mut self, team: &Team, agent: AgentId, batch: &v1::Batch, at: Applied) {
        self.aggregate.apply(team, agent, batch, at);
    }

    /// Notes that the agent is there although it has nothing to say.
    pub fn heard(&mut self, team: &Team, agent: AgentId, monotonic: Monotonic) {
        self.aggregate.heard(team, agent, monotonic);
    }

    /// Lets go of what is over, but of no number that has not been committed. Call it every 10 to 60 seconds.
    pub fn expire(&mut self, now: Monotonic) {
        self.aggregate.expire_before(now, self.baseline.mark());
    }

    /// What there is to say at `time`, of the series that are wanted. `None` when there is nothing.
    ///
    /// `wanted` should answer the same for a series each time: one that it refuses keeps its numbers for later.
    pub fn cut(&self, time: WallTime, mut wanted: impl FnMut(&SeriesFacts<'_>) -> bool) -> Option<Cut> {
        let mut request = Request::new(self.temporality, time, self.baseline.time());
        let mut next = self.baseline.next(time, self.aggregate.mark());
        self.aggregate.for_each_series(time, |series| {
            let is_sent = series.is_visible && is_wanted(&series, &mut wanted);
            match self.temporality {
                Temporality::Cumulative if is_sent => request.add(&series, None),
                Temporality::Cumulative => {}
                Temporality::Delta => {
                    if let Some(change) = self.baseline.advance(&series, is_sent, &mut next) {
                        request.add(&series, Some(change));
                    }
                }
            }
        });
        let (request, items) = request.finish()?;
        Some(Cut { request, items, time, baseline: next })
    }

    /// Notes that the destination has the newest cut: the next deltas count from it.
    pub fn commit(&mut self, cut: Cut) {
        self.baseline = cut.baseline;
    }

    /// Takes every agent for silent until it is heard.
    pub fn hear_nobody(&mut self) {
        self.aggregate.hear_nobody();
    }

    /// Everything as bytes, for [`MetricsExport::restore`].
    pub fn snapshot(&self) -> Vec<u8> {
        state::write(self)
    }

    /// The export that [`MetricsExport::snapshot`] wrote, exactly: the next cut is the one that would have been cut there.
    ///
    /// When the destination now wants another temporality, deltas begin with all that has been counted so far. On an
    /// error, begin with [`MetricsExport::new`] where the journal begins.
    pub fn restore(temporality: Temporality, bytes: &[u8]) -> Result<Self, StateError> {
        state::read(temporality, bytes)
    }

    /// What the aggregate holds.
    pub fn stats(&self) -> AggregateStats {
        self.aggregate.stats()
    }

    /// Time of the last committed cut.
    pub fn committed_time(&self) -> Option<WallTime> {
        self.baseline.time()
    }
}

fn is_wanted(series: &SeriesView<'_>, wanted: &mut impl FnMut(&SeriesFacts<'_>) -> bool) -> bool {
    let [team, _, _, project] = series.scope.map(metrics::aggregate::unescaped);
    let label = series.labels().find(|(name, _)| *name == "tool");
    let label = label.map(|(_, value)| metrics::aggregate::unescaped(value));
    let tool = label.as_deref().or(series.family.tool);
    wanted(&SeriesFacts { team: &team, tool, project: &project, family: series.family.name })
}

/// Nothing was committed, so nothing may go.
const NOTHING_SETTLED: Mark = Mark(0);
