//! What was heard and not yet told: sets of wanted paths, so that no flood of events can make it grow.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use notify::event::{CreateKind, EventKind, ModifyKind};
use tokio::sync::Notify;

use super::ChangeSet;
use super::plan::Route;
use crate::sources::WatchedPath;

/// Shared by notify's thread, the watcher and its changes. The lock is held for look-ups only, never over a call that
/// waits for notify's thread, which may itself be waiting for the lock.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    state: Mutex<State>,
    wake: Notify,
}

/// What the watcher must work out anew.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stale {
    pub paths: BTreeSet<WatchedPath>,
    /// Folders that are gone or are others now, so that their watches hear nothing.
    pub folders: BTreeSet<PathBuf>,
    pub everything: bool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    routes: BTreeMap<PathBuf, Route>,
    touched: BTreeSet<WatchedPath>,
    rescan: bool,
    rescans_forced: u64,
    stale: Stale,
    polled: BTreeSet<WatchedPath>,
}

impl Hearing {
    /// Takes in what notify says, on its thread.
    pub fn hear(&self, event: notify::Result<notify::Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.miss(),
            // Opens, reads and closes. A write says so itself before it closes.
            Ok(event) if event.kind.is_access() => {}
            Ok(event) => {
                let mut state = self.lock();
                let was_news = state.has_news();
                for path in &event.paths {
                    state.hear(path, event.kind);
                }
                let wakes = !was_news && state.has_news();
                drop(state);
                if wakes {
                    self.wake.notify_one();
                }
            }
            Err(error) => {
                // The path in the error stays here: logs name no files of projects.
                tracing::debug!(kind = ?error.kind, "file watcher reported an error, everything is looked at");
                self.miss();
            }
        }
    }

    /// Changes were missed.
    fn miss(&self) {
        let mut state = self.lock();
        state.rescan = true;
        state.rescans_forced += 1;
        state.stale.everything = true;
        drop(state);
        self.wake.notify_one();
    }

    /// Replaces the routes.
    pub fn install(&self, routes: BTreeMap<PathBuf, Route>) {
        self.lock().routes = routes;
    }

    /// Replaces the paths that are polled.
    pub fn poll(&self, polled: BTreeSet<WatchedPath>) {
        let mut state = self.lock();
        let begins = state.polled.is_empty() && !polled.is_empty();
        state.polled = polled;
        drop(state);
        if begins {
            // Whoever waits without a timer must begin to wait with one.
            self.wake.notify_one();
        }
    }

    /// Tells these at the next change set.
    pub fn touch(&self, paths: &BTreeSet<WatchedPath>) {
        if !paths.is_empty() {
            self.lock().touched.extend(paths.iter().cloned());
            self.wake.notify_one();
        }
    }

    /// Tells the polled ones at the next change set.
    pub fn touch_polled(&self) {
        let state = &mut *self.lock();
        state.touched.extend(state.polled.iter().cloned());
    }

    /// Nobody is interested in others any more.
    pub fn forget_but(&self, wanted: &BTreeSet<WatchedPath>) {
        self.lock().touched.retain(|path| wanted.contains(path));
    }

    pub fn is_polling(&self) -> bool {
        !self.lock().polled.is_empty()
    }

    pub fn has_news(&self) -> bool {
        self.lock().has_news()
    }

    pub fn is_rescan(&self) -> bool {
        self.lock().rescan
    }

    pub fn rescans_forced(&self) -> u64 {
        self.lock().rescans_forced
    }

    pub fn take_news(&self) -> ChangeSet {
        let mut state = self.lock();
        let touched = std::mem::take(&mut state.touched).into_iter().collect();
        ChangeSet { touched, rescan: std::mem::take(&mut state.rescan) }
    }

    pub fn take_stale(&self) -> Stale {
        std::mem::take(&mut self.lock().stale)
    }

    /// Waits for news. They may have been taken meanwhile.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_news(&self) -> bool {
        self.rescan || !self.touched.is_empty()
    }

    fn hear(&mut self, path: &Path, kind: EventKind) {
        // What has this name now may be something else than before.
        let replaces = matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        let may_be_folder =
            !matches!(kind, EventKind::Create(CreateKind::File) | EventKind::Modify(_)) || replaces;
        if let (Some(folder), Some(name)) = (path.parent(), path.file_name())
            && let Some(route) = self.routes.get(folder)
        {
            let named = route.names.get(name);
            insert_all(&mut self.touched, route.whole.iter().chain(named.into_iter().flatten()));
            if may_be_folder {
                insert_all(&mut self.stale.paths, named.into_iter().flatten());
            }
            if matches!(kind, EventKind::Remove(_)) {
                // Perhaps the whole folder goes, and nobody tells while somebody still has a file of it open.
                insert_all(&mut self.stale.paths, route.whole.iter());
            }
        }
        if may_be_folder {
            self.lose_folders(path);
        } else if let Some(route) = self.routes.get(path) {
            insert_all(&mut self.touched, route.whole.iter());
        }
    }

    /// `path` and the watched folders in it are not what they were.
    fn lose_folders(&mut self, path: &Path) {
        let from_path = (Bound::Included(path), Bound::Unbounded);
        let inside =
            self.routes.range::<Path, _>(from_path).take_while(|(folder, _)| folder.starts_with(path));
        for (folder, route) in inside {
            insert_all(&mut self.touched, route.everybody());
            insert_all(&mut self.stale.paths, route.everybody());
            self.stale.folders.insert(folder.clone());
        }
    }
}

/// Without a copy of what is there already: in a storm that is nearly always so.
fn insert_all<'a>(set: &mut BTreeSet<WatchedPath>, paths: impl Iterator<Item = &'a WatchedPath>) {
    for path in paths {
        if !set.contains(path) {
            set.insert(path.clone());
        }
    }
}
