//! One watched source with its schedule: when it is due, and what happens when it breaks.
//!
//! | state | due |
//! |---|---|
//! | something changed, or there is more to read | now |
//! | waiting | at the time the source asked for, or at the next rescan |
//! | closed (the collector's configuration turns it off) | never, until it is opened; its position stays |
//! | broken (it panicked, or the spool refused its step) | after a pause that doubles, opened anew at its last durable position |

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use muster::clock::Monotonic;

use crate::facts::Facts;
use crate::sources::{Moment, ProjectContext, Source, Step, Tool, ToolEnvironment, WatchedPath, json_lines};

/// First pause of a broken source.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause of a broken source.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// A source and its schedule.
pub struct Slot {
    key: String,
    tool: &'static dyn Tool,
    project: ProjectContext,
    environment: ToolEnvironment,
    source: Option<Box<dyn Source>>,
    watched: Vec<WatchedPath>,
    due: Monotonic,
    rescan: bool,
    failures: u32,
    closed: bool,
    spooled_position: Option<Vec<u8>>,
}

/// What a step gave, to be spooled.
pub struct Stepped {
    /// What was said.
    pub facts: Facts,
    /// The position after it.
    pub position: Vec<u8>,
    step: Step,
}

/// A source broke in its step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked;

impl Slot {
    /// A source that is not read until it is opened. `position` is its last durable one.
    pub fn closed(
        tool: &'static dyn Tool,
        project: ProjectContext,
        environment: ToolEnvironment,
        position: Option<&[u8]>,
    ) -> Self {
        Self {
            key: source_key(tool.name(), &project.root),
            tool,
            project,
            environment,
            source: None,
            watched: Vec::new(),
            due: Monotonic(Duration::MAX),
            rescan: true,
            failures: 0,
            closed: true,
            spooled_position: position.map(<[u8]>::to_vec),
        }
    }

    /// Reads on from the last durable position, at once.
    pub fn open(&mut self, now: Monotonic) {
        (self.closed, self.due, self.failures) = (false, now, 0);
        self.reopen();
    }

    /// Reads no more, and wakes for nothing. `position` is what [`Slot::end`] gave, if its record is durable.
    pub fn close(&mut self, position: Option<Vec<u8>>) {
        (self.closed, self.due, self.source) = (true, Monotonic(Duration::MAX), None);
        self.watched.clear();
        if position.is_some() {
            self.spooled_position = position;
        }
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Names it in the spool.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The project it is in.
    pub fn project(&self) -> &ProjectContext {
        &self.project
    }

    /// The tool's name.
    pub fn tool(&self) -> &'static str {
        self.tool.name()
    }

    /// What turns it off: the tool's name, or a configured source's own.
    pub fn source_name(&self) -> &'static str {
        let name = self.tool();
        name.strip_prefix(json_lines::KEY_PREFIX).unwrap_or(name)
    }

    /// What should wake it.
    pub fn watched(&self) -> &[WatchedPath] {
        &self.watched
    }

    /// Root processes of its live sessions.
    pub fn live_pids(&self) -> Vec<u32> {
        self.source.as_ref().map_or_else(Vec::new, |source| source.live_pids())
    }

    /// When it wants its next step.
    pub fn due(&self) -> Monotonic {
        self.due
    }

    /// Something that it watches changed. A broken source keeps its pause.
    pub fn wake(&mut self, now: Monotonic) {
        if self.failures == 0 && !self.closed {
            self.due = self.due.min(now);
        }
    }

    /// Everything is to be looked at.
    pub fn wake_for_rescan(&mut self, now: Monotonic) {
        self.rescan = true;
        self.wake(now);
    }

    /// Lets the source read on, and say it into `facts`, which are empty. `None` when there is nothing to spool.
    pub fn step(&mut self, moment: &Moment<'_>, mut facts: Facts) -> Result<Option<Stepped>, Panicked> {
        if self.source.is_none() {
            self.reopen();
        }
        let Some(source) = self.source.as_mut() else { return Err(Panicked) };
        let moment = Moment { rescan: self.rescan, ..*moment };
        // The source is dropped after a panic, so nothing sees what it left half done.
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            let step = source.step(&moment, &mut facts);
            (step, source.position(), source.watched_paths())
        }));
        let Ok((step, position, watched)) = stepped else { return Err(Panicked) };
        self.watched = watched;
        if facts.is_empty() && self.spooled_position.as_deref() == Some(&position) {
            self.finish(step, moment.monotonic);
            return Ok(None);
        }
        Ok(Some(Stepped { facts, position, step }))
    }

    /// The step's record is durable.
    pub fn spooled(&mut self, position: Vec<u8>, step: Step, now: Monotonic) {
        self.spooled_position = Some(position);
        self.finish(step, now);
    }

    /// The step's record did not become durable, or the source panicked: go on from the last durable position later.
    pub fn broke(&mut self, now: Monotonic) {
        self.source = None;
        self.failures = self.failures.saturating_add(1);
        let pause = PAUSE_FIRST.saturating_mul(1 << (self.failures - 1).min(16)).min(PAUSE_MAX);
        self.due = Monotonic(now.0 + pause);
    }

    /// States into `facts`, which are empty, that the source is gone.
    pub fn end(&mut self, moment: &Moment<'_>, mut facts: Facts) -> Option<Stepped> {
        let source = self.source.as_mut()?;
        // The position stays: a project that was moved away and comes back goes on where it was.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            source.end(moment, &mut facts);
            source.position()
        }));
        let step = Step { more: false, again_in: None };
        ended.ok().map(|position| Stepped { facts, position, step })
    }

    fn finish(&mut self, step: Step, now: Monotonic) {
        self.failures = 0;
        if !step.more {
            self.rescan = false;
        }
        self.due = match (step.more, step.again_in) {
            (true, _) => now,
            (false, Some(pause)) => Monotonic(now.0 + pause),
            (false, None) => Monotonic(Duration::MAX),
        };
    }

    fn reopen(&mut self) {
        let (tool, position) = (self.tool, self.spooled_position.as_deref());
        let opened =
            catch_unwind(AssertUnwindSafe(|| tool.open(self.project.clone(), &self.environment, position)));
        self.source = opened.ok();
        if let Some(source) = &self.source {
            self.watched = source.watched_paths();
        }
        self.rescan = true;
    }
}

impl Stepped {
    /// Takes it apart for the spool.
    pub fn into_parts(self) -> (Facts, Vec<u8>, Step) {
        (self.facts, self.position, self.step)
    }
}

/// How a source is named in the spool.
pub fn source_key(tool: &str, root: &Path) -> String {
    format!("{tool}@{}", root.display())
}

#[cfg(test)]
mod tests;
