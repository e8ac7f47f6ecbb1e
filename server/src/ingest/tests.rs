//! What the log's refusals become on the wire, with a log that refuses what it is told to.

use std::collections::VecDeque;
use std::time::Duration;

use journal::stream::{Appending, Mark, OtlpPart, Sealed, StreamError, StreamItem};
use journal::{AppendError, Config, Journal, Pending, Position, ReadError};
use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::{SystemClock, WallTime};
use muster::ids::{Seq, StreamKey, Team};
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_client::CollectorClient;
use muster::v1::collector_message::Kind as Down;
use muster::v1::verdict::Outcome;
use otlp::receive::{Budget, Limits};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::Code;

use super::connection::{self, Routes};
use super::*;
use crate::accept::{Accepted, FIRST_REQUEST_TIMEOUT, PeerIo};
use crate::enrol::{self, EnrolmentService};
use crate::figures::BatchOutcome;
use crate::forward::Forwarder;
use crate::otlp_door::{self, OtlpDoor, OtlpIntake};
use journal::stream::JournalStreamLog;

/// A log that refuses the next appends with what is queued here.
struct Refusing {
    log: JournalStreamLog,
    refusals: Mutex<VecDeque<StreamError>>,
}

impl StreamLog for Refusing {
    fn append(&self, key: &StreamKey, batch: Sealed) -> Result<Appending, StreamError> {
        match self.refusals.lock().pop_front() {
            Some(refusal) => Err(refusal),
            None => self.log.append(key, batch),
        }
    }

    fn read(&self, from: Position) -> Box<dyn Iterator<Item = Result<StreamItem, ReadError>> + Send> {
        self.log.read(from)
    }

    fn append_otlp(&self, team: &Team, parts: Vec<OtlpPart>) -> Result<Pending, AppendError> {
        match self.refusals.lock().pop_front() {
            Some(StreamError::Append(refusal)) => Err(refusal),
            _ => self.log.append_otlp(team, parts),
        }
    }

    fn high_water_mark(&self, key: &StreamKey) -> Mark {
        self.log.high_water_mark(key)
    }

    fn skip_to(&self, key: &StreamKey, next: Seq) -> Result<(), StreamError> {
        self.log.skip_to(key, next)
    }
}

struct Bench {
    up: mpsc::Sender<v1::AgentMessage>,
    down: Streaming<v1::CollectorMessage>,
    log: Arc<Refusing>,
    figures: Arc<Figures>,
    poisoned: watch::Receiver<Option<String>>,
    _stop: watch::Sender<bool>,
    _dir: tempfile::TempDir,
}

async fn welcomed() -> Bench {
    let dir = tempfile::tempdir().expect("folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = Config { preallocate_bytes: 0, reserve_bytes: 0, ..Config::new(dir.path().join("journal")) };
    let (journal, _) = Journal::open(config, Arc::new(journal::fs::RealFs), clock.clone()).expect("opens");
    let (log, _) = JournalStreamLog::open(Arc::new(journal)).expect("opens");
    let log = Arc::new(Refusing { log, refusals: Mutex::default() });
    let figures = crate::telemetry::detached_figures();
    let (stop, stopping) = watch::channel(false);
    let (poison, poisoned) = watch::channel(None);
    let credentials = Credentials::open(dir.path(), true, figures.clone()).expect("no tokens");
    let quotas = Quotas::new(&crate::config::Limits::default(), clock.clone());
    let otlp = otlp_door::Shared {
        log: log.clone(),
        credentials: credentials.clone(),
        quotas: quotas.clone(),
        budget: Budget::new(1 << 20),
        figures: figures.clone(),
        forwarder: Forwarder::of([7; 16]),
        poisoned: poison.clone(),
    };
    let otlp = OtlpDoor::new(OtlpIntake::new(otlp, true), Limits::default());
    let enrolment = EnrolmentService::new(enrol::Shared {
        data_dir: dir.path().to_owned(),
        credentials: credentials.clone(),
        certificate: None,
        figures: figures.clone(),
        clock: clock.clone(),
    });
    let ingest = Ingest::new(Shared {
        log: log.clone(),
        credentials,
        quotas: quotas.clone(),
        admission: Admission::new(&crate::config::Limits::default()),
        registry: Registry::new(),
        offers: watch::channel(Arc::default()).1,
        view: View::detached(),
        figures: figures.clone(),
        clock,
        stop: stopping.clone(),
        poisoned: poison,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let counted = figures.clone();
    tokio::spawn(async move {
        let (stream, peer) = listener.accept().await.expect("accepts");
        let io = PeerIo::Plain(stream);
        let accepted = Accepted { io, peer, certificate: None, first_request_within: FIRST_REQUEST_TIMEOUT };
        connection::serve(accepted, Routes::new(ingest, enrolment, otlp), counted, stopping).await;
    });
    let mut client = CollectorClient::connect(format!("http://{address}")).await.expect("connects");
    let (up, messages) = mpsc::channel(32);
    let hello =
        v1::Hello { protocol_version: 1, agent_id: vec![1; 16], epoch: 1, instance: 1, ..Default::default() };
    up.send(v1::AgentMessage { kind: Some(Up::Hello(hello)) }).await.expect("room");
    let down = client.stream(ReceiverStream::new(messages)).await.expect("stream").into_inner();
    let mut bench = Bench { up, down, log, figures, poisoned, _stop: stop, _dir: dir };
    assert!(matches!(bench.next().await, Ok(Down::Welcome(_))));
    bench
}

impl Bench {
    fn refuse(&self, refusals: impl IntoIterator<Item = AppendError>) {
        self.log.refusals.lock().extend(refusals.into_iter().map(StreamError::Append));
    }

    async fn batch(&self, first: u64) {
        let mut builder = BatchBuilder::new();
        let source = builder.source(&SourceIdentity::default()).expect("room");
        for n in 0..10 {
            let ended = v1::event::Kind::SourceEnded(v1::SourceEnded {});
            builder.push(WallTime(n), source, ended);
        }
        let sealed = builder.seal(Seq(first)).expect("valid");
        let batch = v1::SealedBatch {
            first_seq: first,
            last_seq: first + 9,
            batch: sealed.bytes,
            crc32c: sealed.crc32c,
        };
        self.up.send(v1::AgentMessage { kind: Some(Up::Batch(batch)) }).await.expect("open");
    }

    async fn next(&mut self) -> Result<Down, Status> {
        let next = tokio::time::timeout(Duration::from_secs(10), self.down.message()).await.expect("in time");
        next.map(|message| message.and_then(|message| message.kind).expect("a message"))
    }

    async fn appended(&mut self, durable: u64) {
        match self.next().await {
            Ok(Down::Verdict(verdict)) => {
                assert_eq!((verdict.outcome(), verdict.durable_seq), (Outcome::Appended, durable));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn without_room_the_agent_is_throttled_once_and_goes_on_when_it_sends_again() {
    for full in [AppendError::Full, AppendError::DiskFull] {
        let mut bench = welcomed().await;
        bench.batch(1).await;
        bench.appended(10).await;
        bench.refuse([full]);
        // The second is refused; the third would be a gap, and the fourth as well.
        for first in [11, 21, 31] {
            bench.batch(first).await;
        }
        let Ok(Down::Throttle(throttle)) = bench.next().await else { panic!("no throttle") };
        assert!(throttle.retry_after_ms > 0 && !throttle.reason.is_empty());
        for first in [11, 21, 31] {
            bench.batch(first).await;
            bench.appended(first + 9).await;
        }
        assert_eq!(bench.figures.batches.value(BatchOutcome::Throttled), 1);
        assert_eq!(bench.figures.batches.value(BatchOutcome::Discarded), 2);
        assert_eq!(bench.figures.events_accepted.value(), 40);
    }
}

#[tokio::test]
async fn a_journal_that_is_broken_ends_the_stream_and_tells_the_collector() {
    let mut bench = welcomed().await;
    bench.refuse([AppendError::Closed]);
    bench.batch(1).await;
    let status = bench.next().await.expect_err("ends");
    assert_eq!(status.code(), Code::Unavailable);
    let told = tokio::time::timeout(Duration::from_secs(5), bench.poisoned.changed()).await;
    assert!(told.is_ok() && bench.poisoned.borrow().is_some());
}

#[tokio::test]
async fn a_batch_too_large_for_the_journal_is_rejected_and_not_retried_for_ever() {
    let mut bench = welcomed().await;
    bench.refuse([AppendError::TooLarge { bytes: 9, max: 8 }]);
    bench.batch(1).await;
    let Ok(Down::Verdict(verdict)) = bench.next().await else { panic!("no verdict") };
    assert_eq!((verdict.outcome(), verdict.rejected_last_seq), (Outcome::Rejected, 10));
}
