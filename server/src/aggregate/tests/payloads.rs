//! OTLP payloads, on their own and in batches.

use journal::stream::OtlpPart;
use otlp::proto::collector_metrics::ExportMetricsServiceRequest;
use otlp::proto::metrics::metric::Data;
use otlp::proto::metrics::number_data_point::Value;
use otlp::proto::metrics::{Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum};
use prost::Message;

use super::*;

/// Cost in the minute that ends then, as a delta.
fn cost(minute: u64, usd: f64) -> Vec<u8> {
    let time = (NOON + minute * 60_000_000) * 1_000;
    let data_points = vec![NumberDataPoint {
        start_time_unix_nano: time - 60_000_000_000,
        time_unix_nano: time,
        value: Some(Value::AsDouble(usd)),
        ..Default::default()
    }];
    let sum = Sum { data_points, aggregation_temporality: 1, is_monotonic: true };
    let metric = Metric {
        name: "claude_code.cost.usage".to_owned(),
        unit: "USD".to_owned(),
        data: Some(Data::Sum(sum)),
        ..Default::default()
    };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..Default::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

fn append_direct(bench: &Bench, team: &str, signal: v1::OtlpSignal, items: u32, bytes: Vec<u8>) {
    let part = OtlpPart { signal, items, bytes: bytes.into() };
    let team = team.parse().expect("a team");
    bench.log.append_otlp(&team, vec![part]).expect("open").wait().expect("durable");
}

fn append_in_batch(bench: &Bench, first: u64, payloads: Vec<Vec<u8>>) {
    let mut builder = BatchBuilder::new();
    let identity = SourceIdentity {
        tool: "claude".into(),
        project: "shop".into(),
        user: "dana".into(),
        host: "laptop".into(),
        ..Default::default()
    };
    let source = builder.source(&identity).expect("room");
    for payload in payloads {
        let signal = v1::OtlpSignal::Metrics.into();
        let otlp = v1::OtlpPayload { signal, payload: payload.into(), item_count: 1 };
        builder.push(WallTime(NOON), source, Kind::OtlpPayload(otlp));
    }
    append_built(bench, builder, first, None);
}

fn foreign_page(view: &View) -> String {
    let mut page = Vec::new();
    view.foreign.read().render(&PageRequest::default(), [], &mut page);
    String::from_utf8(page).expect("text")
}

fn samples(view: &View) -> Vec<String> {
    let page = foreign_page(view);
    page.lines().filter(|line| line.starts_with("claude_code")).map(str::to_owned).collect()
}

const DIRECT: &str = "claude_code_cost_usage_USD_total{team=\"red\"}";
const BY_AGENT: &str =
    "claude_code_cost_usage_USD_total{team=\"default\",user=\"dana\",host=\"laptop\",project=\"shop\"}";

fn everything(bench: &Bench) {
    append_direct(bench, "red", v1::OtlpSignal::Metrics, 1, cost(1, 0.5));
    append_direct(bench, "red", v1::OtlpSignal::Logs, 7, b"never decoded".to_vec());
    append_in_batch(bench, 1, vec![cost(1, 1.0), cost(2, 2.0)]);
    append_direct(bench, "red", v1::OtlpSignal::Metrics, 1, cost(2, 0.25));
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_on_the_page_whichever_way_they_came_and_go_on_after_a_restart() {
    let dir = tempfile::tempdir().expect("folder");
    let bench = open(dir.path());
    everything(&bench);
    close(bench);
    let bench = open(dir.path());
    append_direct(&bench, "red", v1::OtlpSignal::Metrics, 1, cost(3, 1.0));
    let view = bench.folding.view.clone();
    close(bench);
    assert_eq!(samples(&view), [format!("{BY_AGENT} 3"), format!("{DIRECT} 1.75")]);
    let stats = view.foreign.read().stats();
    assert_eq!(stats.items, [7, 5, 0], "logs, data points, spans");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_the_whole_journal_gives_the_same_page() {
    let dir = tempfile::tempdir().expect("folder");
    let bench = open(dir.path());
    everything(&bench);
    let view = bench.folding.view.clone();
    close(bench);
    let before = foreign_page(&view);
    std::fs::remove_file(dir.path().join(SNAPSHOT_NAME)).expect("saved");
    let bench = open(dir.path());
    let view = bench.folding.view.clone();
    close(bench);
    assert_eq!(foreign_page(&view), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_cannot_be_read_costs_neither_its_batch_nor_its_neighbours() {
    let dir = tempfile::tempdir().expect("folder");
    let bench = open(dir.path());
    append_direct(&bench, "red", v1::OtlpSignal::Metrics, 1, b"\xff\xff\xff".to_vec());
    append_in_batch(&bench, 1, vec![cost(1, 1.0), b"\xff\xff\xff".to_vec(), cost(2, 2.0)]);
    let (view, figures) = (bench.folding.view.clone(), bench.figures.clone());
    close(bench);
    assert_eq!(samples(&view), [format!("{BY_AGENT} 3")]);
    assert_eq!(figures.records_passed_over.value(PassedOver::Malformed), 2);
    assert_eq!(figures.events_aggregated.value(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_before_there_were_payloads_is_read() {
    let dir = tempfile::tempdir().expect("folder");
    let bench = open(dir.path());
    append(&bench, 1, None);
    close(bench);
    // As the version before wrote it: another magic, and no third part.
    let path = dir.path().join(SNAPSHOT_NAME);
    let bytes = std::fs::read(&path).expect("saved");
    let mut rest = &bytes[16..];
    for _ in 0..2 {
        let (length, after) = rest.split_first_chunk::<8>().expect("a length");
        rest = &after[usize::try_from(u64::from_le_bytes(*length)).expect("small")..];
    }
    let mut old = b"MUSTSNP1".to_vec();
    old.extend_from_slice(&bytes[8..bytes.len() - rest.len()]);
    old.extend_from_slice(&crc32c::crc32c(&old).to_le_bytes());
    muster::atomic_file::replace(&path, &old, muster::atomic_file::Access::Owner).expect("written");

    let bench = open(dir.path());
    let (view, figures) = (bench.folding.view.clone(), bench.figures.clone());
    append_direct(&bench, "red", v1::OtlpSignal::Metrics, 1, cost(1, 0.5));
    close(bench);
    assert_eq!(runs_on_page(&view).as_deref(), Some("10"));
    assert_eq!(samples(&view), [format!("{DIRECT} 0.5")]);
    assert_eq!(figures.events_aggregated.value(), 0, "nothing was replayed");
}
