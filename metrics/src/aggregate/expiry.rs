//! What leaves, and when.
//!
//! | what | leaves the page | is removed |
//! |---|---|---|
//! | gauge whose source ended | at once | with the next expiry |
//! | gauge whose agent is silent | after `gauge_owner_silent_max`; comes back when the agent is heard | after `counter_idle_max` |
//! | counter, histogram | when it is removed | `counter_idle_max` after its last event and after its source was last there |
//! | label text, origin, owner, agent | | when nothing refers to it |
//!
//! "There" is a source that has not ended and whose agent is heard: a quiet project keeps its counters over a weekend
//! while its agent runs.

use muster::clock::Monotonic;

use super::owners::{NOBODY, OwnerState};
use super::table::Series;
use super::walk::Mark;
use super::{Store, compare};
use crate::catalogue::{MetricKind, family_ids};

impl Store {
    /// Counters and histograms that were updated at or after `kept_from` stay whatever their age.
    pub(super) fn expire(&mut self, now: Monotonic, kept_from: Mark) {
        let now = self.timeline.tick(now);
        let idle_max = self.config.counter_idle_max.as_secs();
        self.owners.age(now, self.config.gauge_owner_silent_max.as_secs(), idle_max);
        self.note_alive();
        for id in family_ids() {
            let (origins, owners) = (&self.origins, &self.owners);
            let is_over = |series: &Series| {
                let used_at = series.touched_at.max(origins.get(series.key.origin).alive_at);
                let idle = u64::from(now.saturating_sub(used_at)) > idle_max;
                match id.family().kind {
                    MetricKind::Gauge(_) if series.owner == NOBODY => idle,
                    MetricKind::Gauge(_) => owners.owners[series.owner as usize].state != OwnerState::Live,
                    MetricKind::Counter(_) | MetricKind::Histogram(_) => {
                        idle && series.touched_at < kept_from.0
                    }
                }
            };
            let mut removed = Vec::new();
            self.tables[id.index()].remove_if(is_over, |key| removed.push(*key));
            for key in removed {
                key.labels.iter().for_each(|&text| self.texts.release(text));
                self.origins.discount_series(key.origin, id);
                self.origins.release(key.origin);
            }
            let (texts, origins) = (&self.texts, &self.origins);
            self.tables[id.index()].settle(|a, b| compare(id.family(), texts, origins, a, b));
        }
        self.owners.sweep(&mut self.texts, &mut self.origins);
        self.origins.sweep(&mut self.texts);
    }

    /// Writes down for each origin when an agent that watches it was last heard.
    fn note_alive(&mut self) {
        for owner in self.owners.owners.iter().filter(|owner| owner.state == OwnerState::Live) {
            let heard_at = self.owners.agents[owner.agent as usize].heard_at;
            let origin = self.origins.get_mut(owner.origin);
            origin.alive_at = origin.alive_at.max(heard_at);
        }
    }
}
