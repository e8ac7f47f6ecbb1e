//! What is kept of a team: families with their series, targets, streams.
//!
//! Series, families and targets stand in slots, so that a stream can name its series by number. A slot that is let go
//! takes everything that names it along, in the same call.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use metrics::exposition::{FamilyType, Metadata};

use super::amount::Amount;
use super::distribution::Distribution;
use super::identity::StreamId;
use crate::Signal;

/// As in [`metrics::Aggregate`].
const OVERFLOW: &str = "__overflow__";
/// What the labels of an overflow series end with: it has none of its own.
const OVERFLOW_LABELS: &str = ",user=\"__overflow__\",host=\"__overflow__\",project=\"__overflow__\"";

/// Metrics of a team that the log names when they conflict; further ones are only counted.
const WARNED_MAX: usize = 1_000;

/// Why a data point is in no series of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// Its metric has a name of Muster's own.
    OwnName,
    /// Its metric's type does not fit to what the page has under that name.
    TypeConflict,
    /// Nothing of its metric's name can stand on a page, or it is too long.
    InvalidName,
    /// Its team has as many families as it may have.
    FamiliesMax,
    /// Its family has as many series as it may have. Counters and histograms are in the overflow series.
    SeriesMax,
    /// It has more labels than a series may have.
    TooManyLabels,
    /// It has more buckets than a histogram may have.
    TooManyBuckets,
    /// It is older than what is known.
    OutOfOrder,
    /// It was there before.
    Duplicate,
    /// Its value is no number or infinite, where it must be one.
    NotFinite,
    /// It belongs to something that only grows, and is negative.
    Negative,
    /// It contradicts itself, or says nothing.
    Malformed,
    /// Its team has as many series as it may have. Counters and histograms are in the overflow series.
    TeamSeriesMax,
    /// Its agent has as many series as it may have. Counters and histograms are in the team's overflow series.
    AgentSeriesMax,
}

impl Dropped {
    /// All reasons.
    pub const ALL: [Dropped; 14] = [
        Dropped::OwnName,
        Dropped::TypeConflict,
        Dropped::InvalidName,
        Dropped::FamiliesMax,
        Dropped::SeriesMax,
        Dropped::TooManyLabels,
        Dropped::TooManyBuckets,
        Dropped::OutOfOrder,
        Dropped::Duplicate,
        Dropped::NotFinite,
        Dropped::Negative,
        Dropped::Malformed,
        Dropped::TeamSeriesMax,
        Dropped::AgentSeriesMax,
    ];

    /// As it stands on the page.
    pub const fn name(self) -> &'static str {
        match self {
            Dropped::OwnName => "own_name",
            Dropped::TypeConflict => "type_conflict",
            Dropped::InvalidName => "invalid_name",
            Dropped::FamiliesMax => "families_max",
            Dropped::SeriesMax => "series_max",
            Dropped::TooManyLabels => "too_many_labels",
            Dropped::TooManyBuckets => "too_many_buckets",
            Dropped::OutOfOrder => "out_of_order",
            Dropped::Duplicate => "duplicate",
            Dropped::NotFinite => "not_finite",
            Dropped::Negative => "negative",
            Dropped::Malformed => "malformed",
            Dropped::TeamSeriesMax => "team_series_max",
            Dropped::AgentSeriesMax => "agent_series_max",
        }
    }
}

/// Type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

#[derive(Debug, Default)]
pub(super) struct TeamStore {
    pub(super) families: Slots<Family>,
    family_of: HashMap<String, u32>,
    /// Names that stand on the page, each with its family.
    claims: HashMap<String, u32>,
    pub(super) targets: Slots<Target>,
    target_of: HashMap<String, u32>,
    pub(super) streams: HashMap<StreamId, Stream>,
    /// Series of all families.
    pub(super) series: usize,
    /// Of these, those of each agent that has some, by [`Target::agent`].
    agent_series: HashMap<String, usize>,
    /// Log records, data points, spans that came.
    pub(super) items: [u64; 3],
    /// Data points by [`Dropped::ALL`].
    pub(super) dropped: [u64; 14],
    warned: HashSet<String>,
}

#[derive(Debug)]
pub(super) struct Family {
    /// On the page, with `_total`.
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) help: String,
    pub(super) kind: Kind,
    /// Which of all families came first.
    pub(super) born: u64,
    pub(super) series: Slots<Series>,
    /// By what stands between the braces.
    pub(super) by_labels: BTreeMap<Arc<str>, u32>,
}

#[derive(Debug)]
pub(super) struct Series {
    /// What stands between the braces.
    pub(super) labels: Arc<str>,
    pub(super) target: u32,
    pub(super) created_us: u64,
    /// On the timeline.
    pub(super) touched_at: u32,
    /// Streams that feed it.
    pub(super) streams: u32,
    /// Time of the last point, in nanoseconds, of streams that it let go.
    pub(super) let_go_ns: u64,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Counter(Amount),
    /// `writer` wrote it last; `None` is shown nowhere.
    Gauge {
        value: Option<Amount>,
        writer: StreamId,
    },
    Histogram(Distribution),
    Summary(Summary),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Summary {
    pub(super) count: u64,
    pub(super) sum: Amount,
    /// Of the point that came last: quantile and value, ascending.
    pub(super) quantiles: Vec<(f64, f64)>,
}

/// Who sends: what its series have in common, and the rest of its resource.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Escaped: team, user, host, project, job, instance.
    pub(super) labels: String,
    /// Escaped.
    pub(super) project: String,
    /// Labels that `target_info` has beside these; empty: it has no such sample.
    pub(super) info: String,
    pub(super) series: u32,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) family: u32,
    pub(super) series: u32,
    pub(super) start: u64,
    pub(super) time: u64,
    pub(super) touched_at: u32,
    pub(super) turn: u64,
    pub(super) last: Last,
}

/// What a stream's next point is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Last {
    /// Nothing: deltas and gauges.
    Nothing,
    /// A sum that may fall: its part in the gauge.
    Level(Amount),
    /// A sum that only grows.
    Count(Amount),
    Distribution(Box<Distribution>),
    Summary {
        count: u64,
        sum: Amount,
    },
}

impl Last {
    /// Whether its series keeps what the stream told when the stream is let go, and must not count it again.
    pub(super) fn only_grows(&self) -> bool {
        matches!(self, Last::Count(_) | Last::Distribution(_) | Last::Summary { .. })
    }
}

impl Series {
    /// Whether it takes what found no room for a series of its own.
    pub(super) fn is_overflow(&self) -> bool {
        self.labels.ends_with(OVERFLOW_LABELS)
    }
}

impl Target {
    /// User and host, as the labels have them; empty if neither is told.
    fn agent(&self) -> &str {
        let after = |at: usize| self.labels.get(at..).unwrap_or_default();
        let start = pair_len(&self.labels) + 1;
        let mut end = start;
        for key in ["user=", "host="] {
            if after(end).starts_with(key) {
                end += pair_len(after(end)) + 1;
            }
        }
        // Without the comma behind it.
        self.labels.get(start..end - 1).unwrap_or_default()
    }

    /// That of a team's overflow series.
    pub(super) fn overflow(team: &str) -> Self {
        let labels = format!("team=\"{team}\"{OVERFLOW_LABELS}");
        Self { labels, project: OVERFLOW.to_owned(), info: String::new(), series: 0 }
    }
}

/// Length of the first `key="value"`: up to its second quote that is not escaped.
fn pair_len(labels: &str) -> usize {
    let (mut is_escaped, mut quotes) = (false, 0);
    let end = labels.bytes().position(|byte| {
        quotes += usize::from(byte == b'"' && !is_escaped);
        is_escaped = byte == b'\\' && !is_escaped;
        quotes == 2
    });
    end.map_or(labels.len(), |quote| quote + 1)
}

impl Family {
    pub(super) fn metadata(&self) -> Metadata<'_> {
        let kind = match self.kind {
            Kind::Counter => FamilyType::Counter,
            Kind::Gauge => FamilyType::Gauge,
            Kind::Histogram => FamilyType::Histogram,
            Kind::Summary => FamilyType::Summary,
        };
        Metadata { name: &self.name, kind, help: &self.help, unit: &self.unit }
    }
}

/// The names that a family has on a page of either format.
pub(super) fn claims(name: &str, kind: Kind) -> Vec<String> {
    let base = match kind {
        Kind::Counter => name.strip_suffix("_total").unwrap_or(name),
        Kind::Gauge | Kind::Histogram | Kind::Summary => name,
    };
    let suffixes: &[&str] = match kind {
        Kind::Counter => &["", "_total", "_created"],
        Kind::Gauge => &[""],
        Kind::Histogram => &["", "_bucket", "_sum", "_count", "_created"],
        Kind::Summary => &["", "_sum", "_count", "_created"],
    };
    suffixes.iter().map(|suffix| format!("{base}{suffix}")).collect()
}

impl TeamStore {
    pub(super) fn count_items(&mut self, signal: Signal, items: u64) {
        self.items[signal as usize] = self.items[signal as usize].saturating_add(items);
    }

    pub(super) fn count_dropped(&mut self, reason: Dropped, points: u64) {
        self.dropped[reason as usize] = self.dropped[reason as usize].saturating_add(points);
    }

    /// Whether a metric is worth a line in the log: once each.
    pub(super) fn is_news(&mut self, metric: &str) -> bool {
        self.warned.len() < WARNED_MAX && self.warned.insert(metric.to_owned())
    }

    pub(super) fn families(&self) -> impl Iterator<Item = (u32, &Family)> {
        self.families.iter()
    }

    /// The family of that name and type. `Ok(None)`: there is room for it, as to names.
    pub(super) fn family(&self, name: &str, kind: Kind) -> Result<Option<u32>, Dropped> {
        if let Some(&id) = self.family_of.get(name) {
            let has_kind = self.families.get(id).is_some_and(|family| family.kind == kind);
            return if has_kind { Ok(Some(id)) } else { Err(Dropped::TypeConflict) };
        }
        let is_taken = claims(name, kind).iter().any(|claim| self.claims.contains_key(claim));
        if is_taken { Err(Dropped::TypeConflict) } else { Ok(None) }
    }

    /// Adds a family that [`TeamStore::family`] has room for.
    pub(super) fn add_family(&mut self, family: Family) -> u32 {
        let (name, claims) = (family.name.clone(), claims(&family.name, family.kind));
        let id = self.families.insert(family);
        self.claims.extend(claims.into_iter().map(|claim| (claim, id)));
        self.family_of.insert(name, id);
        id
    }

    pub(super) fn remove_family(&mut self, id: u32) {
        if let Some(family) = self.families.remove(id) {
            self.family_of.remove(&family.name);
            for claim in claims(&family.name, family.kind) {
                self.claims.remove(&claim);
            }
        }
    }

    pub(super) fn target(&self, labels: &str) -> Option<u32> {
        self.target_of.get(labels).copied()
    }

    pub(super) fn add_target(&mut self, target: Target) -> u32 {
        let labels = target.labels.clone();
        let id = self.targets.insert(target);
        self.target_of.insert(labels, id);
        id
    }

    pub(super) fn add_series(&mut self, family: u32, series: Series) -> Option<u32> {
        let labels = series.labels.clone();
        if let Some(target) = self.targets.get_mut(series.target) {
            target.series += 1;
            let agent = target.agent();
            match self.agent_series.get_mut(agent) {
                Some(series) => *series += 1,
                None => drop(self.agent_series.insert(agent.to_owned(), 1)),
            }
        }
        let family = self.families.get_mut(family)?;
        let id = family.series.insert(series);
        family.by_labels.insert(labels, id);
        self.series += 1;
        Some(id)
    }

    /// Removes a series; its streams are the caller's. A target without series goes with its last.
    pub(super) fn remove_series(&mut self, family: u32, series: u32) {
        let Some(family) = self.families.get_mut(family) else { return };
        let Some(series) = family.series.remove(series) else { return };
        family.by_labels.remove(&series.labels);
        self.series -= 1;
        let Some(target) = self.targets.get_mut(series.target) else { return };
        target.series -= 1;
        if let Some(series) = self.agent_series.get_mut(target.agent()) {
            *series -= 1;
            if *series == 0 {
                self.agent_series.remove(target.agent());
            }
        }
        if target.series == 0
            && let Some(target) = self.targets.remove(series.target)
        {
            self.target_of.remove(&target.labels);
        }
    }

    /// Series of who sends for this target. What tells neither user nor host is nobody's in particular: 0.
    pub(super) fn agent_series(&self, target: &Target) -> usize {
        let agent = target.agent();
        if agent.is_empty() { 0 } else { self.agent_series.get(agent).copied().unwrap_or(0) }
    }

    pub(super) fn series_mut(&mut self, family: u32, series: u32) -> Option<&mut Series> {
        self.families.get_mut(family)?.series.get_mut(series)
    }
}

/// Things by number. A number is used again when its thing has gone.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get(&self, id: u32) -> Option<&T> {
        self.slots.get(id as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.slots.get_mut(id as usize)?.as_mut()
    }

    pub(super) fn insert(&mut self, thing: T) -> u32 {
        match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = Some(thing);
                id
            }
            None => {
                self.slots.push(Some(thing));
                // Bounded by the configuration far below.
                (self.slots.len() - 1) as u32
            }
        }
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<T> {
        let thing = self.slots.get_mut(id as usize)?.take()?;
        self.free.push(id);
        Some(thing)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.slots.iter().enumerate().filter_map(|(id, slot)| slot.as_ref().map(|thing| (id as u32, thing)))
    }
}
