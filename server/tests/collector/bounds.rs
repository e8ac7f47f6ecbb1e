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
    let mut pages = Vec::new();
    for begun in ["", "GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = TcpStream::connect(server.http_address).await.expect("connects");
        stream.write_all(begun.as_bytes()).await.expect("sent");
        pages.push(stream);
    }
    let trickle = tokio::spawn(trickle(server.grpc_address));
    let mut no_hello = Agent::open(channel(server.grpc_address).await, None).await.expect("stream");

    let (mut healthy, _) = Agent::welcomed(&server, DANA).await;
    for n in 0..5 {
        assert_eq!(healthy.batch(n * 10 + 1, 10).await, (Outcome::Appended, n * 10 + 10));
    }
    let limit = Duration::from_millis(10_800);
    for mut stream in silent.into_iter().chain(pages) {
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
async fn an_agent_has_no_more_streams_than_its_bound_and_its_team_keeps_its_room() {
    let dir = tempfile::tempdir().expect("folder");
    let limits = "[server.limits]\nagent_streams_max = 2\nstreams_per_team_max = 4\n";
    let server = start(dir.path(), limits).await;
    // One connection with many streams, as copies of one folder would have them: an epoch each.
    let connection = channel(server.grpc_address).await;
    let mut streams = Vec::new();
    for epoch in 1..=2 {
        let mut stream = Agent::open(connection.clone(), None).await.expect("stream");
        stream.hello(Who { epoch, ..DANA }).await;
        streams.push(stream);
    }
    for epoch in 3..=5 {
        let mut third = Agent::open(connection.clone(), None).await.expect("stream");
        third.say_hello(Who { epoch, ..DANA }).await;
        let Ok(Some(Down::Goodbye(goodbye))) = third.next().await else { panic!("no goodbye") };
        assert!(goodbye.retry_after_ms >= 30_000 && goodbye.reason.contains("the agent"), "{goodbye:?}");
        assert_eq!(third.end().await.code(), Code::ResourceExhausted);
    }
    assert_eq!(server.figures.streams_ended.value(StreamEnd::AgentStreamsMax), 3);
    let (mut other, _) = Agent::welcomed(&server, Who { agent: 2, ..DANA }).await;
    assert_eq!(other.batch(1, 10).await, (Outcome::Appended, 10));

    // What an agent opens and says nothing on has its team's places, until the Hello is due.
    let _silent = Agent::open(connection.clone(), None).await.expect("stream");
    let mut fifth = Agent::open(connection.clone(), None).await.expect("stream");
    assert!(matches!(fifth.next().await, Ok(Some(Down::Goodbye(_)))));
    assert_eq!(server.figures.streams_ended.value(StreamEnd::TeamStreamsMax), 1);

    drop(streams.pop());
    let back = async {
        loop {
            let mut again = Agent::open(connection.clone(), None).await.expect("stream");
            // Its team may be full still.
            let _ = again.try_hello(Who { epoch: 3, ..DANA }).await;
            if matches!(again.next().await, Ok(Some(Down::Welcome(_)))) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(15), back).await.expect("a place is free when a stream has ended");
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

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// POST http://x/ as static table entries of HPACK and one literal.
const HEADERS: &[u8] = b"\x83\x86\x84\x41\x01x";

/// Writes `flood` again and again until the collector closes the connection.
async fn is_closed_under(address: std::net::SocketAddr, flood: impl Fn(u32) -> Vec<u8>) -> bool {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let begin = [PREFACE, &frame(4, 0, 0, &[])].concat();
    stream.write_all(&begin).await.expect("sent");
    let (mut answers, mut attack) = stream.into_split();
    let reads = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while answers.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    });
    let writes = async {
        for round in 0..200_000 {
            if attack.write_all(&flood(round)).await.is_err() {
                return;
            }
        }
        panic!("the whole flood was taken");
    };
    timeout(Duration::from_secs(20), async { tokio::join!(writes, reads) }).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_http2_frames_end_their_connection_and_no_other() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let (mut healthy, _) = Agent::welcomed(&server, DANA).await;
    let reset = |round: u32| {
        let stream = 2 * round + 1;
        [frame(1, 4, stream, HEADERS), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    assert!(is_closed_under(server.grpc_address, reset).await, "rapid reset");
    // A head that never ends: no frame has END_HEADERS, and each has a header `a` with a value of 1,000 bytes.
    let endless = |round: u32| match round {
        0 => frame(1, 0, 1, HEADERS),
        _ => frame(9, 0, 1, &[b"\x00\x01a\x7f\xe9\x06".as_slice(), &[b'b'; 1_000]].concat()),
    };
    assert!(is_closed_under(server.grpc_address, endless).await, "endless head");
    assert_eq!(healthy.batch(1, 10).await, (Outcome::Appended, 10));
    server.stop().await;
}
