//! A change of what is in force, while the agent runs.
//!
//! What may leave, and which events stand for others, is asked anew for each step. Here is what needs more than that:
//!
//! | change | what happens |
//! |---|---|
//! | a source is turned off | it says that it is gone, so that its readings leave the page, and is closed; its position stays |
//! | it is turned on again | it is opened at its position: what its files got meanwhile is read then |
//! | `host` is turned off | as above; sources with live processes begin anew, which takes their processes' readings off the page |
//! | user or host are called otherwise | every source says under the old name that it is gone, and begins anew under the new one |
//! | an interval | the next rescan and the next sample are planned by it |
//!
//! Beginning anew is what a restart does: no event is repeated, and readings are stated again.

use std::sync::Arc;

use muster::clock::Monotonic;

use super::{Agent, HostSlot};
use crate::remote_configuration::Settings;
use crate::sources::{Moment, Source, host};

impl Agent {
    /// Takes over the settings that are in force now.
    pub(super) async fn reconfigure(&mut self) {
        let after = self.settings.borrow_and_update().clone();
        let before = std::mem::replace(&mut self.in_force, after.clone());
        if before == after {
            return;
        }
        let off: Vec<&str> = after.sources_off.iter().map(String::as_str).collect();
        tracing::info!(off = %off.join(", "), rescan_s = after.rescan_interval.as_secs(), "another configuration is in force");
        let now = self.clock.monotonic();
        self.turn_sources(&before, &after, now).await;
        self.turn_host(&before, &after, now).await;
        self.watch_again();
    }

    /// Sources that are read.
    pub(super) fn sources_read(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.is_closed()).count()
    }

    async fn turn_sources(&mut self, before: &Settings, after: &Settings, now: Monotonic) {
        let is_renamed = !before.privacy.names_alike(&after.privacy);
        let host_goes = self.host.is_some() && after.is_off(host::TOOL);
        let mut slots = std::mem::take(&mut self.slots);
        for slot in &mut slots {
            let is_off = after.is_off(slot.source_name());
            if !slot.is_closed() && (is_off || is_renamed || host_goes && !slot.live_pids().is_empty()) {
                self.end_slot(slot, before.facts()).await;
            }
            if slot.is_closed() && !is_off {
                slot.open(now);
            }
        }
        self.slots = slots;
    }

    async fn turn_host(&mut self, before: &Arc<Settings>, after: &Settings, now: Monotonic) {
        let is_renamed = !before.privacy.names_alike(&after.privacy);
        if let Some(host) = &mut self.host
            && (is_renamed || after.is_off(host::TOOL))
        {
            let moment =
                Moment { wall: self.clock.wall(), monotonic: now, processes: &self.processes, rescan: false };
            let mut facts = before.facts();
            host.source.end(&moment, &mut facts);
            let appended =
                self.spool.lock().await.append_step(host::TOOL, Vec::new(), facts.into_builder()).await;
            match appended {
                Ok(batch) => self.apply_locally(batch.as_ref()),
                Err(error) => tracing::warn!(%error, "the spool refused the end of the machine's samples"),
            }
            self.host = None;
        }
        match &mut self.host {
            Some(host) => {
                host.source.measure_every(after.host_sample_interval);
                host.due = host.due.min(now);
            }
            None => self.host = HostSlot::of(&self.config, after, &self.machine, now),
        }
    }
}

#[cfg(test)]
mod tests;
