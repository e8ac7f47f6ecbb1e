//! Folding the journal into series and into the fleet, in a thread of its own.
//!
//! One reader takes every durable batch in order, decodes it and gives it to the [`metrics::Aggregate`] and the
//! [`Fleet`]. Metrics over OTLP, whether they came to the collector itself or in an agent's batches, it gives to the
//! [`ForeignSeries`]. Every [`Settings::snapshot_interval`] or [`SNAPSHOT_BYTES`] it saves all three together with the
//! journal's position ([`snapshot`]), and only then lets retention pass: a restart replays only the tail, and counters
//! go on where they were. A replay makes no agent heard: gauges of before a restart come back when their agents do.
//!
//! | failure | what happens |
//! |---|---|
//! | a record is no batch, or handling it panics | counted, said, passed over |
//! | an OTLP payload cannot be decoded | counted, said, passed over; what stands beside it in the batch counts |
//! | positions are missing | counted, said, passed over |
//! | the journal cannot be read | said, tried again every second from the same place |
//! | the snapshot is damaged, or ahead of the journal | set aside; the journal is replayed from its start |
//! | the snapshot cannot be written | counted, said, tried again at the next interval |

mod reader;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use journal::stream::StreamLog;
use journal::{Cursor, Position, Subscription};
use metrics::aggregate::TeamSeriesMax;
use metrics::{Aggregate, AggregateConfig};
use muster::clock::Clock;
use muster::ids::{AgentId, Team};
use otlp::series::{ForeignConfig, ForeignSeries};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};

pub use snapshot::{SNAPSHOT_NAME, SnapshotFileError};

use crate::figures::Figures;
use crate::fleet::Fleet;

/// Journal bytes after which a snapshot is due, whatever the time: about a second of replay.
const SNAPSHOT_BYTES: u64 = 256 << 20;

/// What the journal folds into, and how far it got.
#[derive(Debug)]
pub struct View {
    /// All series of the catalogue.
    pub aggregate: RwLock<Aggregate>,
    /// All series of metrics that came over OTLP.
    pub foreign: RwLock<ForeignSeries>,
    /// Agents, sessions and runs.
    pub fleet: Arc<Fleet>,
    /// Agents that were heard since the reader last looked.
    pub heard: Heard,
    position: AtomicU64,
    is_caught_up: AtomicBool,
}

/// Agents that said something, for the liveness of their gauges. Bounded by the agents that have streams.
#[derive(Debug, Default)]
pub struct Heard {
    agents: Mutex<HashSet<(Team, AgentId)>>,
    /// Wakes the reader: the gauges of an agent that is back are on the page at once.
    noted: Notify,
}

/// How the reader works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the snapshot lives.
    pub data_dir: PathBuf,
    /// How often it is written.
    pub snapshot_interval: Duration,
    /// Bound on a team's series of one family.
    pub series_per_family_max: usize,
    /// Bound on a team's series, of events and of OTLP each.
    pub team_series_max: TeamSeriesMax,
    /// Bound on an agent's series, of events and of OTLP each.
    pub agent_series_max: usize,
}

/// The parts that the reader reads with.
pub struct Source {
    /// The batches.
    pub log: Arc<dyn StreamLog>,
    /// Wakes it when there are more.
    pub wake: Subscription,
    /// Holds retention back; moved when a snapshot is durable.
    pub cursor: Cursor,
    /// Counters.
    pub figures: Arc<Figures>,
    /// For times.
    pub clock: Arc<dyn Clock>,
}

/// The reader's thread.
#[derive(Debug)]
pub struct Folding {
    /// What it fills.
    pub view: Arc<View>,
    thread: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Heard {
    /// Notes an agent.
    pub fn note(&self, team: &Team, agent: AgentId) {
        self.agents.lock().insert((team.clone(), agent));
        self.noted.notify_one();
    }

    fn take(&self) -> HashSet<(Team, AgentId)> {
        std::mem::take(&mut *self.agents.lock())
    }

    async fn noted(&self) {
        self.noted.notified().await;
    }
}

impl View {
    /// Whether everything that was durable at the start is in it. Before, its counters are lower than they were.
    pub fn is_caught_up(&self) -> bool {
        self.is_caught_up.load(Ordering::Acquire)
    }

    /// With nothing in it, for tests.
    #[cfg(test)]
    pub(crate) fn detached() -> Arc<Self> {
        Arc::new(Self {
            aggregate: RwLock::new(Aggregate::new(AggregateConfig::collector())),
            foreign: RwLock::new(ForeignSeries::new(ForeignConfig::default())),
            fleet: Arc::default(),
            heard: Heard::default(),
            position: AtomicU64::new(0),
            is_caught_up: AtomicBool::new(true),
        })
    }

    /// The last journal position that is in it.
    pub fn position(&self) -> Position {
        Position(self.position.load(Ordering::Acquire))
    }
}

impl Folding {
    /// Restores the snapshot and begins to read after it. `durable` is the journal's end now.
    pub fn start(
        settings: Settings,
        source: Source,
        fleet: Arc<Fleet>,
        durable: Position,
    ) -> std::io::Result<Self> {
        let (series, position) = restore(&settings, &fleet, durable)?;
        let view = Arc::new(View {
            aggregate: RwLock::new(series.aggregate),
            foreign: RwLock::new(series.foreign),
            fleet,
            heard: Heard::default(),
            position: AtomicU64::new(position.0),
            is_caught_up: AtomicBool::new(position >= durable),
        });
        let (stop, stopped) = watch::channel(false);
        let reader = reader::Reader::new(settings, source, view.clone(), durable, stopped);
        // The thread waits with timers of its own: it never polls, and it outlives the collector's runtime if need be.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = std::thread::Builder::new()
            .name("muster-aggregate".to_owned())
            .spawn(move || reader.run(&runtime))?;
        Ok(Self { view, thread, stop })
    }

    /// Reads to the durable end, or as far as it comes in a second, saves, and ends. Blocks.
    pub fn finish(self) {
        // The thread is the receiver; if it has gone there is nobody to tell.
        let _ = self.stop.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the aggregate's reader panicked");
        }
    }
}

/// What the journal's facts and its OTLP payloads made.
#[derive(Debug)]
struct AllSeries {
    aggregate: Aggregate,
    foreign: ForeignSeries,
}

/// Bounds of both.
#[derive(Debug, Clone)]
struct Bounds {
    aggregate: AggregateConfig,
    foreign: ForeignConfig,
}

impl Bounds {
    fn new(settings: &Settings) -> Self {
        let Settings { series_per_family_max, agent_series_max, .. } = *settings;
        let team_series_max = settings.team_series_max.clone();
        Self {
            aggregate: AggregateConfig {
                series_per_family_max,
                team_series_max: team_series_max.clone(),
                agent_series_max,
                ..AggregateConfig::collector()
            },
            foreign: ForeignConfig {
                series_per_family_max,
                team_series_max,
                agent_series_max,
                ..ForeignConfig::default()
            },
        }
    }
}

impl AllSeries {
    fn new(bounds: Bounds) -> Self {
        Self { aggregate: Aggregate::new(bounds.aggregate), foreign: ForeignSeries::new(bounds.foreign) }
    }
}

/// What was saved, if it can be used; else the beginning of everything.
fn restore(settings: &Settings, fleet: &Fleet, durable: Position) -> std::io::Result<(AllSeries, Position)> {
    let bounds = Bounds::new(settings);
    let problem = match snapshot::load(&settings.data_dir, bounds.clone()) {
        Ok(None) => return Ok((AllSeries::new(bounds), Position::ZERO)),
        Ok(Some(saved)) if saved.position <= durable => {
            fleet.replace_with(saved.fleet);
            return Ok((saved.series, saved.position));
        }
        Ok(Some(saved)) => format!("it is at {}, the journal ends at {durable}", saved.position),
        Err(SnapshotFileError::Io(error)) => return Err(error),
        Err(error) => error.to_string(),
    };
    let aside = snapshot::set_aside(&settings.data_dir)?;
    tracing::warn!(problem, aside = %aside.display(), "snapshot set aside; the journal is replayed from its start");
    Ok((AllSeries::new(bounds), Position::ZERO))
}
