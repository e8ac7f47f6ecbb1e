//! The load: connections that each send one request after the other, from a thread of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use otlp::Signal;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use super::records;

/// Different requests a connection sends in turn.
const REQUESTS: usize = 16;
/// After a request that was refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// A running load.
pub struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<anyhow::Result<Vec<f64>>>,
}

/// What the clients saw.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latencies {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub failed: u64,
}

#[derive(Default)]
struct Shared {
    acked_records: AtomicU64,
    failed: AtomicU64,
    is_measuring: AtomicBool,
    is_stopping: AtomicBool,
}

impl Load {
    pub fn start(address: &str, connections: usize, records: usize) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (own, endpoint) = (shared.clone(), format!("http://{address}"));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(all(own, endpoint, connections, records))
        });
        Ok(Self { shared, thread })
    }

    pub fn acked(&self) -> u64 {
        self.shared.acked_records.load(Ordering::Relaxed)
    }

    /// Whether latencies are kept.
    pub fn measure(&self, is_measuring: bool) {
        self.shared.is_measuring.store(is_measuring, Ordering::Relaxed);
    }

    pub fn stop(self) -> Latencies {
        self.shared.is_stopping.store(true, Ordering::Relaxed);
        let mut latencies = match self.thread.join() {
            Ok(Ok(latencies)) => latencies,
            Ok(Err(error)) => {
                println!("load failed: {error:#}");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        latencies.sort_unstable_by(f64::total_cmp);
        let percentile = |p: f64| {
            latencies.get(((latencies.len() as f64 - 1.0) * p) as usize).copied().unwrap_or(f64::NAN)
        };
        Latencies {
            p50_ms: percentile(0.5),
            p99_ms: percentile(0.99),
            failed: self.shared.failed.load(Ordering::Relaxed),
        }
    }
}

async fn all(
    shared: Arc<Shared>,
    endpoint: String,
    connections: usize,
    records: usize,
) -> anyhow::Result<Vec<f64>> {
    let requests: Arc<[Bytes]> = (0..REQUESTS).map(|number| records::request(number, records)).collect();
    let mut clients = Vec::new();
    for number in 0..connections {
        let channel = Endpoint::from_shared(endpoint.clone())?.tcp_nodelay(true).connect().await?;
        let (shared, requests) = (shared.clone(), requests.clone());
        clients.push(tokio::spawn(one(shared, Grpc::new(channel), requests, number, records)));
    }
    let mut latencies = Vec::new();
    for client in clients {
        latencies.append(&mut client.await??);
    }
    Ok(latencies)
}

async fn one(
    shared: Arc<Shared>,
    mut client: Grpc<tonic::transport::Channel>,
    requests: Arc<[Bytes]>,
    first: usize,
    records: usize,
) -> anyhow::Result<Vec<f64>> {
    let path = http::uri::PathAndQuery::from_static(Signal::Logs.grpc_path());
    let mut latencies = Vec::new();
    for request in requests.iter().cycle().skip(first % requests.len()) {
        if shared.is_stopping.load(Ordering::Relaxed) {
            break;
        }
        let sent = Instant::now();
        client.ready().await?;
        match client.unary(Request::new(request.clone()), path.clone(), Raw).await {
            Ok(_) => {
                shared.acked_records.fetch_add(records as u64, Ordering::Relaxed);
                if shared.is_measuring.load(Ordering::Relaxed) {
                    latencies.push(sent.elapsed().as_secs_f64() * 1e3);
                }
            }
            Err(status) => {
                shared.failed.fetch_add(1, Ordering::Relaxed);
                anyhow::ensure!(
                    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted),
                    "refused: {status}"
                );
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
    Ok(latencies)
}

/// Bytes as they are, in both directions.
#[derive(Debug, Clone, Copy)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
