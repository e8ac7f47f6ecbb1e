//! Files of secrets: who else could read them.
//!
//! | owner | may be |
//! |---|---|
//! | this process's user | for the owner alone |
//! | root or another user | for its group as well, since the group is how this process reads it; not for it to write |
//!
//! The second is what Kubernetes makes of a secret in a pod with `fsGroup`: root's, and 0440 for the group of the pod. Our
//! own file we could have made private, so that a group on it is a mistake.

use std::fs::File;
use std::io;

/// The permission bits of a file that more can read or change than should; `None` if it is private.
#[cfg(unix)]
pub fn loose_mode(file: &File) -> io::Result<Option<u32>> {
    use std::os::unix::fs::MetadataExt;
    let metadata = file.metadata()?;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    let mode = metadata.mode() & 0o777;
    Ok(is_loose(mode, is_ours).then_some(mode))
}

/// Permission bits are Unix's.
#[cfg(not(unix))]
pub fn loose_mode(_file: &File) -> io::Result<Option<u32>> {
    Ok(None)
}

#[cfg_attr(not(unix), allow(dead_code, reason = "only Unix has permission bits to read"))]
fn is_loose(mode: u32, is_ours: bool) -> bool {
    let forbidden = if is_ours { 0o077 } else { 0o027 };
    mode & forbidden != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_read_what_another_user_owns_and_nobody_else_ever() {
        for (mode, ours_is_loose, theirs_is_loose) in [
            (0o600, false, false),
            (0o400, false, false),
            (0o440, true, false),
            (0o640, true, false),
            (0o660, true, true),
            (0o420, true, true),
            (0o444, true, true),
            (0o441, true, true),
            (0o604, true, true),
        ] {
            assert_eq!(is_loose(mode, true), ours_is_loose, "{mode:o} of ours");
            assert_eq!(is_loose(mode, false), theirs_is_loose, "{mode:o} of another's");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_ours_by_its_owner() -> io::Result<()> {
        use std::os::unix::fs::{PermissionsExt, chown};
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("key");
        crate::atomic_file::replace(&path, b"secret", crate::atomic_file::Access::Owner)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440))?;
        assert_eq!(loose_mode(&File::open(&path)?)?, Some(0o440));
        // Only root can give a file away.
        if chown(&path, Some(12_345), None).is_ok() {
            assert_eq!(loose_mode(&File::open(&path)?)?, None);
        }
        Ok(())
    }
}
