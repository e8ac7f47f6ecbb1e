//! What a point does to its stream and its series: the table of the module above, row by row.

use super::amount::Amount;
use super::distribution::Distribution;
use super::identity::StreamId;
use super::store::{Dropped, Last, Summary, Value};
use crate::proto::metrics::{AggregationTemporality as Temporality, SummaryDataPoint};

/// Most quantiles of a summary.
const QUANTILES_MAX: usize = 64;

/// A point's value with the rule that it follows.
pub(super) enum Told {
    Gauge(Amount),
    LevelDelta(Amount),
    Level(Amount),
    CountDelta(Amount),
    Count(Amount),
    DistributionDelta(Distribution),
    Distribution(Distribution),
    Summary(Summary),
}

impl Told {
    pub(super) fn sum(amount: Amount, temporality: Temporality, is_monotonic: bool) -> Result<Self, Dropped> {
        if !amount.is_finite() {
            return Err(Dropped::NotFinite);
        }
        if is_monotonic && amount.is_negative() {
            return Err(Dropped::Negative);
        }
        match (temporality, is_monotonic) {
            (Temporality::Delta, true) => Ok(Told::CountDelta(amount)),
            (Temporality::Delta, false) => Ok(Told::LevelDelta(amount)),
            (Temporality::Cumulative, true) => Ok(Told::Count(amount)),
            (Temporality::Cumulative, false) => Ok(Told::Level(amount)),
            (Temporality::Unspecified, _) => Err(Dropped::Malformed),
        }
    }

    pub(super) fn distribution(
        distribution: Distribution,
        temporality: Temporality,
    ) -> Result<Self, Dropped> {
        match temporality {
            Temporality::Delta => Ok(Told::DistributionDelta(distribution)),
            Temporality::Cumulative => Ok(Told::Distribution(distribution)),
            Temporality::Unspecified => Err(Dropped::Malformed),
        }
    }

    pub(super) fn summary(point: &SummaryDataPoint) -> Result<Self, Dropped> {
        let mut quantiles: Vec<(f64, f64)> =
            point.quantile_values.iter().map(|entry| (entry.quantile + 0.0, entry.value)).collect();
        if quantiles.len() > QUANTILES_MAX {
            return Err(Dropped::TooManyBuckets);
        }
        if quantiles.iter().any(|(quantile, _)| !(0.0..=1.0).contains(quantile)) {
            return Err(Dropped::Malformed);
        }
        if !point.sum.is_finite() {
            return Err(Dropped::NotFinite);
        }
        quantiles.sort_by(|a, b| a.0.total_cmp(&b.0));
        quantiles.dedup_by(|a, b| a.0 == b.0);
        Ok(Told::Summary(Summary { count: point.count, sum: Amount::float(point.sum), quantiles }))
    }

    pub(super) fn is_delta(&self) -> bool {
        matches!(self, Told::LevelDelta(_) | Told::CountDelta(_) | Told::DistributionDelta(_))
    }

    /// Gives the first point of a stream to its series; what only grows if it `counts`.
    pub(super) fn begin(self, id: StreamId, counts: bool, value: &mut Value) -> Last {
        match self {
            Told::Count(amount) => {
                if counts {
                    add(value, amount);
                }
                Last::Count(amount)
            }
            Told::Distribution(distribution) => {
                if counts {
                    merge(value, &distribution);
                }
                Last::Distribution(Box::new(distribution))
            }
            Told::Summary(summary) => {
                let (count, sum) = (summary.count, summary.sum);
                let more = if counts { (count, sum) } else { (0, Amount::ZERO) };
                summarize(value, more, summary.quantiles);
                Last::Summary { count, sum }
            }
            Told::Level(amount) => {
                add(value, amount);
                Last::Level(amount)
            }
            other => {
                let mut last = Last::Nothing;
                other.go_on(id, &mut last, value);
                last
            }
        }
    }

    /// Gives a further point of a stream to its series.
    pub(super) fn go_on(self, id: StreamId, last: &mut Last, value: &mut Value) {
        match (self, last) {
            (Told::Gauge(amount), _) => *value = Value::Gauge { value: Some(amount), writer: id },
            (Told::LevelDelta(amount) | Told::CountDelta(amount), _) => add(value, amount),
            (Told::DistributionDelta(more), _) => merge(value, &more),
            (Told::Level(amount), Last::Level(before)) => {
                add(value, amount.minus(*before));
                *before = amount;
            }
            (Told::Count(amount), Last::Count(before)) => {
                let since = amount.minus(*before);
                // A fall without a new start: it began again.
                add(value, if since.is_negative() { amount } else { since });
                *before = amount;
            }
            (Told::Distribution(now), Last::Distribution(before)) => {
                match now.since(before) {
                    Some(since) => merge(value, &since),
                    None => merge(value, &now),
                }
                **before = now;
            }
            (Told::Summary(now), Last::Summary { count, sum }) => {
                let more = match now.count.checked_sub(*count) {
                    Some(more) => (more, now.sum.minus(*sum)),
                    None => (now.count, now.sum),
                };
                summarize(value, more, now.quantiles);
                (*count, *sum) = (now.count, now.sum);
            }
            // The rule is part of the stream's identity.
            (Told::Level(_) | Told::Count(_) | Told::Distribution(_) | Told::Summary(_), _) => {}
        }
    }
}

fn add(value: &mut Value, amount: Amount) {
    match value {
        Value::Counter(total) => *total = total.plus(amount),
        Value::Gauge { value, .. } => *value = Some(value.unwrap_or_default().plus(amount)),
        Value::Histogram(_) | Value::Summary(_) => {}
    }
}

fn merge(value: &mut Value, more: &Distribution) {
    if let Value::Histogram(distribution) = value {
        distribution.add(more);
    }
}

fn summarize(value: &mut Value, (count, sum): (u64, Amount), quantiles: Vec<(f64, f64)>) {
    if let Value::Summary(summary) = value {
        summary.count = summary.count.saturating_add(count);
        summary.sum = summary.sum.plus(sum);
        summary.quantiles = quantiles;
    }
}
