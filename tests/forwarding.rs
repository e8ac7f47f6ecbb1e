//! Forwarding over real processes: kills, sinks that die, lie, hang or crawl (reliability.md rows B3 to B6).
//!
//! The oracle: each item has an attribute that identifies it. At a sink that knows it again every item is there once; at a
//! plain one at least once, and after a kill no more requests come again than may be in flight.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use muster::clock::{Clock, SystemClock};
use otlp::Signal;
use support::collector::{Collector, CollectorOptions};
use support::fleet::{Fleet, FleetOptions};
use support::otlp_sink::{Manner, NumberedClient, OtlpSink};
use support::{oracle, pause, rounds, seeded, wait_until};

const SETTLE: Duration = Duration::from_secs(60);
const IN_FLIGHT_MAX: usize = 4;

fn destination(name: &str, sink: SocketAddr, more: &str) -> String {
    destination_with(name, sink, IN_FLIGHT_MAX, more)
}

fn destination_with(name: &str, sink: SocketAddr, in_flight_max: usize, more: &str) -> String {
    format!(
        "[[destination]]\nname = \"{name}\"\nprofile = \"otlp\"\ntransport = \"grpc\"\nendpoint = \"http://{sink}\"\n\
         compression = \"none\"\nrequests_in_flight_max = {in_flight_max}\n{more}\n"
    )
}

fn collector_with(destinations: &[String], folder: &std::path::Path) -> Collector {
    let config = format!("[server.limits]\nsnapshot_interval_seconds = 1\n{}", destinations.concat());
    Collector::spawn(folder, CollectorOptions { config, ..Default::default() })
}

#[test]
fn a_collector_that_is_killed_two_hundred_times_while_it_forwards_loses_nothing_and_repeats_only_what_was_in_flight()
 {
    let mut random = seeded("kill the forwarder");
    let folder = tempfile::tempdir().unwrap();
    let (plain, losing) = (OtlpSink::spawn(Manner::Take), OtlpSink::spawn(Manner::LoseReply(7)));
    let destinations = [
        destination("plain", plain.address, "signals = [\"logs\", \"traces\"]"),
        destination("losing", losing.address, "signals = [\"logs\"]"),
    ];
    let mut collector = collector_with(&destinations, folder.path());
    let fleet = Fleet::start(FleetOptions::new(5, collector.grpc), SystemClock::new().wall(), &mut random);
    let mut client = NumberedClient::start(collector.grpc, 10, Duration::from_millis(5));
    let kills = rounds(200);
    for _ in 0..kills {
        pause(Duration::from_millis(random.u64(20..=250)));
        collector.process.kill9();
        // Between two lives, so that what comes on the new page was sent by the new one.
        plain.turn_page();
        losing.turn_page();
        collector.restart();
    }
    client.stop();
    fleet.drain(SETTLE);
    let issued = fleet.issued();
    let oracle::Stored { otlp_items: journaled, fresh, .. } =
        oracle::check_fleet_among_others(&collector, &fleet);
    let expected = issued + fresh + journaled;
    let logs = |sink: &OtlpSink| {
        sink.taken()
            .into_iter()
            .filter(|taken| taken.signal == Signal::Logs)
            .flat_map(|taken| taken.ids)
            .collect::<BTreeSet<_>>()
    };
    for sink in [&plain, &losing] {
        wait_until("every item to be at the sink", SETTLE, || logs(sink).len() as u64 >= expected);
    }
    for (name, sink) in [("plain", &plain), ("losing", &losing)] {
        let known = logs(sink);
        assert_eq!(known.len() as u64, expected, "{name}: each item once, known by its attribute");
        let numbers: BTreeSet<i64> = sink.taken().iter().flat_map(|taken| taken.numbers.clone()).collect();
        let missing = (0..client.acked() as i64).filter(|number| !numbers.contains(number)).count();
        assert_eq!(missing, 0, "{name}: acknowledged OTLP records that never arrived");
    }
    let worst = repeats_by_page(&plain).into_values().max().unwrap_or(0);
    println!("{kills} kills, {issued} events, {journaled} OTLP records; at most {worst} requests came again");
    // Each signal of a destination is a request of its own.
    assert!(worst <= IN_FLIGHT_MAX, "after one kill {worst} requests came again");
    assert!(issued > kills as u64 && journaled > kills as u64, "hardly anything went through");
}

/// How many requests of a page have an item that was there on an earlier page.
fn repeats_by_page(sink: &OtlpSink) -> BTreeMap<u64, usize> {
    let mut first_page = BTreeMap::<String, u64>::new();
    let mut repeats = BTreeMap::new();
    for taken in sink.taken() {
        let is_repeat =
            taken.ids.iter().any(|id| *first_page.entry(id.clone()).or_insert(taken.page) < taken.page);
        if is_repeat {
            *repeats.entry(taken.page).or_default() += 1;
        }
    }
    repeats
}

#[test]
fn a_sink_that_hangs_or_crawls_leaves_another_its_whole_speed_and_loses_nothing_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (healthy, hanging, slow) =
        (OtlpSink::spawn(Manner::Take), OtlpSink::spawn(Manner::Hang), OtlpSink::spawn(Manner::Slow(300)));
    let destinations = [
        destination("healthy", healthy.address, "signals = [\"logs\"]"),
        destination("hanging", hanging.address, "signals = [\"logs\"]\ntimeout_seconds = 2"),
        destination("slow", slow.address, "signals = [\"logs\"]"),
    ];
    let collector = collector_with(&destinations, folder.path());
    let mut client = NumberedClient::start(collector.grpc, 100, Duration::ZERO);
    wait_until("a good deal to be acknowledged", SETTLE, || client.acked() >= 30_000);
    client.stop();
    // At the healthy one everything is there while the hanging one has nothing.
    wait_until("all to be at the healthy sink", Duration::from_secs(10), || {
        healthy.ids().len() as u64 >= client.acked()
    });
    assert!(hanging.taken().is_empty());
    hanging.set(Manner::Take);
    slow.set(Manner::Take);
    for sink in [&healthy, &hanging, &slow] {
        wait_until("all to arrive in the end", SETTLE, || {
            sink.ids().iter().collect::<BTreeSet<_>>().len() as u64 >= client.acked()
        });
    }
    let page = collector.page();
    for name in ["healthy", "hanging", "slow"] {
        let dropped = page.sum("muster_destination_dropped_items_total", &[("destination", name)]);
        assert_eq!(dropped, 0.0, "{name}");
    }
}

#[test]
fn a_sink_that_refuses_for_a_while_gets_everything_once_in_the_end_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    const UNAVAILABLE: u32 = 14;
    let sink = OtlpSink::spawn(Manner::Refuse(UNAVAILABLE));
    let collector =
        // With one request at a time there is an order to keep.
        collector_with(&[destination_with("sink", sink.address, 1, "signals = [\"logs\"]")], folder.path());
    let mut client = NumberedClient::start(collector.grpc, 10, Duration::from_millis(2));
    wait_until("something to be refused", SETTLE, || sink.requests() >= 2 && client.acked() > 500);
    client.stop();
    sink.set(Manner::Take);
    wait_until("all to arrive", SETTLE, || sink.ids().len() as u64 >= client.acked());
    let numbers: Vec<i64> = sink.taken().iter().flat_map(|taken| taken.numbers.clone()).collect();
    let acked: Vec<i64> = numbers.iter().copied().filter(|&number| number < client.acked() as i64).collect();
    assert_eq!(acked, (0..client.acked() as i64).collect::<Vec<_>>());
}
