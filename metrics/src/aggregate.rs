//! Events in, series out: all series of all teams.
//!
//! [`Aggregate`] is a pure function of the batches it was given, in order, and of the time it was told. It owns no
//! clock, thread or lock: one writer calls [`Aggregate::apply`], [`Aggregate::heard`] and [`Aggregate::expire`]; any
//! number of readers call the methods on `&self`, under a lock that the caller holds.
//!
//! | part | is |
//! |---|---|
//! | `texts` | each label value once, escaped, counted by reference |
//! | `origins` | team, user, host, project: what the series of a source share |
//! | `owners` | sources of agents; a gauge is on the page while its owner lives and is heard |
//! | `table` | the series of one family, an index and an order |
//! | `fact` | what a rule of the catalogue may do: add, set, observe |
//! | `expiry` | what leaves, on the caller's timer and never on a scrape |
//! | `snapshot` | all of it as bytes, exactly |
//! | `page` | exposition |
//! | `walk` | all series with their exact numbers |
//!
//! Bounds: a team has at most `series_per_family_max` series in a family, and its [`TeamSeriesMax`] in all. A fact that
//! needs one more goes to the overflow series of family and team (gauges are dropped) and counts in
//! `muster_series_overflow_total` with the bound as its reason. Overflow series are among those that a bound counts, and
//! are made beyond it: one a family. A label value has at most [`LABEL_BYTES_MAX`](crate::exposition::LABEL_BYTES_MAX) bytes. Counters saturate.

mod expiry;
mod fact;
mod origins;
mod owners;
mod page;
mod snapshot;
mod table;
mod texts;
mod walk;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use muster::batch::BatchView;
use muster::clock::{Monotonic, WallTime};
use muster::ids::{AgentId, Team};
use muster::v1;

pub use fact::{Fact, Label};
pub use page::{PageCursor, PageRequest, is_own_name};
pub use snapshot::SnapshotError;
pub use walk::{Mark, SeriesValue, SeriesView, unescaped};

use crate::catalogue::{Bounds, Family, FamilyId, LabelOrder, MetricKind, families, find, self_families};
use fact::Memo;
use origins::{Origins, TeamId};
use owners::Owners;
use table::{Series, SeriesKey, Table};
use texts::{TextId, Texts};

/// All series.
#[derive(Debug)]
pub struct Aggregate {
    store: Store,
    /// Kept between batches for its memory alone.
    memo: Memo,
}

/// What an aggregate may hold and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateConfig {
    /// Which labels every family has before its own.
    pub scope: LabelScope,
    /// Most series of one family for one team.
    pub series_per_family_max: usize,
    /// Most series of one team in all families.
    pub team_series_max: TeamSeriesMax,
    /// Most series of one agent in all families: of a user on a host, as the labels have them.
    pub agent_series_max: usize,
    /// How long a counter or histogram stays after its last event and after its source was last there.
    pub counter_idle_max: Duration,
    /// How long an agent may be unheard before its gauges leave the page. [`Duration::MAX`]: for ever.
    pub gauge_owner_silent_max: Duration,
}

/// Most series of a team in all families. A histogram is one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamSeriesMax {
    /// Of each team.
    pub all: usize,
    /// Of single teams by name, instead.
    pub own: BTreeMap<String, usize>,
}

/// Which labels every family has before its own (design.md section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelScope {
    /// `team`, `user`, `host`, `project`.
    Collector,
    /// None while the page has one project, `project` with more.
    Agent,
}

/// When a batch is applied.
#[derive(Debug, Clone, Copy)]
pub struct Applied {
    /// Wall time: no event is taken to be later than this.
    pub wall: WallTime,
    /// For idle and silent times.
    pub monotonic: Monotonic,
}

/// What an aggregate holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AggregateStats {
    /// Series of all families.
    pub series: usize,
    /// Series of each family that has some, in catalogue order.
    pub series_by_family: Vec<(&'static str, usize)>,
    /// Facts that had no room for a series of their own, since the aggregate (or its snapshot's first ancestor) began.
    pub overflowed: u64,
    /// Events of known kinds.
    pub events_applied: u64,
    /// Events of unknown kinds.
    pub unknown_events: u64,
    /// Resident bytes, roughly.
    pub bytes_estimate: usize,
}

/// Default of [`AggregateConfig::series_per_family_max`]: a page of all families at it is still scraped in seconds.
pub const SERIES_PER_FAMILY_MAX: usize = 20_000;
/// Default of [`AggregateConfig::team_series_max`]: ten families at their own bound, some 40 MB of a page.
pub const TEAM_SERIES_MAX: usize = 200_000;
/// Default of [`AggregateConfig::agent_series_max`]: a quarter of a team's.
pub const AGENT_SERIES_MAX: usize = 50_000;
/// Default of [`AggregateConfig::counter_idle_max`] (design.md section 6).
pub const COUNTER_IDLE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Default of [`AggregateConfig::gauge_owner_silent_max`] at a collector: Prometheus' own look-back.
pub const GAUGE_OWNER_SILENT_MAX: Duration = Duration::from_secs(5 * 60);

impl AggregateConfig {
    /// A collector's.
    pub fn collector() -> Self {
        Self {
            scope: LabelScope::Collector,
            series_per_family_max: SERIES_PER_FAMILY_MAX,
            team_series_max: TeamSeriesMax::default(),
            agent_series_max: AGENT_SERIES_MAX,
            counter_idle_max: COUNTER_IDLE_MAX,
            gauge_owner_silent_max: GAUGE_OWNER_SILENT_MAX,
        }
    }

    /// An agent's own page, whose sources are in the same process and so never silent.
    pub fn agent() -> Self {
        Self { scope: LabelScope::Agent, gauge_owner_silent_max: Duration::MAX, ..Self::collector() }
    }
}

impl Default for TeamSeriesMax {
    fn default() -> Self {
        Self::from(TEAM_SERIES_MAX)
    }
}

/// The same of every team.
impl From<usize> for TeamSeriesMax {
    fn from(all: usize) -> Self {
        Self { all, own: BTreeMap::new() }
    }
}

impl TeamSeriesMax {
    /// That of the team of this name.
    pub fn of(&self, team: &str) -> usize {
        self.own.get(team).copied().unwrap_or(self.all)
    }
}

impl Aggregate {
    /// An empty aggregate.
    pub fn new(config: AggregateConfig) -> Self {
        Self { store: Store::new(config), memo: Memo::default() }
    }

    /// Counts a batch that [`muster::batch::decode`] returned, and notes that its agent is there. Each batch must be
    /// given once, in order of its agent.
    pub fn apply(&mut self, team: &Team, agent: AgentId, batch: &v1::Batch, at: Applied) {
        self.heard(team, agent, at.monotonic);
        self.replay(team, agent, batch, at);
    }

    /// Counts a batch that was received before a restart. Its agent is not thereby there: after a collector's restart
    /// no agent is, and gauges come to the page when their agent is heard.
    pub fn replay(&mut self, team: &Team, agent: AgentId, batch: &v1::Batch, at: Applied) {
        let store = &mut self.store;
        let now = store.timeline.tick(at.monotonic);
        let team = store.team(team.as_str());
        let agent = store.owners.known_or_silent(team, agent, now);
        self.memo.start(batch);
        let mut fact = Fact::new(store, &mut self.memo, batch, team, agent, now);
        for event in BatchView::new(batch).events().filter(|event| event.source < batch.sources.len()) {
            fact.begin(event.source, event.weight, event.time.min(at.wall));
            match event.kind {
                None => fact.count_unknown(),
                Some(kind) => fact.apply(kind),
            }
        }
        fact.finish();
        store.settle_grown();
    }

    /// Notes that the agent is there although it has nothing to say (heartbeat, acknowledged duplicate).
    pub fn heard(&mut self, team: &Team, agent: AgentId, monotonic: Monotonic) {
        let store = &mut self.store;
        let now = store.timeline.tick(monotonic);
        let team = store.team(team.as_str());
        store.owners.heard(team, agent, now);
    }

    /// Lets go of what is over: gauges of silent agents leave the page, ended gauges and idle counters are removed.
    /// Call it every 10 to 60 seconds.
    pub fn expire(&mut self, now: Monotonic) {
        self.store.expire(now, Mark(u32::MAX));
    }

    /// Everything as bytes, for [`Aggregate::restore`].
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::write(&self.store)
    }

    /// The aggregate that [`Aggregate::snapshot`] wrote. On an error nothing is half restored: begin with
    /// [`Aggregate::new`] and replay the journal from its start.
    pub fn restore(config: AggregateConfig, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut aggregate = Self::restore_as_heard(config, bytes)?;
        // The timeline stood still and nobody knows for how long, so who was there then must be heard again. An agent's
        // own page has its sources in the same process.
        if aggregate.store.config.scope == LabelScope::Collector {
            aggregate.hear_nobody();
        }
        Ok(aggregate)
    }

    /// Writes the whole page of `request` to the end of `out`.
    pub fn render(&self, request: &PageRequest, now: WallTime, out: &mut Vec<u8>) {
        let mut next = Some(PageCursor::default());
        while let Some(cursor) = next {
            next = self.render_part(request, now, cursor, usize::MAX, out);
        }
        request.format.finish(out);
    }

    /// Writes whole families from `cursor` on until `out` has `bytes_max` or more, and says where to go on. Between
    /// parts the caller may let the writer in. The page's end is the caller's: [`Format::finish`], after families of
    /// its own ([`merge_text`]).
    ///
    /// [`Format::finish`]: crate::Format::finish
    /// [`merge_text`]: crate::exposition::merge_text
    pub fn render_part(
        &self,
        request: &PageRequest,
        now: WallTime,
        cursor: PageCursor,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Option<PageCursor> {
        page::render_part(&self.store, request, now, cursor, bytes_max, out)
    }

    /// What it holds.
    pub fn stats(&self) -> AggregateStats {
        self.store.stats()
    }
}

/// The state behind an aggregate.
#[derive(Debug)]
struct Store {
    config: AggregateConfig,
    texts: Texts,
    origins: Origins,
    owners: Owners,
    /// One a family, in catalogue order.
    tables: Vec<Table>,
    timeline: Timeline,
    own: OwnFamilies,
    totals: Totals,
}

/// Counts since the beginning, over restarts.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    overflowed: u64,
    events_applied: u64,
    unknown_events: u64,
}

/// Families that the aggregation itself keeps.
#[derive(Debug, Clone, Copy)]
struct OwnFamilies {
    events_applied: FamilyId,
    extrapolated: FamilyId,
    unknown_events: FamilyId,
    series_overflow: FamilyId,
}

/// Seconds that go on where the snapshot had them, whatever the process's own clock begins with.
#[derive(Debug, Default)]
struct Timeline {
    now: u32,
    /// Added to a monotonic time; fixed by the first one after a start.
    offset: Option<i64>,
}

impl Store {
    fn new(config: AggregateConfig) -> Self {
        let own = |name| find(name).expect("the catalogue has the aggregation's own families");
        Self {
            texts: Texts::new(),
            origins: Origins::new(config.scope, config.agent_series_max),
            config,
            owners: Owners::default(),
            tables: families().iter().map(|family| Table::new(stride(family))).collect(),
            timeline: Timeline::default(),
            own: OwnFamilies {
                events_applied: own(self_families::EVENTS_APPLIED),
                extrapolated: own(self_families::EXTRAPOLATED),
                unknown_events: own(self_families::UNKNOWN_EVENTS),
                series_overflow: own(self_families::SERIES_OVERFLOW),
            },
            totals: Totals::default(),
        }
    }

    /// The team of that name, with its bound.
    fn team(&mut self, name: &str) -> TeamId {
        let max = &self.config.team_series_max;
        self.origins.team(name, |name| max.of(name), &mut self.texts)
    }

    /// Adds a series and takes the references that it holds.
    fn insert(&mut self, family: FamilyId, series: Series) -> table::Slot {
        series.key.labels.iter().for_each(|&text| self.texts.retain(text));
        self.origins.retain(series.key.origin);
        self.origins.count_series(series.key.origin, family);
        self.tables[family.index()].insert(series)
    }

    /// Merges new series into the order of tables where they have become many.
    fn settle_grown(&mut self) {
        for (index, family) in families().iter().enumerate() {
            if self.tables[index].is_unsettled() {
                let (texts, origins) = (&self.texts, &self.origins);
                self.tables[index].settle(|a, b| compare(family, texts, origins, a, b));
            }
        }
    }

    /// The slots of a family in the order of the page.
    fn order(&self, id: FamilyId) -> std::borrow::Cow<'_, [table::Slot]> {
        self.tables[id.index()].order(|a, b| compare(id.family(), &self.texts, &self.origins, a, b))
    }

    fn stats(&self) -> AggregateStats {
        let by_family = families().iter().zip(&self.tables).map(|(family, table)| (family.name, table.len()));
        let tables: usize = self.tables.iter().map(Table::bytes_estimate).sum();
        AggregateStats {
            series: self.tables.iter().map(Table::len).sum(),
            series_by_family: by_family.filter(|(_, series)| *series > 0).collect(),
            overflowed: self.totals.overflowed,
            events_applied: self.totals.events_applied,
            unknown_events: self.totals.unknown_events,
            bytes_estimate: tables + self.texts.bytes_estimate(),
        }
    }
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

/// Numbers that a series of the family keeps in its table's buckets.
fn stride(family: &Family) -> usize {
    match family.kind {
        MetricKind::Histogram(Bounds { upper_us, .. }) => upper_us.len() + 2,
        _ => 0,
    }
}

/// The order of the page: by scope labels, then by the family's own.
fn compare(family: &Family, texts: &Texts, origins: &Origins, a: &Series, b: &Series) -> Ordering {
    let by_label = |index: usize| {
        let (a, b) = (label(&a.key, index), label(&b.key, index));
        match family.labels[index].order {
            _ if a == b => Ordering::Equal,
            LabelOrder::Word => a.0.cmp(&b.0),
            LabelOrder::Text => texts.get(a).cmp(texts.get(b)),
        }
    };
    let by_origin = origins.compare(a.key.origin, b.key.origin, texts);
    (0..family.labels.len()).fold(by_origin, |order, index| order.then_with(|| by_label(index)))
}

fn label(key: &SeriesKey, index: usize) -> TextId {
    key.labels[index]
}

#[cfg(test)]
mod tests;
