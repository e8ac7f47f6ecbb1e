//! A living demo: two invented projects whose state directories change as the real tools change them.
//!
//! `muster up --demo` has something to show on a machine where neither tool runs, and the end-to-end tests have an
//! oracle: [`Demo::truth`] is what a correct reader must have counted.
//!
//! ```text
//! root/shopapi/{DEMO.md,README.md,src,tests,web,.loki,.devloop}   both tools
//! root/webshop/{DEMO.md,README.md,.loki}                          Loki Mode alone, slower
//! ```
//!
//! - The story moves with [`Demo::tick`]. Within a tick each part does at most one thing that is due, so the pace is that
//!   of the caller, about one tick every [`TICK`]. The story's own time never goes back and never jumps further than
//!   [`STORY_STEP_MAX`]: a clock that is set, or a laptop that slept, leaves no burst behind.
//! - The same seed and the same times of the ticks give the same files, but for the process id and the folder's name.
//! - Writes are those of the real tools, contracts/loki-mode.md section 1 and contracts/devloop.md section 1: nothing is
//!   synced, files are caught empty, the agents' list is overwritten with `[]`, `metrics.jsonl` is truncated and written
//!   again, sequences begin again after a restart. A kill leaves what a kill of the real tools leaves.
//! - The pid files name this process, which therefore reads as the running tool for as long as it lives.
//! - A folder that is not ours is never written to: [`DemoError::NotADemo`]. A folder of an earlier demo is gone on with,
//!   as the tools would after a restart; the truth counts from [`Demo::create`].
//! - A write that fails ends that part's tick with an error. The story goes on with the next thing that is due, within 5 s;
//!   the truth counts the tick as failed and is no longer exact.

mod devloop;
mod files;
mod json;
mod loki;
mod running;
mod stamp;
#[cfg(test)]
mod tests;
mod truth;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use muster::clock::{Clock, WallTime};
use thiserror::Error;

use devloop::DevloopProject;
use files::Tree;
use loki::{LokiProject, SHOPAPI, Script, WEBSHOP};
pub use running::RunningDemo;
pub use truth::{AgentCounts, CheckCounts, DevloopTruth, LokiTruth, RunCounts, TaskCounts, Truth};

/// Time between two ticks of a demo that runs by itself.
pub const TICK: Duration = Duration::from_millis(300);
/// The most story time that one tick can take.
pub const STORY_STEP_MAX: Duration = Duration::from_secs(5);

/// File by which a demo project is known as ours.
const MARKER: &str = "DEMO.md";
const MARKER_TEXT: &str = "# A demo project\n\n\
    Written by `muster up --demo`; everything in it is invented. It may be deleted at any time.\n";

/// Why the demo could not go on.
#[derive(Debug, Error)]
pub enum DemoError {
    /// A file or folder of the demo could not be written.
    #[error("cannot write {path} of the demo; check the disk and the folder's permissions")]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The demo's event store refused, most often because a reader held it for longer than 5 s.
    #[error("cannot write the demo's event store {path}")]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The folder exists and was not made by a demo; nothing in it was touched.
    #[error("{path} exists and is no demo project; choose another folder for the demo")]
    NotADemo {
        /// The folder.
        path: PathBuf,
    },
    /// The demo's thread could not be started.
    #[error("cannot start the demo's thread")]
    Thread(#[source] io::Error),
    /// The demo's thread ended without an answer: a fault in the demo itself.
    #[error("the demo's thread ended by a fault of its own; please report it")]
    Lost,
}

/// The demo and where its story stands.
#[derive(Debug)]
pub struct Demo {
    clock: Arc<dyn Clock>,
    shopapi: Named,
    webshop: Named,
    devloop: DevloopProject,
    projects: Vec<PathBuf>,
    last: WallTime,
    story: Duration,
    failed_ticks: u64,
}

/// A Loki Mode and its project's name.
#[derive(Debug)]
struct Named {
    name: &'static str,
    project: LokiProject,
}

/// When a step happens: in the world, for the files, and in the story, for what is due.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: WallTime,
    story: Duration,
}

impl Demo {
    /// Makes the two projects under `root`, which is made too if absent. No session has started yet.
    pub fn create(root: &Path, seed: u64, clock: Arc<dyn Clock>) -> Result<Demo, DemoError> {
        let now = clock.wall();
        let pid = std::process::id();
        let mut rng = Rng::with_seed(seed);
        let shop_root = make_project(root, &SHOPAPI)?;
        let web_root = make_project(root, &WEBSHOP)?;
        let shopapi = LokiProject::create(&shop_root, &SHOPAPI, pid, rng.fork(), now)?;
        let webshop = LokiProject::create(&web_root, &WEBSHOP, pid, rng.fork(), now)?;
        let devloop = DevloopProject::create(&shop_root, pid, rng.fork(), now)?;
        Ok(Demo {
            clock,
            shopapi: Named { name: SHOPAPI.project, project: shopapi },
            webshop: Named { name: WEBSHOP.project, project: webshop },
            devloop,
            projects: vec![shop_root, web_root],
            last: now,
            story: Duration::ZERO,
            failed_ticks: 0,
        })
    }

    /// The demo's projects, absolute: what an agent should watch.
    pub fn projects(&self) -> &[PathBuf] {
        &self.projects
    }

    /// Goes on to `now`: each part of the story does at most one thing that is due.
    ///
    /// All parts are tried; the first error is returned.
    pub fn tick(&mut self, now: WallTime) -> Result<(), DemoError> {
        let moment = self.moment(now);
        let steps =
            [self.shopapi.project.step(moment), self.webshop.project.step(moment), self.devloop.step(moment)];
        self.settle(steps)
    }

    /// Ends all sessions as the tools do when they are interrupted. Later ticks start no new ones.
    pub fn finish(&mut self) -> Result<(), DemoError> {
        let moment = self.moment(self.clock.wall());
        let steps = [
            self.shopapi.project.finish(moment),
            self.webshop.project.finish(moment),
            self.devloop.finish(moment),
        ];
        self.settle(steps)
    }

    /// What a correct reader must have counted by now.
    pub fn truth(&self) -> Truth {
        let loki = [&self.shopapi, &self.webshop]
            .map(|named| (named.name.to_owned(), named.project.truth().clone()));
        Truth { loki: loki.into(), devloop: self.devloop.truth().clone(), failed_ticks: self.failed_ticks }
    }

    /// Lets the demo run in a thread of its own until the result is stopped or dropped.
    pub fn run(self) -> Result<RunningDemo, DemoError> {
        RunningDemo::start(self)
    }

    fn moment(&mut self, now: WallTime) -> Moment {
        self.story += now.since(self.last).min(STORY_STEP_MAX);
        self.last = now;
        Moment { now, story: self.story }
    }

    fn settle(&mut self, steps: [Result<(), DemoError>; 3]) -> Result<(), DemoError> {
        let outcome: Result<(), DemoError> = steps.into_iter().collect();
        if outcome.is_err() {
            self.failed_ticks += 1;
        }
        outcome
    }
}

/// Makes a project's folder, or takes over that of an earlier demo. The absolute path.
fn make_project(root: &Path, script: &Script) -> Result<PathBuf, DemoError> {
    let folder = root.join(script.project);
    let failed = |source| DemoError::Write { path: folder.clone(), source };
    if folder.exists() && !folder.join(MARKER).is_file() {
        let mut entries = folder.read_dir().map_err(failed)?;
        if entries.next().is_some() {
            return Err(DemoError::NotADemo { path: folder });
        }
    }
    let tree = Tree::create(folder.clone(), &[])?;
    tree.write(MARKER, MARKER_TEXT)?;
    tree.write("README.md", &format!("# {}\n\nAn invented shop.\n", script.project))?;
    folder.canonicalize().map_err(failed)
}

/// A random time between the two, in milliseconds.
fn between_ms(rng: &mut Rng, ms_min: u64, ms_max: u64) -> Duration {
    Duration::from_millis(rng.u64(ms_min..=ms_max))
}
