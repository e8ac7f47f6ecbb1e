//! From a question to its answer: which rows are read, which groups are shown.
//!
//! All data sets are read at one moment and the runs once more for each step of a quantile that is not found yet; both periods
//! of a comparison are read together. A file that breaks while it is read is in no part of the answer: then all of it is
//! counted again without it, since passes that do not see the same rows find no quantiles.

use std::cmp::Reverse;
use std::sync::Arc;

use super::count::{Counter, columns};
use super::groups::{self, NAMED, OVERFLOW, UNGROUPED};
use super::quantiles::{Distribution, Hunts, VALUES_MAX};
use super::tally::{Status, Tally};
use super::{
    Before, By, Figures, GROUPS_SHOWN_MAX, Group, Others, Quantiles, RunFigures, SessionFigures, Summary,
    SummaryAsked,
};
use crate::cells::{Integers, times};
use crate::dataset::DataSet;
use crate::query::{Query, TimeRange};
use crate::reader::History;
use crate::scan::{Cut, Notice, Scan, ScanError, Wanted};
use muster::clock::WallTime;

/// Files that may break while they are counted before the rest is given as it is.
const RECOUNTS_MAX: usize = 10;

impl History {
    /// Counts what happened in a range. It reads all of it: run it in a thread of its own.
    pub fn summary(&self, asked: &SummaryAsked) -> Result<Summary, ScanError> {
        summarise(self, asked, VALUES_MAX)
    }
}

/// The answer, with values counted one by one up to `values_max` different ones.
pub(super) fn summarise(
    history: &History,
    asked: &SummaryAsked,
    values_max: usize,
) -> Result<Summary, ScanError> {
    summarise_between(history, asked, values_max, || ())
}

/// The same; `between` is called between the first pass and the next.
pub(super) fn summarise_between(
    history: &History,
    asked: &SummaryAsked,
    values_max: usize,
    mut between: impl FnMut(),
) -> Result<Summary, ScanError> {
    let mut broken = Vec::new();
    loop {
        let may_recount = broken.len() < RECOUNTS_MAX;
        let mut work = Work::start(history, asked, values_max)?;
        work.count()?;
        if work.broken.is_empty() || !may_recount {
            between();
            let shown = Shown::of(&work.now, asked.by);
            let slots = work.quantiles(&shown)?;
            if work.broken.is_empty() || !may_recount {
                broken.append(&mut work.broken);
                broken.append(&mut work.notices);
                work.notices = broken;
                return Ok(work.answer(&shown, &slots));
            }
        }
        broken.append(&mut work.broken);
    }
}

/// Which parts of the answer there are.
#[derive(Debug, Clone, Copy)]
struct Parts {
    events: bool,
    sessions: bool,
    usage: bool,
}

struct Work<'a> {
    history: &'a History,
    asked: &'a SummaryAsked,
    wanted: Vec<Wanted>,
    cut: Arc<Cut>,
    now: Counter,
    before: Option<Counter>,
    notices: Vec<String>,
    /// Of files that could not be read to their end.
    broken: Vec<String>,
}

/// The groups that are shown, and those that are added up.
struct Shown {
    groups: Vec<usize>,
    others: Vec<usize>,
}

/// Runs, by what is shown of them, with their quantiles.
#[derive(Default)]
struct Slot {
    tally: Tally,
    duration: Option<Hunts>,
    queued: Option<Hunts>,
}

/// What is shown: the total and the one before, the groups, the others.
struct Slots {
    total: Slot,
    before: Option<Slot>,
    groups: Vec<Slot>,
    others: Slot,
}

impl Parts {
    /// Only runs have a status that means what the filter says, sessions have no worker.
    fn of(asked: &SummaryAsked) -> Self {
        let all = asked.filter.status.is_none();
        Self { events: all, sessions: all && asked.filter.worker.is_none(), usage: all }
    }

    fn has(self, data_set: DataSet) -> bool {
        match data_set {
            DataSet::Runs => true,
            DataSet::Events => self.events,
            DataSet::Sessions => self.sessions,
            DataSet::Usage => self.usage,
            DataSet::Samples => false,
        }
    }

    /// Those of a group.
    fn by(self, by: By) -> Self {
        let has = |data_set| self.has(data_set) && groups::column(by, data_set).is_some();
        Self { events: has(DataSet::Events), sessions: has(DataSet::Sessions), usage: has(DataSet::Usage) }
    }
}

impl<'a> Work<'a> {
    fn start(history: &'a History, asked: &'a SummaryAsked, values_max: usize) -> Result<Self, ScanError> {
        let range = asked.range;
        let length = range.to.0.saturating_sub(range.from.0);
        let earlier = asked
            .compare
            .then_some(TimeRange { from: WallTime(range.from.0.saturating_sub(length)), to: range.from })
            .filter(|earlier| earlier.from < earlier.to);
        let whole = TimeRange { from: earlier.map_or(range.from, |earlier| earlier.from), to: range.to };
        let parts = Parts::of(asked);
        let wanted = DataSet::ALL
            .into_iter()
            .filter(|data_set| parts.has(*data_set))
            .map(|data_set| {
                let mut names = columns(data_set).to_vec();
                names.extend(asked.by.and_then(|by| groups::column(by, data_set)));
                let filter = asked.filter.clone();
                Wanted::new(&Query { data_set, range: whole, filter, columns: Some(names), is_sorted: false })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let cut = Arc::new(Cut::take(history, &wanted)?);
        Ok(Self {
            history,
            asked,
            wanted,
            cut,
            now: Counter::new(range, asked.by, values_max),
            before: earlier.map(|earlier| Counter::new(earlier, None, values_max)),
            notices: Vec::new(),
            broken: Vec::new(),
        })
    }

    /// The first pass: everything but quantiles of very many values.
    fn count(&mut self) -> Result<(), ScanError> {
        for wanted in self.wanted.clone() {
            let mut scan = Scan::lying(self.history, wanted.clone(), self.cut.clone());
            for batch in scan.by_ref() {
                let batch = batch?;
                self.now.take(wanted.data_set, &batch);
                if let Some(before) = &mut self.before {
                    before.take(wanted.data_set, &batch);
                }
            }
            self.note(scan.notices());
        }
        if self.now.has_overflow() {
            self.notices.push(format!(
                "there are more than {} groups; the rest is among the others",
                groups::GROUPS_MAX
            ));
        }
        if self.now.sessions.is_full || self.before.as_ref().is_some_and(|before| before.sessions.is_full) {
            self.notices.push(
                "there are more sessions than can be told apart; there are at least so many".to_owned(),
            );
        }
        Ok(())
    }

    fn note(&mut self, notices: &[Notice]) {
        for notice in notices {
            let is_broken = matches!(notice, Notice::FileSetAside { .. });
            let told = if is_broken { &mut self.broken } else { &mut self.notices };
            let notice = notice.to_string();
            if !told.contains(&notice) {
                told.push(notice);
            }
        }
    }

    /// Finds the quantiles of what is shown, in further passes over the runs if need be.
    fn quantiles(&mut self, shown: &Shown) -> Result<Slots, ScanError> {
        let mut slots = Slots {
            total: Slot::of(&self.now, &(0..self.now.tallies.len()).collect::<Vec<_>>()),
            before: self.before.as_ref().map(|before| Slot::of(before, &[UNGROUPED, OVERFLOW])),
            groups: shown.groups.iter().map(|group| Slot::of(&self.now, &[*group])).collect(),
            others: Slot::of(&self.now, &shown.others),
        };
        let is_whole = self.broken.is_empty();
        while !slots.all().all(Slot::is_done) {
            self.hunt(shown, &mut slots)?;
            slots.all_mut().for_each(Slot::narrow);
            if is_whole && !self.broken.is_empty() {
                // Not the rows that were counted: it is counted again.
                break;
            }
        }
        Ok(slots)
    }

    /// Reads the runs again.
    fn hunt(&mut self, shown: &Shown, slots: &mut Slots) -> Result<(), ScanError> {
        let place_of: Vec<Option<usize>> = (0..self.now.tallies.len())
            .map(|group| shown.groups.iter().position(|shown| *shown == group))
            .collect();
        let is_parted = self.asked.by.is_some();
        let Some(wanted) = self.wanted.iter().find(|wanted| wanted.data_set == DataSet::Runs).cloned() else {
            return Ok(());
        };
        let mut scan = Scan::lying(self.history, wanted, self.cut.clone());
        for batch in scan.by_ref() {
            let batch = batch?;
            let groups = self.now.groups.of_rows(DataSet::Runs, &batch);
            let [weights, durations, queued] =
                ["weight", "duration_us", "queued_us"].map(|name| Integers::of(&batch, name));
            for (row, time) in times(&batch).iter().enumerate() {
                let values = (weights.weight(row), durations.get(row), queued.get(row));
                if *time < self.asked.range.from.0 as i64 {
                    if let Some(before) = &mut slots.before {
                        before.add(values);
                    }
                    continue;
                }
                slots.total.add(values);
                if is_parted {
                    match place_of.get(groups[row]).copied().flatten() {
                        Some(place) => slots.groups[place].add(values),
                        None => slots.others.add(values),
                    }
                }
            }
        }
        self.note(scan.notices());
        Ok(())
    }

    fn answer(self, shown: &Shown, slots: &Slots) -> Summary {
        let Self { asked, now, before, notices, .. } = self;
        let parts = Parts::of(asked);
        let of_groups = asked.by.map_or(parts, |by| parts.by(by));
        let sessions = now.sessions.by_group();
        let mut groups: Vec<Group> = Vec::new();
        for (group, slot) in shown.groups.iter().zip(&slots.groups) {
            let sessions = sessions.get(group).copied().unwrap_or_default();
            let name = now.groups.names[*group].as_deref().map(str::to_owned);
            groups.push(Group { name, figures: slot.figures(of_groups, sessions) });
        }
        let others = (!shown.others.is_empty()).then(|| Others {
            groups: shown.others.len() as u64,
            figures: slots.others.figures(of_groups, now.sessions.together(&shown.others)),
        });
        let before = before.zip(slots.before.as_ref()).map(|(counter, slot)| Before {
            from: counter.range.from,
            total: slot.figures(parts, counter.sessions.total()),
        });
        Summary {
            from: asked.range.from,
            to: asked.range.to,
            total: slots.total.figures(parts, now.sessions.total()),
            before,
            by: asked.by,
            groups,
            others,
            series: now.series,
            notices,
        }
    }
}

impl Shown {
    /// The groups with the most runs, then by name; of days the newest, in order.
    fn of(counter: &Counter, by: Option<By>) -> Self {
        let names = &counter.groups.names;
        let mut groups: Vec<usize> = (NAMED..names.len()).collect();
        let sessions = counter.sessions.by_group();
        let has_rows = |group: &usize| {
            let tally = &counter.tallies[*group];
            tally.rows > 0 || sessions.contains_key(group)
        };
        groups.retain(has_rows);
        if by == Some(By::Day) {
            groups.sort_by(|a, b| names[*b].cmp(&names[*a]));
        } else {
            groups.sort_by_cached_key(|group| {
                // Who is not known comes after who is.
                (Reverse(counter.tallies[*group].run_count()), names[*group].is_none(), names[*group].clone())
            });
        }
        let mut others = groups.split_off(groups.len().min(GROUPS_SHOWN_MAX));
        if by == Some(By::Day) {
            groups.reverse();
        }
        if counter.tallies[OVERFLOW].rows > 0 || sessions.contains_key(&OVERFLOW) {
            others.push(OVERFLOW);
        }
        Self { groups, others }
    }
}

impl Slots {
    fn all(&self) -> impl Iterator<Item = &Slot> {
        [&self.total, &self.others].into_iter().chain(&self.before).chain(&self.groups)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        [&mut self.total, &mut self.others].into_iter().chain(&mut self.before).chain(&mut self.groups)
    }
}

impl Slot {
    fn of(counter: &Counter, groups: &[usize]) -> Self {
        let mut tally = Tally::default();
        groups.iter().for_each(|group| tally.merge(&counter.tallies[*group]));
        let mut slot = Self { duration: tally.duration.hunts(), queued: tally.queued.hunts(), tally };
        // The quantiles are on their way; their values are not needed any more.
        (slot.tally.duration, slot.tally.queued) = (Distribution::default(), Distribution::default());
        slot
    }

    fn is_done(&self) -> bool {
        self.duration.iter().chain(&self.queued).all(Hunts::is_done)
    }

    fn add(&mut self, (weight, duration, queued): (u64, Option<u64>, Option<u64>)) {
        if let Some((hunts, us)) = self.duration.as_mut().zip(duration) {
            hunts.add(us, weight);
        }
        if let Some((hunts, us)) = self.queued.as_mut().zip(queued) {
            hunts.add(us, weight);
        }
    }

    fn narrow(&mut self) {
        self.duration.iter_mut().chain(&mut self.queued).for_each(Hunts::narrow);
    }

    fn figures(&self, parts: Parts, sessions: SessionFigures) -> Figures {
        let Self { tally, duration, queued } = self;
        let count = |status: Status| tally.runs[status as usize];
        let total = tally.run_count();
        let succeeded: u64 = Status::ALL.into_iter().filter(|status| status.is_success()).map(count).sum();
        let found = |hunts: &Option<Hunts>| -> Option<Quantiles> { hunts.as_ref().map(Hunts::found) };
        Figures {
            runs: RunFigures {
                total,
                success: count(Status::Success),
                failure: count(Status::Failure),
                error: count(Status::Error),
                skipped: count(Status::Skipped),
                unknown: count(Status::Unknown),
                success_rate: (total > 0).then(|| succeeded as f64 / total as f64),
                duration: found(duration),
                queued: found(queued),
            },
            findings: parts.events.then_some(tally.findings),
            pushes: parts.events.then_some(tally.pushes),
            time_saved: parts.events.then_some(tally.time_saved),
            sessions: parts.sessions.then_some(sessions),
            usage: parts.usage.then_some(tally.usage),
        }
    }
}
