use std::path::Path;

use journal::stream::{JournalStreamLog, Sealed};
use journal::{Config, Journal};
use metrics::{Format, PageRequest};
use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::{Monotonic, SystemClock, WallTime};
use muster::ids::{Epoch, Seq, StreamKey};
use muster::v1;
use muster::v1::event::Kind;

use super::*;
use crate::figures::PassedOver;

const NOON: u64 = 1_771_588_800_000_000;

struct Bench {
    journal: Arc<Journal>,
    log: Arc<JournalStreamLog>,
    folding: Folding,
    figures: Arc<Figures>,
}

fn open(dir: &Path) -> Bench {
    open_at(dir, Arc::new(SystemClock::new()))
}

fn open_at(dir: &Path, clock: Arc<dyn Clock>) -> Bench {
    let config = Config { preallocate_bytes: 0, reserve_bytes: 0, ..Config::new(dir.join("journal")) };
    let (journal, _) = Journal::open(config, Arc::new(journal::fs::RealFs), clock.clone()).expect("opens");
    let journal = Arc::new(journal);
    let (log, _) = JournalStreamLog::open(journal.clone()).expect("opens");
    let log = Arc::new(log);
    let figures = crate::telemetry::detached_figures();
    let source = Source {
        log: log.clone(),
        wake: journal.subscribe(),
        cursor: journal.cursor("aggregate").expect("free"),
        figures: figures.clone(),
        clock,
    };
    let settings = Settings {
        data_dir: dir.to_owned(),
        snapshot_interval: Duration::from_secs(3_600),
        series_per_family_max: 1_000,
        team_series_max: TeamSeriesMax::default(),
        agent_series_max: 1_000,
    };
    let folding =
        Folding::start(settings, source, Arc::new(Fleet::new()), journal.durable()).expect("starts");
    Bench { journal, log, folding, figures }
}

const AGENT: AgentId = AgentId::from_bytes([1; 16]);

fn append(bench: &Bench, first: u64, bytes: Option<&'static [u8]>) {
    let mut builder = BatchBuilder::new();
    let identity = SourceIdentity { tool: "devloop".into(), project: "shop".into(), ..Default::default() };
    let source = builder.source(&identity).expect("room");
    let worker = builder.text("linter");
    for n in 0..10 {
        let run = v1::RunFinished { worker, status: v1::RunStatus::Success.into(), ..Default::default() };
        builder.push(WallTime(NOON + n), source, Kind::RunFinished(run));
    }
    append_built(bench, builder, first, bytes);
}

fn append_gauge(bench: &Bench, first: u64) {
    let mut builder = BatchBuilder::new();
    let identity = SourceIdentity { tool: "loki".into(), project: "shop".into(), ..Default::default() };
    let source = builder.source(&identity).expect("room");
    builder.push(WallTime(NOON), source, Kind::CostTotal(v1::CostTotal { cost_usd: 2.5 }));
    append_built(bench, builder, first, None);
}

fn append_built(bench: &Bench, builder: BatchBuilder, first: u64, bytes: Option<&'static [u8]>) {
    let key =
        StreamKey { team: Team::default_team(), agent: AGENT, epoch: Epoch::try_from(1).expect("not 0") };
    let sealed = builder.seal(Seq(first)).expect("valid");
    let bytes = bytes.map_or(sealed.bytes, bytes::Bytes::from_static);
    let batch = Sealed { seqs: sealed.seqs, crc32c: crc32c::crc32c(&bytes), bytes };
    let appended = bench.log.append(&key, batch).expect("open").wait().expect("durable");
    assert!(matches!(appended, journal::stream::Outcome::Appended { .. }), "{appended:?}");
}

fn runs_on_page(view: &View) -> Option<String> {
    on_page(view, "muster_runs_total{")
}

fn cost_on_page(view: &View) -> Option<String> {
    on_page(view, "loki_cost_usd{")
}

/// The value of the first sample that begins so.
fn on_page(view: &View, sample: &str) -> Option<String> {
    let mut page = Vec::new();
    let request = PageRequest { format: Format::Text004, ..Default::default() };
    view.aggregate.read().render(&request, WallTime(NOON), &mut page);
    let page = String::from_utf8(page).expect("text");
    let line = page.lines().find(|line| line.starts_with(sample))?;
    line.rsplit(' ').next().map(str::to_owned)
}

fn close(bench: Bench) {
    let Bench { journal, log, folding, .. } = bench;
    folding.finish();
    drop((log, journal));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_replays_only_the_tail_and_counters_go_on() {
    let dir = tempfile::tempdir().expect("folder");
    let bench = open(dir.path());
    append(&bench, 1, None);
    append(&bench, 11, None);
    close(bench);

    let bench = open(dir.path());
    append(&bench, 21, None);
    let view = bench.folding.view.clone();
    let figures = bench.figures.clone();
    close(bench);
    assert_eq!(runs_on_page(&view).as_deref(), Some("30"));
    assert_eq!(figures.events_aggregated.value(), 10, "the first two batches came from the snapshot");
    assert!(view.is_caught_up());
}

/// Goes on by 10 ms whenever it is looked at.
#[derive(Debug)]
struct Hurried(AtomicU64);

impl Clock for Hurried {
    fn wall(&self) -> WallTime {
        WallTime(NOON)
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(Duration::from_millis(10 * self.0.fetch_add(1, Ordering::Relaxed)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_a_second_for_what_is_behind_and_the_next_start_replays_the_rest() {
    const BATCHES: u64 = 1_500;
    let dir = tempfile::tempdir().expect("folder");
    let bench = open(dir.path());
    (0..BATCHES).for_each(|n| append(&bench, 10 * n + 1, None));
    close(bench);
    std::fs::remove_file(dir.path().join(SNAPSHOT_NAME)).expect("saved");

    let bench = open_at(dir.path(), Arc::new(Hurried(AtomicU64::new(0))));
    let (view, durable) = (bench.folding.view.clone(), bench.journal.durable());
    close(bench);
    assert!(view.position() < durable, "it was to end before {durable}");

    let bench = open(dir.path());
    let view = bench.folding.view.clone();
    close(bench);
    assert_eq!(runs_on_page(&view).as_deref(), Some("15000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_set_aside_and_the_journal_replayed() {
    let dir = tempfile::tempdir().expect("folder");
    let bench = open(dir.path());
    append(&bench, 1, None);
    close(bench);
    let path = dir.path().join(SNAPSHOT_NAME);
    let mut bytes = std::fs::read(&path).expect("saved");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    muster::atomic_file::replace(&path, &bytes, muster::atomic_file::Access::Owner).expect("written");

    let bench = open(dir.path());
    let view = bench.folding.view.clone();
    close(bench);
    assert_eq!(runs_on_page(&view).as_deref(), Some("10"));
    assert!(dir.path().join("aggregate.snapshot.corrupt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_no_batch_costs_one_record() {
    let dir = tempfile::tempdir().expect("folder");
    let bench = open(dir.path());
    append(&bench, 1, Some(b"\xff\xff\xffnot a batch"));
    append(&bench, 11, None);
    let (view, figures) = (bench.folding.view.clone(), bench.figures.clone());
    close(bench);
    assert_eq!(runs_on_page(&view).as_deref(), Some("10"));
    assert_eq!(figures.records_passed_over.value(PassedOver::Malformed), 1);
}

/// One batch of runs and one of a gauge, folded by a collector whose snapshot is lost: all is tail.
fn left_in_the_journal(dir: &Path) {
    let bench = open(dir);
    append(&bench, 1, None);
    append_gauge(&bench, 11);
    let view = bench.folding.view.clone();
    close(bench);
    assert_eq!(cost_on_page(&view).as_deref(), Some("2.5"), "its agent was there");
    std::fs::remove_file(dir.join(SNAPSHOT_NAME)).expect("saved");
}

async fn comes_to_the_page(view: &View) -> bool {
    // Well below the reader's tick.
    for _ in 0..200 {
        if cost_on_page(view).is_some() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_tail_counts_and_does_not_make_its_agent_heard() {
    let dir = tempfile::tempdir().expect("folder");
    left_in_the_journal(dir.path());
    let bench = open(dir.path());
    let view = bench.folding.view.clone();
    close(bench);
    assert_eq!((runs_on_page(&view).as_deref(), cost_on_page(&view)), (Some("10"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn gauges_of_a_replayed_tail_come_back_at_once_when_their_agent_is_heard() {
    let dir = tempfile::tempdir().expect("folder");
    left_in_the_journal(dir.path());
    let bench = open(dir.path());
    let view = bench.folding.view.clone();
    while !view.is_caught_up() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(cost_on_page(&view), None);
    view.heard.note(&Team::default_team(), AGENT);
    assert!(comes_to_the_page(&view).await);
    close(bench);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_came_after_the_start_makes_its_agent_heard() {
    let dir = tempfile::tempdir().expect("folder");
    left_in_the_journal(dir.path());
    let bench = open(dir.path());
    append(&bench, 12, None);
    let view = bench.folding.view.clone();
    assert!(comes_to_the_page(&view).await);
    close(bench);
    assert_eq!(runs_on_page(&view).as_deref(), Some("20"));
}

mod payloads;
