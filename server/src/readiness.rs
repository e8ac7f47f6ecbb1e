//! Proof for the service manager that the collector makes progress.
//!
//! Every third of the manager's patience a task of the runtime asks the journal's writer whether it still comes round.
//! Only its answer, taken by a task that was started for it, is passed on: a writer that waits for a dead disk, a
//! poisoned journal or a runtime that starts no tasks is silence, and the manager starts the collector anew.

use std::sync::{Arc, Weak};

use agent::readiness::Readiness;
use journal::{AppendError, Journal};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::figures::Figures;

/// What the proof looks at. It keeps nothing open.
#[derive(Debug, Clone)]
pub struct Pulse {
    pub(crate) journal: Weak<Journal>,
    pub(crate) figures: Arc<Figures>,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
enum NoProof {
    #[error("the journal takes nothing: {0}")]
    Journal(#[from] AppendError),
    #[error("the runtime does not run its tasks: {0}")]
    Runtime(#[from] tokio::task::JoinError),
}

impl Pulse {
    /// One line for `systemctl status`.
    pub fn describe(&self) -> String {
        let streams = self.figures.streams.value();
        format!("{streams} agents connected")
    }

    async fn prove(&self) -> Result<(), NoProof> {
        // Gone when the collector stops, which is no failure.
        let Some(journal) = self.journal.upgrade() else { return Ok(()) };
        let probe = journal.probe()?;
        drop(journal);
        tokio::spawn(probe).await??;
        Ok(())
    }
}

/// Proves progress until the handle is aborted; `None` where no manager listens.
pub fn keep_proving(readiness: Readiness, pulse: Pulse) -> Option<JoinHandle<()>> {
    readiness.is_heard().then(|| tokio::spawn(prove_again_and_again(readiness, pulse)))
}

async fn prove_again_and_again(readiness: Readiness, pulse: Pulse) {
    let pace = readiness.interval();
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut status = pulse.describe();
    loop {
        ticks.tick().await;
        let proof = pulse.prove();
        tokio::pin!(proof);
        let proved = match timeout(pace, &mut proof).await {
            Ok(proved) => proved,
            Err(_) => {
                tracing::error!(?pace, "the journal's writer does not answer: is the disk hanging?");
                readiness.status("the journal's writer does not answer: is the disk hanging?");
                status.clear();
                proof.await
            }
        };
        let now = match proved {
            Ok(()) => {
                readiness.progress();
                pulse.describe()
            }
            Err(error) => error.to_string(),
        };
        if now != status {
            readiness.status(&now);
            status = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use journal::fs::RealFs;
    use journal::{Config, Record};
    use muster::clock::ManualClock;
    use muster::clock::WallTime;

    use super::*;
    use crate::telemetry::Telemetry;

    /// A journal whose writer hangs once it has something to write: its clock stands, and so the group is never whole.
    fn hanging(folder: &tempfile::TempDir) -> Arc<Journal> {
        let config =
            Config { commit_interval: Duration::from_secs(10), ..Config::new(folder.path().join("journal")) };
        let clock = Arc::new(ManualClock::at(WallTime(1_700_000_000_000_000)));
        Arc::new(Journal::open(config, Arc::new(RealFs), clock).unwrap().0)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn there_is_no_proof_while_the_writer_hangs_and_one_when_it_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let journal = hanging(&folder);
        let figures = Arc::new(Figures::new(&Telemetry::new().unwrap().meter()));
        let pulse = Pulse { journal: Arc::downgrade(&journal), figures };
        pulse.prove().await.unwrap();
        let pending = journal.append(Record::default()).unwrap();
        assert!(timeout(Duration::from_millis(300), pulse.prove()).await.is_err(), "a proof while it hangs");
        drop(journal);
        assert!(pending.await.is_ok());
        pulse.prove().await.unwrap();
    }
}
