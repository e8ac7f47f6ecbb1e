//! What is counted of one group, and how two are one.

use super::quantiles::Distribution;
use super::{FindingFigures, PushFigures, TimeSavedFigures, UsageFigures};

/// Counts of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Rows of the range, counted in a figure or not: there is such a group.
    pub(super) rows: u64,
    /// By [`Status`].
    pub(super) runs: [u64; Status::ALL.len()],
    pub(super) duration: Distribution,
    pub(super) queued: Distribution,
    pub(super) findings: FindingFigures,
    pub(super) pushes: PushFigures,
    pub(super) time_saved: TimeSavedFigures,
    pub(super) usage: UsageFigures,
}

/// The status of a run, as an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Success,
    Failure,
    Error,
    Skipped,
    Unknown,
}

/// Adds without ever falling.
pub(super) fn add(total: &mut u64, count: u64) {
    *total = total.saturating_add(count);
}

impl Status {
    pub(super) const ALL: [Status; 5] =
        [Status::Success, Status::Failure, Status::Error, Status::Skipped, Status::Unknown];

    pub(super) fn of(word: Option<&str>) -> Self {
        match word {
            Some("success") => Status::Success,
            Some("failure") => Status::Failure,
            Some("error") => Status::Error,
            Some("skipped") => Status::Skipped,
            _ => Status::Unknown,
        }
    }

    /// A run that had nothing to do is a success, as the guides have it.
    pub(super) fn is_success(self) -> bool {
        matches!(self, Status::Success | Status::Skipped)
    }
}

impl Tally {
    /// All runs.
    pub(super) fn run_count(&self) -> u64 {
        self.runs.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Counts of both, but for the distributions.
    pub(super) fn add_counts(&mut self, other: &Self) {
        add(&mut self.rows, other.rows);
        self.runs.iter_mut().zip(other.runs).for_each(|(sum, count)| add(sum, count));
        add_findings(&mut self.findings, &other.findings);
        add_pushes(&mut self.pushes, &other.pushes);
        add_time_saved(&mut self.time_saved, &other.time_saved);
        add_usage(&mut self.usage, &other.usage);
    }

    /// Both together.
    pub(super) fn merge(&mut self, other: &Self) {
        self.add_counts(other);
        self.duration.merge(&other.duration);
        self.queued.merge(&other.queued);
    }
}

fn add_findings(sum: &mut FindingFigures, other: &FindingFigures) {
    let FindingFigures { found, critical, high, medium, low, unknown, fixed, autofixed, dismissed } = sum;
    for (sum, count) in [
        (found, other.found),
        (critical, other.critical),
        (high, other.high),
        (medium, other.medium),
        (low, other.low),
        (unknown, other.unknown),
        (fixed, other.fixed),
        (autofixed, other.autofixed),
        (dismissed, other.dismissed),
    ] {
        add(sum, count);
    }
}

fn add_pushes(sum: &mut PushFigures, other: &PushFigures) {
    let PushFigures { checked, allowed, stopped, prevented_ci_failures, commits_checked, commits_stopped } =
        sum;
    for (sum, count) in [
        (checked, other.checked),
        (allowed, other.allowed),
        (stopped, other.stopped),
        (prevented_ci_failures, other.prevented_ci_failures),
        (commits_checked, other.commits_checked),
        (commits_stopped, other.commits_stopped),
    ] {
        add(sum, count);
    }
}

fn add_time_saved(sum: &mut TimeSavedFigures, other: &TimeSavedFigures) {
    let TimeSavedFigures { developer_us, build_us, other_us, modelled_us } = sum;
    for (sum, us) in [
        (developer_us, other.developer_us),
        (build_us, other.build_us),
        (other_us, other.other_us),
        (modelled_us, other.modelled_us),
    ] {
        add(sum, us);
    }
}

fn add_usage(sum: &mut UsageFigures, other: &UsageFigures) {
    let UsageFigures {
        reports,
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        reported_cost_microusd,
        computed_cost_microusd,
        cost_unknown,
        cost_unknown_tokens,
    } = sum;
    for (sum, count) in [
        (reports, other.reports),
        (input_tokens, other.input_tokens),
        (output_tokens, other.output_tokens),
        (cache_read_tokens, other.cache_read_tokens),
        (cache_write_tokens, other.cache_write_tokens),
        (reasoning_tokens, other.reasoning_tokens),
        (reported_cost_microusd, other.reported_cost_microusd),
        (computed_cost_microusd, other.computed_cost_microusd),
        (cost_unknown, other.cost_unknown),
        (cost_unknown_tokens, other.cost_unknown_tokens),
    ] {
        add(sum, count);
    }
}
