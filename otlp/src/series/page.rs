//! The page: families by name, the series of a family by team and labels; then `target_info` and the figures of all this.

use std::collections::{BTreeMap, HashMap, HashSet};

use metrics::PageRequest;
use metrics::exposition::{FamilyType, FamilyWriter, Metadata, Number, label_value};

use super::ForeignSeries;
use super::amount::Amount;
use super::store::{Dropped, Family, Series, TeamStore, Value, claims};
use crate::Signal;

/// Where a page that is written in parts goes on.
#[derive(Debug, Clone, Default)]
pub struct PageCursor {
    /// Families up to this name are written.
    after: String,
    /// Names that the page has.
    taken: HashSet<String>,
}

impl PageCursor {
    /// A page that has `taken` names already, of families and of samples.
    pub fn new(taken: impl IntoIterator<Item = String>) -> Self {
        Self { after: String::new(), taken: taken.into_iter().collect() }
    }
}

const TARGET_INFO: &str = "target_info";
const TARGET_CLAIMS: [&str; 2] = ["target", TARGET_INFO];

impl ForeignSeries {
    /// Writes whole families from `cursor` on until `out` has `bytes_max` or more, and says where to go on. The page's
    /// end is the caller's.
    pub fn render_part(
        &self,
        request: &PageRequest,
        mut cursor: PageCursor,
        bytes_max: usize,
        out: &mut Vec<u8>,
    ) -> Option<PageCursor> {
        let page = Page { request, teams: self.teams(request) };
        for (name, families) in page.families(&cursor.taken) {
            if name <= cursor.after.as_str() && !cursor.after.is_empty() {
                continue;
            }
            if out.len() >= bytes_max {
                return Some(cursor);
            }
            page.family(&families, out);
            cursor.after = name.to_owned();
        }
        if TARGET_CLAIMS.iter().all(|name| !cursor.taken.contains(*name)) {
            page.targets(out);
        }
        if request.project.is_none() {
            page.figures(out);
        }
        None
    }

    /// Writes all of it; the page's end is the caller's.
    pub fn render(&self, request: &PageRequest, taken: impl IntoIterator<Item = String>, out: &mut Vec<u8>) {
        let mut next = Some(PageCursor::new(taken));
        while let Some(cursor) = next {
            next = self.render_part(request, cursor, usize::MAX, out);
        }
    }

    /// The teams that are asked for, by name.
    fn teams<'a>(&'a self, request: &PageRequest) -> Vec<(&'a str, &'a TeamStore)> {
        let is_wanted =
            |team: &str| request.team.as_ref().is_none_or(|list| list.iter().any(|name| name == team));
        self.teams
            .iter()
            .map(|(name, team)| (name.as_str(), team))
            .filter(|(name, _)| is_wanted(name))
            .collect()
    }
}

struct Page<'a> {
    request: &'a PageRequest,
    teams: Vec<(&'a str, &'a TeamStore)>,
}

impl<'a> Page<'a> {
    /// Families by name, each of one type, with no name twice on the page: who was first has it.
    fn families(&self, taken: &HashSet<String>) -> BTreeMap<&'a str, Vec<(&'a TeamStore, &'a Family)>> {
        let mut all: Vec<(&TeamStore, &Family)> = Vec::new();
        for (_, team) in &self.teams {
            all.extend(team.families().map(|(_, family)| (*team, family)));
        }
        all.sort_by_key(|(_, family)| family.born);
        let mut owner_of: HashMap<String, (&str, FamilyType)> = HashMap::new();
        let mut by_name: BTreeMap<&str, Vec<(&TeamStore, &Family)>> = BTreeMap::new();
        for (team, family) in all {
            let owner = (family.name.as_str(), family.metadata().kind);
            let claims = claims(&family.name, family.kind);
            let fits = |claim: &String| {
                !taken.contains(claim)
                    && !TARGET_CLAIMS.contains(&claim.as_str())
                    && owner_of.get(claim).is_none_or(|other| *other == owner)
            };
            if claims.iter().all(fits) {
                owner_of.extend(claims.into_iter().map(|claim| (claim, owner)));
                by_name.entry(&family.name).or_default().push((team, family));
            }
        }
        by_name
    }

    fn family(&self, families: &[(&TeamStore, &Family)], out: &mut Vec<u8>) {
        let Some((_, first)) = families.first() else { return };
        let metadata = first.metadata();
        if !self.request.wants(&metadata) {
            return;
        }
        let mut shown: Vec<(&str, &Series)> = Vec::new();
        for (team, family) in families {
            let series = family.by_labels.values().filter_map(|id| family.series.get(*id));
            shown.extend(
                series.filter(|series| self.is_wanted(team, series)).map(|series| (&*series.labels, series)),
            );
        }
        // Labels begin with the team.
        shown.sort_by(|a, b| a.0.cmp(b.0));
        let mut writer = FamilyWriter::new(self.request.format, metadata, out);
        for (labels, series) in shown {
            write_series(labels, series, self.request.format, &mut writer);
        }
    }

    fn is_wanted(&self, team: &TeamStore, series: &Series) -> bool {
        let Some(list) = &self.request.project else { return true };
        let project = team.targets.get(series.target).map_or("", |target| target.project.as_str());
        list.iter().any(|name| label_value(name) == project)
    }

    fn targets(&self, out: &mut Vec<u8>) {
        let metadata = Metadata {
            name: TARGET_INFO,
            kind: FamilyType::Info,
            help: "What is known of who sends over OTLP",
            unit: "",
        };
        if !self.request.wants(&metadata) {
            return;
        }
        let project = self.request.project.as_ref();
        let is_wanted = |of: &str| project.is_none_or(|list| list.iter().any(|name| label_value(name) == of));
        let mut lines = Vec::new();
        for (_, team) in &self.teams {
            let targets = team.targets.iter().map(|(_, target)| target);
            let told = targets.filter(|target| !target.info.is_empty() && is_wanted(&target.project));
            lines.extend(told.map(|target| format!("{},{}", target.labels, target.info)));
        }
        lines.sort_unstable();
        let mut writer = FamilyWriter::new(self.request.format, metadata, out);
        lines.iter().for_each(|labels| writer.number("", labels, None, Number::Integer(1)));
    }

    /// Figures of each team's OTLP, for its conservation: what came is in a series of its own, or counted with a reason.
    fn figures(&self, out: &mut Vec<u8>) {
        let counter = |name, help| Metadata { name, kind: FamilyType::Counter, help, unit: "" };
        let gauge = |name, help| Metadata { name, kind: FamilyType::Gauge, help, unit: "" };
        let help =
            "Log records, data points and spans that were taken from the journal, whichever way they came";
        self.figure(counter("muster_otlp_folded_items_total", help), out, |team, write| {
            for signal in Signal::ALL {
                write(&format!(",signal=\"{signal}\""), team.items[signal as usize]);
            }
        });
        let help = "Data points from OTLP that are in no series of their own, by reason";
        self.figure(counter("muster_otlp_points_dropped_total", help), out, |team, write| {
            for reason in Dropped::ALL {
                write(&format!(",reason=\"{}\"", reason.name()), team.dropped[reason as usize]);
            }
        });
        self.figure(gauge("muster_otlp_series", "Series from OTLP"), out, |team, write| {
            write("", team.series as u64);
        });
        self.figure(
            gauge("muster_otlp_streams", "Streams that feed the series from OTLP"),
            out,
            |team, write| {
                write("", team.streams.len() as u64);
            },
        );
    }

    fn figure(
        &self,
        metadata: Metadata<'_>,
        out: &mut Vec<u8>,
        values: impl Fn(&TeamStore, &mut dyn FnMut(&str, u64)),
    ) {
        if !self.request.wants(&metadata) {
            return;
        }
        let mut writer = FamilyWriter::new(self.request.format, metadata, out);
        for (name, team) in &self.teams {
            let team_label = format!("team=\"{}\"", label_value(name));
            values(team, &mut |labels, value| {
                writer.number("", &format!("{team_label}{labels}"), None, Number::Integer(value.into()));
            });
        }
    }
}

fn write_series(labels: &str, series: &Series, format: metrics::Format, writer: &mut FamilyWriter<'_>) {
    let whole = |count: u64| Number::Integer(count.into());
    let is_open_metrics = format == metrics::Format::OpenMetrics100;
    match &series.value {
        Value::Counter(total) => {
            writer.number("", labels, None, total.number());
            writer.created(labels, series.created_us);
        }
        Value::Gauge { value, .. } => {
            if let Some(value) = value {
                writer.number("", labels, None, value.number());
            }
        }
        Value::Histogram(distribution) => {
            let mut count = 0_u64;
            let bounds = distribution.bounds.iter().copied().chain([f64::INFINITY]);
            for (bound, in_bucket) in bounds.zip(&distribution.counts) {
                count = count.saturating_add(*in_bucket);
                writer.number("_bucket", labels, Some(("le", bound)), whole(count));
            }
            // In OpenMetrics there is no negative sum, none beside negative bounds, and no count without a sum.
            let is_negative = distribution.bounds.first().is_some_and(|bound| *bound < 0.0);
            let is_refused = |sum: &Amount| is_open_metrics && (is_negative || sum.is_negative());
            let sum = distribution.sum.filter(|sum| !is_refused(sum));
            if let Some(sum) = sum {
                writer.number("_sum", labels, None, sum.number());
            }
            if sum.is_some() || !is_open_metrics {
                writer.number("_count", labels, None, whole(count));
            }
            writer.created(labels, series.created_us);
        }
        Value::Summary(summary) => {
            // Nor are values of a summary negative there.
            for (quantile, value) in
                summary.quantiles.iter().filter(|(_, value)| !(is_open_metrics && *value < 0.0))
            {
                writer.number("", labels, Some(("quantile", *quantile)), Number::Float(*value));
            }
            if !(is_open_metrics && summary.sum.is_negative()) {
                writer.number("_sum", labels, None, summary.sum.number());
            }
            writer.number("_count", labels, None, whole(summary.count));
            writer.created(labels, series.created_us);
        }
    }
}
