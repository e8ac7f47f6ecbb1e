//! Reads durable records in order, and tells what is missing by number.

use std::io;
use std::sync::Arc;

use muster::clock::WallTime;

use crate::error::ReadError;
use crate::format::SEGMENT_HEAD_BYTES;
use crate::fs::{File, OpenMode};
use crate::quarantine::Damage;
use crate::record::{Entry, GapReason, Position, ReadItem};
use crate::scan::{Frame, Scan, Scanner};
use crate::shared::Shared;

/// Reads the durable records after a position. Ends (`None`) at the durable end, and goes on from there when it is
/// asked again after more became durable.
///
/// It reads ahead in blocks; a payload that is kept keeps its block in memory. It takes no lock that appends take for
/// longer than a look.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    next: u64,
    open: Option<OpenSegment>,
    /// A record that was read while a gap before it had to be told first.
    held: Option<Entry>,
    skip_payloads: bool,
    block_bytes: usize,
}

#[derive(Debug)]
struct OpenSegment {
    first: u64,
    file: Arc<dyn File>,
    scanner: Scanner,
    /// Damage whose cost is not known before the next good frame.
    bad: Option<(u64, u64)>,
}

/// How far the open segment goes just now.
struct Extent {
    /// Its last durable position.
    last: u64,
    is_active: bool,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, from: Position) -> Self {
        let block_bytes = shared.config.read_block_bytes;
        Self {
            shared,
            next: from.0.saturating_add(1),
            open: None,
            held: None,
            skip_payloads: false,
            block_bytes,
        }
    }

    /// Passes over payloads: entries have an empty one, and its checksum is not looked at.
    pub fn skip_payloads(mut self) -> Self {
        self.skip_payloads = true;
        self
    }

    /// Reads in blocks of this size instead of the configured one.
    pub fn block_bytes(mut self, bytes: usize) -> Self {
        self.block_bytes = bytes.max(crate::config::READ_BLOCK_BYTES_MIN);
        self
    }

    /// The last position that was told, as a record or in a gap.
    pub fn position(&self) -> Position {
        let next = self.held.as_ref().map_or(self.next, |entry| entry.position.0);
        Position(next - 1)
    }

    /// The next record or gap, or `None` at the durable end.
    pub fn read(&mut self) -> Result<Option<ReadItem>, ReadError> {
        self.advance().map_err(|source| {
            let first = self.open.as_ref().map_or(self.next, |open| open.first);
            let path = crate::segments::segment_path(&self.shared.config.dir, first);
            // Opened anew next time: the block may be half read.
            self.open = None;
            ReadError::Io { path, after: Position(self.next - 1), source }
        })
    }

    fn advance(&mut self) -> io::Result<Option<ReadItem>> {
        if let Some(entry) = self.held.take() {
            return Ok(Some(ReadItem::Entry(entry)));
        }
        while self.next <= self.shared.durable.position().0 {
            if let Some(entry) = self.take_near() {
                return Ok(Some(ReadItem::Entry(entry)));
            }
            if self.open.is_none()
                && let Some(gap) = self.open_segment()?
            {
                return Ok(Some(gap));
            }
            let Some(extent) = self.extent() else { continue };
            if let Some(item) = self.step(&extent)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// The next record, if it is still in memory. Damage that is being passed over is told first.
    fn take_near(&mut self) -> Option<Entry> {
        if self.skip_payloads || self.open.as_ref().is_some_and(|open| open.bad.is_some()) {
            return None;
        }
        let entry = self.shared.tail.lock().get(self.next)?;
        self.open = None;
        self.next += 1;
        Some(entry)
    }

    /// Opens the segment that has the next position, or tells that none has.
    fn open_segment(&mut self) -> io::Result<Option<ReadItem>> {
        let shared = self.shared.clone();
        let segments = shared.segments.lock();
        let Some(segment) = segments.holding(self.next).cloned() else {
            let first = segments.first_position().0;
            drop(segments);
            return Ok(Some(self.gap(first - 1, GapReason::Retention)));
        };
        let after = segments.after(segment.first).map(|s| s.first);
        drop(segments);
        if segment.last < self.next {
            let to = after.map_or(shared.durable.position().0, |first| first - 1);
            return Ok((to >= self.next).then(|| self.gap(to, GapReason::Missing)));
        }
        let path = segment.path(&shared.config.dir);
        let file: Arc<dyn File> = match shared.fs.open(&path, OpenMode::Read) {
            Ok(file) => Arc::from(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Retention deletes first and then forgets; once it is done the list tells which it was.
                drop(shared.retaining.lock());
                let is_ours = shared.segments.lock().get(segment.first).is_some();
                return Ok(is_ours.then(|| self.gap(segment.last, GapReason::Missing)));
            }
            Err(error) => return Err(error),
        };
        let offset = segment.seek(self.next).unwrap_or(SEGMENT_HEAD_BYTES as u64);
        let salt = shared.salt(segment.first);
        let mut scanner = Scanner::new(file.clone(), salt, offset, segment.end, self.block_bytes);
        scanner.skip_payloads = self.skip_payloads;
        self.open = Some(OpenSegment { first: segment.first, file, scanner, bad: None });
        Ok(None)
    }

    /// Looks how far the open segment goes by now, and lets the scanner go that far. None if it is not needed any more.
    fn extent(&mut self) -> Option<Extent> {
        let open = self.open.as_mut()?;
        let segments = self.shared.segments.lock();
        // Deleted meanwhile: the file is still open, but its end is not known any more than it was.
        let Some(segment) = segments.get(open.first) else {
            self.open = None;
            return None;
        };
        if open.scanner.offset >= open.scanner.end || open.scanner.end < segment.end {
            open.scanner.end = segment.end;
        }
        let extent = Extent { last: segment.last, is_active: segments.is_active(open.first) };
        if extent.last < self.next && !extent.is_active {
            self.open = None;
            return None;
        }
        Some(extent)
    }

    /// Takes one step in the open segment.
    fn step(&mut self, extent: &Extent) -> io::Result<Option<ReadItem>> {
        let Some(open) = &mut self.open else { return Ok(None) };
        match open.scanner.next()? {
            Scan::Frame(frame) if frame.is_seal() => Ok(None),
            Scan::Frame(frame) => Ok(self.take(frame)),
            Scan::BadPayload { offset, head } => {
                if head.position < self.next {
                    return Ok(None);
                }
                self.note_bad(offset, offset + head.frame_len());
                Ok(Some(self.tell_lost(head.position)))
            }
            Scan::Bad { offset, to } => {
                self.note_bad(offset, to);
                Ok(None)
            }
            Scan::End if extent.last >= self.next => Ok(Some(self.tell_lost(extent.last))),
            Scan::End => {
                // The active segment has no more; the durable end is in the one that follows by now.
                if !extent.is_active {
                    self.open = None;
                }
                Ok(None)
            }
        }
    }

    /// A record in its turn, or the gap before it. Earlier ones are passed over: a seek begins before its aim, and
    /// bytes of an earlier use may have been left.
    fn take(&mut self, frame: Frame) -> Option<ReadItem> {
        let position = frame.head.position;
        if position < self.next {
            if let Some(open) = &mut self.open {
                open.bad = None;
            }
            return None;
        }
        let entry = Entry {
            position: Position(position),
            appended_wall: WallTime(frame.head.wall_us),
            kind: frame.head.kind,
            meta: frame.meta,
            payload: frame.payload.unwrap_or_default(),
        };
        let gap = (position > self.next).then(|| self.tell_lost(position - 1));
        self.next = position + 1;
        if let Some(open) = &mut self.open {
            open.bad = None;
        }
        match gap {
            Some(gap) => {
                self.held = Some(entry);
                Some(gap)
            }
            None => Some(ReadItem::Entry(entry)),
        }
    }

    fn note_bad(&mut self, offset: u64, to: u64) {
        if let Some(open) = &mut self.open {
            let from = open.bad.map_or(offset, |(from, _)| from);
            open.bad = Some((from, to));
        }
    }

    /// Everything up to `to` is lost; its bytes, if there were any, are set aside.
    fn tell_lost(&mut self, to: u64) -> ReadItem {
        let Some(open) = &mut self.open else { return self.gap(to, GapReason::Missing) };
        let Some((offset, bad_to)) = open.bad.take() else { return self.gap(to, GapReason::Missing) };
        let damage = Damage { offset, len: bad_to - offset, from: self.next, to };
        let (fs, dir) = (&*self.shared.fs, &self.shared.config.dir);
        self.shared.quarantine.lock().set_aside(fs, dir, open.first, &*open.file, damage);
        self.gap(to, GapReason::Corrupt)
    }

    fn gap(&mut self, to: u64, reason: GapReason) -> ReadItem {
        let from = Position(self.next);
        self.next = to + 1;
        ReadItem::Gap { from, to: Position(to), reason }
    }
}

impl Iterator for Reader {
    type Item = Result<ReadItem, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
