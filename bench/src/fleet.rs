//! Many idle agents on one collector (reliability.md row B8): memory a stream, CPU of their heartbeats, and how long a
//! new agent waits until it is welcome.
//!
//! With certificates each agent enrols as a real one does: a key of its own, a token, a certificate of the collector's
//! authority. The collector bounds the enrolments of one address, so the agents call from many of the loopback network; it
//! is started anew when all have enrolled, so that nothing of that is in its memory. Who is told to come later does. The
//! load stands on core 0, the collector on core 1.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use muster::atomic_file::{self, Access};
use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_client::CollectorClient;
use muster::v1::collector_message::Kind as Down;
use muster::v1::enrolment_client::EnrolmentClient;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::load::agent_id;
use crate::process::{Measured, Usage, sibling};

/// Flags of `fleet`.
#[derive(Debug, Args)]
pub struct FleetArgs {
    /// Idle agents
    #[arg(long, default_value_t = 10_000)]
    agents: usize,
    /// Agents that come while the others idle
    #[arg(long, default_value_t = 500)]
    newcomers: usize,
    /// Seconds of idling that are measured
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Without TLS and certificates
    #[arg(long)]
    plaintext: bool,
    /// Folder for the collector, on the disk to be measured
    #[arg(long, default_value = ".")]
    dir: std::path::PathBuf,
}

/// Connections that are being made at the same time.
const CONNECTING_MAX: usize = 32;
/// A new agent every so often: its welcome is measured, not a storm.
const NEWCOMER_INTERVAL: Duration = Duration::from_millis(20);
const WELCOME_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an agent comes, or asks for a certificate, that is told to come later.
const TRIES_MAX: u32 = 100;
/// When who enrols comes again if it is not told when.
const ENROL_RETRY_SECONDS: u64 = 10;
/// Agents that call from one address: the collector lets 300 enrol from one at once.
const AGENTS_PER_ADDRESS: usize = 250;

/// How one agent reaches the collector.
#[derive(Clone)]
struct Door {
    address: String,
    from: IpAddr,
    tls: Option<ClientTlsConfig>,
}

/// What all agents share.
struct Idle {
    turns: Semaphore,
    live: AtomicU64,
    told_to_come_later: AtomicU64,
}

/// What becomes of an agent that comes.
enum Came {
    Welcome(Box<Stream>),
    Later(Duration),
}

/// An agent's stream after its welcome.
struct Stream {
    outbox: mpsc::Sender<v1::AgentMessage>,
    inbound: tonic::Streaming<v1::CollectorMessage>,
    heartbeat_interval: Duration,
}

/// Runs and prints.
pub fn run(args: &FleetArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir_in(&args.dir)?;
    let server = start(folder.path(), args)?;
    runtime.block_on(measure(args, folder.path(), server))
}

fn start(folder: &Path, args: &FleetArgs) -> anyhow::Result<Measured> {
    let tls = if args.plaintext { "" } else { "[server.tls]\nnames = [\"127.0.0.1\"]\n" };
    let most = args.agents + args.newcomers + 100;
    let config = format!(
        "[server]\ngrpc_listen = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\notlp_http_listen = \"off\"\n\
         data_dir = {:?}\n{tls}[server.limits]\nfleet = 10000\nconnections_max = {most}\nconnections_per_ip_max = {most}\n\
         streams_max = {most}\nstreams_per_team_max = {most}\n",
        folder.join("data")
    );
    atomic_file::replace(&folder.join("muster.toml"), config.as_bytes(), Access::Owner)?;
    serve(folder)
}

fn serve(folder: &Path) -> anyhow::Result<Measured> {
    let config = folder.join("muster.toml").display().to_string();
    Measured::start(1, &sibling("muster")?, &["serve", "--config", &config])
}

async fn measure(args: &FleetArgs, folder: &Path, server: Measured) -> anyhow::Result<()> {
    let all = args.agents + args.newcomers;
    let (server, tls) =
        if args.plaintext { (server, Vec::new()) } else { enrolled(server, folder, all).await? };
    let scheme = if args.plaintext { "http" } else { "https" };
    let address = format!("{scheme}://{}", server.address("grpc")?);
    let door = |number: usize| {
        let tls = tls.get(number).cloned();
        Door { address: address.clone(), from: address_of(number), tls }
    };
    sleep(Duration::from_secs(3)).await;
    let empty = server.usage()?;
    let idle = Arc::new(Idle {
        turns: Semaphore::new(CONNECTING_MAX),
        live: AtomicU64::new(0),
        told_to_come_later: AtomicU64::new(0),
    });
    let begun = Instant::now();
    let mut coming = tokio::task::JoinSet::new();
    for number in 0..args.agents {
        let (door, idle) = (door(number), idle.clone());
        coming.spawn(async move { come(number, &door, &idle).await });
    }
    while let Some(came) = coming.join_next().await {
        came??;
    }
    let connected_seconds = begun.elapsed().as_secs_f64();
    // What was allocated for handshakes is given back.
    sleep(Duration::from_secs(10)).await;
    let before = server.usage()?;
    sleep(Duration::from_secs(args.seconds)).await;
    let after = server.usage()?;
    // One at a time, while the others idle; milliseconds until each was welcome.
    let mut waits = Vec::with_capacity(args.newcomers);
    for number in args.agents..all {
        waits.push(come(number, &door(number), &idle).await?.as_secs_f64() * 1e3);
        sleep(NEWCOMER_INTERVAL).await;
    }
    waits.sort_unstable_by(f64::total_cmp);
    report(args, (empty, before, after), connected_seconds, &waits, &idle);
    Ok(())
}

fn report(
    args: &FleetArgs,
    (empty, before, after): (Usage, Usage, Usage),
    connected: f64,
    waits: &[f64],
    idle: &Idle,
) {
    let percentile =
        |p: f64| waits.get(((waits.len() as f64 - 1.0) * p) as usize).copied().unwrap_or(f64::NAN);
    let kib = after.resident_bytes.saturating_sub(empty.resident_bytes) as f64 / 1024.0 / args.agents as f64;
    println!(
        "| agents | transport | connected in s | told to come later | MiB before, with all | KiB a stream | CPU % | welcome p50 ms | \
         p99 ms | longest | streams at the end |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "| {} | {} | {connected:.1} | {} | {:.1}, {:.1} | {kib:.1} | {:.2} | {:.1} | {:.1} | {:.1} | {} |",
        args.agents,
        if args.plaintext { "plaintext" } else { "mTLS" },
        idle.told_to_come_later.load(Ordering::Relaxed),
        mib(empty.resident_bytes),
        mib(after.resident_bytes),
        (after.cpu_seconds - before.cpu_seconds) * 100.0 / args.seconds as f64,
        percentile(0.5),
        percentile(0.99),
        percentile(1.0),
        idle.live.load(Ordering::Relaxed),
    );
}

/// Comes until it is welcome, and beats from then on in a task of its own; how long the welcome took.
async fn come(number: usize, door: &Door, idle: &Arc<Idle>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    for _ in 0..TRIES_MAX {
        let turn = idle.turns.acquire().await?;
        let came = knock(number, door).await.with_context(|| format!("agent {number}"))?;
        drop(turn);
        match came {
            Came::Welcome(stream) => {
                let waited = begun.elapsed();
                tokio::spawn(beat(*stream, idle.clone()));
                return Ok(waited);
            }
            Came::Later(wait) => {
                idle.told_to_come_later.fetch_add(1, Ordering::Relaxed);
                sleep(wait).await;
            }
        }
    }
    anyhow::bail!("agent {number} was told {TRIES_MAX} times to come later")
}

/// Connects and says hello.
async fn knock(number: usize, door: &Door) -> anyhow::Result<Came> {
    let channel = door.connect().await.context("cannot connect")?;
    let (outbox, messages) = mpsc::channel(2);
    let hello = v1::Hello {
        protocol_version: muster::limits::PROTOCOL_VERSION,
        agent_id: agent_id(number),
        epoch: 1,
        instance: u64::from(std::process::id()),
        host: format!("host-{number}"),
        user: format!("user-{number}"),
        ..v1::Hello::default()
    };
    outbox.send(v1::AgentMessage { kind: Some(Up::Hello(hello)) }).await?;
    let mut client = CollectorClient::new(channel);
    let opened = timeout(WELCOME_TIMEOUT, client.stream(ReceiverStream::new(messages)));
    let mut inbound = opened.await.context("no answer in time")??.into_inner();
    let first = timeout(WELCOME_TIMEOUT, inbound.message()).await.context("no welcome in time")??;
    match first.and_then(|message| message.kind) {
        Some(Down::Welcome(welcome)) => {
            let heartbeat_interval =
                Duration::from_millis(u64::from(welcome.heartbeat_interval_ms.max(1_000)));
            Ok(Came::Welcome(Box::new(Stream { outbox, inbound, heartbeat_interval })))
        }
        Some(Down::Goodbye(goodbye)) => Ok(Came::Later(Duration::from_millis(goodbye.retry_after_ms))),
        other => anyhow::bail!("not welcome, but {other:?}"),
    }
}

/// An idle stream's life.
async fn beat(mut stream: Stream, idle: Arc<Idle>) {
    idle.live.fetch_add(1, Ordering::Relaxed);
    let mut beats = interval(stream.heartbeat_interval);
    loop {
        tokio::select! {
            message = stream.inbound.message() => if !matches!(message, Ok(Some(_))) { break },
            _ = beats.tick() => {
                let beat = v1::AgentMessage { kind: Some(Up::Heartbeat(v1::Heartbeat::default())) };
                if stream.outbox.send(beat).await.is_err() { break }
            }
        }
    }
    idle.live.fetch_sub(1, Ordering::Relaxed);
}

impl Door {
    async fn connect(&self) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(self.address.clone())?;
        let mut endpoint = endpoint.tcp_nodelay(true).local_address(Some(self.from));
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.clone())?;
        }
        Ok(endpoint.connect().await?)
    }
}

/// Where an agent calls from: on Linux all of 127/8 is this machine.
fn address_of(number: usize) -> IpAddr {
    let network = number / AGENTS_PER_ADDRESS;
    // No host of a network has its first or its last number.
    Ipv4Addr::new(127, 1, (network / 250) as u8, (network % 250 + 1) as u8).into()
}

/// Enrols all agents; the collector started anew, and what each agent shows it.
async fn enrolled(
    server: Measured,
    folder: &Path,
    all: usize,
) -> anyhow::Result<(Measured, Vec<ClientTlsConfig>)> {
    let begun = Instant::now();
    let (token, authority) = token(folder, all)?;
    let address = format!("https://{}", server.address("grpc")?);
    let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority));
    let turns = Arc::new(Semaphore::new(CONNECTING_MAX));
    let mut enrolling = tokio::task::JoinSet::new();
    for first in (0..all).step_by(AGENTS_PER_ADDRESS) {
        let door = Door { address: address.clone(), from: address_of(first), tls: Some(trusting.clone()) };
        let channel = door.connect().await?;
        for number in first..all.min(first + AGENTS_PER_ADDRESS) {
            let (channel, token, turns) = (channel.clone(), token.clone(), turns.clone());
            enrolling.spawn(async move {
                let _turn = turns.acquire_owned().await?;
                Ok::<_, anyhow::Error>((number, enrol(number, channel, &token).await?))
            });
        }
    }
    let mut tls = vec![ClientTlsConfig::new(); all];
    while let Some(enrolled) = enrolling.join_next().await {
        let (number, identity) = enrolled??;
        tls[number] = trusting.clone().identity(identity);
    }
    println!("{all} agents enrolled in {:.1} s", begun.elapsed().as_secs_f64());
    drop(server);
    Ok((serve(folder)?, tls))
}

async fn enrol(number: usize, channel: Channel, token: &str) -> anyhow::Result<Identity> {
    let key = rcgen::KeyPair::generate()?;
    let csr = rcgen::CertificateParams::default().serialize_request(&key)?;
    for _ in 0..TRIES_MAX {
        let mut request = tonic::Request::new(v1::EnrolRequest {
            agent_id: agent_id(number),
            csr_der: csr.der().to_vec(),
            host: format!("host-{number}"),
            user: format!("user-{number}"),
            ..v1::EnrolRequest::default()
        });
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
        match EnrolmentClient::new(channel.clone()).enrol(request).await {
            Ok(issued) => {
                let chain = issued.into_inner().certificate_chain_der;
                let blocks: Vec<_> = chain.into_iter().map(|der| pem::Pem::new("CERTIFICATE", der)).collect();
                return Ok(Identity::from_pem(pem::encode_many(&blocks), key.serialize_pem()));
            }
            Err(status) if status.code() == tonic::Code::ResourceExhausted => {
                let told = status.metadata().get("retry-after").and_then(|value| value.to_str().ok());
                let seconds = told.and_then(|value| value.parse().ok()).unwrap_or(ENROL_RETRY_SECONDS);
                sleep(Duration::from_secs(seconds)).await;
            }
            Err(status) => anyhow::bail!("agent {number} was not enrolled: {status}"),
        }
    }
    anyhow::bail!("agent {number} was told {TRIES_MAX} times to enrol later")
}

/// A token for all, and the authority that signed the collector's certificate.
fn token(folder: &Path, uses: usize) -> anyhow::Result<(String, Vec<u8>)> {
    let muster = |arguments: &[&str]| -> anyhow::Result<Vec<u8>> {
        let mut command = Command::new(sibling("muster")?);
        let output = command.args(arguments).arg("--config").arg(folder.join("muster.toml")).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    };
    let uses = uses.to_string();
    let token = muster(&["token", "create", "--team", "fleet", "--enroll", "--uses", &uses])?;
    Ok((String::from_utf8(token)?.trim().to_owned(), muster(&["authority", "show", "--pem"])?))
}
