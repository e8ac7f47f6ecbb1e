//! What an aggregate promises. The helpers are here, the promises in one file each.

mod bounds;
mod counting;
mod lifecycle;
mod pages;
mod restart;

use muster::batch::{BatchBuilder, SourceIdentity, SourceIndex};
use muster::v1;
use muster::v1::event::Kind;

use super::*;
use crate::Format;

/// 2026-02-20 12:00:00 UTC.
pub(super) const NOON: WallTime = WallTime(1_771_588_800_000_000);

/// An aggregate with a clock, an agent and a team.
pub(super) struct Bed {
    pub(super) aggregate: Aggregate,
    pub(super) seconds: u64,
}

/// Builds a batch of one source after another.
pub(super) struct Said {
    builder: BatchBuilder,
    source: SourceIndex,
    time: WallTime,
}

pub(super) fn agent(number: u8) -> AgentId {
    AgentId::from_bytes([number; 16])
}

pub(super) fn team() -> Team {
    "core".parse().expect("valid")
}

pub(super) fn identity(tool: &str, project: &str) -> SourceIdentity {
    SourceIdentity {
        tool: tool.into(),
        project: project.into(),
        user: "dana".into(),
        host: "laptop-17".into(),
        ..Default::default()
    }
}

impl Said {
    pub(super) fn by(tool: &str, project: &str) -> Self {
        Self::by_source(&identity(tool, project))
    }

    pub(super) fn by_source(identity: &SourceIdentity) -> Self {
        let mut builder = BatchBuilder::new();
        let source = builder.source(identity).expect("room");
        Self { builder, source, time: NOON }
    }

    pub(super) fn text(&mut self, text: &str) -> u32 {
        self.builder.text(text)
    }

    pub(super) fn at(mut self, time: WallTime) -> Self {
        self.time = time;
        self
    }

    pub(super) fn then_by(mut self, tool: &str, project: &str) -> Self {
        self.source = self.builder.source(&identity(tool, project)).expect("room");
        self
    }

    pub(super) fn fact(self, kind: Kind) -> Self {
        self.weighted(1, kind)
    }

    pub(super) fn weighted(mut self, weight: u32, kind: Kind) -> Self {
        self.builder.push_weighted(self.time, self.source, weight, kind);
        self
    }

    pub(super) fn run(mut self, worker: &str, status: v1::RunStatus, duration_ms: Option<u64>) -> Self {
        let worker = self.text(worker);
        let duration_us = duration_ms.map(|ms| ms * 1000);
        self.fact(Kind::RunFinished(v1::RunFinished {
            worker,
            status: status.into(),
            duration_us,
            ..Default::default()
        }))
    }

    pub(super) fn queue(mut self, worker: &str, depth: u64) -> Self {
        let worker = self.text(worker);
        self.fact(Kind::QueueDepth(v1::QueueDepth { worker, depth }))
    }

    pub(super) fn batch(self) -> v1::Batch {
        self.builder.as_batch().clone()
    }
}

impl Bed {
    pub(super) fn collector() -> Self {
        Self::new(AggregateConfig::collector())
    }

    pub(super) fn agent() -> Self {
        Self::new(AggregateConfig::agent())
    }

    pub(super) fn new(config: AggregateConfig) -> Self {
        Self { aggregate: Aggregate::new(config), seconds: 0 }
    }

    pub(super) fn hear(&mut self, said: Said) {
        self.hear_from(agent(1), &said.batch());
    }

    pub(super) fn hear_from(&mut self, agent: AgentId, batch: &v1::Batch) {
        let at = Applied { wall: WallTime(NOON.0 * 2), monotonic: self.now() };
        self.aggregate.apply(&team(), agent, batch, at);
    }

    pub(super) fn now(&self) -> Monotonic {
        Monotonic(Duration::from_secs(self.seconds))
    }

    pub(super) fn pass(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.aggregate.expire(self.now());
    }

    pub(super) fn page(&self) -> String {
        self.page_of(&PageRequest::default())
    }

    pub(super) fn page_of(&self, request: &PageRequest) -> String {
        let mut out = Vec::new();
        self.aggregate.render(request, WallTime(NOON.0 + 60_000_000), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    pub(super) fn open_metrics(&self) -> String {
        self.page_of(&PageRequest { format: Format::OpenMetrics100, ..Default::default() })
    }

    /// The value of the sample that is written exactly so, if it is on the page.
    pub(super) fn value(&self, sample: &str) -> Option<String> {
        value_on(&self.page(), sample)
    }
}

pub(super) fn value_on(page: &str, sample: &str) -> Option<String> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let values: Vec<_> = lines.collect();
    assert!(values.len() < 2, "{sample} is there {} times", values.len());
    values.first().map(|value| (*value).to_owned())
}
