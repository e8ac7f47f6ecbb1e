//! Sampling that is exact in counts: of events that are alike but for their values, one stands for many.
//!
//! Within one step, events of a sampled kind are alike when they have the same source and everything that they are
//! counted by: a call's worker, name, status and whether it says its duration; a file's change and count; a record's
//! name, severity and session. The first of a group is sent, and its weight grows with each one it stands for, up to
//! `one_in` of them; then the next one begins a group. So the sum of weights is the number of events, whatever the rate,
//! and a step that ends early only has smaller groups.
//!
//! Money, verdicts and runs are never sampled: there is no way to name them here.

use std::collections::HashMap;

use muster::batch::{BatchBuilder, SourceIndex};
use muster::v1::event::Kind;

/// A kind of event that can be sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SampledKind {
    /// Calls of tools.
    ToolCall,
    /// Files that changed.
    FileActivity,
    /// Records that have a name and no kind of their own.
    LogRecord,
}

/// How many events of each kind one stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    one_in: [u32; SampledKind::ALL.len()],
}

/// The groups of one step.
#[derive(Debug, Default)]
pub(super) struct Groups {
    open: HashMap<(SourceIndex, Alike), Group>,
}

/// The newest group of its likes.
#[derive(Debug)]
struct Group {
    /// The event that stands for it, by its place in the batch.
    event: usize,
    /// Events in it.
    events: u32,
}

/// What makes two events alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Alike {
    ToolCall { worker: u32, name: u32, status: i32, is_timed: bool },
    FileActivity { change: i32, count: u32 },
    LogRecord { name: u32, severity: i32, session: u32 },
}

impl SampledKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ToolCall, Self::FileActivity, Self::LogRecord];

    /// Its word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ToolCall => "tool_call",
            Self::FileActivity => "file_activity",
            Self::LogRecord => "log_record",
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self { one_in: [1; SampledKind::ALL.len()] }
    }
}

impl Sampling {
    /// The same, with one in `one_in` of this kind; 0 is 1.
    pub fn with(mut self, kind: SampledKind, one_in: u32) -> Self {
        self.one_in[kind as usize] = one_in.max(1);
        self
    }

    /// How many events of this kind one stands for.
    pub fn one_in(&self, kind: SampledKind) -> u32 {
        self.one_in[kind as usize]
    }
}

impl Groups {
    /// Adds an event to a group that it is like. False: it is to be pushed, as the first of a group if it can be one.
    pub(super) fn take(
        &mut self,
        sampling: &Sampling,
        batch: &mut BatchBuilder,
        source: SourceIndex,
        weight: u32,
        kind: &Kind,
    ) -> bool {
        let Some((sampled, alike)) = alike(kind) else { return false };
        let one_in = sampling.one_in(sampled);
        if one_in <= 1 {
            return false;
        }
        if let Some(group) = self.open.get_mut(&(source, alike))
            && group.events < one_in
            && batch.add_weight(group.event, weight)
        {
            group.events += 1;
            return true;
        }
        self.open.insert((source, alike), Group { event: batch.len(), events: 1 });
        false
    }
}

fn alike(kind: &Kind) -> Option<(SampledKind, Alike)> {
    match kind {
        Kind::ToolCall(call) => {
            let (worker, name, status) = (call.worker, call.name, call.status);
            let is_timed = call.duration_us.is_some();
            Some((SampledKind::ToolCall, Alike::ToolCall { worker, name, status, is_timed }))
        }
        Kind::FileActivity(file) => {
            // 0 and 1 both mean one. The count is multiplied by the weight, so it must be the same.
            let (change, count) = (file.change, file.count.max(1));
            Some((SampledKind::FileActivity, Alike::FileActivity { change, count }))
        }
        Kind::LogRecord(record) => {
            let (name, severity, session) = (record.name, record.severity, record.session);
            Some((SampledKind::LogRecord, Alike::LogRecord { name, severity, session }))
        }
        _ => None,
    }
}
