//! An aggregate as a fleet makes it.
#![allow(dead_code, reason = "each bench uses its part")]

use std::time::Duration;

use metrics::{Aggregate, AggregateConfig, Applied};
use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::{Monotonic, WallTime};
use muster::ids::{AgentId, Team};
use muster::v1;
use muster::v1::event::Kind;

/// 2026-02-20 12:00:00 UTC.
pub const NOON: WallTime = WallTime(1_771_588_800_000_000);

/// A batch of `events` that `projects` state in turn.
pub fn batch(
    projects: &[&str],
    events: usize,
    mut kind: impl FnMut(usize, &mut BatchBuilder) -> Kind,
) -> v1::Batch {
    let mut builder = BatchBuilder::new();
    let sources: Vec<_> = projects
        .iter()
        .map(|project| {
            let identity = SourceIdentity {
                tool: "devloop".into(),
                project: (*project).into(),
                user: "dana".into(),
                host: "laptop-17".into(),
                ..Default::default()
            };
            builder.source(&identity).expect("room")
        })
        .collect();
    for index in 0..events {
        let kind = kind(index, &mut builder);
        builder.push(WallTime(NOON.0 + index as u64), sources[index % sources.len()], kind);
    }
    builder.as_batch().clone()
}

/// An aggregate of about `series` series: half of them counters of a thousand projects with names that repeat, half
/// with names that nobody else has.
pub fn aggregate(series: usize) -> Aggregate {
    let most = series + 10;
    let config = AggregateConfig {
        series_per_family_max: most,
        team_series_max: most.into(),
        ..AggregateConfig::collector()
    };
    let mut aggregate = Aggregate::new(config);
    let (mut made, step) = (0, 2_000);
    while made < series {
        let project = format!("project-{:04}", made / step % 1_000);
        let events = step.min(series - made);
        let batch = batch(&[&project], events, |index, builder| {
            let number = made + index;
            let name =
                if index % 2 == 0 { format!("event-{index}") } else { format!("unique-event-{number:08}") };
            Kind::LogRecord(v1::LogRecord { name: builder.text(&name), ..Default::default() })
        });
        apply(&mut aggregate, &batch);
        made += events;
    }
    expire(&mut aggregate);
    aggregate
}

/// Applies `batch` at noon.
pub fn apply(aggregate: &mut Aggregate, batch: &v1::Batch) {
    let at = Applied { wall: WallTime(NOON.0 * 2), monotonic: Monotonic(Duration::ZERO) };
    aggregate.apply(&Team::default_team(), AgentId::from_bytes([7; 16]), batch, at);
}

/// Lets the aggregate put itself in order.
pub fn expire(aggregate: &mut Aggregate) {
    aggregate.expire(Monotonic(Duration::ZERO));
}
