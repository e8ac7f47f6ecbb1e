//! Which files are segments of this log, and what is known of the closed ones.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::format::{
    Decoded, FRAME_HEAD_BYTES, FrameHead, FrameType, HEAD_COPY_BYTES, JournalId, SECOND_COPY_OFFSET,
    SEGMENT_HEAD_BYTES, Salt, SegmentHead,
};
use crate::fs::{File, FileSystem, OpenMode, read_full};
use crate::scan::{Scan, Scanner};
use crate::segments::{Segment, parse_name, segment_path};

/// A file with a segment's name.
pub(super) struct Found {
    /// As the name says.
    pub(super) first: u64,
    head: Decoded<SegmentHead>,
    len: u64,
    /// The last bytes: a closed segment ends with a seal.
    tail: [u8; FRAME_HEAD_BYTES],
}

/// The segments that are what they say.
pub(super) struct Sorted {
    pub(super) list: Vec<Segment>,
    pub(super) journal_id: Option<JournalId>,
    pub(super) set_aside: u64,
}

/// Reads heads and ends of everything that has a segment's name. Changes nothing.
pub(super) fn find(fs: &dyn FileSystem, dir: &Path, names: &[String]) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for first in names.iter().filter_map(|name| parse_name(name, ".seg")) {
        let file = fs.open(&segment_path(dir, first), OpenMode::Read)?;
        let len = file.len()?;
        let mut head = [0; SECOND_COPY_OFFSET + HEAD_COPY_BYTES];
        let got = read_full(&*file, &mut head, 0)?;
        let mut tail = [0; FRAME_HEAD_BYTES];
        if len >= (SEGMENT_HEAD_BYTES + FRAME_HEAD_BYTES) as u64 {
            read_full(&*file, &mut tail, len - FRAME_HEAD_BYTES as u64)?;
        }
        found.push(Found { first, head: SegmentHead::decode(&head[..got]), len, tail });
    }
    found.sort_by_key(|f| f.first);
    Ok(found)
}

/// Keeps what belongs to the log, deletes what a crash left half made, and sets the rest aside.
pub(super) fn sort_out(fs: &dyn FileSystem, dir: &Path, found: Vec<Found>) -> io::Result<Sorted> {
    let journal_id = most_common_id(&found);
    let mut kept = Vec::new();
    let mut set_aside = 0;
    let mut has_changed = false;
    let last = found.last().map(|f| f.first);
    for segment in found {
        let belongs = match (segment.head, journal_id) {
            (Decoded::Valid(head), Some(id)) => head.first == segment.first && head.journal_id == id,
            // Both copies are damaged. Whether it is ours is shown by its frames: their checksums say whose they are.
            (Decoded::Damaged, Some(id)) => has_frames(fs, dir, &segment, id)?,
            _ => false,
        };
        if belongs {
            kept.push(segment);
            continue;
        }
        has_changed = true;
        let path = segment_path(dir, segment.first);
        if Some(segment.first) == last && is_unborn(fs, dir, &segment)? {
            fs.unlink(&path)?;
        } else {
            let to = super::free_name(dir, fs, segment.first)?;
            tracing::warn!(from = %path.display(), to = %to.display(), "a segment is not what its name says; it is set aside");
            fs.rename(&path, &to)?;
            set_aside += 1;
        }
    }
    if has_changed {
        fs.sync_dir(dir)?;
    }
    Ok(Sorted { list: list_of(&kept, journal_id), journal_id, set_aside })
}

impl Found {
    pub(super) fn newer_version(&self) -> Option<u16> {
        match self.head {
            Decoded::Newer(version) => Some(version),
            _ => None,
        }
    }

    /// The position and wall time of the seal that the file ends with, if it does.
    fn seal(&self, journal_id: JournalId) -> Option<(u64, u64)> {
        let head = FrameHead::decode(&self.tail).filter(|h| h.frame_type == FrameType::Seal)?;
        head.is_valid(Salt::new(&journal_id, self.first), &self.tail).then_some((head.position, head.wall_us))
    }
}

/// The id that most segments have; of equals the one of the newest segment.
fn most_common_id(found: &[Found]) -> Option<JournalId> {
    let mut counts: BTreeMap<JournalId, (usize, u64)> = BTreeMap::new();
    for segment in found {
        if let Decoded::Valid(head) = segment.head
            && head.first == segment.first
        {
            let count = counts.entry(head.journal_id).or_default();
            *count = (count.0 + 1, segment.first);
        }
    }
    counts.into_iter().max_by_key(|&(_, count)| count).map(|(id, _)| id)
}

/// What a crash leaves of a segment that was being made: nothing in it was ever acknowledged, since its head is synced
/// before its first record is.
fn is_unborn(fs: &dyn FileSystem, dir: &Path, segment: &Found) -> io::Result<bool> {
    if segment.head != Decoded::Damaged {
        return Ok(false);
    }
    if segment.len <= SEGMENT_HEAD_BYTES as u64 {
        return Ok(true);
    }
    let file: Arc<dyn File> = Arc::from(fs.open(&segment_path(dir, segment.first), OpenMode::Read)?);
    let nothing = Salt::new(&JournalId::default(), 0);
    let mut scanner = Scanner::new(file, nothing, 0, segment.len, 64 << 10);
    Ok(matches!(scanner.next()?, Scan::End))
}

fn has_frames(fs: &dyn FileSystem, dir: &Path, segment: &Found, journal_id: JournalId) -> io::Result<bool> {
    let file: Arc<dyn File> = Arc::from(fs.open(&segment_path(dir, segment.first), OpenMode::Read)?);
    let salt = Salt::new(&journal_id, segment.first);
    let mut scanner = Scanner::new(file, salt, SEGMENT_HEAD_BYTES as u64, segment.len, 64 << 10);
    scanner.skip_payloads = true;
    Ok(match scanner.next()? {
        Scan::Frame(_) | Scan::BadPayload { .. } => true,
        Scan::Bad { to, .. } => to < segment.len,
        Scan::End => false,
    })
}

fn list_of(kept: &[Found], journal_id: Option<JournalId>) -> Vec<Segment> {
    let mut list = Vec::with_capacity(kept.len());
    for (i, found) in kept.iter().enumerate() {
        let next = kept.get(i + 1);
        let created = |f: &Found| match f.head {
            Decoded::Valid(head) => head.created_wall_us,
            _ => 0,
        };
        let mut segment = Segment::new(found.first, found.len, created(found));
        if let Some(next) = next {
            let seal =
                journal_id.and_then(|id| found.seal(id)).filter(|&(position, _)| position < next.first);
            (segment.last, segment.last_wall_us) = seal.unwrap_or((next.first - 1, created(next)));
            segment.last = segment.last.max(segment.first - 1);
        }
        list.push(segment);
    }
    list
}
