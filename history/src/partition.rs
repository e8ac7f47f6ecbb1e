//! Where a row lies: one folder a data set, team and UTC day, one file a range of the journal.
//!
//! ```text
//! runs/team=platform/date=2026-11-21/5f0c9d1e-0000000000000001-0000000000003a7f.parquet
//! ```

use std::fmt;

use journal::Position;
use muster::clock::WallTime;
use muster::ids::Team;

use crate::dataset::DataSet;

/// Microseconds of a day.
const DAY_US: u64 = 86_400_000_000;
/// An event that claims to be older than this before its append lies among the undated: a project's whole past may be
/// read at once, a clock that stands at the epoch may not make a folder a day.
const PAST_DAYS_MAX: u64 = 800;
/// An event that claims to be later than this after its append lies among the undated.
const FUTURE_DAYS_MAX: u64 = 2;

/// A UTC day, in days since 1970-01-01; `Undated` has the rows whose time cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Day {
    /// A day.
    Utc(u32),
    /// Rows whose time is too far from the time of their append. Every query reads them.
    Undated,
}

/// The folder of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// What kind of rows.
    pub data_set: DataSet,
    /// Whose.
    pub team: Team,
    /// Of which day.
    pub day: Day,
}

/// A range of the journal: the records after `after`, up to and with `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalRange {
    /// The last record that is not in it.
    pub after: Position,
    /// The last record in it.
    pub to: Position,
}

impl Day {
    /// The day of an event that was appended at `appended`.
    pub fn of(time: WallTime, appended: WallTime) -> Self {
        let (day, appended_day) = (time.0 / DAY_US, appended.0 / DAY_US);
        let is_near = day + PAST_DAYS_MAX >= appended_day && day <= appended_day + FUTURE_DAYS_MAX;
        match u32::try_from(day) {
            Ok(day) if is_near => Day::Utc(day),
            _ => Day::Undated,
        }
    }
}

impl fmt::Display for Day {
    /// `2026-11-21`, or what Hive calls a partition without a value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Day::Utc(day) = *self else { return f.write_str("__HIVE_DEFAULT_PARTITION__") };
        let seconds = i64::from(day) * 86_400;
        match jiff::Timestamp::from_second(seconds) {
            Ok(time) => time.strftime("%Y-%m-%d").fmt(f),
            // Days past the year 9999 do not come from `of`.
            Err(_) => write!(f, "{day}"),
        }
    }
}

impl JournalRange {
    /// Whether everything of `other` is in it.
    pub fn covers(self, other: Self) -> bool {
        self.after <= other.after && other.to <= self.to
    }

    /// Whether a record is in both.
    pub fn meets(self, other: Self) -> bool {
        self.after < other.to && other.after < self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_795_000_000_000_000);

    #[test]
    fn a_day_is_the_utc_date_of_the_event_and_not_of_its_append() {
        let event = WallTime(NOW.0 - 3 * DAY_US);
        assert_eq!(Day::of(event, NOW).to_string(), "2026-11-15");
        assert_eq!(Day::of(NOW, NOW).to_string(), "2026-11-18");
    }

    #[test]
    fn a_time_that_cannot_be_true_makes_no_folder() {
        for us in [0, 1, NOW.0 + 5 * DAY_US, u64::MAX, NOW.0 - 900 * DAY_US] {
            assert_eq!(Day::of(WallTime(us), NOW), Day::Undated, "{us}");
        }
    }
}
