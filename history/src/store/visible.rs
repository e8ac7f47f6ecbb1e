//! Which files count. Pure.
//!
//! | a file of this journal | is |
//! |---|---|
//! | whose range ends past the cursor | unfinished: a write that was never committed |
//! | whose range another file of its partition covers | superseded: compaction made one of many, and did not get to the end |
//! | else | visible |
//!
//! The ranges of two visible files of one partition and journal never overlap, so no row is there twice.

use std::sync::Arc;

use journal::Position;
use muster::clock::WallTime;
use object_store::path::Path;

use super::name::{FileName, JournalTag};
use crate::partition::{JournalRange, Partition};

/// A file of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Where its rows belong.
    pub partition: Partition,
    /// The journal that its range is of.
    pub journal: JournalTag,
    /// The range of the journal whose rows it has.
    pub range: JournalRange,
    /// Its path under the root, as [`super::Store::objects`] knows it.
    pub path: Path,
    /// Its size.
    pub bytes: u64,
    /// When it was written, by the place's clock.
    pub modified: WallTime,
}

/// Files by what they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    pub(super) visible: Vec<Arc<FileEntry>>,
    pub(super) superseded: Vec<Arc<FileEntry>>,
    pub(super) unfinished: Vec<Arc<FileEntry>>,
}

impl FileEntry {
    pub(super) fn new(name: FileName, bytes: u64, modified: WallTime) -> Self {
        let path = name.path();
        let FileName { partition, journal, range } = name;
        Self { partition, journal, range, path, bytes, modified }
    }
}

/// Sorts files out. `cursor` says how far a journal's rows are committed.
pub(super) fn sort_out(files: Vec<Arc<FileEntry>>, cursor: impl Fn(JournalTag) -> Position) -> Sorted {
    let mut sorted = Sorted::default();
    let is_committed = |file: &Arc<FileEntry>| file.range.to <= cursor(file.journal);
    let (mut committed, unfinished): (Vec<_>, Vec<_>) = files.into_iter().partition(is_committed);
    sorted.unfinished = unfinished;
    // Of two that begin together the larger comes first: whoever covers a file stands before it.
    committed.sort_by(|a, b| {
        let whose = |file: &FileEntry| (file.partition.clone(), file.journal, file.range.after);
        whose(a).cmp(&whose(b)).then(b.range.to.cmp(&a.range.to))
    });
    let mut widest: Option<Arc<FileEntry>> = None;
    for file in committed {
        let is_alike =
            |other: &&Arc<FileEntry>| other.partition == file.partition && other.journal == file.journal;
        match widest.as_ref().filter(is_alike) {
            Some(other) if other.range.covers(file.range) => sorted.superseded.push(file),
            _ => {
                widest = Some(file.clone());
                sorted.visible.push(file);
            }
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::DataSet;
    use crate::partition::Day;

    fn file(day: u32, after: u64, to: u64) -> Arc<FileEntry> {
        let partition =
            Partition { data_set: DataSet::Runs, team: "a".parse().expect("a team"), day: Day::Utc(day) };
        let range = JournalRange { after: Position(after), to: Position(to) };
        let name = FileName { partition, journal: JournalTag::of(&[7; 16]), range };
        Arc::new(FileEntry::new(name, 1, WallTime(0)))
    }

    #[test]
    fn what_is_past_the_cursor_does_not_count_and_hides_nothing() {
        let (old, leftover) = (file(1, 0, 10), file(1, 0, 30));
        let sorted = sort_out(vec![leftover.clone(), old.clone()], |_| Position(20));
        assert_eq!(sorted.visible, [old]);
        assert_eq!(sorted.unfinished, [leftover]);
    }

    #[test]
    fn a_file_of_another_day_or_journal_supersedes_nothing() {
        let (narrow, wide) = (file(1, 0, 10), file(2, 0, 20));
        let sorted = sort_out(vec![narrow, wide], |_| Position(20));
        assert_eq!(sorted.visible.len(), 2);
    }

    proptest! {
        /// Any tree of compactions, any part of it still there: each position is in exactly one visible file as long as
        /// the file that covers it most is there.
        #[test]
        fn each_position_is_in_at_most_one_visible_file(
            ends in prop::collection::btree_set(1_u64..200, 1..20),
            merges in prop::collection::vec((any::<prop::sample::Index>(), 2_usize..5), 0..10),
            gone in prop::collection::vec(any::<bool>(), 40),
        ) {
            let ends: Vec<u64> = ends.into_iter().collect();
            let mut level: Vec<(u64, u64)> = Vec::new();
            for end in &ends {
                level.push((level.last().map_or(0, |last| last.1), *end));
            }
            let mut all = level.clone();
            let mut replaced = std::collections::BTreeSet::new();
            for (index, count) in merges {
                let at = index.index(level.len());
                let until = (at + count).min(level.len());
                if until - at < 2 { continue }
                replaced.extend(level[at..until].iter().copied());
                let whole = (level[at].0, level[until - 1].1);
                level.splice(at..until, [whole]);
                all.push(whole);
            }
            // Of the replaced, any may be deleted already.
            let mut flags = gone.iter().cycle();
            all.retain(|range| !replaced.contains(range) || !*flags.next().expect("endless"));
            let files = all.iter().map(|(after, to)| file(1, *after, *to)).collect();
            let sorted = sort_out(files, |_| Position(1000));
            for position in 1..=*ends.last().expect("not empty") {
                let inside = |f: &&Arc<FileEntry>| f.range.after.0 < position && position <= f.range.to.0;
                prop_assert_eq!(sorted.visible.iter().filter(inside).count(), 1, "position {}", position);
            }
        }
    }
}
