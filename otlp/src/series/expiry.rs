//! What leaves, and when.
//!
//! | what | leaves |
//! |---|---|
//! | series | `idle_max` after its last point, with its streams |
//! | stream of deltas, of a gauge, of a sum that may fall | `idle_max` after its last point; a sum that may fall takes its value with it |
//! | stream that only grows | `stream_idle_max` after its last point; its series keeps what it counted |
//! | family, target | with its last series |
//! | the eighth of a team's streams that was silent longest | when the team has as many as it may have |

use std::collections::HashSet;

use super::ForeignConfig;
use super::identity::StreamId;
use super::store::{Last, Stream, TeamStore, Value};

/// Which part of the streams makes room at once: rarely, and not for long.
const EVICTED_PART: usize = 8;

pub(super) fn expire(config: &ForeignConfig, team: &mut TeamStore, now: u32) {
    let is_idle =
        |touched_at: u32, max: std::time::Duration| u64::from(now.saturating_sub(touched_at)) > max.as_secs();
    let idle_streams: Vec<StreamId> = team
        .streams
        .iter()
        .filter(|(_, stream)| {
            let max = if stream.last.only_grows() { config.stream_idle_max } else { config.idle_max };
            is_idle(stream.touched_at, max)
        })
        .map(|(id, _)| *id)
        .collect();
    let_go(team, idle_streams);

    let idle_series: Vec<(u32, u32)> = team
        .families()
        .flat_map(|(id, family)| family.series.iter().map(move |(slot, series)| (id, slot, series)))
        .filter(|(_, _, series)| is_idle(series.touched_at, config.idle_max))
        .map(|(id, slot, _)| (id, slot))
        .collect();
    remove(team, &idle_series);
}

/// Makes room for one more stream.
pub(super) fn make_room(config: &ForeignConfig, team: &mut TeamStore) {
    if team.streams.len() < config.streams_per_team_max.max(1) {
        return;
    }
    let mut oldest: Vec<(u64, StreamId)> =
        team.streams.iter().map(|(id, stream)| (stream.turn, *id)).collect();
    let count = oldest.len().div_ceil(EVICTED_PART);
    // By turn and id: which ones go must not depend on the order of a map.
    oldest.select_nth_unstable(count - 1);
    let_go(team, oldest[..count].iter().map(|(_, id)| *id).collect());
}

/// Ends a stream that says so itself. A gauge without any stream leaves.
pub(super) fn end(team: &mut TeamStore, id: StreamId) {
    let Some(stream) = team.streams.remove(&id) else { return };
    if detach(team, id, &stream) {
        remove(team, &[(stream.family, stream.series)]);
    }
}

/// Lets go of streams. What only grows stays counted.
fn let_go(team: &mut TeamStore, mut ids: Vec<StreamId>) {
    // The order of sums is the order of ids, not that of a map.
    ids.sort_unstable();
    for id in ids {
        let Some(stream) = team.streams.remove(&id) else { continue };
        let is_level = matches!(stream.last, Last::Level(_));
        let only_grows = stream.last.only_grows();
        if is_level {
            if detach(team, id, &stream) {
                remove(team, &[(stream.family, stream.series)]);
            }
        } else if let Some(series) = team.series_mut(stream.family, stream.series) {
            series.streams = series.streams.saturating_sub(1);
            if only_grows {
                series.let_go_ns = series.let_go_ns.max(stream.time);
            }
        }
    }
}

/// Takes a stream's part out of its gauge. Whether nothing feeds the gauge any more.
fn detach(team: &mut TeamStore, id: StreamId, stream: &Stream) -> bool {
    let Some(series) = team.series_mut(stream.family, stream.series) else { return false };
    series.streams = series.streams.saturating_sub(1);
    let Value::Gauge { value, writer } = &mut series.value else { return false };
    match stream.last {
        Last::Level(level) => *value = value.map(|sum| sum.minus(level)),
        _ if *writer == id => *value = None,
        _ => {}
    }
    series.streams == 0
}

/// Removes series, the streams that feed them, and families that have none left.
fn remove(team: &mut TeamStore, series: &[(u32, u32)]) {
    if series.is_empty() {
        return;
    }
    let gone: HashSet<&(u32, u32)> = series.iter().collect();
    team.streams.retain(|_, stream| !gone.contains(&(stream.family, stream.series)));
    for (family, series) in series {
        team.remove_series(*family, *series);
        if team.families.get(*family).is_some_and(|family| family.series.is_empty()) {
            team.remove_family(*family);
        }
    }
}
