//! The writers of a session: the status monitor, the event log and the small state files.

use super::papers::{self, Agent, Dashboard, Iteration};
use super::{LokiProject, Stage, script};
use crate::demo::json::{Json, object};
use crate::demo::truth::AgentCounts;
use crate::demo::{DemoError, Moment, stamp};

impl LokiProject {
    /// One pass of the status monitor.
    pub(super) fn monitor_pass(&mut self, moment: Moment) -> Result<(), DemoError> {
        self.tree
            .write("STATUS.txt", &papers::status(self.phase(), self.queue.counts().pending, moment.now))?;
        // No `.agent/sub-agents`: the monitor writes an empty list over the parser's. Often the parser is back first.
        self.tree.write("state/agents.json", "[]\n")?;
        let listed = self.stage == Stage::Working && self.rng.bool();
        if listed {
            self.write_agents()?;
        }
        let load = [self.rng.u64(20..60), self.rng.u64(30..50)];
        self.tree.write("state/resources.json", &papers::resources(load, moment.now))?;
        self.change_phase(moment)?;
        let mode = self.mode();
        let dashboard = Dashboard {
            script: self.script,
            root: &self.root,
            mode,
            phase: self.phase(),
            first_start: &self.first_start,
            queue: &self.queue,
            agents: if listed { &self.agents } else { &[] },
            load,
            council: self.council.state(),
            budget: self.budget(moment),
            now: moment.now,
        };
        let text = dashboard.text();
        let temporary = format!("dashboard-state.json.tmp.{}.{}", self.pid, self.rng.u32(..32_768));
        self.tree.write_renamed(&temporary, "dashboard-state.json", &text)?;
        self.state_written = Some((moment.story, mode));
        self.truth.tasks = self.queue.counts();
        Ok(())
    }

    pub(super) fn mode(&self) -> &'static str {
        match self.stage {
            Stage::Paused { .. } => "paused",
            _ if self.session.stopping => "stopped",
            _ => "autonomous",
        }
    }

    /// Phases follow the session's progress; the monitor is who says so, always with iteration 0.
    pub(super) fn change_phase(&mut self, moment: Moment) -> Result<(), DemoError> {
        let planned = self.session.iterations_planned.max(1);
        let last = script::PHASES.len() - 1;
        let due = usize::try_from(self.session.iteration * last as u64 / planned).unwrap_or(last).min(last);
        if due <= self.session.phase {
            return Ok(());
        }
        let data = object! { "from": self.phase(), "to": script::PHASES[due], "iteration": 0 };
        self.emit(moment, "phase_change", data)?;
        self.session.phase = due;
        self.write_orchestrator()
    }

    pub(super) fn emit(&mut self, moment: Moment, kind: &str, data: Json) -> Result<(), DemoError> {
        let record = object! { "timestamp": stamp::seconds_z(moment.now), "type": kind, "data": data };
        self.append(kind, &record.compact())
    }

    /// As `control.py` of the dashboard writes: microseconds and an offset, Python's spaces.
    pub(super) fn emit_by_dashboard(
        &mut self,
        moment: Moment,
        kind: &str,
        data: Json,
    ) -> Result<(), DemoError> {
        let record = object! { "timestamp": stamp::micros_offset(moment.now), "type": kind, "data": data };
        self.append(kind, &record.line())
    }

    pub(super) fn append(&mut self, kind: &str, line: &str) -> Result<(), DemoError> {
        self.tree.append_line("events.jsonl", line)?;
        self.truth.event_lines += 1;
        *self.truth.events.entry(kind.to_owned()).or_default() += 1;
        Ok(())
    }

    pub(super) fn write_agents(&mut self) -> Result<(), DemoError> {
        let list = Json::List(self.agents.iter().map(Agent::entry).collect());
        self.tree.write("state/agents.json", &list.pretty())?;
        let active = self.agents.iter().filter(|agent| agent.is_active()).count() as u64;
        self.truth.agents = AgentCounts { active, total: self.agents.len() as u64 };
        Ok(())
    }

    pub(super) fn write_queue(&mut self) -> Result<(), DemoError> {
        for (name, content) in self.queue.files() {
            self.tree.write(&format!("queue/{name}.json"), &format!("{}\n", content.pretty()))?;
        }
        Ok(())
    }

    pub(super) fn write_efficiency(&mut self, moment: Moment, status: &'static str) -> Result<(), DemoError> {
        let took = moment.story.saturating_sub(self.session.iteration_started);
        let iteration = Iteration {
            number: self.session.iteration,
            model: self.script.model,
            phase: self.phase(),
            provider: self.script.provider,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            status,
            usage: (self.rng.u32(..100) >= 10).then(|| papers::Usage::invent(&mut self.rng, self.script)),
        };
        let name = format!("metrics/efficiency/iteration-{}.json", iteration.number);
        self.tree.write(&name, &iteration.record(self.script, moment.now))?;
        let Some(usage) = iteration.usage else {
            self.truth.iterations_unmeasured += 1;
            return Ok(());
        };
        let cost = usage.cost_microusd(self.script);
        self.truth.cost_microusd += cost;
        self.truth.cost_on_disk_microusd += cost;
        self.truth.input_tokens += usage.input;
        self.truth.output_tokens += usage.output;
        self.truth.cache_read_tokens += usage.cache_read;
        self.truth.cache_creation_tokens += usage.cache_creation;
        Ok(())
    }

    pub(super) fn budget(&self, moment: Moment) -> Json {
        papers::budget(
            self.session.budget_microusd,
            self.truth.cost_on_disk_microusd,
            self.session.budget_exceeded_at.as_deref(),
            moment.now,
        )
    }

    pub(super) fn write_budget(&mut self, moment: Moment) -> Result<(), DemoError> {
        self.tree.write("metrics/budget.json", &format!("{}\n", self.budget(moment).pretty()))
    }

    pub(super) fn write_orchestrator(&self) -> Result<(), DemoError> {
        let text = papers::orchestrator(self.phase(), self.script.complexity, &self.first_start);
        self.tree.write("state/orchestrator.json", &text)
    }

    pub(super) fn write_autonomy(
        &self,
        moment: Moment,
        status: &str,
        exit_code: i32,
    ) -> Result<(), DemoError> {
        let state = object! {
            "retryCount": 0, "status": status, "lastExitCode": exit_code,
            "lastRun": stamp::seconds_z(moment.now), "prdPath": self.script.prd, "pid": self.pid,
            "maxRetries": 50, "baseWait": 60, "iterationCount": self.session.iteration,
        };
        let temporary = format!("autonomy-state.json.tmp.{}", self.pid);
        self.tree.write_renamed(&temporary, "autonomy-state.json", &format!("{}\n", state.pretty()))
    }
}
