//! Says which watched paths changed, without being asked and without a timer while nothing changes.
//!
//! ```text
//! kernel ─> notify's thread ─> Hearing (routes, coalesces, bounded) ─> Changes::changed ─> the agent's loop
//!                                  ^ routes                                                    │ set_paths
//!                                  └───────────── Watcher (which folders to watch) <───────────┘
//! ```
//!
//! **Folders are watched, never single files**: a file that is saved by renaming another over it, truncated, rotated,
//! removed or made again stays watched, because its folder tells. An event is looked up by folder and name; what nobody
//! asked for wakes nobody. What one folder has to say is at most the set of paths that were asked for, so a checkout of
//! ten thousand files is a few wake-ups and no memory.
//!
//! | what happens | what is done |
//! |---|---|
//! | a path does not exist | the nearest folder above it is watched for the missing name, [`MISSING_LEVELS_MAX`] up at most |
//! | a folder is removed, renamed or made again | its paths are touched, and [`Watcher::set_paths`] watches the new one |
//! | a folder or file is a symlink | its target is watched, and the link for being pointed elsewhere |
//! | one folder is reached on two ways | it is watched once: the kernel has one watch for each inode |
//! | the kernel's queue overflows, notify reports an error | [`ChangeSet::rescan`]: everything may have changed |
//! | no more watches or watcher instances (sysctl limits) | those paths are touched every [`POLL_INTERVAL`]; one warning says which limit and what it must be |
//! | opening, reading, closing | nothing: our own reads must not wake us |
//!
//! What cannot be seen: changes on network file systems by other machines, a link changed in the middle of a path, a
//! folder renamed far above. For these, and for whatever else is missed, there is the slow rescan: [`Watcher::check`].
//!
//! notify 8 has no choice of the kernel's event mask: an open wakes notify's own thread, which drops it here. It does
//! not wake the agent's loop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::sources::WatchedPath;

mod backend;
mod hearing;
mod plan;

use backend::{Backend, NotifyBackend, Refusal};
use hearing::Hearing;
use plan::{FolderId, Interest, Plan};

/// How long after the first change of a burst it is told: a save is several events, and a tool writes several files.
pub const SETTLE: Duration = Duration::from_millis(20);
/// Least time between two wake-ups, however much changes.
pub const WAKE_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// Least time between two calls to look at everything: one that overflows the queue goes on for a while.
pub const RESCAN_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// How often paths that cannot be watched are looked at instead.
pub const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How far above a missing path a folder is looked for: within a project, not up to the root of the file system.
pub const MISSING_LEVELS_MAX: usize = 4;
/// Most paths that are watched; the slow rescan sees the rest. A thousand sources with sixteen paths each.
pub const WATCHED_PATHS_MAX: usize = 16 * 1024;
/// How often a plan is made again when folders come and go while it is carried out.
const PLAN_ROUNDS_MAX: usize = 8;

/// Watches folders. Not a future: its calls take microseconds and may be made on the runtime's thread.
pub struct Watcher {
    backend: Box<dyn Backend>,
    hearing: Arc<Hearing>,
    /// What each wanted path needs to hear.
    entries: BTreeMap<WatchedPath, Vec<Interest>>,
    /// Folders that the backend watches now.
    folders: BTreeMap<PathBuf, FolderId>,
    /// Folders that it would not watch; tried again at each check.
    refused: BTreeMap<PathBuf, Refusal>,
    over_bound: usize,
    refusal_was_said: bool,
}

/// Tells what changed. There is one for each [`Watcher`].
pub struct Changes {
    hearing: Arc<Hearing>,
    /// When the burst that is being gathered may be told.
    due: Option<Instant>,
    /// When a change set was last told, and when one that said to rescan.
    told: Option<Instant>,
    told_rescan: Option<Instant>,
    polled: Instant,
}

/// What changed since the last one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeSet {
    /// Paths, as they were asked for, in or at which something changed. No more than are watched.
    pub touched: Vec<WatchedPath>,
    /// Changes were missed: look at everything.
    pub rescan: bool,
}

/// How well can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchHealth {
    /// Folders that the kernel watches for us.
    pub folders_watched: usize,
    /// Folders that it would not watch, and that are polled.
    pub folders_polled: usize,
    /// Paths that only the slow rescan sees: nothing of them exists, or there are more than [`WATCHED_PATHS_MAX`].
    pub paths_unseen: usize,
    /// How often everything had to be looked at because changes were missed.
    pub rescans_forced: u64,
}

impl Watcher {
    /// Watches nothing yet. Where the system refuses a watcher, everything is polled and one warning says so.
    pub fn new() -> (Self, Changes) {
        let hearing = Arc::new(Hearing::default());
        let backend = Box::new(NotifyBackend::new(Arc::clone(&hearing)));
        Self::over(backend, hearing)
    }

    fn over(backend: Box<dyn Backend>, hearing: Arc<Hearing>) -> (Self, Changes) {
        let changes = Changes {
            hearing: Arc::clone(&hearing),
            due: None,
            told: None,
            told_rescan: None,
            polled: Instant::now(),
        };
        let watcher = Self {
            backend,
            hearing,
            entries: BTreeMap::new(),
            folders: BTreeMap::new(),
            refused: BTreeMap::new(),
            over_bound: 0,
            refusal_was_said: false,
        };
        (watcher, changes)
    }

    /// Watches exactly these. To be called after each [`ChangeSet`] was handled, also with the same paths: it is here
    /// that folders that came or went are watched anew. Costs next to nothing when neither happened.
    ///
    /// Paths whose watch is new are touched once, since they may have changed before it was there.
    pub fn set_paths(&mut self, wanted: &BTreeSet<WatchedPath>) {
        let heard = self.hearing.take_stale();
        let count_before = self.entries.len();
        self.entries.retain(|path, _| wanted.contains(path));
        let is_fewer = self.entries.len() != count_before;
        if is_fewer {
            self.hearing.forget_but(wanted);
        }
        let is_changed = is_fewer || !heard.folders.is_empty();
        for folder in heard.folders {
            self.backend.unwatch(&folder);
            self.folders.remove(&folder);
        }
        let mut stale: BTreeSet<WatchedPath> = match heard.everything {
            true => self.entries.keys().cloned().collect(),
            false => heard.paths.into_iter().filter(|path| self.entries.contains_key(path)).collect(),
        };
        self.over_bound = 0;
        let mut room = WATCHED_PATHS_MAX - self.entries.len();
        for path in wanted.iter().filter(|path| !self.entries.contains_key(path)) {
            match room.checked_sub(1) {
                Some(left) => {
                    room = left;
                    stale.insert(path.clone());
                }
                None => self.over_bound += 1,
            }
        }
        if is_changed || !stale.is_empty() {
            self.settle(stale, is_changed);
        }
    }

    /// Looks at all folders anew and tries again what was refused. To be called at the slow rescan, before the sources
    /// look at everything.
    pub fn check(&mut self) {
        self.refused.clear();
        self.settle(self.entries.keys().cloned().collect(), true);
    }

    /// How well can be watched.
    pub fn health(&self) -> WatchHealth {
        WatchHealth {
            folders_watched: self.folders.len(),
            folders_polled: self.refused.len(),
            paths_unseen: self.over_bound + self.entries.values().filter(|needs| needs.is_empty()).count(),
            rescans_forced: self.hearing.rescans_forced(),
        }
    }

    /// Works out anew what `stale` paths need until that no longer changes under our hands. A file that was replaced
    /// needs what it needed before, and then that was all.
    fn settle(&mut self, mut stale: BTreeSet<WatchedPath>, mut is_changed: bool) {
        for _ in 0..PLAN_ROUNDS_MAX {
            let mut moved = BTreeSet::new();
            for path in stale {
                let needs = plan::interests(&path.0);
                if self.entries.get(&path) != Some(&needs) {
                    self.entries.insert(path.clone(), needs);
                    moved.insert(path);
                }
            }
            if moved.is_empty() && !std::mem::take(&mut is_changed) {
                break;
            }
            let vanished = self.carry_out();
            self.hearing.touch(&moved);
            is_changed = !vanished.is_empty();
            stale = moved;
            stale.extend(vanished);
        }
        self.say_refusal();
    }

    /// Makes the backend watch what the entries need. Gives the paths whose folder was gone again.
    fn carry_out(&mut self) -> BTreeSet<WatchedPath> {
        let plan = Plan::new(&self.entries, &self.folders);
        self.hearing.install(plan.routes.clone());
        self.refused.retain(|folder, _| plan.folders.contains_key(folder));
        let dropped: Vec<PathBuf> = self
            .folders
            .iter()
            .filter(|(folder, id)| plan.folders.get(*folder) != Some(id))
            .map(|(folder, _)| folder.clone())
            .collect();
        for folder in dropped {
            self.backend.unwatch(&folder);
            self.folders.remove(&folder);
        }
        let mut vanished = BTreeSet::new();
        for (folder, id) in &plan.folders {
            if self.folders.contains_key(folder) || self.refused.contains_key(folder) {
                continue;
            }
            match self.backend.watch(folder) {
                Ok(()) => {
                    self.folders.insert(folder.clone(), *id);
                }
                Err(Refusal::Gone) => vanished.extend(plan.paths_of(folder)),
                Err(refusal) => {
                    self.refused.insert(folder.clone(), refusal);
                }
            }
        }
        self.hearing.poll(self.refused.keys().flat_map(|folder| plan.paths_of(folder)).collect());
        vanished
    }

    fn say_refusal(&mut self) {
        let first = self.refused.values().next();
        match first {
            Some(refusal) if !self.refusal_was_said => {
                tracing::warn!(
                    folders_polled = self.refused.len(),
                    folders_watched = self.folders.len(),
                    "{}",
                    backend::advice(refusal, self.refused.len(), backend::limit_of(refusal))
                );
            }
            _ => {}
        }
        self.refusal_was_said = first.is_some();
    }
}

impl Changes {
    /// Waits until something changed. May be dropped at any time (`select!`) without losing a change.
    ///
    /// When the [`Watcher`] is gone it waits for ever.
    pub async fn changed(&mut self) -> ChangeSet {
        while !self.hearing.has_news() {
            if self.hearing.is_polling() {
                let next_poll = self.polled + POLL_INTERVAL;
                tokio::select! {
                    () = self.hearing.wait() => {}
                    () = tokio::time::sleep_until(next_poll) => {
                        self.polled = Instant::now();
                        self.hearing.touch_polled();
                    }
                }
            } else {
                self.hearing.wait().await;
            }
        }
        let due = *self.due.get_or_insert_with(|| {
            let after_last = self.told.map(|told| told + WAKE_INTERVAL_MIN);
            let after_rescan = self.told_rescan.map(|told| told + RESCAN_INTERVAL_MIN);
            let after_rescan = after_rescan.filter(|_| self.hearing.is_rescan());
            (Instant::now() + SETTLE).max(after_last.max(after_rescan).unwrap_or_else(Instant::now))
        });
        tokio::time::sleep_until(due).await;
        self.due = None;
        let news = self.hearing.take_news();
        self.told = Some(Instant::now());
        if news.rescan {
            self.told_rescan = self.told;
        }
        news
    }
}

#[cfg(test)]
mod tests;
