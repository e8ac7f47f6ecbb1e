//! Forwarding: everything in the journal, to any number of destinations.
//!
//! ```text
//!            ┌ reader (thread) ─ units ─> pipeline (task) ─ requests ─> lane ─ client ══> destination A
//! journal ───┤            after its cursor    └ in order: commit ─> cursor, state
//!            └ reader ─ ...                                                         ══> destination B
//! ```
//!
//! Each destination has a reader, a pipeline, a client, a folder and a cursor of its own, and shares the journal with the
//! others and nothing else: one that is dead, slow or lying ages its own cursor.
//!
//! - At least once. A request is sent until the destination has answered for good, and only then does the cursor pass what
//!   it was made of. A restart repeats at most the requests that were out ([`window`]), under the same ids.
//! - Nothing is dropped in silence: what a destination will never take is kept as a dead letter, and each drop is counted by
//!   reason ([`figures`]).
//! - A destination that is new begins at the journal's end. One that is not in the configuration any more loses its cursor
//!   at the next start, since it would keep the journal from being shortened for ever.
//! - A destination whose credential, certificate or address cannot be used at start stops the start: it is told at once.
//!
//! | bound | when it is reached |
//! |---|---|
//! | queue, in bytes of the journal | the oldest go, counted as `queue_full` |
//! | requests out | nothing is sent until one of them is committed |
//! | bytes of requests that wait or are out, 8 MiB | the reader waits |
//! | dead letters, 64 MiB | the oldest go, counted |

pub(crate) mod answer;
pub(crate) mod client;
mod commit;
mod cut;
pub mod dead_letter;
pub(crate) mod direct;
pub(crate) mod encode;
pub mod figures;
mod filter;
mod forwarder;
mod kept;
mod lane;
mod own_metrics;
mod pipeline;
mod prepare;
pub mod probe;
mod reader;
pub(crate) mod retry;
#[cfg(test)]
mod tests;
mod window;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;

use journal::stream::StreamLog;
use journal::{Cursor, CursorError, Journal};
use muster::clock::{Clock, Monotonic};
use otlp::Signal;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::config::destination::Destination;
use client::Client;
pub use client::ClientError;
pub(crate) use client::trusting;
use commit::Committer;
use dead_letter::{DeadLetterError, DeadLetters};
use figures::{DestinationFigures, Observed};
pub use forwarder::{FORWARDED_BY, Forwarder};
use lane::{Lane, Orders};
use pipeline::Pipeline;
use prepare::Preparer;
use reader::Reader;

/// Names of cursors. A destination's name has no `_`, so that one is never the other's.
const CURSOR_PREFIX: &str = "destination-";
const STATE_CURSOR_PREFIX: &str = "destination_state-";
/// Units between a reader and its pipeline.
const UNITS_MAX: usize = 4;

/// What destinations share.
#[derive(Clone)]
pub struct Source {
    /// For cursors and sizes.
    pub journal: Arc<Journal>,
    /// The records.
    pub log: Arc<dyn StreamLog>,
    /// For times.
    pub clock: Arc<dyn Clock>,
    /// The collector's own folder.
    pub data_dir: PathBuf,
}

/// All destinations at work. Dropping it leaves them at work; call [`Forwarding::stop`].
#[derive(Debug)]
pub struct Forwarding {
    /// What is counted of each, in the order of the configuration.
    pub observed: Vec<Observed>,
    orders: Vec<watch::Sender<Orders>>,
    stop: watch::Sender<bool>,
    readers: Vec<JoinHandle<()>>,
    tasks: JoinSet<()>,
}

/// Why forwarding does not start.
#[derive(Debug, thiserror::Error)]
#[error("destination {name:?}: {problem}")]
pub struct ForwardError {
    /// Which destination.
    pub name: String,
    /// Why.
    #[source]
    pub problem: ForwardProblem,
}

/// Why a destination cannot be forwarded to.
#[derive(Debug, thiserror::Error)]
pub enum ForwardProblem {
    /// Its credential, certificates or address.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its cursor.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// Its folder.
    #[error(transparent)]
    Folder(#[from] DeadLetterError),
    /// Its thread.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
}

/// Where a destination's files are.
pub fn folder_of(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join("destinations").join(name)
}

impl Forwarding {
    /// Starts all destinations. Blocks for as long as their small files take; must be called in a tokio runtime.
    pub fn start(destinations: &[Destination], source: &Source) -> Result<Self, ForwardError> {
        remove_old_cursors(destinations, &source.journal)?;
        let (stop, stopping) = watch::channel(false);
        let mut forwarding = Self {
            observed: Vec::new(),
            orders: Vec::new(),
            stop,
            readers: Vec::new(),
            tasks: JoinSet::new(),
        };
        for destination in destinations {
            forwarding
                .start_one(destination, source, stopping.clone())
                .map_err(|problem| ForwardError { name: destination.name.clone(), problem })?;
        }
        Ok(forwarding)
    }

    fn start_one(
        &mut self,
        destination: &Destination,
        source: &Source,
        stop: watch::Receiver<bool>,
    ) -> Result<(), ForwardProblem> {
        let client =
            Client::new(destination, Some(&Forwarder::of(source.journal.id())), source.clock.clone())?;
        let folder = folder_of(&source.data_dir, &destination.name);
        let cursor = open_cursor(destination, &source.journal, &folder)?;
        let state_cursor = open_state_cursor(destination, &source.journal, &folder, &cursor)?;
        let figures = Arc::new(DestinationFigures::default());
        figures.set_committed(cursor.position());
        let letters = Arc::new(DeadLetters::of(&folder));
        let (orders, ordered) = watch::channel(Orders::default());
        let lane = Arc::new(Lane {
            name: destination.name.clone(),
            client,
            encoding: destination.encoding(),
            letters: letters.clone(),
            figures: figures.clone(),
            clock: source.clock.clone(),
            random: Mutex::new(fastrand::Rng::with_seed(seed(
                &source.journal,
                &destination.name,
                &*source.clock,
            ))),
            not_before: Mutex::new(Monotonic::default()),
            deliveries: AtomicU64::new(0),
            refused_at: Mutex::default(),
            is_unburied: AtomicBool::new(false),
            orders: ordered.clone(),
        });
        let fingerprint = crc32c::crc32c(format!("{} {destination:?}", env!("CARGO_PKG_VERSION")).as_bytes());
        let committer = Arc::new(Committer {
            cursor,
            state_cursor,
            folder,
            state_pending: AtomicBool::new(false),
            fingerprint,
        });
        let (units, received) = mpsc::channel(UNITS_MAX);
        let destination = Arc::new(destination.clone());
        let reader = Reader {
            destination: destination.clone(),
            journal: source.journal.clone(),
            log: source.log.clone(),
            wake: source.journal.subscribe(),
            lane: lane.clone(),
            committer: committer.clone(),
            preparer: Preparer::new(destination.clone(), lane.clone(), source.journal.id()),
            units,
            orders: orders.clone(),
            stop,
        };
        // The thread waits with timers of its own: it never polls.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let name = format!("muster-fwd-{}", destination.name);
        self.readers.push(std::thread::Builder::new().name(name).spawn(move || reader.run(&runtime))?);
        let pipeline =
            Pipeline::new(received, lane.clone(), committer, ordered, destination.requests_in_flight_max);
        self.tasks.spawn(pipeline.run());
        self.tasks.spawn(pipeline::retry_dead_letters(lane, letters));
        self.orders.push(orders);
        self.observed.push(Observed {
            name: destination.name.clone(),
            profile: destination.profile.name,
            transport: destination.transport.name(),
            figures,
            journal: source.journal.clone(),
            clock: source.clock.clone(),
        });
        Ok(())
    }

    /// Ends in order: requests that are out have 5 s, what has ended is saved, the rest is repeated by the next start.
    pub async fn stop(mut self) {
        // The receivers are the tasks and threads; those that have gone need no word.
        let _ = self.stop.send(true);
        for orders in &self.orders {
            orders.send_modify(|orders| orders.stop = true);
        }
        let readers = std::mem::take(&mut self.readers);
        let joined =
            tokio::task::spawn_blocking(move || readers.into_iter().all(|reader| reader.join().is_ok()));
        while self.tasks.join_next().await.is_some() {}
        if !matches!(joined.await, Ok(true)) {
            tracing::error!("a destination's reader panicked");
        }
    }
}

/// The destination's cursor; at the journal's end if the destination is new.
fn open_cursor(
    destination: &Destination,
    journal: &Journal,
    folder: &Path,
) -> Result<Cursor, ForwardProblem> {
    let name = format!("{CURSOR_PREFIX}{}", destination.name);
    let is_new = !folder.is_dir() || !journal.cursor_names().contains(&name);
    let cursor = journal.cursor(&name)?;
    if is_new {
        commit::forget(folder);
        cursor.advance(journal.durable())?;
        // Made last: until it is there, the destination is new.
        dead_letter::make_folder(folder)?;
        tracing::info!(destination = %destination.name, "new destination; it gets what comes from now on");
    }
    Ok(cursor)
}

/// The cursor of what is kept between records, for destinations that keep something.
fn open_state_cursor(
    destination: &Destination,
    journal: &Journal,
    folder: &Path,
    cursor: &Cursor,
) -> Result<Option<Cursor>, ForwardProblem> {
    let name = format!("{STATE_CURSOR_PREFIX}{}", destination.name);
    if !destination.wants(Signal::Metrics) {
        journal.remove_cursor(&name)?;
        commit::forget_state(folder);
        return Ok(None);
    }
    if !journal.cursor_names().contains(&name) {
        // Nothing has held the journal for a state from before.
        commit::forget_state(folder);
    }
    let state_cursor = journal.cursor(&name)?;
    if commit::state_at(folder).is_none() {
        state_cursor.advance(cursor.position())?;
    }
    Ok(Some(state_cursor))
}

/// Takes the cursors of destinations away that are not configured any more.
fn remove_old_cursors(destinations: &[Destination], journal: &Journal) -> Result<(), ForwardError> {
    for cursor in journal.cursor_names() {
        let Some(name) =
            cursor.strip_prefix(CURSOR_PREFIX).or_else(|| cursor.strip_prefix(STATE_CURSOR_PREFIX))
        else {
            continue;
        };
        if destinations.iter().any(|destination| destination.name == name) {
            continue;
        }
        journal
            .remove_cursor(&cursor)
            .map_err(|error| ForwardError { name: name.to_owned(), problem: error.into() })?;
        tracing::info!(destination = name, "destination is not configured any more; its queue is let go");
    }
    Ok(())
}

/// Differs between destinations, collectors and starts, so that their waits do.
fn seed(journal: &Journal, name: &str, clock: &dyn Clock) -> u64 {
    let mut bytes = journal.id().to_vec();
    bytes.extend_from_slice(name.as_bytes());
    clock.wall().0 ^ u64::from(crc32c::crc32c(&bytes)) << 32
}
