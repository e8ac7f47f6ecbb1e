//! Simulated agents: they speak `muster.v1` over real connections, keep what is not acknowledged, send it again after
//! each break, and write down what they issued and what was acknowledged, for the oracle.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent::uplink::Backoff;
use muster::clock::WallTime;
use muster::ids::Seq;
use muster::limits::PROTOCOL_VERSION;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_client::CollectorClient;
use muster::v1::collector_message::Kind as Down;
use muster::v1::verdict::Outcome;
use muster::v1::{self, AgentMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{ClientTlsConfig, Endpoint};

use super::payload::Issuer;
use super::wait_until;

/// How a fleet behaves.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    pub agents: usize,
    /// Agent number 3 has the project `<prefix>3`.
    pub project_prefix: String,
    pub batch_events: RangeInclusive<u64>,
    /// Between two new batches of one agent.
    pub pause: Duration,
    pub target: SocketAddr,
    pub token: Option<String>,
    /// Without it in plain text.
    pub tls: Option<ClientTlsConfig>,
    pub reconnect: Reconnect,
}

/// How long an agent waits before it connects again.
#[derive(Debug, Clone)]
pub enum Reconnect {
    /// Milliseconds, drawn anew each time.
    Within(RangeInclusive<u64>),
    /// With the real agent's own backoff.
    AsTheAgent,
}

impl FleetOptions {
    /// Small batches, 20 a second from each agent, back within 50 ms after a break.
    pub fn new(agents: usize, target: SocketAddr) -> Self {
        Self {
            agents,
            project_prefix: "p".to_owned(),
            batch_events: 1..=20,
            pause: Duration::from_millis(50),
            target,
            token: None,
            tls: None,
            reconnect: Reconnect::Within(5..=50),
        }
    }
}

/// What one simulated agent did and saw.
#[derive(Debug)]
pub struct Ledger {
    pub issuer: Issuer,
    /// Last number issued.
    pub issued: u64,
    /// Last number acknowledged.
    pub acked: u64,
    /// Batches that are not acknowledged, as first number and count.
    pending: VecDeque<(u64, u64)>,
    /// What a collector must never do.
    pub violations: Vec<String>,
    pub welcomes: Vec<Instant>,
    pub duplicates: u64,
    /// Welcomes whose mark told of an acknowledgement that never came.
    pub learned_by_mark: u64,
    pub throttled: u64,
    /// Words of the last error that ended a connection.
    pub last_error: String,
}

/// A running fleet; ends when dropped.
pub struct Fleet {
    ledgers: Vec<Arc<Mutex<Ledger>>>,
    /// How it reaches the collector.
    pub tls: Option<ClientTlsConfig>,
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Control {
    stop_issuing: AtomicBool,
    stop: AtomicBool,
}

/// Why a connection ended; the agent comes back whatever it is.
type Ended = Box<dyn std::error::Error>;

impl Fleet {
    /// Starts the agents; each connects at once.
    pub fn start(options: FleetOptions, base_time: WallTime, random: &mut fastrand::Rng) -> Self {
        let ledgers: Vec<_> = (0..options.agents)
            .map(|index| {
                Arc::new(Mutex::new(Ledger::new(Issuer::new(
                    format!("{}{index}", options.project_prefix),
                    base_time,
                    random,
                ))))
            })
            .collect();
        let control = Arc::new(Control::default());
        let agents: Vec<_> = ledgers.iter().map(|ledger| (ledger.clone(), random.fork())).collect();
        let (tls, for_thread) = (options.tls.clone(), control.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let mut running = tokio::task::JoinSet::new();
                for (ledger, random) in agents {
                    running.spawn(live(ledger, options.clone(), for_thread.clone(), random));
                }
                running.join_all().await;
            });
        });
        Self { ledgers, tls, control, thread: Some(thread) }
    }

    pub fn ledgers(&self) -> impl Iterator<Item = MutexGuard<'_, Ledger>> {
        self.ledgers.iter().map(|ledger| ledger.lock().unwrap())
    }

    pub fn acked(&self) -> u64 {
        self.ledgers().map(|l| l.acked).sum()
    }

    pub fn issued(&self) -> u64 {
        self.ledgers().map(|l| l.issued).sum()
    }

    /// No new events; what is issued is still delivered.
    pub fn stop_issuing(&self) {
        self.control.stop_issuing.store(true, Ordering::SeqCst);
    }

    /// Stops issuing and waits until all that was issued is acknowledged: quiescence.
    #[track_caller]
    pub fn drain(&self, deadline: Duration) {
        self.stop_issuing();
        // An agent may be in the middle of issuing.
        super::pause(Duration::from_millis(50));
        let drained = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("the fleet to be acknowledged", deadline, || {
                self.ledgers().all(|l| l.acked == l.issued)
            });
        }));
        if drained.is_err() {
            let behind: Vec<_> =
                self.ledgers().filter(|l| l.acked != l.issued).map(|l| l.summary()).collect();
            panic!("after {deadline:?} not all is acknowledged:\n{}", behind.join("\n"));
        }
    }

    /// Ends every agent, whatever is not acknowledged.
    pub fn stop(&mut self) {
        self.control.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || ended.is_ok(), "a simulated agent panicked");
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Ledger {
    fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            issued: 0,
            acked: 0,
            pending: VecDeque::new(),
            violations: Vec::new(),
            welcomes: Vec::new(),
            duplicates: 0,
            learned_by_mark: 0,
            throttled: 0,
            last_error: String::new(),
        }
    }

    fn issue(&mut self, count: u64) {
        self.pending.push_back((self.issued + 1, count));
        self.issued += count;
    }

    /// Takes the collector's word for what is durable, and writes down where it cannot be true.
    fn settle(&mut self, durable: u64) {
        if durable > self.issued {
            self.violations.push(format!("{durable} is durable, but only {} was issued", self.issued));
            return;
        }
        while self.pending.front().is_some_and(|(first, count)| first + count - 1 <= durable) {
            self.pending.pop_front();
        }
        if let Some((first, count)) = self.pending.front()
            && *first <= durable
        {
            self.violations.push(format!("durable {durable} splits the batch {first}..{}", first + count));
        }
        self.acked = self.acked.max(durable);
    }

    fn hello(&self, instance: u64) -> AgentMessage {
        let hello = v1::Hello {
            protocol_version: PROTOCOL_VERSION,
            agent_id: self.issuer.agent.as_bytes().to_vec(),
            epoch: self.issuer.epoch.get(),
            instance,
            first_seq: self.pending.front().map_or(0, |(first, _)| *first),
            last_seq: self.issued,
            acked_seq: self.acked,
            agent_version: "0.0.0-simulated".to_owned(),
            host: "simulated".to_owned(),
            user: "ada".to_owned(),
            os: "linux".to_owned(),
            ..Default::default()
        };
        AgentMessage { kind: Some(Up::Hello(hello)) }
    }

    fn message(&self, index: usize) -> AgentMessage {
        let (first, count) = self.pending[index];
        let sealed = self.issuer.batch(Seq(first), count);
        let batch = v1::SealedBatch {
            first_seq: sealed.seqs.first().0,
            last_seq: sealed.seqs.last().0,
            batch: sealed.bytes,
            crc32c: sealed.crc32c,
        };
        AgentMessage { kind: Some(Up::Batch(batch)) }
    }

    fn summary(&self) -> String {
        format!(
            "{}: issued {}, acknowledged {}, {} connections, last error {:?}, violations {:?}",
            self.issuer.project,
            self.issued,
            self.acked,
            self.welcomes.len(),
            self.last_error,
            self.violations
        )
    }
}

/// One agent, from start to stop, over all its connections.
async fn live(
    ledger: Arc<Mutex<Ledger>>,
    options: FleetOptions,
    control: Arc<Control>,
    mut random: fastrand::Rng,
) {
    let instance = random.u64(1..);
    let mut backoff = Backoff::default();
    while !control.stop.load(Ordering::SeqCst) {
        let welcomes = ledger.lock().unwrap().welcomes.len();
        if let Err(ended) = connect(&ledger, &options, &control, instance, &mut random).await {
            ledger.lock().unwrap().last_error = ended.to_string();
        }
        if ledger.lock().unwrap().welcomes.len() > welcomes {
            backoff.reset();
        }
        let wait = match &options.reconnect {
            Reconnect::Within(wait_ms) => Duration::from_millis(random.u64(wait_ms.clone())),
            Reconnect::AsTheAgent => backoff.next_delay(random.f64()),
        };
        let until = Instant::now() + wait;
        while Instant::now() < until && !control.stop.load(Ordering::SeqCst) {
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        }
    }
}

/// One connection, from connect to break.
async fn connect(
    ledger: &Mutex<Ledger>,
    options: &FleetOptions,
    control: &Control,
    instance: u64,
    random: &mut fastrand::Rng,
) -> Result<(), Ended> {
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", options.target))?;
    if let Some(tls) = &options.tls {
        endpoint = endpoint.tls_config(tls.clone())?;
    }
    let channel = endpoint.connect_timeout(Duration::from_secs(2)).tcp_nodelay(true).connect().await?;
    let mut client = CollectorClient::new(channel);
    let (up, messages) = mpsc::channel(64);
    let hello = ledger.lock().unwrap().hello(instance);
    up.send(hello).await?;
    let mut request = tonic::Request::new(ReceiverStream::new(messages));
    if let Some(token) = &options.token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    }
    let replies = tokio::time::timeout(Duration::from_secs(5), client.stream(request)).await??;
    let mut replies = replies.into_inner();
    let window = welcome(ledger, &mut replies).await?;
    Connection { ledger, options, up, replies, window, sent: 0 }.run(control, random).await
}

/// Waits for the welcome and checks its mark. Returns how many batches may be in flight.
async fn welcome(
    ledger: &Mutex<Ledger>,
    replies: &mut Streaming<v1::CollectorMessage>,
) -> Result<usize, Ended> {
    let first = tokio::time::timeout(Duration::from_secs(5), replies.message()).await??;
    match first.and_then(|m| m.kind) {
        Some(Down::Welcome(welcome)) => {
            let mut ledger = ledger.lock().unwrap();
            let mark = welcome.high_water_mark;
            if mark < ledger.acked {
                let acked = ledger.acked;
                ledger.violations.push(format!("high-water mark {mark} after {acked} was acknowledged"));
            }
            ledger.learned_by_mark += u64::from(mark > ledger.acked);
            ledger.settle(mark);
            ledger.welcomes.push(Instant::now());
            Ok(welcome.batches_in_flight_max.clamp(1, 16) as usize)
        }
        Some(Down::Throttle(throttle)) => {
            ledger.lock().unwrap().throttled += 1;
            tokio::time::sleep(Duration::from_millis(throttle.retry_after_ms.min(2_000))).await;
            Err("throttled instead of welcomed".into())
        }
        other => Err(format!("not welcomed: {other:?}").into()),
    }
}

struct Connection<'a> {
    ledger: &'a Mutex<Ledger>,
    options: &'a FleetOptions,
    up: mpsc::Sender<AgentMessage>,
    replies: Streaming<v1::CollectorMessage>,
    window: usize,
    /// Pending batches that are on their way.
    sent: usize,
}

impl Connection<'_> {
    async fn run(mut self, control: &Control, random: &mut fastrand::Rng) -> Result<(), Ended> {
        let mut next_issue = Instant::now();
        loop {
            if control.stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            let ready = {
                let mut ledger = self.ledger.lock().unwrap();
                let is_due = !control.stop_issuing.load(Ordering::SeqCst) && Instant::now() >= next_issue;
                if is_due && self.sent < self.window {
                    ledger.issue(random.u64(self.options.batch_events.clone()));
                    next_issue = Instant::now() + self.options.pause;
                }
                (self.sent < self.window && self.sent < ledger.pending.len())
                    .then(|| ledger.message(self.sent))
            };
            if let Some(message) = ready {
                self.sent += 1;
                self.up.send(message).await?;
                continue;
            }
            let wait = self.options.pause.clamp(Duration::from_millis(1), Duration::from_millis(100));
            match tokio::time::timeout(wait, self.replies.message()).await {
                Err(_) => {}
                Ok(reply) => self.take(reply?.and_then(|m| m.kind).ok_or("the stream ended")?).await?,
            }
        }
    }

    async fn take(&mut self, reply: Down) -> Result<(), Ended> {
        match reply {
            Down::Verdict(verdict) => self.settle(&verdict)?,
            Down::Throttle(throttle) => {
                self.ledger.lock().unwrap().throttled += 1;
                tokio::time::sleep(Duration::from_millis(throttle.retry_after_ms.min(2_000))).await;
                // What was sent and not answered is to be sent again.
                return Err("throttled".into());
            }
            Down::Goodbye(goodbye) => return Err(format!("goodbye: {}", goodbye.reason).into()),
            Down::Probe(probe) => {
                let reply = v1::ProbeReply { nonce: probe.nonce };
                self.up.send(AgentMessage { kind: Some(Up::ProbeReply(reply)) }).await?;
            }
            Down::Welcome(_) => self.ledger.lock().unwrap().violations.push("welcomed twice".to_owned()),
            Down::ConfigurationOffer(_) => {
                self.ledger.lock().unwrap().violations.push("offered what it does not take".to_owned());
            }
        }
        Ok(())
    }

    fn settle(&mut self, verdict: &v1::Verdict) -> Result<(), Ended> {
        let mut ledger = self.ledger.lock().unwrap();
        match verdict.outcome() {
            Outcome::Appended | Outcome::Duplicate => {
                ledger.duplicates += u64::from(verdict.outcome() == Outcome::Duplicate);
                let before = ledger.pending.len();
                ledger.settle(verdict.durable_seq);
                self.sent = self.sent.saturating_sub(before - ledger.pending.len());
                Ok(())
            }
            Outcome::Gap => Err(format!("gap after {}", verdict.durable_seq).into()),
            refused => {
                ledger.violations.push(format!("{refused:?}: {}", verdict.reason));
                Err(format!("{refused:?}").into())
            }
        }
    }
}
