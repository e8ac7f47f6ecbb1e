//! A destination's asynchronous half: takes units from its reader, keeps requests out, commits what has ended.
//!
//! It waits for nothing but its own destination. When it cannot commit, it sends nothing new, and tries again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use otlp::Signal;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::commit::{CommitError, Committer};
use super::dead_letter::DeadLetters;
use super::figures::reason;
use super::lane::{Ending, Job, Lane, Orders, told_to_stop};
use super::window::{Due, TicketId, Unit, Window};

/// What requests that are out have to end in when the destination stops.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// Before a commit that failed is tried again.
const COMMIT_RETRY: Duration = Duration::from_secs(1);
/// How often the folder of what an operator wants tried again is looked at.
const RETRY_LOOK: Duration = Duration::from_secs(2);

pub(super) struct Pipeline {
    units: mpsc::Receiver<Unit>,
    lane: Arc<Lane>,
    committer: Arc<Committer>,
    orders: watch::Receiver<Orders>,
    window: Window,
    sending: JoinSet<Ending>,
    /// What each task sends.
    out: HashMap<Id, (TicketId, Signal, u64)>,
    committing: Option<Committing>,
}

struct Committing {
    due: Due,
    task: JoinHandle<Result<(), CommitError>>,
}

impl Pipeline {
    pub(super) fn new(
        units: mpsc::Receiver<Unit>,
        lane: Arc<Lane>,
        committer: Arc<Committer>,
        orders: watch::Receiver<Orders>,
        requests_max: usize,
    ) -> Self {
        let window = Window::new(requests_max);
        let (sending, out) = (JoinSet::new(), HashMap::new());
        Self { units, lane, committer, orders, window, sending, out, committing: None }
    }

    /// Runs until the destination stops.
    pub(super) async fn run(mut self) {
        let mut has_units = true;
        loop {
            self.begin();
            let mut orders = self.orders.clone();
            tokio::select! {
                biased;
                () = told_to_stop(&mut orders) => break,
                committed = finished(&mut self.committing) => self.committed(committed).await,
                Some(ended) = self.sending.join_next_with_id(), if !self.sending.is_empty() => self.ended(ended),
                unit = self.units.recv(), if has_units && self.window.is_drained() => match unit {
                    Some(unit) => self.window.push(unit),
                    // The reader has gone; what it gave is still brought to its end.
                    None => has_units = false,
                },
            }
        }
        self.finish().await;
    }

    /// Sends what may be sent, commits what can be.
    fn begin(&mut self) {
        self.lane.figures.set_oldest(self.window.oldest());
        while let Some(ticket) = self.window.next() {
            let (lane, what) =
                (self.lane.clone(), (ticket.id, ticket.outgoing.signal, ticket.outgoing.items));
            let job = Job { range: ticket.range, is_dead_letter: false };
            let task = self.sending.spawn(async move { lane.deliver(job, ticket.outgoing).await });
            self.out.insert(task.id(), what);
        }
        if self.committing.is_none()
            && let Some(due) = self.window.due()
        {
            self.commit(due);
        }
    }

    fn commit(&mut self, due: Due) {
        let committer = self.committer.clone();
        let wanted = due.clone();
        let task = tokio::task::spawn_blocking(move || committer.commit(&wanted));
        self.committing = Some(Committing { due, task });
    }

    async fn committed(&mut self, result: Result<Result<(), CommitError>, JoinError>) {
        let Some(Committing { due, .. }) = self.committing.take() else { return };
        let problem = match result {
            Ok(Ok(())) => {
                self.window.committed(&due);
                self.lane.figures.set_committed(self.committer.cursor.position());
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(destination = %self.lane.name, problem, "cannot save how far a destination is; trying again");
        self.lane.figures.failed(self.lane.clock.wall(), &problem);
        sleep(COMMIT_RETRY).await;
        self.commit(due);
    }

    fn ended(&mut self, ended: Result<(Id, Ending), JoinError>) {
        let (task, ending) = match ended {
            Ok((task, ending)) => (task, Ok(ending)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some((id, signal, items)) = self.out.remove(&task) else { return };
        match ending {
            Ok(Ending::Settled) => self.window.ended(id),
            // It stays out, and the cursor before it: the next start sends it again.
            Ok(Ending::Abandoned) => {}
            Err(error) if error.is_panic() => {
                tracing::error!(destination = %self.lane.name, "sending a request panicked; it is dropped");
                self.lane.figures.drop_items(signal, reason::PANICKED, items);
                self.window.ended(id);
            }
            Err(_) => {}
        }
    }

    /// What is out may end, and what has ended is saved. The rest is repeated by the next start.
    async fn finish(&mut self) {
        let all_ended = async {
            while let Some(ended) = self.sending.join_next_with_id().await {
                self.ended(ended);
            }
        };
        if timeout(STOP_WAIT, all_ended).await.is_err() {
            tracing::info!(destination = %self.lane.name, "requests without an answer are left; they will be repeated");
        }
        self.sending.shutdown().await;
        if self.committing.is_some() {
            let result = finished(&mut self.committing).await;
            if let (Ok(Ok(())), Some(Committing { due, .. })) = (result, self.committing.take()) {
                self.window.committed(&due);
            }
        }
        while let Some(due) = self.window.due_at_end() {
            self.commit(due.clone());
            match finished(&mut self.committing).await {
                Ok(Ok(())) => self.window.committed(&due),
                Ok(Err(error)) => {
                    return tracing::warn!(%error, "cannot save how far a destination is; it will be repeated");
                }
                Err(error) => return tracing::error!(%error, "saving how far a destination is panicked"),
            }
            self.lane.figures.set_committed(self.committer.cursor.position());
        }
    }
}

/// Comes true when the commit that runs has ended; never if none does.
async fn finished(committing: &mut Option<Committing>) -> Result<Result<(), CommitError>, JoinError> {
    match committing {
        Some(committing) => (&mut committing.task).await,
        None => std::future::pending().await,
    }
}

/// Comes true when what is out has had its time to end.
async fn out_of_time(mut orders: watch::Receiver<Orders>) {
    told_to_stop(&mut orders).await;
    sleep(STOP_WAIT).await;
}

/// Sends what an operator moved into the retry folder, one after the other, beside the queue.
pub(super) async fn retry_dead_letters(lane: Arc<Lane>, letters: Arc<DeadLetters>) {
    let mut orders = lane.orders.clone();
    // The one that was sent and could not be deleted: not to be sent again for that.
    let mut sent = None;
    loop {
        tokio::select! {
            () = told_to_stop(&mut orders) => return,
            () = sleep(RETRY_LOOK) => {}
        }
        loop {
            let looked = letters.clone();
            let next = tokio::task::spawn_blocking(move || looked.next_retry()).await;
            let (path, head, request) = match next {
                Ok(Ok(Some(found))) => found,
                Ok(Ok(None)) => break,
                Ok(Err(error)) => {
                    tracing::warn!(destination = %lane.name, %error, "cannot read the retry folder");
                    break;
                }
                Err(_) => break,
            };
            if sent.as_ref() != Some(&path) {
                lane.is_unburied.store(false, Ordering::Relaxed);
                let ending = tokio::select! {
                    ending = lane.redeliver(&head, request) => ending,
                    // It stays where it is, and is sent again.
                    () = out_of_time(lane.orders.clone()) => Ending::Abandoned,
                };
                if ending == Ending::Abandoned {
                    return;
                }
                if lane.is_unburied.load(Ordering::Relaxed) {
                    break;
                }
            }
            if let Err(error) = DeadLetters::retried(&path) {
                tracing::warn!(destination = %lane.name, %error, "a dead letter that was sent cannot be deleted");
                sent = Some(path);
                break;
            }
        }
    }
}
