//! Which segments there are, and how far each is durable.

use std::path::{Path, PathBuf};

use crate::record::Position;

/// Marks in a segment's index: a seek scans at most this part of it.
const INDEX_MARKS: u64 = 64;

/// One segment file.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// Position of its first record, as in its name.
    pub(crate) first: u64,
    /// Its last position; for a closed one whose end could not be read, the one before the next segment. `first - 1`
    /// if it has none.
    pub(crate) last: u64,
    /// Where its durable frames end; for a closed one possibly the size of the file.
    pub(crate) end: u64,
    /// Wall time of its last record, or a later one.
    pub(crate) last_wall_us: u64,
    /// When this process closed it, on the monotonic clock; none if an earlier life did.
    pub(crate) closed_at: Option<std::time::Duration>,
    /// (position, offset) of some frames, ascending.
    index: Vec<(u64, u64)>,
}

/// All segments in order of position; the last one is written. Never empty once the log is open.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    pub(crate) list: Vec<Segment>,
}

impl Segment {
    pub(crate) fn new(first: u64, end: u64, last_wall_us: u64) -> Self {
        Self { first, last: first - 1, end, last_wall_us, closed_at: None, index: Vec::new() }
    }

    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        segment_path(dir, self.first)
    }

    /// Remembers where a frame begins, if the last mark is far enough behind.
    pub(crate) fn mark(&mut self, position: u64, offset: u64, segment_bytes_max: u64) {
        let step = (segment_bytes_max / INDEX_MARKS).max(4096);
        if self.index.last().is_none_or(|&(_, at)| offset >= at + step) {
            self.index.push((position, offset));
        }
    }

    /// Where to begin looking for `position`.
    pub(crate) fn seek(&self, position: u64) -> Option<u64> {
        let after = self.index.partition_point(|&(p, _)| p <= position);
        after.checked_sub(1).map(|i| self.index[i].1)
    }
}

impl Segments {
    /// The first position that is there, or the next one to be written.
    pub(crate) fn first_position(&self) -> Position {
        Position(self.list.first().map_or(1, |s| s.first))
    }

    /// The segment that has `position`, or would have it: the last one that begins at or before it.
    pub(crate) fn holding(&self, position: u64) -> Option<&Segment> {
        let after = self.list.partition_point(|s| s.first <= position);
        after.checked_sub(1).map(|i| &self.list[i])
    }

    /// The segment after the one that begins at `first`.
    pub(crate) fn after(&self, first: u64) -> Option<&Segment> {
        self.list.get(self.list.partition_point(|s| s.first <= first))
    }

    pub(crate) fn get(&self, first: u64) -> Option<&Segment> {
        self.list.binary_search_by_key(&first, |s| s.first).ok().map(|i| &self.list[i])
    }

    pub(crate) fn is_active(&self, first: u64) -> bool {
        self.list.last().is_some_and(|s| s.first == first)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.list.iter().map(|s| s.end).sum()
    }

    /// Ranges of positions that no segment has, between the first and the last one.
    pub(crate) fn missing(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let pairs = self.list.iter().zip(self.list.iter().skip(1));
        pairs.filter(|(a, b)| a.last + 1 < b.first).map(|(a, b)| (a.last + 1, b.first - 1))
    }
}

/// `<first position, 20 digits>.seg`.
pub(crate) fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

/// Where the damaged bytes of a segment are set aside.
pub(crate) fn corrupt_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.corrupt"))
}

/// The first position in a name of 20 digits and `suffix`.
pub(crate) fn parse_name(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let is_number = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().filter(|&first| first > 0)
}
