//! The series of this machine's own page, and how they survive a restart.
//!
//! `<state_dir>/aggregate.snapshot` is `epoch u64 | last_seq u64` (little-endian) and the aggregate's own snapshot. At the
//! start what the spool has after it is applied again, so counters go on where they were. A snapshot of another epoch or
//! one that cannot be read is left: the page then counts from what the spool still holds, and Prometheus sees a reset.

use std::path::{Path, PathBuf};

use metrics::{Aggregate, AggregateConfig, Applied};
use muster::atomic_file::{self, Access};
use muster::batch::{self, SealedBatch};
use muster::clock::Clock;
use muster::ids::{AgentId, Seq, Team};

use crate::spool::Spool;

const HEAD_BYTES: usize = 16;

/// The aggregate as it was, brought up to what the spool has.
pub(super) fn load(spool: &Spool, clock: &dyn Clock) -> Aggregate {
    let (mut aggregate, after) = restore(spool).unwrap_or_else(|| (Aggregate::new(config()), Seq::ZERO));
    let at = Applied { wall: clock.wall(), monotonic: clock.monotonic() };
    let mut reader = spool.batches_after(Seq::ZERO);
    loop {
        match reader.next_batch() {
            Ok(Some(batch)) if batch.seqs.first() > after => {
                apply(&mut aggregate, spool.identity().agent_id, &batch, at)
            }
            Ok(Some(_)) => {}
            Ok(None) => return aggregate,
            Err(error) => {
                tracing::warn!(%error, "the local page starts without what could not be read");
                return aggregate;
            }
        }
    }
}

/// Counts a batch.
pub(crate) fn apply(aggregate: &mut Aggregate, agent: AgentId, batch: &SealedBatch, at: Applied) {
    // Our own batch always decodes; a damaged one was caught by the journal's checksum.
    if let Ok(decoded) = batch::decode(&batch.bytes) {
        aggregate.apply(&Team::default_team(), agent, &decoded, at);
    }
}

/// Writes the snapshot. Without it the next start only has more to apply.
pub(super) fn store(aggregate: &Aggregate, spool: &Spool) {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&spool.identity().epoch.get().to_le_bytes());
    bytes.extend_from_slice(&spool.last_seq().0.to_le_bytes());
    bytes.extend_from_slice(&aggregate.snapshot());
    let path = path(spool.state_dir());
    if let Err(error) = atomic_file::replace(&path, &bytes, Access::Owner) {
        tracing::warn!(path = %path.display(), %error, "cannot store the local page's counters");
    }
}

fn restore(spool: &Spool) -> Option<(Aggregate, Seq)> {
    let bytes = std::fs::read(path(spool.state_dir())).ok()?;
    let (head, snapshot) = bytes.split_at_checked(HEAD_BYTES)?;
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| head[at + n]));
    let last_seq = Seq(number(8));
    if number(0) != spool.identity().epoch.get() || last_seq > spool.last_seq() {
        return None;
    }
    match Aggregate::restore(config(), snapshot) {
        Ok(aggregate) => Some((aggregate, last_seq)),
        Err(error) => {
            tracing::warn!(%error, "the local page's counters cannot be read; they start anew");
            None
        }
    }
}

fn config() -> AggregateConfig {
    AggregateConfig::agent()
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("aggregate.snapshot")
}
