//! Two agents with one identity (reliability.md D5).

use muster::v1;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_message::Kind as Down;
use muster::v1::verdict::Outcome;
use server::figures::StreamEnd;
use tonic::Code;

use crate::support::{Agent, DANA, Who, batch, channel, start, wait_for_sum};

const CLONE: Who = Who { instance: 2, ..DANA };

async fn answer_probe(agent: &mut Agent) {
    let Ok(Some(Down::Probe(probe))) = agent.next().await else { panic!("no probe") };
    agent.send(Up::ProbeReply(v1::ProbeReply { nonce: probe.nonce })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_fenced_and_no_event_of_either_side_is_dropped() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let (mut first, _) = Agent::welcomed(&server, DANA).await;
    assert_eq!(first.batch(1, 10).await, (Outcome::Appended, 10));

    let mut clone = Agent::open(channel(server.grpc_address).await, None).await.expect("stream");
    clone.say_hello(CLONE).await;
    answer_probe(&mut first).await;
    let verdict = clone.verdict().await;
    assert_eq!((verdict.outcome(), verdict.durable_seq), (Outcome::Fenced, 10));
    assert_eq!(verdict.recent.last().map(|mark| mark.crc32c), Some(batch(1, 10, "linter").crc32c));
    assert!(matches!(clone.next().await, Ok(None)), "the stream ends");

    assert_eq!(first.batch(11, 10).await, (Outcome::Appended, 20), "the first goes on");
    let (mut clone, _) = Agent::welcomed(&server, Who { epoch: 2, ..CLONE }).await;
    assert_eq!(clone.batch(1, 7).await, (Outcome::Appended, 7), "the clone goes on under its own epoch");
    wait_for_sum(server.http_address, "muster_runs_total", 27.0).await;
    assert_eq!(server.figures.streams_ended.value(StreamEnd::Fenced), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_answers_no_probe_gives_way_to_the_restarted_agent() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let (mut silent, _) = Agent::welcomed(&server, DANA).await;
    assert_eq!(silent.batch(1, 10).await, (Outcome::Appended, 10));
    let (mut restarted, welcome) = Agent::welcomed(&server, CLONE).await;
    assert_eq!(welcome.high_water_mark, 10);
    assert_eq!(silent.end().await.code(), Code::Aborted);
    assert_eq!(restarted.batch(11, 10).await, (Outcome::Appended, 20));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_replaces_the_old_stream_at_once_and_the_old_one_appends_nothing_more() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let (mut old, _) = Agent::welcomed(&server, DANA).await;
    let (mut new, _) = Agent::welcomed(&server, DANA).await;
    // Whether it is still taken by the connection or not: nothing of it may be appended.
    let _ = old.try_send(Up::Batch(batch(1, 10, "linter"))).await;
    assert_eq!(old.end().await.code(), Code::Aborted);
    assert_eq!(new.batch(1, 10).await, (Outcome::Appended, 10), "nothing of the old stream was appended");
    server.stop().await;
}
