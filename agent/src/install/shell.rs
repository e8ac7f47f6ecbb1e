//! What touches the machine: runs commands, writes files. Behind a trait, so that a test can watch.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use muster::atomic_file::{self, Access};

use super::platform::CommandLine;

/// Longest that is kept of what a command says.
const SAID_CHARS_MAX: usize = 600;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it ended with 0.
    pub success: bool,
    /// What it printed, or why it did not start; in one line.
    pub said: String,
}

/// The machine, as far as an installation touches it.
pub trait Shell {
    /// Runs a command to its end.
    fn run(&self, command: &CommandLine) -> Outcome;

    /// Replaces a file, making its folder.
    fn write(&self, path: &Path, content: &[u8], access: Access) -> io::Result<()>;
}

/// This machine.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl Shell for System {
    fn run(&self, command: &CommandLine) -> Outcome {
        let ended = Command::new(command.program).args(&command.arguments).stdin(Stdio::null()).output();
        match ended {
            Ok(ended) => {
                let said = if ended.stderr.is_empty() { &ended.stdout } else { &ended.stderr };
                Outcome { success: ended.status.success(), said: in_one_line(&String::from_utf8_lossy(said)) }
            }
            Err(error) => {
                Outcome { success: false, said: format!("cannot run {}: {error}", command.program) }
            }
        }
    }

    fn write(&self, path: &Path, content: &[u8], access: Access) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        atomic_file::replace(path, content, access)
    }
}

fn in_one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("; ").chars().take(SAID_CHARS_MAX).collect()
}
