//! One simulated agent that a test drives by hand: it sends what it is told and shows what it hears. It answers probes
//! by itself, as a live agent does.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use muster::batch::{BatchBuilder, SealedBatch, SourceIdentity, SourceIndex};
use muster::clock::{Clock, SystemClock, WallTime};
use muster::ids::Seq;
use muster::limits::PROTOCOL_VERSION;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_client::CollectorClient;
use muster::v1::collector_message::Kind as Down;
use muster::v1::event::Kind;
use muster::v1::{self, AgentMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Who an agent says that it is.
#[derive(Debug, Clone)]
pub struct Identity {
    pub agent: [u8; 16],
    pub epoch: u64,
    pub instance: u64,
    pub token: Option<String>,
}

/// An open stream. Dropping it closes the connection.
pub struct RawAgent {
    up: mpsc::Sender<AgentMessage>,
    heard: Receiver<Result<Down, Status>>,
    /// The answer to the hello.
    pub welcome: v1::Welcome,
    pub next_seq: u64,
    /// When the events of [`RawAgent::send`] happened.
    pub time: WallTime,
}

impl Identity {
    pub fn random() -> Self {
        let agent = std::array::from_fn(|_| fastrand::u8(..));
        Self { agent, epoch: fastrand::u64(1..), instance: fastrand::u64(1..), token: None }
    }

    pub fn with_token(token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::random() }
    }

    fn hello(&self) -> v1::Hello {
        v1::Hello {
            protocol_version: PROTOCOL_VERSION,
            agent_id: self.agent.to_vec(),
            epoch: self.epoch,
            instance: self.instance,
            agent_version: "0.0.0-simulated".to_owned(),
            host: "simulated".to_owned(),
            user: "ada".to_owned(),
            os: "linux".to_owned(),
            ..v1::Hello::default()
        }
    }
}

impl RawAgent {
    /// Connects and is welcomed, or not: then how it was refused.
    pub fn connect(address: SocketAddr, identity: &Identity) -> Result<Self, Refusal> {
        let (up, messages) = mpsc::channel(64);
        let (tell, heard) = channel();
        let hello = AgentMessage { kind: Some(Up::Hello(identity.hello())) };
        up.try_send(hello).expect("an empty channel has room");
        let (token, answers) = (identity.token.clone(), up.clone());
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            if let Err(status) =
                runtime.block_on(listen(address, token, messages, answers.downgrade(), &tell))
            {
                let _ = tell.send(Err(status));
            }
        });
        let mut agent =
            Self { up, heard, welcome: v1::Welcome::default(), next_seq: 1, time: SystemClock::new().wall() };
        match agent.hear()? {
            Down::Welcome(welcome) => {
                agent.next_seq = welcome.high_water_mark + 1;
                agent.welcome = welcome;
                Ok(agent)
            }
            other => Err(Refusal::Said(Box::new(other))),
        }
    }

    /// Sends events of one project and tool, numbered on from the last, and waits for the verdict.
    #[track_caller]
    pub fn send(&mut self, tool: &str, project: &str, events: Vec<EventMaker<'_>>) -> v1::Verdict {
        let mut builder = BatchBuilder::new();
        let source = source(&mut builder, tool, project);
        for event in events {
            let kind = event(&mut builder);
            builder.push(self.time, source, kind);
        }
        let sealed = builder.seal(Seq(self.next_seq)).expect("within every bound");
        self.next_seq = sealed.seqs.last().0 + 1;
        self.send_sealed(sealed)
    }

    #[track_caller]
    pub fn send_sealed(&mut self, sealed: SealedBatch) -> v1::Verdict {
        let batch = v1::SealedBatch {
            first_seq: sealed.seqs.first().0,
            last_seq: sealed.seqs.last().0,
            batch: sealed.bytes,
            crc32c: sealed.crc32c,
        };
        self.say(Up::Batch(batch));
        match self.hear() {
            Ok(Down::Verdict(verdict)) => verdict,
            other => panic!("no verdict but {other:?}"),
        }
    }

    pub fn say(&self, kind: Up) {
        let _ = self.up.blocking_send(AgentMessage { kind: Some(kind) });
    }

    /// A message of a kind that is not there yet: what is left of it when it is read.
    pub fn say_unknown(&self) {
        let _ = self.up.blocking_send(AgentMessage { kind: None });
    }

    /// The next thing that the collector says, probes left out.
    pub fn hear(&mut self) -> Result<Down, Refusal> {
        match self.heard.recv_timeout(ANSWER_MAX) {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(status)) => Err(Refusal::Ended(status.code(), status.message().to_owned())),
            Err(_) => Err(Refusal::Silence),
        }
    }
}

/// Makes one event's content; its texts go into the batch's table.
pub type EventMaker<'a> = Box<dyn FnOnce(&mut BatchBuilder) -> Kind + 'a>;

/// A run of a worker that is over.
pub fn run_finished(worker: &str, status: v1::RunStatus) -> EventMaker<'_> {
    Box::new(move |builder| {
        let worker = builder.text(worker);
        let run = v1::RunFinished {
            worker,
            status: status as i32,
            duration_us: Some(250_000),
            ..Default::default()
        };
        Kind::RunFinished(run)
    })
}

/// An event without texts.
pub fn event(kind: Kind) -> EventMaker<'static> {
    Box::new(move |_| kind)
}

pub fn source(builder: &mut BatchBuilder, tool: &str, project: &str) -> SourceIndex {
    let identity = SourceIdentity {
        tool: tool.to_owned(),
        project: project.to_owned(),
        user: "ada".to_owned(),
        host: "simulated".to_owned(),
        os: "linux".to_owned(),
        ..SourceIdentity::default()
    };
    builder.source(&identity).expect("one source fits")
}

/// How a collector did not welcome an agent, or ended its stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    Ended(Code, String),
    Said(Box<Down>),
    Silence,
}

/// Carries the stream until either side ends it.
async fn listen(
    address: SocketAddr,
    token: Option<String>,
    messages: mpsc::Receiver<AgentMessage>,
    answers: mpsc::WeakSender<AgentMessage>,
    tell: &Sender<Result<Down, Status>>,
) -> Result<(), Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let channel = endpoint.connect().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let mut request = tonic::Request::new(ReceiverStream::new(messages));
    if let Some(token) = token {
        let header = format!("Bearer {token}").parse().map_err(|_| Status::internal("no header"))?;
        request.metadata_mut().insert("authorization", header);
    }
    let mut replies = CollectorClient::new(channel).stream(request).await?.into_inner();
    while let Some(message) = replies.message().await? {
        match (message.kind, answers.upgrade()) {
            (Some(Down::Probe(probe)), Some(up)) => {
                let reply = Up::ProbeReply(v1::ProbeReply { nonce: probe.nonce });
                let _ = up.send(AgentMessage { kind: Some(reply) }).await;
            }
            (Some(said), Some(_)) => drop(tell.send(Ok(said))),
            _ => return Ok(()),
        }
    }
    Err(Status::ok("the stream ended"))
}
