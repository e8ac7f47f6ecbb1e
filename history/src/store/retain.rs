//! Whole days go, the oldest first, by age and by bytes. What is deleted is deleted when no scan holds it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use journal::failpoint::failpoint;
use muster::clock::WallTime;

use super::visible::FileEntry;
use super::{Store, StoreError, key_of};
use crate::partition::Day;

const DAY: Duration = Duration::from_secs(86_400);

/// How long, and how much, is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Days before today; `None` keeps all.
    pub days_max: Option<u32>,
    /// Bytes of all files; `None` keeps all.
    pub bytes_max: Option<u64>,
}

/// What a pass of retention took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Days, of any data set and team.
    pub days: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Takes away the days that are too old at `now`, and then the oldest ones until the rest is small enough. The
    /// newest day always stays. A row without a believable time counts as of the day its file was written, for age, and
    /// is never taken away for bytes.
    ///
    /// Only call it with a wall clock that can be trusted: one that jumps ahead would take everything away.
    pub async fn retain(&self, now: WallTime, retention: &Retention) -> Result<Retained, StoreError> {
        let _one_at_a_time = self.changing.lock().await;
        self.refuse_read_only()?;
        let retained = {
            let mut state = self.state.lock();
            let (due, retained) = due(state.visible.values(), now, retention);
            for file in &due {
                state.visible.remove(&key_of(file));
                state.bytes -= file.bytes;
                // Nothing is left to merge; its plan goes with the next opening.
                state.merging.remove(&file.partition);
            }
            state.retiring.extend(due);
            retained
        };
        self.sweep().await?;
        Ok(retained)
    }

    /// Moves what is set aside, and then deletes what is retiring and held by no scan. The caller holds `changing`.
    pub(super) async fn sweep(&self) -> Result<(), StoreError> {
        let aside = std::mem::take(&mut self.state.lock().aside);
        for (at, file) in aside.iter().enumerate() {
            if let Err(error) = self.shelf.set_aside(&file.path).await {
                self.state.lock().aside.extend(aside[at..].iter().cloned());
                return Err(error);
            }
        }
        let mut retiring = std::mem::take(&mut self.state.lock().retiring);
        // What is covered goes before what covers it: else a crash would have it count again.
        retiring.sort_by_key(|file| file.range.to.0 - file.range.after.0);
        let mut kept: Vec<Arc<FileEntry>> = Vec::new();
        let mut failed = None;
        for file in retiring {
            let covers = |other: &Arc<FileEntry>| {
                other.partition == file.partition
                    && other.journal == file.journal
                    && file.range.covers(other.range)
            };
            if failed.is_some() || Arc::strong_count(&file) > 1 || kept.iter().any(covers) {
                kept.push(file);
                continue;
            }
            if let Err(error) = self.shelf.delete(&file.path).await {
                failed = Some(error);
                kept.push(file);
            }
            failpoint("history-mid-delete");
        }
        self.state.lock().retiring.extend(kept);
        failed.map_or(Ok(()), Err)
    }
}

/// Which files go, oldest day first. Pure.
fn due<'a>(
    files: impl Iterator<Item = &'a Arc<FileEntry>>,
    now: WallTime,
    retention: &Retention,
) -> (Vec<Arc<FileEntry>>, Retained) {
    let mut days: BTreeMap<u32, Vec<&Arc<FileEntry>>> = BTreeMap::new();
    let mut undated = Vec::new();
    let mut bytes = 0_u64;
    for file in files {
        bytes += file.bytes;
        match file.partition.day {
            Day::Utc(day) => days.entry(day).or_default().push(file),
            Day::Undated => undated.push(file),
        }
    }
    let first_kept = retention.days_max.map_or(0, |days_max| day_of(now).saturating_sub(days_max));
    let newest = days.last_key_value().map(|(day, _)| *day);
    let (mut due, mut retained) = (Vec::new(), Retained::default());
    for (day, files) in days {
        let is_over = retention.bytes_max.is_some_and(|max| bytes > max);
        if Some(day) == newest || (day >= first_kept && !is_over) {
            break;
        }
        retained.days += 1;
        bytes -= files.iter().map(|file| file.bytes).sum::<u64>();
        due.extend(files.into_iter().cloned());
    }
    due.extend(undated.into_iter().filter(|file| day_of(file.modified) < first_kept).cloned());
    retained.files = due.len() as u64;
    retained.bytes = due.iter().map(|file| file.bytes).sum();
    (due, retained)
}

fn day_of(time: WallTime) -> u32 {
    u32::try_from(time.0 / DAY.as_micros() as u64).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use journal::Position;
    use muster::ids::Team;

    use super::*;
    use crate::dataset::DataSet;
    use crate::partition::{JournalRange, Partition};
    use crate::store::name::{FileName, JournalTag};

    const NOW: WallTime = WallTime(20_000 * 86_400_000_000 + 5);

    fn file(day: Day, bytes: u64) -> Arc<FileEntry> {
        let partition = Partition { data_set: DataSet::Runs, team: Team::default_team(), day };
        let range = JournalRange { after: Position(0), to: Position(1) };
        let name = FileName { partition, journal: JournalTag::of(&[0; 16]), range };
        Arc::new(FileEntry::new(name, bytes, WallTime(19_000 * 86_400_000_000)))
    }

    fn days_due(files: &[Arc<FileEntry>], retention: Retention) -> Vec<Day> {
        due(files.iter(), NOW, &retention).0.iter().map(|file| file.partition.day).collect()
    }

    #[test]
    fn days_before_the_bound_go_and_the_bound_itself_stays() {
        let files = [19_989, 19_990, 20_000].map(|day| file(Day::Utc(day), 1));
        let retention = Retention { days_max: Some(10), bytes_max: None };
        assert_eq!(days_due(&files, retention), [Day::Utc(19_989)]);
        assert_eq!(days_due(&files, Retention::default()), []);
    }

    #[test]
    fn the_oldest_days_go_until_the_rest_is_small_enough() {
        let files = [19_997, 19_998, 19_999, 20_000].map(|day| file(Day::Utc(day), 10));
        let retention = |max| Retention { days_max: None, bytes_max: Some(max) };
        assert_eq!(days_due(&files, retention(25)), [Day::Utc(19_997), Day::Utc(19_998)]);
        assert_eq!(days_due(&files, retention(40)), []);
        // The newest day is what was written last: it stays whatever it is.
        assert_eq!(days_due(&files, retention(1)).len(), 3);
    }

    #[test]
    fn rows_without_a_time_go_by_when_they_were_written() {
        let files = [file(Day::Undated, 1), file(Day::Utc(20_000), 1)];
        assert_eq!(days_due(&files, Retention { days_max: Some(2_000), bytes_max: None }), []);
        assert_eq!(days_due(&files, Retention { days_max: Some(10), bytes_max: Some(0) }), [Day::Undated]);
    }
}
