//! A file system in memory that remembers every operation, fails when told to, and can be crashed anywhere.
//!
//! A crash is a prefix of the operations and a choice, for each of them that no later sync in the prefix covers, of
//! whether it reached the disk: kept, dropped, or (a write) kept in some of its 512-byte sectors. Content is covered by
//! the file's `sync_data`, names by the folder's `sync_dir`. Nothing is assumed beyond that.

mod disk;

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use self::disk::{Disk, Operation};
use super::{DirLock, File, FileSystem, OpenMode, PathKind};

/// A file system in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SimFs {
    disk: Arc<Mutex<Disk>>,
}

/// A kind of operation, to make it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpKind {
    /// `read_at`.
    Read,
    /// `write_at`.
    Write,
    /// `truncate`.
    Truncate,
    /// `allocate`.
    Allocate,
    /// `sync_data`.
    SyncData,
    /// `sync_dir`.
    SyncDir,
    /// `rename`.
    Rename,
    /// `unlink`.
    Unlink,
    /// `list`.
    List,
    /// `open` that makes a file.
    Create,
}

/// When a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The next time, and then no more.
    Once,
    /// From now on.
    Sticky,
}

/// A failure to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What fails.
    pub kind: OpKind,
    /// When.
    pub trigger: Trigger,
    /// With which error number (`EIO` is 5, `ENOSPC` 28).
    pub errno: i32,
}

/// What became of one operation that was not synced when the power went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashChoice {
    /// It reached the disk.
    Keep,
    /// It did not.
    Drop,
    /// Of a write, the sectors whose bit is set did; other operations are kept.
    Torn(u64),
}

impl SimFs {
    /// An empty one that records nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records operations from here on; what is there counts as durable.
    pub fn record(&self) {
        self.disk.lock().operations = Some(Vec::new());
    }

    /// How many operations were recorded: crash points are `0..=` this.
    pub fn operations(&self) -> usize {
        self.disk.lock().operations.as_ref().map_or(0, Vec::len)
    }

    /// The state after a crash that let the first `prefix` operations happen. `start` is a copy of the state when
    /// recording began; `choose` is asked for each operation that no sync covers.
    pub fn crashed(&self, start: &SimFs, prefix: usize, mut choose: impl FnMut() -> CrashChoice) -> SimFs {
        let crashed = start.copy();
        let disk = self.disk.lock();
        let all = disk.operations.as_deref().unwrap_or_default();
        let happened = &all[..prefix.min(all.len())];
        let mut after = crashed.disk.lock();
        for (i, operation) in happened.iter().enumerate() {
            let verdict =
                happened[i + 1..].iter().find(|later| later.covers(operation) || later.forfeits(operation));
            let is_synced = verdict.is_some_and(|later| later.covers(operation));
            let choice = if is_synced { CrashChoice::Keep } else { choose() };
            after.replay(operation, choice);
        }
        drop(after);
        crashed
    }

    /// A copy that shares nothing, records nothing and has no faults.
    pub fn copy(&self) -> SimFs {
        let disk = self.disk.lock();
        let copy = Disk {
            folders: disk.folders.keys().map(|path| (path.clone(), false)).collect(),
            names: disk.names.clone(),
            files: disk.files.clone(),
            next_file: disk.next_file,
            ..Disk::default()
        };
        SimFs { disk: Arc::new(Mutex::new(copy)) }
    }

    /// Lets an operation fail.
    pub fn inject(&self, fault: Fault) {
        self.disk.lock().faults.push(fault);
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.disk.lock().faults.clear();
    }

    /// Bounds the bytes of all files.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk.lock().capacity = bytes;
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.disk.lock().used()
    }

    /// How often content was synced.
    pub fn syncs(&self) -> u64 {
        self.disk.lock().syncs
    }

    /// How often something was written.
    pub fn writes(&self) -> u64 {
        self.disk.lock().vectored_writes
    }

    /// The content of all files, by path.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let disk = self.disk.lock();
        disk.names.iter().map(|(path, file)| (path.clone(), disk.files[file].clone())).collect()
    }

    /// Sets a file's content, behind the back of whoever has it open.
    pub fn put(&self, path: &Path, content: Vec<u8>) {
        let mut disk = self.disk.lock();
        let file = disk.names.get(path).copied().unwrap_or_else(|| disk.create(path));
        disk.files.insert(file, content);
    }

    /// Takes a file away, behind the back of whoever has it open.
    pub fn remove(&self, path: &Path) {
        self.disk.lock().names.remove(path);
    }
}

impl FileSystem for SimFs {
    fn kind(&self, path: &Path) -> io::Result<PathKind> {
        let disk = self.disk.lock();
        Ok(match (disk.folders.contains_key(path), disk.names.contains_key(path)) {
            (true, _) => PathKind::Folder,
            (false, true) => PathKind::Other,
            (false, false) => PathKind::Missing,
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.lock().folders.insert(path.to_owned(), false);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut disk = self.disk.lock();
        disk.fail(OpKind::List)?;
        let inside = disk.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>> {
        let mut disk = self.disk.lock();
        let file = match (disk.names.get(path).copied(), mode) {
            (Some(file), OpenMode::Create) => {
                disk.fail(OpKind::Create)?;
                disk.files.insert(file, Vec::new());
                disk.note(Operation::Truncate { file, len: 0 });
                file
            }
            (Some(file), _) => file,
            (None, OpenMode::Create) => {
                disk.fail(OpKind::Create)?;
                let file = disk.create(path);
                disk.note(Operation::Create { path: path.to_owned(), file });
                file
            }
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(SimFile { disk: self.disk.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.fail(OpKind::Rename)?;
        let file = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), file);
        disk.note(Operation::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.fail(OpKind::Unlink)?;
        disk.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        disk.note(Operation::Unlink { path: path.to_owned() });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.fail(OpKind::SyncDir)?;
        disk.note(Operation::SyncDir { dir: dir.to_owned() });
        Ok(())
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut disk = self.disk.lock();
        match disk.folders.get_mut(dir) {
            Some(true) => Err(io::ErrorKind::WouldBlock.into()),
            Some(is_locked) => {
                *is_locked = true;
                Ok(Box::new(SimLock { disk: self.disk.clone(), dir: dir.to_owned() }))
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn available(&self, _dir: &Path) -> io::Result<u64> {
        let disk = self.disk.lock();
        Ok(disk.room(u64::MAX))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: Arc<Mutex<Disk>>,
    file: u64,
}

#[derive(Debug)]
struct SimLock {
    disk: Arc<Mutex<Disk>>,
    dir: PathBuf,
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        disk.fail(OpKind::Read)?;
        let content = &disk.files[&self.file];
        let from = content.len().min(offset as usize);
        let len = buffer.len().min(content.len() - from);
        buffer[..len].copy_from_slice(&content[from..from + len]);
        Ok(len)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        disk.fail(OpKind::Write)?;
        let mut data: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        let len = disk.files[&self.file].len() as u64;
        let growth = (offset + data.len() as u64).saturating_sub(len);
        let short = growth - disk.room(growth);
        data.truncate(data.len() - (short as usize).min(data.len()));
        if data.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.write(self.file, offset, &data);
        disk.vectored_writes += 1;
        let written = data.len();
        disk.note(Operation::Write { file: self.file, offset, data });
        Ok(written)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.fail(OpKind::Truncate)?;
        disk.files.entry(self.file).or_default().resize(len as usize, 0);
        disk.note(Operation::Truncate { file: self.file, len });
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.fail(OpKind::Allocate)?;
        let size = disk.files[&self.file].len() as u64;
        let growth = (offset + len).saturating_sub(size);
        if disk.room(growth) < growth {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if growth > 0 {
            disk.files.entry(self.file).or_default().resize((offset + len) as usize, 0);
            disk.note(Operation::Truncate { file: self.file, len: offset + len });
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if let Err(error) = disk.fail(OpKind::SyncData) {
            disk.note(Operation::SyncFailed { file: self.file });
            return Err(error);
        }
        disk.syncs += 1;
        disk.note(Operation::SyncData { file: self.file });
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[&self.file].len() as u64)
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(self.disk.lock().names.values().any(|file| *file == self.file))
    }
}

impl DirLock for SimLock {
    fn is_current(&self) -> io::Result<bool> {
        Ok(self.disk.lock().folders.contains_key(&self.dir))
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        if let Some(is_locked) = self.disk.lock().folders.get_mut(&self.dir) {
            *is_locked = false;
        }
    }
}
