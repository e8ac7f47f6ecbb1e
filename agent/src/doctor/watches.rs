//! inotify's limits and how much of them this user's processes have.

use super::facts::WatchFacts;

/// Watches that one project's tools need, about: their state folders, and what is in them.
const WATCHES_A_PROJECT: u64 = 16;

/// `None` where there is no inotify.
#[cfg(target_os = "linux")]
pub(super) fn look(projects: u64, watched_paths: u64) -> Option<WatchFacts> {
    let limit = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse().ok()
    };
    let (instances_used, watches_used) = used();
    Some(WatchFacts {
        watches_max: limit("max_user_watches")?,
        instances_max: limit("max_user_instances")?,
        watches_used,
        instances_used,
        watches_needed: needed(projects, watched_paths),
    })
}

/// `None` where there is no inotify.
#[cfg(not(target_os = "linux"))]
pub(super) fn look(projects: u64, watched_paths: u64) -> Option<WatchFacts> {
    let _ = needed(projects, watched_paths);
    None
}

fn needed(projects: u64, watched_paths: u64) -> u64 {
    projects.saturating_mul(WATCHES_A_PROJECT).saturating_add(watched_paths)
}

/// Instances and watches of the processes of this user, as far as they can be looked at.
#[cfg(target_os = "linux")]
fn used() -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::geteuid().as_raw();
    let (mut instances, mut watches) = (0, 0);
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_ours = processes.filter(|entry| entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == own));
    for process in of_ours.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()) {
        for descriptor in std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
            if !target.to_string_lossy().contains("inotify") {
                continue;
            }
            instances += 1;
            let info = process.path().join("fdinfo").join(descriptor.file_name());
            let info = std::fs::read_to_string(info).unwrap_or_default();
            watches += info.lines().filter(|line| line.starts_with("inotify ")).count() as u64;
        }
    }
    (instances, watches)
}
