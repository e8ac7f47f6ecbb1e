//! One destination at work: its reader (a thread), its pipeline and its second tries of dead letters (tasks).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;
use std::time::Duration;

use journal::{Cursor, Journal, Position};
use muster::clock::{Clock, Monotonic};
use otlp::Signal;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::client::{Client, ClientError};
use super::commit::{self, Committer};
use super::dead_letter::{self, DeadLetters};
use super::figures::{DestinationFigures, Observed};
use super::forwarder::Forwarder;
use super::lane::{Lane, Orders};
use super::pipeline::{self, Pipeline};
use super::prepare::Preparer;
use super::reader::Reader;
use super::{CURSOR_PREFIX, ForwardProblem, STATE_CURSOR_PREFIX, Source, folder_of};
use crate::config::destination::Destination;

/// Units between a reader and its pipeline.
const UNITS_MAX: usize = 4;

/// A destination that can be used: what it needs besides the disk was read.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) destination: Arc<Destination>,
    pub(super) client: Arc<Client>,
    /// Where it begins if it is new.
    pub(super) begins_at: Position,
    /// Where its counters will be.
    pub(super) observed: Observed,
}

/// A destination at work. Dropped, it ends at once, and what is out is repeated.
#[derive(Debug)]
pub(super) struct Running {
    stop: watch::Sender<bool>,
    orders: watch::Sender<Orders>,
    reader: Option<JoinHandle<()>>,
    tasks: JoinSet<()>,
}

impl Wanted {
    /// Reads the destination's files. If it is new, it begins at the journal's end as it is now.
    pub(super) fn new(destination: &Destination, source: &Source) -> Result<Self, ClientError> {
        let forwarder = Forwarder::of(source.journal.id());
        let client = Arc::new(Client::new(destination, Some(&forwarder), source.clock.clone())?);
        let begins_at = source.journal.durable();
        let observed = Observed {
            name: destination.name.clone(),
            profile: destination.profile.name,
            transport: destination.transport.name(),
            figures: Arc::new(DestinationFigures::default()),
            journal: source.journal.clone(),
            clock: source.clock.clone(),
        };
        observed.figures.set_committed(begins_at);
        Ok(Self { destination: Arc::new(destination.clone()), client, begins_at, observed })
    }

    /// In the place of another, which may not have begun yet: what was promised to that one is not passed over.
    pub(super) fn in_place_of(self, before: &Self) -> Self {
        self.observed.figures.set_committed(before.observed.figures.committed());
        Self { begins_at: before.begins_at, ..self }
    }

    /// Whether nothing would be another in the other's place: neither settings nor what the files say that they name.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.destination == other.destination && self.client.is_like(&other.client)
    }
}

impl Running {
    /// Begins. Blocks for as long as its small files take; must be called in a tokio runtime.
    pub(super) fn begin(wanted: &Wanted, source: &Source) -> Result<Self, ForwardProblem> {
        let destination = &wanted.destination;
        let folder = folder_of(&source.data_dir, &destination.name);
        let cursor = open_cursor(destination, &source.journal, &folder, wanted.begins_at)?;
        let state_cursor = open_state_cursor(destination, &source.journal, &folder, &cursor)?;
        wanted.observed.figures.set_committed(cursor.position());
        let (stop, stopping) = watch::channel(false);
        let (orders, ordered) = watch::channel(Orders::default());
        let letters = Arc::new(DeadLetters::of(&folder));
        let lane = Arc::new(lane(wanted, source, letters.clone(), ordered.clone()));
        let committer = Arc::new(Committer {
            cursor,
            state_cursor,
            folder,
            state_pending: AtomicBool::new(false),
            fingerprint: fingerprint(destination),
        });
        let (units, received) = mpsc::channel(UNITS_MAX);
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
            stop: stopping,
        };
        // The thread waits with timers of its own: it never polls.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let name = format!("muster-fwd-{}", destination.name);
        let reader = std::thread::Builder::new().name(name).spawn(move || reader.run(&runtime))?;
        let pipeline =
            Pipeline::new(received, lane.clone(), committer, ordered, destination.requests_in_flight_max);
        let mut tasks = JoinSet::new();
        tasks.spawn(pipeline.run());
        tasks.spawn(pipeline::retry_dead_letters(lane, letters));
        Ok(Self { stop, orders, reader: Some(reader), tasks })
    }

    /// Ends in order: requests that are out have 5 s, what has ended is saved, the rest is repeated by whoever goes on.
    pub(super) async fn stop(mut self) {
        self.tell_to_stop();
        let reader = self.reader.take();
        let joined = tokio::task::spawn_blocking(move || reader.is_none_or(|reader| reader.join().is_ok()));
        while self.tasks.join_next().await.is_some() {}
        if !matches!(joined.await, Ok(true)) {
            tracing::error!("a destination's reader panicked");
        }
    }

    fn tell_to_stop(&self) {
        // The receivers are the thread and the tasks; those that have gone need no word.
        self.stop.send_replace(true);
        self.orders.send_modify(|orders| orders.stop = true);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The tasks end with their set; the thread has to be told.
        self.tell_to_stop();
    }
}

fn lane(
    wanted: &Wanted,
    source: &Source,
    letters: Arc<DeadLetters>,
    orders: watch::Receiver<Orders>,
) -> Lane {
    let destination = &wanted.destination;
    let seed = seed(&source.journal, &destination.name, &*source.clock);
    Lane {
        name: destination.name.clone(),
        client: wanted.client.clone(),
        encoding: destination.encoding(),
        letters,
        figures: wanted.observed.figures.clone(),
        clock: source.clock.clone(),
        random: Mutex::new(fastrand::Rng::with_seed(seed)),
        not_before: Mutex::new(Monotonic::default()),
        deliveries: AtomicU64::new(0),
        refused_at: Mutex::default(),
        is_unburied: AtomicBool::new(false),
        orders,
    }
}

/// Stands for all that the requests of a part of the journal depend on besides the journal: where they go and with which
/// credential is not among it, so that a destination that moves goes on in the middle of a unit.
fn fingerprint(destination: &Destination) -> u32 {
    let of_requests = Destination {
        base_url: String::new(),
        credential: None,
        headers: Vec::new(),
        ca_file: None,
        client_certificate: None,
        timeout: Duration::ZERO,
        queue_bytes_max: 0,
        requests_in_flight_max: 0,
        ..destination.clone()
    };
    crc32c::crc32c(format!("{} {of_requests:?}", env!("CARGO_PKG_VERSION")).as_bytes())
}

/// The destination's cursor; at `begins_at` if the destination is new.
fn open_cursor(
    destination: &Destination,
    journal: &Journal,
    folder: &Path,
    begins_at: Position,
) -> Result<Cursor, ForwardProblem> {
    let name = format!("{CURSOR_PREFIX}{}", destination.name);
    let is_new = !folder.is_dir() || !journal.cursor_names().contains(&name);
    if !is_new {
        return Ok(journal.cursor(&name)?);
    }
    // Before the cursor: one whose folder cannot be made must not hold the journal.
    dead_letter::make_folder(folder)?;
    // What an earlier one has left must not be there when the cursor is.
    commit::forget(folder);
    let cursor = journal.cursor_from(&name, begins_at)?;
    // There may be one without its folder.
    cursor.advance(begins_at)?;
    tracing::info!(destination = %destination.name, "new destination; it gets what comes from now on");
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
    let state_cursor = journal.cursor_from(&name, cursor.position())?;
    if commit::state_at(folder).is_none() {
        state_cursor.advance(cursor.position())?;
    }
    Ok(Some(state_cursor))
}

/// Differs between destinations, collectors and starts, so that their waits do.
fn seed(journal: &Journal, name: &str, clock: &dyn Clock) -> u64 {
    let mut bytes = journal.id().to_vec();
    bytes.extend_from_slice(name.as_bytes());
    clock.wall().0 ^ u64::from(crc32c::crc32c(&bytes)) << 32
}
