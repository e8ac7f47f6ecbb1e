//! OTLP in and out with programs that nobody here wrote: what OpenTelemetry's SDKs send to the collector, or to an agent,
//! must arrive at a foreign sink item by item, whatever the protocol, the temporality or the kind of histogram; also with
//! rotel as a hop on either side.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::path::Path;
use std::time::Duration;

use support::agent::{Agent, AgentOptions};
use support::collector::{Collector, CollectorOptions};
use support::peers::{Rotel, Sending, Sink, assert_arrives, send_with_node, send_with_python};
use support::python::{Format, parse_page};

const SETTLE: Duration = Duration::from_secs(60);
const PROTOCOLS: [&str; 3] = ["grpc", "http/protobuf", "http/json"];

/// Every protocol with every temporality and kind of histogram that differ on the wire.
fn ways() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let metrics = [("delta", "explicit"), ("cumulative", "explicit"), ("delta", "exponential")];
    PROTOCOLS.into_iter().flat_map(move |protocol| metrics.map(|(t, h)| (protocol, t, h)))
}

/// Sends all ways with both SDKs, each with its own identity, and returns what was sent.
fn send_all_ways(grpc: &str, http: &str, folder: &Path) -> Option<Vec<String>> {
    let mut sent = Vec::new();
    for (protocol, temporality, histogram) in ways() {
        let endpoint = if protocol == "grpc" { grpc } else { http };
        let id = format!("{}-{temporality}-{histogram}", protocol.replace('/', "-"));
        let sending = Sending { protocol, endpoint, temporality, histogram, id: &id };
        sent.extend(send_with_python(sending, folder)?);
        sent.extend(send_with_node(sending, folder)?);
    }
    Some(sent)
}

fn destination(name: &str, transport: &str, address: &str, more: &str) -> String {
    format!(
        "[[destination]]\nname = \"{name}\"\nprofile = \"otlp\"\ntransport = \"{transport}\"\n\
         endpoint = \"http://{address}\"\n{more}\n"
    )
}

#[test]
fn what_the_sdks_send_to_the_collector_arrives_at_sinks_of_every_protocol_item_by_item() {
    let folder = tempfile::tempdir().unwrap();
    let sinks: Option<Vec<Sink>> = PROTOCOLS
        .iter()
        .map(|protocol| Sink::spawn(&folder.path().join(protocol.replace('/', "-")), 0))
        .collect();
    let Some(sinks) = sinks else { return };
    let destinations = [
        destination("over-grpc", "grpc", &sinks[0].grpc, "compression = \"gzip\""),
        destination("over-http", "http/protobuf", &sinks[1].http, "compression = \"gzip\""),
        destination("over-json", "http/json", &sinks[2].http, "compression = \"none\""),
    ];
    let options = CollectorOptions { config: destinations.concat(), ..Default::default() };
    let collector = Collector::spawn(&folder.path().join("collector"), options);
    let (grpc, http) = (collector.grpc.to_string(), collector.otlp_http.to_string());
    let Some(sent) = send_all_ways(&grpc, &http, folder.path()) else { return };
    println!("{} items sent", sent.len());
    sinks.iter().for_each(|sink| assert_arrives(sink, &sent, SETTLE));
    page_is_right(&collector);
}

/// Each of the SDKs' nine runs adds 1 + 2 + 3 requests to each of its two workers; parsers of others read the page.
fn page_is_right(collector: &Collector) {
    let page = collector.page();
    for job in ["proof-client", "proof-node"] {
        let sum = |name: &str| page.sum(name, &[("job", job), ("team", "default")]);
        assert_eq!(sum("proof_requests_total"), 9.0 * 2.0 * 6.0, "{job}");
        assert_eq!(sum("proof_cost_USD_total"), 9.0 * 2.0 * 1.5, "{job}");
        assert_eq!(sum("proof_duration_seconds_count"), 9.0 * 2.0 * 15.0, "{job}");
    }
    parse_page(page.text.as_bytes(), Format::Text);
    let accept = [("accept", "application/openmetrics-text;version=1.0.0")];
    let open = support::http::try_get(collector.http, "/metrics", &accept).unwrap();
    parse_page(&open.body, Format::OpenMetrics);
}

#[test]
fn what_the_sdks_send_to_an_agent_arrives_at_the_sink_by_way_of_spool_stream_and_collector() {
    let folder = tempfile::tempdir().unwrap();
    let Some(sink) = Sink::spawn(&folder.path().join("sink"), 0) else { return };
    let options =
        CollectorOptions { config: destination("sink", "grpc", &sink.grpc, ""), ..Default::default() };
    let collector = Collector::spawn(&folder.path().join("collector"), options);
    let agent = Agent::spawn(
        &folder.path().join("agent"),
        AgentOptions {
            server: Some(format!("http://{}", collector.grpc)),
            config: "host_samples = false\n[agent.otlp]\nenabled = true\ngrpc_listen = \"127.0.0.1:0\"\n\
                     http_listen = \"127.0.0.1:0\"\n"
                .to_owned(),
            ..Default::default()
        },
    );
    let (grpc, http) = (agent.ready["otlp_grpc"].clone(), agent.ready["otlp_http"].clone());
    let Some(sent) = send_all_ways(&grpc, &http, folder.path()) else { return };
    assert_arrives(&sink, &sent, SETTLE);
}

#[test]
fn rotel_as_a_hop_before_and_behind_the_collector_changes_no_item() {
    let folder = tempfile::tempdir().unwrap();
    let Some(sink) = Sink::spawn(&folder.path().join("sink"), 0) else { return };
    let Some(behind) = Rotel::spawn(&folder.path().join("behind"), &sink.grpc) else { return };
    let config = destination("rotel", "grpc", &behind.grpc.to_string(), "compression = \"gzip\"");
    let options = CollectorOptions { config, ..Default::default() };
    let collector = Collector::spawn(&folder.path().join("collector"), options);
    let Some(before) = Rotel::spawn(&folder.path().join("before"), &collector.grpc.to_string()) else {
        return;
    };
    let mut sent = Vec::new();
    for (protocol, endpoint) in [("grpc", before.grpc), ("http/protobuf", before.http)] {
        let id = format!("rotel-{}", protocol.replace('/', "-"));
        let endpoint = endpoint.to_string();
        let sending = Sending {
            protocol,
            endpoint: &endpoint,
            temporality: "delta",
            histogram: "exponential",
            id: &id,
        };
        let Some(lines) = send_with_python(sending, folder.path()) else { return };
        sent.extend(lines);
    }
    assert_arrives(&sink, &sent, SETTLE);
}
