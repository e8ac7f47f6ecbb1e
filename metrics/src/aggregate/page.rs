//! The page of an aggregate: families in catalogue order, series sorted by their labels.

use std::iter;

use muster::clock::WallTime;

use super::Store;
use super::origins::OriginId;
use super::table::{Series, Slot};
use super::walk::age_us;
use crate::catalogue::{FamilyId, MetricKind, Reading, Scale, families, family_ids, find};
use crate::exposition::{FamilyWriter, Format, Metadata, label_value};

/// What a scrape wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageRequest {
    /// The format of the answer.
    pub format: Format,
    /// These teams alone.
    pub team: Option<Vec<String>>,
    /// These projects alone.
    pub project: Option<Vec<String>>,
    /// These families alone, each by its name or the name of one of its samples. Empty: all.
    pub names: Vec<String>,
}

/// Where a page that is written in parts goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageCursor {
    family: usize,
}

impl PageRequest {
    /// Whether a family is asked for: by its own name, by that of one of its samples, or by the name that OpenMetrics
    /// gives it.
    pub fn wants(&self, metadata: &Metadata<'_>) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| metadata.is_named(name))
    }
}

pub(super) fn render_part(
    store: &Store,
    request: &PageRequest,
    now: WallTime,
    cursor: PageCursor,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Option<PageCursor> {
    let page = Page::new(store, request, now);
    for id in family_ids().skip(cursor.family) {
        if out.len() >= bytes_max {
            return Some(PageCursor { family: id.index() });
        }
        page.family(id, out);
    }
    None
}

struct Page<'a> {
    store: &'a Store,
    request: &'a PageRequest,
    now: WallTime,
    /// Which origins are asked for, by their ids.
    wanted: Vec<bool>,
    labelled: bool,
}

impl<'a> Page<'a> {
    fn new(store: &'a Store, request: &'a PageRequest, now: WallTime) -> Self {
        let wanted_text = |wanted: &Option<Vec<String>>, text: &str| {
            wanted.as_ref().is_none_or(|list| list.iter().any(|name| label_value(name) == text))
        };
        let mut wanted = vec![false; store.origins.len()];
        for (id, origin) in store.origins.iter() {
            wanted[id as usize] = wanted_text(&request.team, origin.team_name(&store.texts))
                && wanted_text(&request.project, origin.project_name(&store.texts));
        }
        Self { store, request, now, wanted, labelled: store.origins.are_labelled() }
    }

    fn family(&self, id: FamilyId, out: &mut Vec<u8>) {
        let family = id.family();
        let metadata = family.metadata();
        if !self.request.wants(&metadata) {
            return;
        }
        let mut writer = FamilyWriter::new(self.request.format, metadata, out);
        if let MetricKind::Gauge(Reading::SumOf(other)) = family.kind {
            return self.sums(id, find(other), &mut writer);
        }
        let mut labels = String::new();
        let table = &self.store.tables[id.index()];
        for &slot in self.store.order(id).iter() {
            let series = table.get(slot);
            if self.is_shown(id, series) {
                self.labels(id, series, &mut labels);
                self.series(id, slot, &labels, &mut writer);
            }
        }
    }

    fn series(&self, id: FamilyId, slot: Slot, labels: &str, writer: &mut FamilyWriter<'_>) {
        let table = &self.store.tables[id.index()];
        let series = table.get(slot);
        match id.family().kind {
            MetricKind::Counter(Scale::Ones) => writer.counter(labels, series.value, series.created_us),
            MetricKind::Counter(Scale::Millionths) => {
                writer.counter_millionths(labels, series.value, series.created_us);
            }
            MetricKind::Histogram(bounds) => {
                writer.histogram(labels, bounds, table.buckets(slot), series.created_us);
            }
            MetricKind::Gauge(Reading::SecondsSince) => {
                writer.gauge_millionths(labels, age_us(series, self.now));
            }
            MetricKind::Gauge(_) => writer.gauge(labels, f64::from_bits(series.value)),
        }
    }

    /// The sum of the visible series of `other` for each origin.
    fn sums(&self, id: FamilyId, other: Option<FamilyId>, writer: &mut FamilyWriter<'_>) {
        let Some(other) = other else { return };
        let mut labels = String::new();
        self.store.for_each_sum(other, |origin, total| {
            if self.is_wanted(id, origin) {
                labels.clear();
                self.scope_labels(origin, &mut labels);
                writer.gauge(&labels, total);
            }
        });
    }

    fn is_shown(&self, id: FamilyId, series: &Series) -> bool {
        self.is_wanted(id, series.key.origin) && self.store.is_visible(id, series)
    }

    fn is_wanted(&self, id: FamilyId, origin: OriginId) -> bool {
        self.wanted[origin as usize] && !self.store.origins.get(origin).disabled.contains(id)
    }

    fn labels(&self, id: FamilyId, series: &Series, labels: &mut String) {
        labels.clear();
        self.scope_labels(series.key.origin, labels);
        for (label, &value) in iter::zip(id.family().labels, &series.key.labels) {
            if !labels.is_empty() {
                labels.push(',');
            }
            labels.push_str(label.name);
            labels.push_str("=\"");
            labels.push_str(self.store.texts.get(value));
            labels.push('"');
        }
    }

    fn scope_labels(&self, origin: OriginId, labels: &mut String) {
        if self.labelled {
            labels.push_str(&self.store.origins.get(origin).labels);
        }
    }
}

/// Whether the catalogue has a family or a sample of that name, for whoever adds families to the page.
pub fn is_own_name(name: &str) -> bool {
    families().iter().any(|family| family.metadata().is_named(name))
}
