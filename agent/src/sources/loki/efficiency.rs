//! The shell over `metrics/efficiency`: what each file adds to the cost, and which iterations its files tell of.
//!
//! The folder may hold thousands of files and be wiped while we list it. It is listed when it changed; its files are
//! looked at by their time stamps, of a large folder between rescans only those that changed lately. A file that
//! cannot be read keeps its last good value; one that is gone adds nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use muster::clock::WallTime;

use super::cost::{self, Contribution, IterationRecord, PriceList};
use super::files::{self, Mark};
use super::iterations::is_near;
use super::seen::Seen;

/// Most files of the folder that are looked at; a run has some tens, and each start wipes them.
const FILES_MAX: usize = 20_000;
/// Most files that one step looks at.
const FILES_PER_STEP_MAX: usize = 500;
/// Up to this many files are all looked at each time.
const SMALL_FOLDER_FILES: usize = 256;
/// Of a larger folder, those that changed this recently.
const CHANGED_LATELY: Duration = Duration::from_secs(600);
/// Largest file that is read: a real one has some hundred bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// A result of this iteration is written no earlier than the iteration began; time stamps have whole seconds.
const RESULT_SLACK: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Entry {
    mark: Option<Mark>,
    contribution: Contribution,
    record: Option<IterationRecord>,
}

/// The folder as it was last seen.
#[derive(Debug)]
pub(super) struct Efficiency {
    folder: PathBuf,
    metrics: PathBuf,
    entries: BTreeMap<String, Entry>,
    listed: Option<Mark>,
    unlooked: Vec<String>,
    /// All files were looked at once.
    complete: bool,
    /// Files whose record may not have been stated yet.
    fresh: Vec<String>,
}

/// What one scan found wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ScanFaults {
    /// Files that are not what they should be.
    pub parse_errors: u64,
    /// Files that cannot be read.
    pub read_errors: u64,
    /// A file is being written: look again soon.
    pub unsettled: bool,
}

impl Efficiency {
    /// The folder under `metrics`, not looked at yet.
    pub(super) fn new(metrics: PathBuf) -> Self {
        Self {
            folder: metrics.join("efficiency"),
            metrics,
            entries: BTreeMap::new(),
            listed: None,
            unlooked: Vec::new(),
            complete: false,
            fresh: Vec::new(),
        }
    }

    /// Looks at a bounded number of files. True: there are more to look at.
    pub(super) fn scan(&mut self, now: WallTime, rescan: bool, faults: &mut ScanFaults) -> bool {
        if self.unlooked.is_empty() {
            self.begin(now, rescan);
        }
        let step = self.unlooked.len().saturating_sub(FILES_PER_STEP_MAX);
        for name in self.unlooked.split_off(step) {
            self.look_at(name, now, faults);
        }
        self.complete |= self.unlooked.is_empty();
        !self.unlooked.is_empty()
    }

    /// The sum of all files in USD, rounded as the real endpoint rounds it; `None` until all were looked at once.
    pub(super) fn total_usd(&self, prices: &PriceList) -> Option<f64> {
        let sum = || self.entries.values().map(|entry| entry.contribution.usd(prices)).sum();
        self.complete.then(|| cost::rounded_total(sum()))
    }

    /// The record of iteration `iteration` that was over at about `time`, if it was not stated yet; now it is.
    pub(super) fn take(&self, iteration: u32, time: WallTime, seen: &mut Seen) -> Option<IterationRecord> {
        let record = self.entries.get(&format!("iteration-{iteration}.json"))?.record.as_ref()?;
        let matches = record.iteration == iteration && is_near(record.time, time);
        (matches && seen.insert(record.time.0, u64::from(iteration))).then(|| record.clone())
    }

    /// The next record that was not stated yet, the oldest first; now it is.
    pub(super) fn take_next(&mut self, seen: &mut Seen) -> Option<IterationRecord> {
        if self.fresh.len() > 1 {
            let time_of = |name: &String| self.entries.get(name)?.record.as_ref().map(|record| record.time);
            self.fresh.sort_by_cached_key(|name| std::cmp::Reverse(time_of(name)));
        }
        while let Some(name) = self.fresh.pop() {
            let Some(record) = self.entries.get(&name).and_then(|entry| entry.record.as_ref()) else {
                continue;
            };
            if seen.insert(record.time.0, u64::from(record.iteration)) {
                return Some(record.clone());
            }
        }
        None
    }

    /// Whether [`Efficiency::take_next`] may have more.
    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    fn begin(&mut self, now: WallTime, rescan: bool) {
        let Some(mark) = files::mark(&self.folder) else {
            self.entries.clear();
            self.listed = None;
            return;
        };
        if rescan || self.listed != Some(mark) {
            let Some(mut names) = files::names_in(&self.folder, FILES_MAX) else { return };
            names.retain(|name| name.ends_with(".json"));
            names.sort_unstable();
            self.entries.retain(|name, _| names.binary_search(name).is_ok());
            self.listed = (!files::is_racy(mark, now)).then_some(mark);
            self.unlooked = names;
            return;
        }
        let all = self.entries.len() <= SMALL_FOLDER_FILES;
        let lately = |entry: &Entry| entry.mark.is_none_or(|mark| now.since(mark.written) < CHANGED_LATELY);
        self.unlooked = self
            .entries
            .iter()
            .filter(|(_, entry)| all || lately(entry))
            .map(|(name, _)| name.clone())
            .collect();
    }

    fn look_at(&mut self, name: String, now: WallTime, faults: &mut ScanFaults) {
        let path = self.folder.join(&name);
        let Ok(metadata) = fs::metadata(&path) else {
            self.entries.remove(&name);
            return;
        };
        if !metadata.is_file() {
            return;
        }
        let mark = files::mark_of(&metadata);
        let entry = self.entries.entry(name.clone()).or_insert(Entry {
            mark: None,
            contribution: Contribution::Nothing,
            record: None,
        });
        if entry.mark == Some(mark) {
            return;
        }
        entry.mark = (!files::is_racy(mark, now)).then_some(mark);
        let Ok(bytes) = files::read_bounded(&path, FILE_BYTES_MAX) else {
            faults.read_errors += 1;
            return;
        };
        let Some(file) = cost::efficiency_file(&bytes) else {
            faults.parse_errors += 1;
            faults.unsettled = true;
            return;
        };
        entry.contribution = file.contribution;
        entry.record = file.iteration.map(|record| with_result(record, &self.metrics));
        if entry.record.is_some() {
            self.fresh.push(name);
        }
    }
}

/// `result-cost-<N>.json` is the truth where it is there; but it outlives the run that wrote it, so an older one tells
/// of another iteration with the same number.
fn with_result(record: IterationRecord, metrics: &std::path::Path) -> IterationRecord {
    let path = metrics.join(format!("result-cost-{}.json", record.iteration));
    let Ok(metadata) = fs::metadata(&path) else { return record };
    let lasted = Duration::from_micros(record.duration_us.unwrap_or(0));
    if record.time.since(files::written(&metadata)) > lasted + RESULT_SLACK {
        return record;
    }
    let result = files::read_bounded(&path, FILE_BYTES_MAX).ok().and_then(|bytes| cost::result_cost(&bytes));
    match result {
        Some(spent) if !spent.is_unknown() => IterationRecord { spent, ..record },
        _ => record,
    }
}
