//! What the watched tools and the machine use: processor, memory, disk.
//!
//! Not a source of one project but one of the agent: it is told the root processes of all live sessions
//! ([`HostSource::watch`], from [`Source::live_pids`]) and states
//!
//! - `MACHINE`, as tool `host` without a project, every [`INTERVAL_LIVE`] while any session lives, else every
//!   [`INTERVAL_IDLE`];
//! - `PROCESS_TREE` for each session's tool and project, at the same times, and once more with nothing in it when the
//!   last process has ended.
//!
//! Rates are differences of two readings, so the first sample of anything has none: unknown is not 0. A counter that
//! falls (a device is gone, a process's number is used again) begins anew and never gives a negative number
//! ([`usage`]). A tree's memory is the sum of what is resident in each process; pages that they share count in each.
//!
//! Without `/proc` (other systems than Linux) nothing is stated.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::clock::Monotonic;
use muster::v1::event::Kind;
use muster::v1::{ResourceSample, ResourceScope, SourceEnded};

use super::{Moment, ProjectContext, Source, Step, WatchedPath};
use crate::facts::Facts;
use crate::processes::{ProcessStat, Units};
use crate::project::Machine;

pub mod machine;
pub mod usage;

use machine::{CpuTicks, DiskIo, Memory};
use usage::{ProcessUsage, ReadingTime, TreeUsage};

/// The value of the label `tool` of the machine's own samples.
pub const TOOL: &str = "host";
/// Time between two samples while a session lives.
pub const INTERVAL_LIVE: Duration = Duration::from_secs(60);
/// Time between two samples while nothing is watched that lives.
pub const INTERVAL_IDLE: Duration = Duration::from_secs(300);
/// Most sessions whose trees are measured; the others have no samples.
pub const SESSIONS_MAX: usize = 256;
/// Largest file of `/proc` that is read; `diskstats` of a machine with a thousand disks has about 200 KiB.
const PROC_FILE_BYTES_MAX: u64 = 1 << 20;

/// A watched tool in a project, and the processes at the root of its live sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveTool {
    /// The tool's name.
    pub tool: &'static str,
    /// The project.
    pub project: ProjectContext,
    /// From [`Source::live_pids`].
    pub pids: Vec<u32>,
}

/// Measures the machine and the tools' process trees.
#[derive(Debug)]
pub struct HostSource {
    proc: PathBuf,
    units: Units,
    machine: ProjectContext,
    live: Vec<LiveTool>,
    /// Time between two samples while a session lives, if another than the usual is asked for.
    asked_interval: Option<Duration>,
    sampled: Option<Monotonic>,
    cpu: Option<CpuTicks>,
    disk: Option<DiskIo>,
    trees: BTreeMap<TreeKey, TreeUsage>,
    /// Trees that were stated and have no process any more.
    ended: BTreeMap<TreeKey, ProjectContext>,
}

/// A tool's name and a project's folder.
type TreeKey = (&'static str, PathBuf);

impl HostSource {
    /// Of this machine.
    pub fn new(machine: &Machine) -> Self {
        Self::with_proc(PathBuf::from("/proc"), Units::of_this_machine(), machine)
    }

    /// Of a folder that looks like `/proc`.
    pub fn with_proc(proc: PathBuf, units: Units, machine: &Machine) -> Self {
        let machine = ProjectContext {
            root: PathBuf::new(),
            name: String::new(),
            user: machine.user.clone(),
            host: machine.host.clone(),
            repository: String::new(),
            branch: String::new(),
        };
        Self {
            proc,
            units,
            machine,
            live: Vec::new(),
            asked_interval: None,
            sampled: None,
            cpu: None,
            disk: None,
            trees: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Measures the trees of these from now on, each tool and project once; those without a pid are left out, and
    /// [`SESSIONS_MAX`] at most are kept.
    ///
    /// True if a session came or went: then a step is due now, whatever the last one said. Sessions that are gone are
    /// stated at once, and the time to the next sample may be shorter than it was.
    pub fn watch(&mut self, live: impl IntoIterator<Item = LiveTool>) -> bool {
        let live: Vec<LiveTool> =
            live.into_iter().filter(|tool| !tool.pids.is_empty()).take(SESSIONS_MAX).collect();
        let is_other = !live.iter().map(LiveTool::key).eq(self.live.iter().map(LiveTool::key));
        for gone in std::mem::replace(&mut self.live, live) {
            let key = gone.key();
            if !self.live.iter().any(|live| live.key() == key) && self.trees.remove(&key).is_some() {
                self.ended.insert(key, gone.project);
            }
        }
        is_other
    }

    /// The tool is watched no more in this project, and its source has said so: nothing more is said of its tree.
    pub fn forget(&mut self, tool: &'static str, root: &Path) {
        let key = (tool, root.to_owned());
        self.live.retain(|live| live.key() != key);
        self.trees.remove(&key);
        self.ended.remove(&key);
    }

    /// Measures so often while a session lives, and while none does no oftener than that; `None`: as usual.
    pub fn measure_every(&mut self, interval: Option<Duration>) {
        self.asked_interval = interval;
    }

    fn interval(&self) -> Duration {
        match (self.asked_interval, self.live.is_empty()) {
            (None, true) => INTERVAL_IDLE,
            (None, false) => INTERVAL_LIVE,
            (Some(asked), true) => asked.max(INTERVAL_IDLE),
            (Some(asked), false) => asked,
        }
    }

    fn machine_sample(&mut self) -> Option<ResourceSample> {
        let cpu = CpuTicks::parse(&self.read("stat")?);
        let memory = Memory::parse(&self.read("meminfo").unwrap_or_default());
        let disk = self.read("diskstats").map(|text| DiskIo::parse(&text));
        let sample = ResourceSample {
            scope: ResourceScope::Machine.into(),
            cpu_percent: cpu.zip(self.cpu).and_then(|(now, before)| now.percent_since(&before)),
            memory_bytes: memory.map(|memory| memory.used_bytes),
            memory_total_bytes: memory.map(|memory| memory.total_bytes),
            disk_io_bytes: disk.as_ref().zip(self.disk.as_ref()).map(|(now, before)| now.bytes_since(before)),
            processes: self.process_count(),
            ..ResourceSample::default()
        };
        self.cpu = cpu;
        self.disk = disk;
        Some(sample)
    }

    fn tree_sample(&mut self, live: &LiveTool, moment: &Moment<'_>) -> Option<ResourceSample> {
        let uptime = self.read("uptime");
        let at = ReadingTime {
            monotonic: moment.monotonic,
            since_boot_ticks: uptime.and_then(|text| usage::since_boot_ticks(&text, &self.units)),
        };
        let mut processes = BTreeMap::new();
        for pid in live.pids.iter().flat_map(|pid| moment.processes.tree(*pid)) {
            if let Some(process) = self.process(pid) {
                processes.insert(pid, process);
            }
        }
        let key = live.key();
        if processes.is_empty() {
            if self.trees.remove(&key).is_some() {
                self.ended.insert(key, live.project.clone());
            }
            return None;
        }
        let now = TreeUsage::new(processes, at);
        let change = self.trees.get(&key).map(|before| now.since(before, &self.units));
        let sample = ResourceSample {
            scope: ResourceScope::ProcessTree.into(),
            cpu_percent: change.as_ref().and_then(|change| change.cpu_percent),
            memory_bytes: Some(self.units.bytes(now.resident_pages())),
            disk_io_bytes: change.and_then(|change| change.disk_io_bytes),
            processes: now.count(),
            ..ResourceSample::default()
        };
        self.trees.insert(key, now);
        Some(sample)
    }

    fn process(&self, pid: u32) -> Option<ProcessUsage> {
        let folder = self.proc.join(pid.to_string());
        let stat = ProcessStat::parse(&read_bounded(&folder.join("stat"))?)?;
        let disk_io_bytes = read_bounded(&folder.join("io"))
            .and_then(|text| usage::disk_io_bytes(&String::from_utf8_lossy(&text)));
        stat.is_live().then_some(ProcessUsage { stat, disk_io_bytes })
    }

    fn process_count(&self) -> u32 {
        let Ok(entries) = std::fs::read_dir(&self.proc) else { return 0 };
        let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        let count = entries.flatten().filter(|entry| is_process(&entry.file_name())).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn read(&self, file: &str) -> Option<String> {
        Some(String::from_utf8_lossy(&read_bounded(&self.proc.join(file))?).into_owned())
    }
}

impl LiveTool {
    fn key(&self) -> TreeKey {
        (self.tool, self.project.root.clone())
    }
}

impl Source for HostSource {
    fn step(&mut self, moment: &Moment<'_>, facts: &mut Facts) -> Step {
        let step = self.sample(moment, facts);
        for ((tool, _), project) in std::mem::take(&mut self.ended) {
            facts.speak_for(tool, "", &project);
            let sample = ResourceSample {
                scope: ResourceScope::ProcessTree.into(),
                cpu_percent: Some(0.0),
                memory_bytes: Some(0),
                ..ResourceSample::default()
            };
            facts.push(moment.wall, Kind::ResourceSample(sample));
        }
        step
    }

    /// Nothing: a restart begins with a new reading.
    fn position(&self) -> Vec<u8> {
        Vec::new()
    }

    fn watched_paths(&self) -> Vec<WatchedPath> {
        Vec::new()
    }

    fn end(&mut self, moment: &Moment<'_>, facts: &mut Facts) {
        facts.speak_for(TOOL, "", &self.machine);
        facts.push(moment.wall, Kind::SourceEnded(SourceEnded {}));
    }
}

impl HostSource {
    fn sample(&mut self, moment: &Moment<'_>, facts: &mut Facts) -> Step {
        let elapsed = self.sampled.map(|sampled| moment.monotonic.0.saturating_sub(sampled.0));
        let interval = self.interval();
        match elapsed {
            Some(elapsed) if elapsed < interval => {
                return Step { more: false, again_in: Some(interval - elapsed) };
            }
            _ => self.sampled = Some(moment.monotonic),
        }
        if let Some(sample) = self.machine_sample() {
            facts.speak_for(TOOL, "", &self.machine);
            facts.push(moment.wall, Kind::ResourceSample(sample));
        }
        let live = std::mem::take(&mut self.live);
        for tool in &live {
            if let Some(sample) = self.tree_sample(tool, moment) {
                facts.speak_for(tool.tool, "", &tool.project);
                facts.push(moment.wall, Kind::ResourceSample(sample));
            }
        }
        self.live = live;
        Step { more: false, again_in: Some(interval) }
    }
}

fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(PROC_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests;
