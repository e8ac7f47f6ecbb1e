//! The shell over `.loki`'s small files: what each last said when it could be read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use muster::clock::WallTime;
use muster::v1;

use super::cost::PriceList;
use super::efficiency::ScanFaults;
use super::files::{self, Look, Mark, WatchedFile};
use super::liveness::{self, PidFile};
use super::state_files::{self, AutonomyState, Budget, DashboardState, Roster, SkillSession, TaskBoard};

/// Largest state or queue file that is read: they hold whole task lists.
const STATE_BYTES_MAX: u64 = 16 << 20;
/// Largest of the files that hold one small object.
const SMALL_BYTES_MAX: u64 = 1 << 20;
/// Most pid files of one project that are looked at.
const PID_FILES_MAX: usize = 128;
/// Most names of a folder that are looked through for them.
const NAMES_MAX: usize = 4096;

/// A file and the last good value that it held.
#[derive(Debug)]
pub(super) struct Kept<T> {
    file: WatchedFile,
    parse: fn(&[u8]) -> Option<T>,
    /// The last good value; `None` when there never was one or the file is gone.
    pub value: Option<T>,
    /// When the file was last written, where it is there.
    pub written: WallTime,
    /// The file is not there.
    pub missing: bool,
}

impl<T> Kept<T> {
    fn new(path: PathBuf, bytes_max: u64, parse: fn(&[u8]) -> Option<T>, value: Option<T>) -> Self {
        Self { file: WatchedFile::new(path, bytes_max), parse, value, written: WallTime(0), missing: false }
    }

    /// Looks at the file; true when there is a new good value or it is gone.
    fn refresh(&mut self, now: WallTime, again: bool, faults: &mut ScanFaults) -> bool {
        match self.file.look(now, again) {
            Look::Same => false,
            Look::Missing => {
                self.missing = true;
                self.value.take().is_some()
            }
            Look::Unreadable => {
                self.missing = false;
                faults.read_errors += 1;
                false
            }
            Look::Content(bytes, mark) => {
                self.missing = false;
                let Some(value) = (self.parse)(&bytes) else {
                    faults.parse_errors += 1;
                    faults.unsettled = true;
                    return false;
                };
                self.value = Some(value);
                self.written = mark.written;
                true
            }
        }
    }
}

/// All small files of one `.loki`.
#[derive(Debug)]
pub(super) struct StateFolder {
    /// `.loki` itself.
    pub path: PathBuf,
    /// `dashboard-state.json`.
    pub dashboard: Kept<DashboardState>,
    /// `state/agents.json`.
    pub roster: Kept<Roster>,
    /// `state/agents.json` has changed since this was last taken.
    pub roster_changed: bool,
    /// `metrics/budget.json`.
    pub budget: Kept<Budget>,
    /// `pricing.json`.
    pub prices: Kept<PriceList>,
    /// `autonomy-state.json`.
    pub autonomy: Kept<AutonomyState>,
    /// `session.json`.
    pub skill: Kept<SkillSession>,
    /// The PAUSE file is there.
    pub pause_file: bool,
    /// `signals/BUDGET_EXCEEDED` is there.
    pub budget_signal: bool,
    queues: [Kept<u64>; 5],
    pid_files: BTreeMap<PathBuf, PidEntry>,
    listed: Option<Mark>,
}

#[derive(Debug)]
struct PidEntry {
    file: WatchedFile,
    seen: PidFile,
}

impl StateFolder {
    /// The folder at `path`; `dashboard` is the last good value from before a restart.
    pub(super) fn new(path: PathBuf, dashboard: Option<DashboardState>) -> Self {
        let queue = |name: &str| {
            Kept::new(path.join("queue").join(name), STATE_BYTES_MAX, state_files::queue_length, None)
        };
        Self {
            dashboard: Kept::new(
                path.join("dashboard-state.json"),
                STATE_BYTES_MAX,
                state_files::dashboard_state,
                dashboard,
            ),
            roster: Kept::new(path.join("state/agents.json"), STATE_BYTES_MAX, state_files::roster, None),
            roster_changed: false,
            budget: Kept::new(path.join("metrics/budget.json"), SMALL_BYTES_MAX, state_files::budget, None),
            prices: Kept::new(path.join("pricing.json"), SMALL_BYTES_MAX, PriceList::from_file, None),
            autonomy: Kept::new(
                path.join("autonomy-state.json"),
                SMALL_BYTES_MAX,
                state_files::autonomy_state,
                None,
            ),
            skill: Kept::new(path.join("session.json"), SMALL_BYTES_MAX, state_files::skill_session, None),
            pause_file: false,
            budget_signal: false,
            queues: [
                queue("pending.json"),
                queue("in-progress.json"),
                queue("completed.json"),
                queue("failed.json"),
                queue("review.json"),
            ],
            pid_files: BTreeMap::new(),
            listed: None,
            path,
        }
    }

    /// Looks at every file, and reads those that changed.
    pub(super) fn refresh(&mut self, now: WallTime, rescan: bool, faults: &mut ScanFaults) {
        self.dashboard.refresh(now, rescan, faults);
        self.roster_changed |= self.roster.refresh(now, rescan, faults);
        self.budget.refresh(now, rescan, faults);
        self.prices.refresh(now, rescan, faults);
        self.autonomy.refresh(now, rescan, faults);
        self.skill.refresh(now, rescan, faults);
        self.pause_file = self.path.join("PAUSE").symlink_metadata().is_ok();
        self.budget_signal = self.path.join("signals/BUDGET_EXCEEDED").symlink_metadata().is_ok();
        if self.dashboard.missing {
            for queue in &mut self.queues {
                queue.refresh(now, rescan, faults);
            }
        }
        self.refresh_pid_files(now, rescan, faults);
    }

    /// The task board: the monitor's, or where no monitor ever ran (a session of a skill) the queue's own files.
    pub(super) fn tasks(&self) -> TaskBoard {
        if let Some(state) = &self.dashboard.value {
            return state.tasks;
        }
        if !self.dashboard.missing {
            return TaskBoard::default();
        }
        let [pending, in_progress, completed, failed, review] =
            self.queues.each_ref().map(|queue| queue.value.unwrap_or(0));
        TaskBoard { pending, in_progress, completed, failed, review }
    }

    /// The pid files that are there.
    pub(super) fn pid_files(&self) -> Vec<PidFile> {
        self.pid_files.values().map(|entry| entry.seen.clone()).collect()
    }

    /// Whether the runs are told to wait.
    pub(super) fn is_paused(&self) -> bool {
        self.pause_file || self.dashboard.value.as_ref().is_some_and(|state| state.mode == "paused")
    }

    /// The budget, where there is one.
    pub(super) fn budget_state(&self) -> Option<v1::BudgetState> {
        if self.budget.value.is_none() && !self.budget_signal {
            return None;
        }
        let budget = self.budget.value.unwrap_or_default();
        Some(v1::BudgetState {
            limit_usd: budget.limit_usd,
            used_usd: budget.used_usd,
            exceeded: budget.exceeded || self.budget_signal,
        })
    }

    /// The folders of sessions that have one.
    pub(super) fn session_folders(&self) -> Vec<PathBuf> {
        let of_sessions = self.pid_files.iter().filter(|(_, entry)| entry.seen.session_id.is_some());
        of_sessions.filter_map(|(path, _)| path.parent().map(PathBuf::from)).collect()
    }

    fn refresh_pid_files(&mut self, now: WallTime, rescan: bool, faults: &mut ScanFaults) {
        self.list_pid_files(now, rescan);
        self.pid_files.retain(|_, entry| match entry.file.look(now, rescan) {
            Look::Same => entry.file.is_there(),
            Look::Missing => false,
            Look::Unreadable => {
                faults.read_errors += 1;
                true
            }
            Look::Content(bytes, mark) => {
                // Empty is how it looks while it is being written.
                if bytes.trim_ascii().is_empty() && entry.seen.pid.is_some() {
                    faults.unsettled = true;
                } else {
                    entry.seen.pid = liveness::pid_in(&bytes);
                    faults.unsettled |= bytes.trim_ascii().is_empty();
                }
                entry.seen.written = mark.written;
                true
            }
        });
    }

    /// Finds pid files: `loki.pid`, `run.pid`, `run-<n>.pid`, and `sessions/<id>/loki.pid`.
    fn list_pid_files(&mut self, now: WallTime, rescan: bool) {
        for name in ["loki.pid", "run.pid"] {
            let path = self.path.join(name);
            if path.symlink_metadata().is_ok() {
                self.watch_pid_file(path, None);
            }
        }
        let settled = |mark: Option<Mark>| mark.filter(|mark| !files::is_racy(*mark, now));
        let mark = settled(files::mark(&self.path));
        if rescan || mark.is_none() || mark != self.listed {
            self.listed = mark;
            for name in files::names_in(&self.path, NAMES_MAX).unwrap_or_default() {
                if name.starts_with("run-") && name.ends_with(".pid") {
                    self.watch_pid_file(self.path.join(name), None);
                }
            }
        }
        // A session's pid file comes a moment after its folder, so the folders are looked into each time.
        let folder = self.path.join("sessions");
        for name in files::names_in(&folder, PID_FILES_MAX).unwrap_or_default() {
            let path = folder.join(&name).join("loki.pid");
            if path.symlink_metadata().is_ok() {
                self.watch_pid_file(path, Some(name));
            }
        }
    }

    fn watch_pid_file(&mut self, path: PathBuf, session_id: Option<String>) {
        if self.pid_files.len() >= PID_FILES_MAX || self.pid_files.contains_key(&path) {
            return;
        }
        let file = WatchedFile::new(path.clone(), SMALL_BYTES_MAX);
        let seen = PidFile { session_id, pid: None, written: WallTime(0) };
        self.pid_files.insert(path, PidEntry { file, seen });
    }
}
