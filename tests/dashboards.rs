//! What the dashboards may name of the service's own figures is what real pages have, and the binary writes all files.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use dashboards::names::{
    AGENT_FIGURES, AGENT_OTLP_FIGURES, COLLECTOR_FIGURES, DESTINATION_FIGURES, FigureKind, OwnFigure,
};
use muster::v1;
use support::agent::{Agent, AgentOptions};
use support::collector::{Collector, CollectorOptions, muster};
use support::raw_agent::{Identity, RawAgent, run_finished};
use support::scrape::Page;
use support::wait_until;

#[test]
fn the_tables_of_own_figures_are_what_the_pages_have() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing listens there.
    let config =
        "[[destination]]\nname = \"nowhere\"\nprofile = \"otlp\"\nendpoint = \"http://127.0.0.1:9\"\n";
    let options = CollectorOptions { config: config.to_owned(), ..CollectorOptions::default() };
    let collector = Collector::spawn(&folder.path().join("collector"), options);
    let project = folder.path().join("project");
    std::fs::create_dir_all(project.join(".loki")).unwrap();
    let options = AgentOptions {
        watch: vec![project],
        server: Some(format!("http://{}", collector.grpc)),
        config:
            "[agent.otlp]\nenabled = true\ngrpc_listen = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\n"
                .to_owned(),
        ..AgentOptions::default()
    };
    let agent = Agent::spawn(&folder.path().join("agent"), options);
    let mut teller = RawAgent::connect(collector.grpc, &Identity::random()).unwrap();
    let verdict = teller.send("devloop", "told", vec![run_finished("linter", v1::RunStatus::Success)]);
    assert_eq!(verdict.outcome(), v1::verdict::Outcome::Appended);
    wait_until("the first acknowledgement and attempt to be counted", Duration::from_secs(10), || {
        let page = collector.page();
        page.sum("muster_server_ack_count", &[]) >= 1.0 && page.has("muster_destination_up")
    });
    assert_same(&collector.page(), &[COLLECTOR_FIGURES, DESTINATION_FIGURES].concat());
    assert_same(&agent.page(), &[AGENT_FIGURES, AGENT_OTLP_FIGURES].concat());
}

#[test]
fn the_binary_writes_every_file_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("out");
    let export = || muster().args(["dashboards", "export", "--dir"]).arg(&dir).output().unwrap();
    let first = export();
    assert!(first.status.success(), "{first:?}");
    let table = String::from_utf8(first.stdout).unwrap();
    for file in dashboards::files() {
        assert_eq!(std::fs::read_to_string(dir.join(&file.path)).unwrap(), file.content);
        assert!(table.contains(&file.path), "{} in {table}", file.path);
    }
    std::fs::write(dir.join("grafana/loki-mode.json"), "mine").unwrap();
    let second = export();
    assert_eq!(second.status.code(), Some(1));
    let refusal = String::from_utf8(second.stderr).unwrap();
    assert!(refusal.contains("--force"), "{refusal}");
}

/// The page's families that are not in the catalogue, with type and labels, are exactly these.
#[track_caller]
fn assert_same(page: &Page, figures: &[OwnFigure]) {
    let types: BTreeMap<_, _> = page
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .filter(|(name, _)| metrics::catalogue::find(name).is_none())
        .collect();
    // On no page while nothing was dropped.
    let is_shown = |name: &str| !name.contains("dropped") || types.contains_key(name);
    let shown = figures.iter().filter(|figure| is_shown(figure.name));
    let ours: BTreeMap<_, _> = shown.map(|figure| (figure.name, kind(figure.kind))).collect();
    assert_eq!(ours, types);
    for figure in figures {
        let is_of = |name: &str| name.strip_prefix(figure.name).is_some_and(is_suffix);
        for sample in page.samples.iter().filter(|sample| is_of(&sample.name)) {
            let labels = sample.labels.keys().filter(|label| *label != "le");
            let unknown: Vec<_> = labels.filter(|label| !figure.labels.contains(&label.as_str())).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", sample.name);
        }
    }
}

fn kind(kind: FigureKind) -> &'static str {
    match kind {
        FigureKind::Counter => "counter",
        FigureKind::Gauge => "gauge",
        FigureKind::Histogram => "histogram",
    }
}

fn is_suffix(suffix: &str) -> bool {
    matches!(suffix, "" | "_bucket" | "_sum" | "_count")
}
