//! Leaving an epoch: what is not surely the collector's is written again under new numbers.
//!
//! ```text
//! 1. make spool/<new>, write a checkpoint with all positions and the kept events, renumbered; all synced
//! 2. identity.json names <new>          <- the one write that counts
//! 3. remove spool/<old>
//! ```
//!
//! A crash before 2 leaves the old epoch; the half-made folder is removed at the next start. After 2 the new one holds.

use bytes::Bytes;
use journal::Pending;
use muster::batch::{self, SealedBatch};
use muster::ids::{Seq, SeqRange};
use prost::Message;

use super::{Spool, SpoolError, record, recover, spool_dir};

/// Switches `spool` to a new epoch with the events after `keep_after`.
pub(super) fn switch(spool: &mut Spool, keep_after: Seq) -> Result<(), SpoolError> {
    let old_dir = spool_dir(&spool.config.state_dir, spool.identity);
    let identity = spool.identity.next_epoch()?;
    recover::make_folder(&spool_dir(&spool.config.state_dir, identity))?;
    let mut next = recover::open_epoch(spool.config.clone(), spool.clock.clone(), identity, spool.reading)?;
    next.positions.clone_from(&spool.positions);
    next.append_checkpoint()?.wait()?;
    copy_events(spool, &mut next, keep_after)?;
    // Opened anew, so that what is not acknowledged is known as after a restart.
    drop(next);
    let mut next = recover::open_epoch(spool.config.clone(), spool.clock.clone(), identity, spool.reading)?;

    identity.store(&spool.config.state_dir)?;
    next.drops = std::mem::take(&mut spool.drops);
    next.events_spooled = spool.events_spooled;
    next.lock = spool.lock.take();
    *spool = next;
    tracing::info!(epoch = %identity.epoch, events_kept = spool.last_seq.0, "took a new epoch");
    if let Err(error) = std::fs::remove_dir_all(&old_dir) {
        tracing::warn!(path = %old_dir.display(), %error, "cannot remove the spool of the old epoch");
    }
    Ok(())
}

fn copy_events(spool: &mut Spool, next: &mut Spool, keep_after: Seq) -> Result<(), SpoolError> {
    // From the oldest: `keep_after` may be below what was acknowledged.
    let mut reader = super::BatchReader::new(spool.journal.reader(journal::Position::ZERO), keep_after);
    let mut expected = keep_after.next();
    let mut newest: Option<Pending> = None;
    for copied in 1_u64.. {
        let Some(old) = reader.next_batch()? else { break };
        count_hole(spool, expected, old.seqs.first());
        let skip = expected.0.saturating_sub(old.seqs.first().0);
        expected = old.seqs.last().next();
        let renumbered = renumber(&old, skip, next.last_seq.next())?;
        let pending = next.journal.append(record::step(Some(&renumbered), &[]))?;
        next.last_seq = renumbered.seqs.last();
        // One sync for many: waiting for each would take minutes on a large spool.
        newest = if copied % RECORDS_A_SYNC == 0 {
            pending.wait()?;
            None
        } else {
            Some(pending)
        };
    }
    if let Some(pending) = newest {
        pending.wait()?;
    }
    count_hole(spool, expected, spool.last_seq.next());
    Ok(())
}

/// Records that are queued before their sync is waited for: they must fit the journal's queue.
const RECORDS_A_SYNC: u64 = 8;

/// Counts the events from `expected` up to `found` as lost to damage, but for those that were dropped on purpose.
fn count_hole(spool: &mut Spool, expected: Seq, found: Seq) {
    let expected = expected.max(spool.drops_counted_to.next());
    if found > expected {
        spool.count_drop("spool_damaged", found.0 - expected.0);
    }
}

/// The same events without the first `skip`, numbered from `first`.
fn renumber(old: &SealedBatch, skip: u64, first: Seq) -> Result<SealedBatch, SpoolError> {
    let mut decoded = batch::decode(&old.bytes)?;
    for event in decoded.events.drain(..skip as usize) {
        decoded.base_time_us = decoded.base_time_us.wrapping_add(event.time_delta_us as u64);
    }
    decoded.first_seq = first.0;
    let last = Seq(first.0 + decoded.events.len() as u64 - 1);
    let seqs = SeqRange::new(first, last).map_err(|_| batch::BatchError::Sequence)?;
    let bytes = Bytes::from(decoded.encode_to_vec());
    Ok(SealedBatch { seqs, crc32c: crc32c::crc32c(&bytes), bytes })
}
