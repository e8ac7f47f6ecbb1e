//! The few things that a log asks of a file system, so that tests can make them fail.
//!
//! [`RealFs`] is the system's. `SimFs` (tests, feature `sim`) keeps files in memory, records every operation, and can
//! show the state that any crash could have left.

mod real;
#[cfg(any(test, feature = "sim"))]
mod sim;

use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;

pub use real::RealFs;
#[cfg(any(test, feature = "sim"))]
pub use sim::{CrashChoice, Fault, OpKind, SimFs, Trigger};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// To read what is there.
    Read,
    /// To read and write what is there.
    ReadWrite,
    /// To read and write, made anew and empty.
    Create,
}

/// What a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// Nothing.
    Missing,
    /// A folder.
    Folder,
    /// Something else.
    Other,
}

/// A file system.
pub trait FileSystem: Send + Sync + fmt::Debug {
    /// What `path` is.
    fn kind(&self, path: &Path) -> io::Result<PathKind>;
    /// Makes a folder and syncs its parent.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Names of the files in a folder, in no order. Names that are not UTF-8 are not ours and are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>>;
    /// Gives a file another name in the same folder. Durable after [`FileSystem::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Deletes a file. Durable after [`FileSystem::sync_dir`].
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Locks a folder for this handle alone; `WouldBlock` if somebody else has.
    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DirLock>>;
    /// Bytes that may still be written below a folder.
    fn available(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads up to `buffer.len()` bytes; fewer at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of the bytes and says how many.
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Cuts the file, or extends it with zeros.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Allocates room that reads as zeros, and extends the file to `offset + len`.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes the content durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// Size in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file still has a name.
    fn is_linked(&self) -> io::Result<bool>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
}

/// A folder that is locked until this is dropped.
pub trait DirLock: Send + Sync + fmt::Debug {
    /// Whether the path still leads to the folder that was locked.
    fn is_current(&self) -> io::Result<bool>;
}

/// Reads until `buffer` is full or the file ends; how many bytes.
pub(crate) fn read_full(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Most buffers in one vectored write (`IOV_MAX` on Linux).
const BUFFERS_MAX: usize = 1024;

/// Writes all buffers, one after the other, from `offset` on.
pub(crate) fn write_full(file: &dyn File, buffers: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    let mut rest = buffers;
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let most = rest.len().min(BUFFERS_MAX);
        match file.write_at(&rest[..most], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                offset += n as u64;
                IoSlice::advance_slices(&mut rest, n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
