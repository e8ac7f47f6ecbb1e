//! Taking the agent away: the service first, the spool last, and only when nothing waits in it or when forced.
//!
//! Whether something waits is looked at after the agent has stopped and while its folder is locked, so that nothing can
//! come in between; if it must stay, the agent is started again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster::clock::SystemClock;

use super::config_edit::is_only_agent;
use super::platform::{Here, Platform};
use super::setup::run;
use super::shell::Shell;
use super::{InstallError, Service};
use crate::spool::{Spool, SpoolConfig};

/// What the agent keeps in its folder, in the order in which it goes. Of others nothing is touched.
const STATE: [&str; 13] = [
    "agent.sock",
    "tmp",
    "aggregate.snapshot",
    "otlp.key",
    "enrolment",
    "enrolment.new",
    "enrolment.old",
    "enrolment.lock",
    "enrolment.pending.pem",
    "enrolment.asking.lock",
    "remote_configuration.pb",
    "identity.json",
    "spool",
];

/// What is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Configuration, identity and spool as well.
    pub purge: bool,
    /// Events that no collector has taken as well.
    pub force: bool,
    /// Where the agent keeps its state.
    pub state_dir: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
}

/// Takes the agent away.
pub fn remove(
    removal: &Removal,
    platform: &dyn Platform,
    here: &Here,
    shell: &dyn Shell,
    say: &mut dyn FnMut(&str),
) -> Result<(), InstallError> {
    let files: Vec<PathBuf> =
        service_files(platform, here).into_iter().filter(|path| path.exists()).collect();
    let runs = !files.is_empty()
        && platform.is_set_up(here, true).last().is_some_and(|asked| shell.run(asked).success);
    if !files.is_empty() {
        for command in platform.stop(here) {
            run(shell, &command, platform, say)?;
        }
    }
    let spool = if removal.purge { locked_spool(removal, platform, here, shell, runs)? } else { None };
    if !files.is_empty() {
        for command in platform.disable(here) {
            run(shell, &command, platform, say)?;
        }
        for path in &files {
            remove_path(path, say)?;
        }
        for command in platform.forget() {
            run(shell, &command.or_not(), platform, say)?;
        }
    }
    if removal.purge {
        purge(removal, say)?;
    } else if removal.state_dir.join("identity.json").exists() {
        say(&format!(
            "kept   {} with the agent's identity and spool, and {}; --purge takes them away",
            removal.state_dir.display(),
            removal.config.display()
        ));
    }
    drop(spool);
    if files.is_empty() && !removal.purge {
        say(&format!("nothing to take away: there is no {}", platform.title()));
    }
    Ok(())
}

/// The files' places do not depend on what the service runs.
fn service_files(platform: &dyn Platform, here: &Here) -> Vec<PathBuf> {
    let nothing = Service {
        program: PathBuf::new(),
        arguments: Vec::new(),
        state_dir: PathBuf::new(),
        environment: Vec::new(),
        file_sandbox: true,
    };
    platform.files(&nothing, here).into_iter().map(|file| file.path).collect()
}

/// The spool, so that nobody writes to it from now on; refused if events wait and `force` is not said.
fn locked_spool(
    removal: &Removal,
    platform: &dyn Platform,
    here: &Here,
    shell: &dyn Shell,
    runs: bool,
) -> Result<Option<Spool>, InstallError> {
    if !removal.state_dir.join("identity.json").exists() {
        return Ok(None);
    }
    let refuse = |error: InstallError| {
        if runs {
            // As it was before. That it does not start again is less to be told than why nothing was taken away.
            platform.start(here).iter().for_each(|command| drop(shell.run(command)));
        }
        Err(error)
    };
    match Spool::open(SpoolConfig::new(&removal.state_dir), Arc::new(SystemClock::new())) {
        Ok(spool) if spool.events_queued() > 0 && !removal.force => {
            let bytes = spool.unacked_bytes();
            let (events, state_dir) = (spool.events_queued(), removal.state_dir.clone());
            drop(spool);
            refuse(InstallError::Backlog { events, bytes, state_dir })
        }
        Ok(spool) => Ok(Some(spool)),
        // What cannot be read cannot be sent either.
        Err(error) if removal.force && !error.is_locked() => {
            tracing::warn!(%error, "the spool does not open; it is taken away as asked");
            Ok(None)
        }
        Err(error) => refuse(error.into()),
    }
}

fn purge(removal: &Removal, say: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
    match std::fs::read_to_string(&removal.config) {
        Ok(text) if is_only_agent(&text) => remove_path(&removal.config, say)?,
        Ok(_) => say(&format!(
            "kept   {}: it has more than the agent's settings; take its section [agent] out by hand",
            removal.config.display()
        )),
        Err(_) => {}
    }
    for name in STATE {
        let path = removal.state_dir.join(name);
        if path.symlink_metadata().is_ok() {
            remove_path(&path, say)?;
        }
    }
    // Only if nothing of others is in it.
    if std::fs::remove_dir(&removal.state_dir).is_ok() {
        say(&format!("removed {}", removal.state_dir.display()));
    }
    Ok(())
}

fn remove_path(path: &Path, say: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
    let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let removed = if is_folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.map_err(InstallError::file("remove", path))?;
    say(&format!("removed {}", path.display()));
    Ok(())
}
