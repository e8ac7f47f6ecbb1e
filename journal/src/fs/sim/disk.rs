//! What is on the simulated disk, and what of an operation a crash leaves.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{CrashChoice, Fault, OpKind, Trigger};

/// What a disk writes at once.
const SECTOR_BYTES: u64 = 512;

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) folders: BTreeMap<PathBuf, bool>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) files: BTreeMap<u64, Vec<u8>>,
    pub(super) next_file: u64,
    /// None: nothing is recorded.
    pub(super) operations: Option<Vec<Operation>>,
    pub(super) faults: Vec<Fault>,
    pub(super) capacity: Option<u64>,
    pub(super) syncs: u64,
    pub(super) vectored_writes: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Operation {
    Create {
        path: PathBuf,
        file: u64,
    },
    Write {
        file: u64,
        offset: u64,
        data: Vec<u8>,
    },
    Truncate {
        file: u64,
        len: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    SyncData {
        file: u64,
    },
    /// The system has dropped what it could not write: a later sync does not cover it.
    SyncFailed {
        file: u64,
    },
    SyncDir {
        dir: PathBuf,
    },
}

impl Operation {
    /// Whether this is a failed sync after which `earlier` will not be written any more.
    pub(super) fn forfeits(&self, earlier: &Operation) -> bool {
        matches!((self, earlier), (Operation::SyncFailed { file }, Operation::Write { file: written, .. }) if file == written)
    }

    /// Whether this, coming later, makes `earlier` durable.
    pub(super) fn covers(&self, earlier: &Operation) -> bool {
        match (self, earlier) {
            (Operation::SyncData { file }, Operation::Write { file: written, .. }) => file == written,
            (Operation::SyncData { file }, Operation::Truncate { file: cut, .. }) => file == cut,
            (Operation::SyncDir { dir }, Operation::Create { path, .. } | Operation::Unlink { path }) => {
                path.parent() == Some(dir)
            }
            (Operation::SyncDir { dir }, Operation::Rename { to, .. }) => to.parent() == Some(dir),
            _ => false,
        }
    }
}

impl Disk {
    pub(super) fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[file].len() as u64).sum()
    }

    pub(super) fn create(&mut self, path: &Path) -> u64 {
        self.next_file += 1;
        self.names.insert(path.to_owned(), self.next_file);
        self.files.insert(self.next_file, Vec::new());
        self.next_file
    }

    pub(super) fn fail(&mut self, kind: OpKind) -> io::Result<()> {
        let Some(i) = self.faults.iter().position(|fault| fault.kind == kind) else { return Ok(()) };
        let fault = self.faults[i];
        if fault.trigger == Trigger::Once {
            self.faults.remove(i);
        }
        Err(io::Error::from_raw_os_error(fault.errno))
    }

    pub(super) fn note(&mut self, operation: Operation) {
        if let Some(operations) = &mut self.operations {
            operations.push(operation);
        }
    }

    /// How many of `wanted` bytes there is room for.
    pub(super) fn room(&self, wanted: u64) -> u64 {
        self.capacity.map_or(wanted, |capacity| wanted.min(capacity.saturating_sub(self.used())))
    }

    pub(super) fn write(&mut self, file: u64, offset: u64, data: &[u8]) {
        let content = self.files.entry(file).or_default();
        let end = offset as usize + data.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset as usize..end].copy_from_slice(data);
    }

    pub(super) fn replay(&mut self, operation: &Operation, choice: CrashChoice) {
        if choice == CrashChoice::Drop {
            // A name that did not reach the disk may still be synced by its content: the file is just not found.
            if let Operation::Create { file, .. } = operation {
                self.files.entry(*file).or_default();
            }
            return;
        }
        match operation {
            Operation::Create { path, file } => {
                self.names.insert(path.clone(), *file);
                self.files.entry(*file).or_default();
                self.next_file = self.next_file.max(*file);
            }
            Operation::Write { file, offset, data } => match choice {
                CrashChoice::Torn(sectors) => self.write_sectors(*file, *offset, data, sectors),
                _ => self.write(*file, *offset, data),
            },
            Operation::Truncate { file, len } => {
                self.files.entry(*file).or_default().resize(*len as usize, 0)
            }
            Operation::Rename { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Operation::Unlink { path } => _ = self.names.remove(path),
            Operation::SyncData { .. } | Operation::SyncFailed { .. } | Operation::SyncDir { .. } => {}
        }
    }

    /// Writes the sectors whose bit is set; the file has its new size whatever came of its content.
    pub(super) fn write_sectors(&mut self, file: u64, offset: u64, data: &[u8], sectors: u64) {
        let end = offset + data.len() as u64;
        let content = self.files.entry(file).or_default();
        if (content.len() as u64) < end {
            content.resize(end as usize, 0);
        }
        let mut at = offset;
        let mut sector = 0;
        while at < end {
            let next = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
            let to = next.min(end);
            if sectors >> (sector % 64) & 1 == 1 {
                let piece = &data[(at - offset) as usize..(to - offset) as usize];
                content[at as usize..to as usize].copy_from_slice(piece);
            }
            (at, sector) = (to, sector + 1);
        }
    }
}
