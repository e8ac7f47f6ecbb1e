//! A private copy of a database that cannot be read in place without writing beside it.
//!
//! A database with a hot journal must be rolled back before it tells the truth, and one in WAL mode makes SQLite create
//! its `-wal` and `-shm` files even for a reader. Both would write into the watched project. So the database and its
//! journal or WAL are copied into a folder of our own, readable by us alone and outside the project, and recovered
//! there. The `-shm` file is not copied: it is an index that the first opener of the copy builds anew from the WAL.
//! The folder is removed when the copy is dropped; what a killed agent left is removed when the next copy is made.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster::clock::{Clock, SystemClock};

use super::stamp::Stamp;

/// Largest database, with its journal or WAL, that is copied.
pub(super) const COPY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Start of the names of our folders.
const FOLDER_PREFIX: &str = "muster-devloop-";
/// A copy lives for seconds: a folder of this age has no owner any more.
const FOLDER_AGE_MAX: Duration = Duration::from_secs(3600);

/// The copy; its folder lives as long as it.
#[derive(Debug)]
pub(super) struct PrivateCopy {
    folder: PathBuf,
    database: PathBuf,
}

/// Endings of the files that belong to a database.
pub(super) const COMPANIONS: [&str; 2] = ["-journal", "-wal"];

impl PrivateCopy {
    /// Copies `database` and its companions to a folder that is not inside `project`.
    pub(super) fn of(database: &Path, project: &Path) -> io::Result<Self> {
        let folder = new_folder(project)?;
        let copy = Self { database: folder.join("events.db"), folder };
        copy_file(database, &copy.database)?;
        for companion in COMPANIONS {
            match copy_file(&beside(database, companion), &beside(&copy.database, companion)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                copied => copied?,
            }
        }
        Ok(copy)
    }

    /// The copied database.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }
}

impl Drop for PrivateCopy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "cannot remove the private copy of a database");
        }
    }
}

/// The path of a database's companion file.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// A folder with a name that nobody can foresee, for its owner alone.
fn new_folder(project: &Path) -> io::Result<PathBuf> {
    let parent = [std::env::temp_dir(), PathBuf::from("/var/tmp"), PathBuf::from("/tmp")]
        .into_iter()
        .find(|parent| !parent.starts_with(project) && parent.is_dir())
        .ok_or_else(|| io::Error::other("no temporary folder outside the project: set TMPDIR"))?;
    remove_orphans(&parent);
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(|_| io::Error::other("no randomness for a folder's name"))?;
    let folder = parent.join(format!("{FOLDER_PREFIX}{:016x}", u64::from_be_bytes(random)));
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder)?;
    Ok(folder)
}

/// Removes what agents that were killed left. Others' folders refuse, and are not ours to worry about.
fn remove_orphans(parent: &Path) {
    let now = SystemClock::new().wall();
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(FOLDER_PREFIX);
        let is_old = || {
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_dir)?;
            Some(now.since(Stamp::from_metadata(&metadata).modified) > FOLDER_AGE_MAX)
        };
        if is_ours && is_old().unwrap_or(false) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Not `fs::copy`: a read-only original would give a read-only copy, which cannot be recovered.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = OpenOptions::new().write(true).create_new(true).open(to)?;
    io::copy(&mut source, &mut target)?;
    Ok(())
}
