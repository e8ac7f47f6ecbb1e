//! A collector on loopback that takes what it is sent, offers what a test tells it, and keeps what it heard.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use muster::batch::{self, BatchView};
use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_message::Kind as Down;
use muster::v1::collector_server::{Collector, CollectorServer};
use muster::v1::configuration_report::State;
use muster::v1::event::Kind;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::{Request, Response, Status, Streaming};
use tower::Service as _;

pub(crate) const TEAM: &str = "payments";
/// With what would disturb a terminal.
pub(crate) const COLLECTOR_VERSION: &str = "1.4.2\u{1b}";

type Outbox = mpsc::Sender<Result<v1::CollectorMessage, Status>>;

pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    hellos: Vec<v1::Hello>,
    reports: Vec<v1::ConfigurationReport>,
    batches: Vec<Bytes>,
    last_seq: u64,
    stream: Option<Outbox>,
}

/// An event with whose it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) tool: String,
    pub(crate) user: String,
    pub(crate) weight: u64,
    /// The worker of a run, else "".
    pub(crate) worker: String,
    pub(crate) is_end: bool,
}

impl Scripted {
    pub(crate) async fn listen() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let scripted = Arc::new(Self { address, heard: Mutex::default() });
        let service = Service(scripted.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let collector = CollectorServer::from_arc(Arc::new(service.clone()))
                    .accept_compressed(tonic::codec::CompressionEncoding::Zstd);
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let mut collector = collector.clone();
                    async move { collector.call(request.map(Body::new)).await }
                });
                tokio::spawn(async move {
                    // The test's end cuts connections.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        scripted
    }

    /// Offers on the open stream, and waits for what the agent says to it.
    pub(crate) async fn offer(&self, offer: v1::ConfigurationOffer) -> v1::ConfigurationReport {
        let before = self.heard.lock().reports.len();
        self.offer_only(offer).await;
        self.report_after(before).await
    }

    /// Offers on the open stream.
    pub(crate) async fn offer_only(&self, offer: v1::ConfigurationOffer) {
        let stream = self.heard.lock().stream.clone().expect("an open stream");
        let message = v1::CollectorMessage { kind: Some(Down::ConfigurationOffer(offer)) };
        stream.send(Ok(message)).await.expect("an open stream");
    }

    /// The first report after `before` of them.
    pub(crate) async fn report_after(&self, before: usize) -> v1::ConfigurationReport {
        self.until("a report", |heard| heard.reports.get(before).cloned()).await
    }

    /// Ends the open stream, and waits for the next one's hello.
    pub(crate) async fn cut(&self) -> v1::Hello {
        let hellos = {
            let mut heard = self.heard.lock();
            heard.stream = None;
            heard.hellos.len()
        };
        self.hello_after(hellos).await
    }

    pub(crate) async fn hello_after(&self, before: usize) -> v1::Hello {
        self.until("a hello", |heard| {
            heard.stream.as_ref()?;
            heard.hellos.get(before).cloned()
        })
        .await
    }

    /// Says on the open stream something of a kind that is not there yet: when it is read, nothing of it is left.
    pub(crate) async fn say_unknown(&self) {
        let stream = self.heard.lock().stream.clone().expect("an open stream");
        stream.send(Ok(v1::CollectorMessage { kind: None })).await.expect("an open stream");
    }

    /// How often an agent has come.
    pub(crate) fn hellos(&self) -> usize {
        self.heard.lock().hellos.len()
    }

    pub(crate) fn reports(&self) -> usize {
        self.heard.lock().reports.len()
    }

    /// Everything that came, in order.
    pub(crate) fn told(&self) -> Vec<Told> {
        let batches = self.heard.lock().batches.clone();
        let mut told = Vec::new();
        for bytes in batches {
            let decoded = batch::decode(&bytes).expect("a batch");
            let view = BatchView::new(&decoded);
            told.extend(view.events().map(|event| {
                let source = view.source(event.source).expect("declared");
                let worker = match event.kind {
                    Some(Kind::RunFinished(run)) => view.text(run.worker).to_owned(),
                    _ => String::new(),
                };
                Told {
                    tool: source.tool.to_owned(),
                    user: source.user.to_owned(),
                    weight: event.weight,
                    worker,
                    is_end: matches!(event.kind, Some(Kind::SourceEnded(_))),
                }
            }));
        }
        told
    }

    /// Waits until what came is so.
    pub(crate) async fn until_told(&self, what: &str, holds: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        for _ in 0..1_000 {
            let told = self.told();
            if holds(&told) {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not within 20 s: {what}; told {:?}", self.told());
    }

    async fn until<T>(&self, what: &str, holds: impl Fn(&Heard) -> Option<T>) -> T {
        for _ in 0..1_000 {
            if let Some(found) = holds(&self.heard.lock()) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not within 20 s: {what}");
    }

    fn answer(&self, message: v1::AgentMessage, outbox: &Outbox) -> Option<Down> {
        let mut heard = self.heard.lock();
        match message.kind? {
            Up::Hello(hello) => {
                heard.hellos.push(hello);
                heard.stream = Some(outbox.clone());
                Some(Down::Welcome(v1::Welcome {
                    protocol_version: muster::limits::PROTOCOL_VERSION,
                    high_water_mark: heard.last_seq,
                    batch_bytes_max: muster::limits::BATCH_BYTES_MAX as u64,
                    batches_in_flight_max: 4,
                    heartbeat_interval_ms: 15_000,
                    team: TEAM.to_owned(),
                    collector_version: COLLECTOR_VERSION.to_owned(),
                    ..Default::default()
                }))
            }
            Up::Batch(batch) => {
                heard.last_seq = batch.last_seq;
                heard.batches.push(batch.batch);
                Some(Down::Verdict(v1::Verdict {
                    outcome: v1::verdict::Outcome::Appended.into(),
                    durable_seq: batch.last_seq,
                    ..Default::default()
                }))
            }
            Up::ConfigurationReport(report) => {
                assert_ne!(report.state(), State::Unspecified);
                heard.reports.push(report);
                None
            }
            _ => None,
        }
    }
}

#[derive(Clone)]
struct Service(Arc<Scripted>);

#[tonic::async_trait]
impl Collector for Service {
    type StreamStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::CollectorMessage, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (outbox, messages) = mpsc::channel(64);
        let scripted = self.0.clone();
        let mut inbound = request.into_inner();
        tokio::spawn(async move {
            let mut ended = tokio::time::interval(Duration::from_millis(20));
            let mut is_greeted = false;
            loop {
                let message = tokio::select! {
                    message = inbound.next() => message,
                    _ = ended.tick() => {
                        // The test cut the stream.
                        if is_greeted && scripted.heard.lock().stream.is_none() {
                            return;
                        }
                        continue;
                    }
                };
                let Some(Ok(message)) = message else { return };
                is_greeted = true;
                let Some(answer) = scripted.answer(message, &outbox) else { continue };
                if outbox.send(Ok(v1::CollectorMessage { kind: Some(answer) })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}
