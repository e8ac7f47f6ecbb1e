//! Damaged bytes, set aside and counted once, however many readers come across them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::Path;

use crate::fs::{File, FileSystem, OpenMode, read_full, write_full};
use crate::segments::{corrupt_path, parse_name};

/// Offset, length, first and last position lost.
const ENTRY_HEAD_BYTES: usize = 32;
/// Most entries that are remembered for one segment; more than this is a broken disk, and is only counted.
const ENTRIES_MAX: usize = 65_536;
/// Bytes are copied in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// What was set aside, in this life and in earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    seen: BTreeMap<u64, BTreeSet<u64>>,
    /// Records lost to damage.
    pub(crate) records: u64,
    /// Damaged bytes.
    pub(crate) bytes: u64,
    /// Whole segments that were not what their name says.
    pub(crate) segments: u64,
}

/// A damaged range of one segment, and the positions that it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Quarantine {
    /// What earlier lives set aside. A file that cannot be read counts as none: it is evidence, not data.
    pub(crate) fn load(fs: &dyn FileSystem, dir: &Path, names: &[String]) -> Self {
        let mut quarantine = Self::default();
        for name in names {
            if parse_name(name, ".seg.corrupt").is_some() {
                quarantine.segments += 1;
            } else if let Some(first) = parse_name(name, ".corrupt") {
                let loaded =
                    fs.open(&dir.join(name), OpenMode::Read).and_then(|f| quarantine.load_file(&*f, first));
                if let Err(error) = loaded {
                    tracing::warn!(name, %error, "cannot read what was set aside earlier");
                }
            }
        }
        quarantine
    }

    fn load_file(&mut self, file: &dyn File, first: u64) -> io::Result<()> {
        let mut at = 0;
        let mut head = [0; ENTRY_HEAD_BYTES];
        while read_full(file, &mut head, at)? == ENTRY_HEAD_BYTES {
            let damage = Damage::decode(&head);
            if !self.remember(first, damage) {
                break;
            }
            at = at.saturating_add(ENTRY_HEAD_BYTES as u64).saturating_add(damage.len);
        }
        Ok(())
    }

    /// Counts the damage and copies its bytes, unless that was done before. Whether it was new.
    pub(crate) fn set_aside(
        &mut self,
        fs: &dyn FileSystem,
        dir: &Path,
        first: u64,
        segment: &dyn File,
        damage: Damage,
    ) -> bool {
        if !self.remember(first, damage) {
            return false;
        }
        let path = corrupt_path(dir, first);
        tracing::warn!(
            path = %path.display(), offset = damage.offset, bytes = damage.len, from = damage.from, to = damage.to,
            "journal records are damaged; their bytes are set aside"
        );
        if let Err(error) = copy_damage(fs, dir, &path, segment, damage) {
            tracing::warn!(path = %path.display(), %error, "cannot set damaged bytes aside; they stay in the segment");
        }
        true
    }

    /// Forgets a segment that retention deleted.
    pub(crate) fn forget(&mut self, first: u64) {
        self.seen.remove(&first);
    }

    fn remember(&mut self, first: u64, damage: Damage) -> bool {
        let seen = self.seen.entry(first).or_default();
        if seen.len() >= ENTRIES_MAX || !seen.insert(damage.offset) {
            return false;
        }
        self.records = self.records.saturating_add((damage.to + 1).saturating_sub(damage.from));
        self.bytes = self.bytes.saturating_add(damage.len);
        true
    }
}

impl Damage {
    fn encode(&self) -> [u8; ENTRY_HEAD_BYTES] {
        let mut head = [0; ENTRY_HEAD_BYTES];
        for (at, field) in [self.offset, self.len, self.from, self.to].into_iter().enumerate() {
            head[at * 8..at * 8 + 8].copy_from_slice(&field.to_le_bytes());
        }
        head
    }

    fn decode(head: &[u8; ENTRY_HEAD_BYTES]) -> Self {
        let field = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[at * 8..at * 8 + 8]);
            u64::from_le_bytes(bytes)
        };
        // The last position has room for the `+ 1` of counting.
        Self { offset: field(0), len: field(1), from: field(2), to: field(3).min(u64::MAX - 1) }
    }
}

fn copy_damage(
    fs: &dyn FileSystem,
    dir: &Path,
    path: &Path,
    segment: &dyn File,
    damage: Damage,
) -> io::Result<()> {
    let file = match fs.open(path, OpenMode::ReadWrite) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs.open(path, OpenMode::Create)?,
        opened => opened?,
    };
    let mut at = file.len()?;
    write_full(&*file, &mut [IoSlice::new(&damage.encode())], at)?;
    at += ENTRY_HEAD_BYTES as u64;
    let mut piece = vec![0; PIECE_BYTES];
    let mut done = 0;
    while done < damage.len {
        let most = (damage.len - done).min(PIECE_BYTES as u64) as usize;
        // Shorter than it was when the damage was found: zeros stand for what is gone, so that entries stay in step.
        let got = read_full(segment, &mut piece[..most], damage.offset + done)?;
        piece[got..most].fill(0);
        write_full(&*file, &mut [IoSlice::new(&piece[..most])], at + done)?;
        done += most as u64;
    }
    file.sync_data()?;
    fs.sync_dir(dir)
}
