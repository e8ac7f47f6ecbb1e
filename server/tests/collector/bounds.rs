//! What nobody may take too much of (reliability.md B9, B11, B12).

use std::time::Duration;

use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_client::CollectorClient;
use muster::v1::collector_message::Kind as Down;
use muster::v1::verdict::Outcome;
use server::figures::{Refusal, StreamEnd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};
use tonic::Code;

use crate::support::{Agent, DANA, Who, channel, start};

fn message_of(bytes: usize) -> Up {
    Up::Batch(v1::SealedBatch { first_seq: 1, last_seq: 1, batch: vec![0; bytes].into(), crc32c: 0 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_the_limit_ends_its_stream_and_no_other() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let (mut healthy, _) = Agent::welcomed(&server, DANA).await;
    // Without compression: the length alone is over the limit, and is refused before anything is allocated for it.
    let messages = v1::AgentMessage { kind: Some(message_of(16 << 20)) };
    let mut client = CollectorClient::new(channel(server.grpc_address).await);
    let hello = v1::AgentMessage {
        kind: Some(Up::Hello(v1::Hello {
            protocol_version: 1,
            agent_id: vec![2; 16],
            epoch: 1,
            instance: 1,
            ..Default::default()
        })),
    };
    let mut down = client.stream(tokio_stream::iter([hello, messages])).await.expect("stream").into_inner();
    let status = loop {
        match down.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended without an error"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(server.figures.streams_ended.value(StreamEnd::Oversize), 1);
    assert_eq!(healthy.batch(1, 3).await, (Outcome::Appended, 3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_message_that_grows_over_the_limit_is_refused() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let (mut bomb, _) = Agent::welcomed(&server, DANA).await;
    // 256 MiB of zeros are a few KiB on the wire.
    bomb.send(message_of(256 << 20)).await;
    assert_eq!(bomb.end().await.code(), Code::ResourceExhausted);
    let (mut healthy, _) = Agent::welcomed(&server, DANA).await;
    assert_eq!(healthy.batch(1, 3).await, (Outcome::Appended, 3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_or_too_little_are_closed_within_ten_seconds() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let begun = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(server.grpc_address).await.expect("connects"));
    }
    let trickle = tokio::spawn(trickle(server.grpc_address));
    let mut no_hello = Agent::open(channel(server.grpc_address).await, None).await.expect("stream");

    let (mut healthy, _) = Agent::welcomed(&server, DANA).await;
    for n in 0..5 {
        assert_eq!(healthy.batch(n * 10 + 1, 10).await, (Outcome::Appended, n * 10 + 10));
    }
    let limit = Duration::from_millis(10_800);
    for mut stream in silent {
        let mut byte = [0; 64];
        let left = limit.saturating_sub(begun.elapsed());
        let closed =
            timeout(left, async { while stream.read(&mut byte).await.is_ok_and(|n| n > 0) {} }).await;
        assert!(closed.is_ok(), "a silent connection is open after {:?}", begun.elapsed());
    }
    assert!(timeout(limit, trickle).await.is_ok(), "a trickling connection is open");
    let status = timeout(limit, async { no_hello.end().await }).await.expect("ends");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_secs(12));
    assert_eq!(healthy.batch(51, 10).await, (Outcome::Appended, 60));
    assert_eq!(server.figures.connections_refused.value(Refusal::FirstRequestTimeout), 51);
    server.stop().await;
}

/// Sends a right preface and then one byte a second of something that never becomes a request.
async fn trickle(address: std::net::SocketAddr) {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
    // A HEADERS frame of 4,000 bytes, and one of them at a time.
    stream.write_all(b"\0\x0f\xa0\x01\x04\0\0\0\x01").await.expect("sent");
    let mut timer = interval(Duration::from_secs(1));
    let mut answer = [0; 256];
    loop {
        tokio::select! {
            _ = timer.tick() => {
                if stream.write_all(b"\x82").await.is_err() {
                    return;
                }
            }
            read = stream.read(&mut answer) => {
                if !read.is_ok_and(|n| n > 0) {
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_bound_on_streams_an_agent_is_told_when_to_come_back() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "[server.limits]\nstreams_max = 2\n").await;
    let (_one, _) = Agent::welcomed(&server, DANA).await;
    let (_two, _) = Agent::welcomed(&server, Who { agent: 2, ..DANA }).await;
    let mut three = Agent::open(channel(server.grpc_address).await, None).await.expect("stream");
    let Ok(Some(Down::Goodbye(goodbye))) = three.next().await else { panic!("no goodbye") };
    assert!(goodbye.retry_after_ms >= 30_000);
    assert_eq!(three.end().await.code(), Code::ResourceExhausted);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_have_all_connections() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "[server.limits]\nconnections_per_ip_max = 2\n").await;
    let (_one, _) = Agent::welcomed(&server, DANA).await;
    let _two = TcpStream::connect(server.grpc_address).await.expect("connects");
    let mut three = TcpStream::connect(server.grpc_address).await.expect("connects");
    let mut nothing = Vec::new();
    let read =
        timeout(Duration::from_secs(5), three.read_to_end(&mut nothing)).await.expect("closed at once");
    assert!(nothing.is_empty() && read.is_ok());
    assert_eq!(server.figures.connections_refused.value(Refusal::PerIp), 1);
    server.stop().await;
}
