//! Batches up, verdicts down.

use muster::v1::Heartbeat;
use muster::v1::agent_message::Kind as Up;
use muster::v1::collector_message::Kind as Down;
use muster::v1::verdict::Outcome;
use server::figures::BatchOutcome;
use tonic::Code;

use crate::support::{Agent, DANA, Who, batch, get, start, sum, wait_for_sum};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_acknowledged_once_and_counted_once() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let (mut agent, welcome) = Agent::welcomed(&server, DANA).await;
    assert_eq!((welcome.high_water_mark, welcome.team.as_str()), (0, "default"));
    assert_eq!(agent.batch(1, 10).await, (Outcome::Appended, 10));
    assert_eq!(agent.batch(11, 5).await, (Outcome::Appended, 15));
    assert_eq!(agent.batch(1, 10).await, (Outcome::Duplicate, 15));
    wait_for_sum(server.http_address, "muster_runs_total", 15.0).await;
    let page = get(server.http_address, "/metrics").await.text();
    assert_eq!(sum(&page, "muster_server_events_accepted_total"), 15.0);
    assert_eq!(sum(&page, "muster_server_events_aggregated_total"), 15.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_welcome_says_which_collector_it_is() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let (_agent, welcome) = Agent::welcomed(&server, DANA).await;
    assert_eq!(welcome.collector_version, env!("CARGO_PKG_VERSION"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_told_once_and_what_was_sent_behind_it_is_dropped_until_the_agent_goes_back() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let (mut agent, _) = Agent::welcomed(&server, DANA).await;
    assert_eq!(agent.batch(1, 10).await, (Outcome::Appended, 10));
    for first in [21, 31, 41] {
        agent.send(Up::Batch(batch(first, 10, "linter"))).await;
    }
    let verdict = agent.verdict().await;
    assert_eq!((verdict.outcome(), verdict.durable_seq), (Outcome::Gap, 10));
    assert_eq!(agent.batch(11, 10).await, (Outcome::Appended, 20), "no second word about the gap");
    assert_eq!(agent.batch(21, 10).await, (Outcome::Appended, 30));
    assert_eq!(server.figures.batches.value(BatchOutcome::Discarded), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_history_under_the_same_numbers_is_fenced_with_the_marks() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    for (first, events, worker) in [(1, 10, "other"), (6, 10, "linter")] {
        let (mut agent, _) = Agent::welcomed(&server, DANA).await;
        agent.batch(1, 10).await;
        agent.send(Up::Batch(batch(first, events, worker))).await;
        let verdict = agent.verdict().await;
        assert_eq!(verdict.outcome(), Outcome::Fenced);
        assert_eq!(verdict.recent.last().map(|mark| mark.last_seq), Some(10));
        assert!(matches!(agent.next().await, Ok(None)), "the stream ends");
    }
    wait_for_sum(server.http_address, "muster_runs_total", 10.0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_can_never_be_right_is_rejected_by_name_and_the_stream_goes_on() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let (mut agent, _) = Agent::welcomed(&server, DANA).await;
    let mut wrong = batch(1, 10, "linter");
    wrong.last_seq = 11;
    agent.send(Up::Batch(wrong)).await;
    let verdict = agent.verdict().await;
    assert_eq!((verdict.outcome(), verdict.rejected_last_seq), (Outcome::Rejected, 11));
    assert!(verdict.reason.contains("11 events"), "{}", verdict.reason);
    assert_eq!(agent.batch(1, 10).await, (Outcome::Appended, 10));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_on_the_way_is_sent_again_and_damage_at_the_source_is_rejected() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let mut damaged = batch(1, 10, "linter");
    damaged.crc32c ^= 1;
    let (mut agent, _) = Agent::welcomed(&server, DANA).await;
    agent.send(Up::Batch(damaged.clone())).await;
    assert_eq!(agent.end().await.code(), Code::DataLoss);
    let (mut agent, _) = Agent::welcomed(&server, DANA).await;
    agent.send(Up::Batch(damaged)).await;
    assert_eq!(agent.verdict().await.outcome(), Outcome::Rejected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_and_counters_go_on_after_a_restart() {
    let dir = tempfile::tempdir().expect("folder");
    for round in 0..3_u64 {
        let server = start(dir.path(), "").await;
        let (mut agent, welcome) = Agent::welcomed(&server, DANA).await;
        assert_eq!(welcome.high_water_mark, round * 10);
        assert_eq!(welcome.recent.len() as u64, round);
        assert_eq!(agent.batch(round * 10 + 1, 10).await, (Outcome::Appended, round * 10 + 10));
        wait_for_sum(server.http_address, "muster_runs_total", (round * 10 + 10) as f64).await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_is_in_flight_and_says_when_to_come_back() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let (mut agent, _) = Agent::welcomed(&server, DANA).await;
    for n in 0..8 {
        agent.send(Up::Batch(batch(n * 100 + 1, 100, "linter"))).await;
    }
    assert_eq!(agent.verdict().await.durable_seq, 100);
    let stopping = tokio::spawn(server.stop());
    let mut durable = 100;
    let goodbye = loop {
        match agent.next().await {
            Ok(Some(Down::Verdict(verdict))) => durable = verdict.durable_seq,
            Ok(Some(Down::Goodbye(goodbye))) => break goodbye,
            other => panic!("{other:?}"),
        }
    };
    assert!(goodbye.retry_after_ms >= 2_000);
    drop(agent);
    stopping.await.expect("stopped");
    let server = start(dir.path(), "").await;
    let (_agent, welcome) = Agent::welcomed(&server, DANA).await;
    assert!(welcome.high_water_mark >= durable, "{} < {durable}", welcome.high_water_mark);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_says_of_itself_is_told() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let (agent, _) = Agent::welcomed(&server, Who { agent: 7, ..DANA }).await;
    let heartbeat = Heartbeat { wall_time_us: 1, spool_bytes: 42, ..Default::default() };
    agent.send(Up::Heartbeat(heartbeat)).await;
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let agents = get(server.http_address, "/api/v1/agents").await.json();
        let row = &agents["rows"][0];
        assert_eq!(row["host"], "laptop");
        if row["spool_bytes"] == 42 {
            assert!(row["clock_ahead_us"].as_i64().expect("number") < -1_000_000);
            assert_eq!(row["connected"], true);
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{agents}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    server.stop().await;
}
