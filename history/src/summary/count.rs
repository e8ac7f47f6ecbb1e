//! Rows in, tallies out. Pure: it sees batches, and knows nothing of files.

use arrow_array::RecordBatch;
use muster::clock::WallTime;

use super::groups::{Groups, NAMED};
use super::quantiles::{COARSE, FINE, Grain};
use super::sessions::Sessions;
use super::tally::{Status, Tally, add};
use super::{By, POINTS_MAX, Point, Series, UsageFigures};
use crate::cells::{Integers, Words, times};
use crate::dataset::DataSet;
use crate::query::TimeRange;

/// Seconds of an hour and of a day: the steps of a series.
const HOUR_SECONDS: u64 = 3_600;
const DAY_SECONDS: u64 = 86_400;
/// The longest range whose series has hours.
const HOURLY_DAYS_MAX: u64 = 2;

/// Columns that are read of a data set, besides time, team and what the rows are parted by.
pub(super) const fn columns(data_set: DataSet) -> &'static [&'static str] {
    match data_set {
        DataSet::Runs => &["weight", "status", "duration_us", "queued_us"],
        DataSet::Events => &["weight", "kind", "name", "severity", "outcome", "count", "duration_us"],
        DataSet::Sessions => &["agent_id", "tool", "project", "session", "started_time"],
        DataSet::Usage => &[
            "weight",
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "reasoning_tokens",
            "reported_cost_microusd",
            "computed_cost_microusd",
        ],
        DataSet::Samples => &[],
    }
}

/// What a range had.
#[derive(Debug)]
pub(super) struct Counter {
    pub(super) range: TimeRange,
    pub(super) groups: Groups,
    /// By group.
    pub(super) tallies: Vec<Tally>,
    pub(super) sessions: Sessions,
    pub(super) series: Series,
    /// Most different values, or buckets, in all distributions.
    values_max: usize,
    /// How wide buckets are, once there are buckets.
    grain: Option<Grain>,
}

/// The kind of an event that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventKind {
    Finding,
    FindingsFixed,
    PushChecked,
    TimeSaved,
    Other,
}

impl Counter {
    /// Counts what is in `range`, and values one by one up to `values_max` different ones.
    pub(super) fn new(range: TimeRange, by: Option<By>, values_max: usize) -> Self {
        Self {
            range,
            groups: Groups::new(by),
            tallies: vec![Tally::default(); NAMED],
            sessions: Sessions::default(),
            series: series(range),
            values_max,
            grain: None,
        }
    }

    /// Counts the rows of a data set that are in the range; each row must be given once.
    pub(super) fn take(&mut self, data_set: DataSet, batch: &RecordBatch) {
        let groups = self.groups.of_rows(data_set, batch);
        self.tallies.resize_with(self.groups.names.len(), Tally::default);
        match data_set {
            DataSet::Runs => self.take_runs(batch, &groups),
            DataSet::Events => self.take_events(batch, &groups),
            DataSet::Usage => self.take_usage(batch, &groups),
            DataSet::Sessions => {
                let range = self.range;
                self.sessions.take(batch, &groups, |time| is_in(range, time));
            }
            DataSet::Samples => {}
        }
    }

    /// Whether a bound was met, so that some figures are not all.
    pub(super) fn has_overflow(&self) -> bool {
        self.groups.is_full
    }

    fn take_runs(&mut self, batch: &RecordBatch, groups: &[usize]) {
        let Some(words) = Words::of(batch, "status") else { return };
        let statuses = words.meanings(Status::of);
        let [weights, durations, queued] =
            ["weight", "duration_us", "queued_us"].map(|name| Integers::of(batch, name));
        for (row, time) in times(batch).iter().enumerate() {
            if !is_in(self.range, *time) {
                continue;
            }
            let (weight, status) = (weights.weight(row), statuses.get(row));
            let tally = &mut self.tallies[groups[row]];
            tally.rows += 1;
            add(&mut tally.runs[status as usize], weight);
            if let Some(us) = durations.get(row) {
                tally.duration.add(us, weight);
            }
            if let Some(us) = queued.get(row) {
                tally.queued.add(us, weight);
            }
            if let Some(point) = point(&mut self.series, *time) {
                add(&mut point.runs, weight);
                add(&mut point.succeeded, if status.is_success() { weight } else { 0 });
            }
        }
        self.coarsen_if_many();
    }

    /// A group that came after the others must be in buckets too, for they are merged.
    fn coarsen_if_many(&mut self) {
        while self.values() > self.values_max && self.grain != Some(COARSE) {
            self.grain = Some(if self.grain.is_none() { FINE } else { COARSE });
            self.coarsen();
        }
        self.coarsen();
    }

    fn coarsen(&mut self) {
        let Some(grain) = self.grain else { return };
        for tally in &mut self.tallies {
            tally.duration.coarsen(grain);
            tally.queued.coarsen(grain);
        }
    }

    /// Different values, or buckets, in all distributions.
    fn values(&self) -> usize {
        self.tallies.iter().map(|tally| tally.duration.len() + tally.queued.len()).sum()
    }

    fn take_events(&mut self, batch: &RecordBatch, groups: &[usize]) {
        let words = ["kind", "name", "severity", "outcome"].map(|name| Words::of(batch, name));
        let [Some(kinds), Some(names), Some(severities), Some(outcomes)] = &words else { return };
        let kinds = kinds.meanings(EventKind::of);
        let [weights, counts, durations] =
            ["weight", "count", "duration_us"].map(|name| Integers::of(batch, name));
        for (row, time) in times(batch).iter().enumerate() {
            let kind = kinds.get(row);
            if !is_in(self.range, *time) {
                continue;
            }
            let tally = &mut self.tallies[groups[row]];
            tally.rows += 1;
            if kind == EventKind::Other {
                continue;
            }
            let weight = weights.weight(row);
            let count = counts.or_zero(row).saturating_mul(weight);
            let (name, outcome) = (names.get(row), outcomes.get(row));
            match kind {
                EventKind::Finding => {
                    if finding(tally, severities.get(row), outcome, count)
                        && let Some(point) = point(&mut self.series, *time)
                    {
                        add(&mut point.findings, count);
                    }
                }
                EventKind::FindingsFixed => add(&mut tally.findings.autofixed, count),
                EventKind::PushChecked => push(tally, name, outcome, weight),
                EventKind::TimeSaved => {
                    time_saved(tally, name, outcome, durations.or_zero(row).saturating_mul(weight));
                }
                EventKind::Other => {}
            }
        }
    }

    fn take_usage(&mut self, batch: &RecordBatch, groups: &[usize]) {
        let weights = Integers::of(batch, "weight");
        let tokens =
            ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"]
                .map(|name| Integers::of(batch, name));
        let [reported, computed] =
            ["reported_cost_microusd", "computed_cost_microusd"].map(|name| Integers::of(batch, name));
        for (row, time) in times(batch).iter().enumerate() {
            if !is_in(self.range, *time) {
                continue;
            }
            let weight = weights.weight(row);
            let of_row = tokens.each_ref().map(|tokens| tokens.or_zero(row).saturating_mul(weight));
            let cost = |cost: Option<u64>| cost.map(|microusd| microusd.saturating_mul(weight));
            let Tally { rows, usage, .. } = &mut self.tallies[groups[row]];
            *rows += 1;
            let known = used(usage, weight, of_row, cost(reported.get(row)), cost(computed.get(row)));
            if let Some(point) = point(&mut self.series, *time) {
                add(&mut point.cost_microusd, known);
            }
        }
    }
}

impl EventKind {
    fn of(word: Option<&str>) -> Self {
        match word {
            Some("finding") => EventKind::Finding,
            Some("findings_fixed") => EventKind::FindingsFixed,
            Some("push_checked") => EventKind::PushChecked,
            Some("time_saved") => EventKind::TimeSaved,
            _ => EventKind::Other,
        }
    }
}

/// Counts a finding, and says whether it was found.
fn finding(tally: &mut Tally, severity: Option<&str>, outcome: Option<&str>, count: u64) -> bool {
    let findings = &mut tally.findings;
    match outcome {
        Some("found") => {
            let of_severity = match severity {
                Some("critical") => &mut findings.critical,
                Some("high") => &mut findings.high,
                Some("medium") => &mut findings.medium,
                Some("low") => &mut findings.low,
                _ => &mut findings.unknown,
            };
            add(of_severity, count);
            add(&mut findings.found, count);
            return true;
        }
        Some("fixed") => add(&mut findings.fixed, count),
        Some("dismissed") => add(&mut findings.dismissed, count),
        _ => {}
    }
    false
}

/// DevLoop also tells of prevented failures that no gate saw: they are no pushes that were checked.
fn push(tally: &mut Tally, gate: Option<&str>, outcome: Option<&str>, weight: u64) {
    let pushes = &mut tally.pushes;
    let is_allowed = outcome == Some("allowed");
    match gate {
        Some("pre_commit") => {
            add(&mut pushes.commits_checked, weight);
            add(&mut pushes.commits_stopped, if is_allowed { 0 } else { weight });
            return;
        }
        Some("pre_push") => {
            add(&mut pushes.checked, weight);
            add(if is_allowed { &mut pushes.allowed } else { &mut pushes.stopped }, weight);
        }
        _ => {}
    }
    add(&mut pushes.prevented_ci_failures, if outcome == Some("prevented") { weight } else { 0 });
}

fn time_saved(tally: &mut Tally, kind: Option<&str>, outcome: Option<&str>, us: u64) {
    let saved = &mut tally.time_saved;
    let of_kind = match kind {
        Some("developer") => &mut saved.developer_us,
        Some("build") => &mut saved.build_us,
        _ => &mut saved.other_us,
    };
    add(of_kind, us);
    add(&mut saved.modelled_us, if outcome == Some("modelled") { us } else { 0 });
}

/// Counts a piece of work, and says what of its cost is known.
fn used(
    usage: &mut UsageFigures,
    weight: u64,
    tokens: [u64; 5],
    reported: Option<u64>,
    computed: Option<u64>,
) -> u64 {
    add(&mut usage.reports, weight);
    let sums = [
        &mut usage.input_tokens,
        &mut usage.output_tokens,
        &mut usage.cache_read_tokens,
        &mut usage.cache_write_tokens,
        &mut usage.reasoning_tokens,
    ];
    sums.into_iter().zip(tokens).for_each(|(sum, tokens)| add(sum, tokens));
    match (reported, computed) {
        (Some(microusd), _) => {
            add(&mut usage.reported_cost_microusd, microusd);
            microusd
        }
        (None, Some(microusd)) => {
            add(&mut usage.computed_cost_microusd, microusd);
            microusd
        }
        (None, None) => {
            add(&mut usage.cost_unknown, weight);
            tokens.into_iter().for_each(|tokens| add(&mut usage.cost_unknown_tokens, tokens));
            0
        }
    }
}

fn is_in(range: TimeRange, time: i64) -> bool {
    u64::try_from(time).is_ok_and(|time| range.from.0 <= time && time < range.to.0)
}

/// A series without rows.
fn series(range: TimeRange) -> Series {
    let seconds = (range.to.0 - range.from.0).div_ceil(1_000_000);
    let step_seconds = if seconds <= HOURLY_DAYS_MAX * DAY_SECONDS { HOUR_SECONDS } else { DAY_SECONDS };
    let step = step_seconds * 1_000_000;
    let (first, end) = (range.from.0 / step, range.to.0.div_ceil(step));
    let first = first.max(end.saturating_sub(POINTS_MAX as u64));
    let points = (first..end).map(|index| Point {
        start: WallTime(index * step),
        runs: 0,
        succeeded: 0,
        findings: 0,
        cost_microusd: 0,
    });
    Series { step_seconds, points: points.collect() }
}

fn point(series: &mut Series, time: i64) -> Option<&mut Point> {
    let first = series.points.first()?.start.0;
    let since = u64::try_from(time).ok()?.checked_sub(first)?;
    series.points.get_mut(usize::try_from(since / (series.step_seconds * 1_000_000)).ok()?)
}
