//! The invented developer: saves files, commits, pushes, says what the findings are worth.

use super::store::uuid;
use super::workers::WORKERS;
use super::{DevloopProject, Job, config};
use crate::demo::json::{Json, object};
use crate::demo::truth::CheckCounts;
use crate::demo::{DemoError, Moment, between_ms, stamp};

/// The file that the developer tries things in, and its name after the move.
pub(super) const SCRATCH: [&str; 2] = ["src/scratch.py", "src/discounts.py"];

/// The file that comes, changes, moves and goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scratch {
    Absent,
    Created,
    Modified,
    Moved,
}

impl Scratch {
    fn next(self) -> Self {
        match self {
            Scratch::Absent => Scratch::Created,
            Scratch::Created => Scratch::Modified,
            Scratch::Modified => Scratch::Moved,
            Scratch::Moved => Scratch::Absent,
        }
    }
}

impl DevloopProject {
    /// A file changes, and the bus says so.
    pub(super) fn save_a_file(&mut self, moment: Moment) -> Result<(), DemoError> {
        if self.rng.u32(..100) < 25 {
            return self.use_scratch(moment);
        }
        let (path, text) = config::SOURCES[self.rng.usize(..config::SOURCES.len())];
        self.revision += 1;
        let comment = if path.ends_with(".ts") { "//" } else { "#" };
        self.sources.write(path, &format!("{text}{comment} revision {}\n", self.revision))?;
        self.file_event(moment, "file:modified", path, None)
    }

    pub(super) fn use_scratch(&mut self, moment: Moment) -> Result<(), DemoError> {
        let before = self.scratch;
        // First of all, so that a file that somebody has taken away does not hold the story up for ever.
        self.scratch = before.next();
        let (kind, path, destination) = match before {
            Scratch::Absent => {
                self.sources.write(SCRATCH[0], "VALUE = 1\n")?;
                ("file:created", SCRATCH[0], None)
            }
            Scratch::Created => {
                self.sources.write(SCRATCH[0], "VALUE = 2\n")?;
                ("file:modified", SCRATCH[0], None)
            }
            Scratch::Modified => {
                self.sources.rename(SCRATCH[0], SCRATCH[1])?;
                ("file:moved", SCRATCH[0], Some(SCRATCH[1]))
            }
            Scratch::Moved => {
                self.sources.remove(SCRATCH[1])?;
                ("file:deleted", SCRATCH[1], None)
            }
        };
        self.file_event(moment, kind, path, destination)
    }

    pub(super) fn file_event(
        &mut self,
        moment: Moment,
        kind: &str,
        path: &str,
        destination: Option<&str>,
    ) -> Result<(), DemoError> {
        let path = format!("{}/{path}", self.root);
        let payload = match destination {
            None => object! { "path": path.as_str(), "absolute_path": path.as_str() },
            Some(to) => object! {
                "path": path.as_str(), "absolute_path": path.as_str(),
                "dest_path": format!("{}/{to}", self.root),
            },
        };
        let timestamp = moment.now.as_secs_f64();
        let sequence = self.publish(moment.now, kind, "filesystem", &payload)?;
        self.truth.file_events += 1;
        self.queue_jobs(kind, &path, sequence, timestamp);
        Ok(())
    }

    pub(super) fn queue_jobs(&mut self, kind: &str, path: &str, sequence: i64, event_timestamp: f64) {
        let triggered = WORKERS.into_iter().filter(|worker| worker.is_triggered_by(kind));
        self.jobs.extend(triggered.map(|worker| Job {
            worker,
            trigger: kind.to_owned(),
            path: path.to_owned(),
            sequence,
            event_timestamp,
        }));
    }

    /// The git hooks: commits now and then, and after some of them a push.
    pub(super) fn run_hooks(&mut self, moment: Moment) -> Result<(), DemoError> {
        if moment.story >= self.due.hook {
            let passed = self.rng.u32(..100) < 80;
            let line = object! {
                "event_type": "pre_commit_check", "timestamp": stamp::seconds_z(moment.now),
                "success": passed, "checks_run": 1,
            };
            self.due.hook = moment.story + between_ms(&mut self.rng, 20_000, 45_000);
            self.log(&line)?;
            count_check(&mut self.truth.commits, passed);
            if passed && self.rng.u32(..100) < 60 {
                self.due.push = Some(moment.story + between_ms(&mut self.rng, 3000, 8000));
            }
        }
        if self.due.push.take_if(|due| moment.story >= *due).is_none() {
            return Ok(());
        }
        let passed = self.rng.u32(..100) < 70;
        let at = stamp::seconds_z(moment.now);
        let line = if passed {
            object! {
                "event_type": "pre_push_check", "timestamp": at, "success": true, "prevented_bad_push": false,
            }
        } else {
            let reason = ["failure", "timed_out", "cancelled"][self.rng.usize(..3)];
            object! {
                "event_type": "pre_push_check", "timestamp": at, "success": false,
                "prevented_bad_push": true, "reason": reason,
            }
        };
        self.log(&line)?;
        count_check(&mut self.truth.pushes, passed);
        Ok(())
    }

    pub(super) fn give_feedback(&mut self, moment: Moment) -> Result<(), DemoError> {
        let worker = WORKERS[self.rng.usize(..WORKERS.len())].name();
        let kind = ["thumbs_up", "thumbs_up", "thumbs_down", "dismiss"][self.rng.usize(..4)];
        let value = if kind == "dismiss" { Json::Null } else { Json::Bool(true) };
        let line = object! {
            "id": uuid(&mut self.rng), "agent_name": worker, "event_type": "file:modified",
            "feedback_type": kind, "value": value, "comment": Json::Null, "context": Json::Null,
            "timestamp": moment.now.as_secs_f64(),
        };
        self.tree.append_line("feedback/feedback.jsonl", &line.line())?;
        *self.truth.feedback.entry(kind.to_owned()).or_default() += 1;
        let seen = self.performance.entry(worker).or_default();
        seen.feedback += 1;
        seen.thumbs_up += u64::from(kind == "thumbs_up");
        seen.thumbs_down += u64::from(kind == "thumbs_down");
        Ok(())
    }
}

fn count_check(counts: &mut CheckCounts, passed: bool) {
    *(if passed { &mut counts.passed } else { &mut counts.prevented }) += 1;
}
