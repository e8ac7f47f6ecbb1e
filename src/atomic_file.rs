//! Small state files that are either the old or the new content, whatever happens in between.
//!
//! [`replace`] writes a temporary file beside the target, syncs it, renames it over the target and syncs the folder.
//! After an error the target still has its old content.

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

fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".new.{}", std::process::id()));
    Ok(path.with_file_name(temporary))
}

fn write_synced(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    if access == Access::Owner {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = access;
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
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
