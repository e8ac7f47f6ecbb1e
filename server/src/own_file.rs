//! Files that commands make in the collector's data folder, which root may run while the folder belongs to another user.
//!
//! - What root makes belongs to whoever owns the folder, so that the collector can read it, and change it too. It is handed over
//!   by its handle: by its name it could have become another file meanwhile.
//! - Nothing is opened through a symbolic link: the folder's owner could have root write, or give away, any file of the
//!   machine.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// To write at its end, and to read.
    Append,
    /// To lock it.
    Lock,
}

/// Opens a file for its owner alone, and makes it if there is none.
pub(crate) fn open(data_dir: &Path, path: &Path, opening: Opening) -> io::Result<File> {
    let mut options = OpenOptions::new();
    match opening {
        Opening::Append => options.read(true).append(true),
        Opening::Lock => options.write(true),
    };
    not_through_links(&mut options);
    // A new one is told from one that is there in one step: what others have put there is not ours to give away.
    match options.clone().create_new(true).open(path) {
        Ok(file) => give_to_owner_of(data_dir, &file).map(|()| file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
    }
}

/// Makes a folder for its owner alone if there is none; one that is a symbolic link is refused.
pub(crate) fn make_folder(data_dir: &Path, folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let is_new = match builder.create(folder) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    check_folder(data_dir, folder, is_new)
}

/// What root made belongs to whom the folder belongs to; others can only make what is theirs.
#[cfg(unix)]
pub(crate) fn give_to_owner_of(data_dir: &Path, made: &File) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(data_dir)?;
    fchown(made, Some(owner.uid()), Some(owner.gid()))
}

#[cfg(not(unix))]
pub(crate) fn give_to_owner_of(_data_dir: &Path, _made: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn not_through_links(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
}

#[cfg(not(unix))]
fn not_through_links(_options: &mut OpenOptions) {}

#[cfg(unix)]
fn check_folder(data_dir: &Path, folder: &Path, is_new: bool) -> io::Result<()> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(folder)?;
    if is_new { give_to_owner_of(data_dir, &opened) } else { Ok(()) }
}

/// There is nobody to be given to.
#[cfg(not(unix))]
fn check_folder(_data_dir: &Path, _folder: &Path, _is_new: bool) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn a_link_in_the_place_of_a_file_or_folder_is_refused_and_what_it_leads_to_is_left_alone() {
        let dir = tempfile::tempdir().expect("folder");
        let outside = tempfile::tempdir().expect("folder");
        let (victim, missing) = (outside.path().join("victim"), outside.path().join("missing"));
        muster::atomic_file::replace(&victim, b"untouched", muster::atomic_file::Access::Umask)
            .expect("disk");
        let path = dir.path().join("file");
        for target in [&victim, &missing] {
            symlink(target, &path).expect("planted");
            for opening in [Opening::Append, Opening::Lock] {
                assert!(
                    open(dir.path(), &path, opening).is_err(),
                    "{opening:?} through a link to {target:?}"
                );
            }
            fs::remove_file(&path).expect("there");
        }
        symlink(outside.path(), &path).expect("planted");
        assert!(make_folder(dir.path(), &path).is_err());
        assert_eq!(fs::read(&victim).expect("there"), b"untouched");
        assert!(!missing.exists());
    }

    #[test]
    fn what_is_made_is_its_owners_alone_and_root_hands_over_that_alone() {
        let dir = tempfile::tempdir().expect("folder");
        let (old, new, folder) = (dir.path().join("old"), dir.path().join("new"), dir.path().join("folder"));
        open(dir.path(), &old, Opening::Lock).expect("made");
        // Only root can give a folder away.
        let is_root = chown(dir.path(), Some(12_345), Some(12_345)).is_ok();
        open(dir.path(), &old, Opening::Append).expect("opened");
        open(dir.path(), &new, Opening::Append).expect("made");
        make_folder(dir.path(), &folder).expect("made");
        make_folder(dir.path(), &folder).expect("there");
        let uid = |path: &Path| fs::metadata(path).expect("there").uid();
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&new), mode(&folder)), (0o600, 0o700));
        if is_root {
            assert_eq!(
                (uid(&old), uid(&new), uid(&folder)),
                (0, 12_345, 12_345),
                "the first was there before"
            );
        }
    }
}
