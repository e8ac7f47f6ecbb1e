//! Which sessions live (issue rule for `loki_session_status`; contracts/loki-mode.md sections 1.2 and 1.13).
//!
//! A session lives when its pid file names a live process that started no later than the file was written: a later one
//! has been given the number of a dead run. Only where there is no pid file at all do the state files decide, and then
//! only while they are fresh and nothing says that the run has ended, so that a dead run never reads as running.

use std::time::Duration;

use muster::clock::WallTime;

use super::json;
use super::state_files::{AutonomyState, DashboardState, SkillSession};
use crate::sources::Processes;

/// A process's start is known to a second, since the boot time it counts from is.
pub(super) const START_SLACK: Duration = Duration::from_secs(2);
/// How old a state file may be and still prove a run without a pid file.
const STATE_FRESH: Duration = Duration::from_secs(60);
/// How long ago a session started by a skill may have had its last turn.
const SKILL_FRESH: Duration = Duration::from_secs(300);

/// A pid file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PidFile {
    /// The folder's name under `sessions/`, where the session has one.
    pub session_id: Option<String>,
    /// The process it names; `None` when it names none.
    pub pid: Option<u32>,
    /// When it was written.
    pub written: WallTime,
}

/// A session that lives now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Live {
    /// Its process, where it has a pid file.
    pub pid: Option<u32>,
    /// The tool's own id of it.
    pub session_id: Option<String>,
    /// When its process started, or the time that a skill's session file gives.
    pub started: Option<WallTime>,
    /// When its pid file was written.
    pub pid_file_written: Option<WallTime>,
}

impl Live {
    /// Since when, as far as its process and its pid file tell.
    pub(super) fn since(&self) -> Option<WallTime> {
        self.started.or(self.pid_file_written)
    }
}

/// What the state files say of liveness, where there is no pid file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Witnesses<'a> {
    /// `dashboard-state.json`, and when it was written.
    pub dashboard: Option<(&'a DashboardState, WallTime)>,
    /// `session.json`, and when it was written.
    pub skill: Option<(&'a SkillSession, WallTime)>,
    /// `autonomy-state.json`.
    pub autonomy: Option<&'a AutonomyState>,
    /// The process of the newest session that is known, whatever became of its pid file.
    pub newest_pid: Option<u32>,
    /// The last end of a session that is known, if no session has started since.
    pub last_end: Option<WallTime>,
}

/// The process that a pid file's bytes name. 0, negative numbers and what no pid can be name none.
pub(super) fn pid_in(bytes: &[u8]) -> Option<u32> {
    let pid = json::python_int(std::str::from_utf8(bytes).ok()?)?;
    // A pid of a process is a positive 32-bit signed number everywhere.
    u32::try_from(pid).ok().filter(|pid| (1..=i32::MAX as u32).contains(pid))
}

/// The sessions that live now, each process once.
pub(super) fn live_sessions(
    pid_files: &[PidFile],
    witnesses: Witnesses<'_>,
    now: WallTime,
    processes: &dyn Processes,
) -> Vec<Live> {
    if pid_files.is_empty() {
        return without_pid_file(witnesses, now, processes).into_iter().collect();
    }
    let mut live: Vec<Live> = Vec::new();
    for file in pid_files {
        let Some(pid) = file.pid.filter(|pid| processes.is_alive(*pid)) else { continue };
        let started = processes.started(pid);
        if started.is_some_and(|started| started.since(file.written) > START_SLACK) {
            continue;
        }
        match live.iter_mut().find(|session| session.pid == Some(pid)) {
            Some(known) => known.session_id = known.session_id.take().or_else(|| file.session_id.clone()),
            None => live.push(Live {
                pid: Some(pid),
                session_id: file.session_id.clone(),
                started,
                pid_file_written: Some(file.written),
            }),
        }
    }
    live
}

fn without_pid_file(witnesses: Witnesses<'_>, now: WallTime, processes: &dyn Processes) -> Option<Live> {
    let ended_at = witnesses.last_end.unwrap_or_default();
    if let Some((skill, written)) = witnesses.skill {
        let updated = skill.updated.unwrap_or(written);
        if skill.status == "running" && is_fresh(updated, now, SKILL_FRESH) && updated > ended_at {
            return Some(Live {
                pid: None,
                session_id: None,
                started: skill.started,
                pid_file_written: None,
            });
        }
    }
    let (state, written) = witnesses.dashboard?;
    let written = state.written_us.map_or(written, WallTime);
    let runs = matches!(state.mode.as_str(), "autonomous" | "running") && is_fresh(written, now, STATE_FRESH);
    // The monitor writes once or twice more after the end.
    let outlives_end = witnesses.last_end.is_none_or(|end| written.since(end) > STATE_FRESH);
    let by_state_file = witnesses.autonomy.and_then(|run| run.pid);
    let run_is_dead = [by_state_file, witnesses.newest_pid.map(u64::from)]
        .into_iter()
        .flatten()
        .any(|pid| u32::try_from(pid).map_or(true, |pid| !processes.is_alive(pid)));
    (runs && outlives_end && !run_is_dead).then_some(Live {
        pid: None,
        session_id: None,
        started: None,
        pid_file_written: None,
    })
}

/// Written within `age_max` of now. A time far in the future proves nothing.
fn is_fresh(written: WallTime, now: WallTime, age_max: Duration) -> bool {
    now.since(written) < age_max && written.since(now) < age_max
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_positive_number_of_the_right_size_names_a_process() {
        for (text, pid) in [("48213\n", 48213), ("  61000 \n\n", 61000), ("+5", 5), ("4_242", 4242)] {
            assert_eq!(pid_in(text.as_bytes()), Some(pid), "{text:?}");
        }
        for text in
            ["", "0", "-1", "4294967296", "2147483648", "99999999999999999999", "4242 4243", "abc", "0x10"]
        {
            assert_eq!(pid_in(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(pid_in(b"\xff\xfe42"), None);
    }
}
