//! A Loki Mode that runs sessions: its state directory changes as contracts/loki-mode.md section 1 says.
//!
//! The story of a session: `Down` -> `Starting` (pid file, old cost records wiped, then `session_start`) -> `Between` ->
//! `Working` an iteration -> sometimes `Reviewing` or `Paused` -> `Between` -> ... -> the last iteration -> `Down`.
//! Beside it run two writers that race as the real ones do: the status monitor (state file by rename, `[]` over the
//! agents) and the stream parser (the agents' list, in place).

mod papers;
mod script;
mod writers;

use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use muster::clock::WallTime;

use super::files::Tree;
use super::json::{Json, object};
use super::truth::LokiTruth;
use super::{DemoError, Moment, between_ms, stamp};
use papers::{Agent, Queue};
pub(super) use script::{SHOPAPI, Script, WEBSHOP};

/// A state file younger than this leaves open whether a session without a pid file is alive (issue's rule).
const STATE_FRESH: Duration = Duration::from_secs(60);
/// A stage that a failed write did not let end is tried again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// How many reviewers must approve.
const COUNCIL_THRESHOLD: u64 = 2;

/// One project with a Loki Mode in it.
#[derive(Debug)]
pub(super) struct LokiProject {
    script: &'static Script,
    root: String,
    tree: Tree,
    pid: u32,
    rng: Rng,
    stage: Stage,
    stage_ends: Duration,
    monitor_due: Duration,
    tool_due: Duration,
    session: Session,
    queue: Queue,
    agents: Vec<Agent>,
    /// The next PRD task's and subagent's number; numbers are not used twice.
    task_number: u64,
    agent_number: u64,
    council: papers::Council,
    first_start: String,
    state_written: Option<(Duration, &'static str)>,
    truth: LokiTruth,
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Down,
    Starting,
    Between,
    Working,
    Reviewing { review_id: String },
    Paused { by_budget: bool },
}

#[derive(Debug, Default)]
struct Session {
    iteration: u64,
    iterations_planned: u64,
    iteration_started: Duration,
    phase: usize,
    budget_microusd: u64,
    budget_warned: bool,
    budget_exceeded_at: Option<String>,
    stopping: bool,
    pauses: u64,
}

impl LokiProject {
    /// Makes `.loki/` in `root`. The first session starts with the first step.
    pub(super) fn create(
        root: &Path,
        script: &'static Script,
        pid: u32,
        rng: Rng,
        now: WallTime,
    ) -> Result<Self, DemoError> {
        let folders = ["state", "queue", "metrics/efficiency", "logs", "council", "signals"];
        let tree = Tree::create(root.join(".loki"), &folders)?;
        let mut project = Self {
            script,
            root: root.display().to_string(),
            tree,
            pid,
            rng,
            stage: Stage::Down,
            stage_ends: script.first_start,
            monitor_due: Duration::ZERO,
            tool_due: Duration::ZERO,
            session: Session::default(),
            queue: Queue::default(),
            agents: Vec::new(),
            task_number: 0,
            agent_number: 0,
            council: papers::Council::default(),
            first_start: stamp::seconds_z(now),
            state_written: None,
            truth: LokiTruth { session_status: Some(0), ..LokiTruth::default() },
        };
        project.write_queue()?;
        Ok(project)
    }

    /// What is true of the files now.
    pub(super) fn truth(&self) -> &LokiTruth {
        &self.truth
    }

    /// Does what is due.
    pub(super) fn step(&mut self, moment: Moment) -> Result<(), DemoError> {
        if moment.story >= self.stage_ends {
            // Replaced by the next stage's end, but if a write fails: then this stage is left again later, not at once.
            self.stage_ends = moment.story + RETRY;
            self.go_on(moment)?;
        }
        if self.stage == Stage::Working && moment.story >= self.tool_due {
            self.tool_due = moment.story + between_ms(&mut self.rng, 800, 2200);
            self.use_tool(moment)?;
        }
        if self.is_up() && moment.story >= self.monitor_due {
            self.monitor_due = moment.story + between_ms(&mut self.rng, 2000, 6000);
            self.monitor_pass(moment)?;
        }
        self.truth.session_status = self.session_status(moment.story);
        Ok(())
    }

    /// Ends the session as a second Ctrl-C does.
    pub(super) fn finish(&mut self, moment: Moment) -> Result<(), DemoError> {
        if self.is_up() {
            self.end(moment, "interrupted", object! { "result": 130, "reason": "interrupted" })?;
        }
        self.stage_ends = Duration::MAX;
        self.truth.session_status = self.session_status(moment.story);
        Ok(())
    }

    fn is_up(&self) -> bool {
        self.stage != Stage::Down
    }

    fn session_status(&self, story: Duration) -> Option<u8> {
        match (&self.stage, self.state_written) {
            (Stage::Paused { .. }, _) => Some(2),
            (Stage::Down, None) => Some(0),
            (Stage::Down, Some((written, mode))) => {
                let settled = mode != "autonomous" || story.saturating_sub(written) > STATE_FRESH;
                settled.then_some(0)
            }
            _ => Some(1),
        }
    }

    /// Leaves the stage whose time is over.
    fn go_on(&mut self, moment: Moment) -> Result<(), DemoError> {
        match self.stage.clone() {
            Stage::Down => self.begin(moment),
            Stage::Starting => self.announce_session(moment),
            Stage::Between => self.start_iteration(moment),
            Stage::Working => self.complete_iteration(moment),
            Stage::Reviewing { review_id } => self.complete_review(moment, &review_id),
            Stage::Paused { by_budget } => self.resume(moment, by_budget),
        }
    }

    fn enter(&mut self, stage: Stage, moment: Moment, ms_min: u64, ms_max: u64) {
        self.stage = stage;
        self.stage_ends = moment.story + between_ms(&mut self.rng, ms_min, ms_max);
    }

    /// Takes the pid file and wipes the old cost records, which happens well before `session_start`.
    fn begin(&mut self, moment: Moment) -> Result<(), DemoError> {
        self.session = Session {
            iterations_planned: self.rng.u64(4..=7),
            budget_microusd: self.script.budget_microusd,
            ..Session::default()
        };
        self.council = papers::Council::default();
        self.tree.write("loki.pid", &format!("{}\n", self.pid))?;
        self.tree.remove("STOP")?;
        self.tree.remove("PAUSE")?;
        // Two numbers more than a session can have: an earlier demo in the same folder may have been cut off.
        for iteration in 1..=9 {
            self.tree.remove(&format!("metrics/efficiency/iteration-{iteration}.json"))?;
        }
        self.truth.cost_on_disk_microusd = 0;
        self.tree.write("pricing.json", &papers::pricing(moment.now))?;
        if !self.tree.has("state/orchestrator.json") {
            self.write_orchestrator()?;
        }
        self.tree.write("state/provider", &format!("{}\n", self.script.provider))?;
        self.write_budget(moment)?;
        self.refill_pending(moment);
        self.write_queue()?;
        self.write_autonomy(moment, "running", 0)?;
        self.monitor_due = moment.story;
        self.enter(Stage::Starting, moment, 1500, 2500);
        Ok(())
    }

    fn announce_session(&mut self, moment: Moment) -> Result<(), DemoError> {
        let data = object! {
            "provider": self.script.provider, "prd": self.script.prd, "parallel": false,
            "complexity": self.script.complexity, "pid": self.pid,
        };
        self.emit(moment, "session_start", data)?;
        self.truth.iteration = 0;
        self.enter(Stage::Between, moment, 400, 1200);
        Ok(())
    }

    fn start_iteration(&mut self, moment: Moment) -> Result<(), DemoError> {
        self.session.iteration += 1;
        self.session.iteration_started = moment.story;
        let iteration = self.session.iteration;
        let data = object! {
            "iteration": iteration, "provider": self.script.provider, "prd": self.script.prd,
        };
        self.emit(moment, "iteration_start", data)?;
        self.truth.iterations_started += 1;
        self.truth.iteration = iteration;
        self.queue.start_iteration(iteration, self.script, moment.now);
        self.write_queue()?;
        self.write_autonomy(moment, "running", 0)?;
        self.agents = vec![Agent::orchestrator(self.script.model, moment.now)];
        self.write_agents()?;
        let [shortest, longest] = self.script.iteration_ms;
        self.enter(Stage::Working, moment, shortest, longest);
        Ok(())
    }

    /// The stream parser saw a tool: agents come, go and work; the list is rewritten in place.
    fn use_tool(&mut self, moment: Moment) -> Result<(), DemoError> {
        let task = self.rng.choice(self.script.tool_uses).copied().unwrap_or("Read: README.md");
        if let Some(orchestrator) = self.agents.first_mut() {
            orchestrator.use_tool(task);
        }
        let roll = self.rng.u32(..100);
        if roll < 30 && self.agents.len() < 6 {
            self.agent_number += 1;
            let (kind, work) = self.rng.choice(self.script.subagents).copied().unwrap_or(("eng-qa", "Check"));
            self.agents.push(Agent::subagent(self.agent_number, kind, work, moment.now));
        } else if roll < 50 {
            let busy: Vec<usize> = (1..self.agents.len()).filter(|&at| self.agents[at].is_active()).collect();
            if let Some(&at) = self.rng.choice(&busy) {
                self.agents[at].complete(moment.now);
            }
        }
        self.write_agents()
    }

    fn complete_iteration(&mut self, moment: Moment) -> Result<(), DemoError> {
        let iteration = self.session.iteration;
        let ok = self.rng.u32(..100) >= 15;
        let (status, exit_code) = if ok { ("completed", 0) } else { ("failed", 1) };
        for agent in &mut self.agents {
            agent.complete(moment.now);
        }
        self.write_agents()?;
        let data = object! {
            "iteration": iteration, "status": status, "exitCode": exit_code, "provider": self.script.provider,
        };
        self.emit(moment, "iteration_complete", data)?;
        *(if ok { &mut self.truth.iterations_completed } else { &mut self.truth.iterations_failed }) += 1;
        self.write_efficiency(moment, status)?;
        self.queue.end_iteration(iteration, ok, exit_code, self.script, moment.now);
        self.write_queue()?;
        self.tree
            .write("CONTINUITY.md", &papers::continuity(iteration, self.phase(), self.script, moment.now))?;
        let hook = papers::hook(iteration, moment.now);
        self.append("claude_hook_stop", &hook)?;
        self.write_autonomy(moment, "running", exit_code)?;
        if self.check_budget(moment)? {
            return Ok(());
        }
        self.choose_next(moment)
    }

    /// After an iteration: review, the last vote, a pause, or the next one.
    fn choose_next(&mut self, moment: Moment) -> Result<(), DemoError> {
        let roll = self.rng.u32(..100);
        if self.session.iteration >= self.session.iterations_planned {
            self.close_session(moment)
        } else if roll < 40 {
            self.start_review(moment)
        } else if roll < 55 && self.session.pauses == 0 {
            self.pause_by_hand(moment)
        } else {
            self.enter(Stage::Between, moment, 400, 1500);
            Ok(())
        }
    }

    fn start_review(&mut self, moment: Moment) -> Result<(), DemoError> {
        let iteration = self.session.iteration;
        let review_id = format!("review-{}-{iteration}", stamp::seconds_in_id(moment.now));
        let data = object! {
            "review_id": review_id.as_str(), "reviewers": "security,quality,performance", "iteration": iteration,
        };
        self.emit(moment, "code_review_start", data)?;
        self.enter(Stage::Reviewing { review_id }, moment, 2500, 5000);
        Ok(())
    }

    fn complete_review(&mut self, moment: Moment, review_id: &str) -> Result<(), DemoError> {
        let iteration = self.session.iteration;
        let fail_count = if self.rng.u32(..100) < 35 { 1 } else { 0 };
        let data = object! {
            "review_id": review_id, "pass_count": 3 - fail_count, "fail_count": fail_count,
            "has_blocking": fail_count > 0 && self.rng.bool(), "iteration": iteration,
        };
        self.emit(moment, "code_review_complete", data)?;
        if self.rng.bool() {
            self.vote(moment, false)?;
        }
        self.enter(Stage::Between, moment, 400, 1500);
        Ok(())
    }

    fn vote(&mut self, moment: Moment, approved: bool) -> Result<(), DemoError> {
        let approve = if approved { COUNCIL_THRESHOLD + self.rng.u64(..2) } else { self.rng.u64(..2) };
        let iteration = self.session.iteration;
        let data = object! {
            "iteration": iteration, "approve": approve, "reject": 3 - approve,
            "threshold": COUNCIL_THRESHOLD, "result": if approved { "APPROVED" } else { "REJECTED" },
        };
        self.emit(moment, "council_vote", data)?;
        let counted =
            if approved { &mut self.truth.council_approvals } else { &mut self.truth.council_rejections };
        *counted += 1;
        self.council.record(iteration, approve, moment.now);
        self.tree.write("council/state.json", &format!("{}\n", self.council.state().pretty()))
    }

    fn pause_by_hand(&mut self, moment: Moment) -> Result<(), DemoError> {
        self.session.pauses += 1;
        self.tree.write("PAUSE", "")?;
        self.emit_by_dashboard(
            moment,
            "session_pause",
            object! { "pid": self.pid, "reason": "user_requested" },
        )?;
        self.write_autonomy(moment, "paused", 0)?;
        self.enter(Stage::Paused { by_budget: false }, moment, 5000, 9000);
        Ok(())
    }

    fn resume(&mut self, moment: Moment, by_budget: bool) -> Result<(), DemoError> {
        if by_budget {
            self.session.budget_microusd += self.script.budget_microusd;
            self.session.budget_exceeded_at = None;
            self.session.budget_warned = false;
            self.tree.remove("signals/BUDGET_EXCEEDED")?;
            self.write_budget(moment)?;
        }
        self.tree.remove("PAUSE")?;
        self.emit_by_dashboard(moment, "session_resume", object! { "pid": self.pid })?;
        self.write_autonomy(moment, "running", 0)?;
        self.choose_next(moment)
    }

    /// Warns at 80 % of the budget and pauses at all of it. True when it paused.
    fn check_budget(&mut self, moment: Moment) -> Result<bool, DemoError> {
        let used = self.truth.cost_on_disk_microusd;
        let limit = self.session.budget_microusd;
        let exceeded = used >= limit;
        if exceeded {
            self.session.budget_exceeded_at = Some(stamp::seconds_z(moment.now));
        }
        self.write_budget(moment)?;
        let (limit_usd, used_usd) = (papers::usd(limit), papers::usd(used));
        let iteration = self.session.iteration;
        if exceeded {
            self.tree.write("PAUSE", "")?;
            let signal = object! {
                "type": "BUDGET_EXCEEDED", "limit": limit_usd, "current": used_usd,
                "timestamp": stamp::seconds_z(moment.now),
            };
            self.tree.write("signals/BUDGET_EXCEEDED", &format!("{}\n", signal.compact()))?;
            let data = object! { "limit": limit_usd, "current": used_usd, "iteration": iteration };
            self.emit(moment, "budget_exceeded", data)?;
            self.write_autonomy(moment, "budget_exceeded", 0)?;
            self.enter(Stage::Paused { by_budget: true }, moment, 6000, 10_000);
        } else if used * 5 >= limit * 4 && !self.session.budget_warned {
            self.session.budget_warned = true;
            let data = object! {
                "limit": limit_usd, "current": used_usd, "iteration": iteration, "threshold_percent": 80,
            };
            self.emit(moment, "budget_warning", data)?;
        }
        Ok(exceeded)
    }

    /// The session is over: approved by the council, failed, or stopped by somebody.
    fn close_session(&mut self, moment: Moment) -> Result<(), DemoError> {
        let provider = self.script.provider;
        let iterations = self.session.iteration;
        match self.rng.u32(..10) {
            0..=5 => {
                self.vote(moment, true)?;
                let data = object! { "result": 0, "provider": provider, "iterations": iterations };
                self.end(moment, "council_approved", data)
            }
            6 => {
                let data = object! { "result": 1, "provider": provider, "iterations": iterations };
                self.end(moment, "failed", data)
            }
            _ => {
                // The monitor sees the STOP file once more before it is killed.
                self.tree.write("STOP", "")?;
                self.session.stopping = true;
                self.monitor_pass(moment)?;
                self.tree.remove("STOP")?;
                self.end(moment, "stopped", object! { "result": 0, "reason": "stop_requested" })
            }
        }
    }

    fn end(&mut self, moment: Moment, status: &str, data: Json) -> Result<(), DemoError> {
        self.emit(moment, "session_end", data)?;
        self.write_autonomy(moment, status, 0)?;
        self.tree.remove("PAUSE")?;
        self.tree.remove("loki.pid")?;
        let [shortest, longest] = self.script.rest_ms;
        self.enter(Stage::Down, moment, shortest, longest);
        Ok(())
    }

    fn phase(&self) -> &'static str {
        script::PHASES[self.session.phase]
    }

    fn refill_pending(&mut self, moment: Moment) {
        while self.queue.counts().pending < 6 {
            self.task_number += 1;
            let title = self.rng.choice(self.script.tasks).copied().unwrap_or("Tidy up");
            self.queue.add_pending(self.task_number, title, moment.now);
        }
    }
}
