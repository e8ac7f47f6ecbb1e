//! The writer's thread: opens the store, and then flushes, merges and forgets until it is stopped.

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use journal::stream::StreamLog;
use journal::{CursorError, Journal, Subscription};
use muster::clock::Clock;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;

use super::figures::WriterFigures;
use super::pace::{ClockTrust, Next, Pace};
use super::{HISTORY_CURSOR, RANGE_BOUNDS, WriteError, Writer};
use crate::store::{Place, Retention, Store, StoreError};

/// How much less the writer's thread matters than the others: ingest must not wait for it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;
/// Before a journal that is closed or broken is looked at again: the collector stops.
const CLOSED_PAUSE: Duration = Duration::from_secs(1);

/// How the history is written.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where.
    pub place: Place,
    /// How long rows may be in the journal alone.
    pub flush_interval: Duration,
    /// Whether small files are merged.
    pub compaction: bool,
    /// How long they are kept.
    pub retention: Retention,
}

/// The history as others see it while it is written. While its place cannot be opened there is no store.
#[derive(Debug)]
pub struct Archive {
    place: String,
    store: OnceLock<Arc<Store>>,
    figures: Arc<WriterFigures>,
    problem: Mutex<Option<String>>,
}

/// The running writer.
#[derive(Debug)]
pub struct Writing {
    /// What it writes.
    pub archive: Arc<Archive>,
    thread: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

/// Why the writer does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its cursor cannot be had.
    #[error("history: {0}")]
    Cursor(#[from] CursorError),
    /// There is no thread.
    #[error("history: cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl Archive {
    /// The store, as soon as its place could be opened.
    pub fn store(&self) -> Option<Arc<Store>> {
        self.store.get().cloned()
    }

    /// Counters.
    pub fn figures(&self) -> &WriterFigures {
        &self.figures
    }

    /// Where it is, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What keeps it from being written, in words; `None`: nothing.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }
}

impl Writing {
    /// Begins to write. Returns at once: a place that cannot be opened is tried again and again. Requests to a bucket
    /// run on the tokio runtime that this is called in, which must have threads of its own.
    pub fn start(
        settings: Settings,
        journal: &Arc<Journal>,
        log: Arc<dyn StreamLog>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let archive = Arc::new(Archive {
            place: settings.place.to_string(),
            store: OnceLock::new(),
            figures: Arc::default(),
            problem: Mutex::default(),
        });
        // Claimed now: retention must not pass what is not read yet.
        journal.cursor(HISTORY_CURSOR)?;
        let (stop, stopped) = watch::channel(false);
        let now = clock.monotonic();
        let thread = Thread {
            pace: Pace::new(settings.flush_interval, RANGE_BOUNDS.journal_bytes_max, now),
            trust: ClockTrust::new(clock.wall(), now),
            wake: journal.subscribe(),
            settings,
            archive: archive.clone(),
            journal: journal.clone(),
            log,
            clock,
            runtime: Handle::current(),
            stop: stopped,
        };
        let thread =
            std::thread::Builder::new().name("muster-history".to_owned()).spawn(move || thread.run())?;
        Ok(Self { archive, thread, stop })
    }

    /// Ends. What is under way is given up, as by a crash. Blocks, for less than a second.
    pub fn finish(self) {
        // The thread is the receiver; if it has gone there is nobody to tell.
        let _ = self.stop.send(true);
        if self.thread.join().is_err() {
            tracing::error!("the history's writer panicked");
        }
    }
}

struct Thread {
    settings: Settings,
    archive: Arc<Archive>,
    journal: Arc<Journal>,
    log: Arc<dyn StreamLog>,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    pace: Pace,
    trust: ClockTrust,
    wake: Subscription,
    stop: watch::Receiver<bool>,
}

impl Thread {
    fn run(mut self) {
        lower_priority();
        let Some(writer) = self.open() else { return };
        while !self.is_stopped() {
            let now = self.clock.monotonic();
            let next = self.pace.next(now, writer.waiting_bytes());
            self.archive.figures.set_waiting(self.pace.waited(now));
            match next {
                Next::Flush => {
                    if !self.flush(&writer) {
                        return;
                    }
                }
                Next::Upkeep => self.upkeep(&writer),
                Next::Wait(longest) => self.pause(longest),
                Next::WaitForMore(longest) => self.wait_for_more(longest),
            }
        }
    }

    /// Opens the place, again and again. `None` if the collector stops, or trying on cannot help.
    fn open(&mut self) -> Option<Writer> {
        while !self.is_stopped() {
            let error = match self.try_open() {
                Ok(None) => return None,
                Ok(Some(writer)) => {
                    self.solved();
                    return Some(writer);
                }
                Err(error) => error,
            };
            if !self.failed(&error) {
                return None;
            }
        }
        None
    }

    /// `None` if the collector stops.
    fn try_open(&mut self) -> Result<Option<Writer>, WriteError> {
        let store = match self.archive.store() {
            Some(store) => store,
            None => {
                let (place, journal) = (self.settings.place.clone(), self.journal.id());
                let Some(store) = self.unless_stopped(Store::open(&place, journal)) else { return Ok(None) };
                let store = Arc::new(store?);
                let (files, cursor) = (store.size().files, store.cursor());
                tracing::info!(place = store.place(), files, %cursor, "history is open");
                // Readable even where the journal does not go with it.
                self.archive.store.get_or_init(|| store).clone()
            }
        };
        let writer = Writer {
            store,
            journal: self.journal.clone(),
            log: self.log.clone(),
            cursor: self.journal.cursor(HISTORY_CURSOR)?,
            clock: self.clock.clone(),
            figures: self.archive.figures.clone(),
            bounds: RANGE_BOUNDS,
            stop: self.stop.clone(),
        };
        writer.check()?;
        Ok(Some(writer))
    }

    /// False if trying on cannot help.
    fn flush(&mut self, writer: &Writer) -> bool {
        match self.unless_stopped(writer.flush()) {
            None | Some(Err(WriteError::Stopped)) => true,
            Some(Ok(flushed)) => {
                self.solved();
                self.pace.flushed(flushed == Some(true));
                true
            }
            // Somebody's earlier request arrived: its range comes next, at once.
            Some(Err(WriteError::Store(StoreError::Planned(_)))) => true,
            Some(Err(error)) => self.failed(&error),
        }
    }

    fn upkeep(&mut self, writer: &Writer) {
        let (now, wall) = (self.clock.monotonic(), self.clock.wall());
        let mut retention = self.settings.retention;
        if !self.trust.is_trusted(wall, now) {
            retention.days_max = None;
        }
        let store = writer.store.clone();
        let retained = self.unless_stopped(store.retain(wall, &retention));
        match retained {
            None => return,
            Some(Ok(retained)) => {
                self.archive.figures.add_retained(&retained);
                if retained.files > 0 {
                    let (place, days, files, bytes) =
                        (store.place(), retained.days, retained.files, retained.bytes);
                    tracing::info!(place, days, files, bytes, "old days of the history are deleted");
                }
            }
            Some(Err(error)) => self.complain(&error),
        }
        // Not in the way of what waits to be written.
        while self.settings.compaction && !self.is_full(writer) {
            match self.unless_stopped(store.compact_once(wall)) {
                None => return,
                Some(Ok(None)) => break,
                Some(Ok(Some(done))) => self.archive.figures.add_compaction(&done),
                Some(Err(error)) => {
                    self.complain(&error);
                    break;
                }
            }
        }
        self.pace.kept_up(self.clock.monotonic());
    }

    fn is_full(&self, writer: &Writer) -> bool {
        writer.waiting_bytes().is_some_and(|bytes| bytes >= RANGE_BOUNDS.journal_bytes_max)
    }

    fn complain(&self, error: &StoreError) {
        self.archive.figures.add_failure(error.reason());
        tracing::warn!(%error, "the history's files stay as they are until the next upkeep");
    }

    /// Counts, says, and waits. False if trying on cannot help.
    fn failed(&mut self, error: &WriteError) -> bool {
        self.archive.figures.add_failure(error.reason());
        let text = error.to_string();
        let is_new = self.archive.problem.lock().replace(text.clone()) != Some(text);
        if error.is_final() {
            tracing::error!(%error, "the history is not written any more; the collector goes on");
            return false;
        }
        let wait = self.pace.failed(self.clock.monotonic());
        if is_new {
            tracing::error!(%error, "the history cannot be written now; it is tried again, and the journal keeps the rows");
        } else {
            tracing::debug!(%error, "the history cannot be written yet");
        }
        self.pause(wait);
        true
    }

    fn solved(&self) {
        if self.archive.problem.lock().take().is_some() {
            tracing::info!(place = self.archive.place, "the history is written again");
        }
    }

    /// `None` if the collector stops first: then it is given up where it is.
    fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => None,
                done = work => Some(done),
            }
        })
    }

    fn wait_for_more(&mut self, longest: Duration) {
        let (runtime, mut stop) = (self.runtime.clone(), self.stop.clone());
        let wake = &mut self.wake;
        runtime.block_on(async {
            tokio::select! {
                more = wake.changed() => {
                    if more.is_none() {
                        sleep(CLOSED_PAUSE).await;
                    }
                }
                () = sleep(longest) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
    }

    fn pause(&self, wait: Duration) {
        // A timer is made where it runs.
        let _ = self.unless_stopped(async { sleep(wait).await });
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }
}

/// Its thread alone, where the system can do that.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the history's thread keeps its priority");
    }
}
