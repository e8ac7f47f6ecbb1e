//! What is acknowledged is in the spool, and what is not is not said to be.

use std::time::Duration;

use muster::ids::Seq;
use muster::limits::BATCH_BYTES_MAX;
use otlp::Signal;
use otlp::proto::collector_logs::ExportLogsServiceRequest;
use otlp::proto::common::any_value::Value;
use otlp::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};
use otlp::proto::resource::Resource;
use otlp::receive::Refusal;
use prost::Message;

use super::rig::{Rig, attribute, text};
use crate::spool::SpoolConfig;

fn resource_logs(service: &str, records: std::ops::Range<i64>, numbers: usize) -> ResourceLogs {
    let record = |n: i64| LogRecord {
        time_unix_nano: n as u64,
        attributes: (0..numbers)
            .map(|key| attribute(&format!("count.n{key}"), Value::IntValue(i64::MAX - n)))
            .collect(),
        ..Default::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: records.map(record).collect(), ..Default::default() }];
    let resource = Resource { attributes: vec![text("service.name", service)], ..Default::default() };
    ResourceLogs { resource: Some(resource), scope_logs, ..Default::default() }
}

fn logs(resource_logs: Vec<ResourceLogs>) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest { resource_logs }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_restart_and_numbers_go_on() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    rig.take(Signal::Logs, logs(vec![resource_logs("codex_cli_rs", 0..3, 1)])).await.expect("taken");
    let before = rig.spooled().await;
    drop(rig);
    let rig = Rig::new(folder.path());
    assert_eq!(rig.spooled().await, before);
    rig.take(Signal::Logs, logs(vec![resource_logs("codex_cli_rs", 3..4, 1)])).await.expect("taken");
    let after = rig.spooled().await;
    assert_eq!(
        after.iter().map(|payload| (payload.seq, payload.items)).collect::<Vec<_>>(),
        [(1, 3), (2, 1)]
    );
}

#[tokio::test]
async fn a_full_spool_tells_the_sender_to_come_again_and_takes_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::with(SpoolConfig { bytes_max: 1, ..SpoolConfig::new(folder.path()) }, &[]);
    let request = || logs(vec![resource_logs("codex_exec", 0..2, 1)]);
    rig.take(Signal::Logs, request()).await.expect("the first fits");
    let refused = rig.take(Signal::Logs, request()).await.expect_err("full");
    assert!(
        matches!(refused, Refusal::Overloaded { retry_after } if retry_after > Duration::ZERO),
        "{refused:?}"
    );
    assert_eq!(rig.spooled().await.len(), 1);
    rig.page.spool.lock().await.acknowledge(Seq(1)).expect("acknowledged");
    rig.take(Signal::Logs, request()).await.expect("there is room again");
}

#[tokio::test]
async fn resources_become_events_of_their_tools_in_one_record() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    let request = logs(vec![
        resource_logs("claude-code", 0..2, 1),
        resource_logs("my-tool", 2..3, 1),
        resource_logs("a path /home/x is no tool", 3..4, 1),
        resource_logs("empty", 0..0, 1),
    ]);
    rig.take(Signal::Logs, request).await.expect("taken");
    let spooled = rig.spooled().await;
    let said: Vec<_> = spooled.iter().map(|payload| (payload.tool.as_str(), payload.items)).collect();
    assert_eq!(said, [("claude", 2), ("my-tool", 1), ("unknown", 1)]);
    let spool = rig.page.spool.lock().await;
    assert_eq!(spool.batches_after(Seq::ZERO).next_batch().expect("read").expect("a batch").seqs.count(), 3);
}

#[tokio::test]
async fn a_large_request_becomes_batches_that_fit_with_every_record_in_order() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    let request =
        logs(vec![resource_logs("codex", 0..3_000, 40), resource_logs("claude-code", 0..2_000, 40)]);
    assert!(request.encoded_len() > BATCH_BYTES_MAX, "{}", request.encoded_len());
    rig.take(Signal::Logs, request).await.expect("taken");
    let mut times: std::collections::BTreeMap<String, Vec<u64>> = Default::default();
    for payload in rig.spooled().await {
        assert!(payload.request.len() <= (1 << 20) + 4096, "{}", payload.request.len());
        let decoded = ExportLogsServiceRequest::decode(payload.request).expect("logs");
        assert_eq!(decoded.resource_logs.len(), 1);
        let records = decoded.resource_logs[0].scope_logs.iter().flat_map(|scope| &scope.log_records);
        times.entry(payload.tool).or_default().extend(records.map(|record| record.time_unix_nano));
    }
    assert_eq!(times["codex"], (0..3_000).collect::<Vec<_>>());
    assert_eq!(times["claude"], (0..2_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_item_too_large_for_a_batch_is_rejected_and_the_rest_is_taken() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    let request = logs(vec![resource_logs("codex", 0..1, 200_000), resource_logs("codex", 1..3, 1)]);
    assert!(request.encoded_len() > BATCH_BYTES_MAX);
    let accepted = rig.take(Signal::Logs, request).await.expect("taken");
    assert_eq!(accepted.rejected, 1);
    assert!(!accepted.message.is_empty());
    assert_eq!(rig.spooled().await.iter().map(|payload| payload.items).sum::<u32>(), 2);
}

#[tokio::test]
async fn a_sender_that_goes_away_leaves_the_spool_whole() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    for n in 0..20 {
        let taking = rig.take(Signal::Logs, logs(vec![resource_logs("codex", n..n + 1, 1)]));
        // Dropped at whatever point it has come to.
        let _ = tokio::time::timeout(Duration::from_micros(200 * n as u64), taking).await;
    }
    rig.take(Signal::Logs, logs(vec![resource_logs("codex", 99..100, 1)])).await.expect("taken");
    let numbers: Vec<u64> = rig.spooled().await.iter().map(|payload| payload.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    drop(rig);
    let again = Rig::new(folder.path()).spooled().await;
    assert_eq!(again.len(), numbers.len());
}

#[tokio::test]
async fn the_agents_page_counts_what_came() {
    let folder = tempfile::tempdir().expect("folder");
    let rig = Rig::new(folder.path());
    rig.take(Signal::Logs, logs(vec![resource_logs("codex", 0..5, 1)])).await.expect("taken");
    let mut page = String::new();
    rig.counters.write_text(&mut page);
    assert!(page.contains("muster_agent_otlp_items_total{signal=\"logs\"} 5\n"), "{page}");
    let request = metrics::PageRequest::default();
    let mut local = Vec::new();
    let now = rig.page.clock.wall();
    let aggregate = rig.page.aggregate.lock();
    aggregate.render_part(&request, now, metrics::PageCursor::default(), usize::MAX, &mut local);
    let local = String::from_utf8(local).expect("text");
    assert!(
        local.lines().any(|line| line.starts_with("muster_otlp_items_total") && line.ends_with(" 5")),
        "{local}"
    );
}
