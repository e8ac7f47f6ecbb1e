//! All series with their exact numbers, for whoever sends them on.

use std::borrow::Cow;

use muster::clock::{Monotonic, WallTime};

use super::origins::OriginId;
use super::table::Series;
use super::{Aggregate, Store};
use crate::catalogue::{Bounds, Family, FamilyId, MetricKind, Reading, Scale, family_ids, find};

/// A series as it stands.
#[derive(Debug, Clone, Copy)]
pub struct SeriesView<'a> {
    /// Its family.
    pub family: &'static Family,
    /// Team, user, host and project, as pages show them: see [`unescaped`].
    pub scope: [&'a str; 4],
    /// Values of the family's own labels, in the family's order, as pages show them: see [`unescaped`].
    pub labels: [&'a str; super::table::LABELS_MAX],
    /// Its numbers.
    pub value: SeriesValue<'a>,
    /// Time of its first event. A series that left and came back is another one.
    pub created: WallTime,
    /// Whether pages show it: its tool's settings do not disable it, and a gauge's owner is there and heard.
    pub is_visible: bool,
}

/// Numbers of a series.
#[derive(Debug, Clone, Copy)]
pub enum SeriesValue<'a> {
    /// A counter, as the exact integer that it is kept as.
    Counter {
        /// How many units.
        units: u64,
        /// What one of them is worth.
        scale: Scale,
    },
    /// A gauge as it reads at the time of the walk.
    Gauge(f64),
    /// A histogram.
    Histogram {
        /// Its upper bounds.
        bounds: &'a Bounds,
        /// How many are in each bucket, not cumulative; the last is above all bounds.
        counts: &'a [u64],
        /// Sum in microseconds.
        sum_us: u64,
    },
}

/// A point of the aggregate's own time. Facts from before it are in every walk after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u32);

impl Aggregate {
    /// Gives every series to `visit`: families in catalogue order, series sorted as on a page. Gauges without a reading
    /// are left out; `now` is for those that read an age.
    pub fn for_each_series(&self, now: WallTime, mut visit: impl FnMut(SeriesView<'_>)) {
        for id in family_ids() {
            match id.family().kind {
                MetricKind::Gauge(Reading::SumOf(other)) => {
                    self.store.visit_sums(id, find(other), &mut visit)
                }
                _ => self.store.visit(id, now, &mut visit),
            }
        }
    }

    /// A mark at the present.
    pub fn mark(&self) -> Mark {
        Mark(self.store.timeline.now)
    }

    /// As [`Aggregate::expire`], but counters and histograms that were updated at or after `mark` stay: for whoever has
    /// to send their last numbers on first.
    pub fn expire_before(&mut self, now: Monotonic, mark: Mark) {
        self.store.expire(now, mark);
    }

    /// As [`Aggregate::restore`], with the agents as they were heard when the snapshot was written: what is walked then
    /// is what would have been walked there.
    pub fn restore_as_heard(
        config: super::AggregateConfig,
        bytes: &[u8],
    ) -> Result<Self, super::SnapshotError> {
        Ok(Self { store: super::snapshot::read(config, bytes)?, memo: super::Memo::default() })
    }

    /// Takes every agent for silent until it is heard.
    pub fn hear_nobody(&mut self) {
        self.store.owners.agents.iter_mut().for_each(|agent| agent.silent = true);
    }
}

impl<'a> SeriesView<'a> {
    /// The family's own labels by name, as pages show them: see [`unescaped`].
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &'a str)> + use<'a> {
        self.family.labels.iter().map(|label| label.name).zip(self.labels)
    }
}

/// The label value that stands escaped on a page.
pub fn unescaped(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some(escaped) => escaped,
                None => '\\',
            },
            other => other,
        });
    }
    Cow::Owned(text)
}

impl Store {
    fn visit(&self, id: FamilyId, now: WallTime, visit: &mut impl FnMut(SeriesView<'_>)) {
        let table = &self.tables[id.index()];
        for &slot in self.order(id).iter() {
            let series = table.get(slot);
            let value = match id.family().kind {
                MetricKind::Counter(scale) => SeriesValue::Counter { units: series.value, scale },
                MetricKind::Histogram(bounds) => {
                    let (counts, sum) = table.buckets(slot).split_at(bounds.upper_us.len() + 1);
                    SeriesValue::Histogram { bounds, counts, sum_us: sum.first().copied().unwrap_or(0) }
                }
                MetricKind::Gauge(_) if f64::from_bits(series.value).is_nan() => continue,
                MetricKind::Gauge(Reading::SecondsSince) => {
                    SeriesValue::Gauge(age_us(series, now) as f64 / 1e6)
                }
                MetricKind::Gauge(_) => SeriesValue::Gauge(f64::from_bits(series.value)),
            };
            let is_visible =
                self.is_visible(id, series) && !self.origins.get(series.key.origin).disabled.contains(id);
            visit(SeriesView {
                family: id.family(),
                scope: self.scope_of(series.key.origin),
                labels: series.key.labels.map(|text| self.texts.get(text)),
                value,
                created: WallTime(series.created_us),
                is_visible,
            });
        }
    }

    fn visit_sums(&self, id: FamilyId, other: Option<FamilyId>, visit: &mut impl FnMut(SeriesView<'_>)) {
        let Some(other) = other else { return };
        self.for_each_sum(other, |origin, total| {
            visit(SeriesView {
                family: id.family(),
                scope: self.scope_of(origin),
                labels: [""; super::table::LABELS_MAX],
                value: SeriesValue::Gauge(total),
                created: WallTime(0),
                is_visible: !self.origins.get(origin).disabled.contains(id),
            });
        });
    }

    fn scope_of(&self, origin: OriginId) -> [&str; 4] {
        self.origins.get(origin).key.map(|text| self.texts.get(text))
    }

    /// The sum of the visible gauges of a family for each origin that has some, in the order of the page.
    pub(super) fn for_each_sum(&self, id: FamilyId, mut visit: impl FnMut(OriginId, f64)) {
        let table = &self.tables[id.index()];
        let mut sum: Option<(OriginId, f64)> = None;
        for &slot in self.order(id).iter() {
            let series = table.get(slot);
            if !self.is_visible(id, series) {
                continue;
            }
            let value = f64::from_bits(series.value);
            sum = match sum {
                Some((origin, total)) if origin == series.key.origin => Some((origin, total + value)),
                before => {
                    before.into_iter().for_each(|(origin, total)| visit(origin, total));
                    Some((series.key.origin, value))
                }
            };
        }
        sum.into_iter().for_each(|(origin, total)| visit(origin, total));
    }

    /// A gauge that is unset, or whose owner has ended or is silent, is not visible.
    pub(super) fn is_visible(&self, id: FamilyId, series: &Series) -> bool {
        match id.family().kind {
            MetricKind::Gauge(_) => {
                !f64::from_bits(series.value).is_nan() && self.owners.is_visible(series.owner)
            }
            MetricKind::Counter(_) | MetricKind::Histogram(_) => true,
        }
    }
}

/// Microseconds since the wall time that a gauge holds; 0 stands for "nothing runs" and reads 0.
pub(super) fn age_us(series: &Series, now: WallTime) -> u64 {
    let start_us = f64::from_bits(series.value);
    if start_us == 0.0 { 0 } else { now.0.saturating_sub(start_us as u64) }
}
