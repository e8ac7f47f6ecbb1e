//! The log as its readers find it.

use std::net::{IpAddr, Ipv4Addr};

use muster::clock::{ManualClock, WallTime};
use serde_json::Value;

use super::*;
use crate::telemetry::detached_figures;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Bench {
    log: Arc<AuditLog>,
    clock: ManualClock,
    figures: Arc<Figures>,
    dir: tempfile::TempDir,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().expect("folder");
    let clock = ManualClock::at(WallTime(1_795_000_000_123_456));
    let figures = detached_figures();
    let log = AuditLog::open(dir.path(), Arc::new(clock.clone()), figures.clone()).expect("a thread");
    Bench { log, clock, figures, dir }
}

impl Bench {
    fn read(&self) -> Vec<Value> {
        lines(self.dir.path()).map(|line| serde_json::from_str(&line).expect("JSON")).collect()
    }
}

fn refused(address: [u8; 4]) -> Entry {
    Entry::new(What::CredentialRefused, Who::Peer(Ipv4Addr::from(address).into())).refused("unknown")
}

#[test]
fn a_line_says_when_what_who_and_how_it_ended_and_is_its_owners_alone() {
    let bench = bench();
    let team = "red".parse().expect("team");
    bench.log.record(&Entry::new(What::TokenCreated, Who::Command("token create")).team(&team));
    bench.log.record(&Entry::new(What::ConfigurationRefused, Who::Collector).refused("line 3: no"));
    bench.log.record_durably(&Entry::new(What::Enrolled, Who::Peer(HERE)).with("host", "ada")).expect("disk");
    bench.log.finish();
    let lines = bench.read();
    assert_eq!(lines.len(), 3);
    let of = |what: &str| lines.iter().find(|line| line["what"] == what).expect("a line");
    let created = of("token_created");
    assert_eq!(created["time"], "2026-11-18T11:06:40.123Z");
    assert_eq!((&created["team"], &created["by"]), (&"red".into(), &"command".into()));
    assert_eq!((&created["outcome"], &created["command"]), (&"done".into(), &"token create".into()));
    let configuration = of("configuration_refused");
    assert_eq!(
        (&configuration["outcome"], &configuration["reason"]),
        (&"refused".into(), &"line 3: no".into())
    );
    assert_eq!(of("enrolled")["address"], "127.0.0.1");
    assert_eq!(bench.figures.audit_lines.value(), 3);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = std::fs::metadata(bench.dir.path().join(FILE_NAME)).expect("there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_guesser_costs_a_line_and_one_a_minute_however_often_it_tries() {
    let bench = bench();
    for _ in 0..10_000 {
        bench.log.record_often(refused([10, 0, 0, 1]));
    }
    bench.clock.advance(Duration::from_secs(61));
    bench.log.finish();
    let lines = bench.read();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!((&lines[0]["count"], &lines[1]["count"]), (&Value::Null, &9_999.into()));
}

#[test]
fn a_guesser_with_many_addresses_costs_a_bounded_number_of_lines() {
    let bench = bench();
    for n in 0..10_000_u32 {
        let [_, _, high, low] = n.to_be_bytes();
        bench.log.record_often(refused([10, 0, high, low]));
    }
    bench.log.finish();
    let lines = bench.read();
    assert_eq!(lines.len(), REPEATS_MAX + WHO_MAX + 1);
    let others = lines.iter().find(|line| line["by"] == "others").expect("a line");
    assert_eq!(others["count"], 10_000 - (REPEATS_MAX + WHO_MAX) as u64);
    assert_eq!(bench.figures.audit_merged.value(), 10_000 - REPEATS_MAX as u64);
}

#[test]
fn neither_other_pages_nor_another_guesser_hide_who_was_refused() {
    let bench = bench();
    for n in 0..1_000_u64 {
        bench.log.record_often(Entry::new(What::HistoryRead, Who::Peer(HERE)).with("asked", n));
    }
    bench.log.record_often(refused([10, 0, 0, 1]));
    for n in 0..1_000_u64 {
        bench.log.record_often(refused([10, 0, 0, 2]).with("n", n));
    }
    bench.log.record_often(refused([10, 0, 0, 3]));
    bench.log.finish();
    let lines = bench.read();
    let of = |address: &str| {
        let lines = lines.iter().filter(|line| line["what"] == "credential_refused");
        lines.filter(|line| line["address"] == address).collect::<Vec<_>>()
    };
    assert_eq!(of("10.0.0.1").len(), 1, "pages that were read have their own room");
    let guesser = of("10.0.0.2");
    assert_eq!(guesser.len(), REPEATS_MAX, "{guesser:?}");
    let merged = guesser.iter().find(|line| !line["count"].is_null()).expect("a line");
    assert_eq!(merged["count"], 1_000 - (REPEATS_MAX as u64 - 1));
    let third = of("10.0.0.3");
    assert_eq!((third.len(), &third[0]["count"]), (1, &1.into()), "{third:?}");
}

#[test]
fn files_turn_at_their_bound_and_the_oldest_goes() {
    let dir = tempfile::tempdir().expect("folder");
    let file = AuditFile::turning_at(dir.path(), 100);
    for n in 0..30 {
        file.append(format!("{{\"n\":{n:045}}}\n").as_bytes()).expect("disk");
    }
    let numbers: Vec<u64> = lines(dir.path())
        .map(|line| line.trim_start_matches("{\"n\":").trim_end_matches('}').parse().expect("a number"))
        .collect();
    // 52 bytes a line: one file has one line.
    assert_eq!(numbers, (30 - FILES_MAX as u64..30).collect::<Vec<_>>());
    assert_eq!(std::fs::read_dir(dir.path()).expect("folder").count(), FILES_MAX + 1, "and the lock");
}

#[test]
fn a_torn_line_costs_itself_alone() {
    let dir = tempfile::tempdir().expect("folder");
    let file = AuditFile::new(dir.path());
    file.append(b"{\"n\":1}\n").expect("disk");
    let path = dir.path().join(FILE_NAME);
    let mut torn = std::fs::OpenOptions::new().append(true).open(path).expect("there");
    std::io::Write::write_all(&mut torn, b"{\"n\":").expect("disk");
    file.append(b"{\"n\":3}\n").expect("disk");
    assert_eq!(lines(dir.path()).collect::<Vec<_>>(), ["{\"n\":1}", "{\"n\":", "{\"n\":3}"]);
}

#[test]
fn what_cannot_be_written_is_counted_and_told_when_it_can_be_again() {
    let bench = bench();
    // A folder in the place of the file.
    let path = bench.dir.path().join(FILE_NAME);
    std::fs::create_dir(&path).expect("folder");
    let entry = Entry::new(What::TokenRevoked, Who::Collector);
    assert!(bench.log.record_durably(&entry).is_err(), "an enrolment without a line is not granted");
    for _ in 0..3 {
        bench.log.record(&entry);
    }
    let is_dropped = |figures: &Figures| figures.audit_dropped.value(AuditDrop::WriteFailed) == 4;
    let deadline = Arc::new(muster::clock::SystemClock::new());
    while !is_dropped(&bench.figures) {
        assert!(deadline.monotonic().0 < Duration::from_secs(10), "never counted");
        std::thread::yield_now();
    }
    std::fs::remove_dir(&path).expect("empty");
    bench.log.record(&entry);
    bench.log.finish();
    let lines = bench.read();
    let dropped = lines.iter().find(|line| line["what"] == "lines_dropped").expect("told");
    assert_eq!(dropped["count"], 3);
    assert!(lines.iter().any(|line| line["what"] == "token_revoked"));
}

#[cfg(unix)]
#[test]
fn a_link_that_somebody_planted_leads_nowhere() {
    for name in [FILE_NAME, "audit.lock"] {
        let (dir, outside) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
        let victim = outside.path().join("victim");
        std::os::unix::fs::symlink(&victim, dir.path().join(name)).expect("planted");
        assert!(AuditFile::new(dir.path()).append(b"{}\n").is_err(), "{name}");
        assert!(!victim.exists(), "{name}");
    }
}

#[test]
fn a_follower_sees_every_line_through_the_turn_of_the_files() {
    let dir = tempfile::tempdir().expect("folder");
    let file = AuditFile::turning_at(dir.path(), 100);
    let mut follower = Follower::at_end(dir.path()).expect("no file yet");
    let mut seen = Vec::new();
    for n in 0..20 {
        file.append(format!("{{\"n\":{n:045}}}\n").as_bytes()).expect("disk");
        seen.extend(follower.new_lines().expect("readable"));
    }
    assert_eq!(seen.len(), 20);
    assert!(seen.iter().enumerate().all(|(n, line)| line.contains(&format!("{n:045}"))));
}

#[test]
fn commands_and_the_collector_write_whole_lines_side_by_side() {
    let bench = bench();
    let dir = bench.dir.path();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let entry = Entry::new(What::TokenCreated, Who::Command("token create"))
                        .with("n", "x".repeat(400));
                    append_from_command(dir, &entry, &bench.clock).expect("disk");
                }
            });
        }
        for _ in 0..50 {
            bench.log.record(&Entry::new(What::ExportEnded, Who::Peer(HERE)));
        }
    });
    bench.log.finish();
    assert_eq!(bench.read().len(), 250);
}

#[test]
fn a_detail_without_end_is_cut() {
    let entry = Entry::new(What::EnrolmentRefused, Who::Peer(HERE));
    let long = entry.clone().with("name", "é".repeat(100_000)).line(WallTime(0));
    assert!(long.len() < 8 << 10 && serde_json::from_str::<Value>(&long).expect("JSON")["name"].is_string());
    let many = entry.with("names", vec!["x".repeat(500); 100]).line(WallTime(0));
    assert_eq!(serde_json::from_str::<Value>(&many).expect("JSON")["cut"], true);
}
