//! A small file that is read whole when it changes.

use std::io;
use std::path::PathBuf;

use muster::clock::WallTime;

use super::settings::read_bounded;
use super::stamp::Stamp;

/// A file and the state in which it was read last.
#[derive(Debug)]
pub(super) struct SmallFile {
    path: PathBuf,
    bytes_max: u64,
    read: Option<Option<Stamp>>,
}

/// What a look at it gave.
#[derive(Debug)]
pub(super) enum Content {
    /// As it was when it was read last.
    Same,
    /// There is none.
    Absent,
    /// Its whole content and when it was written.
    Present(Vec<u8>, WallTime),
    /// It cannot be read in this state. Said once for each.
    Unreadable(io::Error),
}

impl SmallFile {
    /// The file at `path`, unless it is larger than `bytes_max`.
    pub(super) fn new(path: PathBuf, bytes_max: u64) -> Self {
        Self { path, bytes_max, read: None }
    }

    /// Reads it if it changed since the last look.
    pub(super) fn look(&mut self, now: WallTime) -> Content {
        let stamp = match Stamp::of(&self.path) {
            Ok(stamp) => stamp,
            Err(error) => {
                return if self.read.replace(None) == Some(None) {
                    Content::Same
                } else {
                    Content::Unreadable(error)
                };
            }
        };
        if self.read == Some(stamp) {
            return Content::Same;
        }
        self.read = Some(stamp);
        let Some(stamp) = stamp else { return Content::Absent };
        if stamp.is_racy(now) {
            self.read = None;
        }
        match read_bounded(&self.path, self.bytes_max) {
            Ok(bytes) => Content::Present(bytes, stamp.modified),
            Err(error) => Content::Unreadable(error),
        }
    }
}
