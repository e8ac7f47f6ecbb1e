//! A file of records that a running collector and the command line both change: tokens, agents, the authority.
//!
//! One JSON document for its owner alone, replaced as a whole and durably. A lock file beside it keeps two writers from
//! losing each other's change; who only reads needs no lock. A document that is not valid is an error and is never
//! written over.
//!
//! The command line may be run by root and the collector by another user: [`crate::own_file`] says what becomes of what root
//! writes here.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use muster::atomic_file::{Access, Draft, Existing};
use muster::private_file;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::own_file::{self, Opening};

/// What is in such a file.
pub(crate) trait Document: Serialize + DeserializeOwned + Default {
    /// Its path inside the data folder.
    const PATH: &'static str;
    /// Its lock's path inside the data folder.
    const LOCK: &'static str;
    /// What it is called in messages.
    const WHAT: &'static str;
    /// What the largest one needs at most.
    const BYTES_MAX: u64;
    /// Whether it is refused when others than its owner can read it.
    const IS_SECRET: bool = false;

    /// What is wrong with a document that could be read, in words.
    fn problem(&self) -> Option<String>;
}

/// A document that is open for a change: nobody else can change it until this is dropped.
#[derive(Debug)]
pub(crate) struct Edit<D> {
    pub(crate) document: D,
    data_dir: PathBuf,
    _lock: File,
}

/// By what is seen that a file is another, or that others may read it now: when, how large, and on Unix which and since when
/// it is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: SystemTime,
    bytes: u64,
    #[cfg(unix)]
    inode: (u64, i64, i64),
}

/// Why a file of records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordFileError {
    /// It or its folder could not be read or written.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not what this program writes.
    #[error("{path} is not a valid {what}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It holds a secret, and others than its owner can read it.
    #[error("{what} {path} can be read by others (mode {mode:o}); run: chmod 600 {path}")]
    Loose {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// Its permission bits.
        mode: u32,
    },
}

impl Stamp {
    /// Of the document as it is now; `None` when there is none.
    pub(crate) fn of<D: Document>(data_dir: &Path) -> Option<Self> {
        Self::of_file(&data_dir.join(D::PATH))
    }

    /// Of a file as it is now; `None` when there is none.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            modified: metadata.modified().ok()?,
            bytes: metadata.len(),
            // `chmod` changes the last of these alone.
            #[cfg(unix)]
            inode: (metadata.ino(), metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Whether the same may be readable at the next look: a shortage of descriptors or memory is over then, and no change of the
/// file tells.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    // A file that is made, or that may be read after all, has another stamp.
    !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// The document; the empty one when there is no file.
pub(crate) fn read<D: Document>(data_dir: &Path) -> Result<D, RecordFileError> {
    let path = data_dir.join(D::PATH);
    let io_error = |source| RecordFileError::Io { what: "read", path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(D::default()),
        Err(source) => return Err(io_error(source)),
    };
    if D::IS_SECRET
        && let Some(mode) = private_file::loose_mode(&file).map_err(io_error)?
    {
        return Err(RecordFileError::Loose { path, what: D::WHAT, mode });
    }
    let mut text = zeroize::Zeroizing::new(Vec::new());
    file.take(D::BYTES_MAX).read_to_end(&mut text).map_err(io_error)?;
    let invalid = |problem: String| RecordFileError::Invalid { path: path.clone(), what: D::WHAT, problem };
    let document: D = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
    match document.problem() {
        Some(problem) => Err(invalid(problem)),
        None => Ok(document),
    }
}

impl<D: Document> Edit<D> {
    /// Opens it for a change, and waits while another program has it.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, RecordFileError> {
        let io_error = |what, path: &Path| {
            let path = path.to_owned();
            move |source| RecordFileError::Io { what, path, source }
        };
        fs::create_dir_all(data_dir).map_err(io_error("make", data_dir))?;
        let lock_path = data_dir.join(D::LOCK);
        if let Some(folder) = lock_path.parent().filter(|folder| *folder != data_dir) {
            own_file::make_folder(data_dir, folder).map_err(io_error("make", folder))?;
        }
        let lock = own_file::open(data_dir, &lock_path, Opening::Lock);
        let lock = lock.map_err(io_error("open", &lock_path))?;
        lock.lock().map_err(io_error("lock", &lock_path))?;
        Ok(Self { document: read(data_dir)?, data_dir: data_dir.to_owned(), _lock: lock })
    }

    /// Writes the document as it is now, durably.
    pub(crate) fn save(&self) -> Result<(), RecordFileError> {
        let path = self.data_dir.join(D::PATH);
        let written = || {
            let text = zeroize::Zeroizing::new(serde_json::to_vec_pretty(&self.document)?);
            let mut draft = Draft::beside(&path, Access::Owner)?;
            draft.write_all(&text)?;
            own_file::give_to_owner_of(&self.data_dir, draft.file())?;
            draft.publish(Existing::Replace)
        };
        written().map_err(|source| RecordFileError::Io { what: "write", path: path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Notes {
        notes: Vec<String>,
    }

    impl Document for Notes {
        const PATH: &'static str = "notes/notes.json";
        const LOCK: &'static str = "notes/notes.lock";
        const WHAT: &'static str = "file of notes";
        const BYTES_MAX: u64 = 1_000;
        const IS_SECRET: bool = true;

        fn problem(&self) -> Option<String> {
            self.notes.contains(&String::new()).then(|| "a note is empty".to_owned())
        }
    }

    fn write(dir: &Path, note: &str) -> Result<(), RecordFileError> {
        let mut edit = Edit::<Notes>::open(dir)?;
        edit.document.notes.push(note.to_owned());
        edit.save()
    }

    #[test]
    fn two_writers_at_once_lose_nothing() {
        let dir = tempfile::tempdir().expect("folder");
        std::thread::scope(|scope| {
            for writer in ["a", "b"] {
                let dir = dir.path();
                scope.spawn(move || (0..20).for_each(|_| write(dir, writer).expect("written")));
            }
        });
        assert_eq!(read::<Notes>(dir.path()).expect("valid").notes.len(), 40);
    }

    #[test]
    fn what_is_not_valid_is_refused_and_never_written_over() {
        let dir = tempfile::tempdir().expect("folder");
        assert!(read::<Notes>(dir.path()).expect("none is empty").notes.is_empty());
        write(dir.path(), "").expect("written");
        let refused = write(dir.path(), "more").expect_err("not valid").to_string();
        assert!(refused.contains("is not a valid file of notes: a note is empty"), "{refused}");
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_command_that_helps() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("folder");
        write(dir.path(), "one").expect("written");
        let path = dir.path().join(Notes::PATH);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        let refused = read::<Notes>(dir.path()).expect_err("loose").to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[cfg(unix)]
    #[test]
    fn links_that_somebody_planted_lead_nowhere() {
        use std::os::unix::fs::symlink;
        let (dir, outside) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
        let victim = outside.path().join("victim");
        let document = dir.path().join(Notes::PATH);
        let plants = [document.with_extension(format!("json.new.{}", std::process::id())), document.clone()];
        write(dir.path(), "one").expect("written");
        for planted in plants {
            muster::atomic_file::replace(&victim, br#"{"notes":[]}"#, Access::Owner).expect("disk");
            if planted.exists() {
                fs::remove_file(&planted).expect("there");
            }
            symlink(&victim, &planted).expect("planted");
            write(dir.path(), "two").expect("written");
            assert_eq!(fs::read(&victim).expect("there"), br#"{"notes":[]}"#, "through {planted:?}");
        }
        for planted in [dir.path().join(Notes::LOCK), dir.path().join("notes")] {
            if planted.is_dir() { fs::remove_dir_all(&planted) } else { fs::remove_file(&planted) }
                .expect("there");
            symlink(outside.path(), &planted).expect("planted");
            assert!(write(dir.path(), "three").is_err(), "through {planted:?}");
        }
        assert_eq!(fs::read_dir(outside.path()).expect("folder").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn what_root_writes_belongs_to_the_owner_of_the_folder() {
        use std::os::unix::fs::{MetadataExt, chown};
        let dir = tempfile::tempdir().expect("folder");
        // Only root can give a folder away.
        if chown(dir.path(), Some(12_345), Some(12_345)).is_err() {
            return;
        }
        write(dir.path(), "one").expect("written");
        for path in ["notes", Notes::PATH, Notes::LOCK] {
            assert_eq!(fs::metadata(dir.path().join(path)).expect("there").uid(), 12_345, "{path}");
        }
    }
}
