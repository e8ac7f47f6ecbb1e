//! The families of all tools: one name a fact, a `tool` label, base units (seconds, bytes, USD).

mod activity;
mod cost;
mod health;
mod sessions;

use super::{Bounds, COUNT, Family, TOOL};

/// 10 ms to 30 minutes: a formatter's run and an iteration of a coding agent fit both.
const SECONDS: Bounds = Bounds {
    upper_us: &[
        10_000,
        50_000,
        100_000,
        250_000,
        500_000,
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        30_000_000,
        60_000_000,
        300_000_000,
        1_800_000_000,
    ],
    unit_us: 1_000_000,
};

/// What most entries share.
const EVERY: Family =
    Family { name: "", kind: COUNT, unit: "", help: "", labels: &[TOOL], tool: None, rules: &[] };

pub(super) fn families() -> impl Iterator<Item = &'static Family> {
    sessions::FAMILIES
        .iter()
        .chain(activity::RUNS)
        .chain(activity::FINDINGS)
        .chain(activity::GATES)
        .chain(cost::FAMILIES)
        .chain(health::RESOURCES)
        .chain(health::SOURCES)
}

/// Families that the aggregation itself keeps, by name.
pub(crate) mod self_families {
    pub(crate) use super::health::{EVENTS_APPLIED, EXTRAPOLATED, SERIES_OVERFLOW, UNKNOWN_EVENTS};
}
