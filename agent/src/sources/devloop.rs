//! DevLoop: a pure core (bytes and rows in, facts out) under a thin shell that reads its files.
//!
//! | file in `.devloop/` | facts | read by |
//! |---|---|---|
//! | `events.db` | runs, findings, active findings, file activity, bus events, queue depth, resource limits, pipelines | `events_db`, `cursor`, `rows`, `backlog` |
//! | `events.jsonl` | pushes and commits checked, time saved; runs only where no database has ever been | `events_jsonl` |
//! | `performance/metrics.jsonl` | what DevLoop's process used | `performance` |
//! | `context/*.json` | what each tier holds; active findings only where no database has ever been | `context` |
//! | `daemon.heartbeat`, `devloop.pid` | whether it is alive | `heartbeat` |
//! | `feedback/feedback.jsonl`, `backups/change_log.json` | findings dismissed, findings fixed | `feedback` |
//! | `agents.json`, `.init-manifest.json` | settings of metrics and sampling, workers and triggers, version | `settings` |
//!
//! Facts of history carry their own times. Counted facts are stated once: rows are known by their ids, lines by their
//! place, and the position holds both. Gauges are stated when they change, and once after a restart. A file that cannot
//! be read keeps what was read last and is counted in `SourceHealth`. Nothing is ever written into the project.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::clock::WallTime;
use muster::v1::event::Kind;
use muster::v1::{SessionStatus, SourceEnded};

use super::{Moment, ProjectContext, Source, Step, Tool, ToolEnvironment, WatchedPath};
use crate::facts::Facts;

mod active;
mod backlog;
mod context;
mod cursor;
mod events_db;
mod events_jsonl;
mod feedback;
mod gauges;
mod heartbeat;
mod issues;
mod performance;
mod position;
mod private_copy;
pub(super) mod report;
mod rows;
mod sampling;
mod seen;
mod settings;
mod small_file;
mod stamp;
pub(super) mod tail;
pub(super) mod times;
mod watched_files;

#[cfg(test)]
mod tests;

pub use settings::{MetricsSettings, metrics_settings};

use context::{TIER_BYTES_MAX, TIERS, Tier};
use events_db::{EventsDb, Look};
use gauges::Said;
use heartbeat::Claim;
use performance::{Performance, Samples};
use position::{LineCursor, Position};
use report::{Health, Report};
use sampling::Sampling;
use settings::Settings;
use small_file::{Content, SmallFile};
use tail::{Piece, Tail};
use watched_files::WatchedFiles;

/// How often a live DevLoop is looked after, and one that is not.
const LIVE_INTERVAL: Duration = Duration::from_secs(10);
const QUIET_INTERVAL: Duration = Duration::from_secs(30);
/// Facts after which a step leaves the other files to the next one.
const FACTS_A_FILE: usize = 500;
/// Largest of the files that are read whole.
const SMALL_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A run's line and its row are written within this.
const LINE_TO_ROW: Duration = Duration::from_secs(1);

/// DevLoop as a tool that can be found.
#[derive(Debug)]
pub struct DevLoop;

impl Tool for DevLoop {
    fn name(&self) -> &'static str {
        "devloop"
    }

    /// By agents.json: `~/.devloop` and stray folders that any `devloop` command leaves behind have none.
    fn is_in(&self, root: &Path) -> bool {
        root.join(".devloop/agents.json").is_file()
    }

    fn open(&self, project: ProjectContext, _: &ToolEnvironment, position: Option<&[u8]>) -> Box<dyn Source> {
        let restored = position.map(Position::decode);
        if matches!(restored, Some(None)) {
            tracing::warn!(project = %project.name, "position of the devloop source cannot be read: reading all anew");
        }
        Box::new(DevLoopSource::new(project, restored.flatten().unwrap_or_default()))
    }
}

/// One project's DevLoop.
struct DevLoopSource {
    project: ProjectContext,
    state: PathBuf,
    position: Position,
    health: Health,
    settings: Settings,
    version: String,
    files: Files,
    samples: Samples,
    backlog: BTreeMap<String, u64>,
    tiers: [Option<Tier>; 4],
    claims: [Option<Claim>; 2],
    live_pids: Vec<u32>,
    said: Said,
}

/// What is followed on disk.
struct Files {
    events_db: EventsDb,
    events_jsonl: Tail,
    feedback: Tail,
    performance: Performance,
    agents: SmallFile,
    manifest: SmallFile,
    tiers: [SmallFile; 4],
    pid: SmallFile,
    heartbeat: SmallFile,
    change_log: SmallFile,
    watched: WatchedFiles,
}

/// When the next step is wanted.
#[derive(Default)]
struct Pace {
    more: bool,
    again_in: Option<Duration>,
}

impl Pace {
    fn again(&mut self, after: Option<Duration>) {
        self.again_in = match (self.again_in, after) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

impl Source for DevLoopSource {
    fn step(&mut self, moment: &Moment<'_>, facts: &mut Facts) -> Step {
        let mut health = std::mem::take(&mut self.health);
        self.read_settings(moment, &mut health);
        facts.speak_for("devloop", &self.version, &self.project);
        if moment.rescan {
            health.rescans += 1;
        }
        let sampling = Sampling::of_rate(self.metrics().and_then(|metrics| metrics.sample_rate));
        let mut report = Report { facts, sampling, now: moment.wall, health: &mut health };
        let mut pace = Pace::default();
        self.read_counted(moment, &mut report, &mut pace);
        self.read_context(moment, &mut report);
        self.state_gauges(moment, &mut report, &mut pace);
        if let Some(event) = report.health.take_event() {
            report.facts.push(moment.wall, Kind::SourceHealth(event));
        }
        self.health = health;
        let is_alive = self.said.tool.is_some_and(|tool| tool.status() == SessionStatus::Running);
        pace.again(Some(if is_alive { LIVE_INTERVAL } else { QUIET_INTERVAL }));
        Step { more: pace.more, again_in: pace.again_in }
    }

    fn position(&self) -> Vec<u8> {
        self.position.encode()
    }

    fn live_pids(&self) -> Vec<u32> {
        self.live_pids.clone()
    }

    fn watched_paths(&self) -> Vec<WatchedPath> {
        let folders = ["performance", "feedback", "context", "backups"].map(|name| self.state.join(name));
        let folders = std::iter::once(self.state.clone()).chain(folders);
        folders.filter(|folder| folder.is_dir()).map(WatchedPath).collect()
    }

    fn end(&mut self, moment: &Moment<'_>, facts: &mut Facts) {
        facts.speak_for("devloop", &self.version, &self.project);
        facts.push(moment.wall, Kind::SourceEnded(SourceEnded {}));
    }
}

impl DevLoopSource {
    fn new(project: ProjectContext, position: Position) -> Self {
        let state = project.root.join(".devloop");
        let small = |name: &str| SmallFile::new(state.join(name), SMALL_FILE_BYTES_MAX);
        let files = Files {
            events_db: EventsDb::new(state.join("events.db"), project.root.clone()),
            events_jsonl: Tail::default(),
            feedback: Tail::default(),
            performance: Performance::default(),
            agents: small("agents.json"),
            manifest: small(".init-manifest.json"),
            tiers: TIERS.map(|tier| {
                SmallFile::new(state.join("context").join(format!("{tier}.json")), TIER_BYTES_MAX)
            }),
            pid: small("devloop.pid"),
            heartbeat: small("daemon.heartbeat"),
            change_log: small("backups/change_log.json"),
            watched: WatchedFiles::default(),
        };
        Self {
            project,
            state,
            position,
            health: Health::default(),
            settings: Settings::default(),
            version: String::new(),
            files,
            samples: Samples::default(),
            backlog: BTreeMap::new(),
            tiers: [None; 4],
            claims: [None; 2],
            live_pids: Vec::new(),
            said: Said::default(),
        }
    }

    fn metrics(&self) -> Option<&MetricsSettings> {
        self.settings.metrics.as_ref()
    }

    /// Settings that cannot be read leave the last good ones in force.
    fn read_settings(&mut self, moment: &Moment<'_>, health: &mut Health) {
        if let Some((bytes, _)) = content(self.files.agents.look(moment.wall), health) {
            match settings::parse(&bytes) {
                Some(settings) => self.settings = settings,
                None => health.parse_errors += 1,
            }
        }
        if let Some((bytes, _)) = content(self.files.manifest.look(moment.wall), health) {
            match serde_json::from_slice::<serde_json::Value>(&bytes) {
                Ok(manifest) => self.version = manifest["version"].as_str().unwrap_or("").to_owned(),
                Err(_) => health.parse_errors += 1,
            }
        }
    }

    /// The files whose facts are counted, in turn: a file that had much to say leaves the rest to the next step.
    fn read_counted(&mut self, moment: &Moment<'_>, report: &mut Report<'_>, pace: &mut Pace) {
        let said_before = report.facts.len();
        let readers = [Self::read_database, Self::read_lines, Self::read_feedback, Self::read_performance];
        for reader in readers {
            if report.facts.len() - said_before > FACTS_A_FILE {
                pace.more = true;
                return;
            }
            reader(self, moment, report, pace);
        }
        if let Some((bytes, _)) = content(self.files.change_log.look(moment.wall), report.health) {
            feedback::state_fixes(&bytes, &mut self.position.fixes, report);
        }
    }

    fn read_database(&mut self, moment: &Moment<'_>, report: &mut Report<'_>, pace: &mut Pace) {
        let look = self.files.events_db.look(&mut self.position.database, &self.settings.workers, moment);
        if !matches!(look, Look::Absent) {
            self.position.runs.database = true;
        }
        let reading = match look {
            Look::Absent | Look::Unchanged => return,
            Look::Later(wait) => return pace.again(Some(wait)),
            Look::Unreadable(error) => {
                tracing::warn!(project = %self.project.name, %error, "events.db: the last good values stay");
                report.health.read_errors += 1;
                return;
            }
            Look::Read(reading) => reading,
        };
        if reading.searched {
            report.health.rescans += 1;
        }
        let new = self.position.database.take(reading.rows, moment.wall);
        report.health.records_skipped += new.forgotten;
        let counted_through = self.position.runs.lines_through;
        for row in &new.rows {
            let is_counted = match (counted_through, row.made) {
                (Some(through), Some(made)) => made <= through || made.since(through) <= LINE_TO_ROW,
                _ => false,
            };
            rows::state(row, is_counted, &mut self.position.active, report);
        }
        if let Some(backlog) = reading.backlog {
            self.backlog = backlog.into_iter().collect();
        }
        pace.more |= reading.more;
        pace.again(reading.again_in);
    }

    fn read_lines(&mut self, moment: &Moment<'_>, report: &mut Report<'_>, pace: &mut Pace) {
        let Position { lines, runs, active, .. } = &mut self.position;
        let path = self.state.join("events.jsonl");
        let Some(piece) = next_lines(&mut self.files.events_jsonl, &path, lines, moment, report) else {
            return;
        };
        let how =
            events_jsonl::Reading { count_runs: !runs.database, counted_through: lines.counted_through };
        let read = events_jsonl::state(&piece.bytes, how, active, report);
        runs.lines_through = runs.lines_through.max(read.newest_run);
        conclude_lines(lines, read.newest, &piece, pace);
    }

    fn read_feedback(&mut self, moment: &Moment<'_>, report: &mut Report<'_>, pace: &mut Pace) {
        let cursor = &mut self.position.feedback;
        let path = self.state.join("feedback/feedback.jsonl");
        let Some(piece) = next_lines(&mut self.files.feedback, &path, cursor, moment, report) else {
            return;
        };
        let newest = feedback::state(&piece.bytes, cursor.counted_through, report);
        conclude_lines(cursor, newest, &piece, pace);
    }

    fn read_performance(&mut self, moment: &Moment<'_>, report: &mut Report<'_>, pace: &mut Pace) {
        let path = self.state.join("performance/metrics.jsonl");
        let cursor = &mut self.position.performance;
        let look = match self.files.performance.look(&path, cursor, moment.monotonic, moment.rescan) {
            Ok(look) => look,
            Err(error) => return note_unreadable(&path, &error, report.health),
        };
        pace.again(look.again_in);
        if let Some(piece) = look.piece {
            self.samples.take(&piece, cursor, moment.wall, report.health);
            pace.more |= piece.more;
        }
    }

    fn read_context(&mut self, moment: &Moment<'_>, report: &mut Report<'_>) {
        for (file, tier) in self.files.tiers.iter_mut().zip(&mut self.tiers) {
            match file.look(moment.wall) {
                Content::Absent => *tier = None,
                other => {
                    if let Some((bytes, _)) = content(other, report.health) {
                        match context::parse(&bytes) {
                            Some(parsed) => *tier = Some(parsed),
                            None => report.health.parse_errors += 1,
                        }
                    }
                }
            }
        }
        // Log records are facts of their own, not gauges: a restart must not say them again.
        for ((name, now), said) in TIERS.iter().zip(self.tiers).zip(&mut self.position.tiers_said) {
            let now = now.unwrap_or_default();
            if now != *said {
                context::state(name, now, report);
                *said = now;
            }
        }
        self.read_claims(moment, report);
        let live = heartbeat::live(&self.claims, moment.processes);
        self.live_pids = live.into_iter().map(|claim| claim.pid).collect();
    }

    /// An empty or broken file claims nothing; both are normal while DevLoop starts.
    fn read_claims(&mut self, moment: &Moment<'_>, report: &mut Report<'_>) {
        let [pid, heartbeat] = &mut self.claims;
        match self.files.pid.look(moment.wall) {
            Content::Same => {}
            Content::Present(bytes, written) => *pid = heartbeat::pid_claim(&bytes, written),
            Content::Absent | Content::Unreadable(_) => *pid = None,
        }
        match self.files.heartbeat.look(moment.wall) {
            Content::Same => {}
            Content::Present(bytes, written) => {
                *heartbeat = heartbeat::heartbeat_claim(&bytes, written);
                report.health.parse_errors += u64::from(heartbeat.is_none() && !bytes.is_empty());
            }
            Content::Absent | Content::Unreadable(_) => *heartbeat = None,
        }
    }
}

/// The next whole lines of a file that grows.
fn next_lines(
    tail: &mut Tail,
    path: &Path,
    cursor: &mut LineCursor,
    moment: &Moment<'_>,
    report: &mut Report<'_>,
) -> Option<Piece> {
    let piece = match tail.read(path, &mut cursor.tail, moment.rescan) {
        Ok(piece) => piece?,
        Err(error) => {
            note_unreadable(path, &error, report.health);
            return None;
        }
    };
    report.health.records_skipped += piece.skipped;
    if piece.rewritten && cursor.newest > WallTime(0) {
        cursor.counted_through = Some(cursor.newest);
    }
    Some(piece)
}

/// Lines of a rewritten file come again only until its end.
fn conclude_lines(cursor: &mut LineCursor, newest: WallTime, piece: &Piece, pace: &mut Pace) {
    cursor.newest = cursor.newest.max(newest);
    if !piece.more {
        cursor.counted_through = None;
    }
    pace.more |= piece.more;
}

/// The content of a file that changed.
fn content(content: Content, health: &mut Health) -> Option<(Vec<u8>, WallTime)> {
    match content {
        Content::Same | Content::Absent => None,
        Content::Present(bytes, modified) => Some((bytes, modified)),
        Content::Unreadable(error) => {
            tracing::warn!(%error, "a file of DevLoop cannot be read: the last good values stay");
            health.read_errors += 1;
            None
        }
    }
}

fn note_unreadable(path: &Path, error: &std::io::Error, health: &mut Health) {
    tracing::warn!(path = %path.display(), %error, "file cannot be read: the last good values stay");
    health.read_errors += 1;
}
