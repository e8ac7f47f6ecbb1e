//! What the journal's refusals become, with a log that refuses what it is told to.

use std::collections::VecDeque;

use journal::stream::{Appending, JournalStreamLog, Mark, OtlpPart, Sealed, StreamError, StreamItem};
use journal::{AppendError, Config, Journal, Pending, Position, ReadError};
use muster::clock::SystemClock;
use muster::ids::{Seq, StreamKey, Team};
use otlp::wire;
use parking_lot::Mutex;
use prost::Message;

use super::*;
use crate::telemetry::detached_figures;

/// Answers the next appends of OTLP with what is queued here; `None` takes one.
struct Refusing {
    log: JournalStreamLog,
    refusals: Mutex<VecDeque<Option<AppendError>>>,
}

impl StreamLog for Refusing {
    fn append(&self, key: &StreamKey, batch: Sealed) -> Result<Appending, StreamError> {
        self.log.append(key, batch)
    }

    fn append_otlp(&self, team: &Team, parts: Vec<OtlpPart>) -> Result<Pending, AppendError> {
        match self.refusals.lock().pop_front().flatten() {
            Some(refusal) => Err(refusal),
            None => self.log.append_otlp(team, parts),
        }
    }

    fn read(&self, from: Position) -> Box<dyn Iterator<Item = Result<StreamItem, ReadError>> + Send> {
        self.log.read(from)
    }

    fn high_water_mark(&self, key: &StreamKey) -> Mark {
        self.log.high_water_mark(key)
    }

    fn skip_to(&self, key: &StreamKey, next: Seq) -> Result<(), StreamError> {
        self.log.skip_to(key, next)
    }
}

struct Bench {
    shared: Shared,
    log: Arc<Refusing>,
    poisoned: watch::Receiver<Option<String>>,
    _dir: tempfile::TempDir,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().expect("folder");
    let config = Config { preallocate_bytes: 0, reserve_bytes: 0, ..Config::new(dir.path().join("journal")) };
    let clock = Arc::new(SystemClock::new());
    let (journal, _) = Journal::open(config, Arc::new(journal::fs::RealFs), clock).expect("opens");
    let (log, _) = JournalStreamLog::open(Arc::new(journal)).expect("opens");
    let log = Arc::new(Refusing { log, refusals: Mutex::default() });
    let figures = detached_figures();
    let (poison, poisoned) = watch::channel(None);
    let shared = Shared {
        log: log.clone(),
        credentials: Credentials::open(dir.path(), true, figures.clone()).expect("no tokens"),
        quotas: Quotas::new(&crate::config::Limits::default(), Arc::new(SystemClock::new())),
        budget: Budget::new(256 << 20),
        figures,
        forwarder: Forwarder::of([7; 16]),
        poisoned: poison,
    };
    Bench { shared, log, poisoned, _dir: dir }
}

impl Bench {
    async fn store(&self, records: usize, body_bytes: usize) -> Result<Accepted, Refusal> {
        use otlp::proto::{collector_logs, common, logs};
        let body = common::any_value::Value::StringValue("x".repeat(body_bytes));
        let body = Some(common::AnyValue { value: Some(body) });
        let record = logs::LogRecord { body, ..Default::default() };
        let scope = logs::ScopeLogs { log_records: vec![record; records], ..Default::default() };
        let resource = logs::ResourceLogs { scope_logs: vec![scope], ..Default::default() };
        let request = collector_logs::ExportLogsServiceRequest { resource_logs: vec![resource] };
        let request = bytes::Bytes::from(request.encode_to_vec());
        let tally = wire::check(Signal::Logs, &request).expect("valid");
        let payload = Payload { signal: Signal::Logs, request, tally };
        store::store(&self.shared, &Team::default_team(), payload).await
    }

    fn items(&self) -> u32 {
        let items = self.log.read(Position(0)).map(|item| item.expect("readable"));
        items.map(|item| if let StreamItem::Otlp(entry) = item { entry.items } else { 0 }).sum()
    }
}

#[tokio::test]
async fn without_room_the_client_is_told_when_to_come_back() {
    let bench = bench();
    for full in [AppendError::Full, AppendError::DiskFull] {
        bench.log.refusals.lock().push_back(Some(full));
        let refusal = bench.store(3, 10).await.expect_err("refused");
        assert!(matches!(refusal, Refusal::Overloaded { retry_after } if !retry_after.is_zero()));
    }
    assert_eq!((bench.items(), bench.shared.figures.otlp.items_accepted.value(Signal::Logs)), (0, 0));
    bench.store(3, 10).await.expect("there is room again");
    assert_eq!((bench.items(), bench.shared.figures.otlp.items_accepted.value(Signal::Logs)), (3, 3));
    assert!(bench.poisoned.borrow().is_none());
}

#[tokio::test]
async fn a_journal_that_is_broken_is_told_to_the_collector() {
    let bench = bench();
    bench.log.refusals.lock().push_back(Some(AppendError::Closed));
    let refusal = bench.store(3, 10).await.expect_err("refused");
    assert!(matches!(refusal, Refusal::Unavailable { .. }), "{refusal:?}");
    assert!(bench.poisoned.borrow().is_some());
}

#[tokio::test]
async fn what_has_begun_to_be_stored_waits_for_a_full_queue_instead_of_being_sent_again() {
    let bench = bench();
    let full = || Some(AppendError::Full);
    bench.log.refusals.lock().extend([None, full(), full(), None, full()]);
    bench.store(40, 1 << 20).await.expect("all is stored");
    assert_eq!(bench.items(), 40, "each once");
    assert!(bench.log.refusals.lock().is_empty());
    assert_eq!(bench.shared.budget.bytes_taken(), 0);
}
