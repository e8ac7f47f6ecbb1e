//! The system's file watcher behind three calls, and what to tell the operator when it refuses.

use std::path::Path;
use std::sync::Arc;

use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::POLL_INTERVAL;
use super::hearing::Hearing;

/// Watches single folders.
pub(super) trait Backend: Send {
    /// Begins to watch a folder, without its subfolders. What happens there goes to the [`Hearing`].
    fn watch(&mut self, folder: &Path) -> Result<(), Refusal>;
    /// Ends it. Harmless if it is not watched.
    fn unwatch(&mut self, folder: &Path);
}

/// Why a folder is not watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not there any more.
    Gone,
    /// This user has as many watches as the system allows.
    Watches,
    /// This user has as many watchers as the system allows: there is none for us at all.
    Instances,
    /// Anything else, such as missing permission.
    Other(std::io::ErrorKind),
}

/// notify's watcher for this system.
pub(super) struct NotifyBackend {
    /// None if the system refused it.
    watcher: Result<RecommendedWatcher, Refusal>,
}

impl NotifyBackend {
    /// Tells `hearing` what happens, from a thread of its own.
    pub fn new(hearing: Arc<Hearing>) -> Self {
        let watcher = notify::recommended_watcher(move |event| hearing.hear(event));
        Self { watcher: watcher.map_err(|error| refusal_of_creation(&error)) }
    }
}

impl Backend for NotifyBackend {
    fn watch(&mut self, folder: &Path) -> Result<(), Refusal> {
        let watcher = self.watcher.as_mut().map_err(|refusal| *refusal)?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(|error| match error.kind {
            ErrorKind::PathNotFound => Refusal::Gone,
            ErrorKind::MaxFilesWatch => Refusal::Watches,
            ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::NotFound => Refusal::Gone,
            ErrorKind::Io(error) => Refusal::Other(error.kind()),
            _ => Refusal::Other(std::io::ErrorKind::Other),
        })
    }

    fn unwatch(&mut self, folder: &Path) {
        if let Ok(watcher) = &mut self.watcher {
            // notify has forgotten it already if the folder was removed.
            let _ = watcher.unwatch(folder);
        }
    }
}

fn refusal_of_creation(error: &notify::Error) -> Refusal {
    match &error.kind {
        // EMFILE is for this process's descriptors too; the advice says both.
        ErrorKind::Io(error) if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            Refusal::Instances
        }
        ErrorKind::Io(error) => Refusal::Other(error.kind()),
        _ => Refusal::Other(std::io::ErrorKind::Other),
    }
}

/// The limit that `refusal` is about, as it is set now.
pub(super) fn limit_of(refusal: &Refusal) -> Option<u64> {
    let name = match refusal {
        Refusal::Watches => "max_user_watches",
        Refusal::Instances => "max_user_instances",
        Refusal::Gone | Refusal::Other(_) => return None,
    };
    std::fs::read_to_string(Path::new("/proc/sys/fs/inotify").join(name)).ok()?.trim().parse().ok()
}

/// What to tell the operator: what is refused, what is done instead and what would help.
pub(super) fn advice(refusal: &Refusal, folders: usize, limit: Option<u64>) -> String {
    let instead = format!("polled every {} s instead: {folders} folders", POLL_INTERVAL.as_secs());
    let set_to = |more: u64| match limit {
        Some(limit) => format!("to at least {}", limit.saturating_add(more)),
        None => format!("by at least {more}"),
    };
    match refusal {
        Refusal::Watches => format!(
            "limit of file watches reached, {instead}; raise the sysctl fs.inotify.max_user_watches {}",
            set_to(folders as u64)
        ),
        Refusal::Instances => format!(
            "limit of file watchers or of open files reached, {instead}; raise the sysctl \
             fs.inotify.max_user_instances {} or the limit of open files (ulimit -n), and restart the agent",
            set_to(1)
        ),
        Refusal::Gone | Refusal::Other(_) => format!("folders cannot be watched ({refusal:?}), {instead}"),
    }
}
