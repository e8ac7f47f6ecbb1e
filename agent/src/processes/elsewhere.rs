//! Processes through sysinfo, on systems without `/proc`. A system that sysinfo does not know has no processes to tell.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use muster::clock::WallTime;
use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind};

use super::{ENVIRONMENT_VALUE_BYTES_MAX, OwnUsage, TREE_PROCESSES_MAX, single_process};
use crate::sources::Processes;

/// The machine's processes.
#[derive(Debug)]
pub struct ProcTable {
    system: Mutex<Option<System>>,
}

impl ProcTable {
    /// Of this machine.
    pub fn new() -> Self {
        Self { system: Mutex::new(System::new().ok()) }
    }

    /// What is to be known of one process, read anew. `None` if there is none.
    fn look_at<T>(
        &self,
        pid: u32,
        what: ProcessRefreshKind,
        tell: impl FnOnce(&Process) -> Option<T>,
    ) -> Option<T> {
        let mut system = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        let system = system.as_mut()?;
        let pid = Pid::from_u32(pid);
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
        tell(system.process(pid)?)
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
        let nothing_more = ProcessRefreshKind::nothing();
        self.look_at(pid, nothing_more, |found| {
            Some(!matches!(found.status(), ProcessStatus::Zombie | ProcessStatus::Dead))
        })
        .unwrap_or_else(|| rustix::process::test_kill_process(process) == Err(rustix::io::Errno::PERM))
    }

    fn started(&self, pid: u32) -> Option<WallTime> {
        single_process(pid)?;
        let start_s = self.look_at(pid, ProcessRefreshKind::nothing(), |found| Some(found.start_time()))?;
        (start_s > 0).then(|| WallTime(start_s.saturating_mul(1_000_000)))
    }

    fn environment_variable(&self, pid: u32, name: &str) -> Option<String> {
        single_process(pid)?;
        let kind =
            ProcessRefreshKind::nothing().with_user(UpdateKind::Always).with_environ(UpdateKind::Always);
        self.look_at(pid, kind, |found| {
            if **found.effective_user_id().or(found.user_id())? != rustix::process::geteuid().as_raw() {
                return None;
            }
            found
                .environ()
                .iter()
                .filter_map(|piece| piece.to_str()?.strip_prefix(name)?.strip_prefix('='))
                .find(|value| value.len() <= ENVIRONMENT_VALUE_BYTES_MAX)
                .map(str::to_owned)
        })
    }

    fn tree(&self, pid: u32) -> Vec<u32> {
        if single_process(pid).is_none() {
            return Vec::new();
        }
        // A system of its own: to remember every process until the next question would cost megabytes.
        let Ok(mut system) = System::new() else { return Vec::new() };
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, ProcessRefreshKind::nothing());
        if system.process(Pid::from_u32(pid)).is_none() {
            return Vec::new();
        }
        let mut tree = vec![pid];
        let mut seen = BTreeSet::from([pid]);
        let mut next = 0;
        while next < tree.len() && tree.len() < TREE_PROCESSES_MAX {
            let parent = Some(Pid::from_u32(tree[next]));
            next += 1;
            let children = system
                .processes()
                .iter()
                .filter(|(_, process)| process.parent() == parent && process.thread_kind().is_none())
                .map(|(child, _)| child.as_u32());
            tree.extend(children.filter(|child| seen.insert(*child)));
        }
        tree.truncate(TREE_PROCESSES_MAX);
        tree
    }
}

/// What this process itself uses, if the system tells.
#[cfg_attr(
    target_os = "linux",
    expect(dead_code, reason = "compiled on Linux so that its tests can check the rest")
)]
pub(super) fn own_usage() -> Option<OwnUsage> {
    let pid = Pid::from_u32(std::process::id());
    let mut system = System::new().ok()?;
    let kind = ProcessRefreshKind::nothing().with_memory().with_cpu();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, kind);
    let process = system.process(pid)?;
    Some(OwnUsage {
        resident_bytes: process.memory(),
        cpu: Duration::from_millis(process.accumulated_cpu_time()),
    })
}
