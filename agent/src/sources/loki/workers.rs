//! The workers of `state/agents.json`: how many there are, and their runs.
//!
//! Two writers fight over the file: one lists the workers, the other writes `[]` every few seconds. An empty list is
//! therefore believed only when it has stood for a while, or when no session lives; then, as for the real endpoint, the
//! copy in `dashboard-state.json` counts. Runs are told from the entries alone: `[]` ends nobody's run.

use std::time::Duration;

use muster::clock::{Monotonic, WallTime};
use muster::v1;
use muster::v1::event::Kind;
use serde::{Deserialize, Serialize};

use super::event_facts::hash64;
use super::seen::{Seen, tag};
use super::state_files::{Roster, Worker, WorkerCount};
use crate::facts::Facts;

/// How long `[]` must stand to be believed: the two writers take turns every 2 to 11 seconds.
const EMPTY_BELIEVED_AFTER: Duration = Duration::from_secs(15);
/// Most workers whose runs are told from one reading.
const WORKERS_MAX: usize = 400;

/// What is known of the workers; part of the position.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Workers {
    last: WorkerCount,
    started: Seen,
    finished: Seen,
    #[serde(skip)]
    empty_since: Option<Monotonic>,
    #[serde(skip)]
    listed: bool,
}

impl Workers {
    /// The file was read: states what is new of the workers' runs.
    pub(super) fn read(
        &mut self,
        roster: &Roster,
        session: &str,
        now: (WallTime, Monotonic),
        facts: &mut Facts,
    ) {
        if roster.count.registered == 0 {
            self.empty(now.1);
            return;
        }
        self.last = roster.count;
        self.listed = true;
        self.empty_since = None;
        for worker in roster.workers.iter().take(WORKERS_MAX) {
            self.tell(worker, session, now.0, facts);
        }
    }

    /// The file is not there.
    pub(super) fn missing(&mut self) {
        self.last = WorkerCount::default();
        self.listed = false;
        self.empty_since = None;
    }

    /// The numbers now.
    pub(super) fn count(&self, live: bool, copy: WorkerCount, now: Monotonic) -> WorkerCount {
        let believed = match self.empty_since {
            None => self.last.registered == 0,
            Some(since) => !live || now.0.saturating_sub(since.0) >= EMPTY_BELIEVED_AFTER,
        };
        if believed { copy } else { self.last }
    }

    /// When an empty list will be believed.
    pub(super) fn settles_in(&self, now: Monotonic) -> Option<Duration> {
        let since = self.empty_since?;
        let waited = now.0.saturating_sub(since.0);
        (self.last.registered > 0).then(|| EMPTY_BELIEVED_AFTER.checked_sub(waited)).flatten()
    }

    fn empty(&mut self, now: Monotonic) {
        if self.last.registered > 0 {
            self.empty_since.get_or_insert(now);
        }
    }

    fn tell(&mut self, worker: &Worker, session: &str, now: WallTime, facts: &mut Facts) {
        let Some(spawned) = worker.spawned().filter(|time| time.0 <= now.0.saturating_add(60_000_000)) else {
            return;
        };
        // The orchestrator's runs are the iterations.
        if worker.id().is_empty() || worker.role() == "orchestrator" {
            return;
        }
        let key = tag(worker.id());
        let run_id = hash64(&format!("{}@{}", worker.id(), spawned.0));
        if self.started.insert(spawned.0, key) {
            let started = v1::RunStarted {
                worker: facts.word(worker.role()),
                run_id,
                session: facts.word(session),
                iteration: 0,
            };
            facts.push(spawned, Kind::RunStarted(started));
        }
        let (status, ended) = match (worker.status(), worker.completed()) {
            ("completed", Some(ended)) => (v1::RunStatus::Success, ended),
            ("crashed", ended) => (v1::RunStatus::Error, ended.unwrap_or(now)),
            _ => return,
        };
        if self.finished.insert(spawned.0, key) {
            let lasted = ended.0.checked_sub(spawned.0);
            let finished = v1::RunFinished {
                worker: facts.word(worker.role()),
                status: status.into(),
                duration_us: lasted.filter(|_| status == v1::RunStatus::Success),
                run_id,
                session: facts.word(session),
                model: facts.word(worker.model()),
                ..v1::RunFinished::default()
            };
            facts.push(ended, Kind::RunFinished(finished));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Privacy;
    use crate::sources::loki::state_files;

    #[test]
    fn an_empty_list_is_believed_only_after_it_has_stood() {
        let at = |seconds| Monotonic(Duration::from_secs(seconds));
        let full = state_files::roster(br#"[{"status":"active"},{"status":"completed"},7]"#).unwrap();
        let empty = state_files::roster(b"[]").unwrap();
        let copy = WorkerCount { active: 0, registered: 9 };
        let mut facts = Facts::new(Privacy::default());
        let mut workers = Workers::default();
        assert_eq!(workers.count(true, copy, at(0)), copy, "on first sight the copy counts");
        workers.read(&full, "", (WallTime(1), at(1)), &mut facts);
        assert_eq!(workers.count(true, copy, at(1)), WorkerCount { active: 1, registered: 3 });
        workers.read(&empty, "", (WallTime(1), at(10)), &mut facts);
        assert_eq!(workers.count(true, copy, at(24)), WorkerCount { active: 1, registered: 3 });
        assert_eq!(workers.count(false, copy, at(24)), copy, "nobody works when no session lives");
        assert_eq!(workers.count(true, copy, at(25)), copy);
        workers.read(&full, "", (WallTime(1), at(26)), &mut facts);
        assert_eq!(workers.count(true, copy, at(99)), WorkerCount { active: 1, registered: 3 });
    }
}
