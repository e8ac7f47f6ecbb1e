//! What differs between the systems: the files of a service, and the commands that start and stop it.
//!
//! Everything here is pure; [`super::shell`] runs what it names.

use std::path::PathBuf;

use super::Service;

/// A service manager of one user.
pub trait Platform {
    /// What the service is, for people.
    fn title(&self) -> &'static str;

    /// The files that the manager reads.
    fn files(&self, service: &Service, here: &Here) -> Vec<ServiceFile>;

    /// Asks whether the manager can be reached.
    fn reach(&self) -> Option<CommandLine>;

    /// What to do where it cannot: `run` is the command that runs the agent in the foreground.
    fn unreachable(&self, run: &str, said: &str) -> String;

    /// Questions that are all answered with success when the service is enabled and, if `started`, runs.
    fn is_set_up(&self, here: &Here, started: bool) -> Vec<CommandLine>;

    /// Has the manager read the files, start the service at each login, and now if `start`.
    fn set_up(&self, here: &Here, start: bool) -> Vec<CommandLine>;

    /// Starts what [`Platform::stop`] stopped.
    fn start(&self, here: &Here) -> Vec<CommandLine>;

    /// Stops the service.
    fn stop(&self, here: &Here) -> Vec<CommandLine>;

    /// No start at a login any more; before the files are removed.
    fn disable(&self, here: &Here) -> Vec<CommandLine>;

    /// Has the manager forget the files that were removed.
    fn forget(&self) -> Vec<CommandLine>;

    /// Where to look when it does not start.
    fn when_it_fails(&self) -> &'static str;

    /// What a user should know about when it runs.
    fn advice(&self, here: &Here) -> Advice;
}

/// Whether the agent runs while nobody is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// Asks for what decides it; `None` where nothing does.
    pub question: Option<CommandLine>,
    /// What to say where the answer is `yes`.
    pub yes: String,
    /// What to say where it is not.
    pub no: String,
}

/// Who is asking, and where that user's things are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// The user's home.
    pub home: PathBuf,
    /// Where configurations are.
    pub config_home: PathBuf,
    /// The login name; with its domain on Windows.
    pub user: String,
    /// The user's number; 0 where users have none.
    pub uid: u32,
}

/// A file of the service manager's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
    /// How that is written.
    pub encoding: Encoding,
}

/// How a text becomes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8.
    Utf8,
    /// UTF-16, little end first, with its mark: what Windows writes and reads tasks in.
    Utf16,
}

/// A command, and whether its failure matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The program, found on `PATH`.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Whether it may fail: what it would undo may not be there.
    pub may_fail: bool,
}

impl ServiceFile {
    /// What is on disk.
    pub fn bytes(&self) -> Vec<u8> {
        match self.encoding {
            Encoding::Utf8 => self.text.as_bytes().to_vec(),
            Encoding::Utf16 => {
                let marked = std::iter::once(0xFEFF).chain(self.text.encode_utf16());
                marked.flat_map(u16::to_le_bytes).collect()
            }
        }
    }
}

impl CommandLine {
    /// A command that must succeed.
    pub fn new<'a>(program: &'static str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        Self { program, arguments, may_fail: false }
    }

    /// The same, and its failure is passed over.
    pub fn or_not(self) -> Self {
        Self { may_fail: true, ..self }
    }
}

impl std::fmt::Display for CommandLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.program)?;
        for argument in &self.arguments {
            let is_plain = !argument.is_empty() && !argument.contains([' ', '"', '\'', '$']);
            if is_plain { write!(f, " {argument}")? } else { write!(f, " \"{argument}\"")? }
        }
        Ok(())
    }
}

/// Text in an XML element.
pub(super) fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // XML 1.0 has no way to write these.
            control if control.is_control() && !matches!(control, '\t' | '\n' | '\r') => {}
            other => escaped.push(other),
        }
    }
    escaped
}
