//! What the service manager is told: ready, reloading, stopping, a line of status, and that we still make progress
//! (sd_notify(3), `Type=notify`, `WatchdogSec=`).
//!
//! Without `NOTIFY_SOCKET`, and on systems without systemd, all of it does nothing. A message that cannot be sent is
//! logged and changes nothing: the manager's own timeouts decide what becomes of a service that it does not hear.
//!
//! [`Readiness::progress`] is to be called only by who has just seen progress, never by a timer alone: a process that
//! hangs with a timer running is one that nobody restarts.

use std::time::Duration;

/// How often a status is told where no watchdog sets the pace.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// So many proofs of progress fit into the manager's patience: one that is late by a little is no reason to be killed.
const PROOFS_A_WATCHDOG: u32 = 3;

/// The line to the service manager.
#[derive(Debug, Clone)]
pub struct Readiness {
    is_heard: bool,
    watchdog: Option<Duration>,
}

impl Readiness {
    /// The one of this process, by its environment.
    pub fn of_this_process() -> Self {
        let is_heard =
            cfg!(target_os = "linux") && std::env::var_os("NOTIFY_SOCKET").is_some_and(|at| !at.is_empty());
        Self { is_heard, watchdog: if is_heard { manager::watchdog() } else { None } }
    }

    /// Whether anybody listens.
    pub fn is_heard(&self) -> bool {
        self.is_heard
    }

    /// How often progress is to be proved and a status told.
    pub fn interval(&self) -> Duration {
        self.watchdog.map_or(STATUS_INTERVAL, |patience| patience / PROOFS_A_WATCHDOG)
    }

    /// The service does its work from now on; also the end of a reload.
    pub fn ready(&self, status: &str) {
        self.tell(|| manager::ready(status));
    }

    /// A short line for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.tell(|| manager::status(status));
    }

    /// The configuration is read anew; [`Readiness::ready`] follows, whether it was taken or not.
    pub fn reloading(&self) {
        self.tell(manager::reloading);
    }

    /// The end begins.
    pub fn stopping(&self, status: &str) {
        self.tell(|| manager::stopping(status));
    }

    /// Progress was made just now.
    pub fn progress(&self) {
        if self.watchdog.is_some() {
            self.tell(manager::progress);
        }
    }

    fn tell(&self, message: impl FnOnce() -> std::io::Result<()>) {
        if self.is_heard
            && let Err(error) = message()
        {
            tracing::warn!(%error, "the service manager does not hear us (NOTIFY_SOCKET)");
        }
    }
}

#[cfg(target_os = "linux")]
mod manager {
    //! systemd, or whoever set `NOTIFY_SOCKET`.

    use std::io;
    use std::time::Duration;

    use sd_notify::{NotifyState, notify};

    pub(super) fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero())
    }

    pub(super) fn ready(status: &str) -> io::Result<()> {
        notify(&[NotifyState::Ready, NotifyState::Status(status)])
    }

    pub(super) fn status(status: &str) -> io::Result<()> {
        notify(&[NotifyState::Status(status)])
    }

    pub(super) fn reloading() -> io::Result<()> {
        notify(&[
            NotifyState::Reloading,
            NotifyState::monotonic_usec_now()?,
            NotifyState::Status("reading the configuration"),
        ])
    }

    pub(super) fn stopping(status: &str) -> io::Result<()> {
        notify(&[NotifyState::Stopping, NotifyState::Status(status)])
    }

    pub(super) fn progress() -> io::Result<()> {
        notify(&[NotifyState::Watchdog])
    }
}

#[cfg(not(target_os = "linux"))]
mod manager {
    //! Nobody listens.

    use std::io;
    use std::time::Duration;

    pub(super) fn watchdog() -> Option<Duration> {
        None
    }

    pub(super) fn ready(_: &str) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn status(_: &str) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn reloading() -> io::Result<()> {
        Ok(())
    }

    pub(super) fn stopping(_: &str) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn progress() -> io::Result<()> {
        Ok(())
    }
}
