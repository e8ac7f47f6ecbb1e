//! What the agent may know about other processes: whether one lives, since when, its family, and its own figures.
//!
//! On Linux straight from `/proc`, a file or two a question, since the questions are about single pids. Elsewhere
//! through sysinfo. A question that the system does not answer is `None` or `false`, never an error: pids come out of
//! files that anybody wrote, and processes end between two reads.
//!
//! Pid 0 and pids above `i32::MAX` are no processes here, whatever a file says: to the system calls they would mean
//! "my own group" and "everybody".

use std::time::Duration;

#[cfg(any(test, not(target_os = "linux")))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
mod stat;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::ProcTable;
#[cfg(target_os = "linux")]
pub use linux::ProcTable;
pub use stat::{ProcessStat, Units};

/// Largest family that [`crate::sources::Processes::tree`] gives: a bound for a fork bomb.
pub const TREE_PROCESSES_MAX: usize = 4096;
/// Longest value that is taken from another process's environment.
pub const ENVIRONMENT_VALUE_BYTES_MAX: usize = 4096;

/// What this process itself uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnUsage {
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Processor time since its start.
    pub cpu: Duration,
}

/// What this process itself uses, if the system tells.
#[cfg(target_os = "linux")]
pub fn own_usage() -> Option<OwnUsage> {
    let stat = ProcessStat::parse(&std::fs::read("/proc/self/stat").ok()?)?;
    let units = Units::of_this_machine();
    Some(OwnUsage { resident_bytes: units.bytes(stat.resident_pages), cpu: units.duration(stat.cpu_ticks) })
}

/// What this process itself uses, if the system tells.
#[cfg(not(target_os = "linux"))]
pub fn own_usage() -> Option<OwnUsage> {
    elsewhere::own_usage()
}

/// `pid` as the system calls take it; `None` for what is no single process.
fn single_process(pid: u32) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)
}

#[cfg(test)]
mod tests;
