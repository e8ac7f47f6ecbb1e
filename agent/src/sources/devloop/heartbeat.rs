//! Whether DevLoop is alive. Pure, but for the question about processes.
//!
//! Two files name a process: `devloop.pid` (daemon mode alone) and `daemon.heartbeat` (each 30 s). Both outlive a killed
//! DevLoop, and its number can be given to another process (contracts/devloop.md section 6.8). DevLoop is alive when a
//! process with that number lives and started no later than the file was written. A silent heartbeat is no death: DevLoop
//! can be busy for minutes without one. The heartbeat's own time is local without a zone and is not used.

use std::time::Duration;

use muster::clock::WallTime;
use muster::v1::{SessionStatus, ToolState};
use serde_json::Value;

use crate::sources::Processes;

/// How much later than the file a process may seem to have started: clocks of kernel and file system differ.
const START_SLACK: Duration = Duration::from_secs(2);

/// A process that a file claims is DevLoop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub pid: u32,
    /// When the file was written.
    pub written: WallTime,
    /// How long it ran by then, if the file tells.
    pub uptime: Option<Duration>,
}

/// Reads `devloop.pid`; `None` when it holds no number.
pub(super) fn pid_claim(bytes: &[u8], written: WallTime) -> Option<Claim> {
    let pid = std::str::from_utf8(bytes).ok()?.trim().parse().ok().filter(|&pid| pid > 0)?;
    Some(Claim { pid, written, uptime: None })
}

/// Reads `daemon.heartbeat`; `None` when it is none.
pub(super) fn heartbeat_claim(bytes: &[u8], written: WallTime) -> Option<Claim> {
    let heartbeat: Value = serde_json::from_slice(bytes).ok()?;
    let pid = u32::try_from(heartbeat["pid"].as_u64()?).ok().filter(|&pid| pid > 0)?;
    let uptime = heartbeat["uptime_seconds"].as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok());
    Some(Claim { pid, written, uptime })
}

/// The claims whose process is alive, each process once.
pub(super) fn live<'a>(claims: &'a [Option<Claim>], processes: &dyn Processes) -> Vec<&'a Claim> {
    let mut alive: Vec<&Claim> = Vec::new();
    for claim in claims.iter().flatten() {
        if !alive.iter().any(|known| known.pid == claim.pid) && is_alive(claim, processes) {
            alive.push(claim);
        }
    }
    alive
}

/// The state of the tool, going by who is alive.
pub(super) fn state(claims: &[Option<Claim>], processes: &dyn Processes) -> ToolState {
    let alive = live(claims, processes);
    let status = if alive.is_empty() { SessionStatus::Stopped } else { SessionStatus::Running };
    ToolState {
        status: status.into(),
        started_time_us: alive.iter().filter_map(|claim| started(claim, processes)).min(),
        sessions_live: alive.len() as u32,
        ..ToolState::default()
    }
}

fn is_alive(claim: &Claim, processes: &dyn Processes) -> bool {
    processes.is_alive(claim.pid)
        && processes.started(claim.pid).is_none_or(|started| started.since(claim.written) <= START_SLACK)
}

fn started(claim: &Claim, processes: &dyn Processes) -> Option<u64> {
    let by_uptime = || {
        let uptime_us = u64::try_from(claim.uptime?.as_micros()).ok()?;
        claim.written.0.checked_sub(uptime_us)
    };
    processes.started(claim.pid).map(|started| started.0).or_else(by_uptime)
}
