//! A DevLoop in the foreground: its state directory changes as contracts/devloop.md section 1 says.
//!
//! The story: a developer saves a file -> a `file:*` row -> each triggered worker takes it in turn -> findings, a line in
//! `metrics.jsonl`, a row `agent:<worker>:completed`, a line in `events.jsonl`, its place in `replay_state`. Beside it:
//! git hooks, a heartbeat, feedback, now and then a worker paused by a resource limit, `metrics.jsonl` rewritten every
//! 5 minutes, the tiers every 15, and a restart every few minutes, which counts sequences from 1 again and re-stores what
//! it takes for missed under the same ids.

mod config;
mod developer;
mod findings;
mod gauges;
mod store;
mod workers;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use muster::clock::WallTime;

use super::files::Tree;
use super::json::{Json, object};
use super::truth::DevloopTruth;
use super::{DemoError, Moment, between_ms, stamp};
use developer::{SCRATCH, Scratch};
use findings::Tiers;
use gauges::{Monitored, Performance, Resources};
use store::{BusEvent, Store, uuid};
use workers::{Outcome, RunResult, Worker};

/// The heartbeat's interval, fixed in DevLoop.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// `metrics.jsonl` is rewritten this often.
const METRICS_REWRITE: Duration = Duration::from_secs(300);
/// The tiers are rewritten this often.
const TIERS_REWRITE: Duration = Duration::from_secs(900);
/// After this much story time the developer slows down, so that a demo left alone fills no disk.
const BUSY_FOR: Duration = Duration::from_secs(600);
/// No saves while more jobs than this wait: the queue is lively and bounded.
const JOBS_MAX: usize = 14;

/// The project with DevLoop in it.
#[derive(Debug)]
pub(super) struct DevloopProject {
    root: String,
    tree: Tree,
    sources: Tree,
    pid: u32,
    rng: Rng,
    store: Store,
    tiers: Tiers,
    resources: Resources,
    performance: BTreeMap<&'static str, Performance>,
    jobs: VecDeque<Job>,
    running: Option<Running>,
    paused: Option<(Worker, Duration)>,
    scratch: Scratch,
    revision: u64,
    started: Duration,
    ended: bool,
    due: Due,
    latest_issues: BTreeMap<(&'static str, String), Vec<(&'static str, u64)>>,
    truth: DevloopTruth,
}

/// When each part of the story goes on, in story time.
#[derive(Debug, Default)]
struct Due {
    save: Duration,
    heartbeat: Duration,
    hook: Duration,
    push: Option<Duration>,
    feedback: Duration,
    limit: Duration,
    metrics_rewrite: Duration,
    tiers_rewrite: Duration,
    restart: Duration,
}

/// An event that waits for a worker.
#[derive(Debug, Clone)]
struct Job {
    worker: Worker,
    trigger: String,
    path: String,
    sequence: i64,
    event_timestamp: f64,
}

#[derive(Debug)]
struct Running {
    job: Job,
    outcome: Outcome,
    ends: Duration,
}

impl DevloopProject {
    /// Makes `.devloop/` and the source files in `root`, and starts the tool.
    pub(super) fn create(root: &Path, pid: u32, mut rng: Rng, now: WallTime) -> Result<Self, DemoError> {
        let sources = Tree::create(root.to_path_buf(), &["src", "tests", "web"])?;
        for (path, text) in config::SOURCES {
            sources.write(path, text)?;
        }
        for leftover in SCRATCH {
            sources.remove(leftover)?;
        }
        let folders = ["performance", "feedback", "context", "backups"];
        let tree = Tree::create(root.join(".devloop"), &folders)?;
        tree.write("agents.json", &config::agents_json())?;
        let manifest = object! { "version": "0.10.3", "managed": vec![".claude/settings.json"] };
        tree.write(".init-manifest.json", &manifest.pretty())?;
        tree.write("backups/change_log.json", &object! { "changes": Json::List(Vec::new()) }.pretty())?;
        let store = Store::open(tree.path("events.db"))?;
        let rows = store.rows()?;
        let resources = Resources::invent(&mut rng);
        let mut project = Self {
            root: root.display().to_string(),
            tree,
            sources,
            pid,
            rng,
            store,
            tiers: Tiers::default(),
            resources,
            performance: BTreeMap::new(),
            jobs: VecDeque::new(),
            running: None,
            paused: None,
            scratch: Scratch::Absent,
            revision: 0,
            started: Duration::ZERO,
            ended: false,
            due: Due::default(),
            latest_issues: BTreeMap::new(),
            truth: DevloopTruth { bus_rows_on_disk: rows, ..DevloopTruth::default() },
        };
        project.due = Due {
            hook: Duration::from_secs(12),
            feedback: Duration::from_secs(20),
            limit: Duration::from_secs(45),
            metrics_rewrite: METRICS_REWRITE,
            tiers_rewrite: TIERS_REWRITE,
            restart: between_ms(&mut project.rng, 240_000, 420_000),
            ..Due::default()
        };
        project.catch_up(now)?;
        Ok(project)
    }

    /// What is true of the files now.
    pub(super) fn truth(&self) -> &DevloopTruth {
        &self.truth
    }

    /// Does what is due, each kind at most once.
    pub(super) fn step(&mut self, moment: Moment) -> Result<(), DemoError> {
        if self.ended {
            return Ok(());
        }
        let story = moment.story;
        if story >= self.due.heartbeat {
            self.due.heartbeat = story + HEARTBEAT;
            self.beat(moment)?;
        }
        if story >= self.due.save && self.jobs.len() <= JOBS_MAX {
            let slow = if story > BUSY_FOR { 5 } else { 1 };
            self.due.save = story + between_ms(&mut self.rng, 2500 * slow, 7000 * slow);
            self.save_a_file(moment)?;
        }
        self.work(moment)?;
        self.run_hooks(moment)?;
        self.look_at_limits(moment)?;
        if story >= self.due.feedback {
            self.due.feedback = story + between_ms(&mut self.rng, 30_000, 70_000);
            self.give_feedback(moment)?;
        }
        self.clean_up(moment)?;
        if story >= self.due.restart && self.jobs.is_empty() && self.running.is_none() {
            self.restart(moment)?;
        }
        Ok(())
    }

    /// Ends the tool: in the foreground it leaves its files as they are. A run in work ends without a trace.
    pub(super) fn finish(&mut self, _moment: Moment) -> Result<(), DemoError> {
        self.ended = true;
        self.running = None;
        self.jobs.clear();
        Ok(())
    }

    /// Ends the run whose time is over and starts the next.
    fn work(&mut self, moment: Moment) -> Result<(), DemoError> {
        if let Some(running) = self.running.take_if(|running| moment.story >= running.ends) {
            self.complete_run(moment, running)?;
        }
        // A paused worker loses its events without a trace.
        let paused = self.paused.map(|(worker, _)| worker);
        while self.running.is_none() {
            let Some(job) = self.jobs.pop_front() else { break };
            if Some(job.worker) != paused {
                let outcome = job.worker.run(&job.path, &mut self.rng);
                let ends = moment.story + Duration::from_millis(outcome.duration_ms + 200);
                self.running = Some(Running { job, outcome, ends });
            }
        }
        Ok(())
    }

    fn complete_run(&mut self, moment: Moment, running: Running) -> Result<(), DemoError> {
        let Running { job, mut outcome, .. } = running;
        let worker = job.worker.name();
        let now = moment.now.as_secs_f64();
        let seconds = outcome.duration_ms as f64 / 1000.0;
        for finding in outcome.findings.drain(..) {
            self.tiers.add(&self.tree, finding, moment.now)?;
            self.truth.findings_on_disk = self.tiers.on_disk();
        }
        self.note_performance(&job, &outcome, seconds, now)?;
        let succeeded = matches!(outcome.result, RunResult::Success | RunResult::Skipped);
        let payload = object! {
            "agent_name": worker, "success": succeeded, "duration": seconds,
            "message": outcome.message.as_str(), "data": outcome.data.clone(),
            "error": outcome.error.as_deref(),
        };
        self.publish(moment.now, &format!("agent:{worker}:completed"), worker, &payload)?;
        self.count_run(&job, &outcome);
        // A handler that raised leaves no line here.
        if outcome.result != RunResult::Raised {
            self.log_run(moment, worker, succeeded, &outcome)?;
        }
        self.store.mark_processed(worker, job.sequence, job.event_timestamp, now)
    }

    fn note_performance(
        &mut self,
        job: &Job,
        outcome: &Outcome,
        seconds: f64,
        now: f64,
    ) -> Result<(), DemoError> {
        let raised = (outcome.result == RunResult::Raised).then_some(outcome.error.as_deref()).flatten();
        let started = now - seconds - 0.1;
        let run = Monitored { worker: job.worker, trigger: &job.trigger, started, ended: now, raised };
        let line = self.resources.line(&run, &mut self.rng);
        self.tree.append_line("performance/metrics.jsonl", &line)?;
        self.truth.metric_lines += 1;
        self.performance.entry(job.worker.name()).or_default().record(outcome.result, seconds, now);
        self.tree.write("feedback/performance.json", &gauges::performance_json(&self.performance))
    }

    fn count_run(&mut self, job: &Job, outcome: &Outcome) {
        let worker = job.worker.name();
        let runs = self.truth.runs.entry(worker.to_owned()).or_default();
        *match outcome.result {
            RunResult::Success => &mut runs.success,
            RunResult::Skipped => &mut runs.skipped,
            RunResult::Failure => &mut runs.failure,
            RunResult::Raised => &mut runs.error,
        } += 1;
        for &(severity, count) in &outcome.issues {
            *self.truth.issues.entry((worker.to_owned(), severity.to_owned())).or_default() += count;
        }
        // Without data the run says of no file that its issues are gone.
        if outcome.data != Json::Null {
            self.latest_issues.insert((worker, job.path.clone()), outcome.issues.clone());
            self.truth.active_issues = active(&self.latest_issues);
        }
    }

    fn log_run(
        &mut self,
        moment: Moment,
        worker: &str,
        succeeded: bool,
        outcome: &Outcome,
    ) -> Result<(), DemoError> {
        let mut details = vec![("message".into(), outcome.message.as_str().into())];
        if let Json::Object(data) = &outcome.data {
            details.extend(data.iter().cloned());
        }
        let line = object! {
            "event_type": "agent_executed", "timestamp": stamp::micros_offset(moment.now), "agent": worker,
            "duration_ms": outcome.duration_ms, "findings": 0, "severity_levels": Json::List(Vec::new()),
            "success": succeeded, "details": Json::Object(details),
        };
        self.log(&line)
    }

    /// Pauses a worker for some seconds when DevLoop's process is too busy.
    fn look_at_limits(&mut self, moment: Moment) -> Result<(), DemoError> {
        if let Some((worker, _)) = self.paused.take_if(|(_, until)| moment.story >= *until) {
            let payload = object! { "agent_name": worker.name() };
            self.publish(moment.now, "agent:resource_limit_resumed", "agent_manager", &payload)?;
        }
        if moment.story < self.due.limit {
            return Ok(());
        }
        self.due.limit = moment.story + between_ms(&mut self.rng, 90_000, 200_000);
        let percent = 50.1 + f64::from(self.rng.u32(..200)) / 10.0;
        let payload = object! {
            "agent_name": Worker::TestRunner.name(), "reason": format!("CPU {percent:.1}% > 50.0%"),
            "action": "paused",
        };
        self.publish(moment.now, "agent:resource_limit_exceeded", "agent_manager", &payload)?;
        self.truth.resource_pauses += 1;
        self.paused = Some((Worker::TestRunner, moment.story + between_ms(&mut self.rng, 10_000, 15_000)));
        Ok(())
    }

    fn clean_up(&mut self, moment: Moment) -> Result<(), DemoError> {
        if moment.story >= self.due.metrics_rewrite {
            self.due.metrics_rewrite = moment.story + METRICS_REWRITE;
            self.tree.rewrite("performance/metrics.jsonl")?;
        }
        if moment.story >= self.due.tiers_rewrite {
            self.due.tiers_rewrite = moment.story + TIERS_REWRITE;
            self.tiers.write_all(&self.tree, moment.now)?;
            self.truth.findings_on_disk = self.tiers.on_disk();
        }
        Ok(())
    }

    /// A new process on the old files.
    fn restart(&mut self, moment: Moment) -> Result<(), DemoError> {
        self.due.restart = moment.story + between_ms(&mut self.rng, 240_000, 420_000);
        self.store = Store::open(self.tree.path("events.db"))?;
        self.tiers.forget();
        self.started = moment.story;
        self.due.heartbeat = moment.story;
        self.truth.restarts += 1;
        self.catch_up(moment.now)
    }

    /// Replays what the store holds after the last processed event: same ids, new sequences, and workers run again.
    fn catch_up(&mut self, now: WallTime) -> Result<(), DemoError> {
        for event in self.store.missed()? {
            let sequence = self.store_event(now, &event)?;
            if let Some(path) = changed_path(&event) {
                self.queue_jobs(&event.kind, &path, sequence, event.timestamp);
            }
        }
        Ok(())
    }

    fn beat(&mut self, moment: Moment) -> Result<(), DemoError> {
        let uptime = moment.story.saturating_sub(self.started).as_secs_f64();
        let heartbeat = object! {
            "timestamp": stamp::local_naive(moment.now, 'T'), "pid": self.pid, "uptime_seconds": uptime,
        };
        self.tree.write_renamed("daemon.tmp", "daemon.heartbeat", &heartbeat.pretty())
    }

    /// Puts a new event on the bus, with an id of its own.
    fn publish(&mut self, now: WallTime, kind: &str, source: &str, payload: &Json) -> Result<i64, DemoError> {
        let event = BusEvent {
            id: uuid(&mut self.rng),
            kind: kind.to_owned(),
            timestamp: now.as_secs_f64(),
            source: source.to_owned(),
            payload: payload.line(),
        };
        let sequence = self.store_event(now, &event)?;
        self.truth.bus_rows += 1;
        Ok(sequence)
    }

    fn store_event(&mut self, now: WallTime, event: &BusEvent) -> Result<i64, DemoError> {
        let late = f64::from(self.rng.u32(1..40)) / 1000.0;
        let stored = self.store.store(event, now.as_secs_f64() + late)?;
        self.truth.bus_rows_on_disk = (self.truth.bus_rows_on_disk + 1).saturating_sub(stored.replaced);
        Ok(stored.sequence)
    }

    fn log(&mut self, line: &Json) -> Result<(), DemoError> {
        self.tree.append_line("events.jsonl", &line.line())?;
        self.truth.event_lines += 1;
        Ok(())
    }
}

/// Issues of the newest runs, summed over files.
fn active(
    latest: &BTreeMap<(&'static str, String), Vec<(&'static str, u64)>>,
) -> BTreeMap<(String, String), u64> {
    let mut sums = BTreeMap::new();
    for ((worker, _), issues) in latest {
        for (severity, count) in issues {
            *sums.entry(((*worker).to_owned(), (*severity).to_owned())).or_default() += count;
        }
    }
    sums
}

/// The path of a replayed file event.
fn changed_path(event: &BusEvent) -> Option<String> {
    let payload: serde_json::Value = serde_json::from_str(&event.payload).ok()?;
    payload.get("path")?.as_str().filter(|_| event.kind.starts_with("file:")).map(str::to_owned)
}
