//! Finds the end of the last segment, and makes sure of it.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::config::Config;
use crate::format::{FrameType, JournalId, SEGMENT_HEAD_BYTES, Salt, SegmentHead};
use crate::fs::{File, FileSystem, OpenMode, read_full, write_full};
use crate::quarantine::{Damage, Quarantine};
use crate::scan::{Scan, Scanner};
use crate::segments::{Segment, segment_path};
use crate::writer::Active;

use super::Recovery;

/// The tail is written again in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// A place in the segment: everything up to `position` ends at `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    position: u64,
    offset: u64,
}

/// Positions that are missing, and the bytes in their place.
#[derive(Debug, Clone, Copy)]
struct Hole {
    damage: Damage,
    /// Where to cut if this was never synced: before the unit that it interrupts.
    cut: Place,
}

/// What a walk over the last segment found.
#[derive(Debug)]
struct Walk {
    /// After the last good frame.
    end: Place,
    /// Position of the last good record.
    last_good: u64,
    /// The last position of which there is proof that it was synced, and where the frames after it begin.
    synced: Place,
    /// Before a unit that has begun and not ended.
    open_unit: Option<Place>,
    holes: Vec<Hole>,
    /// Bytes that make no sense, for which the next frame may show what they were.
    bad: Option<(u64, u64)>,
    last_wall_us: u64,
    marks: Vec<Place>,
}

/// Repairs the last segment and opens it for writing.
pub(super) fn repair(
    config: &Config,
    fs: &dyn FileSystem,
    journal_id: JournalId,
    segment: &mut Segment,
    quarantine: &mut Quarantine,
    recovery: &mut Recovery,
) -> io::Result<Active> {
    let path = segment_path(&config.dir, segment.first);
    let file: Arc<dyn File> = Arc::from(fs.open(&path, OpenMode::ReadWrite)?);
    let len = file.len()?;
    let salt = Salt::new(&journal_id, segment.first);
    let walk = walk(file.clone(), salt, segment, len, config.read_block_bytes)?;
    let end = walk.cut();
    for hole in walk.holes.iter().filter(|hole| hole.damage.from <= walk.synced.position) {
        if quarantine.set_aside(fs, &config.dir, segment.first, &*file, hole.damage) {
            recovery.quarantined_records += hole.damage.to + 1 - hole.damage.from;
        }
    }
    recovery.torn_records = walk.last_good.saturating_sub(end.position);
    if walk.last_good > end.position && walk.open_unit != Some(end) {
        // Good records behind bytes that are gone: never acknowledged as far as anybody can tell, but kept as evidence.
        let len = walk.end.offset - end.offset;
        let damage = Damage { offset: end.offset, len, from: end.position + 1, to: walk.end.position };
        quarantine.set_aside(fs, &config.dir, segment.first, &*file, damage);
    }
    let has_rest = walk.end.offset > end.offset || walk.bad.is_some();
    let allocated = if has_rest {
        recovery.torn_bytes =
            walk.bad.map_or(walk.end.offset, |(_, to)| to).max(walk.end.offset) - end.offset;
        file.truncate(end.offset)?;
        end.offset
    } else {
        len.max(end.offset)
    };
    write_again(&*file, walk.synced.offset.min(end.offset), end.offset)?;
    let is_head_mended = mend_head(&*file, journal_id, segment)?;
    // Two syncs are most of what a short command waits for: not without a reason.
    if has_rest || is_head_mended || !walk.is_proven(segment) {
        file.sync_data()?;
        // A crash may have come between the making of the segment and the sync of its name.
        fs.sync_dir(&config.dir)?;
    }
    segment.last = end.position;
    segment.end = end.offset;
    segment.last_wall_us = segment.last_wall_us.max(walk.last_wall_us);
    for mark in walk.marks.iter().filter(|mark| mark.offset < end.offset) {
        segment.mark(mark.position, mark.offset, config.segment_bytes_max);
    }
    let file = fs.open(&path, OpenMode::ReadWrite)?;
    let head_end = SEGMENT_HEAD_BYTES as u64;
    Ok(Active { file, first: segment.first, end: end.offset, allocated, head_end })
}

fn walk(
    file: Arc<dyn File>,
    salt: Salt,
    segment: &Segment,
    len: u64,
    block_bytes: usize,
) -> io::Result<Walk> {
    let start = Place { position: segment.first - 1, offset: SEGMENT_HEAD_BYTES as u64 };
    let mut walk = Walk {
        end: start,
        last_good: start.position,
        synced: start,
        open_unit: None,
        holes: Vec::new(),
        bad: None,
        last_wall_us: 0,
        marks: Vec::new(),
    };
    let mut scanner = Scanner::new(file, salt, start.offset, len, block_bytes);
    loop {
        match scanner.next()? {
            Scan::End => return Ok(walk),
            Scan::Bad { offset, to } => walk.note_bad(offset, to),
            Scan::BadPayload { offset, head } => {
                walk.note_bad(offset, offset + head.frame_len());
                walk.note_synced(head.synced, offset);
                walk.note_hole(head.position);
            }
            Scan::Frame(frame) if frame.is_seal() => {
                walk.note_hole(frame.head.position);
                walk.note_synced(frame.head.synced, frame.offset);
                // Not part of what is durable: the next group overwrites it.
            }
            Scan::Frame(frame) => walk.take(&frame),
        }
    }
}

impl Walk {
    fn take(&mut self, frame: &crate::scan::Frame) {
        let head = &frame.head;
        if head.position <= self.end.position {
            // Bytes of an earlier use. They prove nothing.
            return self.note_bad(frame.offset, frame.end());
        }
        self.note_hole(head.position - 1);
        self.note_synced(head.synced, frame.offset);
        if self.marks.last().is_none_or(|mark| frame.offset >= mark.offset + 4096) {
            self.marks.push(Place { position: head.position, offset: frame.offset });
        }
        match head.frame_type {
            FrameType::RecordWithMore => {
                let before = Place { position: head.position - 1, offset: frame.offset };
                self.open_unit = self.open_unit.or(Some(before));
            }
            FrameType::Record | FrameType::Seal => self.open_unit = None,
        }
        self.end = Place { position: head.position, offset: frame.end() };
        self.last_good = head.position;
        self.last_wall_us = self.last_wall_us.max(head.wall_us);
        self.bad = None;
    }

    fn note_bad(&mut self, offset: u64, to: u64) {
        self.bad = Some((self.bad.map_or(offset, |(from, _)| from), to));
    }

    /// Everything up to `to` should have come by now; what did not is a hole.
    fn note_hole(&mut self, to: u64) {
        if to <= self.end.position {
            return;
        }
        let (offset, bad_to) = self.bad.take().unwrap_or((self.end.offset, self.end.offset));
        let damage = Damage { offset, len: bad_to - offset, from: self.end.position + 1, to };
        self.holes.push(Hole { damage, cut: self.open_unit.unwrap_or(self.end) });
        self.end = Place { position: to, offset: bad_to };
    }

    fn note_synced(&mut self, position: u64, offset: u64) {
        if position > self.synced.position {
            self.synced = Place { position, offset };
        }
    }

    /// Whether every record was synced, and there is one: the name of the segment was durable before it.
    fn is_proven(&self, segment: &Segment) -> bool {
        self.holes.is_empty()
            && self.synced.position >= segment.first
            && self.synced.position >= self.end.position
    }

    /// Where the log ends: before the first hole that was never synced, and not within a unit.
    fn cut(&self) -> Place {
        let torn = self.holes.iter().find(|hole| hole.damage.to > self.synced.position);
        match (torn, self.open_unit) {
            (Some(hole), _) if hole.damage.from > self.synced.position => hole.cut,
            // It took durable records and others: the durable ones are told as a gap, and so their numbers stay used.
            (Some(hole), _) => {
                Place { position: hole.damage.to, offset: hole.damage.offset + hole.damage.len }
            }
            (None, Some(unit)) if unit.position >= self.synced.position => unit,
            (None, _) => self.end,
        }
    }
}

/// Writes the bytes that are there once more, so that the sync that follows has something to do: after a failed sync the
/// cache may have them while the disk does not.
fn write_again(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = from;
    while at < to {
        let most = (to - at).min(PIECE_BYTES as u64) as usize;
        let got = read_full(file, &mut piece[..most], at)?;
        if got == 0 {
            return Ok(());
        }
        write_full(file, &mut [IoSlice::new(&piece[..got])], at)?;
        at += got as u64;
    }
    Ok(())
}

/// Writes a damaged copy of the head again from the good one; says whether it had to.
fn mend_head(file: &dyn File, journal_id: JournalId, segment: &Segment) -> io::Result<bool> {
    let mut bytes = [0; SEGMENT_HEAD_BYTES];
    read_full(file, &mut bytes, 0)?;
    let created_wall_us = match SegmentHead::decode(&bytes) {
        crate::format::Decoded::Valid(head) => head.created_wall_us,
        _ => segment.last_wall_us,
    };
    let good = SegmentHead { journal_id, first: segment.first, created_wall_us }.encode();
    let is_damaged = bytes != good;
    if is_damaged {
        write_full(file, &mut [IoSlice::new(&good)], 0)?;
    }
    Ok(is_damaged)
}
