//! The tools that are watched, a folder each: a pure core under a thin shell.
//!
//! A new tool is a new folder and one line in [`TOOLS`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::clock::{Monotonic, WallTime};

use crate::facts::Facts;

pub mod devloop;
pub mod host;
pub mod json_lines;
pub mod loki;

/// Every tool that is looked for in a project, in this order.
pub const TOOLS: &[&dyn Tool] = &[&loki::Loki, &devloop::DevLoop];

/// A kind of tool that can be found in a project.
pub trait Tool: Sync + fmt::Debug {
    /// `loki`, `devloop`: the value of the label `tool` and the name in positions. Never changes.
    fn name(&self) -> &'static str;
    /// Whether `root` is a project in which this tool keeps its state. Looks at few files and reads none of size.
    fn is_in(&self, root: &Path) -> bool;
    /// The folder of its state in a project: a dot and its name, unless it says otherwise.
    fn state_folder(&self) -> PathBuf {
        PathBuf::from(format!(".{}", self.name()))
    }
    /// Starts reading. `position` is what [`Source::position`] gave when the last event was spooled; `None` is the
    /// first time. A position that cannot be read (older format, damaged) is as `None` and is said in a log line.
    fn open(
        &self,
        project: ProjectContext,
        environment: &ToolEnvironment,
        position: Option<&[u8]>,
    ) -> Box<dyn Source>;
}

/// One watched tool in one project.
///
/// [`Source::step`] reads what is new in a bounded amount and states it as facts. The caller spools the facts together
/// with [`Source::position`] as one record. If the spool refuses, the caller drops the source and opens it again from
/// the last durable position, so nothing is lost or said twice.
pub trait Source: Send {
    /// Reads what is new, at most about 1 MiB or [`crate::facts::STEP_EVENTS_MAX`] facts. Faults of single files are not
    /// errors: they keep the last good value and are counted in a `SourceHealth` event.
    fn step(&mut self, moment: &Moment<'_>, facts: &mut Facts) -> Step;
    /// What has been read so far, to go on from after a restart. At most [`POSITION_BYTES_MAX`].
    fn position(&self) -> Vec<u8>;
    /// The files and folders whose change should wake this source, absolute. Asked again after each step.
    fn watched_paths(&self) -> Vec<WatchedPath>;
    /// The processes at the root of the tool's live sessions here, for [`host`] to measure. Asked again after each step;
    /// empty when nothing runs.
    fn live_pids(&self) -> Vec<u32> {
        Vec::new()
    }
    /// States that the source is gone (`SourceEnded`), when its project was removed.
    fn end(&mut self, moment: &Moment<'_>, facts: &mut Facts);
}

/// Largest position: it is part of spool records and is written again in each segment.
pub const POSITION_BYTES_MAX: usize = 256 * 1024;

/// A folder or file to watch. Folders are watched without their subfolders.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchedPath(pub PathBuf);

/// What a step did and when it wants the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// There is more to read: call again at once.
    pub more: bool,
    /// Call again after this long even if no watched path changes (a value that must settle, a liveness check);
    /// `None`: the slow rescan is enough.
    pub again_in: Option<Duration>,
}

/// The moment of a step, given so that a source owns no clock and no process table.
pub struct Moment<'a> {
    /// Wall time, for data.
    pub wall: WallTime,
    /// Time that never goes back, for damping and settling.
    pub monotonic: Monotonic,
    /// The machine's processes.
    pub processes: &'a dyn Processes,
    /// True on the slow periodic rescan: look at everything, trust no notification.
    pub rescan: bool,
}

/// What a source may ask about processes.
pub trait Processes {
    /// Whether `pid` is a live process. A process that we may not signal (EPERM) is live; a zombie is not.
    fn is_alive(&self, pid: u32) -> bool;
    /// When it started, if the system tells.
    fn started(&self, pid: u32) -> Option<WallTime>;
    /// The value of a variable in its environment, if the system tells (same user).
    fn environment_variable(&self, pid: u32, name: &str) -> Option<String>;
    /// `pid` and all its descendants.
    fn tree(&self, pid: u32) -> Vec<u32>;
}

/// A watched project and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectContext {
    /// Its folder, absolute and canonical.
    pub root: PathBuf,
    /// Its name (design.md §3): configured, else the git remote's repository name, else the folder's name.
    pub name: String,
    /// Login name.
    pub user: String,
    /// The machine's name.
    pub host: String,
    /// Repository name, "" when not known.
    pub repository: String,
    /// Branch, "" when not known.
    pub branch: String,
}

/// Settings of the agent's own environment that a tool's guide gives a meaning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolEnvironment {
    /// `LOKI_MAX_ITERATIONS` as text.
    pub loki_max_iterations: Option<String>,
}
