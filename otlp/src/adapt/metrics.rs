//! The walk over a metrics request: every point by its metric's rules.
//!
//! Points of a stream are looked at in the order in which they are in the request. What is left empty, a metric, a scope
//! or a resource, is left out: nobody wants empty envelopes.

use hashbrown::HashMap;

use super::attributes::{self, Place};
use super::identity::StreamId;
use super::point::{BUCKETS_MAX, Point};
use super::streams::{Baseline, Streams, Toward};
use super::temporality::{self, Reading};
use super::value::Value;
use super::{Counts, DropReason, Rules, check_age, exponential};
use crate::profile::{AttributeLimits, Exponential, NonFinite, Temporality};
use crate::proto::collector_metrics::ExportMetricsServiceRequest;
use crate::proto::common::KeyValue;
use crate::proto::metrics::metric::Data;
use crate::proto::metrics::{
    AggregationTemporality, ExponentialHistogram, Histogram, Metric, ResourceMetrics, ScopeMetrics,
};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// How far behind the last second of a stream a point may be and still be set after it. One further back has a second
/// of its own, most likely.
const SECONDS_APART: u64 = 60;

/// One pass over one request.
pub(super) struct Walk<'a> {
    rules: &'a Rules,
    streams: &'a mut Streams,
    now_ns: u64,
    counts: &'a mut Counts,
}

/// What the points of one metric share.
struct Within<'a> {
    id: StreamId,
    /// Name of the metric.
    name: &'a str,
    /// Attributes that a point may have beside its resource's and scope's.
    room: Option<usize>,
}

/// What is done to the points of a metric.
#[derive(Clone, Copy)]
struct Plan {
    toward: Option<Toward>,
    /// Whether deltas go out that must have a second each.
    spaced: bool,
}

impl<'a> Walk<'a> {
    pub fn new(rules: &'a Rules, streams: &'a mut Streams, now_ns: u64, counts: &'a mut Counts) -> Self {
        Self { rules, streams, now_ns, counts }
    }

    /// Makes the whole request fit.
    pub fn request(&mut self, request: &mut ExportMetricsServiceRequest) {
        request.resource_metrics.retain_mut(|entry| {
            self.resource(entry);
            !entry.scope_metrics.is_empty()
        });
    }

    fn resource(&mut self, entry: &mut ResourceMetrics) {
        let id = StreamId::of_resource(entry.resource.as_ref());
        let mut used = 0;
        if let Some(resource) = &mut entry.resource {
            let place = Place { max: self.rules.attributes.resource_max, ..Place::default() };
            let lost = self.fit(&mut resource.attributes, place);
            resource.dropped_attributes_count = resource.dropped_attributes_count.saturating_add(lost);
            used = resource.attributes.len();
        }
        entry.scope_metrics.retain_mut(|scope| {
            self.scope(scope, id, used);
            !scope.metrics.is_empty()
        });
    }

    fn scope(&mut self, group: &mut ScopeMetrics, id: StreamId, used: usize) {
        let id = id.with_scope(group.scope.as_ref());
        let mut used = used;
        if let Some(scope) = &mut group.scope {
            let place = Place { max: self.rules.attributes.scope_max, ..Place::default() };
            let lost = self.fit(&mut scope.attributes, place);
            scope.dropped_attributes_count = scope.dropped_attributes_count.saturating_add(lost);
            used += scope.attributes.len();
        }
        let room = self.rules.attributes.metric_max.map(|max| max.saturating_sub(used));
        for metric in std::mem::take(&mut group.metrics) {
            self.metric(metric, id, room, &mut group.metrics);
        }
    }

    /// Puts what is left of the metric into `out`: nothing, itself, or two of one name where its points part.
    fn metric(&mut self, mut metric: Metric, id: StreamId, room: Option<usize>, out: &mut Vec<Metric>) {
        let Some(mut data) = metric.data.take() else { return };
        let id = id.with_metric(&metric, kind(&data));
        let left = self.data(&mut data, &Within { id, name: &metric.name, room });
        self.counts.items += left as u64;
        if left == 0 {
            return;
        }
        let mut all_explicit = false;
        if let Data::ExponentialHistogram(histogram) = &mut data
            && let Some(explicit) = self.explicit(histogram)
        {
            all_explicit = histogram.data_points.is_empty();
            out.push(Metric { data: Some(Data::Histogram(explicit)), ..metric.clone() });
        }
        if !all_explicit {
            metric.data = Some(data);
            out.push(metric);
        }
    }

    /// The points of a metric by the rules of its kind. How many are left.
    fn data(&mut self, data: &mut Data, within: &Within<'_>) -> usize {
        let rules = self.rules.metrics;
        match data {
            Data::Gauge(gauge) => {
                self.points(&mut gauge.data_points, within, Plan { toward: None, spaced: false })
            }
            Data::Sum(sum) => {
                let wanted = if sum.is_monotonic { rules.monotonic } else { rules.non_monotonic };
                self.temporal(&mut sum.data_points, &mut sum.aggregation_temporality, wanted, within)
            }
            Data::Histogram(histogram) => {
                let temporality = &mut histogram.aggregation_temporality;
                self.temporal(&mut histogram.data_points, temporality, rules.histograms, within)
            }
            Data::ExponentialHistogram(histogram) => {
                let temporality = &mut histogram.aggregation_temporality;
                self.temporal(&mut histogram.data_points, temporality, rules.histograms, within)
            }
            Data::Summary(summary) => {
                summary.data_points.retain_mut(|point| {
                    let kept = self.admit(point.time_unix_nano, point.sum.is_finite());
                    if kept {
                        self.fit_point(&mut point.attributes, within);
                    }
                    kept
                });
                summary.data_points.len()
            }
        }
    }

    /// Takes out the points that the destination does not take as exponential ones.
    fn explicit(&self, histogram: &mut ExponentialHistogram) -> Option<Histogram> {
        let taken_from = match self.rules.metrics.exponential {
            Exponential::Kept => return None,
            Exponential::FromScale(scale) => Some(scale),
            Exponential::Explicit => None,
        };
        let taken = |scale: i32| taken_from.is_some_and(|least| scale >= least);
        let points = std::mem::take(&mut histogram.data_points);
        let (kept, refused): (Vec<_>, Vec<_>) = points.into_iter().partition(|point| taken(point.scale));
        histogram.data_points = kept;
        (!refused.is_empty()).then(|| Histogram {
            data_points: refused.into_iter().map(exponential::to_explicit).collect(),
            aggregation_temporality: histogram.aggregation_temporality,
        })
    }

    /// Points of a metric that has a temporality. What is left.
    fn temporal<P: Point>(
        &mut self,
        points: &mut Vec<P>,
        temporality: &mut i32,
        wanted: Temporality,
        within: &Within<'_>,
    ) -> usize {
        let (is, target) = (AggregationTemporality::try_from(*temporality), wanted_as_otlp(wanted));
        let spaced = wanted == Temporality::Delta && self.rules.metrics.one_point_a_second;
        let toward = match (is, target) {
            (_, None) => None,
            (Ok(is), Some(target)) if is == target => spaced.then_some(Toward::Delta1s),
            (Ok(AggregationTemporality::Cumulative), Some(_)) => Some(Toward::Delta),
            (Ok(AggregationTemporality::Delta), Some(_)) => Some(Toward::Cumulative),
            (Ok(AggregationTemporality::Unspecified) | Err(_), Some(_)) => {
                self.counts.drop(DropReason::Invalid, points.len() as u64);
                points.clear();
                return 0;
            }
        };
        if let Some(target) = target {
            *temporality = target as i32;
        }
        self.points(points, within, Plan { toward, spaced })
    }

    fn points<P: Point>(&mut self, points: &mut Vec<P>, within: &Within<'_>, plan: Plan) -> usize {
        // Where the last point of each stream is in what goes out, for what is added to it.
        let mut last_out: HashMap<StreamId, usize> = HashMap::new();
        for mut point in std::mem::take(points) {
            if !self.admit(point.time(), point.is_finite()) {
                continue;
            }
            if let Some(toward) = plan.toward {
                let id = within.id.with_point(point.attributes());
                let earlier = last_out.get(&id).and_then(|place| points.get_mut(*place));
                if let Err(reason) = self.convert(id, toward, plan.spaced, &mut point, earlier) {
                    self.counts.drop(reason, 1);
                    continue;
                }
                if plan.spaced {
                    last_out.insert(id, points.len());
                }
            }
            self.fit_point(point.attributes_mut(), within);
            points.push(point);
        }
        points.len()
    }

    /// Age, and numbers that are none.
    fn admit(&mut self, time: u64, finite: bool) -> bool {
        let dropped = self.rules.metrics.non_finite == NonFinite::Dropped && !finite;
        let verdict = match check_age(self.rules.ages.metrics, time, self.now_ns) {
            Ok(()) if dropped => Err(DropReason::NotFinite),
            other => other,
        };
        verdict.map_err(|reason| self.counts.drop(reason, 1)).is_ok()
    }

    /// Turns the point into one of the other temporality, or sets it apart from the one before it.
    fn convert<P: Point>(
        &mut self,
        id: StreamId,
        toward: Toward,
        spaced: bool,
        point: &mut P,
        earlier: Option<&mut P>,
    ) -> Result<(), DropReason> {
        if point.has_no_value() {
            return Err(DropReason::NoValue);
        }
        let (start, time) = (point.start(), point.time());
        let value = point.take().ok_or(DropReason::Invalid)?;
        if time == 0 || value.buckets() > BUCKETS_MAX {
            return Err(DropReason::Invalid);
        }
        if !value.is_finite() {
            return Err(DropReason::NotFinite);
        }
        let reading = Reading { start, time, value };
        let known = self.streams.take(id);
        let (mut baseline, converted) = match toward {
            Toward::Delta => temporality::to_delta(known, reading, self.streams.seen_since()),
            Toward::Cumulative => temporality::to_cumulative(known, reading),
            Toward::Delta1s => {
                let second = known.map_or(0, |known| known.second);
                let nothing = Value::Int(0);
                (Baseline { toward, start, time, second, value: nothing }, Ok(reading))
            }
        };
        let spaced = match converted {
            Ok(reading) if spaced => apart(&mut baseline.second, reading, earlier),
            other => other,
        };
        self.streams.put(id, baseline);
        let reading = spaced?;
        point.set_times(reading.start, reading.time);
        point.put(reading.value);
        Ok(())
    }

    fn fit_point(&mut self, attributes: &mut Vec<KeyValue>, within: &Within<'_>) {
        // Data points cannot say how many attributes they lost.
        self.fit(attributes, Place { max: within.room, metric: Some(within.name), ..Place::default() });
    }

    fn fit(&mut self, list: &mut Vec<KeyValue>, place: Place<'_>) -> u32 {
        let limits: &AttributeLimits = &self.rules.attributes;
        attributes::fit(list, place, limits, self.counts)
    }
}

/// Sums that rise and others, and the two kinds of histograms, are streams of their own. In snapshots: do not renumber.
fn kind(data: &Data) -> u8 {
    match data {
        Data::Gauge(_) => 0,
        Data::Sum(sum) => 1 + u8::from(sum.is_monotonic),
        Data::Histogram(_) => 3,
        Data::ExponentialHistogram(_) => 4,
        Data::Summary(_) => 5,
    }
}

fn wanted_as_otlp(wanted: Temporality) -> Option<AggregationTemporality> {
    match wanted {
        Temporality::AsIs => None,
        Temporality::Delta => Some(AggregationTemporality::Delta),
        Temporality::Cumulative => Some(AggregationTemporality::Cumulative),
    }
}

/// Gives a delta a second that no other of its stream has: its own, or that of the point before it in this request, to
/// which it is added, or the next one after the last that was used.
fn apart<P: Point>(
    last_second: &mut u64,
    mut reading: Reading,
    earlier: Option<&mut P>,
) -> Result<Reading, DropReason> {
    let second = reading.time / NS_PER_SECOND;
    if second > *last_second {
        *last_second = second;
        return Ok(reading);
    }
    if second + SECONDS_APART < *last_second {
        return Ok(reading);
    }
    if let Some(earlier) = earlier
        && earlier.time() / NS_PER_SECOND == *last_second
        && let Some(mut sum) = earlier.take()
    {
        let added = sum.add(&reading.value);
        earlier.put(sum);
        if added {
            let time = if second == *last_second { earlier.time().max(reading.time) } else { earlier.time() };
            earlier.set_times(earlier.start().min(reading.start), time);
            return Err(DropReason::Merged);
        }
    }
    *last_second = last_second.saturating_add(1);
    reading.time = last_second.saturating_mul(NS_PER_SECOND);
    Ok(reading)
}
