//! A journal and a store in memory, and events to put in them, from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use bytes::Bytes;
use futures::FutureExt;
use journal::stream::{OtlpEntry, StreamEntry, StreamItem};
use journal::{Position, ReadError};
use muster::batch::{BatchBuilder, SourceIdentity, SourceIndex};
use muster::clock::WallTime;
use muster::ids::{AgentId, Epoch, Seq, StreamKey, Team};
use muster::v1::event::Kind;
use muster::v1::{self, OtlpSignal};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;

use super::{Files, History, Log};
use crate::dataset::DataSet;
use crate::fold::Fold;
use crate::partition::{JournalRange, Partition};
use crate::store::name::{FileName, JournalTag};
use crate::store::{FileEntry, Snapshot};

/// 2026-11-20 00:00 UTC.
pub(crate) const START: WallTime = WallTime(1_795_132_800_000_000);
pub(crate) const HOUR_US: u64 = 3_600_000_000;
fn tag() -> JournalTag {
    JournalTag::of(&[7; 16])
}

/// What the store in memory never waits for.
pub(crate) fn now<T>(request: impl Future<Output = T>) -> T {
    request.now_or_never().unwrap()
}

/// A journal in memory; `after_read` of its records are durable.
#[derive(Default)]
pub(crate) struct FakeLog {
    items: Mutex<Vec<StreamItem>>,
    /// Records before this one are deleted.
    first: AtomicUsize,
}

/// A store in memory.
pub(crate) struct FakeFiles {
    pub(crate) objects: Arc<InMemory>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: Vec<Arc<FileEntry>>,
    covered_to: Position,
    aside: Vec<String>,
}

impl FakeLog {
    pub(crate) fn append(&self, item: impl FnOnce(Position) -> StreamItem) {
        let mut items = self.items.lock();
        let position = Position(items.len() as u64 + 1);
        items.push(item(position));
    }

    pub(crate) fn items(&self) -> Vec<StreamItem> {
        self.items.lock().clone()
    }

    /// Deletes the records up to `to`.
    pub(crate) fn cut_back(&self, to: Position) {
        self.first.store(to.0 as usize, Ordering::SeqCst);
    }
}

impl Log for FakeLog {
    fn durable(&self) -> Position {
        Position(self.items.lock().len() as u64)
    }

    fn read(&self, after: Position) -> Box<dyn Iterator<Item = Result<StreamItem, ReadError>> + Send> {
        let first = self.first.load(Ordering::SeqCst);
        let mut from = after.0 as usize;
        let mut items = Vec::new();
        if from < first {
            items.push(StreamItem::Gap {
                from: after.next(),
                to: Position(first as u64),
                reason: journal::GapReason::Retention,
            });
            from = first;
        }
        items.extend(self.items.lock()[from..].iter().cloned());
        Box::new(items.into_iter().map(Ok))
    }
}

impl FakeFiles {
    pub(crate) fn new() -> Self {
        Self { objects: Arc::new(InMemory::new()), state: Mutex::default() }
    }

    /// Writes the records up to `to` that are in no file yet.
    pub(crate) fn flush(&self, log: &FakeLog, to: Position) {
        let after = self.state.lock().covered_to;
        let items = log.items();
        let mut fold = Fold::new();
        items[after.0 as usize..to.0 as usize].iter().for_each(|item| {
            let _ = fold.take(item);
        });
        let range = JournalRange { after, to };
        let files: Vec<_> = fold
            .finish()
            .into_iter()
            .map(|(partition, rows)| {
                self.put(
                    partition.clone(),
                    range,
                    crate::file::encode(partition.data_set, [rows], range).unwrap(),
                )
            })
            .collect();
        let mut state = self.state.lock();
        state.files.extend(files);
        state.covered_to = to;
    }

    /// Makes one file of the first two files of a folder that has two. The old ones are deleted.
    pub(crate) fn compact(&self, pick: usize) {
        let files = self.state.lock().files.clone();
        if files.is_empty() {
            return;
        }
        let first = &files[pick % files.len()];
        let of_folder = |file: &&Arc<FileEntry>| file.partition == first.partition;
        let both: Vec<_> = files.iter().filter(of_folder).take(2).cloned().collect();
        let [a, b] = both.as_slice() else { return };
        let rows = |file: &FileEntry| {
            let bytes = now(async { self.objects.get(&file.path).await.unwrap().bytes().await.unwrap() });
            crate::file::read(file.partition.data_set, bytes).unwrap().map(Result::unwrap).collect::<Vec<_>>()
        };
        let set = a.partition.data_set;
        let inputs = [a, b].map(|file| rows(file).into_iter().map(Ok::<_, arrow_schema::ArrowError>).into());
        let merged: Vec<RecordBatch> = crate::file::merge(inputs.into()).map(Result::unwrap).collect();
        let range = JournalRange { after: a.range.after, to: b.range.to };
        let whole = self.put(a.partition.clone(), range, crate::file::encode(set, merged, range).unwrap());
        self.state.lock().files.retain(|file| file.path != a.path && file.path != b.path);
        self.state.lock().files.push(whole);
    }

    fn put(&self, partition: Partition, range: JournalRange, bytes: Bytes) -> Arc<FileEntry> {
        let path = FileName { partition: partition.clone(), journal: tag(), range }.path();
        let size = bytes.len() as u64;
        now(self.objects.put(&path, bytes.into())).unwrap();
        Arc::new(FileEntry { partition, journal: tag(), range, path, bytes: size, modified: WallTime(0) })
    }

    pub(crate) fn files(&self) -> Vec<Arc<FileEntry>> {
        self.state.lock().files.clone()
    }

    /// Puts a file's bytes in the place of what was there.
    pub(crate) fn damage(&self, file: &FileEntry, damage: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        now(async {
            let bytes = self.objects.get(&file.path).await.unwrap().bytes().await.unwrap();
            self.objects.put(&file.path, damage(bytes.to_vec()).into()).await.unwrap();
        });
    }

    pub(crate) fn aside(&self) -> Vec<String> {
        self.state.lock().aside.clone()
    }
}

impl Files for FakeFiles {
    fn snapshot_of(&self, data_set: DataSet) -> Snapshot {
        let mut snapshot = self.snapshot();
        snapshot.files.retain(|file| file.partition.data_set == data_set);
        snapshot
    }

    fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        Snapshot { files: state.files.clone(), covered_to: state.covered_to }
    }

    fn covered_to(&self) -> Position {
        self.state.lock().covered_to
    }

    fn objects(&self) -> Arc<dyn ObjectStore> {
        self.objects.clone()
    }

    fn set_aside(&self, file: &FileEntry, _why: &str) {
        let mut state = self.state.lock();
        state.files.retain(|known| known.path != file.path);
        state.aside.push(file.path.to_string());
    }
}

/// A journal, a store, and the history of both.
pub(crate) struct Fake {
    pub(crate) log: Arc<FakeLog>,
    pub(crate) files: Arc<FakeFiles>,
    pub(crate) history: History,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let (log, files) = (Arc::new(FakeLog::default()), Arc::new(FakeFiles::new()));
        let history = History::new(files.clone(), log.clone()).unwrap();
        Self { log, files, history }
    }

    /// `records` batches of all kinds of events over `hours`, of which the first `flushes` parts are in files.
    pub(crate) fn with_events(rng: &mut fastrand::Rng, records: usize, hours: u64, flushes: usize) -> Self {
        let fake = Self::new();
        for record in 0..records {
            append_events(rng, &fake.log, record, hours);
        }
        for flush in 1..=flushes {
            let to = Position((records * flush / (flushes + 1)) as u64);
            fake.files.flush(&fake.log, to);
        }
        fake
    }

    /// All rows of a data set, as the fold has them.
    pub(crate) fn truth(&self, data_set: DataSet) -> Vec<(Partition, RecordBatch)> {
        let mut fold = Fold::new();
        self.log.items().iter().for_each(|item| {
            let _ = fold.take(item);
        });
        fold.finish().into_iter().filter(|(partition, _)| partition.data_set == data_set).collect()
    }
}

/// A batch of an agent, or an OTLP payload.
pub(crate) fn append_events(rng: &mut fastrand::Rng, log: &FakeLog, record: usize, hours: u64) {
    let team: Team = ["default", "platform"][rng.usize(..2)].parse().unwrap();
    let appended = WallTime(START.0 + rng.u64(..hours * HOUR_US));
    if rng.u8(..20) == 0 {
        let items = rng.u32(..9);
        log.append(|position| {
            StreamItem::Otlp(OtlpEntry {
                position,
                appended_wall: appended,
                team,
                signal: OtlpSignal::Logs,
                items,
                bytes: Bytes::new(),
            })
        });
        return;
    }
    let first = Seq(record as u64 * 100 + 1);
    let sealed = batch(rng, appended).seal(first).unwrap();
    let agent = AgentId::from_bytes([rng.u8(1..4); 16]);
    let key = StreamKey { team, agent, epoch: Epoch::try_from(rng.u64(1..3)).unwrap() };
    log.append(|position| {
        StreamItem::Batch(StreamEntry {
            position,
            appended_wall: appended,
            key,
            seqs: sealed.seqs,
            crc32c: sealed.crc32c,
            bytes: sealed.bytes,
        })
    });
}

/// A batch of runs of two workers, most with a reading near their end.
pub(crate) fn append_runs_and_samples(rng: &mut fastrand::Rng, log: &FakeLog, record: usize) {
    let mut builder = BatchBuilder::new();
    let identity = SourceIdentity {
        tool: "devloop".to_owned(),
        project: ["shop", "site"][rng.usize(..2)].to_owned(),
        ..Default::default()
    };
    let source = builder.source(&identity).unwrap();
    for _ in 0..20 {
        let worker = builder.text(["linter", "formatter"][rng.usize(..2)]);
        let end = START.0 + rng.u64(..HOUR_US);
        let run = v1::RunFinished { worker, status: 1, ..Default::default() };
        builder.push(WallTime(end), source, Kind::RunFinished(run));
        for _ in 0..rng.u8(..3) {
            let sample = v1::ResourceSample {
                scope: if rng.u8(..5) == 0 { 1 } else { 2 },
                worker,
                cpu_percent: Some(rng.f64() * 100.0),
                memory_bytes: rng.bool().then(|| rng.u64(..1 << 30)),
                ..Default::default()
            };
            let at = end + 3_000_000 - rng.u64(..6_000_000);
            builder.push(WallTime(at), source, Kind::ResourceSample(sample));
        }
    }
    append(log, builder, AgentId::from_bytes([rng.u8(1..3); 16]), record);
}

fn append(log: &FakeLog, builder: BatchBuilder, agent: AgentId, record: usize) {
    let sealed = builder.seal(Seq(record as u64 * 10_000 + 1)).unwrap();
    let key = StreamKey { team: Team::default_team(), agent, epoch: Epoch::try_from(1).unwrap() };
    log.append(|position| {
        StreamItem::Batch(StreamEntry {
            position,
            appended_wall: START,
            key,
            seqs: sealed.seqs,
            crc32c: sealed.crc32c,
            bytes: sealed.bytes,
        })
    });
}

/// One batch with runs of so many projects, of most one run.
pub(crate) fn append_projects(rng: &mut fastrand::Rng, log: &FakeLog, projects: usize) {
    let mut builder = BatchBuilder::new();
    for project in 0..projects {
        let identity = SourceIdentity {
            tool: "devloop".to_owned(),
            project: format!("p{project}"),
            ..Default::default()
        };
        let source = builder.source(&identity).unwrap();
        for _ in 0..if project % 40 == 0 { 9 } else { 1 } {
            let run =
                v1::RunFinished { status: 1, duration_us: Some(rng.u64(..1 << 40)), ..Default::default() };
            builder.push(START, source, Kind::RunFinished(run));
        }
    }
    append(log, builder, AgentId::from_bytes([1; 16]), 0);
}

fn batch(rng: &mut fastrand::Rng, appended: WallTime) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    let tool = ["devloop", "loki", "claude"][rng.usize(..3)];
    let project = format!("project-{}", rng.u8(..5));
    let user = ["ann", "bob", ""][rng.usize(..3)].to_owned();
    let identity = SourceIdentity {
        tool: tool.to_owned(),
        project,
        user,
        host: "box".to_owned(),
        ..SourceIdentity::default()
    };
    let source = builder.source(&identity).unwrap();
    for _ in 0..rng.usize(1..40) {
        let age = match rng.u8(..40) {
            // An absurd time: among the undated.
            0 => appended.0 - 1_000_000_000_000_000,
            // The same microsecond, often.
            1..=9 => 1_000_000,
            _ => rng.u64(..2 * HOUR_US),
        };
        push(rng, &mut builder, source, WallTime(appended.0 - age));
    }
    builder
}

fn push(rng: &mut fastrand::Rng, builder: &mut BatchBuilder, source: SourceIndex, time: WallTime) {
    let worker = ["linter", "formatter", "test-runner", ""][rng.usize(..4)];
    let model = ["opus", "haiku", ""][rng.usize(..3)];
    let [worker, session, model] =
        [worker, ["s1", "s2"][rng.usize(..2)], model].map(|text| builder.text(text));
    let maybe = |rng: &mut fastrand::Rng, most: u64| (rng.u8(..4) > 0).then(|| rng.u64(..most));
    let weight = if rng.u8(..5) == 0 { rng.u32(..20) } else { 1 };
    let count = rng.u32(..4);
    let kind = match rng.u8(..10) {
        0..=3 => Kind::RunFinished(v1::RunFinished {
            worker,
            status: rng.i32(0..6),
            duration_us: maybe(rng, 5_000_000),
            queued_us: maybe(rng, 500),
            session,
            model,
            ..Default::default()
        }),
        4 => Kind::Finding(v1::Finding {
            worker,
            severity: rng.i32(0..6),
            change: rng.i32(0..5),
            count,
            ..Default::default()
        }),
        5 => Kind::PushChecked(v1::PushChecked {
            gate: rng.i32(0..4),
            allowed: rng.bool(),
            ..Default::default()
        }),
        6 => Kind::Usage(v1::Usage {
            model,
            worker,
            session,
            input_tokens: rng.u64(..1000),
            output_tokens: rng.u64(..1000),
            cache_read_tokens: rng.u64(..9),
            reported_cost_microusd: maybe(rng, 5000).map(|cost| cost as i64 - 500),
            computed_cost_microusd: maybe(rng, 5000).map(|cost| cost as i64 - 500),
            ..Default::default()
        }),
        7 => Kind::SessionState(v1::SessionState {
            session,
            status: rng.i32(0..5),
            started_time_us: maybe(rng, HOUR_US).map(|age| time.0.saturating_sub(age)),
            ..Default::default()
        }),
        8 => Kind::ResourceSample(v1::ResourceSample {
            scope: rng.i32(0..6),
            worker,
            cpu_percent: Some(rng.f64() * 100.0),
            memory_bytes: maybe(rng, 1 << 30),
            ..Default::default()
        }),
        _ => match rng.u8(..4) {
            0 => Kind::TimeSaved(v1::TimeSaved {
                kind: rng.i32(0..4),
                saved_us: rng.u64(..1_000_000),
                modelled: rng.bool(),
            }),
            1 => Kind::FindingsFixed(v1::FindingsFixed { count: u64::from(count) }),
            2 => Kind::PushChecked(v1::PushChecked {
                gate: rng.i32(0..4),
                prevented_bad_push: true,
                ..Default::default()
            }),
            _ => Kind::FileActivity(v1::FileActivity { change: rng.i32(0..5), count, ..Default::default() }),
        },
    };
    builder.push_weighted(time, source, weight, kind);
}

/// Every row as one text of all its columns.
pub(crate) fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    // Times as numbers: without a time zone database the formatter has no UTC.
    let plain = |column: &ArrayRef| match column.data_type() {
        DataType::Timestamp(..) => arrow_cast::cast(column, &DataType::Int64).unwrap(),
        _ => column.clone(),
    };
    let columns: Vec<_> = batch.columns().iter().map(plain).collect();
    let columns: Vec<_> =
        columns.iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|"))
        .collect()
}
