//! Where an export goes on this machine: a file, or standard output.
//!
//! A file gets its name only when it is whole and on disk; until then it is `NAME.new.PID` beside it, which an error or
//! Ctrl-C removes. What is there already is left alone without `--force`, before and after; a build of CI has it
//! (`CI=true`), since the next build finds the file of the one before in its workspace. A target that is no
//! regular file (`/dev/stdout`, a pipe) is written to as it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Stdout, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use muster::atomic_file::{Access, Draft, Existing};
use parking_lot::Mutex;

use super::super::Failure;
use super::interrupt::on_interrupt;

/// A place for the bytes of an export.
#[derive(Debug)]
pub(super) enum Output {
    /// Standard output.
    Stdout,
    /// A regular file.
    File {
        /// Its name when it is whole.
        path: PathBuf,
        /// What happens to what is there.
        existing: Existing,
    },
    /// A device or a pipe.
    Other(PathBuf),
}

/// An output that is being written.
pub(super) enum Writing {
    Stdout(Stdout),
    File { draft: Draft, existing: Existing, path: PathBuf, unfinished: Arc<Unfinished> },
    Other(File, PathBuf),
}

/// What must be removed when the process is interrupted.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    state: Mutex<State>,
    rows: AtomicU64,
}

/// How far a file is.
#[derive(Debug, Default)]
enum State {
    #[default]
    NotBegun,
    /// It is here.
    Begun(PathBuf),
    /// It has its name, or will never have it.
    Ended,
}

impl Output {
    /// Looks at the target, touches nothing. `None` and `-` are standard output.
    pub(super) fn at(path: Option<&Path>, is_forced: bool) -> Result<Self, Failure> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { return Ok(Self::Stdout) };
        let existing = if is_forced { Existing::Replace } else { Existing::Keep };
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(Failure::Other(format!(
                "cannot write {}: it is a folder; name a file in it",
                path.display()
            ))),
            Ok(found) if found.is_file() && !is_forced => Err(is_there(path)),
            // What a link points to is replaced, and not the link.
            Ok(found) if found.is_file() => {
                let path = path.canonicalize().map_err(|error| cannot_write(path, &error))?;
                Ok(Self::File { path, existing })
            }
            Ok(_) => Ok(Self::Other(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::File { path: path.to_owned(), existing })
            }
            Err(error) => Err(cannot_write(path, &error)),
        }
    }

    /// Whether a person would see the bytes.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Stdout) && io::stdout().is_terminal()
    }

    /// Begins to write. From then on Ctrl-C removes what is not finished.
    pub(super) fn open(self, unfinished: &Arc<Unfinished>) -> Result<Writing, Failure> {
        match self {
            Self::Stdout => Ok(Writing::Stdout(io::stdout())),
            Self::Other(path) => {
                let file = OpenOptions::new().write(true).open(&path);
                let file = file.map_err(|error| cannot_write(&path, &error))?;
                Ok(Writing::Other(file, path))
            }
            Self::File { path, existing } => {
                let (on_end, target) = (unfinished.clone(), path.clone());
                on_interrupt(move |word| on_end.remove(word, &target))?;
                // Held while it is begun: an interrupt finds either nothing to remove or what it is called.
                let mut state = unfinished.state.lock();
                let draft =
                    Draft::beside(&path, Access::Umask).map_err(|error| cannot_write(&path, &error))?;
                *state = State::Begun(draft.temporary().to_owned());
                drop(state);
                Ok(Writing::File { draft, existing, path, unfinished: unfinished.clone() })
            }
        }
    }
}

impl Writing {
    /// Makes it whole.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(mut out) => {
                out.flush().map_err(|error| Failure::Other(format!("standard output: {error}")))
            }
            Self::Other(mut file, path) => file.flush().map_err(|error| cannot_write(&path, &error)),
            Self::File { draft, existing, path, unfinished } => {
                // Held over the rename: an interrupt sees a file that is not there yet, or one that is whole.
                let mut state = unfinished.state.lock();
                let published = draft.publish(existing);
                *state = State::Ended;
                match published {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(is_there(&path)),
                    published => published.map_err(|error| cannot_write(&path, &error)),
                }
            }
        }
    }

    /// What to call it in an error.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdout(_) => "standard output".to_owned(),
            Self::File { path, .. } | Self::Other(_, path) => path.display().to_string(),
        }
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File { draft, .. } => draft.write(bytes),
            Self::Other(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File { draft, .. } => draft.flush(),
            Self::Other(file, _) => file.flush(),
        }
    }
}

impl Unfinished {
    /// Notes how far it is.
    pub(super) fn set_rows(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }

    fn remove(&self, word: &str, target: &Path) {
        let state = self.state.lock();
        let told = match &*state {
            State::NotBegun => "nothing was written".to_owned(),
            State::Begun(temporary) => match fs::remove_file(temporary) {
                Ok(()) => "nothing was written".to_owned(),
                Err(error) => format!("cannot remove {}: {error}", temporary.display()),
            },
            State::Ended => return,
        };
        let rows = self.rows.load(Ordering::Relaxed);
        // Nothing is left to tell if standard error is gone.
        let _ = writeln!(
            io::stderr(),
            "muster: {word} after {rows} rows; {} is not there: {told}",
            target.display()
        );
    }
}

fn is_there(path: &Path) -> Failure {
    Failure::Other(format!("{} is there already; --force overwrites it", path.display()))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Other(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_left_alone_unless_forced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.csv");
        assert!(matches!(Output::at(Some(&path), false), Ok(Output::File { existing: Existing::Keep, .. })));
        File::create(&path).expect("made");
        let refused = Output::at(Some(&path), false).expect_err("refused").to_string();
        assert!(refused.contains("--force"), "{refused}");
        assert!(matches!(
            Output::at(Some(&path), true),
            Ok(Output::File { existing: Existing::Replace, .. })
        ));
        let refused = Output::at(Some(folder.path()), true).expect_err("refused").to_string();
        assert!(refused.contains("is a folder"), "{refused}");
    }

    #[test]
    fn a_file_that_came_meanwhile_is_left_alone_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.csv");
        let output = Output::at(Some(&path), false).expect("free");
        let mut writing = output.open(&Arc::default()).expect("opens");
        writing.write_all(b"new").expect("writes");
        let mut other = File::create(&path).expect("made");
        other.write_all(b"theirs").expect("written");
        assert!(writing.finish().expect_err("refused").to_string().contains("is there already"));
        assert_eq!(fs::read(&path).expect("there"), b"theirs");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1);
    }

    #[test]
    fn nothing_and_a_dash_are_standard_output() {
        assert!(matches!(Output::at(None, false), Ok(Output::Stdout)));
        assert!(matches!(Output::at(Some(Path::new("-")), false), Ok(Output::Stdout)));
    }
}
