//! Loki Mode: what its `.loki` folder says (contracts/loki-mode.md).
//!
//! The folder is a mess by nature: files are written in place and found empty, two writers fight over one list, a dead
//! run's files look alive, and the event log is rotated, torn and shared. So each file keeps its last good value, a
//! session lives only by its process, and what counts (lines, runs, usage) is read from cursors and keys that are part
//! of the position.
//!
//! | from | facts |
//! |---|---|
//! | pid files, `dashboard-state.json`, `PAUSE`, `session.json`, the event log | `ToolState`, `SessionState` |
//! | `dashboard-state.json`, or `queue/` where there is none | `TaskCounts` |
//! | `state/agents.json` | `WorkerCounts`, `RunStarted` and `RunFinished` of the workers |
//! | `metrics/efficiency`, `metrics/result-cost-N.json`, `pricing.json` | `CostTotal`, `Usage`, durations of runs |
//! | `metrics/budget.json`, `signals/BUDGET_EXCEEDED` | `BudgetState` |
//! | `events.jsonl` and its `.1` | `LinesRecorded`, and what [`event_facts`] has in its table |
//! | all | `SourceHealth`, at most every 10 s |
//!
//! The modules are pure cores (`json`, `timestamp`, `state_files`, `liveness`, `cost`, `events_log`, `event_facts`,
//! `sessions`, `iterations`, `workers`, `seen`, `position`) under a shell that reads files (`files`, `state_folder`,
//! `efficiency`, `log_file`, and this one).

use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::clock::{Monotonic, WallTime};
use muster::v1;
use muster::v1::event::Kind;

use self::cost::PriceList;
use self::efficiency::{Efficiency, ScanFaults};
use self::event_facts::{Scene, Story};
use self::liveness::{Live, PidFile, Witnesses};
use self::log_file::LogFile;
use self::position::{Position, Unreported};
use self::sessions::Surroundings;
use self::state_files::{DashboardState, TaskBoard, WorkerCount};
use self::state_folder::StateFolder;
use self::workers::Workers;
use super::{Moment, Processes, ProjectContext, Source, Step, Tool, ToolEnvironment, WatchedPath};
use crate::facts::{Facts, STEP_EVENTS_MAX};

mod cost;
mod efficiency;
mod event_facts;
mod events_log;
mod files;
mod iterations;
mod json;
mod liveness;
mod log_file;
mod position;
mod seen;
mod sessions;
mod state_files;
mod state_folder;
mod timestamp;
mod workers;

#[cfg(test)]
mod tests;

/// The folder in a project.
const FOLDER: &str = ".loki";
/// What the real endpoint says where nobody set a limit.
const ITERATION_MAX_DEFAULT: u64 = 1000;
/// How often a live session is checked.
const LIVE_CHECK: Duration = Duration::from_secs(5);
/// How often a project without one is.
const IDLE_CHECK: Duration = Duration::from_secs(30);
/// When a file that was found half written is looked at again.
const UNSETTLED_CHECK: Duration = Duration::from_millis(100);
/// ... and how often.
const UNSETTLED_CHECKS: u8 = 5;
/// How soon something that settles is looked at again.
const SETTLE_CHECK: Duration = Duration::from_secs(1);
/// At most one report of health in this time.
const HEALTH_INTERVAL: Duration = Duration::from_secs(10);
/// While history is read, the project's state is said at most this often: it would only flicker through the past.
const CATCH_UP_INTERVAL: Duration = Duration::from_secs(2);
/// Facts that a step leaves for what is said after the event log: gauges and sessions.
const GAUGE_FACTS: usize = 100;
/// Efficiency files whose iterations one step states.
const RECORDS_PER_STEP_MAX: usize = 300;

/// Loki Mode.
#[derive(Debug, Clone, Copy)]
pub struct Loki;

impl Tool for Loki {
    fn name(&self) -> &'static str {
        "loki"
    }

    fn is_in(&self, root: &Path) -> bool {
        let folder = root.join(FOLDER);
        // `~/.loki` is the dashboard's own registry, not a project.
        let is_registry = folder.join("dashboard/projects.json").exists()
            && !["dashboard-state.json", "events.jsonl", "loki.pid", "session.json", "sessions"]
                .iter()
                .any(|name| folder.join(name).exists());
        folder.is_dir() && !is_registry
    }

    fn open(
        &self,
        project: ProjectContext,
        environment: &ToolEnvironment,
        position: Option<&[u8]>,
    ) -> Box<dyn Source> {
        Box::new(LokiSource::new(project, environment, position))
    }
}

/// One project's `.loki`.
struct LokiSource {
    project: ProjectContext,
    environment_limit: Option<u64>,
    folder: StateFolder,
    efficiency: Efficiency,
    log: LogFile,
    story: Story,
    workers: Workers,
    prices: PriceList,
    /// What the newest run was started with, by its process's environment.
    run_limit: Option<(u32, u64)>,
    /// The process whose environment was asked.
    asked: Option<u32>,
    live: Vec<Live>,
    unreported: Unreported,
    said: Said,
    unsettled_checks: u8,
    first_sight: bool,
}

/// What was said last, so that only changes are said.
#[derive(Debug, Default)]
struct Said {
    state: Option<v1::ToolState>,
    state_at: Option<Monotonic>,
    tasks: Option<TaskBoard>,
    workers: Option<WorkerCount>,
    cost: Option<f64>,
    budget: Option<v1::BudgetState>,
    health_at: Option<Monotonic>,
    newest_us: u64,
}

impl Source for LokiSource {
    fn step(&mut self, moment: &Moment<'_>, facts: &mut Facts) -> Step {
        let mut faults = ScanFaults::default();
        self.folder.refresh(moment.wall, moment.rescan, &mut faults);
        self.unreported.rescans += u64::from(moment.rescan);
        self.take_prices();
        let version = self.folder.dashboard.value.as_ref().map_or("", |state| state.version.as_str());
        facts.speak_for("loki", version, &self.project);
        let pid_files = self.folder.pid_files();
        self.live = self.live_sessions(&pid_files, moment);
        self.ask_for_limit(moment.processes);

        let mut more = self.efficiency.scan(moment.wall, moment.rescan, &mut faults);
        if !more {
            more = self.read_log(&pid_files, moment, facts);
        }
        if !more {
            more = self.state_records(&pid_files, moment, facts);
        }
        if !more {
            // The log may have told of an end that the state files do not show.
            self.live = self.live_sessions(&pid_files, moment);
            self.catch_up(moment, facts);
        }
        self.say_gauges(moment, more, facts);
        self.note(faults);
        self.say_health(moment, facts);
        Step { more, again_in: self.again_in(moment.monotonic, faults.unsettled) }
    }

    fn position(&self) -> Vec<u8> {
        let position = Position {
            log: self.log.place.clone(),
            story: self.story.clone(),
            workers: self.workers.clone(),
            dashboard: self.folder.dashboard.value.clone(),
            run_limit: self.run_limit,
            unreported: self.unreported,
            ..Position::default()
        };
        position.encode()
    }

    fn live_pids(&self) -> Vec<u32> {
        self.live.iter().filter_map(|live| live.pid).collect()
    }

    fn watched_paths(&self) -> Vec<WatchedPath> {
        let folder = &self.folder.path;
        let mut paths = vec![folder.clone()];
        for name in ["state", "metrics", "metrics/efficiency", "signals", "sessions"] {
            paths.push(folder.join(name));
        }
        if self.folder.dashboard.missing {
            paths.push(folder.join("queue"));
        }
        paths.extend(self.folder.session_folders());
        paths.retain(|path| path.is_dir());
        paths.into_iter().map(WatchedPath).collect()
    }

    fn end(&mut self, moment: &Moment<'_>, facts: &mut Facts) {
        let version = self.folder.dashboard.value.as_ref().map_or("", |state| state.version.as_str());
        facts.speak_for("loki", version, &self.project);
        facts.push(moment.wall, Kind::SourceEnded(v1::SourceEnded {}));
    }
}

impl LokiSource {
    fn new(project: ProjectContext, environment: &ToolEnvironment, position: Option<&[u8]>) -> Self {
        let decoded = position.and_then(Position::decode);
        if position.is_some() && decoded.is_none() {
            tracing::warn!(project = %project.name, "loki: the stored position cannot be read, starting from the first event");
        }
        let first_sight = decoded.is_none();
        let position = decoded.unwrap_or_default();
        let path: PathBuf = project.root.join(FOLDER);
        let limit = environment.loki_max_iterations.as_deref().and_then(json::python_int);
        Self {
            environment_limit: limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0),
            efficiency: Efficiency::new(path.join("metrics")),
            log: LogFile::new(path.join("events.jsonl"), position.log),
            folder: StateFolder::new(path, position.dashboard),
            story: position.story,
            workers: position.workers,
            prices: PriceList::default(),
            run_limit: position.run_limit,
            asked: None,
            live: Vec::new(),
            unreported: position.unreported,
            said: Said::default(),
            unsettled_checks: 0,
            first_sight,
            project,
        }
    }

    /// The price list as it last could be read; the defaults when there is none.
    fn take_prices(&mut self) {
        let prices = &self.folder.prices;
        match &prices.value {
            Some(list) if *list != self.prices => self.prices = list.clone(),
            None if prices.missing => self.prices = PriceList::default(),
            _ => {}
        }
    }

    fn live_sessions(&self, pid_files: &[PidFile], moment: &Moment<'_>) -> Vec<Live> {
        let folder = &self.folder;
        let witnesses = Witnesses {
            dashboard: folder.dashboard.value.as_ref().map(|state| (state, folder.dashboard.written)),
            skill: folder.skill.value.as_ref().map(|session| (session, folder.skill.written)),
            autonomy: folder.autonomy.value.as_ref(),
            newest_pid: self.story.sessions.newest_pid,
            last_end: self.story.sessions.last_end_us.map(WallTime),
        };
        liveness::live_sessions(pid_files, witnesses, moment.wall, moment.processes)
    }

    /// Asks the newest live session's process what it was started with, once.
    fn ask_for_limit(&mut self, processes: &dyn Processes) {
        let newest = self.live.iter().max_by_key(|live| live.started.or(live.pid_file_written));
        let Some(pid) = newest.and_then(|live| live.pid) else { return };
        if self.asked == Some(pid) {
            return;
        }
        self.asked = Some(pid);
        let limit = processes.environment_variable(pid, "LOKI_MAX_ITERATIONS");
        let limit = limit.as_deref().and_then(json::python_int).and_then(|limit| u64::try_from(limit).ok());
        self.run_limit = limit.filter(|limit| *limit > 0).map(|limit| (pid, limit));
    }

    /// Reads one chunk of the event log. True: there is more of it.
    fn read_log(&mut self, pid_files: &[PidFile], moment: &Moment<'_>, facts: &mut Facts) -> bool {
        let chunk = match self.log.next_chunk(moment.wall) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return self.count_lines(0, moment.wall, facts),
            Err(_) => {
                self.unreported.read_errors += 1;
                return false;
            }
        };
        let around = surroundings(self.iteration_limit(), &self.folder);
        let scene = Scene {
            now: moment.wall,
            monotonic: moment.monotonic,
            live: &self.live,
            pid_files,
            efficiency: &self.efficiency,
            prices: &self.prices,
            around,
        };
        let story = &mut self.story;
        let progress = self.log.place.cursors.read(&chunk.bytes, chunk.at_end, |record| {
            story.tell(&record, &scene, facts);
            facts.len() < STEP_EVENTS_MAX - GAUGE_FACTS
        });
        if progress.stopped {
            self.log.stopped_early();
        }
        self.unreported.parse_errors += progress.faults.parse_errors;
        self.unreported.records_skipped += progress.faults.skipped;
        self.count_lines(progress.lines, moment.wall, facts);
        progress.stopped || !chunk.at_end || chunk.more_files
    }

    /// States lines; at first sight also that there are none. Always false: nothing more to read comes of it.
    fn count_lines(&mut self, count: u64, now: WallTime, facts: &mut Facts) -> bool {
        if count > 0 || std::mem::take(&mut self.first_sight) {
            facts.push(now, Kind::LinesRecorded(v1::LinesRecorded { count }));
            self.first_sight = false;
        }
        false
    }

    /// States the iterations that only efficiency files tell of. True: there are more.
    fn state_records(&mut self, pid_files: &[PidFile], moment: &Moment<'_>, facts: &mut Facts) -> bool {
        for _ in 0..RECORDS_PER_STEP_MAX {
            let Some(record) = self.efficiency.take_next(&mut self.story.stated) else { break };
            let around = surroundings(self.iteration_limit(), &self.folder);
            let scene = Scene {
                now: moment.wall,
                monotonic: moment.monotonic,
                live: &self.live,
                pid_files,
                efficiency: &self.efficiency,
                prices: &self.prices,
                around,
            };
            self.story.tell_record(&record, &scene, facts);
        }
        self.efficiency.has_fresh()
    }

    /// All history is read: what is open is compared with what lives.
    fn catch_up(&mut self, moment: &Moment<'_>, facts: &mut Facts) {
        if std::mem::take(&mut self.folder.roster_changed) || self.folder.roster.missing {
            match &self.folder.roster.value {
                Some(roster) => {
                    let now = (moment.wall, moment.monotonic);
                    self.workers.read(roster, &self.story.sessions.newest, now, facts);
                }
                None => self.workers.missing(),
            }
        }
        let around = surroundings(self.iteration_limit(), &self.folder);
        let now = (moment.wall, moment.monotonic);
        self.story.sessions.reconcile(&self.live, self.folder.is_paused(), now, around, facts);
        self.story.settle(moment.monotonic, facts);
    }

    /// What the run was started with if that can be known, else what our environment says, else the default.
    fn iteration_limit(&self) -> u64 {
        let by_budget = self.folder.budget.value.and_then(|budget| budget.max_iterations);
        let known = self.run_limit.map(|(_, limit)| limit).or(by_budget).or(self.story.iteration_max);
        known.or(self.environment_limit).unwrap_or(ITERATION_MAX_DEFAULT)
    }

    fn tool_state(&self, facts: &mut Facts) -> v1::ToolState {
        let state = self.folder.dashboard.value.as_ref();
        let status = match (self.live.is_empty(), self.folder.is_paused()) {
            (true, _) => v1::SessionStatus::Stopped,
            (false, true) => v1::SessionStatus::Paused,
            (false, false) => v1::SessionStatus::Running,
        };
        let starts = self.live.iter().filter_map(|live| {
            live.started.or_else(|| self.story.sessions.start_by_event(live.pid)).map(|time| time.0)
        });
        let by_state_file = state.and_then(|state| state.started_us).filter(|_| !self.live.is_empty());
        v1::ToolState {
            status: status.into(),
            iteration: state
                .map_or(0, |state| state.iteration)
                .max(self.story.sessions.iteration.unwrap_or(0)),
            iteration_max: self.iteration_limit(),
            started_time_us: starts.min().or(by_state_file),
            sessions_live: u32::try_from(self.live.len()).unwrap_or(u32::MAX),
            phase: facts.word(phase_of(state, &self.story)),
        }
    }

    fn say_gauges(&mut self, moment: &Moment<'_>, catching_up: bool, facts: &mut Facts) {
        let now = moment.monotonic;
        let last = *self.said.state_at.get_or_insert(now);
        if catching_up && now.0.saturating_sub(last.0) < CATCH_UP_INTERVAL {
            return;
        }
        self.said.state_at = Some(now);
        let state = self.tool_state(facts);
        // The phase is an index of this batch alone: compare what it stands for.
        let phase = phase_of(self.folder.dashboard.value.as_ref(), &self.story);
        let comparable = v1::ToolState { phase: seen::tag(phase) as u32, ..state };
        if self.said.state != Some(comparable) {
            self.said.state = Some(comparable);
            facts.push(moment.wall, Kind::ToolState(state));
        }
        let board = self.folder.tasks();
        if self.said.tasks.replace(board) != Some(board) {
            facts.push(moment.wall, Kind::TaskCounts(task_counts(board)));
        }
        let copy =
            self.folder.dashboard.value.as_ref().map_or_else(WorkerCount::default, |state| state.workers);
        let workers = self.workers.count(!self.live.is_empty(), copy, now);
        if self.said.workers.replace(workers) != Some(workers) {
            let counts = v1::WorkerCounts { active: workers.active, registered: workers.registered };
            facts.push(moment.wall, Kind::WorkerCounts(counts));
        }
        if let Some(cost_usd) = self.efficiency.total_usd(&self.prices)
            && self.said.cost.replace(cost_usd) != Some(cost_usd)
        {
            facts.push(moment.wall, Kind::CostTotal(v1::CostTotal { cost_usd }));
        }
        if let Some(budget) = self.folder.budget_state()
            && self.said.budget.replace(budget) != Some(budget)
        {
            facts.push(moment.wall, Kind::BudgetState(budget));
        }
    }

    fn note(&mut self, faults: ScanFaults) {
        self.unreported.parse_errors += faults.parse_errors;
        self.unreported.read_errors += faults.read_errors;
    }

    fn say_health(&mut self, moment: &Moment<'_>, facts: &mut Facts) {
        let written = self.folder.dashboard.value.as_ref().and_then(|state| state.written_us);
        let newest_us = self.story.newest_us.max(written.filter(|us| *us <= moment.wall.0).unwrap_or(0));
        let waited =
            self.said.health_at.is_none_or(|at| moment.monotonic.0.saturating_sub(at.0) >= HEALTH_INTERVAL);
        let quiet = Unreported { rescans: self.unreported.rescans, ..Unreported::default() };
        if !waited || (self.unreported == quiet && newest_us == self.said.newest_us) {
            return;
        }
        self.said.health_at = Some(moment.monotonic);
        self.said.newest_us = newest_us;
        let unreported = std::mem::take(&mut self.unreported);
        let health = v1::SourceHealth {
            newest_data_time_us: newest_us,
            parse_errors: unreported.parse_errors,
            rescans: unreported.rescans,
            records_skipped: unreported.records_skipped,
            read_errors: unreported.read_errors,
        };
        facts.push(moment.wall, Kind::SourceHealth(health));
    }

    fn again_in(&mut self, now: Monotonic, unsettled: bool) -> Option<Duration> {
        self.unsettled_checks = match (unsettled, self.unsettled_checks) {
            (true, _) => UNSETTLED_CHECKS,
            (false, checks) => checks.saturating_sub(1),
        };
        let mut again_in = if self.live.is_empty() { IDLE_CHECK } else { LIVE_CHECK };
        if self.unsettled_checks > 0 {
            again_in = UNSETTLED_CHECK;
        }
        if self.story.sessions.is_settling() {
            again_in = again_in.min(SETTLE_CHECK);
        }
        let others = [self.story.iterations.settles_in(), self.workers.settles_in(now)];
        Some(others.into_iter().flatten().fold(again_in, Duration::min).max(UNSETTLED_CHECK))
    }
}

fn surroundings(iteration_max: u64, folder: &StateFolder) -> Surroundings<'_> {
    let phase = folder.dashboard.value.as_ref().map_or("", |state| state.phase.as_str());
    Surroundings { iteration_max, phase, autonomy: folder.autonomy.value.as_ref() }
}

/// The phase by the state file, else by the newest event.
fn phase_of<'a>(state: Option<&'a DashboardState>, story: &'a Story) -> &'a str {
    state.map(|state| state.phase.as_str()).filter(|phase| !phase.is_empty()).unwrap_or(&story.phase)
}

fn task_counts(board: TaskBoard) -> v1::TaskCounts {
    v1::TaskCounts {
        pending: board.pending,
        in_progress: board.in_progress,
        completed: board.completed,
        failed: board.failed,
        review: board.review,
    }
}
