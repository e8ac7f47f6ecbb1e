//! Peers that hold connections, send too much, or send bombs (reliability.md rows B9 to B12). Bounded in count and
//! time, on loopback.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use muster::clock::{Clock, SystemClock};
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_client::CollectorClient;
use muster::v1::{self, AgentMessage};
use support::collector::{Collector, CollectorOptions};
use support::fleet::{Fleet, FleetOptions};
use support::{oracle, pause, seeded, wait_until};
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::transport::Endpoint;

/// The collector closes a connection without a whole request after 10 s.
const FIRST_REQUEST_MAX: Duration = Duration::from_secs(13);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Row B9.
#[test]
fn silent_and_crawling_peers_are_closed_within_ten_seconds_and_harm_nobody() {
    let mut random = seeded("slow loris");
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let fleet = Fleet::start(FleetOptions::new(5, collector.grpc), SystemClock::new().wall(), &mut random);
    let connect = || TcpStream::connect(collector.grpc).expect("a connection");
    let mut peers: Vec<(&str, TcpStream, Instant)> = Vec::new();
    for _ in 0..300 {
        peers.push(("silent", connect(), Instant::now()));
        let mut preface = connect();
        preface.write_all(PREFACE).unwrap();
        peers.push(("preface alone", preface, Instant::now()));
        let mut settings = connect();
        settings.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).unwrap();
        peers.push(("settings, no request", settings, Instant::now()));
    }
    let mut crawling = connect();
    let began = Instant::now();
    crawling.write_all(&[PREFACE, EMPTY_SETTINGS, &[0, 0x40, 0, 1, 0, 0, 0, 0, 1]].concat()).unwrap();
    for _ in 0..9 {
        let before = fleet.acked();
        let _ = crawling.write_all(&[0x82]);
        pause(Duration::from_secs(1));
        assert!(fleet.acked() > before, "the healthy agents stand still");
    }
    peers.push(("a byte of headers a second", crawling, began));
    for (kind, peer, connected) in &mut peers {
        let is_closed = is_closed(peer, *connected + FIRST_REQUEST_MAX);
        assert!(is_closed, "{kind}: still open {:?} after it connected", connected.elapsed());
    }
    println!("all closed after {:?}", began.elapsed());
    fleet.drain(Duration::from_secs(20));
    oracle::check(&collector, &fleet);
}

/// Row B9: a stream is open, and its first message never comes.
#[test]
fn a_stream_without_a_hello_is_ended_within_ten_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let status = on_runtime(async {
        let mut client = client(collector.grpc).await;
        let answer = client.stream(tokio_stream::pending()).await;
        let mut replies = match answer {
            Err(status) => return status,
            Ok(replies) => replies.into_inner(),
        };
        let ended = tokio::time::timeout(FIRST_REQUEST_MAX, replies.message()).await;
        ended.expect("the stream is ended in time").expect_err("and not with a message")
    });
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

/// Row B10.
#[test]
fn with_sixty_four_descriptors_and_two_hundred_clients_it_neither_spins_nor_stays_down() {
    let mut random = seeded("descriptors");
    let folder = tempfile::tempdir().unwrap();
    let options = CollectorOptions { open_files_max: Some(64), ..CollectorOptions::default() };
    let collector = Collector::spawn(folder.path(), options);
    let held: Vec<_> = (0..200).filter_map(|_| hold(collector.grpc)).collect();
    pause(Duration::from_secs(1));
    let (cpu, began) = (collector.process.cpu_time(), Instant::now());
    pause(Duration::from_secs(4));
    let share = (collector.process.cpu_time() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    println!("{} clients held, {:.1} % of a core", held.len(), share * 100.0);
    assert!(share < 0.05, "{:.0} % of a core while full", share * 100.0);
    let warnings = collector.process.log().matches("descriptors").count();
    assert!(warnings <= 3, "{warnings} warnings about descriptors in 5 s");
    drop(held);
    let fleet = Fleet::start(FleetOptions::new(2, collector.grpc), SystemClock::new().wall(), &mut random);
    wait_until("a healthy agent to be served", Duration::from_secs(20), || fleet.acked() > 0);
    fleet.drain(Duration::from_secs(20));
    oracle::check(&collector, &fleet);
}

/// Row B11.
#[test]
fn messages_of_sixty_four_megabytes_are_refused_before_they_take_memory() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let before = collector.process.resident_bytes();
    let codes = on_runtime(async {
        let mut sending = tokio::task::JoinSet::new();
        for _ in 0..20 {
            sending.spawn(send_batch(collector.grpc, 64 << 20, None));
        }
        sending.join_all().await
    });
    assert!(codes.iter().all(|c| *c == Code::ResourceExhausted), "{codes:?}");
    let grown = collector.process.resident_bytes().saturating_sub(before);
    println!("20 times 64 MiB in parallel: resident memory grew by {} KiB", grown >> 10);
    // 20 connections with a window of 8 MiB each are the most that may have been held.
    assert!(grown < 20 * (8 << 20) + (32 << 20), "{} MiB", grown >> 20);
}

/// Row B12: 256 MiB of zeros are a few kilobytes on the wire.
#[test]
fn a_compressed_bomb_is_refused_at_the_limit_of_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let (memory, cpu) = (collector.process.resident_bytes(), collector.process.cpu_time());
    let codes = on_runtime(async {
        let mut codes = Vec::new();
        for _ in 0..4 {
            codes.push(send_batch(collector.grpc, 256 << 20, Some(CompressionEncoding::Zstd)).await);
        }
        codes
    });
    assert!(codes.iter().all(|c| *c == Code::ResourceExhausted), "{codes:?}");
    let grown = collector.process.resident_bytes().saturating_sub(memory);
    let spent = collector.process.cpu_time() - cpu;
    println!("4 bombs of 256 MiB: resident memory grew by {} KiB, {spent:?} of CPU", grown >> 10);
    assert!(grown < 48 << 20, "{} MiB", grown >> 20);
    assert!(spent < Duration::from_secs(1), "{spent:?}");
}

/// A batch that holds more than any limit, as the one message after the hello. Returns how the stream ended.
async fn send_batch(address: SocketAddr, bytes: usize, compression: Option<CompressionEncoding>) -> Code {
    let mut client = client(address).await;
    if let Some(encoding) = compression {
        client = client.send_compressed(encoding);
    }
    let hello = v1::Hello {
        protocol_version: 1,
        agent_id: (0..16).map(|_| fastrand::u8(..)).collect(),
        epoch: fastrand::u64(1..),
        instance: 1,
        ..v1::Hello::default()
    };
    let batch = v1::SealedBatch { first_seq: 1, last_seq: 1, batch: vec![0; bytes].into(), crc32c: 0 };
    let messages = [Up::Hello(hello), Up::Batch(batch)].map(|kind| AgentMessage { kind: Some(kind) });
    // The stream stays open after the two, so that it is the collector who ends it.
    let messages = tokio_stream::StreamExt::chain(tokio_stream::iter(messages), tokio_stream::pending());
    let mut replies = match client.stream(messages).await {
        Err(status) => return status.code(),
        Ok(replies) => replies.into_inner(),
    };
    let end = async {
        loop {
            match replies.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Code::Ok,
                Err(status) => return status.code(),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), end).await.expect("the collector ends the stream")
}

async fn client(address: SocketAddr) -> CollectorClient<tonic::transport::Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    CollectorClient::new(endpoint.connect().await.unwrap()).max_encoding_message_size(usize::MAX)
}

fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A client that connects, begins HTTP/2 and then does nothing; none when the kernel's queue is full.
fn hold(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()?;
    stream.write_all(PREFACE).ok()?;
    Some(stream)
}

/// Reads until the peer closes; false at the deadline.
fn is_closed(stream: &mut TcpStream, deadline: Instant) -> bool {
    let mut buffer = [0; 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left)).unwrap();
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                return false;
            }
            Err(_) => return true,
        }
    }
}
