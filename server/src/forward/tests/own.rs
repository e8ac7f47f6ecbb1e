//! Muster's own events, spans and metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use journal::stream::Sealed;
use muster::batch::{BatchBuilder, SourceIdentity};
use muster::clock::WallTime;
use muster::ids::{AgentId, Epoch, Seq, StreamKey};
use muster::v1;
use muster::v1::event::Kind;
use otlp::proto::collector_metrics::ExportMetricsServiceRequest;
use otlp::proto::collector_trace::ExportTraceServiceRequest;
use otlp::proto::metrics::{metric, number_data_point};

use super::sink::{Answer, Sink, ok};
use super::*;

/// Appends a batch of runs that have ended, from that number on.
fn append_runs(bench: &Bench, first: u64, count: u64, more: Option<Kind>) {
    let mut builder = BatchBuilder::new();
    let identity = SourceIdentity { tool: "devloop".into(), project: "shop".into(), ..Default::default() };
    let source = builder.source(&identity).expect("room");
    let worker = builder.text("linter");
    let now = bench.source.clock.wall();
    for _ in 0..count {
        let run = v1::RunFinished { worker, status: v1::RunStatus::Success.into(), ..Default::default() };
        builder.push(now, source, Kind::RunFinished(run));
    }
    if let Some(kind) = more {
        builder.push(WallTime(now.0), source, kind);
    }
    let sealed = builder.seal(Seq(first)).expect("events");
    let team: Team = "platform".parse().expect("team");
    let key =
        StreamKey { team, agent: AgentId::from_bytes([7; 16]), epoch: Epoch::try_from(3).expect("epoch") };
    let batch = Sealed { seqs: sealed.seqs, crc32c: crc32c::crc32c(&sealed.bytes), bytes: sealed.bytes };
    bench.log.append(&key, batch).expect("room").wait().expect("durable");
}

fn paths(sink: &Sink) -> BTreeMap<String, usize> {
    let mut paths = BTreeMap::new();
    for received in sink.received() {
        *paths.entry(received.path).or_default() += 1;
    }
    paths
}

/// The sum of all points of `muster_runs_total` that came. A request whose answer was never given and that comes again in the
/// same bytes counts once.
fn runs_told(sink: &Sink) -> f64 {
    let metrics = sink.received().into_iter().filter(|received| received.path == "/v1/metrics");
    let mut unanswered = BTreeSet::new();
    let mut messages = Vec::new();
    for received in metrics {
        let is_repeat = unanswered.remove(&received.message);
        if !received.is_answered.load(Ordering::SeqCst) {
            unanswered.insert(received.message.clone());
        }
        if !is_repeat {
            messages.push(received.message);
        }
    }
    let requests = messages
        .into_iter()
        .map(|message| ExportMetricsServiceRequest::decode(message.as_ref()).expect("metrics"));
    let metrics =
        requests.flat_map(|r| r.resource_metrics).flat_map(|r| r.scope_metrics).flat_map(|s| s.metrics);
    metrics
        .filter(|metric| metric.name.starts_with("muster_runs") || metric.name.starts_with("muster.runs"))
        .filter_map(|metric| match metric.data {
            Some(metric::Data::Sum(sum)) => Some(sum.data_points),
            _ => None,
        })
        .flatten()
        .map(|point| match point.value {
            Some(number_data_point::Value::AsDouble(value)) => value,
            Some(number_data_point::Value::AsInt(value)) => value as f64,
            None => 0.0,
        })
        .sum()
}

#[tokio::test]
async fn events_go_out_as_log_records_runs_as_spans_and_payloads_as_they_came() {
    let sink = Sink::start(|_, _| ok()).await;
    let bench = Bench::new();
    let more = "signals = [\"logs\", \"traces\"]\nresource_attributes = { env = \"lab\" }\n";
    let forwarding = bench.start(&[otlp("one", &sink, "http/protobuf", more)]);
    let payload = v1::OtlpPayload {
        signal: v1::OtlpSignal::Logs.into(),
        payload: logs(&["as it came"], "shop", 9),
        item_count: 1,
    };
    append_runs(&bench, 1, 3, Some(Kind::OtlpPayload(payload)));
    let observed = forwarding.observed.all()[0].clone();
    at_rest(&observed).await;
    assert_eq!(paths(&sink), BTreeMap::from([("/v1/logs".to_owned(), 1), ("/v1/traces".to_owned(), 1)]));
    let received = sink.received();
    let logs = received.iter().find(|received| received.path == "/v1/logs").expect("logs");
    let records = logs.records();
    assert_eq!(records.len(), 4, "{records:?}");
    assert_eq!(
        records[3],
        ("07070707070707070707070707070707-0000000000000003-4.0".to_owned(), "as it came".to_owned())
    );
    assert_eq!(logs.attribute("env").as_deref(), Some("lab"));
    assert_eq!(logs.attribute("muster.team").as_deref(), Some("platform"));
    let traces = received.iter().find(|received| received.path == "/v1/traces").expect("traces");
    let traces = ExportTraceServiceRequest::decode(traces.message.as_ref()).expect("traces");
    let spans = traces.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
    assert_eq!(spans.count(), 3);
    assert_conserved(&observed).await;
    forwarding.stop().await;
}

#[tokio::test]
async fn events_are_chosen_by_family_tool_and_severity() {
    let sink = Sink::start(|_, _| ok()).await;
    let bench = Bench::new();
    let with = |name: &str, filter: &str| {
        otlp(name, &sink, "http/protobuf", &format!("signals = [\"logs\"]\nfilter = {{ {filter} }}\n"))
    };
    let forwarding = bench.start(&[
        with("family", "event = [\"finding\"]"),
        with("tool", "tool = [\"loki\"]"),
        with("severity", "severity = \"warn\""),
        with("all", "event = [\"run\"], tool = [\"devloop\"], severity = \"info\", project = [\"shop\"]"),
    ]);
    append_runs(&bench, 1, 3, None);
    let accepted: Vec<u64> = {
        for observed in &forwarding.observed.all() {
            at_rest(observed).await;
            assert_conserved(observed).await;
        }
        forwarding
            .observed
            .all()
            .iter()
            .map(|observed| observed.figures.accepted.value(Signal::Logs))
            .collect()
    };
    assert_eq!(accepted, [0, 0, 0, 3]);
    assert!(forwarding.observed.all()[..3].iter().all(|o| o.figures.filtered.value(Signal::Logs) == 3));
    forwarding.stop().await;
}

#[tokio::test]
async fn deltas_add_up_to_what_happened_over_restarts() {
    let folder = tempfile::tempdir().expect("folder");
    // Slow: a restart finds requests that were taken and have no answer yet.
    let sink = Sink::start(|_, _| Answer::Late(Duration::from_millis(150))).await;
    let text = format!(
        "[[destination]]\nname = \"nr\"\nprofile = \"newrelic\"\nendpoint = \"http://{}\"\ncredential_env = \"PATH\"\n\
         signals = [\"metrics\"]\nmetrics_interval_seconds = 1\n",
        sink.address
    );
    let destinations = destinations(&text);
    let mut runs = 0;
    for _life in 0..3 {
        let bench = Bench::at(folder.path());
        let forwarding = bench.start(&destinations);
        for _ in 0..6 {
            append_runs(&bench, runs + 1, 5, None);
            runs += 5;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        at_rest(&forwarding.observed.all()[0]).await;
        forwarding.stop().await;
    }
    let bench = Bench::at(folder.path());
    let forwarding = bench.start(&destinations);
    // The last of them are said when nothing more comes.
    eventually("all runs are told", || runs_told(&sink) >= runs as f64).await;
    assert_eq!(runs_told(&sink), runs as f64);
    at_rest(&forwarding.observed.all()[0]).await;
    assert_conserved(&forwarding.observed.all()[0]).await;
    forwarding.stop().await;
}

#[tokio::test]
async fn what_was_said_in_idle_time_and_never_answered_is_said_again_in_the_same_bytes() {
    let folder = tempfile::tempdir().expect("folder");
    let sink = Sink::start(|n, _| if n == 0 { Answer::Hang } else { ok() }).await;
    let text = format!(
        "[[destination]]\nname = \"nr\"\nprofile = \"newrelic\"\nendpoint = \"http://{}\"\ncredential_env = \"PATH\"\n\
         signals = [\"metrics\"]\nmetrics_interval_seconds = 1\n",
        sink.address
    );
    let destinations = destinations(&text);
    {
        let bench = Bench::at(folder.path());
        let forwarding = bench.start(&destinations);
        append_runs(&bench, 1, 5, None);
        eventually("the deltas to be said", || sink.count() == 1).await;
        // The request is left without an answer: whether it was taken nobody here knows.
        forwarding.stop().await;
    }
    let bench = Bench::at(folder.path());
    let forwarding = bench.start(&destinations);
    eventually("them to be said again", || sink.count() >= 2).await;
    let received = sink.received();
    assert_eq!(received[0].message, received[1].message, "a destination could not know the repeat");
    // Long enough for another cut, if there were anything left to say.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(sink.count(), 2);
    forwarding.stop().await;
}
