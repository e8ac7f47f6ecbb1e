//! Processes from `/proc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use muster::clock::WallTime;

use super::{ENVIRONMENT_VALUE_BYTES_MAX, ProcessStat, TREE_PROCESSES_MAX, Units, single_process};
use crate::sources::Processes;

/// The machine's processes. Asks anew each time; remembers only when each process started.
#[derive(Debug)]
pub struct ProcTable {
    proc: PathBuf,
    units: Units,
    started: Mutex<BTreeMap<ProcessKey, WallTime>>,
}

/// A process for ever: pids are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ProcessKey {
    pid: u32,
    start_ticks: u64,
}

/// Most processes whose start is remembered; past it all are forgotten and are worked out again.
const STARTS_REMEMBERED_MAX: usize = 1024;
/// A machine whose clock says less than this (the year 2001) has not yet been told the time: nothing is remembered.
const CLOCK_IS_SET_FROM_S: u64 = 1_000_000_000;
/// Largest file of one process that is read whole; `status` has about 1.5 KiB.
const PROC_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Most of an environment that is searched. The kernel allows about as much with its default stack.
const ENVIRONMENT_BYTES_MAX: u64 = 2 << 20;

impl ProcTable {
    /// Of this machine.
    pub fn new() -> Self {
        Self::with_proc(PathBuf::from("/proc"))
    }

    /// Of a folder that looks like `/proc`.
    pub fn with_proc(proc: PathBuf) -> Self {
        Self { proc, units: Units::of_this_machine(), started: Mutex::default() }
    }

    fn read(&self, pid: u32, file: &str) -> std::io::Result<Vec<u8>> {
        read_bounded(&self.proc.join(pid.to_string()).join(file))
    }

    fn stat(&self, pid: u32) -> Option<ProcessStat> {
        ProcessStat::parse(&self.read(pid, "stat").ok()?)
    }

    /// When the machine started, by its present clock. In whole seconds, rounded down: a process seems to have
    /// started up to a second too early and never too late, so that a pid file is never older than its writer.
    fn boot_time_s(&self) -> Option<u64> {
        let text = read_bounded(&self.proc.join("stat")).ok()?;
        boot_time_s(&String::from_utf8_lossy(&text))
    }

    /// The children of one process, if the kernel lists them (CONFIG_PROC_CHILDREN).
    fn children(&self, pid: u32) -> Option<Vec<u32>> {
        let mut children = Vec::new();
        let tasks = self.proc.join(pid.to_string()).join("task");
        for task in std::fs::read_dir(tasks).ok()?.flatten() {
            match read_bounded(&task.path().join("children")) {
                Ok(text) => children.extend(pids_in(&String::from_utf8_lossy(&text))),
                // The thread has ended; or the kernel has no such file.
                Err(_) if task.path().join("stat").exists() => return None,
                Err(_) => {}
            }
        }
        Some(children)
    }

    /// Every process's parent. Costs a read for each process of the machine.
    fn parents(&self) -> Vec<(u32, u32)> {
        let Ok(entries) = std::fs::read_dir(&self.proc) else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter_map(|pid| Some((pid, self.stat(pid)?.parent)))
            .collect()
    }
}

impl Default for ProcTable {
    fn default() -> Self {
        Self::new()
    }
}

impl Processes for ProcTable {
    fn is_alive(&self, pid: u32) -> bool {
        let Some(process) = single_process(pid) else { return false };
        match self.read(pid, "status") {
            Ok(text) => is_live_process(pid, &String::from_utf8_lossy(&text)),
            // Ended during the read.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => false,
            // /proc may hide other users' processes (hidepid) or be absent; the kernel still says whether one is there.
            Err(_) => match rustix::process::test_kill_process(process) {
                Ok(()) => true,
                Err(error) => error == rustix::io::Errno::PERM,
            },
        }
    }

    /// Worked out once a process: when the machine's clock is set later (a virtual machine wakes, NTP answers), the
    /// process must not seem to be younger than the pid file that it wrote.
    fn started(&self, pid: u32) -> Option<WallTime> {
        single_process(pid)?;
        let start_ticks = self.stat(pid)?.start_ticks;
        let key = ProcessKey { pid, start_ticks };
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = started.get(&key) {
            return Some(*known);
        }
        let boot_time_s = self.boot_time_s()?;
        let after_boot_us = u64::try_from(self.units.duration(start_ticks).as_micros()).ok()?;
        let wall = WallTime(boot_time_s.checked_mul(1_000_000)?.checked_add(after_boot_us)?);
        if boot_time_s >= CLOCK_IS_SET_FROM_S {
            if started.len() >= STARTS_REMEMBERED_MAX {
                started.clear();
            }
            started.insert(key, wall);
        }
        Some(wall)
    }

    /// Only of processes of this user, also where the kernel would allow more (root).
    fn environment_variable(&self, pid: u32, name: &str) -> Option<String> {
        single_process(pid)?;
        let path = self.proc.join(pid.to_string()).join("environ");
        let file = File::open(path).ok()?;
        if file.metadata().ok()?.uid() != rustix::process::geteuid().as_raw() {
            return None;
        }
        value_in(BufReader::new(file.take(ENVIRONMENT_BYTES_MAX)), name)
    }

    fn tree(&self, pid: u32) -> Vec<u32> {
        if single_process(pid).is_none() || self.stat(pid).is_none() {
            return Vec::new();
        }
        let mut tree = vec![pid];
        let mut seen = BTreeSet::from([pid]);
        let mut parents: Option<Vec<(u32, u32)>> = None;
        let mut next = 0;
        while next < tree.len() && tree.len() < TREE_PROCESSES_MAX {
            let parent = tree[next];
            next += 1;
            let children = match (&parents, self.children(parent)) {
                (None, Some(children)) => children,
                // Ended meanwhile.
                (None, None) if self.stat(parent).is_none() => Vec::new(),
                _ => {
                    let parents = parents.get_or_insert_with(|| self.parents());
                    parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child).collect()
                }
            };
            tree.extend(children.into_iter().filter(|child| seen.insert(*child)));
        }
        tree.truncate(TREE_PROCESSES_MAX);
        tree
    }
}

/// The line `btime` of `/proc/stat`, in seconds since the epoch.
pub(super) fn boot_time_s(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Whether the text of `/proc/PID/status` is of a live process. `/proc` also answers for the number of a thread of
/// some other process, which must not pass for the process that once had this number.
pub(super) fn is_live_process(pid: u32, status: &str) -> bool {
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let state = field("State").unwrap_or_default();
    let is_leader = field("Tgid").is_none_or(|tgid| tgid.parse() == Ok(pid));
    is_leader && !state.is_empty() && !state.starts_with(['Z', 'X', 'x'])
}

/// The value of `name` among `NAME=value` pieces that end with a NUL. `None` if it is absent, too long or no UTF-8.
pub(super) fn value_in(mut environment: impl BufRead, name: &str) -> Option<String> {
    let mut piece = Vec::new();
    loop {
        piece.clear();
        if environment.read_until(0, &mut piece).ok()? == 0 {
            return None;
        }
        let text = piece.strip_suffix(&[0]).unwrap_or(&piece);
        if let Some(value) = text.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
            let value = std::str::from_utf8(value).ok()?;
            return (value.len() <= ENVIRONMENT_VALUE_BYTES_MAX).then(|| value.to_owned());
        }
    }
}

fn pids_in(text: &str) -> impl Iterator<Item = u32> {
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok())
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(PROC_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}
