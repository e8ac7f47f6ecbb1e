//! The way of a point: from its payload to its stream and its series.

use std::sync::Arc;

use super::amount::Amount;
use super::distribution::Distribution;
use super::identity::{Identity, StreamId};
use super::label::{self, LABELS_MAX, Labels, SCOPE_NAME, SCOPE_SCHEMA_URL, SCOPE_VERSION};
use super::name::{PageName, Suffix, page_name};
use super::store::{Dropped, Family, Kind, Series, Stream, Summary, Target, TeamStore, Value};
use super::told::Told;
use super::{ForeignConfig, Origin, Signal, expiry};
use crate::proto::common::KeyValue;
use crate::proto::metrics::metric::Data;
use crate::proto::metrics::number_data_point::Value as NumberValue;
use crate::proto::metrics::{DataPointFlags, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics};

/// Longest HELP, in bytes.
const HELP_BYTES_MAX: usize = 512;

/// When a payload is applied.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    /// On the timeline.
    pub(super) now: u32,
    /// Number of the payload.
    pub(super) turn: u64,
    pub(super) wall_us: u64,
}

/// Applies what one resource sent.
pub(super) fn resource(
    config: &ForeignConfig,
    families_made: &mut u64,
    team: &mut TeamStore,
    origin: &Origin<'_>,
    sent: &ResourceMetrics,
    when: When,
) {
    let attributes = sent.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
    let target = target(origin, attributes);
    let known = team.target(&target.labels);
    if let Some(known) = known.and_then(|id| team.targets.get_mut(id)) {
        known.info.clone_from(&target.info);
    }
    let identity = Identity::new(&[origin.user, origin.host, origin.project], attributes);
    let (team_name, series_max) = (origin.team.as_str(), config.team_series_max.of(origin.team.as_str()));
    let mut fold = Fold { config, families_made, team, team_name, series_max, when, target };
    for scope in &sent.scope_metrics {
        fold.scope(&identity, scope);
    }
}

/// The labels that tell who sends (contracts/otlp.md section 3.1: `job`, `instance`, `target_info`).
fn target(origin: &Origin<'_>, attributes: &[KeyValue]) -> Target {
    let of = |key: &str| {
        let attribute = attributes.iter().find(|attribute| attribute.key == key);
        label::text(attribute.and_then(|attribute| attribute.value.as_ref()))
    };
    let ours = |of_origin: &str, key: &str| {
        if of_origin.is_empty() { of(key) } else { of_origin.to_owned() }
    };
    let (service, namespace) = (of("service.name"), of("service.namespace"));
    let is_named = !namespace.is_empty() && !service.is_empty();
    let job = if is_named { format!("{namespace}/{service}") } else { service };
    let instance = of("service.instance.id");
    let project = ours(origin.project, "muster.project");
    let mut labels = String::new();
    for (label, value) in [
        ("team", origin.team.as_str()),
        ("user", &ours(origin.user, "user.name")),
        ("host", &ours(origin.host, "host.name")),
        ("project", &project),
        ("job", &job),
        ("instance", &instance),
    ] {
        label::push(label, value, &mut labels);
    }
    const TOLD: [&str; 7] = [
        "service.name",
        "service.namespace",
        "service.instance.id",
        "user.name",
        "host.name",
        "muster.project",
        "muster.team",
    ];
    let mut info = Labels::default();
    if !(job.is_empty() && instance.is_empty()) {
        let rest = attributes.iter().filter(|attribute| !TOLD.contains(&attribute.key.as_str()));
        rest.filter(|attribute| !label::is_id(&attribute.key))
            .take(LABELS_MAX)
            .for_each(|attribute| info.add_attribute(attribute));
    }
    let mut info_text = String::new();
    info.write(&mut info_text);
    let project = metrics::exposition::label_value(&project).into_owned();
    Target { labels, project, info: info_text, series: 0 }
}

/// One resource's payload on its way into a team's store.
struct Fold<'a> {
    config: &'a ForeignConfig,
    families_made: &'a mut u64,
    team: &'a mut TeamStore,
    team_name: &'a str,
    /// Of the team.
    series_max: usize,
    when: When,
    target: Target,
}

/// What the points of a metric have in common.
struct MetricHead<'a> {
    metric: &'a Metric,
    name: PageName,
    kind: Kind,
    identity: Identity,
    scope: &'a Labels,
}

/// What a point has beside its value.
struct PointHead<'a> {
    attributes: &'a [KeyValue],
    start: u64,
    time: u64,
}

impl Fold<'_> {
    fn scope(&mut self, resource: &Identity, sent: &ScopeMetrics) {
        let scope = sent.scope.clone().unwrap_or_default();
        let mut labels = Labels::default();
        for (label, value) in
            [(SCOPE_NAME, &scope.name), (SCOPE_VERSION, &scope.version), (SCOPE_SCHEMA_URL, &sent.schema_url)]
        {
            labels.add(label.to_owned(), "", value.clone());
        }
        for attribute in scope.attributes.iter().filter(|attribute| !label::is_id(&attribute.key)) {
            let label = format!("otel_scope_{}", label::name(&attribute.key));
            // What collides with the three is dropped.
            if ![SCOPE_NAME, SCOPE_VERSION, SCOPE_SCHEMA_URL].contains(&label.as_str()) {
                labels.add(label, &attribute.key, label::text(attribute.value.as_ref()));
            }
        }
        let identity = resource.and(&[&scope.name, &scope.version, &sent.schema_url], &scope.attributes);
        for metric in &sent.metrics {
            self.metric(&identity, &labels, metric);
        }
    }

    fn metric(&mut self, scope: &Identity, scope_labels: &Labels, metric: &Metric) {
        let (kind, suffix, points, tag) = match &metric.data {
            Some(Data::Gauge(gauge)) => (Kind::Gauge, Suffix::Ratio, gauge.data_points.len(), "gauge"),
            Some(Data::Sum(sum)) if sum.is_monotonic => {
                (Kind::Counter, Suffix::Total, sum.data_points.len(), "count")
            }
            Some(Data::Sum(sum)) => (Kind::Gauge, Suffix::None, sum.data_points.len(), "level"),
            Some(Data::Histogram(histogram)) => {
                (Kind::Histogram, Suffix::None, histogram.data_points.len(), "histogram")
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                (Kind::Histogram, Suffix::None, histogram.data_points.len(), "exponential")
            }
            Some(Data::Summary(summary)) => {
                (Kind::Summary, Suffix::None, summary.data_points.len(), "summary")
            }
            None => return,
        };
        self.team.count_items(Signal::Metrics, points as u64);
        let head = match self.head(scope, scope_labels, metric, kind, suffix, tag) {
            Ok(head) => head,
            Err(reason) => {
                self.warn(metric, reason);
                return self.team.count_dropped(reason, points as u64);
            }
        };
        match &metric.data {
            Some(Data::Gauge(gauge)) => {
                self.numbers(&head, &gauge.data_points, |amount| Ok(Told::Gauge(amount)));
            }
            Some(Data::Sum(sum)) => {
                let (temporality, is_monotonic) = (sum.aggregation_temporality(), sum.is_monotonic);
                self.numbers(&head, &sum.data_points, |amount| Told::sum(amount, temporality, is_monotonic));
            }
            Some(Data::Histogram(histogram)) => {
                let temporality = histogram.aggregation_temporality();
                for point in &histogram.data_points {
                    let told = || Told::distribution(Distribution::explicit(point)?, temporality);
                    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                    let point_head = PointHead { attributes: &point.attributes, start, time };
                    self.point(&head, &point_head, point.flags, told);
                }
            }
            Some(Data::ExponentialHistogram(histogram)) => {
                let temporality = histogram.aggregation_temporality();
                for point in &histogram.data_points {
                    let told = || Told::distribution(Distribution::exponential(point)?, temporality);
                    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                    let point_head = PointHead { attributes: &point.attributes, start, time };
                    self.point(&head, &point_head, point.flags, told);
                }
            }
            Some(Data::Summary(summary)) => {
                for point in &summary.data_points {
                    let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
                    let point_head = PointHead { attributes: &point.attributes, start, time };
                    self.point(&head, &point_head, point.flags, || Told::summary(point));
                }
            }
            None => {}
        }
    }

    fn head<'a>(
        &self,
        scope: &Identity,
        scope_labels: &'a Labels,
        metric: &'a Metric,
        kind: Kind,
        suffix: Suffix,
        tag: &str,
    ) -> Result<MetricHead<'a>, Dropped> {
        let name = page_name(&metric.name, &metric.unit, suffix).ok_or(Dropped::InvalidName)?;
        let is_known = self.team.family(&name.name, kind).is_ok_and(|family| family.is_some());
        // All that begins with our name is kept for what is to come. A family that is there has been asked about.
        if !is_known && (name.name.starts_with("muster_") || is_own(&name.name, kind)) {
            return Err(Dropped::OwnName);
        }
        self.team.family(&name.name, kind)?;
        let identity = scope.and(&[&metric.name, &metric.unit, tag], &[]);
        Ok(MetricHead { metric, name, kind, identity, scope: scope_labels })
    }

    fn warn(&mut self, metric: &Metric, reason: Dropped) {
        if self.team.is_news(&metric.name) {
            let name = &metric.name[..metric.name.floor_char_boundary(HELP_BYTES_MAX)];
            tracing::warn!(
                metric = name,
                reason = reason.name(),
                "a metric that came over OTLP is not on the page"
            );
        }
    }

    fn numbers(
        &mut self,
        head: &MetricHead<'_>,
        points: &[NumberDataPoint],
        told: impl Fn(Amount) -> Result<Told, Dropped>,
    ) {
        for point in points {
            let told = || {
                told(match point.value.ok_or(Dropped::Malformed)? {
                    NumberValue::AsInt(number) => Amount::integer(number),
                    NumberValue::AsDouble(number) => Amount::float(number),
                })
            };
            let (start, time) = (point.start_time_unix_nano, point.time_unix_nano);
            self.point(head, &PointHead { attributes: &point.attributes, start, time }, point.flags, told);
        }
    }

    fn point(
        &mut self,
        head: &MetricHead<'_>,
        point: &PointHead<'_>,
        flags: u32,
        told: impl FnOnce() -> Result<Told, Dropped>,
    ) {
        let folded = if flags & DataPointFlags::NoRecordedValueMask as u32 != 0 {
            self.end(head, point);
            Ok(())
        } else {
            told().and_then(|told| self.fold(head, point, told))
        };
        if let Err(reason) = folded {
            self.team.count_dropped(reason, 1);
        }
    }

    /// A stream says that it has no value. What only grows stays as it is.
    fn end(&mut self, head: &MetricHead<'_>, point: &PointHead<'_>) {
        if head.kind == Kind::Gauge {
            // Streams of gauges and of sums that may fall are the same whenever they began.
            let id = head.identity.stream(point.attributes, 0);
            if self.team.streams.get(&id).is_some_and(|stream| stream.time <= point.time) {
                expiry::end(self.team, id);
            }
        }
    }

    fn fold(&mut self, head: &MetricHead<'_>, point: &PointHead<'_>, told: Told) -> Result<(), Dropped> {
        let is_told_by_start = matches!(told, Told::Count(_) | Told::Distribution(_) | Told::Summary(_));
        let id = head.identity.stream(point.attributes, if is_told_by_start { point.start } else { 0 });
        let Some(stream) = self.team.streams.get_mut(&id) else {
            return self.begin(head, point, told, id);
        };
        let is_delta = told.is_delta();
        if point.time != 0 && point.time == stream.time && (!is_delta || point.start == stream.start) {
            return Err(Dropped::Duplicate);
        }
        let is_old = point.time != 0 && point.time < stream.time;
        if is_old && !is_delta {
            return Err(Dropped::OutOfOrder);
        }
        if !is_old {
            (stream.start, stream.time) = (point.start, point.time);
        }
        (stream.touched_at, stream.turn) = (self.when.now, self.when.turn);
        let family = self.team.families.get_mut(stream.family);
        let series = family.and_then(|family| family.series.get_mut(stream.series));
        // A stream never outlives its series.
        let series = series.ok_or(Dropped::Malformed)?;
        series.touched_at = self.when.now;
        told.go_on(id, &mut stream.last, &mut series.value);
        let is_overflow = series.is_overflow();
        self.count_overflow(is_overflow, head);
        Ok(())
    }

    /// Counts a point of an overflow series.
    fn count_overflow(&mut self, is_overflow: bool, head: &MetricHead<'_>) {
        if is_overflow {
            let family = self.team.family(&head.name.name, head.kind).ok().flatten();
            // There may be room by now; the stream stays where it began.
            let reason = self.full(family).unwrap_or(Dropped::SeriesMax);
            self.team.count_dropped(reason, 1);
        }
    }

    /// Which bound leaves no room for one more series of the family.
    fn full(&self, family: Option<u32>) -> Option<Dropped> {
        let family = family.and_then(|id| self.team.families.get(id));
        if family.map_or(0, |family| family.series.len()) >= self.config.series_per_family_max {
            Some(Dropped::SeriesMax)
        } else if self.team.agent_series(&self.target) >= self.config.agent_series_max {
            Some(Dropped::AgentSeriesMax)
        } else if self.team.series >= self.series_max {
            Some(Dropped::TeamSeriesMax)
        } else {
            None
        }
    }

    /// The first point of a stream.
    fn begin(
        &mut self,
        head: &MetricHead<'_>,
        point: &PointHead<'_>,
        told: Told,
        id: StreamId,
    ) -> Result<(), Dropped> {
        let labels = self.labels(head, point)?;
        self.refuse_overflow(head, &labels)?;
        // Before the series is found: a stream that goes may take its series with it.
        expiry::make_room(self.config, self.team);
        let (family_id, series_id, is_new) = self.series(head, point, labels)?;
        let series = self.team.series_mut(family_id, series_id).ok_or(Dropped::SeriesMax)?;
        series.touched_at = self.when.now;
        series.streams += 1;
        let is_unknown = point.start != 0 && point.start == point.time && !is_new;
        let is_back = point.start != 0 && point.start <= series.let_go_ns;
        let last = told.begin(id, !(is_unknown || is_back), &mut series.value);
        let is_overflow = series.is_overflow();
        let stream = Stream {
            family: family_id,
            series: series_id,
            start: point.start,
            time: point.time,
            touched_at: self.when.now,
            turn: self.when.turn,
            last,
        };
        self.team.streams.insert(id, stream);
        self.count_overflow(is_overflow, head);
        Ok(())
    }

    /// When there is no room for streams, none that would go to an overflow series takes that of one with a series of its own.
    fn refuse_overflow(&self, head: &MetricHead<'_>, labels: &str) -> Result<(), Dropped> {
        if self.team.streams.len() < self.config.streams_per_team_max {
            return Ok(());
        }
        let known = self.team.family(&head.name.name, head.kind)?;
        match self.full(known) {
            Some(reason) if self.find(known, labels).is_none() => Err(reason),
            _ => Ok(()),
        }
    }

    /// The series of a point with these labels, made if need be. Whether it was.
    fn series(
        &mut self,
        head: &MetricHead<'_>,
        point: &PointHead<'_>,
        labels: Arc<str>,
    ) -> Result<(u32, u32, bool), Dropped> {
        let known = self.team.family(&head.name.name, head.kind)?;
        if let Some(found) = self.find(known, &labels) {
            return Ok(found);
        }
        if known.is_none() && self.team.families.len() >= self.config.families_per_team_max {
            return Err(Dropped::FamiliesMax);
        }
        match (self.full(known), head.kind) {
            (None, _) => self.add_series(head, point, known, (labels, self.target.clone())),
            (Some(_), Kind::Counter | Kind::Histogram) => {
                let target = Target::overflow(self.team_name);
                match self.find(known, &target.labels) {
                    Some(found) => Ok(found),
                    None => self.add_series(head, point, known, (target.labels.as_str().into(), target)),
                }
            }
            // A gauge of many sources would be that of any of them.
            (Some(reason), Kind::Gauge | Kind::Summary) => Err(reason),
        }
    }

    fn find(&self, family: Option<u32>, labels: &str) -> Option<(u32, u32, bool)> {
        let id = family?;
        let series = self.team.families.get(id)?.by_labels.get(labels)?;
        Some((id, *series, false))
    }

    /// A series that is not there yet.
    fn add_series(
        &mut self,
        head: &MetricHead<'_>,
        point: &PointHead<'_>,
        known: Option<u32>,
        (labels, target): (Arc<str>, Target),
    ) -> Result<(u32, u32, bool), Dropped> {
        let family = known.unwrap_or_else(|| self.add_family(head));
        let target = self.team.target(&target.labels).unwrap_or_else(|| self.team.add_target(target));
        let started_us = point.start / 1_000;
        let is_told = started_us > 0 && started_us <= self.when.wall_us;
        let series = Series {
            labels,
            target,
            created_us: if is_told { started_us } else { self.when.wall_us },
            touched_at: self.when.now,
            streams: 0,
            let_go_ns: 0,
            value: match head.kind {
                Kind::Counter => Value::Counter(Amount::ZERO),
                Kind::Gauge => Value::Gauge { value: Some(Amount::ZERO), writer: StreamId::default() },
                Kind::Histogram => Value::Histogram(Distribution::empty()),
                Kind::Summary => Value::Summary(Summary::default()),
            },
        };
        let series = self.team.add_series(family, series).ok_or(Dropped::SeriesMax)?;
        Ok((family, series, true))
    }

    fn labels(&self, head: &MetricHead<'_>, point: &PointHead<'_>) -> Result<Arc<str>, Dropped> {
        let mut labels = head.scope.clone();
        for attribute in point.attributes.iter().filter(|attribute| !label::is_id(&attribute.key)) {
            labels.add_attribute(attribute);
            if labels.len() > LABELS_MAX {
                return Err(Dropped::TooManyLabels);
            }
        }
        let mut text = self.target.labels.clone();
        labels.write(&mut text);
        Ok(text.into())
    }

    fn add_family(&mut self, head: &MetricHead<'_>) -> u32 {
        *self.families_made += 1;
        self.team.add_family(Family {
            name: head.name.name.clone(),
            unit: head.name.unit.clone(),
            help: help(&head.metric.description),
            kind: head.kind,
            born: *self.families_made,
            series: Default::default(),
            by_labels: Default::default(),
        })
    }
}

/// Whether the catalogue has one of the names that the family would have.
fn is_own(name: &str, kind: Kind) -> bool {
    super::store::claims(name, kind).iter().any(|claim| metrics::aggregate::is_own_name(claim))
}

/// A description as HELP can have it.
fn help(description: &str) -> String {
    let text = &description[..description.floor_char_boundary(HELP_BYTES_MAX)];
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.trim().replace(is_break, " ")
}
