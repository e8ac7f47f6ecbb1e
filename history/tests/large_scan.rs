//! Ten million runs in files of days: how long a scan takes, and how much memory. Run it in release, alone:
//! `cargo test --release -p history --test large_scan -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use history::dataset::DataSet;
use history::file;
use history::partition::{Day, JournalRange, Partition};
use history::query::{Filter, Query, TimeRange};
use history::reader::{Files, History, Log};
use history::store::name::{FileName, JournalTag};
use history::store::{FileEntry, Snapshot};
use history::summary::{By, SummaryAsked};
use journal::stream::StreamItem;
use journal::{Position, ReadError};
use muster::clock::{Clock, SystemClock, WallTime};
use muster::ids::Team;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

/// Unoptimized it is a test of the memory alone.
const ROWS: usize = if cfg!(debug_assertions) { 600_000 } else { 9_999_990 };
const DAYS: usize = if cfg!(debug_assertions) { 2 } else { 30 };
const DAY_US: u64 = 86_400_000_000;
const FIRST_DAY: u32 = 20_700;
const WORKERS: i32 = 20;
/// Most memory that a scan may take.
const MEMORY_KB_MAX: u64 = 64 << 10;

struct Folder {
    objects: Arc<dyn ObjectStore>,
    files: Vec<Arc<FileEntry>>,
}

impl Files for Folder {
    fn snapshot_of(&self, data_set: DataSet) -> Snapshot {
        let files = self.files.iter().filter(|file| file.partition.data_set == data_set);
        Snapshot { files: files.cloned().collect(), covered_to: Position(1) }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { files: self.files.clone(), covered_to: Position(1) }
    }

    fn covered_to(&self) -> Position {
        Position(1)
    }

    fn objects(&self) -> Arc<dyn ObjectStore> {
        self.objects.clone()
    }

    fn set_aside(&self, file: &FileEntry, why: &str) {
        panic!("{}: {why}", file.path);
    }
}

struct Nothing;

impl Log for Nothing {
    fn durable(&self) -> Position {
        Position(1)
    }

    fn read(&self, _: Position) -> Box<dyn Iterator<Item = Result<StreamItem, ReadError>> + Send> {
        Box::new(std::iter::empty())
    }
}

fn words(keys: Vec<i32>, name: &str, count: i32) -> ArrayRef {
    let values: StringArray = (0..count).map(|value| Some(format!("{name}-{value:03}"))).collect();
    Arc::new(DictionaryArray::<Int32Type>::new(Int32Array::from(keys), Arc::new(values)))
}

/// The runs of a day, by time, each of one of 200 projects.
fn runs_of_day(rng: &mut fastrand::Rng, day: usize, rows: usize) -> RecordBatch {
    let start = (u64::from(FIRST_DAY) + day as u64) * DAY_US;
    let mut times: Vec<i64> = (0..rows).map(|_| (start + rng.u64(..DAY_US)) as i64).collect();
    times.sort_unstable();
    let projects: Vec<i32> = (0..rows).map(|_| rng.i32(0..200)).collect();
    let mut column = |column: &history::dataset::Column| -> ArrayRef {
        let mut numbers = |most: i64| -> ArrayRef {
            Arc::new((0..rows).map(|_| Some(rng.i64(0..most))).collect::<Int64Array>())
        };
        match column.name {
            "time" => Arc::new(TimestampMicrosecondArray::from(times.clone()).with_timezone("UTC")),
            "agent_id" | "project" | "user" => words(projects.clone(), column.name, 200),
            "epoch" | "tool" | "host" => words(vec![0; rows], column.name, 1),
            "seq" => numbers(1 << 24),
            "duration_us" => numbers(30_000_000),
            "queued_us" => numbers(500_000),
            "weight" => Arc::new(Int64Array::from(vec![1; rows])),
            "worker" => words((0..rows).map(|_| rng.i32(0..WORKERS)).collect(), "worker", WORKERS),
            "status" => words((0..rows).map(|_| rng.i32(0..4) / 3).collect(), "status", 2),
            "replayed" => Arc::new(BooleanArray::from(vec![false; rows])),
            _ => new_null_array(&column.values.data_type(), rows),
        }
    };
    let columns = DataSet::Runs.columns().map(&mut column).collect();
    RecordBatch::try_new(DataSet::Runs.file_schema(), columns).unwrap()
}

fn write_files(root: &Path) -> Folder {
    let rng = &mut fastrand::Rng::with_seed(1);
    let (range, journal) = (JournalRange { after: Position(0), to: Position(1) }, JournalTag::of(&[1; 16]));
    let mut files = Vec::new();
    for number in 0..DAYS {
        let day = Day::Utc(FIRST_DAY + number as u32);
        let partition = Partition { data_set: DataSet::Runs, team: Team::default_team(), day };
        let rows = runs_of_day(rng, number, ROWS / DAYS);
        let content = file::encode(DataSet::Runs, [rows], range).unwrap();
        let path = FileName { partition: partition.clone(), journal, range }.path();
        let place = root.join(path.as_ref());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, &content).unwrap();
        let bytes = content.len() as u64;
        files.push(Arc::new(FileEntry { partition, journal, range, path, bytes, modified: WallTime(0) }));
    }
    Folder { objects: Arc::new(LocalFileSystem::new_with_prefix(root).unwrap()), files }
}

/// A figure of this process: `VmRSS` is what it has in memory, `VmHWM` the most that it had.
fn memory_kb(figure: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Does `work`, which counts rows, and says how long it took and how much more memory there was at the most.
fn measured(what: &str, work: impl FnOnce() -> usize) -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (clock, before) = (SystemClock::new(), memory_kb("VmRSS"));
    let rows = work();
    let (took, most) = (clock.monotonic().0, memory_kb("VmHWM").saturating_sub(before));
    println!("{what}: {rows} rows in {took:?}, at most {most} kB more in memory");
    most
}

#[test]
#[ignore = "writes ten million rows, and is meant for release"]
fn ten_million_rows_are_scanned_quickly_and_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_files(folder.path());
    let bytes: u64 = files.files.iter().map(|file| file.bytes).sum();
    println!("{bytes} bytes, {:.1} a row", bytes as f64 / ROWS as f64);
    let history = History::new(Arc::new(files), Arc::new(Nothing)).unwrap();
    let day = |number: usize| WallTime((u64::from(FIRST_DAY) + number as u64) * DAY_US);
    let range = TimeRange { from: day(0), to: day(DAYS) };
    let count =
        |query: &Query| history.scan(query).unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>();
    let worker = Filter { worker: Some("worker-007".to_owned()), ..Filter::default() };
    let all =
        Query { data_set: DataSet::Runs, range, filter: Filter::default(), columns: None, is_sorted: false };
    let filtered = Query { filter: worker, ..all.clone() };
    let sorted = Query { is_sorted: true, ..all.clone() };
    let most = measured("filtered by worker", || count(&filtered));
    assert!(most < MEMORY_KB_MAX, "{most} kB");
    for (what, query) in [("all, as they lie", &all), ("all, in order", &sorted)] {
        let mut rows = 0;
        let most = measured(what, || {
            rows = count(query);
            rows
        });
        assert_eq!(rows, ROWS);
        assert!(most < MEMORY_KB_MAX, "{most} kB");
    }
    let asked = SummaryAsked { range, filter: Filter::default(), by: Some(By::Project), compare: false };
    measured("summary by project", || history.summary(&asked).unwrap().total.runs.total as usize);
}
