//! Simulated agents: each a stream of its own with a window of unanswered batches, in a closed loop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_client::CollectorClient;
use muster::v1::collector_message::Kind as Down;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

use crate::batches::Template;

/// Flags of `load`.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// The collector, http://ADDRESS
    #[arg(long)]
    pub server: String,
    /// Streams, an agent each
    #[arg(long, default_value_t = 64)]
    pub streams: usize,
    /// Events a batch
    #[arg(long, default_value_t = 1_000)]
    pub batch_events: u64,
    /// Unanswered batches a stream
    #[arg(long, default_value_t = 4)]
    pub in_flight: usize,
    /// Milliseconds that a stream waits before each batch; 0: it sends as fast as it is answered
    #[arg(long, default_value_t = 0)]
    pub pause_ms: u64,
    /// The team's token
    #[arg(skip)]
    pub token: Option<String>,
    /// Seconds measured, after the warm-up
    #[arg(long, default_value_t = 4.0)]
    pub seconds: f64,
    /// Seconds before measuring
    #[arg(long, default_value_t = 1.5)]
    pub warm_up_seconds: f64,
}

/// What was measured on the side of the load.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    /// Median time from sending a batch to its verdict.
    pub ack_p50_ms: f64,
    /// 99th percentile of it.
    pub ack_p99_ms: f64,
    /// Bytes of a batch over its events.
    pub bytes_per_event: f64,
    /// Streams that ended early.
    pub failed_streams: u64,
    /// Events acknowledged in all, warm-up included.
    pub events_total: u64,
    /// Seconds from the first stream to the last acknowledgement.
    pub seconds_total: f64,
}

struct Shared {
    /// A few connect at once: the load is one thread.
    connecting: Semaphore,
    welcomed: AtomicU64,
    go: Notify,
    acked: AtomicU64,
    failed: AtomicU64,
    measuring: AtomicBool,
    stop: AtomicBool,
}

/// Connections that are being made at the same time.
const CONNECTING_MAX: usize = 16;

/// Runs and prints.
pub fn run(args: &LoadArgs) -> anyhow::Result<()> {
    let measured = measure(args, || ())?;
    println!("{measured:?}");
    Ok(())
}

/// Runs the load; `at_edges` is called at the beginning and at the end of the measured window.
pub fn measure<T>(args: &LoadArgs, mut at_edges: impl FnMut() -> T) -> anyhow::Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let shared = Arc::new(Shared {
            connecting: Semaphore::new(CONNECTING_MAX),
            welcomed: AtomicU64::new(0),
            go: Notify::new(),
            acked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            measuring: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let mut agents = Vec::with_capacity(args.streams);
        for number in 0..args.streams {
            let template = Template::new(number, args.batch_events)?;
            agents.push(tokio::spawn(agent(number, args.clone(), template, shared.clone())));
        }
        // A storm of connections is not what is measured: all are welcomed before the first batch.
        while shared.welcomed.load(Ordering::Relaxed) < args.streams as u64 {
            anyhow::ensure!(shared.failed.load(Ordering::Relaxed) == 0, "a stream was not welcomed");
            sleep(Duration::from_millis(10)).await;
        }
        let first = Instant::now();
        shared.go.notify_waiters();
        sleep(Duration::from_secs_f64(args.warm_up_seconds)).await;
        at_edges();
        shared.measuring.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs_f64(args.seconds)).await;
        shared.measuring.store(false, Ordering::Relaxed);
        at_edges();
        shared.stop.store(true, Ordering::Relaxed);
        let seconds_total = first.elapsed().as_secs_f64();
        let mut latencies = Vec::new();
        for agent in agents {
            // A stream that is stuck is not waited for.
            if let Ok(Ok(Ok(mut own))) = tokio::time::timeout(Duration::from_secs(5), agent).await {
                latencies.append(&mut own);
            }
        }
        latencies.sort_unstable_by(f64::total_cmp);
        let percentile = |p: f64| {
            latencies.get(((latencies.len() as f64 - 1.0) * p) as usize).copied().unwrap_or(f64::NAN)
        };
        let batch = Template::new(0, args.batch_events)?.batch(1);
        Ok(Measured {
            ack_p50_ms: percentile(0.5),
            ack_p99_ms: percentile(0.99),
            bytes_per_event: batch.batch.len() as f64 / args.batch_events as f64,
            failed_streams: shared.failed.load(Ordering::Relaxed),
            events_total: shared.acked.load(Ordering::Relaxed),
            seconds_total,
        })
    })
}

async fn agent(
    number: usize,
    args: LoadArgs,
    template: Template,
    shared: Arc<Shared>,
) -> anyhow::Result<Vec<f64>> {
    let ended = stream(number, &args, &template, &shared).await;
    if let Err(error) = &ended
        && shared.failed.fetch_add(1, Ordering::Relaxed) == 0
    {
        println!("stream {number} failed: {error:#}");
    }
    ended
}

async fn stream(
    number: usize,
    args: &LoadArgs,
    template: &Template,
    shared: &Shared,
) -> anyhow::Result<Vec<f64>> {
    let mut turn = Some(shared.connecting.acquire().await?);
    let channel = Endpoint::from_shared(args.server.clone())?.tcp_nodelay(true).connect().await?;
    let mut client = CollectorClient::new(channel);
    let (outbox, messages) = mpsc::channel(args.in_flight + 2);
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
    let mut request = tonic::Request::new(ReceiverStream::new(messages));
    if let Some(token) = &args.token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    }
    let mut inbound = client.stream(request).await?.into_inner();
    let mut next = 1;
    let mut sent: VecDeque<(u64, Instant)> = VecDeque::with_capacity(args.in_flight);
    let mut latencies = Vec::new();
    while let Some(message) = inbound.message().await? {
        match message.kind {
            Some(Down::Welcome(welcome)) => {
                next = welcome.high_water_mark + 1;
                let go = shared.go.notified();
                shared.welcomed.fetch_add(1, Ordering::Relaxed);
                drop(turn.take());
                go.await;
            }
            Some(Down::Verdict(verdict)) => {
                while let Some(&(last, at)) = sent.front().filter(|(last, _)| *last <= verdict.durable_seq) {
                    sent.pop_front();
                    shared.acked.fetch_add(template.events(), Ordering::Relaxed);
                    if shared.measuring.load(Ordering::Relaxed) {
                        latencies.push(at.elapsed().as_secs_f64() * 1e3);
                    }
                    next = next.max(last + 1);
                }
            }
            // Throttled: everything unanswered again, after the pause.
            Some(Down::Throttle(throttle)) => {
                sleep(Duration::from_millis(throttle.retry_after_ms)).await;
                if let Some(&(last, _)) = sent.front() {
                    next = last + 1 - template.events();
                }
                sent.clear();
            }
            _ => {}
        }
        if shared.stop.load(Ordering::Relaxed) {
            return Ok(latencies);
        }
        while sent.len() < args.in_flight {
            if args.pause_ms > 0 {
                sleep(Duration::from_millis(args.pause_ms)).await;
            }
            let batch = template.batch(next);
            next = batch.last_seq + 1;
            sent.push_back((batch.last_seq, Instant::now()));
            outbox.send(v1::AgentMessage { kind: Some(Up::Batch(batch)) }).await?;
        }
    }
    anyhow::bail!("the stream ended")
}

/// A distinct id for each simulated agent.
pub fn agent_id(number: usize) -> Vec<u8> {
    let mut id = [0xbe; 16];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    id.to_vec()
}
