//! What the collector's page must be whatever the events say: bounded, conserving, monotone, and readable by the
//! parsers that the world uses (reliability.md rows C1, C3, C4, C5).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};

use muster::batch::BatchBuilder;
use muster::ids::Seq;
use muster::v1::event::Kind;
use muster::v1::verdict::Outcome;
use muster::v1::{self, RunStatus};
use prost::Message;
use support::collector::{Collector, CollectorOptions};
use support::http::{self, Response};
use support::python::{Format, parse_page, promtool_check};
use support::raw_agent::{EventMaker, Identity, RawAgent, event, run_finished, source};
use support::{rounds, wait_until};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const SETTLE: Duration = Duration::from_secs(60);

/// Row C1.
#[test]
fn a_hundred_thousand_label_values_stay_within_the_cap_and_lose_no_count() {
    let folder = tempfile::tempdir().unwrap();
    let cap = 5_000;
    let config = format!("[server.limits]\nseries_per_family_max = {cap}\n");
    let collector = Collector::spawn(folder.path(), CollectorOptions { config, ..Default::default() });
    let mut agent = RawAgent::connect(collector.grpc, &Identity::random()).unwrap();
    let total = rounds(100_000);
    let names: Vec<String> =
        (0..total).map(|n| format!("worker-{n}-\"{}\"\n\\", "x".repeat(n % 200))).collect();
    for chunk in names.chunks(1_000) {
        let events = chunk.iter().map(|name| run_finished(name, RunStatus::Success)).collect();
        assert_eq!(agent.send("devloop", "p", events).outcome(), Outcome::Appended);
    }
    let runs = "devloop_agent_runs_total";
    let page = collector.wait_page("all runs", SETTLE, |page| page.sum(runs, &[]) >= total as f64);
    assert_eq!(page.sum(runs, &[]), total as f64, "the overflow series keeps the sum");
    assert_eq!(page.matching(runs, &[]).count(), cap + 1, "the cap and one overflow series");
    let outside = (total - cap) as f64;
    assert_eq!(page.sum(runs, &[("agent", "__overflow__")]), outside);
    assert!(page.sum("muster_series_overflow_total", &[]) >= outside);
    let began = Instant::now();
    let bytes = collector.get("/metrics").body.len();
    let (took, resident) = (began.elapsed(), collector.process.resident_bytes());
    println!("{bytes} bytes in {took:?}, {} MiB resident", resident >> 20);
    assert!(took < Duration::from_secs(3), "a scrape took {took:?} (a debug build)");
    assert!(resident < 400 << 20, "{} MiB resident", resident >> 20);
}

/// Row C3, at the collector: what it acknowledged is what it aggregated and what it passed over.
#[test]
fn every_accepted_event_is_aggregated_or_counted_as_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let mut agent = RawAgent::connect(collector.grpc, &Identity::random()).unwrap();
    for _ in 0..20 {
        let events = (0..50).map(|_| run_finished("linter", RunStatus::Failure)).collect();
        assert_eq!(agent.send("devloop", "p", events).outcome(), Outcome::Appended);
    }
    // A kind from the future, and one whose inside does not decode: each acknowledged, and neither lost in silence.
    assert_eq!(agent.send_sealed(unknown_kind(agent.next_seq)).outcome(), Outcome::Appended);
    let undecodable = agent.send_sealed(undecodable_kind(agent.next_seq + 1));
    let accepted = 1_001 + u64::from(undecodable.outcome() == Outcome::Appended);
    let page = collector.wait_page("the accepted events", SETTLE, |page| {
        page.sum("muster_server_events_accepted_total", &[]) == accepted as f64
    });
    assert_eq!(page.sum("devloop_agent_runs_total", &[]), 1_000.0);
    assert_eq!(page.sum("muster_unknown_events_total", &[]), 1.0, "the kind from the future is counted");
    wait_until("the aggregate to account for all", SETTLE, || {
        let page = collector.page();
        let aggregated = page.sum("muster_server_events_aggregated_total", &[]);
        let passed_over = page.sum("muster_server_records_passed_over_total", &[]);
        aggregated + passed_over == accepted as f64
    });
}

/// Row C4.
#[test]
fn counters_go_on_where_they_were_after_a_crash_and_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[server.limits]\nsnapshot_interval_seconds = 1\n".to_owned();
    let mut collector = Collector::spawn(folder.path(), CollectorOptions { config, ..Default::default() });
    let identity = Identity::random();
    let mut runs = 0.0;
    let mut before = BTreeMap::new();
    for round in 0..6 {
        let mut agent = RawAgent::connect(collector.grpc, &identity).unwrap();
        for _ in 0..5 {
            let events = (0..40).map(|_| run_finished("linter", RunStatus::Success)).collect();
            assert_eq!(agent.send("devloop", "p", events).outcome(), Outcome::Appended);
            runs += 40.0;
            support::pause(Duration::from_millis(150));
        }
        collector.wait_page("the runs", SETTLE, |p| p.sum("devloop_agent_runs_total", &[]) == runs);
        let now = event_counters(&collector);
        assert_all_at_least(&now, &before);
        if round % 2 == 0 {
            collector.crash();
        } else {
            assert!(collector.process.terminate(Duration::from_secs(10)).success());
            collector.restart();
        }
        // Replay neither loses nor repeats, and says since when a counter counts.
        collector.wait_page("the replay", SETTLE, |p| p.sum("devloop_agent_runs_total", &[]) == runs);
        let after = event_counters(&collector);
        assert_eq!(after, now, "a restart changed a counter");
        before = after;
    }
}

/// Row C5.
#[test]
fn hostile_texts_leave_every_page_readable_by_the_worlds_parsers() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let mut agent = RawAgent::connect(collector.grpc, &Identity::random()).unwrap();
    let texts = hostile_texts();
    for text in &texts {
        let events: Vec<EventMaker<'_>> = vec![
            run_finished(text, RunStatus::Error),
            event(Kind::CostTotal(v1::CostTotal { cost_usd: f64::NAN })),
            event(Kind::CostTotal(v1::CostTotal { cost_usd: f64::INFINITY })),
            event(Kind::ResourceSample(v1::ResourceSample {
                scope: v1::ResourceScope::Tool as i32,
                cpu_percent: Some(f64::NEG_INFINITY),
                ..Default::default()
            })),
        ];
        assert_eq!(agent.send("devloop", text, events).outcome(), Outcome::Appended);
    }
    let runs = "devloop_agent_runs_total";
    let page = collector.wait_page("all runs", SETTLE, |p| p.sum(runs, &[]) == texts.len() as f64);
    for text in texts.iter().filter(|t| t.len() < 100) {
        // What readers split lines at is replaced; quotes, backslashes and line feeds come back as they were.
        let splits = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}');
        let shown = text.replace(splits, "\u{fffd}");
        assert_eq!(page.sum(runs, &[("project", &shown), ("agent", &shown)]), 1.0, "{text:?}");
    }
    let is_number =
        |value: f64, labels: &BTreeMap<String, String>| value.is_finite() || labels.contains_key("le");
    assert!(
        page.samples.iter().all(|s| is_number(s.value, &s.labels)),
        "a value is no number:\n{}",
        page.text
    );

    let text = collector.get("/metrics");
    assert_eq!(text.header("content-type"), TEXT);
    parse_page(&text.body, Format::Text);
    for complaint in promtool_check(&text.body).unwrap_or_default() {
        // The guides' names are a contract, older than the linter's taste.
        let is_guides = complaint.starts_with("loki_") || complaint.starts_with("devloop_");
        assert!(is_guides, "promtool: {complaint}");
    }
    let accept = [("accept", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")];
    let open = http::try_get(collector.http, "/metrics", &accept).unwrap();
    assert!(open.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(open.text().ends_with("# EOF\n"));
    parse_page(&open.body, Format::OpenMetrics);
}

/// Row C5: the same series in the same order each time, whole or compressed, filtered or not.
#[test]
fn pages_are_stable_compressible_and_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let mut agent = RawAgent::connect(collector.grpc, &Identity::random()).unwrap();
    for project in ["one", "two"] {
        let workers = ["linter", "formatter", "test-runner"];
        let events = workers.iter().map(|w| run_finished(w, RunStatus::Success)).collect();
        assert_eq!(agent.send("devloop", project, events).outcome(), Outcome::Appended);
    }
    collector.wait_page("all runs", SETTLE, |p| p.sum("devloop_agent_runs_total", &[]) == 6.0);
    let names = |response: &Response| {
        let text = response.text();
        text.lines()
            .filter_map(|l| l.rsplit_once(' '))
            .map(|(series, _)| series.to_owned())
            .collect::<Vec<_>>()
    };
    let facts = "/metrics?name%5B%5D=devloop_agent_runs_total";
    let (first, second) = (collector.get(facts), collector.get(facts));
    assert_eq!(first.text(), second.text(), "the same facts are the same bytes");
    assert_eq!(names(&first).iter().filter(|n| n.starts_with("devloop_agent_runs_total{")).count(), 6);
    assert!(!first.text().contains("devloop_agent_execution_duration_ms"), "{}", first.text());

    let packed = http::try_get(collector.http, facts, &[("accept-encoding", "gzip")]).unwrap();
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, first.text());

    let one = collector.get("/metrics?project=one").text();
    assert!(one.contains("project=\"one\"") && !one.contains("project=\"two\""), "{one}");
    let team = collector.get("/metrics?team=nobody").text();
    assert!(!team.contains("project=\"one\""), "{team}");
}

/// All counters that events make, by name and labels.
fn event_counters(collector: &Collector) -> BTreeMap<String, u64> {
    let page = collector.page();
    let is_fact = |name: &str| name.starts_with("devloop_") || name.starts_with("muster_runs");
    let counters = page.samples.iter().filter(|s| is_fact(&s.name));
    let counters =
        counters.filter(|s| ["_total", "_count", "_bucket"].iter().any(|end| s.name.ends_with(end)));
    counters.map(|s| (format!("{}{:?}", s.name, s.labels), s.value as u64)).collect()
}

#[track_caller]
fn assert_all_at_least(now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) {
    for (series, value) in before {
        assert!(now.get(series) >= Some(value), "{series} fell from {value} to {:?}", now.get(series));
    }
}

fn hostile_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "quote\"quote",
        "back\\slash",
        "line\nline",
        "carriage\rreturn",
        "tab\tnul\0bell\u{7}",
        "} 1\nup 1",
        "# EOF",
        "a=\"b\",c=\"d\"",
        "\u{202e}right to left",
        "ünïcödé 漢字 🦀",
        " leading and trailing ",
        "\u{85}\u{2028}\u{2029}",
        "\\n",
        "\\\"",
        "__name__",
        "le",
        "{",
        "}",
        ",",
        "=",
        "\"",
        "\\",
        "\u{feff}",
    ]
    .map(str::to_owned)
    .into();
    texts.push("x".repeat(4_096));
    texts.push("\"\\\n".repeat(1_000));
    texts
}

/// A batch of one event whose kind no program of today knows.
fn unknown_kind(first: u64) -> muster::batch::SealedBatch {
    with_raw_kind(first, &[0xFA, 0x3F, 0x02, 0x08, 0x01])
}

/// A batch of one event whose `run_finished` is no message.
fn undecodable_kind(first: u64) -> muster::batch::SealedBatch {
    with_raw_kind(first, &[0x22, 0x02, 0x0A, 0x7F])
}

/// A batch of one event that ends with the bytes of a field.
fn with_raw_kind(first: u64, field: &[u8]) -> muster::batch::SealedBatch {
    let mut builder = BatchBuilder::new();
    source(&mut builder, "devloop", "p");
    let mut bytes =
        v1::Batch { first_seq: first, base_time_us: 1, ..builder.as_batch().clone() }.encode_to_vec();
    // Field 5, `events`: the event has no field but this one, so its time and source are the first ones.
    bytes.extend_from_slice(&[0x2A, field.len() as u8]);
    bytes.extend_from_slice(field);
    let seqs = muster::ids::SeqRange::new(Seq(first), Seq(first)).unwrap();
    muster::batch::SealedBatch { seqs, crc32c: crc32c::crc32c(&bytes), bytes: bytes.into() }
}
