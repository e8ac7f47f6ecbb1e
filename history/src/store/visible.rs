//! Which files count. Pure.
//!
//! | a file of this journal | is |
//! |---|---|
//! | whose range ends past the cursor | unfinished: a write that was never committed |
//! | whose range another file of its partition covers | superseded: compaction made one of many, and did not get to the end |
//! | whose range others have in part each | overlapping: a merge that was given up arrived after all; passed over |
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
    pub(super) overlapping: Vec<Arc<FileEntry>>,
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
    committed.sort_by(|a, b| {
        let whose = |file: &FileEntry| (file.partition.clone(), file.journal, file.range.after);
        whose(a).cmp(&whose(b)).then(b.range.to.cmp(&a.range.to))
    });
    let is_alike =
        |a: &Arc<FileEntry>, b: &Arc<FileEntry>| (&a.partition, a.journal) == (&b.partition, b.journal);
    for folder in committed.chunk_by(is_alike) {
        let chosen = each_once(folder);
        let mut visible = chosen.iter().map(|&at| &folder[at]).peekable();
        for (at, file) in folder.iter().enumerate() {
            if chosen.binary_search(&at).is_ok() {
                sorted.visible.push(file.clone());
                continue;
            }
            while visible.next_if(|other| other.range.to <= file.range.after).is_some() {}
            let is_covered = visible.peek().is_some_and(|other| other.range.covers(file.range));
            if is_covered { &mut sorted.superseded } else { &mut sorted.overlapping }.push(file.clone());
        }
    }
    sorted
}

/// Which files of a folder have every row once, by their places, in order. `folder` comes by where ranges begin, and of
/// those that begin together the widest first.
///
/// Merges make wide files of narrow ones that lie side by side, so the files of a folder are trees, and the widest have it
/// all. A merge whose answer was lost and that was then done otherwise leaves a file across the border of two others. What
/// it was made of may be gone, but then it is in one of these: the first and the last record of every file's range are in
/// one of the right files. So of all ways to choose files that do not overlap the right one has the most of these
/// records. Among equals it is the one that reaches furthest, and then the one with the fewest files.
fn each_once(folder: &[Arc<FileEntry>]) -> Vec<usize> {
    let mut ends: Vec<u64> =
        folder.iter().flat_map(|file| [file.range.after.0 + 1, file.range.to.0]).collect();
    ends.sort_unstable();
    ends.dedup();
    // How much a file is worth: ends in it, records, and that it is one.
    let worth = |file: &FileEntry| {
        let from = ends.partition_point(|end| *end <= file.range.after.0);
        let to = ends.partition_point(|end| *end <= file.range.to.0);
        ((to - from) as u64, file.range.to.0 - file.range.after.0, -1_i64)
    };
    let mut by_end: Vec<usize> = (0..folder.len()).collect();
    by_end.sort_by_key(|&at| (folder[at].range.to, std::cmp::Reverse(at)));
    // The best of the first n by their ends: its worth, and whether the last of them is in it.
    let mut best: Vec<((u64, u64, i64), Option<usize>)> = vec![((0, 0, 0), None)];
    for (count, &at) in by_end.iter().enumerate() {
        let file = &folder[at];
        let before = by_end[..count].partition_point(|&other| folder[other].range.to <= file.range.after);
        let ((ends, records, fewness), earlier) = (worth(file), best[before].0);
        let with = (earlier.0 + ends, earlier.1 + records, earlier.2 + fewness);
        let without = best[count].0;
        best.push(if with > without { (with, Some(before)) } else { (without, None) });
    }
    let (mut chosen, mut count) = (Vec::new(), by_end.len());
    while count > 0 {
        match best[count].1 {
            Some(before) => {
                chosen.push(by_end[count - 1]);
                count = before;
            }
            None => count -= 1,
        }
    }
    chosen.sort_unstable();
    chosen
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

    fn ranges(files: &[Arc<FileEntry>]) -> Vec<(u64, u64)> {
        files.iter().map(|file| (file.range.after.0, file.range.to.0)).collect()
    }

    #[test]
    fn a_merge_that_arrived_after_it_was_done_otherwise_does_not_count() {
        // [0,8] was merged and not heard of; then [4,8] went into [4,12].
        let sorted = sort_out(vec![file(1, 0, 4), file(1, 0, 8), file(1, 4, 12)], |_| Position(20));
        assert_eq!(ranges(&sorted.visible), [(0, 4), (4, 12)]);
        assert_eq!(ranges(&sorted.overlapping), [(0, 8)]);
        // A wide one with little in it does not win over narrow ones with more.
        let sorted = sort_out(vec![file(1, 0, 2), file(1, 98, 101), file(1, 0, 100)], |_| Position(200));
        assert_eq!(ranges(&sorted.visible), [(0, 2), (98, 101)]);
    }

    proptest! {
        /// Any tree of compactions, in which a merge was lost and done otherwise: each row is in one visible file, though the
        /// lost one arrived, and whichever of the merged ones are still there. Of several lost ones no row is there twice.
        #[test]
        fn each_row_is_visible_once_though_lost_merges_arrive(
            records in prop::collection::btree_set(1_u64..200, 2..20),
            merges in prop::collection::vec((any::<prop::sample::Index>(), 2_usize..5, any::<bool>()), 0..12),
            gone in prop::collection::vec(any::<bool>(), 40),
        ) {
            // One file a record, and nothing between.
            let mut level: Vec<(u64, u64)> = records.iter().map(|record| (record - 1, *record)).collect();
            let (mut all, mut replaced, mut lost) = (level.clone(), Vec::new(), Vec::new());
            for (index, count, is_lost) in merges {
                let at = index.index(level.len());
                let until = (at + count).min(level.len());
                if until - at < 2 { continue }
                let whole = (level[at].0, level[until - 1].1);
                if is_lost {
                    lost.push(whole);
                    continue;
                }
                replaced.extend(level.splice(at..until, [whole]));
                all.push(whole);
            }
            let mut flags = gone.iter().cycle();
            all.retain(|range| !replaced.contains(range) || !*flags.next().expect("endless"));
            let lost_count = lost.len();
            all.extend(lost);
            all.sort_unstable();
            all.dedup();
            let files = all.iter().map(|(after, to)| file(1, *after, *to)).collect();
            let sorted = sort_out(files, |_| Position(1000));
            for record in records {
                let inside = |f: &&Arc<FileEntry>| f.range.after.0 < record && record <= f.range.to.0;
                let count = sorted.visible.iter().filter(inside).count();
                prop_assert!(count == 1 || (count == 0 && lost_count > 1), "record {} of {:?}", record, &all);
            }
        }

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
