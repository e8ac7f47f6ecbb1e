//! Networks that cut, swallow and crawl, and peers that hold on to connections (reliability.md rows B1, B2, B7, B9 to
//! B12).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::time::{Duration, Instant};

use agent::uplink::Backoff;
use muster::clock::{Clock, SystemClock};
use support::agent::{Agent, AgentOptions};
use support::collector::{Collector, CollectorOptions};
use support::fault_proxy::{Fault, FaultProxy};
use support::fleet::{Fleet, FleetOptions, Reconnect};
use support::live_project::LiveProject;
use support::{is_long, oracle, pause, rounds, seeded, wait_until};

const DRAIN_MAX: Duration = Duration::from_secs(60);

/// Row B1.
#[test]
fn cutting_after_the_request_and_before_the_ack_loses_and_doubles_nothing() {
    let mut random = seeded("cut before the ack");
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(&folder.path().join("collector"), CollectorOptions::default());
    let proxy = FaultProxy::spawn(collector.grpc);
    let project = LiveProject::create(&folder.path().join("shop"), random.fork());
    let options = AgentOptions {
        watch: vec![project.path().to_owned()],
        server: Some(format!("http://{}", proxy.address)),
        ..AgentOptions::default()
    };
    let agent = Agent::spawn(&folder.path().join("agent"), options);
    let fleet = Fleet::start(FleetOptions::new(5, proxy.address), SystemClock::new().wall(), &mut random);
    let cuts = rounds(100);
    for _ in 0..cuts {
        let connected = proxy.accepted().len();
        proxy.set(Fault::LoseReplies);
        let lost = proxy.replies_lost();
        wait_until("an answer to be lost", Duration::from_secs(20), || proxy.replies_lost() > lost);
        pause(Duration::from_millis(random.u64(0..=30)));
        proxy.cut();
        proxy.set(Fault::Pass);
        wait_until("somebody to come back", Duration::from_secs(20), || proxy.accepted().len() > connected);
        pause(Duration::from_millis(random.u64(0..=100)));
    }
    let lines = project.stop();
    fleet.drain(DRAIN_MAX);
    let recovered: u64 = fleet.ledgers().map(|l| l.learned_by_mark).sum();
    println!("{cuts} cuts; {recovered} times a high-water mark told of an acknowledgement that was lost");
    assert!(recovered as usize >= cuts / 2, "only {recovered} of {cuts} cuts lost an acknowledgement");
    oracle::check_fleet_among_others(&collector, &fleet);
    let labels = [("project", "shop")];
    collector.wait_page("all lines", DRAIN_MAX, |p| p.sum("loki_events_total", &labels) >= lines as f64);
    assert_eq!(collector.page().sum("loki_events_total", &labels), lines as f64);
    drop(agent);
}

/// Row B2: no FIN, no RST, nothing is read. Keepalive is 20 s, and its answer has 10 s.
#[test]
fn a_black_hole_is_noticed_by_both_sides_within_thirty_seconds() {
    let mut random = seeded("black hole");
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(&folder.path().join("collector"), CollectorOptions::default());
    let proxy = FaultProxy::spawn(collector.grpc);
    let project = LiveProject::create(&folder.path().join("shop"), random.fork());
    let options = AgentOptions {
        watch: vec![project.path().to_owned()],
        server: Some(format!("http://{}", proxy.address)),
        ..AgentOptions::default()
    };
    let _agent = Agent::spawn(&folder.path().join("agent"), options);
    // An agent that has gone for good: nobody comes back in its place, so that the collector must notice by itself.
    let gone_proxy = FaultProxy::spawn(collector.grpc);
    let reconnect = Reconnect::Within(600_000..=600_000);
    let gone = FleetOptions { reconnect, ..FleetOptions::new(1, gone_proxy.address) };
    let gone = Fleet::start(gone, SystemClock::new().wall(), &mut random);
    let streams = |collector: &Collector| collector.page().sum("muster_server_streams", &[]);
    wait_until("both streams", Duration::from_secs(20), || streams(&collector) == 2.0 && gone.acked() > 0);
    let connections = proxy.accepted().len();
    proxy.set(Fault::BlackHole);
    gone_proxy.set(Fault::BlackHole);
    let began = Instant::now();
    let both = Duration::from_secs(35);
    wait_until("the agent to come back", both, || proxy.accepted().len() > connections);
    println!("the agent came back after {:?}", began.elapsed());
    let lines = project.stop();
    let labels = [("project", "shop")];
    collector.wait_page("all lines", Duration::from_secs(40), |p| {
        p.sum("loki_events_total", &labels) >= lines as f64
    });
    wait_until("the collector to let the dead stream go", both.saturating_sub(began.elapsed()), || {
        streams(&collector) == 1.0
    });
    println!("the collector let the dead stream go within {:?}", began.elapsed());
    assert_eq!(collector.page().sum("loki_events_total", &labels), lines as f64);
}

/// Row B7: they come back with the agent's own backoff, spread out. With `MUSTER_LONG` 2,000 agents and a minute, as the row
/// has it.
#[test]
fn two_hundred_agents_come_back_to_a_restarted_collector_without_a_stampede() {
    let mut random = seeded("restart under 200");
    let agents = rounds(200);
    let folder = tempfile::tempdir().unwrap();
    // Room for the series of 2,000 projects, by which the oracle counts.
    let config = "[server.limits]\nseries_per_family_max = 100000\nteam_series_max = 1000000\n\
                  agent_series_max = 1000000\n"
        .to_owned();
    let mut collector = Collector::spawn(folder.path(), CollectorOptions { config, ..Default::default() });
    let proxy = FaultProxy::spawn(collector.grpc);
    let options = FleetOptions {
        reconnect: Reconnect::AsTheAgent,
        pause: Duration::from_millis(agents as u64 * 5 / 2),
        ..FleetOptions::new(agents, proxy.address)
    };
    let fleet = Fleet::start(options, SystemClock::new().wall(), &mut random);
    let welcomed = |since: Instant| fleet.ledgers().filter(|l| l.welcomes.iter().any(|w| *w > since)).count();
    let began = Instant::now();
    wait_until("all to be welcomed", Duration::from_secs(60), || {
        welcomed(began - Duration::from_secs(9)) == agents
    });
    collector.process.kill9();
    proxy.cut();
    pause(if is_long() { Duration::from_secs(60) } else { Duration::from_secs(6) });
    let up = Instant::now();
    collector.restart();
    wait_until("all to be back", BACK_MAX, || welcomed(up) == agents);
    let arrivals: Vec<_> = proxy.accepted().into_iter().filter(|at| *at > up).map(|at| at - up).collect();
    let (peak, mean) = burst(&arrivals, Duration::from_secs(1));
    println!(
        "back in {:?}; {} connections, {peak} in the busiest second, {mean:.1} on average",
        up.elapsed(),
        arrivals.len()
    );
    assert!(f64::from(peak) <= 3.0 * mean, "a stampede: {peak} against {mean:.1}");
    fleet.drain(DRAIN_MAX);
    oracle::check(&collector, &fleet);
}

/// Row B7: jitter that is clamped at the cap would have no spread there.
#[test]
fn the_agents_backoff_is_spread_at_its_cap_and_at_its_start() {
    let mut random = seeded("backoff");
    let (mut first, mut late) = (Vec::new(), Vec::new());
    for _ in 0..2_000 {
        let mut backoff = Backoff::default();
        first.push(backoff.next_delay(random.f64()));
        for _ in 0..12 {
            backoff.next_delay(random.f64());
        }
        late.push(backoff.next_delay(random.f64()));
    }
    for (name, delays) in [("first", first), ("at the cap", late)] {
        let (low, high) = (*delays.iter().min().unwrap(), *delays.iter().max().unwrap());
        assert!(high < Duration::from_secs(61), "{name}: {high:?} is longer than a minute");
        let mut tenths = [0; 10];
        for delay in &delays {
            tenths[((*delay - low).as_secs_f64() / (high - low).as_secs_f64() * 9.99) as usize] += 1;
        }
        // 200 expected in each: five standard deviations are 67.
        assert!(tenths.iter().all(|&n| n > 120), "{name}, {low:?} to {high:?}: {tenths:?}");
    }
}

/// Row B7, both of its outages and its windows of 100 ms, with the real backoff and no network; with a hundred times its agents, so
/// that chance has little part.
#[test]
fn agents_come_back_spread_out_after_a_minute_and_after_half_an_hour() {
    let mut random = seeded("outages");
    for outage in [Duration::from_secs(60), Duration::from_secs(1_800)] {
        let mut arrivals: Vec<_> = (0..200_000)
            .map(|_| {
                let (mut backoff, mut at) = (Backoff::default(), Duration::ZERO);
                while at < outage {
                    at += backoff.next_delay(random.f64());
                }
                at - outage
            })
            .collect();
        arrivals.sort();
        let (peak, mean) = burst(&arrivals, Duration::from_millis(100));
        let late = arrivals[arrivals.len() * 99 / 100];
        println!(
            "after {outage:?}: {peak} in the busiest 100 ms, {mean:.1} on average, 99 % within {late:?}"
        );
        assert!(f64::from(peak) <= 3.0 * mean, "after {outage:?}: {peak} against {mean:.1}");
        assert!(late < BACK_MAX, "after {outage:?}: 99 % within {late:?}");
    }
}

/// Row B7.
const BACK_MAX: Duration = Duration::from_secs(90);

/// The busiest window and the mean of all up to the last arrival. The row has windows of 100 ms: 2,000 agents within a minute
/// are three in each, where chance alone puts thirteen into one, so that real runs have a second.
fn burst(arrivals: &[Duration], window: Duration) -> (u32, f64) {
    let windows = arrivals.iter().map(|at| (at.as_micros() / window.as_micros()) as usize);
    let mut counts = vec![0_u32; windows.clone().max().map_or(1, |last| last + 1)];
    windows.for_each(|w| counts[w] += 1);
    (*counts.iter().max().unwrap(), arrivals.len() as f64 / counts.len() as f64)
}
