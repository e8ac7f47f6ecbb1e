//! Kills of the collector at chosen places of the history's code, and at any time, with the history in a folder and in
//! a bucket: afterwards every acknowledged event is in the files once, whoever reads them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use muster::clock::{Clock, SystemClock, WallTime};
use support::collector::{Collector, CollectorOptions};
use support::fleet::{Fleet, FleetOptions};
use support::seaweed::Seaweed;
use support::{pause, python, rounds, seeded, wait_until};

const DRAIN_MAX: Duration = Duration::from_secs(60);
/// Kills with each kind of place; two kinds make 200.
const KILLS: usize = 100;
/// Longest wait for a failpoint; then it is killed all the same. Merges need some flushes before them.
const DEATH_MAX: Duration = Duration::from_secs(12);
/// Lives for a place that no kill reached.
const MORE_TRIES: usize = 10;
/// Days that the events are of: each is a file of a flush.
const DAYS: u64 = 3;
const DAY_US: u64 = 86_400_000_000;

const MID_FILE: &str = "history-mid-file";
/// Where it dies, and at which pass at most. `""`: at any time. Half a file is a folder's alone; what is half on its way to
/// a bucket is in the kills at any time.
const SITES: [(&str, u64); 12] = [
    ("history-before-file", 2),
    (MID_FILE, 5),
    ("history-after-file", 6),
    ("history-before-marker", 3),
    ("", 0),
    ("history-after-marker", 3),
    ("history-before-cursor", 3),
    ("history-after-cursor", 3),
    ("history-mid-compaction", 2),
    ("", 0),
    ("history-before-delete", 2),
    ("history-mid-delete", 12),
];

/// What a stream's rows must be: first number 1, last number and count as acknowledged.
type Streams = BTreeMap<(String, String), u64>;

#[test]
fn a_collector_killed_while_it_writes_to_a_folder_has_each_row_once() {
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("history");
    let config = format!("[history]\nplace = {history:?}\nflush_interval_seconds = 1\n");
    let expected = kill_and_settle("kills with a folder", folder.path(), config, vec![]);
    check_with_python(&[history.to_str().unwrap()], &expected);
    let leftovers = std::fs::read_dir(history.join("_unfinished")).unwrap().count();
    assert_eq!(leftovers, 0, "half files");
}

#[test]
fn a_collector_killed_while_it_writes_to_a_bucket_has_each_row_once() {
    let folder = tempfile::tempdir().unwrap();
    let Some(store) = Seaweed::spawn(&folder.path().join("weed")) else { return };
    let config = format!(
        "[history]\nplace = \"s3://history/kills\"\nendpoint = {:?}\nallow_http = true\nregion = \"us-east-1\"\n\
         flush_interval_seconds = 1\n",
        store.endpoint
    );
    let credentials = [("AWS_ACCESS_KEY_ID", "writer-key"), ("AWS_SECRET_ACCESS_KEY", "writer-secret")];
    let environment = credentials.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let expected = kill_and_settle("kills with a bucket", folder.path(), config, environment);
    check_with_python(&[&store.endpoint, "history", "kills", "writer-key", "writer-secret"], &expected);
}

/// Kills a collector again and again while agents send, then lets it come to rest. Returns what was acknowledged.
fn kill_and_settle(test: &str, folder: &Path, config: String, environment: Vec<(String, String)>) -> Streams {
    let mut random = seeded(test);
    let is_bucket = config.contains("s3://");
    let options = CollectorOptions { config, environment: environment.clone(), ..Default::default() };
    let mut collector = Collector::spawn(folder, options);
    let now = SystemClock::new().wall().0;
    let fleets: Vec<Fleet> = (0..DAYS)
        .map(|day| {
            let options = FleetOptions {
                project_prefix: format!("day{day}-"),
                pause: Duration::from_millis(100),
                ..FleetOptions::new(4, collector.grpc)
            };
            Fleet::start(options, WallTime(now - day * DAY_US), &mut random)
        })
        .collect();
    let kills = rounds(KILLS);
    let mut died_at: BTreeMap<&str, u32> = BTreeMap::new();
    let began = Instant::now();
    for round in 0..kills {
        let (site, hits_max) = SITES[round % SITES.len()];
        let site = if site == MID_FILE && is_bucket { "" } else { site };
        collector.options.environment.clone_from(&environment);
        if !site.is_empty() {
            let failpoint = format!("{site}:{}", random.u64(1..=hits_max));
            collector.options.environment.push(("MUSTER_FAILPOINT".to_owned(), failpoint));
        }
        collector.restart();
        let has_died = if site.is_empty() {
            pause(Duration::from_millis(random.u64(10..700)));
            false
        } else {
            dies_within(&mut collector, DEATH_MAX)
        };
        collector.process.kill9();
        *died_at.entry(if has_died { site } else { "any time" }).or_default() += 1;
    }
    // Every place, however seldom it comes by: more kills for those that have not been reached.
    let places = SITES.iter().map(|(site, _)| *site).filter(|site| !site.is_empty());
    for site in places.filter(|site| *site != MID_FILE || !is_bucket) {
        for _ in 0..MORE_TRIES {
            if died_at.contains_key(site) {
                break;
            }
            collector.options.environment.clone_from(&environment);
            collector.options.environment.push(("MUSTER_FAILPOINT".to_owned(), format!("{site}:1")));
            collector.restart();
            if dies_within(&mut collector, DEATH_MAX) {
                died_at.insert(site, 1);
            }
            collector.process.kill9();
        }
        assert!(died_at.contains_key(site), "{site} was never reached: {died_at:?}");
    }
    println!("{test}: {kills} kills and more in {:?}: {died_at:?}", began.elapsed());
    collector.options.environment = environment;
    collector.restart();
    fleets.iter().for_each(|fleet| fleet.drain(DRAIN_MAX));
    let streams = fleets.iter().flat_map(|fleet| {
        let of = |ledger: &support::fleet::Ledger| {
            ((ledger.issuer.agent.to_string(), ledger.issuer.epoch.to_string()), ledger.acked)
        };
        fleet.ledgers().map(|ledger| of(&ledger)).collect::<Vec<_>>()
    });
    let streams: Streams = streams.collect();
    settle(&mut collector);
    streams
}

fn dies_within(collector: &mut Collector, longest: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < longest {
        if collector.process.has_ended() {
            return true;
        }
        pause(Duration::from_millis(5));
    }
    false
}

/// Waits until all is in files, crashes it once more, and ends it when it has tidied up.
fn settle(collector: &mut Collector) {
    for _ in 0..2 {
        collector.wait_page("everything to be in files", DRAIN_MAX, |page| {
            page.sum("muster_history_lag_records", &[]) == 0.0 && page.sum("muster_history_up", &[]) == 1.0
        });
        collector.crash();
    }
    collector.wait_page("the history to be open", DRAIN_MAX, |page| {
        page.sum("muster_history_lag_records", &[]) == 0.0 && page.sum("muster_history_files", &[]) > 0.0
    });
    // Merges that were due are over when their files are deleted.
    let page = || collector.page().sum("muster_history_files", &[]);
    let mut files = page();
    wait_until("merges to end", DRAIN_MAX, || {
        pause(Duration::from_millis(500));
        let before = std::mem::replace(&mut files, page());
        before == files
    });
    collector.process.kill9();
}

/// DuckDB and pyarrow read the files as they lie.
fn check_with_python(place: &[&str], expected: &Streams) {
    let Some(python) = python::tool("MUSTER_TEST_PYTHON") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/history_rows.py");
    let output = Command::new(python).arg(script).args(place).output().expect("Python runs");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    let mut rows = Streams::new();
    for line in out.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let number = |key: &str| row[key].as_u64().expect("a number");
        assert_eq!(number("count"), number("distinct"), "doubled rows: {line}");
        assert_eq!((number("first"), number("last")), (1, number("count")), "missing rows: {line}");
        let key = |key: &str| row[key].as_str().expect("a text").to_owned();
        rows.insert((key("agent"), key("epoch")), number("count"));
    }
    assert_eq!(&rows, expected, "rows of each stream, and what was acknowledged");
    println!("{} rows of {} streams, each once", rows.values().sum::<u64>(), rows.len());
}
