//! The writer over a real journal in a folder.

use std::path::Path;
use std::time::Duration;

use journal::fs::RealFs;
use journal::stream::{JournalStreamLog, Sealed};
use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::ManualClock;
use muster::ids::{AgentId, Epoch, Seq, StreamKey, Team};
use muster::v1;
use muster::v1::event::Kind;

use super::*;
use crate::dataset::DataSet;
use crate::store::{Place, Retention};

const NOW: WallTime = WallTime(1_795_000_000_000_000);

struct Bench {
    folder: tempfile::TempDir,
    clock: ManualClock,
    stop: watch::Sender<bool>,
}

struct Open {
    log: Arc<JournalStreamLog>,
    writer: Writer,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: ManualClock::at(NOW),
            stop: watch::Sender::new(false),
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn place(&self) -> Place {
        Place::Local(self.path("history"))
    }

    async fn open(&self) -> Open {
        self.open_bounded(RANGE_BOUNDS).await
    }

    async fn open_bounded(&self, bounds: RangeBounds) -> Open {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let config = journal::Config { preallocate_bytes: 0, ..journal::Config::new(self.path("journal")) };
        let (journal, _) = Journal::open(config, Arc::new(RealFs), clock.clone()).unwrap();
        let journal = Arc::new(journal);
        let (log, _) = JournalStreamLog::open(journal.clone()).unwrap();
        let log = Arc::new(log);
        let store = Arc::new(Store::open(&self.place(), journal.id()).await.unwrap());
        let writer = Writer {
            store,
            cursor: journal.cursor(HISTORY_CURSOR).unwrap(),
            journal,
            log: log.clone(),
            clock,
            figures: Arc::default(),
            bounds,
            stop: self.stop.subscribe(),
        };
        Open { log, writer }
    }
}

impl Open {
    fn append(&self, count: u64) {
        append(&self.log, count);
    }

    fn append_garbage(&self) {
        let key = StreamKey {
            team: Team::default_team(),
            agent: AgentId::from_bytes([2; 16]),
            epoch: Epoch::try_from(1).unwrap(),
        };
        let first = self.log.high_water_mark(&key).durable.next();
        let seqs = muster::ids::SeqRange::new(first, Seq(first.0 + 4)).unwrap();
        let sealed = Sealed { seqs, crc32c: 7, bytes: b"no batch".as_slice().into() };
        self.log.append(&key, sealed).unwrap().wait().unwrap();
    }

    fn rows(&self) -> u64 {
        self.writer.figures.rows(DataSet::Runs)
    }

    fn files(&self) -> usize {
        self.writer.store.snapshot().files.len()
    }
}

/// Appends `count` runs as one batch.
fn append(log: &JournalStreamLog, count: u64) {
    let key = StreamKey {
        team: Team::default_team(),
        agent: AgentId::from_bytes([1; 16]),
        epoch: Epoch::try_from(1).unwrap(),
    };
    let first = log.high_water_mark(&key).durable.next();
    let mut builder = BatchBuilder::new();
    let source = builder.source(&SourceIdentity::default()).unwrap();
    for n in 0..count {
        builder.push(WallTime(NOW.0 + n), source, Kind::RunFinished(v1::RunFinished::default()));
    }
    let batch = builder.seal(first).unwrap();
    let sealed = Sealed { seqs: batch.seqs, crc32c: batch.crc32c, bytes: batch.bytes };
    log.append(&key, sealed).unwrap().wait().unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn a_flush_commits_what_is_durable_and_moves_the_journals_cursor() {
    let bench = Bench::new();
    let open = bench.open().await;
    // A new journal may have a checkpoint, which is no row.
    open.writer.flush().await.unwrap();
    assert_eq!((open.rows(), open.files(), open.writer.waiting_bytes()), (0, 0, None));
    open.append(5);
    open.append(3);
    assert!(open.writer.waiting_bytes().is_some());
    assert_eq!(open.writer.flush().await.unwrap(), Some(false));
    assert_eq!((open.rows(), open.files()), (8, 1));
    assert_eq!(open.writer.cursor.position(), open.writer.journal.durable());
    assert_eq!((open.writer.flush().await.unwrap(), open.writer.waiting_bytes()), (None, None));
}

#[tokio::test]
async fn a_full_range_ends_and_says_that_there_is_more() {
    let bench = Bench::new();
    let open = bench.open_bounded(RangeBounds { rows_max: 6, ..RANGE_BOUNDS }).await;
    (0..4).for_each(|_| open.append(5));
    assert_eq!(open.writer.flush().await.unwrap(), Some(true));
    assert_eq!(open.rows(), 10);
    assert_eq!(open.writer.flush().await.unwrap(), Some(false));
    assert_eq!((open.rows(), open.files()), (20, 2));
}

#[tokio::test]
async fn a_flush_that_is_told_to_stop_commits_nothing_and_the_next_life_commits_it_all() {
    let bench = Bench::new();
    let open = bench.open().await;
    open.append(5);
    bench.stop.send_replace(true);
    assert!(matches!(open.writer.flush().await, Err(WriteError::Stopped)));
    assert_eq!((open.rows(), open.files()), (0, 0));
    drop(open);
    bench.stop.send_replace(false);
    let open = bench.open().await;
    open.writer.flush().await.unwrap();
    assert_eq!((open.rows(), open.files()), (5, 1));
}

#[tokio::test]
async fn a_record_without_rows_costs_only_itself() {
    let bench = Bench::new();
    let open = bench.open().await;
    open.append(5);
    open.append_garbage();
    open.append(5);
    open.writer.flush().await.unwrap();
    assert_eq!((open.rows(), open.writer.figures.records_passed_over()), (10, 1));
}

#[tokio::test]
async fn a_crash_between_the_marker_and_the_journals_cursor_writes_nothing_again() {
    let bench = Bench::new();
    let open = bench.open().await;
    open.append(5);
    let gathered = open.writer.gather(Position::ZERO).unwrap().expect("a range");
    let (range, last) = (gathered.range, gathered.last);
    let files = gathered.fold.into_batches().map(|(partition, rows)| {
        let bytes = file::encode(partition.data_set, [rows], range).unwrap();
        (partition, Encoded { bytes, rows: 5 })
    });
    open.writer.store.commit(range, files.collect(), last, NOW).await.unwrap();
    assert_eq!(open.writer.cursor.position(), Position::ZERO);
    drop(open);
    let open = bench.open().await;
    open.writer.check().unwrap();
    assert_eq!(open.writer.cursor.position(), range.to);
    open.append(1);
    open.writer.flush().await.unwrap();
    assert_eq!(open.rows(), 1);
}

#[tokio::test]
async fn a_journal_from_an_older_backup_is_refused_before_and_after_it_went_on() {
    let bench = Bench::new();
    let open = bench.open().await;
    open.append(5);
    open.writer.flush().await.unwrap();
    drop(open);
    copy(&bench.path("journal"), &bench.path("backup"));
    let open = bench.open().await;
    open.append(5);
    open.append(5);
    open.writer.flush().await.unwrap();
    drop(open);
    std::fs::remove_dir_all(bench.path("journal")).unwrap();
    copy(&bench.path("backup"), &bench.path("journal"));
    bench.clock.advance(Duration::from_secs(60));
    let open = bench.open().await;
    let error = open.writer.check().expect_err("the journal is behind");
    assert!(matches!(error, WriteError::Store(StoreError::JournalBehind { .. })), "{error}");
    (0..9).for_each(|_| open.append(5));
    let error = open.writer.check().expect_err("the journal is another one");
    assert!(matches!(error, WriteError::Store(StoreError::OtherJournal { .. })), "{error}");
    assert!(error.is_final() && error.to_string().contains("older backup"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_thread_writes_what_comes_and_opens_a_place_that_was_away() {
    let bench = Bench::new();
    // A file where the folder should be.
    std::fs::File::create(bench.path("history")).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(muster::clock::SystemClock::new());
    let config = journal::Config::new(bench.path("journal"));
    let (journal, _) = Journal::open(config, Arc::new(RealFs), clock.clone()).unwrap();
    let journal = Arc::new(journal);
    let (log, _) = JournalStreamLog::open(journal.clone()).unwrap();
    let log = Arc::new(log);
    let settings = Settings {
        place: bench.place(),
        flush_interval: Duration::from_millis(50),
        compaction: true,
        retention: Retention::default(),
    };
    let writing = Writing::start(settings, &journal, log.clone(), clock.clone()).unwrap();
    let archive = writing.archive.clone();
    until(|| archive.problem().is_some()).await;
    assert!(archive.store().is_none());
    std::fs::remove_file(bench.path("history")).unwrap();
    until(|| archive.store().is_some() && archive.problem().is_none()).await;
    let failures: u64 = FailureReason::ALL.iter().map(|reason| archive.figures().failures(*reason)).sum();
    assert!(failures >= 1);
    append(&log, 5);
    until(|| archive.figures().rows(DataSet::Runs) == 5).await;
    append(&log, 2);
    until(|| archive.figures().rows(DataSet::Runs) == 7).await;
    tokio::task::spawn_blocking(|| writing.finish()).await.unwrap();
}

async fn until(holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain");
}
