//! Sessions of one project: opened and closed by events and by live processes, each told once.
//!
//! Events carry no session id; only `session_start` has a pid. A session is therefore known by its process. Its name is
//! the tool's own id (`LOKI_SESSION_ID`) where it has one, else `pid-<pid>-<start in seconds>`: the start of its process
//! while that lives, else the time of its `session_start`.
//!
//! | seen | told |
//! |---|---|
//! | `session_start`, or a live process that no event told of | running |
//! | PAUSE file or mode `paused` while live; `session_pause` in the past | paused, and running again when it goes |
//! | `session_end` | stopped, with result and exit code; of several sessions the one whose process is gone |
//! | the process is gone for some seconds and no event told of an end | stopped, with the result of a `session_stop` or of the state file if there is one |

use std::time::Duration;

use muster::clock::{Monotonic, WallTime};
use muster::v1;
use muster::v1::event::Kind;
use serde::{Deserialize, Serialize};

use super::liveness::{Live, START_SLACK};
use super::state_files::{AutonomyState, short};
use crate::facts::Facts;

/// Most sessions that are open at once; past it the oldest is closed.
const OPEN_MAX: usize = 64;
/// How long after its process a session's `session_end` may still come.
const END_GRACE: Duration = Duration::from_secs(3);
/// How long an end that was told while all sessions lived waits for one of them to go.
const ENDING_AWAITED: Duration = Duration::from_secs(600);
/// Two `session_start` of one process within this are one: `control.py` and `run.sh` both write it.
const SAME_START: Duration = Duration::from_secs(600);

/// One open session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    name: String,
    pid: Option<u32>,
    started_us: Option<u64>,
    /// Time of its `session_start`.
    event_us: Option<u64>,
    paused: bool,
    iteration: u64,
    provider: String,
    /// It was seen alive, so that its disappearance is its end.
    lived: bool,
    /// It was asked to stop.
    asked: Option<End>,
    #[serde(skip)]
    gone_since: Option<Monotonic>,
}

/// How a session ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    /// When.
    pub time_us: u64,
    /// In the tool's words.
    pub result: String,
    /// Its exit code.
    pub exit_code: Option<i64>,
}

/// What is told of a session besides its status.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Surroundings<'a> {
    /// Limit of iterations.
    pub iteration_max: u64,
    /// The project's phase.
    pub phase: &'a str,
    /// `autonomy-state.json`.
    pub autonomy: Option<&'a AutonomyState>,
}

/// What a `session_start` says, and who lives then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    /// The process.
    pub pid: Option<u32>,
    /// The tool's own id of the session.
    pub session_id: Option<&'a str>,
    /// Whose model it runs on.
    pub provider: &'a str,
    /// Sessions that live now.
    pub live: &'a [Live],
}

/// All sessions of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Sessions {
    open: Vec<Session>,
    /// The newest session's name; it stays when the session ends.
    pub newest: String,
    newest_start_us: u64,
    /// The newest iteration event's number in the newest session.
    pub iteration: Option<u64>,
    /// The last end, if no session has started since.
    pub last_end_us: Option<u64>,
    /// The process of the newest session that has one.
    pub newest_pid: Option<u32>,
    /// An end that one of the live sessions is about to take.
    ending: Option<End>,
}

impl Sessions {
    /// A `session_start` event.
    pub(super) fn start(
        &mut self,
        time: WallTime,
        start: Start<'_>,
        around: Surroundings<'_>,
        facts: &mut Facts,
    ) {
        let Start { pid, session_id, provider, live } = start;
        self.last_end_us = None;
        if let Some(known) = self.open.iter_mut().find(|s| pid.is_some() && s.pid == pid) {
            let same = known.event_us.is_none_or(|event_us| time.since(WallTime(event_us)) < SAME_START);
            if same {
                if known.event_us.is_none() {
                    known.event_us = Some(time.0);
                    known.provider = short(provider);
                    self.newest.clone_from(&known.name);
                    self.newest_start_us = time.0;
                    self.iteration = None;
                }
                return;
            }
            // The number of a dead run's process was given to this one.
            let lost = self.open.iter().position(|s| s.pid == pid);
            self.close(lost, End { time_us: time.0, ..End::default() }, around, facts);
        }
        // The same name whether the process or its event is seen first.
        let process = live.iter().find(|process| pid.is_some() && process.pid == pid);
        let started = process.and_then(Live::since).filter(|started| started.since(time) <= START_SLACK);
        let name = name_of(session_id, pid, started.unwrap_or(time));
        self.newest.clone_from(&name);
        self.newest_start_us = time.0;
        self.iteration = None;
        let session = Session {
            name,
            pid,
            started_us: Some(time.0),
            event_us: Some(time.0),
            provider: short(provider),
            ..Session::default()
        };
        self.open(session, time, around, facts);
    }

    /// A `session_stop` event: somebody asked the session to stop, and its end is still to come.
    pub(super) fn stop(&mut self, end: End, pid: Option<u32>) {
        let asked = self.open.iter_mut().rev().find(|s| pid.is_none() || s.pid == pid);
        if let Some(session) = asked {
            session.asked = Some(end);
        }
    }

    /// A `session_end` event.
    pub(super) fn end(
        &mut self,
        end: End,
        pid: Option<u32>,
        live: &[Live],
        around: Surroundings<'_>,
        facts: &mut Facts,
    ) {
        self.last_end_us = Some(end.time_us);
        let dead = |s: &Session| !is_live(s, live);
        let by_pid = pid.and_then(|pid| self.open.iter().position(|s| s.pid == Some(pid) && dead(s)));
        let at = if pid.is_some() { by_pid } else { self.open.iter().rposition(dead) };
        match at {
            Some(at) => self.close(Some(at), end, around, facts),
            None if !self.open.is_empty() => self.ending = Some(end),
            None => {}
        }
    }

    /// A `session_pause` or `session_resume` event. Of a live session its files tell.
    pub(super) fn pause(
        &mut self,
        time: WallTime,
        pid: Option<u32>,
        paused: bool,
        live: &[Live],
        around: Surroundings<'_>,
        facts: &mut Facts,
    ) {
        let at = self.open.iter().rposition(|s| (pid.is_none() || s.pid == pid) && !is_live(s, live));
        let Some(session) = at.and_then(|at| self.open.get_mut(at)) else { return };
        if session.paused != paused {
            session.paused = paused;
            say(session, time, status_of(session), None, around, facts);
        }
    }

    /// An iteration event.
    pub(super) fn iterate(&mut self, iteration: u64) {
        self.iteration = Some(iteration);
        let newest = &self.newest;
        if let Some(session) = self.open.iter_mut().rev().find(|s| s.name == *newest) {
            session.iteration = iteration;
        }
    }

    /// Identity of a run of the newest session, before its number.
    pub(super) fn run_scope(&self) -> String {
        format!("{}@{}", self.newest, self.newest_start_us)
    }

    /// When the session of this process started by its event.
    pub(super) fn start_by_event(&self, pid: Option<u32>) -> Option<WallTime> {
        let known =
            self.open.iter().rev().find(|s| s.pid == pid && (pid.is_some() || s.event_us.is_some()))?;
        known.event_us.map(WallTime)
    }

    /// Whether a session waits for its end to be told.
    pub(super) fn is_settling(&self) -> bool {
        self.open.iter().any(|s| s.gone_since.is_some())
    }

    /// Compares what is open with what lives.
    pub(super) fn reconcile(
        &mut self,
        live: &[Live],
        paused: bool,
        moment: (WallTime, Monotonic),
        around: Surroundings<'_>,
        facts: &mut Facts,
    ) {
        let (now, monotonic) = moment;
        self.ending = self.ending.take().filter(|end| now.since(WallTime(end.time_us)) < ENDING_AWAITED);
        for process in live {
            self.sees(process, paused, now, around, facts);
        }
        let mut at = 0;
        while at < self.open.len() {
            let session = &mut self.open[at];
            if is_live(session, live) {
                session.gone_since = None;
                at += 1;
                continue;
            }
            let since = *session.gone_since.get_or_insert(monotonic);
            let told = self.ending.is_some();
            if !told && monotonic.0.saturating_sub(since.0) < END_GRACE {
                at += 1;
                continue;
            }
            let lived = session.lived;
            let end = self.ending.take().or_else(|| session.asked.clone());
            // Of one that died before we looked nobody knows when.
            let end = end.unwrap_or_else(|| End { time_us: if lived { now.0 } else { 0 }, ..End::default() });
            if lived && self.open.len() == 1 {
                self.last_end_us = Some(end.time_us);
            }
            self.close(Some(at), end, around, facts);
        }
    }

    /// A live session; it is opened when no event has told of it.
    fn sees(
        &mut self,
        process: &Live,
        paused: bool,
        now: WallTime,
        around: Surroundings<'_>,
        facts: &mut Facts,
    ) {
        let known = self.open.iter_mut().rev().find(|s| s.pid == process.pid);
        let Some(session) = known else {
            let started = process.since().unwrap_or(now);
            let session = Session {
                name: name_of(process.session_id.as_deref(), process.pid, started),
                pid: process.pid,
                started_us: Some(started.0),
                paused,
                lived: true,
                ..Session::default()
            };
            self.open(session, if paused { now } else { started }, around, facts);
            return;
        };
        session.lived = true;
        if session.paused != paused {
            session.paused = paused;
            say(session, now, status_of(session), None, around, facts);
        }
    }

    fn open(&mut self, session: Session, time: WallTime, around: Surroundings<'_>, facts: &mut Facts) {
        if self.open.len() >= OPEN_MAX {
            self.close(Some(0), End { time_us: time.0, ..End::default() }, around, facts);
        }
        say(&session, time, status_of(&session), None, around, facts);
        self.newest_pid = session.pid.or(self.newest_pid);
        self.open.push(session);
    }

    fn close(&mut self, at: Option<usize>, mut end: End, around: Surroundings<'_>, facts: &mut Facts) {
        let Some(at) = at.filter(|at| *at < self.open.len()) else { return };
        let session = self.open.remove(at);
        let its_state =
            around.autonomy.filter(|state| state.pid.is_some() && state.pid == session.pid.map(u64::from));
        if let Some(state) = its_state.filter(|state| is_terminal(&state.status))
            && (end.result.is_empty() || matches!(end.result.as_str(), "completed" | "failed"))
        {
            end.result.clone_from(&state.status);
        }
        let time = if end.time_us == 0 { session.started_us.unwrap_or(0) } else { end.time_us };
        say(&session, WallTime(time), v1::SessionStatus::Stopped, Some(&end), around, facts);
    }
}

fn is_live(session: &Session, live: &[Live]) -> bool {
    live.iter().any(|process| process.pid == session.pid)
}

fn status_of(session: &Session) -> v1::SessionStatus {
    if session.paused { v1::SessionStatus::Paused } else { v1::SessionStatus::Running }
}

/// Whether the state file's status is how a run ended.
fn is_terminal(status: &str) -> bool {
    !matches!(status, "" | "running" | "paused")
}

fn name_of(session_id: Option<&str>, pid: Option<u32>, start: WallTime) -> String {
    let second = start.0 / 1_000_000;
    match (session_id, pid) {
        (Some(id), _) => short(id),
        (None, Some(pid)) => format!("pid-{pid}-{second}"),
        (None, None) => format!("start-{second}"),
    }
}

fn say(
    session: &Session,
    time: WallTime,
    status: v1::SessionStatus,
    end: Option<&End>,
    around: Surroundings<'_>,
    facts: &mut Facts,
) {
    let state = v1::SessionState {
        session: facts.word(&session.name),
        status: status.into(),
        iteration: session.iteration,
        iteration_max: around.iteration_max,
        started_time_us: session.started_us,
        ended_time_us: end.map(|end| end.time_us).filter(|us| *us > 0),
        result: end.map_or(0, |end| facts.word(&end.result)),
        provider: facts.word(&session.provider),
        phase: facts.word(around.phase),
        exit_code: end.and_then(|end| end.exit_code),
    };
    facts.push(time, Kind::SessionState(state));
}
