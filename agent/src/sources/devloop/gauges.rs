//! The gauges: stated when they change, and once after a restart.
//!
//! `ToolState`, `ToolSettings` and `FilesWatched` go at once. `ActiveFindings` waits until the database has been read to
//! its end. `QueueDepth` and `ResourceSample` keep the project's `granularity` between two samples; the newest value is
//! said when the time has passed.

use std::collections::BTreeMap;

use muster::clock::{Monotonic, WallTime};
use muster::v1::event::Kind;
use muster::v1::{ActiveFindings, FilesWatched, QueueDepth, ToolSettings, ToolState};

use super::context;
use super::position::Position;
use super::report::Report;
use super::watched_files::Walk;
use super::{DevLoopSource, Pace, heartbeat};
use crate::sources::Moment;

/// What the gauges were last said to be.
#[derive(Default)]
pub(super) struct Said {
    pub tool: Option<ToolState>,
    pub active: Option<ActiveFindings>,
    pub settings: Option<(Vec<String>, f64)>,
    pub backlog: BTreeMap<String, u64>,
    pub watched: Option<u64>,
    pub sampled: Option<Monotonic>,
}

impl DevLoopSource {
    /// States the gauges that changed. Those that sum up counted facts wait until all are read.
    pub(super) fn state_gauges(&mut self, moment: &Moment<'_>, report: &mut Report<'_>, pace: &mut Pace) {
        let tool = heartbeat::state(&self.claims, moment.processes);
        if self.said.tool != Some(tool) {
            report.facts.push(moment.wall, Kind::ToolState(tool));
            self.said.tool = Some(tool);
        }
        self.state_settings(moment.wall, report);
        match self.files.watched.step(&self.project.root, moment.rescan, moment.monotonic) {
            Walk::Counted(count) if self.said.watched == Some(count) => {}
            Walk::Counted(count) => {
                report.facts.push(moment.wall, Kind::FilesWatched(FilesWatched { count }));
                self.said.watched = Some(count);
            }
            Walk::Going => pace.more = true,
            Walk::Idle => {}
        }
        if pace.more {
            return;
        }
        let active = self.active();
        if active.is_some() && self.said.active != active {
            self.said.active = active;
            report.facts.push(moment.wall, Kind::ActiveFindings(active.unwrap_or_default()));
        }
        self.state_samples(moment, report, pace);
    }

    /// What stands, from the best that there is.
    fn active(&self) -> Option<ActiveFindings> {
        let Position { database, runs, active, .. } = &self.position;
        if database.file.is_some() || runs.lines_through.is_some() {
            Some(active.total())
        } else if !runs.database {
            context::active(&self.tiers)
        } else {
            None
        }
    }

    /// Gauges that `granularity` holds back.
    fn state_samples(&mut self, moment: &Moment<'_>, report: &mut Report<'_>, pace: &mut Pace) {
        if self.samples.is_empty() && self.backlog == self.said.backlog {
            return;
        }
        let granularity = self.metrics().and_then(|metrics| metrics.granularity).unwrap_or_default();
        let passed = self.said.sampled.map(|last| moment.monotonic.0.saturating_sub(last.0));
        if let Some(passed) = passed
            && passed < granularity
        {
            return pace.again(Some(granularity - passed));
        }
        self.said.sampled = Some(moment.monotonic);
        self.samples.state(&mut self.position.performance, report);
        let mut said = std::mem::replace(&mut self.said.backlog, self.backlog.clone());
        for (worker, &depth) in &self.backlog {
            if said.remove(worker) != Some(depth) {
                let depth = QueueDepth { worker: report.facts.word(worker), depth };
                report.facts.push(moment.wall, Kind::QueueDepth(depth));
            }
        }
        // A worker that is no longer enabled waits for nothing.
        for worker in said.into_keys() {
            let depth = QueueDepth { worker: report.facts.word(&worker), depth: 0 };
            report.facts.push(moment.wall, Kind::QueueDepth(depth));
        }
    }

    /// A project that never had a metrics block says nothing; one that lost it says so.
    fn state_settings(&mut self, now: WallTime, report: &mut Report<'_>) {
        let disabled = self.metrics().map(|metrics| metrics.disabled_metrics.clone());
        if disabled.is_none() && self.said.settings.is_none() {
            return;
        }
        let settings = (disabled.unwrap_or_default(), report.sampling.rate());
        if self.said.settings.as_ref() == Some(&settings) {
            return;
        }
        let disabled_metrics = settings.0.iter().map(|name| report.facts.word(name)).collect();
        let event = ToolSettings { disabled_metrics, sample_rate: settings.1 };
        report.facts.push(now, Kind::ToolSettings(event));
        self.said.settings = Some(settings);
    }
}
