//! A destination's place over reloads: what is wanted there, and the task that brings it about.
//!
//! ```text
//! begin ──> open ──> running ──┬─ another is wanted ──> stop in order ──> open the newest one wanted
//!             │                ├─ removed ────────────> stop in order ──> its cursors go ──> gone
//!             └──> failed ─────┴─ the collector stops ─> stop in order; the cursors stay
//!                    └─ 5 s ──> open again
//! ```
//!
//! - Two of one name never run at once: the next begins when the one before has ended, which has 5 s for what is out.
//! - What is wanted is one value, and the newest counts. A destination that is taken out and put back before it has stopped
//!   was never out: it goes on from its cursor.
//! - A destination that cannot begin (its disk) is told, shown as down and tried again every 5 s, and so is a cursor that
//!   cannot be removed. Its cursor stays meanwhile, so that nothing is lost; the others do not notice.

use std::sync::Arc;
use std::time::Duration;

use journal::{CursorError, Journal};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Source;
use super::live::Live;
use super::running::{Running, Wanted};

/// Before what failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What is to be at a place.
#[derive(Debug, Clone)]
enum Want {
    /// This one.
    Run(Arc<Wanted>),
    /// None, and no cursor either.
    Remove,
    /// None for now: the collector stops.
    End,
    /// Nobody is here any more.
    Gone,
}

/// A place, as those see it who say what is wanted.
#[derive(Debug)]
pub(super) struct Slot(Arc<watch::Sender<Want>>);

impl Slot {
    /// A place for this one, and who is to keep it. `running` if it has begun already.
    pub(super) fn new(
        wanted: Arc<Wanted>,
        running: Option<Running>,
        source: Source,
        live: Live,
    ) -> (Self, Keeper) {
        let name = wanted.destination.name.clone();
        let want = Arc::new(watch::channel(Want::Run(wanted)).0);
        let asked = want.subscribe();
        let now = running.map_or(Now::Begin, Now::Running);
        (Self(want.clone()), Keeper { name, source, live, want, asked, now })
    }

    /// The destination that is wanted; `None` if it is to go or has gone.
    pub(super) fn wanted(&self) -> Option<Arc<Wanted>> {
        match &*self.0.borrow() {
            Want::Run(wanted) => Some(wanted.clone()),
            Want::Remove | Want::End | Want::Gone => None,
        }
    }

    /// Wants this one. False if nobody is here any more who could begin it.
    pub(super) fn run(&self, wanted: Arc<Wanted>) -> bool {
        self.ask(Want::Run(wanted))
    }

    /// Wants none, and its cursors away.
    pub(super) fn remove(&self) {
        self.ask(Want::Remove);
    }

    /// Wants it to end; what is left is for the next start.
    pub(super) fn end(&self) {
        self.ask(Want::End);
    }

    /// Whether its last destination was removed.
    pub(super) fn is_gone(&self) -> bool {
        matches!(*self.0.borrow(), Want::Gone)
    }

    fn ask(&self, wanted: Want) -> bool {
        self.0.send_if_modified(|want| {
            let is_there = !matches!(want, Want::Gone);
            if is_there {
                *want = wanted;
            }
            is_there
        })
    }
}

/// Brings about what is wanted at a place.
pub(super) struct Keeper {
    name: String,
    source: Source,
    live: Live,
    want: Arc<watch::Sender<Want>>,
    asked: watch::Receiver<Want>,
    now: Now,
}

/// What is at a place.
#[derive(Debug)]
enum Now {
    /// Nothing yet.
    Begin,
    Running(Running),
    /// Nothing, since it could not be brought about.
    Failed,
    /// Nothing any more.
    Gone,
}

impl Keeper {
    /// Runs until the destination is gone or the collector stops.
    pub(super) async fn run(mut self) {
        loop {
            match &self.now {
                Now::Begin => {}
                Now::Running(_) => self.is_asked().await,
                Now::Failed => tokio::select! {
                    () = self.is_asked() => {}
                    () = sleep(RETRY) => {}
                },
                Now::Gone => return,
            }
            if let Now::Running(running) = std::mem::replace(&mut self.now, Now::Begin) {
                running.stop().await;
            }
            // After the stop, which takes its time: only the newest counts.
            let want = self.asked.borrow_and_update().clone();
            self.now = match want {
                Want::Run(wanted) => self.begin(wanted).await,
                Want::Remove => self.remove().await,
                Want::End | Want::Gone => Now::Gone,
            };
        }
    }

    /// Waits for something else to be wanted. The sender is our own, so that there always is one.
    async fn is_asked(&self) {
        let _ = self.asked.clone().changed().await;
    }

    async fn begin(&self, wanted: Arc<Wanted>) -> Now {
        let figures = wanted.observed.figures.clone();
        self.live.put(wanted.observed.clone());
        let source = self.source.clone();
        let begun = tokio::task::spawn_blocking(move || Running::begin(&wanted, &source)).await;
        let problem = match begun {
            Ok(Ok(running)) => return Now::Running(running),
            Ok(Err(problem)) => problem.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        tracing::error!(destination = %self.name, problem, "destination cannot begin; it is tried again every 5 s");
        figures.failed(self.source.clock.wall(), &problem);
        Now::Failed
    }

    async fn remove(&self) -> Now {
        self.live.remove(&self.name);
        let (journal, name) = (self.source.journal.clone(), self.name.clone());
        let removed = tokio::task::spawn_blocking(move || remove_cursors(&journal, &name)).await;
        let problem = match removed {
            Ok(Ok(())) => {
                tracing::info!(destination = %self.name, "destination was taken out; its queue is let go");
                let is_still_unwanted = self.want.send_if_modified(|want| {
                    let is_unwanted = matches!(want, Want::Remove);
                    if is_unwanted {
                        *want = Want::Gone;
                    }
                    is_unwanted
                });
                return if is_still_unwanted { Now::Gone } else { Now::Begin };
            }
            Ok(Err(error)) => error.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        tracing::error!(destination = %self.name, problem, "cannot let go of a destination's queue; it is tried again every 5 s");
        Now::Failed
    }
}

fn remove_cursors(journal: &Journal, name: &str) -> Result<(), CursorError> {
    for prefix in [super::CURSOR_PREFIX, super::STATE_CURSOR_PREFIX] {
        journal.remove_cursor(&format!("{prefix}{name}"))?;
    }
    Ok(())
}
