//! Proof for the service manager that the agent's loop goes round and that its spool takes records.
//!
//! It is given by the loop itself, between two steps, after the spool's writer has answered: a source that hangs, a
//! writer that waits for a dead disk, or a poisoned spool gives none, and the manager starts the agent anew.

use std::time::Duration;

use muster::clock::Monotonic;

use super::Agent;
use crate::readiness::Readiness;
use crate::uplink::stopped;

/// When progress is to be proved next.
#[derive(Debug)]
pub(super) struct Pulse {
    readiness: Readiness,
    due: Monotonic,
    status: String,
}

impl Pulse {
    pub(super) fn due(&self) -> Monotonic {
        self.due
    }

    pub(super) fn stopping(&self) {
        self.readiness.stopping("saying goodbye to the collector");
    }
}

impl Agent {
    /// Says that the agent is ready, and has [`Agent::run`] prove its progress from now on. Without a service manager
    /// that listens it does nothing.
    pub async fn announce(&mut self, readiness: Readiness) {
        if readiness.is_heard() {
            let status = self.describe().await;
            readiness.ready(&status);
            self.pulse = Some(Pulse { readiness, due: self.after(Duration::ZERO), status });
        }
    }

    pub(super) async fn prove_progress(&mut self) {
        let now = self.clock.monotonic();
        if self.pulse.as_ref().is_none_or(|pulse| now < pulse.due) {
            return;
        }
        let probe = self.spool.lock().await.probe();
        let mut shutdown = self.shutdown.clone();
        let proved = match probe {
            Err(error) => Err(error),
            Ok(pending) => tokio::select! {
                answer = pending => answer.map(|_| ()),
                () = stopped(&mut shutdown) => return,
            },
        };
        let status = match &proved {
            Ok(()) => self.describe().await,
            Err(error) => format!("the spool takes nothing: {error}"),
        };
        let Some(pulse) = &mut self.pulse else { return };
        pulse.due = Monotonic(now.0 + pulse.readiness.interval());
        if proved.is_ok() {
            pulse.readiness.progress();
        }
        if status != pulse.status {
            pulse.readiness.status(&status);
            pulse.status = status;
        }
    }

    async fn describe(&self) -> String {
        let queued = self.spool.lock().await.events_queued();
        let uplink = self.page.uplink.borrow();
        let uplink = match (&self.config.server, uplink.connected) {
            (None, _) => "no collector",
            (Some(_), true) => "connected",
            (Some(_), false) => "not connected",
        };
        format!("{} sources; {queued} events wait; {uplink}", self.sources_read())
    }
}
