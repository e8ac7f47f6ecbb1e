//! What a rule of the catalogue may do with one event: add to a counter, set a gauge, observe in a histogram.
//!
//! A rule names labels by where they come from; here they become ids and a series. The texts and sources of a batch
//! are looked up once each and remembered for the rest of it, so that an event costs one probe of a hash index a family.

use std::borrow::Cow;

use muster::clock::WallTime;
use muster::v1;
use muster::v1::event::Kind;

use super::Store;
use super::origins::{Full, OriginId, OriginKey, TeamId};
use super::owners::{AgentIndex, NOBODY, OwnerId};
use super::table::{LABELS_MAX, Series, SeriesKey, Slot};
use super::texts::TextId;
use crate::catalogue::{Dispatch, FamilyId, FamilySet, MetricKind, ToolClass, Word, disabled_by, word};
use crate::exposition::label_value;

/// Where the value of a label comes from.
#[derive(Debug, Clone, Copy)]
pub enum Label {
    /// The source's tool.
    Tool,
    /// A text of the batch, by its index.
    Text(u32),
    /// A word of the catalogue's list, by its number.
    Word(u32),
}

impl From<Word> for Label {
    fn from(word: Word) -> Self {
        Label::Word(word.0)
    }
}

/// One event in the hands of a rule.
#[derive(Debug)]
pub struct Fact<'a> {
    store: &'a mut Store,
    memo: &'a mut Memo,
    batch: &'a v1::Batch,
    team: TeamId,
    /// `None`: there are too many agents, so it owns no gauges.
    agent: Option<AgentIndex>,
    now: u32,
    source: usize,
    weight: u64,
    time_us: u64,
    pub(super) family: FamilyId,
}

/// What has been looked up for the batch at hand.
#[derive(Debug, Default)]
pub(super) struct Memo {
    texts: Vec<MemoText>,
    sources: Vec<MemoSource>,
}

#[derive(Debug, Clone, Copy)]
enum MemoText {
    Unseen,
    /// Nobody has it yet.
    New,
    Known(TextId),
}

#[derive(Debug, Clone, Copy)]
struct MemoSource {
    class: Option<ToolClass>,
    origin: Option<OriginId>,
    owner: Option<OwnerId>,
    ended: bool,
    applied: u64,
    unknown: u64,
    extrapolated: u64,
    first_us: u64,
    /// Families that its tool's settings disable, if they were stated.
    disabled: Option<FamilySet>,
}

impl Memo {
    pub(super) fn start(&mut self, batch: &v1::Batch) {
        self.texts.clear();
        self.texts.resize(batch.strings.len(), MemoText::Unseen);
        self.sources.clear();
        self.sources.resize(batch.sources.len(), MemoSource::UNSEEN);
    }
}

impl MemoSource {
    const UNSEEN: Self = Self {
        class: None,
        origin: None,
        owner: None,
        ended: false,
        applied: 0,
        unknown: 0,
        extrapolated: 0,
        first_us: 0,
        disabled: None,
    };
}

/// Rules.
impl Fact<'_> {
    /// Adds to the counter of these labels, scaled by the event's weight. Adding 0 makes the series exist.
    pub fn add<const N: usize>(&mut self, labels: [Label; N], count: u64) {
        let count = count.saturating_mul(self.weight);
        if let Some(slot) = self.series(&labels) {
            self.store.tables[self.family.index()].get_mut(slot).add(count, self.now);
        }
    }

    /// Sets the gauge of these labels. A number that is none (NaN, infinite) is not a reading and is passed over.
    pub fn set<const N: usize>(&mut self, labels: [Label; N], value: f64) {
        if value.is_finite() {
            self.set_bits(&labels, value);
        }
    }

    /// Takes the gauge of these labels off the page until it is set again.
    pub fn unset<const N: usize>(&mut self, labels: [Label; N]) {
        if let Some(slot) = self.known_series(&labels) {
            self.store.tables[self.family.index()].get_mut(slot).value = f64::NAN.to_bits();
        }
    }

    /// Observes a duration in the histogram of these labels, as often as the event's weight says.
    pub fn observe<const N: usize>(&mut self, labels: [Label; N], duration_us: u64) {
        let MetricKind::Histogram(bounds) = self.family.family().kind else { return };
        let Some(slot) = self.series(&labels) else { return };
        let table = &mut self.store.tables[self.family.index()];
        table.get_mut(slot).touched_at = self.now;
        let bucket = bounds.upper_us.iter().take_while(|upper| **upper < duration_us).count();
        let buckets = table.buckets_mut(slot);
        buckets[bucket] = buckets[bucket].saturating_add(self.weight);
        let sum = &mut buckets[bounds.upper_us.len() + 1];
        *sum = sum.saturating_add(duration_us.saturating_mul(self.weight));
    }

    fn set_bits(&mut self, labels: &[Label], value: f64) {
        let Some(slot) = self.series(labels) else { return };
        // The series holds its origin, so there is an owner to be had unless their number is at its bound.
        let Some(owner) = self.owner() else { return self.overflowed(Full::Sources) };
        let now = self.now;
        let series = self.store.tables[self.family.index()].get_mut(slot);
        (series.value, series.owner, series.touched_at) = (value.to_bits(), owner, now);
    }
}

/// The aggregate's side.
impl<'a> Fact<'a> {
    pub(super) fn new(
        store: &'a mut Store,
        memo: &'a mut Memo,
        batch: &'a v1::Batch,
        team: TeamId,
        agent: Option<AgentIndex>,
        now: u32,
    ) -> Self {
        let family = store.own.events_applied;
        Self { store, memo, batch, team, agent, now, source: 0, weight: 1, time_us: 0, family }
    }

    /// Turns to the next event.
    pub(super) fn begin(&mut self, source: usize, weight: u64, time: WallTime) {
        (self.source, self.weight, self.time_us) = (source, weight, time.0);
        if self.memo.sources[source].class.is_none() {
            let tool = self.text_of(self.batch.sources[source].tool);
            let key = self.known_origin_key();
            let origin = key.and_then(|key| self.store.origins.find(&key));
            let class = Some(ToolClass::of(tool));
            self.memo.sources[source] = MemoSource { class, origin, first_us: time.0, ..MemoSource::UNSEEN };
        }
    }

    /// Runs the rules that `kind` wakes.
    pub(super) fn apply(&mut self, kind: &Kind) {
        match kind {
            Kind::SourceEnded(_) => self.end_source(),
            Kind::ToolSettings(settings) => self.settings(settings),
            _ => {}
        }
        let source = &mut self.memo.sources[self.source];
        source.applied += 1;
        source.extrapolated += self.weight - 1;
        self.store.totals.events_applied += 1;
        for &(family, rule) in Dispatch::get().rules(kind, self.tool_class()) {
            self.family = family;
            rule.run(kind, self);
        }
    }

    fn tool_class(&self) -> ToolClass {
        self.memo.sources[self.source].class.unwrap_or(ToolClass::Other)
    }

    pub(super) fn count_unknown(&mut self) {
        self.memo.sources[self.source].unknown += 1;
        self.store.totals.unknown_events += 1;
    }

    /// The source is gone: so are its gauges.
    fn end_source(&mut self) {
        if let Some(owner) = self.known_owner() {
            self.store.owners.end(owner);
        }
        let source = &mut self.memo.sources[self.source];
        (source.owner, source.ended) = (None, true);
    }

    /// Reads which families the tool's settings disable.
    fn settings(&mut self, settings: &v1::ToolSettings) {
        let mut disabled = FamilySet::default();
        if self.tool_class() == ToolClass::DevLoop {
            let names = settings.disabled_metrics.iter().map(|&name| self.text_of(name));
            names.flat_map(disabled_by).for_each(|family| disabled.insert(family));
            self.memo.sources[self.source].disabled = Some(disabled);
        }
    }

    /// Books what was counted once a source, and notes that the sources are there.
    pub(super) fn finish(&mut self) {
        self.weight = 1;
        for index in 0..self.memo.sources.len() {
            let source = self.memo.sources[index];
            if source.class.is_none() {
                continue;
            }
            (self.source, self.time_us) = (index, source.first_us);
            let own = self.store.own;
            let counts = [
                (own.events_applied, source.applied),
                (own.unknown_events, source.unknown),
                (own.extrapolated, source.extrapolated),
            ];
            for (family, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                self.family = family;
                self.add([Label::Tool], count);
            }
            // Without a series there is no origin, and nothing to settle for it.
            let Some(origin) = self.memo.sources[index].origin else { continue };
            if let Some(disabled) = source.disabled {
                self.store.origins.get_mut(origin).disabled = disabled;
            }
            if !source.ended {
                let _ = self.owner();
            }
        }
    }

    fn text_of(&self, index: u32) -> &'a str {
        self.batch.strings.get(index as usize).map_or("", String::as_str)
    }

    fn value_of(&self, index: u32) -> Cow<'a, str> {
        label_value(self.text_of(index))
    }
}

/// From labels to series.
impl Fact<'_> {
    /// The series of these labels: found, made, or, when there is no room, the overflow series. `None`: the fact has
    /// nowhere to go and is counted as overflowed.
    fn series(&mut self, labels: &[Label]) -> Option<Slot> {
        debug_assert_eq!(labels.len(), self.family.family().labels.len(), "{}", self.family.family().name);
        self.known_series(labels).or_else(|| self.new_series(labels))
    }

    fn known_series(&mut self, labels: &[Label]) -> Option<Slot> {
        let origin = self.memo.sources[self.source].origin?;
        let mut key = SeriesKey { origin, labels: [TextId::EMPTY; LABELS_MAX] };
        for (id, label) in key.labels.iter_mut().zip(labels) {
            *id = self.known_text(*label)?;
        }
        self.store.tables[self.family.index()].find(&key)
    }

    /// Not often: the first fact of a series, or a fact for which there is no room.
    #[cold]
    fn new_series(&mut self, labels: &[Label]) -> Option<Slot> {
        let per_family_max = self.store.config.series_per_family_max;
        let who = self.known_agent();
        if let Some(full) = self.store.origins.full(self.team, who, self.family, per_family_max) {
            self.overflowed(full);
            return match self.family.family().kind {
                MetricKind::Gauge(_) => None,
                MetricKind::Counter(_) | MetricKind::Histogram(_) => Some(self.overflow_series()),
            };
        }
        let origin = self.origin();
        let mut key = SeriesKey { origin, labels: [TextId::EMPTY; LABELS_MAX] };
        for (id, label) in key.labels.iter_mut().zip(labels) {
            *id = self.intern_text(*label);
        }
        Some(self.store.series_or_insert(self.family, key, self.time_us, self.now))
    }

    fn overflow_series(&mut self) -> Slot {
        let store = &mut *self.store;
        let key = store.origins.overflow_key(self.team);
        let origin = store.origins.intern(self.team, key, &mut store.texts);
        let mut labels = [TextId::EMPTY; LABELS_MAX];
        labels[..self.family.family().labels.len()].fill(TextId(word::OVERFLOW.0));
        let key = SeriesKey { origin, labels };
        store.series_or_insert(self.family, key, self.time_us, self.now)
    }

    /// Counts a fact without a series of its own. Its own family is outside the bounds: it has one series a family
    /// and bound.
    fn overflowed(&mut self, full: Full) {
        let (weight, store) = (self.weight, &mut *self.store);
        store.totals.overflowed = store.totals.overflowed.saturating_add(weight);
        let key = store.origins.own_key(self.team);
        let origin = store.origins.intern(self.team, key, &mut store.texts);
        let family = store.texts.intern(self.family.family().name);
        let reason = store.texts.intern(full.reason());
        let key = SeriesKey { origin, labels: [family, reason, TextId::EMPTY] };
        let own = store.own.series_overflow;
        let slot = store.series_or_insert(own, key, self.time_us, self.now);
        store.tables[own.index()].get_mut(slot).add(weight, self.now);
    }

    fn known_text(&mut self, label: Label) -> Option<TextId> {
        let index = match label {
            Label::Word(word) => return Some(TextId(word)),
            Label::Tool => self.batch.sources[self.source].tool,
            Label::Text(index) => index,
        };
        let Some(memo) = self.memo.texts.get(index as usize) else { return Some(TextId::EMPTY) };
        match *memo {
            MemoText::Known(id) => Some(id),
            MemoText::New => None,
            MemoText::Unseen => {
                let found = self.store.texts.find(&self.value_of(index));
                self.memo.texts[index as usize] = found.map_or(MemoText::New, MemoText::Known);
                found
            }
        }
    }

    fn intern_text(&mut self, label: Label) -> TextId {
        let index = match label {
            Label::Word(word) => return TextId(word),
            Label::Tool => self.batch.sources[self.source].tool,
            Label::Text(index) => index,
        };
        let id = self.store.texts.intern(&self.value_of(index));
        if let Some(memo) = self.memo.texts.get_mut(index as usize) {
            *memo = MemoText::Known(id);
        }
        id
    }

    /// The key of the source's origin if all its texts are known.
    /// User and host; `None` if one of them is new, and so whoever it is.
    fn known_agent(&mut self) -> Option<[TextId; 2]> {
        let source = self.batch.sources[self.source];
        Some([self.known_text(Label::Text(source.user))?, self.known_text(Label::Text(source.host))?])
    }

    fn known_origin_key(&mut self) -> Option<OriginKey> {
        let source = self.batch.sources[self.source];
        let user = self.known_text(Label::Text(source.user))?;
        let host = self.known_text(Label::Text(source.host))?;
        let project = self.known_text(Label::Text(source.project))?;
        Some(self.store.origins.key(self.team, user, host, project))
    }

    /// The source's origin, made if there was none. Who makes it must refer to it, or it is swept with the next expiry.
    fn origin(&mut self) -> OriginId {
        if let Some(origin) = self.memo.sources[self.source].origin {
            return origin;
        }
        let source = self.batch.sources[self.source];
        let [user, host, project] =
            [source.user, source.host, source.project].map(|index| self.intern_text(Label::Text(index)));
        let store = &mut *self.store;
        let key = store.origins.key(self.team, user, host, project);
        let origin = store.origins.intern(self.team, key, &mut store.texts);
        self.memo.sources[self.source].origin = Some(origin);
        origin
    }

    fn known_owner(&mut self) -> Option<OwnerId> {
        let source = self.memo.sources[self.source];
        let tool = self.known_text(Label::Tool)?;
        source.owner.or_else(|| self.store.owners.find(self.agent?, source.origin?, tool))
    }

    fn owner(&mut self) -> Option<OwnerId> {
        if let Some(owner) = self.memo.sources[self.source].owner {
            return Some(owner);
        }
        let (agent, origin) = (self.agent?, self.memo.sources[self.source].origin?);
        if let Some(owner) = self.known_owner() {
            self.memo.sources[self.source].owner = Some(owner);
            return Some(owner);
        }
        if self.store.owners.is_full() {
            return None;
        }
        let tool = self.intern_text(Label::Tool);
        let store = &mut *self.store;
        store.origins.get_mut(origin).is_project |= store.texts.get(tool) != MACHINE_TOOL;
        let owner = store.owners.own((agent, origin, tool), &mut store.texts, &mut store.origins);
        let source = &mut self.memo.sources[self.source];
        (source.owner, source.ended) = (Some(owner), false);
        Some(owner)
    }
}

/// The tool of the machine's own figures, which belong to no project.
const MACHINE_TOOL: &str = "host";

impl Series {
    fn add(&mut self, count: u64, now: u32) {
        self.value = self.value.saturating_add(count);
        self.touched_at = now;
    }
}

impl Store {
    fn series_or_insert(&mut self, family: FamilyId, key: SeriesKey, created_us: u64, now: u32) -> Slot {
        if let Some(slot) = self.tables[family.index()].find(&key) {
            return slot;
        }
        let value = match family.family().kind {
            MetricKind::Gauge(_) => f64::NAN.to_bits(),
            MetricKind::Counter(_) | MetricKind::Histogram(_) => 0,
        };
        self.insert(family, Series { key, value, created_us, touched_at: now, owner: NOBODY })
    }
}
