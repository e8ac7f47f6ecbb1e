//! The files: appending whole lines, turning at the bound, reading from the oldest.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::own_file::{self, Opening};

/// Name of the newest file; older ones have `.1`, `.2` and so on.
pub const FILE_NAME: &str = "audit.jsonl";
/// A file turns when it is as large as this: 60,000 lines, and quick to search.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files in all, the newest included: half a million lines on 128 MiB.
pub const FILES_MAX: usize = 8;
const LOCK_NAME: &str = "audit.lock";

/// Where lines go.
#[derive(Debug)]
pub(super) struct AuditFile {
    data_dir: PathBuf,
    bytes_max: u64,
}

impl AuditFile {
    pub(super) fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned(), bytes_max: FILE_BYTES_MAX }
    }

    #[cfg(test)]
    pub(super) fn turning_at(data_dir: &Path, bytes_max: u64) -> Self {
        Self { data_dir: data_dir.to_owned(), bytes_max }
    }

    /// Appends lines with their ends, durably. After an error none of them is there, or a torn end that readers pass over.
    pub(super) fn append(&self, lines: &[u8]) -> io::Result<()> {
        let lock = own_file::open(&self.data_dir, &self.data_dir.join(LOCK_NAME), Opening::Lock)?;
        // Held for a write and a sync; a command waits for it as long.
        lock.lock()?;
        let path = path(&self.data_dir, 0);
        let open = || own_file::open(&self.data_dir, &path, Opening::Append);
        let mut file = open()?;
        let mut bytes = file.metadata()?.len();
        if bytes > 0 && bytes + lines.len() as u64 > self.bytes_max {
            self.turn()?;
            file = open()?;
            bytes = 0;
        }
        let written = end_torn_line(&mut file, bytes).and_then(|()| file.write_all(lines));
        if let Err(error) = written.and_then(|()| file.sync_data()) {
            // A disk that is full still shortens; if not, the torn end is passed over.
            let _ = file.set_len(bytes);
            return Err(error);
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "each file was synced when it was written; a rename that is lost leaves the old name"
    )]
    fn turn(&self) -> io::Result<()> {
        for age in (0..FILES_MAX - 1).rev() {
            match std::fs::rename(path(&self.data_dir, age), path(&self.data_dir, age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// All lines that are there, oldest first. A line that cannot be read ends its file.
pub fn lines(data_dir: &Path) -> impl Iterator<Item = String> + use<> {
    let data_dir = data_dir.to_owned();
    let files = (0..FILES_MAX).rev().filter_map(move |age| File::open(path(&data_dir, age)).ok());
    files.flat_map(|file| BufReader::new(file).lines().map_while(Result::ok))
}

/// Reads what is appended, through the turn of the files.
#[derive(Debug)]
pub struct Follower {
    data_dir: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end is not there yet.
    begun: Vec<u8>,
}

impl Follower {
    /// From the end of what is there now.
    pub fn at_end(data_dir: &Path) -> io::Result<Self> {
        let mut file = open_to_read(&path(data_dir, 0))?;
        if let Some(file) = &mut file {
            file.seek(SeekFrom::End(0))?;
        }
        Ok(Self { data_dir: data_dir.to_owned(), file, begun: Vec::new() })
    }

    /// Lines that came since.
    pub fn new_lines(&mut self) -> io::Result<Vec<String>> {
        let mut lines = self.rest()?;
        let newest = open_to_read(&path(&self.data_dir, 0))?;
        if is_another(self.file.as_ref(), newest.as_ref())? {
            // What was appended between the read and the turn.
            lines.extend(self.rest()?);
            self.begun.clear();
            self.file = newest;
            lines.extend(self.rest()?);
        }
        Ok(lines)
    }

    fn rest(&mut self) -> io::Result<Vec<String>> {
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        file.take(FILE_BYTES_MAX).read_to_end(&mut self.begun)?;
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
        let rest = self.begun.split_off(end + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        Ok(String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect())
    }
}

fn path(data_dir: &Path, age: usize) -> PathBuf {
    match age {
        0 => data_dir.join(FILE_NAME),
        age => data_dir.join(format!("{FILE_NAME}.{age}")),
    }
}

fn open_to_read(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// A line that a crash left without its end must not swallow the next.
fn end_torn_line(file: &mut File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(bytes - 1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

#[cfg(unix)]
fn is_another(known: Option<&File>, newest: Option<&File>) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let inode = |file: Option<&File>| -> io::Result<Option<u64>> {
        file.map(|file| Ok(file.metadata()?.ino())).transpose()
    };
    let newest = inode(newest)?;
    Ok(newest.is_some() && inode(known)? != newest)
}

#[cfg(not(unix))]
fn is_another(known: Option<&File>, newest: Option<&File>) -> io::Result<bool> {
    let Some(newest) = newest else { return Ok(false) };
    let Some(mut known) = known else { return Ok(true) };
    Ok(newest.metadata()?.len() < known.stream_position()?)
}
