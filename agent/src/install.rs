//! Setting the agent up for one user, and taking it away.
//!
//! ```text
//! asked for ─> plan (pure: configuration, service file, commands) ─> shown (--print) or done, what differs alone
//! ```
//!
//! - **Nothing is half done on a refusal**: the configuration that would result is checked before anything is written, and
//!   an enrolment comes before the service.
//! - **Twice is once**: a file that has its content is not written, and an agent that is enabled and runs, with all files
//!   as they are to be, is left alone.
//! - **What a user wrote stays**: the configuration is changed in the places asked for, in its text ([`config_edit`]).
//! - **What was not sent stays**: taking away ends with the spool, and only when nothing waits in it, or when forced
//!   ([`fn@remove`]).
//!
//! The three systems differ in [`Platform`] alone: pure functions that render files and name commands. All three are
//! rendered and parsed in the tests; none has been run by its own system yet.

use std::path::{Path, PathBuf};

pub mod config_edit;
pub mod launchd;
pub mod platform;
pub mod remove;
pub mod scheduled_task;
pub mod setup;
pub mod shell;
pub mod systemd;
#[cfg(test)]
mod tests;

pub use platform::{Advice, CommandLine, Encoding, Here, Platform, ServiceFile};
pub use remove::{Removal, remove};
pub use setup::{Plan, Request, plan};
pub use shell::{Outcome, Shell, System};

/// What a service manager is to run, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where the agent keeps its state.
    pub state_dir: PathBuf,
    /// Variables of this user's session that decide where configuration and state are.
    pub environment: Vec<(&'static str, String)>,
    /// Whether the service may write its own folder alone.
    pub file_sandbox: bool,
}

/// Why the agent is not set up, or not taken away.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The configuration that is there is not valid.
    #[error("{} is not valid, and nothing was changed", path.display())]
    ConfigInvalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: crate::config::ConfigError,
    },
    /// What was asked for makes no valid configuration.
    #[error("this would make no valid configuration, and nothing was changed")]
    RequestInvalid(#[source] crate::config::ConfigError),
    /// The configuration's text has a form that is not edited.
    #[error("{}", path.display())]
    Edit {
        /// The file.
        path: PathBuf,
        /// Why, and what to write by hand.
        source: config_edit::EditError,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// This machine has no service manager that can be reached.
    #[error("{0}")]
    NoServiceManager(String),
    /// A file or folder.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A command failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// The command.
        command: String,
        /// What it said, with what to do.
        said: String,
    },
    /// The enrolment.
    #[error("not enrolled, and nothing was changed: {0}")]
    Enrolment(String),
    /// The spool.
    #[error("cannot look into the spool")]
    Spool(#[from] crate::spool::SpoolError),
    /// Events wait for the collector.
    #[error(
        "{events} events ({bytes} bytes) in {} were not taken by a collector yet, and nothing was taken away: wait until \
         `muster agent status` says that none wait, or lose them with --force", state_dir.display()
    )]
    Backlog {
        /// Events.
        events: u64,
        /// Bytes of the spool.
        bytes: u64,
        /// Where.
        state_dir: PathBuf,
    },
}

impl InstallError {
    /// Whether the caller asked for something wrong, rather than that something failed.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::ConfigInvalid { .. } | Self::RequestInvalid(_) | Self::Edit { .. } | Self::Usage(_)
        )
    }

    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}
