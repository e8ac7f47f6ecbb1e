//! A project in a temporary folder, a process table and a clock that the test owns, and a reading of the facts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::clock::{Clock, Monotonic, SystemClock, WallTime};
use muster::v1;
use muster::v1::event::Kind;

use crate::facts::{Facts, Privacy, STEP_EVENTS_MAX};
use crate::sources::loki::{Loki, timestamp};
use crate::sources::{
    Moment, POSITION_BYTES_MAX, Processes, ProjectContext, Source, Step, Tool, ToolEnvironment,
};

/// Processes as the test says.
#[derive(Debug, Default, Clone)]
pub(super) struct ProcessTable {
    pub alive: BTreeSet<u32>,
    pub started: BTreeMap<u32, WallTime>,
    pub limits: BTreeMap<u32, String>,
}

impl Processes for ProcessTable {
    fn is_alive(&self, pid: u32) -> bool {
        self.alive.contains(&pid)
    }

    fn started(&self, pid: u32) -> Option<WallTime> {
        self.started.get(&pid).copied()
    }

    fn environment_variable(&self, pid: u32, name: &str) -> Option<String> {
        self.limits.get(&pid).filter(|_| name == "LOKI_MAX_ITERATIONS").cloned()
    }

    fn tree(&self, pid: u32) -> Vec<u32> {
        vec![pid]
    }
}

/// What an exposition would show after the facts.
#[derive(Debug, Default, Clone)]
pub(super) struct Reading {
    pub state: Option<v1::ToolState>,
    pub tasks: Option<v1::TaskCounts>,
    pub workers: Option<v1::WorkerCounts>,
    pub cost_usd: Option<f64>,
    pub lines: Option<u64>,
    pub budget: Option<v1::BudgetState>,
    pub health: v1::SourceHealth,
    /// Every fact but gauges and health, as text without indexes.
    pub said: Vec<String>,
    pub runs: Vec<(String, v1::RunFinished)>,
    pub usage: Vec<v1::Usage>,
    pub phase: String,
}

/// A watched project.
pub(super) struct World {
    pub folder: tempfile::TempDir,
    pub processes: ProcessTable,
    pub now: WallTime,
    pub monotonic: Duration,
    pub environment: ToolEnvironment,
    pub reading: Reading,
    pub last: Step,
    pub privacy: Privacy,
    source: Box<dyn Source>,
}

pub(super) fn time(text: &str) -> WallTime {
    timestamp::parse(text).expect("a time in a test").time
}

/// As Loki Mode writes it.
pub(super) fn stamp(time: WallTime) -> String {
    let time = jiff::Timestamp::from_microsecond(time.0 as i64).unwrap();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/loki")
}

impl World {
    /// An empty `.loki`, at the time that the files written into it will have.
    pub(super) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".loki")).unwrap();
        let mut world = Self::over(folder, ToolEnvironment::default());
        world.now = SystemClock::new().wall();
        world
    }

    /// A live session of process `pid` with a state file and a `session_start` of now.
    pub(super) fn live(pid: u32) -> Self {
        let mut world = Self::empty();
        world.processes.alive.insert(pid);
        world.write("loki.pid", format!("{pid}\n"));
        world.write("dashboard-state.json", world.state("autonomous", 3, "[{\"id\":\"a\"}]"));
        world.append(
            "events.jsonl",
            world.event("session_start", &format!("{{\"pid\":{pid},\"provider\":\"claude\"}}")),
        );
        world.run();
        world
    }

    /// A `dashboard-state.json` of now.
    pub(super) fn state(&self, mode: &str, iteration: u64, pending: &str) -> String {
        let now = stamp(self.now);
        format!(
            "{{\"timestamp\":\"{now}\",\"mode\":\"{mode}\",\"iteration\":{iteration},\"startedAt\":\"2026-01-01T00:00:00Z\",\
             \"tasks\":{{\"pending\":{pending},\"completed\":[]}},\"agents\":[]}}"
        )
    }

    /// A line of the event log of now.
    pub(super) fn event(&self, kind: &str, data: &str) -> String {
        format!("{{\"timestamp\":\"{}\",\"type\":\"{kind}\",\"data\":{data}}}\n", stamp(self.now))
    }

    pub(super) fn status(&self) -> v1::SessionStatus {
        self.reading.state.expect("the state was said").status()
    }

    /// A copy of a fixture under its conditions.
    pub(super) fn fixture(name: &str) -> Self {
        let tree = fixtures().join(name);
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".loki")).unwrap();
        if tree.join(".loki").is_dir() {
            copy(&tree.join(".loki"), &folder.path().join(".loki"));
        }
        let conditions: serde_json::Value =
            serde_json::from_slice(&fs::read(tree.join("conditions.json")).unwrap()).unwrap();
        let limit = conditions["env"]["LOKI_MAX_ITERATIONS"].as_str().map(str::to_owned);
        let mut world = Self::over(folder, ToolEnvironment { loki_max_iterations: limit });
        world.now = time(conditions["now"].as_str().unwrap());
        for list in ["alive_pids", "eperm_pids"] {
            let pids = conditions[list].as_array().into_iter().flatten();
            world.processes.alive.extend(pids.map(|pid| pid.as_u64().unwrap() as u32));
        }
        world
    }

    fn over(folder: tempfile::TempDir, environment: ToolEnvironment) -> Self {
        let source = Loki.open(context(folder.path()), &environment, None);
        Self {
            folder,
            processes: ProcessTable::default(),
            now: time("2026-02-20T12:00:00Z"),
            monotonic: Duration::ZERO,
            environment,
            reading: Reading::default(),
            last: Step { more: true, again_in: None },
            privacy: Privacy::default(),
            source,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(".loki").join(name)
    }

    /// Writes a file in place, as most of Loki Mode's writers do.
    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        put(&self.path(name), content.as_ref());
    }

    pub(super) fn append(&self, name: &str, content: impl AsRef<[u8]>) {
        use std::io::Write;
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        file.write_all(content.as_ref()).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "the test plays Loki Mode, which renames without sync")]
    pub(super) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// One step; answers the facts of it.
    pub(super) fn step(&mut self, rescan: bool) -> v1::Batch {
        let mut facts = Facts::new(self.privacy.clone());
        let moment = Moment {
            wall: self.now,
            monotonic: Monotonic(self.monotonic),
            processes: &self.processes,
            rescan,
        };
        self.last = self.source.step(&moment, &mut facts);
        assert!(facts.len() <= STEP_EVENTS_MAX + 500, "a step is bounded: {}", facts.len());
        assert!(self.source.position().len() <= POSITION_BYTES_MAX);
        self.source.watched_paths();
        let batch = facts.builder().as_batch().clone();
        self.reading.take(&batch);
        batch
    }

    /// Steps until nothing is left to read.
    pub(super) fn run(&mut self) -> &Reading {
        for _ in 0..10_000 {
            self.step(false);
            if !self.last.more {
                return &self.reading;
            }
        }
        panic!("the source always wants more");
    }

    /// Lets time pass in pieces of a second, stepping at each.
    pub(super) fn wait(&mut self, seconds: u64) -> &Reading {
        for _ in 0..seconds {
            self.advance(1000);
            self.run();
        }
        &self.reading
    }

    pub(super) fn advance(&mut self, ms: u64) {
        self.now.0 += ms * 1000;
        self.monotonic += Duration::from_millis(ms);
    }

    /// The agent is killed and started again: all that stays is the position.
    pub(super) fn restart(&mut self) {
        let position = self.source.position();
        self.source = Loki.open(context(self.folder.path()), &self.environment, Some(&position));
        self.monotonic = Duration::ZERO;
    }

    /// The agent is killed before a step is spooled: after the restart it is done again.
    pub(super) fn lose_step(&mut self) {
        let position = self.source.position();
        let reading = self.reading.clone();
        self.step(false);
        self.reading = reading;
        self.open_at(&position);
    }

    /// Opens the source again at `position`.
    pub(super) fn open_at(&mut self, position: &[u8]) {
        self.source = Loki.open(context(self.folder.path()), &self.environment, Some(position));
    }

    /// Appends to a file whose folder may not be there yet.
    pub(super) fn append_to(&self, name: &str, content: &[u8]) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        self.append(name, content);
    }

    /// What the source would go on from.
    pub(super) fn position(&self) -> Vec<u8> {
        self.source.position()
    }

    pub(super) fn watched(&self) -> Vec<PathBuf> {
        self.source.watched_paths().into_iter().map(|path| path.0).collect()
    }
}

fn context(root: &Path) -> ProjectContext {
    ProjectContext {
        root: root.to_owned(),
        name: "shop".to_owned(),
        user: "dana".to_owned(),
        host: "mill".to_owned(),
        repository: String::new(),
        branch: String::new(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the test plays Loki Mode, which writes in place without sync")]
pub(super) fn put(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Reading {
    fn take(&mut self, batch: &v1::Batch) {
        let text = |index: u32| batch.strings.get(index as usize).map_or("", String::as_str);
        let mut time_us = batch.base_time_us;
        for event in &batch.events {
            time_us = time_us.wrapping_add(event.time_delta_us as u64);
            match event.kind.as_ref().expect("every event has a kind") {
                Kind::ToolState(state) => {
                    self.phase = text(state.phase).to_owned();
                    self.state = Some(*state);
                }
                Kind::TaskCounts(tasks) => self.tasks = Some(*tasks),
                Kind::WorkerCounts(workers) => self.workers = Some(*workers),
                Kind::CostTotal(cost) => self.cost_usd = Some(cost.cost_usd),
                Kind::LinesRecorded(lines) => *self.lines.get_or_insert(0) += lines.count,
                Kind::BudgetState(budget) => self.budget = Some(*budget),
                Kind::SourceHealth(health) => {
                    self.health.newest_data_time_us = health.newest_data_time_us;
                    self.health.parse_errors += health.parse_errors;
                    self.health.read_errors += health.read_errors;
                    self.health.records_skipped += health.records_skipped;
                }
                Kind::RunFinished(run) => {
                    self.said.push(format!(
                        "{time_us} run {} {} #{} {:?} in {}",
                        text(run.worker),
                        run.status().as_str_name().trim_start_matches("RUN_STATUS_"),
                        run.iteration,
                        run.duration_us,
                        text(run.session)
                    ));
                    self.runs.push((text(run.worker).to_owned(), *run));
                }
                Kind::Usage(usage) => {
                    self.said.push(format!(
                        "{time_us} usage #{} {} {}+{}+{}+{} {:?} {:?}",
                        usage.iteration,
                        text(usage.model),
                        usage.input_tokens,
                        usage.output_tokens,
                        usage.cache_read_tokens,
                        usage.cache_write_tokens,
                        usage.reported_cost_microusd,
                        usage.computed_cost_microusd
                    ));
                    self.usage.push(*usage);
                }
                other => self.said.push(format!("{time_us} {}", spoken(other, &text))),
            }
        }
    }

    /// The nine series as text: name or name and label, and value.
    pub(super) fn series(&self, now: WallTime) -> BTreeMap<String, f64> {
        let state = self.state.expect("the state was said");
        let tasks = self.tasks.expect("the tasks were said");
        let workers = self.workers.expect("the workers were said");
        let status = match state.status() {
            v1::SessionStatus::Running => 1.0,
            v1::SessionStatus::Paused => 2.0,
            _ => 0.0,
        };
        let uptime = state.started_time_us.map_or(0.0, |us| now.since(WallTime(us)).as_secs_f64());
        let mut series = BTreeMap::new();
        let mut put = |name: &str, value: f64| series.insert(name.to_owned(), value);
        put("loki_session_status", status);
        put("loki_iteration_current", state.iteration as f64);
        put("loki_iteration_max", state.iteration_max as f64);
        put("loki_tasks_total{status=\"pending\"}", tasks.pending as f64);
        put("loki_tasks_total{status=\"in_progress\"}", tasks.in_progress as f64);
        put("loki_tasks_total{status=\"completed\"}", tasks.completed as f64);
        put("loki_tasks_total{status=\"failed\"}", tasks.failed as f64);
        put("loki_agents_active", workers.active as f64);
        put("loki_agents_total", workers.registered as f64);
        put("loki_cost_usd", self.cost_usd.expect("the cost was said"));
        put("loki_events_total", self.lines.expect("the lines were said") as f64);
        put("loki_uptime_seconds", uptime);
        series
    }

    /// How many facts hold `part`.
    pub(super) fn count(&self, part: &str) -> usize {
        self.said.iter().filter(|fact| fact.contains(part)).count()
    }
}

fn spoken<'a>(kind: &Kind, text: &impl Fn(u32) -> &'a str) -> String {
    match kind {
        Kind::RunStarted(run) => format!("started {} #{}", text(run.worker), run.iteration),
        Kind::SessionState(state) => format!(
            "session {} {} {} {:?}",
            text(state.session),
            state.status().as_str_name().trim_start_matches("SESSION_STATUS_"),
            text(state.result),
            state.exit_code
        ),
        Kind::ToolCall(call) => format!("call {} {:?}", text(call.name), call.status()),
        Kind::LogRecord(log) => {
            let attributes = log.attributes.iter().map(|attribute| {
                let value = match attribute.value.as_ref().expect("an attribute has a value") {
                    v1::attribute::Value::Text(index) => text(*index).to_owned(),
                    v1::attribute::Value::Integer(n) => n.to_string(),
                    v1::attribute::Value::Number(n) => n.to_string(),
                    v1::attribute::Value::Truth(truth) => truth.to_string(),
                };
                format!("{}={value}", text(attribute.key))
            });
            format!("log {} {}", text(log.name), attributes.collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}
