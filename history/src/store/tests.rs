//! The store in folders that crashes, other journals and bad disks left in any state.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use journal::Position;
use journal::stream::{StreamEntry, StreamItem};
use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::WallTime;
use muster::ids::{AgentId, Epoch, Seq, StreamKey, Team};
use muster::v1;
use muster::v1::event::Kind;
use proptest::prelude::*;

use super::*;
use crate::file;
use crate::fold::Fold;

mod bucket;

const JOURNAL: JournalId = [0xAB; 16];
const NOW: WallTime = WallTime(1_795_000_000_000_000);
const DAY_US: u64 = 86_400_000_000;

/// A batch of runs, numbered `seqs`, that happened `days_ago`.
fn runs(position: u64, seqs: std::ops::RangeInclusive<u64>, days_ago: u64) -> StreamItem {
    let mut builder = BatchBuilder::new();
    let identity = SourceIdentity { project: "p".to_owned(), ..SourceIdentity::default() };
    let source = builder.source(&identity).expect("one source");
    for seq in seqs.clone() {
        let run = v1::RunFinished { duration_us: Some(seq), ..v1::RunFinished::default() };
        builder.push(WallTime(NOW.0 - days_ago * DAY_US + seq), source, Kind::RunFinished(run));
    }
    let sealed = builder.seal(Seq(*seqs.start())).expect("within every bound");
    StreamItem::Batch(StreamEntry {
        position: Position(position),
        appended_wall: NOW,
        key: StreamKey {
            team: Team::default_team(),
            agent: AgentId::from_bytes([1; 16]),
            epoch: Epoch::try_from(1).expect("not 0"),
        },
        seqs: sealed.seqs,
        crc32c: sealed.crc32c,
        bytes: sealed.bytes,
    })
}

fn range(after: u64, to: u64) -> JournalRange {
    JournalRange { after: Position(after), to: Position(to) }
}

fn encoded(items: &[StreamItem], range: JournalRange) -> BTreeMap<Partition, Encoded> {
    let mut fold = Fold::new();
    items.iter().for_each(|item| fold.take(item).expect("a batch"));
    let files = fold.finish().into_iter().map(|(partition, rows)| {
        let count = rows.num_rows() as u64;
        let bytes = file::encode(partition.data_set, [rows], range).expect("in memory");
        (partition, Encoded { bytes, rows: count })
    });
    files.collect()
}

/// One record a position; record n has the runs 10n to 10n+9, of a day that depends on n.
fn records(range: JournalRange) -> BTreeMap<Partition, Encoded> {
    let items: Vec<_> =
        (range.after.0 + 1..=range.to.0).map(|n| runs(n, 10 * n..=10 * n + 9, n % 3)).collect();
    encoded(&items, range)
}

async fn open(root: &FilePath) -> Store {
    Store::open(&Place::Local(root.to_owned()), JOURNAL).await.expect("the folder opens")
}

async fn commit(store: &Store, range: JournalRange) -> Result<(), StoreError> {
    store.commit(range, records(range), Some(LastRecord::new(range.to, NOW)), NOW).await
}

/// The numbers of all runs in the files, sorted.
async fn seqs(store: &Store, snapshot: &Snapshot) -> Vec<i64> {
    let mut seqs = Vec::new();
    for entry in &snapshot.files {
        let bytes = store.shelf.get(&entry.path).await.expect("it is read").expect("it is there");
        for batch in file::read(entry.partition.data_set, bytes).expect("a file") {
            let batch = batch.expect("rows");
            let column = batch.column_by_name("seq").expect("seq").as_primitive::<Int64Type>().clone();
            seqs.extend(column.iter().map(|seq| seq.expect("known")));
        }
    }
    seqs.sort_unstable();
    seqs
}

fn expected(to: u64) -> Vec<i64> {
    (10..10 * (to as i64 + 1)).collect()
}

/// Names under a folder that are no folders, relative to it.
fn names(root: &FilePath) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                folders.push(entry)
            } else {
                names.push(entry.strip_prefix(root).expect("under it").to_owned())
            }
        }
    }
    names.sort();
    names
}

fn put_by_hand(root: &FilePath, files: &BTreeMap<Partition, Encoded>, range: JournalRange) {
    for (partition, encoded) in files {
        let name = name::FileName { partition: partition.clone(), journal: JournalTag::of(&JOURNAL), range };
        let path = root.join(name.path().as_ref());
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        #[expect(clippy::disallowed_methods, reason = "what a crash left")]
        std::fs::write(path, &encoded.bytes).expect("written");
    }
}

fn put_plan_by_hand(root: &FilePath, range: JournalRange) {
    let path = root.join(name::plan_path(JournalTag::of(&JOURNAL), range.after).as_ref());
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    #[expect(clippy::disallowed_methods, reason = "what a crash left")]
    std::fs::write(path, Plan::new(&JOURNAL, range).encode()).expect("written");
}

#[tokio::test]
async fn what_is_committed_is_there_after_the_next_opening_with_its_cursor() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    assert_eq!((store.cursor(), store.snapshot().files.len()), (Position::ZERO, 0));
    commit(&store, range(0, 4)).await.unwrap();
    commit(&store, range(4, 5)).await.unwrap();
    for store in [store, open(root.path()).await] {
        assert_eq!(store.cursor(), Position(5));
        assert_eq!(store.last_record(), Some(LastRecord::new(Position(5), NOW)));
        assert_eq!(seqs(&store, &store.snapshot()).await, expected(5));
        let bytes: u64 = store.snapshot().files.iter().map(|file| file.bytes).sum();
        assert_eq!(store.size(), StoreSize { files: 4, bytes, files_set_aside: 0 });
    }
    let markers = names(&root.path().join(name::COMMITS));
    assert_eq!(markers.len(), 1, "of markers and plans only the newest marker stays: {markers:?}");
}

#[tokio::test]
async fn a_range_that_was_begun_must_be_written_as_it_was_and_its_files_count_once() {
    let root = tempfile::tempdir().unwrap();
    put_plan_by_hand(root.path(), range(0, 4));
    let all = records(range(0, 4));
    put_by_hand(root.path(), &all.into_iter().take(2).collect(), range(0, 4));
    let store = open(root.path()).await;
    assert_eq!(store.snapshot().files.len(), 0, "nothing of it is committed");
    assert_eq!(store.planned(), Some(range(0, 4)));
    let refused = commit(&store, range(0, 6)).await;
    assert!(matches!(refused, Err(StoreError::Planned(planned)) if planned == range(0, 4)), "{refused:?}");
    commit(&store, range(0, 4)).await.unwrap();
    assert_eq!(seqs(&store, &store.snapshot()).await, expected(4));
    assert_eq!(names(root.path()).len(), 4, "three days and a marker");
}

#[tokio::test]
async fn files_that_no_plan_speaks_of_go_and_so_do_those_that_another_covers() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    commit(&store, range(0, 6)).await.unwrap();
    put_by_hand(root.path(), &records(range(6, 9)), range(6, 9));
    put_by_hand(root.path(), &records(range(2, 4)), range(2, 4));
    std::fs::create_dir_all(root.path().join(name::UNFINISHED)).unwrap();
    std::fs::File::create(root.path().join(name::UNFINISHED).join("0")).unwrap();
    let store = open(root.path()).await;
    assert_eq!(seqs(&store, &store.snapshot()).await, expected(6));
    assert_eq!(names(root.path()).len(), 4, "{:?}", names(root.path()));
}

#[tokio::test]
async fn a_damaged_plan_is_none_and_what_it_made_goes() {
    let root = tempfile::tempdir().unwrap();
    put_plan_by_hand(root.path(), range(0, 4));
    put_by_hand(root.path(), &records(range(0, 4)), range(0, 4));
    let plan = root.path().join(name::plan_path(JournalTag::of(&JOURNAL), Position(0)).as_ref());
    #[expect(clippy::disallowed_methods, reason = "damage")]
    std::fs::write(plan, b"{").unwrap();
    let store = open(root.path()).await;
    assert_eq!((store.planned(), names(root.path()).len()), (None, 0));
    commit(&store, range(0, 2)).await.unwrap();
    assert_eq!(seqs(&store, &store.snapshot()).await, expected(2));
}

#[tokio::test]
async fn reading_alone_changes_nothing_and_commits_nothing() {
    let root = tempfile::tempdir().unwrap();
    commit(&open(root.path()).await, range(0, 3)).await.unwrap();
    put_plan_by_hand(root.path(), range(3, 9));
    put_by_hand(root.path(), &records(range(3, 9)), range(3, 9));
    put_by_hand(root.path(), &records(range(1, 3)), range(1, 3));
    let before = names(root.path());
    let store = Store::open_for_reading(&Place::Local(root.path().to_owned()), JOURNAL).await.unwrap();
    assert_eq!(seqs(&store, &store.snapshot()).await, expected(3));
    assert!(matches!(commit(&store, range(3, 9)).await, Err(StoreError::ReadOnly(_))));
    assert_eq!(names(root.path()), before);
}

#[tokio::test]
async fn a_range_that_leaves_out_or_repeats_records_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    commit(&store, range(0, 3)).await.unwrap();
    for wrong in [range(0, 3), range(2, 5), range(4, 5), range(3, 3)] {
        let refused = commit(&store, wrong).await;
        assert!(matches!(refused, Err(StoreError::NotNext { .. })), "{wrong:?}: {refused:?}");
    }
}

#[tokio::test]
async fn files_side_by_side_become_one_when_there_are_enough_and_a_scan_keeps_what_it_reads() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let one_day = |n: u64| encoded(&[runs(n, 10 * n..=10 * n + 9, 1)], range(n - 1, n));
    for n in 1..=FAN_IN as u64 {
        assert_eq!(store.compact_once(NOW).await.unwrap(), None);
        store.commit(range(n - 1, n), one_day(n), None, NOW).await.unwrap();
    }
    let held = store.snapshot();
    let done = store.compact_once(NOW).await.unwrap().expect("there are enough");
    assert_eq!(done.files, FAN_IN as u64);
    assert_eq!(store.size(), StoreSize { files: 1, bytes: done.bytes, files_set_aside: 0 });
    assert_eq!(seqs(&store, &held).await, expected(8), "a scan that began before reads on");
    drop(held);
    assert_eq!(store.compact_once(NOW).await.unwrap(), None);
    store.retain(NOW, &Retention::default()).await.unwrap();
    assert_eq!(names(root.path()).len(), 2, "a file and a marker: {:?}", names(root.path()));
    for store in [store, open(root.path()).await] {
        assert_eq!(store.snapshot().files[0].range, range(0, 8));
        assert_eq!(seqs(&store, &store.snapshot()).await, expected(8));
    }
}

#[tokio::test]
async fn a_folder_to_which_nothing_comes_any_more_is_made_one_file() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    commit(&store, range(0, 3)).await.unwrap();
    commit(&store, range(3, 6)).await.unwrap();
    assert_eq!(store.compact_once(NOW).await.unwrap(), None);
    let later = WallTime(NOW.0 + DAY_US);
    while store.compact_once(later).await.unwrap().is_some() {}
    assert_eq!(store.size().files, 3, "one a day");
    assert_eq!(seqs(&store, &store.snapshot()).await, expected(6));
}

#[tokio::test]
async fn a_corrupt_file_is_set_aside_and_the_rest_is_merged_and_served() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    for to in [3, 6, 9] {
        commit(&store, range(to - 3, to)).await.unwrap();
    }
    let victim = store.snapshot().files[1].clone();
    let file = std::fs::OpenOptions::new().write(true).open(root.path().join(victim.path.as_ref())).unwrap();
    file.set_len(100).unwrap();
    let later = WallTime(NOW.0 + DAY_US);
    while store.compact_once(later).await.unwrap().is_some() {}
    assert_eq!((store.size().files, store.size().files_set_aside), (3, 1));
    assert!(root.path().join(name::CORRUPT).join(victim.path.as_ref()).exists());
    assert_eq!(seqs(&store, &store.snapshot()).await.len(), 80);
    assert_eq!(seqs(&store, &open(root.path()).await.snapshot()).await.len(), 80);
}

#[tokio::test]
async fn retention_deletes_whole_days_for_good() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    commit(&store, range(0, 9)).await.unwrap();
    let retention = Retention { days_max: Some(1), bytes_max: None };
    let retained = store.retain(NOW, &retention).await.unwrap();
    assert_eq!((retained.days, retained.files), (1, 1));
    for store in [store, open(root.path()).await] {
        assert_eq!(seqs(&store, &store.snapshot()).await.len(), 60);
        assert_eq!(store.cursor(), Position(9));
    }
}

#[tokio::test]
async fn another_journal_in_the_same_place_is_served_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    commit(&open(root.path()).await, range(0, 6)).await.unwrap();
    put_by_hand(root.path(), &records(range(6, 9)), range(6, 9));
    let before = names(root.path()).len();
    let other = Store::open(&Place::Local(root.path().to_owned()), [0xCD; 16]).await.unwrap();
    assert_eq!((other.cursor(), other.planned()), (Position::ZERO, None));
    assert_eq!(seqs(&other, &other.snapshot()).await, expected(6));
    assert_eq!(names(root.path()).len(), before);
}

#[tokio::test]
async fn a_place_that_cannot_be_a_folder_is_told_with_its_name() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("file");
    std::fs::File::create(&path).unwrap();
    let error =
        Store::open(&Place::Local(path.clone()), JOURNAL).await.expect_err("it is a file").to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
}

#[derive(Debug, Clone)]
enum Step {
    Commit(u64),
    Compact { days_later: u64 },
    Reopen,
    Hold,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (1_u64..4).prop_map(Step::Commit),
        3 => (0_u64..2).prop_map(|days_later| Step::Compact { days_later }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Hold),
    ];
    prop::collection::vec(step, 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Whatever is done in whatever order, each run is there once, in what a scan held from before as well.
    #[test]
    fn each_row_is_there_once_after_any_steps(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let root = tempfile::tempdir().expect("a folder");
            let mut store = Arc::new(open(root.path()).await);
            let mut held: Vec<(Arc<Store>, Snapshot)> = Vec::new();
            for step in steps {
                match step {
                    Step::Commit(count) => {
                        let after = store.cursor().0;
                        commit(&store, range(after, after + count)).await.expect("committed");
                    }
                    Step::Compact { days_later } => {
                        store.compact_once(WallTime(NOW.0 + days_later * DAY_US)).await.expect("compacted");
                    }
                    Step::Reopen => {
                        held.clear();
                        store = Arc::new(open(root.path()).await);
                    }
                    Step::Hold => held.push((store.clone(), store.snapshot())),
                }
                let snapshot = store.snapshot();
                assert_eq!(seqs(&store, &snapshot).await, expected(snapshot.covered_to.0));
                for (store, snapshot) in &held {
                    assert_eq!(seqs(store, snapshot).await, expected(snapshot.covered_to.0));
                }
            }
        });
    }
}
