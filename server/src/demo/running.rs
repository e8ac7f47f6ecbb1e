//! A demo in a thread of its own.
//!
//! The thread blocks in files and in SQLite, which may wait up to 5 s for a reader: it has no place on the runtime. It
//! ends when it is told to or when its handle is gone, and then ends the sessions.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use super::{Demo, DemoError, TICK, Truth};

/// A demo that runs by itself. Dropped, it ends soon after; [`RunningDemo::stop`] waits for the end.
#[derive(Debug)]
pub struct RunningDemo {
    stop: SyncSender<()>,
    truth: Arc<Mutex<Truth>>,
    thread: JoinHandle<Result<Truth, DemoError>>,
}

impl RunningDemo {
    pub(super) fn start(demo: Demo) -> Result<Self, DemoError> {
        let (stop, stopped) = sync_channel(1);
        let truth = Arc::new(Mutex::new(demo.truth()));
        let shown = Arc::clone(&truth);
        let thread = thread::Builder::new()
            .name("demo".to_owned())
            .spawn(move || run(demo, &stopped, &shown))
            .map_err(DemoError::Thread)?;
        Ok(Self { stop, truth, thread })
    }

    /// The truth as of the last tick. Files can be a tick ahead of it; after [`RunningDemo::stop`] they agree.
    pub fn truth(&self) -> Truth {
        self.truth.lock().clone()
    }

    /// Ends the sessions and the thread. The final truth, or the error of the last writes. Blocks, most often for less
    /// than a tick, and up to some 10 s while a reader holds the event store.
    pub fn stop(self) -> Result<Truth, DemoError> {
        // A thread that has ended already has dropped its end; what it ended with is in the join.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| DemoError::Lost)?
    }
}

fn run(mut demo: Demo, stopped: &Receiver<()>, shown: &Mutex<Truth>) -> Result<Truth, DemoError> {
    let mut failing = false;
    loop {
        let now = demo.clock.wall();
        match demo.tick(now) {
            Ok(()) => failing = false,
            // Said once for each run of failures: a full disk fails three times a second.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "the demo's story is stuck");
            }
            Err(_) => {}
        }
        *shown.lock() = demo.truth();
        match stopped.recv_timeout(TICK) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    demo.finish()?;
    Ok(demo.truth())
}
