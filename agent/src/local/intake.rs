//! What becomes of a request, in the running agent and in a command that spools itself alike.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use muster::batch::SealedBatch;
use muster::clock::WallTime;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::origin;
use super::protocol::{EVENTS_MAX, Event, Reason, Refusal, Request};
use super::recent::{RecentIds, SPOOL_KEY};
use crate::emit::Statement;
use crate::facts::{Facts, redact};
use crate::project::Machine;
use crate::remote_configuration::Settings;
use crate::sources::ProjectContext;
use crate::spool::{Spool, SpoolError};

/// What turns it off in a collector's configuration.
const SOURCE: &str = "local";
/// An event may be this far ahead of the clock.
const AHEAD_MAX_US: u64 = 24 * 3600 * 1_000_000;

/// Turns requests into facts.
#[derive(Debug)]
pub struct Intake {
    machine: Machine,
    settings: watch::Receiver<Arc<Settings>>,
    names: BTreeMap<PathBuf, String>,
    watched: Mutex<Arc<[ProjectContext]>>,
}

/// What was spooled.
#[derive(Debug)]
pub(super) struct Taken {
    /// Events that are durable.
    pub events: u64,
    /// The batch, unless there was nothing to spool or it is there already.
    pub batch: Option<SealedBatch>,
}

impl Intake {
    /// For this machine; `names` are those of `[agent.projects]`.
    pub fn new(
        machine: Machine,
        settings: watch::Receiver<Arc<Settings>>,
        names: BTreeMap<PathBuf, String>,
    ) -> Self {
        Self { machine, settings, names, watched: Mutex::new(Arc::new([])) }
    }

    /// The projects that the agent watches now.
    pub fn watch(&self, projects: Vec<ProjectContext>) {
        *self.watched.lock() = projects.into();
    }

    /// Checks and redacts.
    pub(super) fn facts(&self, request: &Request, now: WallTime) -> Result<Facts, Refusal> {
        let invalid = |why: String| Err(Refusal::new(Reason::Invalid, why));
        let settings = self.settings.borrow().clone();
        if settings.is_off(SOURCE) {
            let why = "nothing is taken from commands: the collector's configuration turns `local` off";
            return Err(Refusal::new(Reason::Off, why));
        }
        let count = request.events.len();
        if count > EVENTS_MAX {
            return invalid(format!("{count} events are more than the {EVENTS_MAX} of a request"));
        }
        if request.tool.trim().is_empty() {
            return invalid("a request names its tool".to_owned());
        }
        let watched = self.watched.lock().clone();
        let project = origin::context(request, &self.names, &watched, &self.machine);
        let mut facts = settings.facts();
        facts.speak_for(&redact::word(&request.tool), &request.tool_version, &project);
        for (index, event) in request.events.iter().enumerate() {
            if let Err(why) = state(event, now, &mut facts) {
                return invalid(if count == 1 { why } else { format!("event {}: {why}", index + 1) });
            }
        }
        Ok(facts)
    }

    /// Makes facts durable, together with the request's id.
    pub(super) async fn spool(spool: &mut Spool, id: &str, facts: Facts) -> Result<Taken, Refusal> {
        let Ok(id) = u64::from_str_radix(id, 16) else {
            return Err(Refusal::new(Reason::Invalid, "the id is not up to 16 hexadecimal digits"));
        };
        let events = facts.len() as u64;
        let recent = spool.position_of(SPOOL_KEY).map_or_else(RecentIds::default, |p| RecentIds::decode(p));
        if events == 0 || recent.contains(id) {
            return Ok(Taken { events, batch: None });
        }
        if spool.is_full() {
            let why = "the spool is full: events wait for the collector (agent.spool.bytes_max)";
            return Err(Refusal::new(Reason::Full, why));
        }
        let position = recent.with(id).encode();
        match spool.append_step(SPOOL_KEY, position, facts.into_builder()).await {
            Ok(batch) => Ok(Taken { events, batch }),
            Err(SpoolError::Batch(error)) => Err(Refusal::new(Reason::Invalid, error)),
            Err(error) => Err(Refusal::new(Reason::Trouble, format!("the spool takes nothing: {error}"))),
        }
    }
}

fn state(event: &Event, now: WallTime, facts: &mut Facts) -> Result<(), String> {
    let statement = Statement::read(&event.kind, &event.fields).map_err(|error| error.to_string())?;
    let time = statement.time.unwrap_or(WallTime(event.time_us));
    if time.0 > now.0.saturating_add(AHEAD_MAX_US) {
        return Err(format!("{}: time lies more than a day ahead", statement.kind));
    }
    statement.state(time, facts);
    Ok(())
}

/// What came over the socket since the agent started.
#[derive(Debug, Default)]
pub struct LocalCounters {
    accepted: AtomicU64,
    refused: AtomicU64,
    strangers: AtomicU64,
    events: AtomicU64,
}

impl LocalCounters {
    pub(super) fn answered(&self, outcome: &Result<u64, Refusal>) {
        match outcome {
            Ok(events) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                self.events.fetch_add(*events, Ordering::Relaxed);
            }
            Err(_) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
        }
    }

    pub(super) fn stranger(&self) {
        self.strangers.fetch_add(1, Ordering::Relaxed);
    }

    /// Appends the counters as Prometheus text 0.0.4.
    pub fn write_text(&self, page: &mut String) {
        let name = "muster_agent_local_requests_total";
        // Writing to a String cannot fail.
        let _ =
            writeln!(page, "# HELP {name} Requests of local commands, by outcome.\n# TYPE {name} counter");
        let outcomes =
            [("accepted", &self.accepted), ("refused", &self.refused), ("not_the_user", &self.strangers)];
        for (outcome, counter) in outcomes {
            let _ = writeln!(page, "{name}{{outcome=\"{outcome}\"}} {}", counter.load(Ordering::Relaxed));
        }
        let name = "muster_agent_local_events_total";
        let _ = writeln!(page, "# HELP {name} Events of local commands spooled.\n# TYPE {name} counter");
        let _ = writeln!(page, "{name} {}", self.events.load(Ordering::Relaxed));
    }
}
