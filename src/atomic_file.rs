//! Small state files that are either the old or the new content, whatever happens in between.
//!
//! [`replace`] writes a temporary file beside the target, syncs it, renames it over the target and syncs the folder.
//! After an error the target still has its old content. A [`Draft`] is the same for a file that is written in parts.
//!
//! The temporary file is always a new one: what has its name already is removed and not written to, so that a link that
//! somebody has put there leads nowhere, also when root writes in another user's folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Who may read the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Its owner alone (0600): identities, credentials.
    Owner,
    /// As the umask has it.
    Umask,
}

/// Replaces the content of `path` durably. Parent folders must exist.
#[expect(clippy::disallowed_methods, reason = "the durable rename that everybody else is to use")]
pub fn replace(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let written = write_synced(&temporary, content, access).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // The target is untouched; a left-over temporary file is only untidy.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_folder(path)
}

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced.
    Replace,
    /// It stays, and the draft is refused with [`io::ErrorKind::AlreadyExists`].
    Keep,
}

/// A file that is written in parts, and has its name only when it is whole. Dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Draft {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// Begins the new content of `path` in a temporary file beside it.
    pub fn beside(path: &Path, access: Access) -> io::Result<Self> {
        let temporary = temporary_beside(path)?;
        let file = create(&temporary, access)?;
        Ok(Self { file, temporary, path: path.to_owned() })
    }

    /// The temporary file: for whoever must change whose it is.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where the content is meanwhile: for whoever must remove it when the process ends early.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Makes the content durable and gives it its name.
    #[expect(clippy::disallowed_methods, reason = "the durable rename that everybody else is to use")]
    pub fn publish(self, existing: Existing) -> io::Result<()> {
        self.file.sync_all()?;
        match existing {
            Existing::Replace => fs::rename(&self.temporary, &self.path)?,
            // A link is refused if the name is taken, in one step. Its other name goes with the draft.
            Existing::Keep => match fs::hard_link(&self.temporary, &self.path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !self.path.exists() => {
                    // A file system without links.
                    fs::rename(&self.temporary, &self.path)?;
                }
                linked => linked?,
            },
        }
        sync_folder(&self.path)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a rename there is none; else a left-over temporary file is only untidy.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".new.{}", std::process::id()));
    Ok(path.with_file_name(temporary))
}

fn write_synced(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    let mut file = create(path, access)?;
    file.write_all(content)?;
    file.sync_all()
}

fn create(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Owner {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = access;
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left by a process that had our number and ended early, or a link.
            fs::remove_file(path)?;
            options.open(path)
        }
        opened => opened,
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_has_the_new_content_and_leaves_nothing_beside_it() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("identity.json");
        replace(&path, b"one", Access::Owner)?;
        replace(&path, b"two", Access::Owner)?;
        assert_eq!(fs::read(&path)?, b"two");
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_draft_has_no_name_until_it_is_whole_and_leaves_nothing_if_it_never_is() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("export.csv");
        let mut draft = Draft::beside(&path, Access::Umask)?;
        draft.write_all(b"half")?;
        assert!(!path.exists() && draft.temporary().exists());
        drop(draft);
        assert_eq!(fs::read_dir(folder.path())?.count(), 0);
        let mut draft = Draft::beside(&path, Access::Umask)?;
        draft.write_all(b"whole")?;
        draft.publish(Existing::Keep)?;
        assert_eq!(fs::read(&path)?, b"whole");
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_draft_replaces_only_what_it_may() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("export.csv");
        replace(&path, b"mine", Access::Umask)?;
        let mut draft = Draft::beside(&path, Access::Umask)?;
        draft.write_all(b"new")?;
        let refused = draft.publish(Existing::Keep).expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path)?, b"mine");
        let mut draft = Draft::beside(&path, Access::Umask)?;
        draft.write_all(b"new")?;
        draft.publish(Existing::Replace)?;
        assert_eq!((fs::read(&path)?, fs::read_dir(folder.path())?.count()), (b"new".to_vec(), 1));
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_the_temporary_file_is_not_followed() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (path, victim) = (folder.path().join("agents.json"), folder.path().join("victim"));
        replace(&victim, b"untouched", Access::Umask)?;
        let plant = || std::os::unix::fs::symlink(&victim, temporary_beside(&path)?);
        plant()?;
        replace(&path, b"one", Access::Owner)?;
        plant()?;
        let mut draft = Draft::beside(&path, Access::Owner)?;
        draft.write_all(b"two")?;
        draft.publish(Existing::Replace)?;
        assert_eq!((fs::read(&path)?, fs::read(&victim)?), (b"two".to_vec(), b"untouched".to_vec()));
        assert!(fs::symlink_metadata(&path)?.is_file());
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_file_for_its_owner_cannot_be_read_by_others() -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("secret");
        replace(&path, b"x", Access::Owner)?;
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        Ok(())
    }
}
