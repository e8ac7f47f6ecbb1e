//! Many idle agents on one collector (reliability.md row B8): memory a stream, CPU of their heartbeats, and how long a
//! new agent waits until it is welcome.
//!
//! With certificates each agent enrols as a real one does: a key of its own, a token, a certificate of the collector's
//! authority. The load stands on core 0, the collector on core 1.

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
/// The enrolments' own allowance a second is far below what this machine does; a refused one is asked again.
const ENROL_TRIES_MAX: u32 = 1_000;

/// How one agent reaches the collector.
#[derive(Clone)]
struct Door {
    address: String,
    tls: Option<ClientTlsConfig>,
}

/// Runs and prints.
pub fn run(args: &FleetArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir_in(&args.dir)?;
    let server = start(folder.path(), args)?;
    runtime.block_on(measure(args, folder.path(), &server))
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
    let path = folder.join("muster.toml");
    atomic_file::replace(&path, config.as_bytes(), Access::Owner)?;
    let config = path.display().to_string();
    Measured::start(1, &sibling("muster")?, &["serve", "--config", &config])
}

async fn measure(args: &FleetArgs, folder: &Path, server: &Measured) -> anyhow::Result<()> {
    let grpc = server.address("grpc")?;
    let all = args.agents + args.newcomers;
    let doors = doors(args, folder, &grpc, all).await?;
    sleep(Duration::from_secs(3)).await;
    let empty = server.usage()?;
    let live = Arc::new(AtomicU64::new(0));
    let turns = Arc::new(Semaphore::new(CONNECTING_MAX));
    let begun = Instant::now();
    let mut coming = tokio::task::JoinSet::new();
    for (number, door) in doors.iter().take(args.agents).cloned().enumerate() {
        let (turns, live) = (turns.clone(), live.clone());
        coming.spawn(async move {
            let _turn = turns.acquire_owned().await?;
            come(number, door, live).await
        });
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
    let welcomes = newcomers(&doors[args.agents..], args.agents, &live).await?;
    report(args, (empty, before, after), connected_seconds, &welcomes, live.load(Ordering::Relaxed));
    Ok(())
}

/// One at a time, while the others idle; milliseconds until each was welcome, sorted.
async fn newcomers(doors: &[Door], first: usize, live: &Arc<AtomicU64>) -> anyhow::Result<Vec<f64>> {
    let mut waits = Vec::with_capacity(doors.len());
    for (number, door) in doors.iter().cloned().enumerate() {
        waits.push(come(first + number, door, live.clone()).await?.as_secs_f64() * 1e3);
        sleep(NEWCOMER_INTERVAL).await;
    }
    waits.sort_unstable_by(f64::total_cmp);
    Ok(waits)
}

fn report(
    args: &FleetArgs,
    (empty, before, after): (Usage, Usage, Usage),
    connected: f64,
    waits: &[f64],
    live: u64,
) {
    let percentile =
        |p: f64| waits.get(((waits.len() as f64 - 1.0) * p) as usize).copied().unwrap_or(f64::NAN);
    let kib = after.resident_bytes.saturating_sub(empty.resident_bytes) as f64 / 1024.0 / args.agents as f64;
    println!(
        "| agents | transport | connected in s | KiB a stream | CPU % | welcome p50 ms | p99 ms | streams at the end |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    println!(
        "| {} | {} | {connected:.1} | {kib:.1} | {:.2} | {:.1} | {:.1} | {live} |",
        args.agents,
        if args.plaintext { "plaintext" } else { "mTLS" },
        (after.cpu_seconds - before.cpu_seconds) * 100.0 / args.seconds as f64,
        percentile(0.5),
        percentile(0.99),
    );
}

/// Connects, says hello, and beats from then on in a task of its own; how long the welcome took.
async fn come(number: usize, door: Door, live: Arc<AtomicU64>) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut client = CollectorClient::new(door.connect().await?);
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
    let opened = timeout(WELCOME_TIMEOUT, client.stream(ReceiverStream::new(messages)));
    let mut inbound = opened.await.context("no answer in time")??.into_inner();
    let first = timeout(WELCOME_TIMEOUT, inbound.message()).await.context("no welcome in time")??;
    let Some(Down::Welcome(welcome)) = first.and_then(|message| message.kind) else {
        anyhow::bail!("agent {number} was not welcome");
    };
    let waited = begun.elapsed();
    live.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(async move {
        let mut beats = interval(Duration::from_millis(u64::from(welcome.heartbeat_interval_ms.max(1_000))));
        loop {
            tokio::select! {
                message = inbound.message() => if !matches!(message, Ok(Some(_))) { break },
                _ = beats.tick() => {
                    let beat = v1::AgentMessage { kind: Some(Up::Heartbeat(v1::Heartbeat::default())) };
                    if outbox.send(beat).await.is_err() { break }
                }
            }
        }
        live.fetch_sub(1, Ordering::Relaxed);
    });
    Ok(waited)
}

impl Door {
    async fn connect(&self) -> anyhow::Result<Channel> {
        let mut endpoint = Endpoint::from_shared(self.address.clone())?.tcp_nodelay(true);
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.clone())?;
        }
        Ok(endpoint.connect().await?)
    }
}

/// One for each agent, enrolled if certificates are asked for.
async fn doors(args: &FleetArgs, folder: &Path, grpc: &str, all: usize) -> anyhow::Result<Vec<Door>> {
    if args.plaintext {
        return Ok(vec![Door { address: format!("http://{grpc}"), tls: None }; all]);
    }
    let begun = Instant::now();
    let (token, authority) = token(folder, all)?;
    let address = format!("https://{grpc}");
    let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority));
    let channel = Door { address: address.clone(), tls: Some(trusting.clone()) }.connect().await?;
    let mut enrolling = tokio::task::JoinSet::new();
    let turns = Arc::new(Semaphore::new(CONNECTING_MAX));
    for number in 0..all {
        let (channel, token, turns) = (channel.clone(), token.clone(), turns.clone());
        enrolling.spawn(async move {
            let _turn = turns.acquire_owned().await?;
            Ok::<_, anyhow::Error>((number, enrol(number, channel, &token).await?))
        });
    }
    let mut doors = vec![Door { address, tls: None }; all];
    while let Some(enrolled) = enrolling.join_next().await {
        let (number, identity) = enrolled??;
        doors[number].tls = Some(trusting.clone().identity(identity));
    }
    println!("{all} agents enrolled in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(doors)
}

async fn enrol(number: usize, channel: Channel, token: &str) -> anyhow::Result<Identity> {
    let key = rcgen::KeyPair::generate()?;
    let csr = rcgen::CertificateParams::default().serialize_request(&key)?;
    for _ in 0..ENROL_TRIES_MAX {
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
                sleep(Duration::from_millis(200)).await;
            }
            Err(status) => anyhow::bail!("agent {number} was not enrolled: {status}"),
        }
    }
    anyhow::bail!("agent {number} was never let in")
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
