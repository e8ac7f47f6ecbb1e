//! Kills at chosen places of the journal's code, in a build with the feature `failpoints` (reliability.md row A2):
//! after the write, before the sync, between sync and acknowledgement, in the middle of a rotation.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::time::Duration;

use muster::clock::{Clock, SystemClock};
use support::collector::{Collector, CollectorOptions};
use support::fleet::{Fleet, FleetOptions};
use support::{oracle, rounds, seeded, wait_until};

const DRAIN_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_collector_killed_between_write_sync_and_ack_loses_and_doubles_nothing() {
    let mut random = seeded("failpoints of a commit");
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let fleet = Fleet::start(FleetOptions::new(50, collector.grpc), SystemClock::new().wall(), &mut random);
    let sites = ["after-write", "before-sync", "after-sync-before-ack"];
    let kills = rounds(102);
    for round in 0..kills {
        let site = sites[round % sites.len()];
        die_at(&mut collector, site, random.u64(1..=60));
    }
    collector.options.environment.clear();
    collector.restart();
    fleet.drain(DRAIN_MAX);
    println!("{kills} kills at {sites:?}, {} events acknowledged", fleet.acked());
    oracle::check(&collector, &fleet);
}

#[test]
fn a_collector_killed_in_the_middle_of_a_rotation_loses_and_doubles_nothing() {
    let mut random = seeded("failpoints of a rotation");
    let folder = tempfile::tempdir().unwrap();
    // The smallest segment that the configuration takes, filled with the largest batches.
    let config = "[server.journal]\nsegment_bytes_max = 16777216\n".to_owned();
    let mut collector = Collector::spawn(folder.path(), CollectorOptions { config, ..Default::default() });
    let options = FleetOptions {
        batch_events: 4_000..=10_000,
        pause: Duration::from_millis(1),
        ..FleetOptions::new(4, collector.grpc)
    };
    let fleet = Fleet::start(options, SystemClock::new().wall(), &mut random);
    for _ in 0..rounds(4) {
        die_at(&mut collector, "mid-rotate", 1);
    }
    collector.options.environment.clear();
    collector.restart();
    fleet.drain(DRAIN_MAX);
    let segments = std::fs::read_dir(oracle::journal_dir(&collector.data_dir())).unwrap();
    let segments =
        segments.filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "seg")).count();
    // That it died in rotations is seen above; a death leaves the full segment to be rotated again, so few are needed.
    assert!(segments >= 2, "{segments} segment: no rotation was ever completed");
    oracle::check(&collector, &fleet);
}

/// Starts the collector so that it dies when it comes by `site` for the `hit`th time, and waits for that.
#[track_caller]
fn die_at(collector: &mut Collector, site: &str, hit: u64) {
    collector.options.environment = vec![("MUSTER_FAILPOINT".to_owned(), format!("{site}:{hit}"))];
    collector.restart();
    wait_until(&format!("the collector to die at {site}:{hit}"), Duration::from_secs(60), || {
        collector.process.has_ended()
    });
}
