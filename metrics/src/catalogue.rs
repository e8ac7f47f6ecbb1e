//! The one table of metrics: name, type, unit, help, labels, and the rule that makes series from events.
//!
//! Everything that needs to know a metric reads it here: the aggregation runs the rules, the exposition takes HELP,
//! TYPE and UNIT, the reference page `docs/metrics.md` and the checks on dashboards are derived. A new metric is one
//! new entry in `loki`, `devloop` or `muster`, and nothing else.
//!
//! The order of the table is the order of the page. A rule says what one event does to one family; it cannot see
//! other events, so a family is a pure function of the events of its source.

mod devloop;
mod loki;
mod muster;
mod reference;
mod rule;
mod words;

use std::sync::LazyLock;

pub(crate) use ::muster::words::{WORDS, Word, word};
pub(crate) use muster::self_families;
pub use reference::reference_page;
pub use rule::Rule;
pub(crate) use rule::{Dispatch, ToolClass};

/// A metric family.
#[derive(Debug)]
pub struct Family {
    /// Name of its samples (without `_bucket`, `_sum`, `_count`); a counter's includes `_total` where it has one.
    pub name: &'static str,
    /// Type and how its numbers are kept.
    pub kind: MetricKind,
    /// Unit in words, "" when it counts things. OpenMetrics gets a UNIT line when the name ends with it.
    pub unit: &'static str,
    /// One line for people.
    pub help: &'static str,
    /// Its own labels in order, after those of the [scope](crate::LabelScope).
    pub labels: &'static [LabelDef],
    /// The family takes facts of this tool alone; `None`: of every tool.
    pub tool: Option<&'static str>,
    /// What events do to it. Empty for families that are derived or kept by the aggregation itself.
    pub rules: &'static [Rule],
}

/// A label of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelDef {
    /// Its name.
    pub name: &'static str,
    /// How its values are sorted on the page.
    pub order: LabelOrder,
}

/// How a label's values are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelOrder {
    /// Names: by their text.
    Text,
    /// Words of a closed list: as the list has them (`pending`, `in_progress`, ...).
    Word,
}

/// Type of a family and how its numbers are kept.
#[derive(Debug, Clone, Copy)]
pub enum MetricKind {
    /// Only grows.
    Counter(Scale),
    /// Reads what is now.
    Gauge(Reading),
    /// Classic histogram with fixed upper bounds.
    Histogram(&'static Bounds),
}

/// What one unit of a counter's integer is worth. Integers are exact however long they are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// One.
    Ones,
    /// One millionth: microseconds shown as seconds, micro-USD as USD.
    Millionths,
}

/// How a gauge's stored number becomes the one on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As it is.
    Value,
    /// It is a wall time in microseconds; the page shows the seconds since then at the time of rendering, at least 0.
    /// A stored 0 means "nothing runs" and reads 0.
    SecondsSince,
    /// Nothing is stored; the page shows the sum of the named family's visible series of the same scope labels.
    SumOf(&'static str),
}

/// Upper bounds of a histogram.
#[derive(Debug)]
pub struct Bounds {
    /// Ascending, in microseconds; `+Inf` comes on top.
    pub upper_us: &'static [u64],
    /// How many microseconds one unit of `le` and of the sum has.
    pub unit_us: u64,
}

/// Position of a family in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FamilyId(pub(crate) u8);

impl FamilyId {
    /// The family.
    pub fn family(self) -> &'static Family {
        CATALOGUE[usize::from(self.0)]
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// All families in the order of the page.
pub fn families() -> &'static [&'static Family] {
    &CATALOGUE
}

/// All families with their ids.
pub fn family_ids() -> impl Iterator<Item = FamilyId> {
    (0..CATALOGUE.len()).map(|index| FamilyId(index as u8))
}

/// The family of that name.
pub fn find(name: &str) -> Option<FamilyId> {
    family_ids().find(|id| id.family().name == name)
}

/// At most as many families as a set of them has bits (see [`FamilySet`]).
pub const FAMILIES_MAX: usize = 128;

/// A set of families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FamilySet(u128);

impl FamilySet {
    /// Whether `id` is in it.
    pub fn contains(self, id: FamilyId) -> bool {
        self.0 >> id.0 & 1 == 1
    }

    /// Puts `id` in.
    pub fn insert(&mut self, id: FamilyId) {
        self.0 |= 1 << id.0;
    }

    /// Nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The DevLoop families that a name under `disabledMetrics` means. The guide writes `event_latency_histogram` for
/// `devloop_event_latency_ms`, so prefix, unit and kind may be there or not.
pub fn disabled_by(name: &str) -> impl Iterator<Item = FamilyId> + use<'_> {
    let wanted = stem(name);
    family_ids().filter(move |id| {
        let family = id.family();
        family.tool == Some("devloop") && (family.name == name || stem(family.name) == wanted)
    })
}

fn stem(name: &str) -> &str {
    let mut stem = name.strip_prefix("devloop_").unwrap_or(name);
    for suffix in
        ["_histogram", "_counter", "_gauge", "_bucket", "_sum", "_count", "_total", "_ms", "_seconds"]
    {
        stem = stem.strip_suffix(suffix).unwrap_or(stem);
    }
    stem
}

static CATALOGUE: LazyLock<Vec<&'static Family>> = LazyLock::new(|| {
    let families: Vec<_> = loki::FAMILIES.iter().chain(devloop::FAMILIES).chain(muster::families()).collect();
    assert!(families.len() <= FAMILIES_MAX, "a set of families is one u128");
    families
});

/// A label whose values are names.
const fn text_label(name: &'static str) -> LabelDef {
    LabelDef { name, order: LabelOrder::Text }
}

/// A label whose values are words of a closed list.
const fn word_label(name: &'static str) -> LabelDef {
    LabelDef { name, order: LabelOrder::Word }
}

const TOOL: LabelDef = text_label("tool");
const AGENT: LabelDef = text_label("agent");
const STATUS: LabelDef = word_label("status");
const SEVERITY: LabelDef = word_label("severity");

const COUNT: MetricKind = MetricKind::Counter(Scale::Ones);
const MILLIONTHS: MetricKind = MetricKind::Counter(Scale::Millionths);
const GAUGE: MetricKind = MetricKind::Gauge(Reading::Value);
const SECONDS_SINCE: MetricKind = MetricKind::Gauge(Reading::SecondsSince);

const MIB: f64 = 1_048_576.0;

#[cfg(test)]
mod tests;
