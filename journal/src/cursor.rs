//! Named cursors: how far a reader has got, durable, and known to retention.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::failpoint::failpoint;
use crate::format::{CursorSlot, Decoded, HEAD_COPY_BYTES, JournalId, SECOND_COPY_OFFSET};
use crate::fs::{FileSystem, OpenMode, read_full, write_full};
use crate::record::Position;
use crate::shared::Shared;

/// Longest name: it is part of a file's name and of labels.
pub const CURSOR_NAME_BYTES_MAX: usize = 64;
/// Most cursors of one log: a destination has one, and there are a few dozen of these.
pub const CURSORS_MAX: usize = 1024;

/// A named cursor. Retention does not pass it, unless its policy says so.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    name: String,
}

/// Why a cursor was not claimed or did not move. It stays where it was.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// Not 1 to 64 characters of `a-z A-Z 0-9 _ -`.
    #[error("cursor name {0:?} is not 1 to {CURSOR_NAME_BYTES_MAX} characters of a-z A-Z 0-9 _ -")]
    Name(String),
    /// There are too many.
    #[error("there are {CURSORS_MAX} cursors already: remove one")]
    TooMany,
    /// Past what is durable: such a cursor would hide records that are yet to come.
    #[error("cursor cannot go to {to}: only {durable} is durable")]
    PastDurable {
        /// Where it should go.
        to: Position,
        /// How far it could.
        durable: Position,
    },
    /// It was removed.
    #[error("cursor {0:?} was removed")]
    Removed(String),
    /// The disk failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The cursor's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A cursor as it is known in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CursorMark {
    pub(crate) position: u64,
    pub(crate) generation: u64,
    /// Which slot the next advance overwrites.
    pub(crate) older_slot: usize,
}

/// What a cursor's file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    Good(CursorMark),
    /// One slot was damaged: possibly the newer one.
    Damaged(CursorMark),
    /// Written by a newer program.
    Newer(u16),
}

impl Cursor {
    pub(crate) fn claim(shared: &Arc<Shared>, name: &str, first: Position) -> Result<Self, CursorError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if name.is_empty() || name.len() > CURSOR_NAME_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(CursorError::Name(name.chars().take(80).collect()));
        }
        let durable = shared.durable.position();
        let mut cursors = shared.cursors.lock();
        if !cursors.contains_key(name) {
            if first > durable {
                return Err(CursorError::PastDurable { to: first, durable });
            }
            if cursors.len() >= CURSORS_MAX {
                return Err(CursorError::TooMany);
            }
            let path = cursor_path(&shared.config.dir, name);
            create(shared, &path, first).map_err(|source| CursorError::Io { what: "make", path, source })?;
            cursors.insert(name.to_owned(), CursorMark { position: first.0, generation: 0, older_slot: 1 });
        }
        Ok(Self { shared: shared.clone(), name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The last position that the reader has done with. Read on with `journal.reader(cursor.position())`.
    pub fn position(&self) -> Position {
        self.shared.cursors.lock().get(&self.name).map_or(Position::ZERO, |mark| Position(mark.position))
    }

    /// Moves it forward, durably. Going back, or nowhere, does nothing.
    pub fn advance(&self, to: Position) -> Result<(), CursorError> {
        let durable = self.shared.durable.position();
        if to > durable {
            return Err(CursorError::PastDurable { to, durable });
        }
        // Held while writing: two advances of one cursor must not share a slot.
        let mut cursors = self.shared.cursors.lock();
        let Some(mark) = cursors.get_mut(&self.name) else {
            return Err(CursorError::Removed(self.name.clone()));
        };
        if to.0 <= mark.position {
            return Ok(());
        }
        let generation = mark.generation + 1;
        let slot = CursorSlot { journal_id: self.shared.journal_id, position: to.0, generation };
        let path = cursor_path(&self.shared.config.dir, &self.name);
        write_slot(&*self.shared.fs, &path, &slot, mark.older_slot).map_err(|source| CursorError::Io {
            what: "write",
            path,
            source,
        })?;
        self.shared.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        *mark = CursorMark { position: to.0, generation, older_slot: 1 - mark.older_slot };
        Ok(())
    }
}

/// Takes a cursor away.
pub(crate) fn remove(shared: &Shared, name: &str) -> Result<(), CursorError> {
    let mut cursors = shared.cursors.lock();
    if !cursors.contains_key(name) {
        return Ok(());
    }
    let path = cursor_path(&shared.config.dir, name);
    let gone = match shared.fs.unlink(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    gone.and_then(|()| shared.fs.sync_dir(&shared.config.dir)).map_err(|source| CursorError::Io {
        what: "remove",
        path,
        source,
    })?;
    cursors.remove(name);
    Ok(())
}

/// Reads all cursors of the folder. `Err` with the version if one is newer than we are.
pub(crate) fn load_all(
    fs: &dyn FileSystem,
    dir: &Path,
    names: &[String],
) -> io::Result<BTreeMap<String, Loaded>> {
    let mut cursors = BTreeMap::new();
    for file_name in names {
        let Some(name) = file_name.strip_suffix(".cursor") else { continue };
        let file = fs.open(&dir.join(file_name), OpenMode::Read)?;
        let mut bytes = [0; SECOND_COPY_OFFSET + HEAD_COPY_BYTES];
        let len = read_full(&*file, &mut bytes, 0)?;
        cursors.insert(name.to_owned(), decode(&bytes[..len]));
    }
    Ok(cursors)
}

fn decode(bytes: &[u8]) -> Loaded {
    let slots =
        [CursorSlot::decode(bytes), CursorSlot::decode(bytes.get(SECOND_COPY_OFFSET..).unwrap_or_default())];
    let mark = |newest: CursorSlot, older_slot| CursorMark {
        position: newest.position,
        generation: newest.generation,
        older_slot,
    };
    match slots {
        [Decoded::Newer(version), _] | [_, Decoded::Newer(version)] => Loaded::Newer(version),
        [Decoded::Valid(a), Decoded::Valid(b)] if a.generation >= b.generation => Loaded::Good(mark(a, 1)),
        [Decoded::Valid(_), Decoded::Valid(b)] => Loaded::Good(mark(b, 0)),
        [Decoded::Valid(a), Decoded::Damaged] => Loaded::Damaged(mark(a, 1)),
        [Decoded::Damaged, Decoded::Valid(b)] => Loaded::Damaged(mark(b, 0)),
        [Decoded::Damaged, Decoded::Damaged] => {
            Loaded::Damaged(CursorMark { position: 0, generation: 0, older_slot: 1 })
        }
    }
}

/// Makes a cursor's file with both slots at `first`; under its name it is whole, or not at all.
fn create(shared: &Shared, path: &Path, first: Position) -> io::Result<()> {
    let new = path.with_extension("cursor-new");
    write_both(&*shared.fs, &new, shared.journal_id, first.0)?;
    shared.fs.rename(&new, path)?;
    shared.fs.sync_dir(&shared.config.dir)
}

fn write_both(fs: &dyn FileSystem, path: &Path, journal_id: JournalId, position: u64) -> io::Result<()> {
    let slot = CursorSlot { journal_id, position, generation: 0 }.encode();
    let mut bytes = [0; SECOND_COPY_OFFSET + HEAD_COPY_BYTES];
    bytes[..HEAD_COPY_BYTES].copy_from_slice(&slot);
    bytes[SECOND_COPY_OFFSET..].copy_from_slice(&slot);
    let file = fs.open(path, OpenMode::Create)?;
    write_full(&*file, &mut [IoSlice::new(&bytes)], 0)?;
    file.sync_data()
}

fn write_slot(fs: &dyn FileSystem, path: &Path, slot: &CursorSlot, at: usize) -> io::Result<()> {
    let file = fs.open(path, OpenMode::ReadWrite)?;
    write_full(&*file, &mut [IoSlice::new(&slot.encode())], (at * SECOND_COPY_OFFSET) as u64)?;
    failpoint("mid-cursor");
    file.sync_data()
}

fn cursor_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.cursor"))
}
