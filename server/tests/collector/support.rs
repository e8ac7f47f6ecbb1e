//! A collector on free ports, an agent that says exactly what a test tells it to, and a reader of pages.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::{Clock, SystemClock, WallTime};
use muster::ids::Seq;
use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_client::CollectorClient;
use muster::v1::collector_message::Kind as Down;
use muster::v1::event::Kind;
use muster::v1::verdict::Outcome;
use server::config::{Config, Overrides};
use server::serve::Server;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

/// Longer than anything that a test waits for without saying so.
pub const PATIENCE: Duration = Duration::from_secs(10);
const NOON: u64 = 1_771_588_800_000_000;

/// Starts a collector in `dir` with what `text` adds to the configuration.
pub async fn start(dir: &Path, text: &str) -> Server {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Server::start(config(dir, text), clock).await.expect("collector starts")
}

/// The configuration of a collector in `dir`.
pub fn config(dir: &Path, text: &str) -> Config {
    let free = "127.0.0.1:0".parse().expect("address");
    let overrides = Overrides {
        data_dir: Some(dir.to_owned()),
        grpc_listen: Some(free),
        http_listen: Some(free),
        otlp_http_listen: Some(free.to_string()),
        ..Default::default()
    };
    Config::parse(text, &overrides).expect("valid configuration")
}

/// An agent without a will of its own.
pub struct Agent {
    up: mpsc::Sender<v1::AgentMessage>,
    down: Streaming<v1::CollectorMessage>,
}

/// Who says hello.
#[derive(Clone, Copy)]
pub struct Who {
    pub agent: u8,
    pub epoch: u64,
    pub instance: u64,
}

impl Who {
    pub fn hello(self) -> v1::Hello {
        v1::Hello {
            protocol_version: 1,
            agent_id: vec![self.agent; 16],
            epoch: self.epoch,
            instance: self.instance,
            host: "laptop".to_owned(),
            user: "dana".to_owned(),
            ..Default::default()
        }
    }
}

pub const DANA: Who = Who { agent: 1, epoch: 1, instance: 1 };

pub async fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).expect("uri").connect().await.expect("connects")
}

impl Agent {
    /// Opens a stream and says nothing.
    pub async fn open(channel: Channel, token: Option<&str>) -> Result<Self, Status> {
        let mut client = CollectorClient::new(channel).send_compressed(CompressionEncoding::Zstd);
        let (up, messages) = mpsc::channel(64);
        let mut request = Request::new(ReceiverStream::new(messages));
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().expect("header");
            request.metadata_mut().insert("authorization", value);
        }
        let down = client.stream(request).await?.into_inner();
        Ok(Self { up, down })
    }

    /// Opens a stream on loopback and is welcomed.
    pub async fn welcomed(server: &Server, who: Who) -> (Self, v1::Welcome) {
        let mut agent = Self::open(channel(server.grpc_address).await, None).await.expect("stream");
        let welcome = agent.hello(who).await;
        (agent, welcome)
    }

    pub async fn say_hello(&mut self, who: Who) {
        self.try_hello(who).await.expect("stream is open");
    }

    /// As `say_hello`, on a stream that may have ended.
    pub async fn try_hello(&mut self, who: Who) -> Result<(), &'static str> {
        self.try_send(Up::Hello(who.hello())).await
    }

    pub async fn hello(&mut self, who: Who) -> v1::Welcome {
        self.say_hello(who).await;
        match self.next().await {
            Ok(Some(Down::Welcome(welcome))) => welcome,
            other => panic!("no welcome but {other:?}"),
        }
    }

    pub async fn send(&self, kind: Up) {
        self.try_send(kind).await.expect("stream is open");
    }

    /// As `send`, on a stream that may have ended.
    pub async fn try_send(&self, kind: Up) -> Result<(), &'static str> {
        self.up.send(v1::AgentMessage { kind: Some(kind) }).await.map_err(|_| "stream has ended")
    }

    /// What the collector says next; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Down>, Status> {
        let message = tokio::time::timeout(PATIENCE, self.down.message()).await.expect("an answer in time");
        Ok(message?.map(|message| message.kind.expect("a known kind")))
    }

    pub async fn verdict(&mut self) -> v1::Verdict {
        match self.next().await {
            Ok(Some(Down::Verdict(verdict))) => verdict,
            other => panic!("no verdict but {other:?}"),
        }
    }

    /// Sends a batch and takes its verdict.
    pub async fn batch(&mut self, first: u64, events: u64) -> (Outcome, u64) {
        self.send(Up::Batch(batch(first, events, "linter"))).await;
        let verdict = self.verdict().await;
        (verdict.outcome(), verdict.durable_seq)
    }

    /// The status that ends the stream.
    pub async fn end(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without an error"),
                Err(status) => return status,
            }
        }
    }
}

/// Runs of `worker`, numbered from `first`.
pub fn batch(first: u64, events: u64, worker: &str) -> v1::SealedBatch {
    let mut builder = BatchBuilder::new();
    let identity = SourceIdentity {
        tool: "devloop".into(),
        project: "shop".into(),
        user: "dana".into(),
        host: "laptop".into(),
        ..Default::default()
    };
    let source = builder.source(&identity).expect("room");
    let worker = builder.text(worker);
    for n in 0..events {
        let run = v1::RunFinished { worker, status: v1::RunStatus::Success.into(), ..Default::default() };
        builder.push(WallTime(NOON + first + n), source, Kind::RunFinished(run));
    }
    let sealed = builder.seal(Seq(first)).expect("valid");
    v1::SealedBatch {
        first_seq: sealed.seqs.first().0,
        last_seq: sealed.seqs.last().0,
        batch: sealed.bytes,
        crc32c: sealed.crc32c,
    }
}

/// An answer of the pages.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

pub async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "").await
}

pub async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let stream = TcpStream::connect(address).await.expect("connects");
    ask_over(stream, method, path, headers).await.expect("an answer")
}

/// Asks once over a connection, which ends with the answer; an error if there is none.
pub async fn ask_over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    headers: &str,
) -> std::io::Result<Answer> {
    let request = format!("{method} {path} HTTP/1.0\r\nhost: x\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("in time")?;
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    };
    let head = String::from_utf8(answer[..end].to_vec()).expect("text");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Ok(Answer { status, head, body: answer[end + 4..].to_vec() })
}

/// The sum of a counter's samples on the page, once it is `wanted` (the aggregate follows the acks).
pub async fn wait_for_sum(address: SocketAddr, name: &str, wanted: f64) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let sum = sum(&get(address, "/metrics").await.text(), name);
        if sum == wanted {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{name} is {sum}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn sum(page: &str, name: &str) -> f64 {
    let is_sample = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    };
    let values =
        page.lines().filter(is_sample).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}
