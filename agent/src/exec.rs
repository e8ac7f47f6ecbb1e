//! A command as a run: it is started, watched and passed through, and what it did is told.
//!
//! The command is untouched: it has this process's terminal, files, folder, group and environment (plus `TRACEPARENT`,
//! when there was one), and this process ends as it ended: the same code, or the same signal.
//!
//! | what happens | what is done |
//! |---|---|
//! | the terminal sends a signal (Ctrl-C, hangup) | the command's group has it already: wait for how it ends |
//! | a process sends a signal to this one | it is passed on to the command |
//! | the command stops (Ctrl-Z) | this process is in the same group and stops with it |
//! | the command's own children outlive it | they are not waited for, and what they do from then on is not counted |
//! | the command cannot be started | 127 if it is not there, 126 if it may not be; a run of status `error` |
//! | telemetry cannot be spooled | one line on stderr; the exit code stays the command's |
//!
//! A run that ends within [`STARTED_AFTER`] is told as one record, its start and its end; a longer one tells its start
//! while it runs. What it used is the system's account of the command and of all that it waited for; the peak of memory
//! is the larger of that (one process's) and of samples of the whole tree.
//!
//! Where there are no Unix processes, the command is started and waited for, and only its code and duration are told.

use std::ffi::OsString;
use std::time::Duration;

use muster::clock::{Clock, WallTime};

pub mod ci;
#[cfg(not(unix))]
mod elsewhere;
mod report;
pub mod trace;
#[cfg(unix)]
mod unix;

pub use report::Report;

#[cfg(not(unix))]
use elsewhere as system;
#[cfg(unix)]
use unix as system;

/// A run that lasts longer tells its start.
pub const STARTED_AFTER: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Debug)]
pub struct Command {
    /// The program and its arguments; never empty.
    pub words: Vec<OsString>,
    /// What replaces the environment's `TRACEPARENT`.
    pub traceparent: Option<String>,
}

/// How a command ended.
#[derive(Debug)]
pub enum End {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// It never began.
    NotStarted(std::io::Error),
}

/// What a command used; `None` is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time of it and of all that it waited for.
    pub cpu: Option<Duration>,
    /// Most memory.
    pub memory_bytes: Option<u64>,
    /// Read from and written to disks.
    pub io_bytes: Option<u64>,
    /// Most processes at once.
    pub processes: u32,
}

/// A command that ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub end: End,
    /// When it began.
    pub started: WallTime,
    /// How long it took.
    pub duration: Duration,
    /// What it used.
    pub used: Used,
}

/// Runs a command to its end. `lasts` is called once if it is still there after [`STARTED_AFTER`].
pub fn run(command: &Command, clock: &dyn Clock, lasts: &mut dyn FnMut(WallTime)) -> Ended {
    system::run(command, clock, lasts)
}

/// Ends this process as the command ended; what cannot be imitated is its code.
pub fn end_like(end: &End) -> u8 {
    match end {
        End::Exited(code) => *code as u8,
        End::Signaled(signal) => {
            system::die_by(*signal);
            // It did not kill us: as shells tell it.
            128_u8.wrapping_add(*signal as u8)
        }
        End::NotStarted(error) => match error.kind() {
            std::io::ErrorKind::NotFound => 127,
            _ => 126,
        },
    }
}

#[cfg(test)]
mod tests;
