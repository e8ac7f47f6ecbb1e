//! Kills: collector, agent, both with the network cut (reliability.md rows A1, A2, A3). After each test the oracle
//! says that every acknowledged event counts once; `failpoints.rs` kills at chosen places as well.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::time::{Duration, Instant};

use muster::clock::{Clock, SystemClock};
use support::agent::{Agent, AgentOptions};
use support::collector::{Collector, CollectorOptions};
use support::fault_proxy::FaultProxy;
use support::fleet::{Fleet, FleetOptions};
use support::live_project::LiveProject;
use support::{oracle, pause, rounds, seeded, wait_until};

/// A start after a kill, with the journal of everything before it (the matrix says 2 s; this is a debug build that
/// shares two cores with 50 agents).
const RESTART_MAX: Duration = Duration::from_secs(5);
const DRAIN_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_collector_that_is_killed_at_any_time_under_fifty_agents_loses_and_doubles_nothing() {
    let mut random = seeded("kill the collector");
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::spawn(folder.path(), quick_snapshots());
    let fleet = Fleet::start(FleetOptions::new(50, collector.grpc), SystemClock::new().wall(), &mut random);
    let kills = rounds(100);
    for _ in 0..kills {
        pause(Duration::from_millis(random.u64(20..=500)));
        restart_in_time(&mut collector);
    }
    fleet.drain(DRAIN_MAX);
    println!("{kills} kills, {} events acknowledged", fleet.acked());
    assert!(fleet.acked() > kills as u64 * 50, "hardly anything went through: {}", fleet.acked());
    oracle::check(&collector, &fleet);
}

#[test]
fn an_agent_that_is_killed_at_any_time_counts_every_line_of_a_live_project_once() {
    let mut random = seeded("kill the agent");
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(&folder.path().join("collector"), CollectorOptions::default());
    let project = LiveProject::create(&folder.path().join("shop"), random.fork());
    let mut agent = Agent::spawn(&folder.path().join("agent"), watching(&project, collector.grpc));
    for _ in 0..rounds(100) {
        pause(Duration::from_millis(random.u64(20..=400)));
        let began = Instant::now();
        agent.process.kill9();
        agent.restart();
        assert!(began.elapsed() < RESTART_MAX, "the agent took {:?} to come back", began.elapsed());
    }
    let lines = project.stop();
    settle(&collector, "shop", lines);
    conserved(&agent);
}

#[test]
fn killing_both_and_cutting_the_network_at_once_loses_and_doubles_nothing() {
    let mut random = seeded("kill both");
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::spawn(&folder.path().join("collector"), quick_snapshots());
    let proxy = FaultProxy::spawn(collector.grpc);
    let project = LiveProject::create(&folder.path().join("shop"), random.fork());
    let mut agent = Agent::spawn(&folder.path().join("agent"), watching(&project, proxy.address));
    let fleet = Fleet::start(FleetOptions::new(10, proxy.address), SystemClock::new().wall(), &mut random);
    for _ in 0..rounds(100) {
        pause(Duration::from_millis(random.u64(20..=400)));
        proxy.cut();
        agent.process.kill9();
        collector.process.kill9();
        if random.bool() {
            restart_in_time(&mut collector);
            agent.restart();
        } else {
            agent.restart();
            restart_in_time(&mut collector);
        }
    }
    let lines = project.stop();
    fleet.drain(DRAIN_MAX);
    oracle::check_fleet_among_others(&collector, &fleet);
    settle(&collector, "shop", lines);
    conserved(&agent);
}

/// Snapshots as often as they may be, so that kills fall into them too.
fn quick_snapshots() -> CollectorOptions {
    CollectorOptions {
        config: "[server.limits]\nsnapshot_interval_seconds = 1\n".into(),
        ..Default::default()
    }
}

#[track_caller]
fn restart_in_time(collector: &mut Collector) {
    let began = Instant::now();
    collector.crash();
    assert!(began.elapsed() < RESTART_MAX, "the collector took {:?} to come back", began.elapsed());
}

fn watching(project: &LiveProject, server: std::net::SocketAddr) -> AgentOptions {
    AgentOptions {
        watch: vec![project.path().to_owned()],
        server: Some(format!("http://{server}")),
        ..AgentOptions::default()
    }
}

/// Waits until the collector shows every line, then makes sure that it stays at that.
#[track_caller]
fn settle(collector: &Collector, project: &str, lines: u64) {
    let labels = [("project", project)];
    collector.wait_page(&format!("{lines} lines of {project}"), DRAIN_MAX, |page| {
        page.sum("loki_events_total", &labels) >= lines as f64
    });
    pause(Duration::from_secs(1));
    let page = collector.page();
    assert_eq!(page.sum("loki_events_total", &labels), lines as f64, "{}", page.text);
    assert_eq!(
        page.sum("muster_lines_recorded_total", &[("project", project), ("tool", "loki")]),
        lines as f64
    );
    assert_eq!(
        page.sum("muster_source_parse_errors_total", &labels),
        0.0,
        "a torn read was taken for a record"
    );
}

/// The agent's own conservation law, to the unit: spooled = acknowledged + queued + dropped.
#[track_caller]
fn conserved(agent: &Agent) {
    wait_until("the agent's spool to be empty", Duration::from_secs(20), || {
        agent.page().value("muster_agent_events_queued", &[]) == Some(0.0)
    });
    let page = agent.page();
    assert_eq!(page.sum("muster_agent_events_dropped_total", &[]), 0.0);
}
