//! Projects that come and go while the agent runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster::clock::Monotonic;

use super::Agent;
use super::slot::{self, Slot};
use crate::discovery::{FoundProject, Skipped};
use crate::endpoint::GuidePlace;
use crate::facts::Facts;
use crate::local::origin;
use crate::project;
use crate::sources::json_lines::{JsonLines, SourceConfig};
use crate::sources::{self, Moment, ProjectContext, Tool, ToolEnvironment};

impl Agent {
    /// Finds projects that came and ends those that went.
    pub(super) async fn rediscover(&mut self) {
        let change = self.discovery.rescan(sources::TOOLS);
        self.rediscovered = self.clock.monotonic();
        self.rediscovery_due = Monotonic(Duration::MAX);
        if change.skipped != self.skipped {
            say_skipped(&change.skipped);
            self.skipped = change.skipped;
        }
        if change.added.is_empty() && change.lost.is_empty() {
            return self.open_asked_pages();
        }
        for lost in &change.lost {
            self.end_sources(lost).await;
        }
        for found in &change.added {
            self.add_sources(found).await;
        }
        let projects: BTreeMap<_, _> =
            self.slots.iter().map(|slot| (&slot.project().root, slot.project())).collect();
        self.counters.projects = projects.len() as u64;
        let projects: Vec<_> = projects.into_values().cloned().collect();
        if let Some(door) = &self.door {
            door.watch(projects.clone());
        }
        if let Some(otlp) = &self.otlp {
            otlp.watch(projects);
        }
        self.watch_again();
        self.open_asked_pages();
    }

    async fn add_sources(&mut self, found: &FoundProject) {
        let configured = self.config.project_names.get(&found.root).map(String::as_str);
        let mut context = project::context(&found.root, configured, &self.machine);
        let others = self.slots.iter().filter(|slot| slot.project().root != found.root);
        let taken: BTreeSet<String> = others.map(|slot| slot.project().name.clone()).collect();
        context.name = project::distinct_name(&context.name, &found.root, &taken);
        tracing::info!(project = %context.name, tools = ?found.tools, "watching");
        let environment = ToolEnvironment { loki_max_iterations: std::env::var("LOKI_MAX_ITERATIONS").ok() };
        for tool in sources::TOOLS.iter().filter(|tool| found.tools.contains(&tool.name())) {
            let key = slot::source_key(tool.name(), &found.root);
            let position = self.spool.lock().await.position_of(&key).cloned();
            let position = position.as_deref().filter(|p| !p.is_empty());
            self.add_slot(Slot::closed(*tool, context.clone(), environment.clone(), position));
        }
    }

    /// Follows the files of `[[agent.source]]`, each for the project that its folder belongs to.
    pub(super) async fn add_configured_sources(&mut self) {
        for config in self.config.sources.clone() {
            let project = self.project_of(&config);
            tracing::info!(source = %config.name, path = %config.path.display(), project = %project.name, "following");
            let tool = JsonLines::of(config);
            let key = slot::source_key(tool.name(), &project.root);
            let position = self.spool.lock().await.position_of(&key).cloned();
            let position = position.as_deref().filter(|p| !p.is_empty());
            self.add_slot(Slot::closed(tool, project, ToolEnvironment::default(), position));
        }
        self.watch_again();
    }

    /// Reads a source from now on, unless it is off.
    fn add_slot(&mut self, mut slot: Slot) {
        if !self.in_force.is_off(slot.source_name()) {
            slot.open(self.clock.monotonic());
        }
        self.slots.push(slot);
    }

    fn project_of(&self, config: &SourceConfig) -> ProjectContext {
        let watched: Vec<_> = self.slots.iter().map(|slot| slot.project().clone()).collect();
        let folder = config.path.parent().unwrap_or(&config.path);
        let mut project = origin::project_of(folder, &self.config.project_names, &watched, &self.machine);
        if let Some(name) = &config.project {
            project.name.clone_from(name);
        }
        project
    }

    /// Opens the pages that projects' settings ask for; they may come to ask while the agent runs.
    pub(super) fn open_asked_pages(&mut self) {
        let open = self.slots.iter().filter(|slot| !slot.is_closed());
        let roots: BTreeSet<_> = open.map(|slot| slot.project().root.clone()).collect();
        for root in roots {
            let settings = sources::devloop::metrics_settings(&root);
            if let Some((port, path)) = settings.as_ref().and_then(|settings| settings.prometheus_endpoint())
            {
                self.open_guide_place(Some(GuidePlace::new(port, path, "DevLoop's agents.json")));
            }
        }
    }

    async fn end_sources(&mut self, lost: &FoundProject) {
        let is_lost = |slot: &Slot| slot.project().root == lost.root && lost.tools.contains(&slot.tool());
        let (ended, kept): (Vec<Slot>, Vec<Slot>) =
            std::mem::take(&mut self.slots).into_iter().partition(is_lost);
        self.slots = kept;
        for mut slot in ended {
            tracing::info!(project = %slot.project().name, tool = slot.tool(), "watched no more");
            if let Some(host) = self.host.as_mut() {
                host.source.forget(slot.tool(), &lost.root);
            }
            let facts = self.settings.borrow().facts();
            self.end_slot(&mut slot, facts).await;
        }
    }

    /// States that a source is gone, and reads it no more.
    pub(super) async fn end_slot(&mut self, slot: &mut Slot, facts: Facts) {
        let moment = Moment {
            wall: self.clock.wall(),
            monotonic: self.clock.monotonic(),
            processes: &self.processes,
            rescan: false,
        };
        let Some(stepped) = slot.end(&moment, facts) else { return slot.close(None) };
        let (facts, position, _) = stepped.into_parts();
        let appended =
            self.spool.lock().await.append_step(slot.key(), position.clone(), facts.into_builder()).await;
        match appended {
            Ok(batch) => {
                self.apply_locally(batch.as_ref());
                slot.close(Some(position));
            }
            Err(error) => {
                tracing::warn!(%error, "the spool refused the end of a source");
                slot.close(None);
            }
        }
    }
}

fn say_skipped(skipped: &Skipped) {
    for path in &skipped.missing {
        tracing::warn!(path = %path.display(), "a watched path is not there; it is looked for at each rescan");
    }
    if skipped.unreadable > 0 {
        let first = &skipped.unreadable_first;
        tracing::warn!(
            folders = skipped.unreadable,
            ?first,
            "folders could not be read, so projects in them are not seen"
        );
    }
    for path in &skipped.worktree_copies {
        tracing::info!(path = %path.display(), "left out: a copy of another project's Loki Mode state, which would count twice");
    }
    if skipped.is_cut_short {
        tracing::warn!(
            "the watched folders hold too many folders to search all of them; watch narrower paths"
        );
    }
}
