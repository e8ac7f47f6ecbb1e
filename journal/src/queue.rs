//! What waits for the writer: bounded by bytes, in the order of the appends.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::completion::{Completion, Outcome};
use crate::error::{AppendError, Cause};
use crate::format::frame_len;
use crate::record::Record;

/// Most probes that wait at once; who asks waits for the answer before asking again.
const PROBES_MAX: usize = 16;

/// What a queued unit costs besides its frames: queue, slot and allocations, roughly.
const UNIT_OVERHEAD_BYTES: usize = 256;

/// The records of one append.
#[derive(Debug)]
pub(crate) enum Records {
    One(Record),
    Many(Vec<Record>),
}

/// What is written together or not at all.
pub(crate) struct Unit {
    pub(crate) records: Records,
    done: Arc<dyn Completion>,
    is_told: Cell<bool>,
}

/// What the log does with an append.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    /// Takes it.
    Open,
    /// Refuses it: there was no room. `is_settled` once everything that was in flight has been told so.
    DiskFull { is_settled: bool },
    /// Refuses it for good.
    Poisoned(Cause),
}

/// Units that wait, and whether more may come.
pub(crate) struct Queue {
    pub(crate) units: VecDeque<Unit>,
    /// Of units that wait and of units that are being written.
    pub(crate) bytes: usize,
    /// Who wants to know that the writer still comes round. Answered whenever it does.
    probes: Vec<Arc<dyn Completion>>,
    pub(crate) condition: Condition,
    pub(crate) is_closing: bool,
}

impl Records {
    pub(crate) fn as_slice(&self) -> &[Record] {
        match self {
            Records::One(record) => std::slice::from_ref(record),
            Records::Many(records) => records,
        }
    }

    /// Bytes of their frames on disk.
    pub(crate) fn frame_bytes(&self) -> u64 {
        self.as_slice().iter().map(|r| frame_len(r.meta.len(), r.payload.len())).sum()
    }

    /// Bytes that they count for in the queue.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.frame_bytes() as usize + UNIT_OVERHEAD_BYTES
    }
}

impl Unit {
    pub(crate) fn new(records: Records, done: Arc<dyn Completion>) -> Self {
        Self { records, done, is_told: Cell::new(false) }
    }

    pub(crate) fn complete(&self, outcome: &Outcome) {
        self.is_told.set(true);
        self.done.complete(outcome);
    }
}

impl Drop for Unit {
    /// Nobody may wait for ever: a unit that a panic of the writer let fall is told so.
    fn drop(&mut self) {
        if !self.is_told.get() {
            self.done.complete(&Err(AppendError::Closed));
        }
    }
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            units: VecDeque::new(),
            bytes: 0,
            probes: Vec::new(),
            condition: Condition::Open,
            is_closing: false,
        }
    }

    /// Whether a unit of these records may come now. A single unit always fits an empty queue: the configuration sees to
    /// records, and the handle to how many.
    pub(crate) fn admits(&self, records: &Records, bytes_max: usize) -> Result<(), AppendError> {
        if self.is_closing {
            return Err(AppendError::Closed);
        }
        match &self.condition {
            Condition::Open => {}
            Condition::DiskFull { .. } => return Err(AppendError::DiskFull),
            Condition::Poisoned(cause) => return Err(AppendError::Poisoned(cause.clone())),
        }
        if self.bytes > 0 && self.bytes + records.queue_bytes() > bytes_max {
            return Err(AppendError::Full);
        }
        Ok(())
    }

    /// Takes a probe. A full disk is no reason to refuse it: the writer comes round all the same.
    pub(crate) fn push_probe(&mut self, probe: Arc<dyn Completion>) -> Result<(), AppendError> {
        if self.is_closing {
            return Err(AppendError::Closed);
        }
        if let Condition::Poisoned(cause) = &self.condition {
            return Err(AppendError::Poisoned(cause.clone()));
        }
        if self.probes.len() >= PROBES_MAX {
            return Err(AppendError::Full);
        }
        self.probes.push(probe);
        Ok(())
    }

    /// Tells all probes.
    pub(crate) fn answer_probes(&mut self, outcome: &Outcome) {
        self.probes.drain(..).for_each(|probe| probe.complete(outcome));
    }

    /// Takes a unit that was admitted.
    pub(crate) fn push(&mut self, unit: Unit) {
        self.bytes += unit.records.queue_bytes();
        self.units.push_back(unit);
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("units", &self.units)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit").field("records", &self.records.as_slice().len()).finish_non_exhaustive()
    }
}
