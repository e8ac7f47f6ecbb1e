//! A bar on standard error, where that is a terminal and the rows do not go to one: how far through the range, how many
//! rows, how fast. Rows come in the order of their time, so the time of the last one tells how much is left.

use std::io::{self, IsTerminal};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use history::query::TimeRange;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Parts of the whole bar.
const WHOLE: u64 = 1_000;
const DRAW_INTERVAL: Duration = Duration::from_millis(200);

/// The bar.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    range: TimeRange,
    rows: u64,
}

impl Progress {
    /// Shows it, unless `is_hidden` or nobody would see it.
    pub(super) fn new(range: TimeRange, is_hidden: bool) -> Self {
        let is_shown = io::stderr().is_terminal() && !is_hidden;
        let target =
            if is_shown { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(WHOLE), target);
        let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {elapsed}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        if is_shown {
            bar.enable_steady_tick(DRAW_INTERVAL);
        }
        Self { bar, range, rows: 0 }
    }

    /// Notes a batch.
    pub(super) fn note(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        if self.bar.is_hidden() {
            return;
        }
        let times =
            batch.column_by_name("time").and_then(|time| time.as_primitive_opt::<TimestampMicrosecondType>());
        if let Some(last) = times.and_then(|times| times.values().last().copied()) {
            self.bar.set_position(part(self.range, last));
        }
        let per_second = self.rows as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
        // A rate is shown in whole rows.
        self.bar.set_message(format!(
            "{} rows, {} a second",
            HumanCount(self.rows),
            HumanCount(per_second as u64)
        ));
    }

    /// Takes it away.
    pub(super) fn finish(self) -> u64 {
        self.bar.finish_and_clear();
        self.rows
    }
}

/// How much of the range is before a time.
fn part(range: TimeRange, time_us: i64) -> u64 {
    let done = u64::try_from(time_us).unwrap_or(0).saturating_sub(range.from.0);
    let whole = range.to.0.saturating_sub(range.from.0).max(1);
    let part = u128::from(done) * u128::from(WHOLE) / u128::from(whole);
    u64::try_from(part).unwrap_or(WHOLE).min(WHOLE)
}

#[cfg(test)]
mod tests {
    use muster::clock::WallTime;

    use super::*;

    #[test]
    fn the_time_of_a_row_says_how_far_it_is() {
        let range = TimeRange { from: WallTime(1_000), to: WallTime(3_000) };
        for (time_us, wanted) in [(i64::MIN, 0), (1_000, 0), (2_000, 500), (3_000, 1_000), (i64::MAX, 1_000)]
        {
            assert_eq!(part(range, time_us), wanted);
        }
        let everything = TimeRange { from: WallTime(0), to: WallTime(u64::MAX) };
        assert_eq!(part(everything, i64::MAX), 499);
        assert_eq!(part(TimeRange { from: WallTime(5), to: WallTime(5) }, 9), 1_000);
    }
}
