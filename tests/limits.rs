//! Quotas of teams and agents, and the audit log (reliability.md rows B15 and D4).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::fs::RealFs;
use journal::stream::{JournalStreamLog, StreamItem, StreamLog};
use journal::{Config, Journal, Position};
use muster::clock::{Clock, SystemClock};
use muster::v1::RunStatus;
use muster::v1::collector_message::Kind as Down;
use muster::v1::verdict::Outcome;
use rustix::process::Signal;
use support::collector::{Collector, CollectorOptions, config_path};
use support::fleet::{Fleet, FleetOptions};
use support::raw_agent::{Identity, RawAgent, Refusal, run_finished};
use support::{copy_folder, http, oracle, pause, seeded, wait_until};

const SETTLE: Duration = Duration::from_secs(30);

/// Row B15: who sends a hundred times its quota is throttled, and complete in the end; who keeps its own never notices.
#[test]
fn a_team_far_over_its_quota_is_throttled_and_complete_and_a_quiet_one_notices_nothing() {
    let mut random = seeded("noisy");
    let folder = tempfile::tempdir().unwrap();
    let quota = "[server.limits.team.noisy]\nevents_per_second = 100\n";
    let collector = spawn(folder.path(), quota);
    let (noisy_token, quiet_token) = (create_token(&collector, "noisy"), create_token(&collector, "quiet"));
    let base = SystemClock::new().wall();
    let fleet = |prefix: &str, token: &str| FleetOptions {
        project_prefix: prefix.to_owned(),
        token: Some(token.to_owned()),
        ..FleetOptions::new(4, collector.grpc)
    };
    let mut quiet = Fleet::start(fleet("quiet", &quiet_token), base, &mut random);
    let mut noisy = Fleet::start(
        FleetOptions {
            // 4 agents of 50 events each 20 ms are a hundred times the quota.
            batch_events: 50..=50,
            pause: Duration::from_millis(20),
            ..fleet("noisy", &noisy_token)
        },
        base,
        &mut random,
    );
    pause(Duration::from_secs(6));
    let throttled = noisy.ledgers().map(|l| l.throttled).sum::<u64>();
    let (noisy_acked, quiet_acked) = (noisy.acked(), quiet.acked());
    println!("in 6 s: noisy {noisy_acked} events, {throttled} throttles; quiet {quiet_acked} events");
    assert!(throttled > 0);
    // A burst of 5 s, 6 s of the rate, a batch of each agent into debt, and what a slow machine adds.
    assert!(
        noisy_acked <= 100 * 5 + 100 * 12 + 4 * 50,
        "{noisy_acked} events passed a quota of 100 a second"
    );
    assert!(quiet_acked > noisy_acked / 4, "the quiet team hardly got through: {quiet_acked}");
    let page = collector.page();
    assert!(page.sum("muster_quota_refusals_total", &[("team", "noisy"), ("reason", "team_events")]) > 0.0);
    assert_eq!(page.sum("muster_quota_refusals_total", &[("team", "quiet")]), 0.0);

    // Lifted while running, so that what is left comes through.
    let config = std::fs::read_to_string(config_path(folder.path())).unwrap();
    std::fs::write(config_path(folder.path()), config.replace("second = 100", "second = 1000000")).unwrap();
    collector.process.signal(Signal::HUP);
    for fleet in [&noisy, &quiet] {
        fleet.drain(Duration::from_secs(60));
    }
    assert_eq!(quiet.ledgers().map(|l| l.throttled).sum::<u64>(), 0, "the quiet team was throttled");
    for fleet in [&mut noisy, &mut quiet] {
        fleet.stop();
        oracle::check_fleet_among_others(&collector, fleet);
    }
    let audited = collector.command(&["audit", "--json"]);
    let audited = String::from_utf8(audited.stdout).unwrap();
    assert!(audited.contains("\"configuration_applied\""), "{audited}");
    for token in [&noisy_token, &quiet_token] {
        assert!(!audited.contains(token.as_str()), "a secret in the audit log");
    }
}

#[test]
fn too_many_new_streams_are_told_when_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let collector = spawn(folder.path(), "[server.limits]\nteam_streams_per_second = 1\n");
    let connect = || RawAgent::connect(collector.grpc, &Identity::random());
    // A bucket of five; connecting takes time in which it fills.
    let mut welcomed = 0;
    let retry_after = loop {
        match connect() {
            Ok(_) => welcomed += 1,
            Err(Refusal::Said(said)) => match *said {
                Down::Goodbye(goodbye) => break Duration::from_millis(goodbye.retry_after_ms),
                other => panic!("no goodbye but {other:?}"),
            },
            Err(other) => panic!("no goodbye but {other:?}"),
        }
        assert!(welcomed < 100, "nobody is refused");
    };
    assert!(welcomed >= 5, "the burst was refused after {welcomed}");
    assert!(retry_after >= Duration::from_millis(100) && retry_after < Duration::from_secs(10));
    pause(retry_after);
    let mut agent = connect().expect("welcome when it was told");
    let runs = vec![run_finished("linter", RunStatus::Success)];
    assert_eq!(agent.send("devloop", "p", runs).outcome(), Outcome::Appended);
    let ended = collector.page().sum("muster_server_streams_ended_total", &[("reason", "team_quota")]);
    assert!(ended >= 1.0);
}

/// Row D4 over OTLP, and its quota: a resource that claims to be another team's is its sender's.
#[test]
fn otlp_over_the_quota_is_told_when_to_come_back_and_its_team_is_the_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let collector = spawn(folder.path(), "[server.limits.team.red]\nevents_per_second = 2\n");
    let red = create_token(&collector, "red");
    let claims = ["team", "muster.team", "tenant", "service.namespace"]
        .map(|key| format!(r#"{{"key":"{key}","value":{{"stringValue":"blue"}}}}"#))
        .join(",");
    let body = format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{claims}]}},"scopeLogs":[{{"logRecords":[{{"body":{{"stringValue":"x"}}}}]}}]}}]}}"#
    );
    let bearer = format!("Bearer {red}");
    let headers =
        [("authorization", bearer.as_str()), ("content-type", "application/json"), ("x-muster-team", "blue")];
    let post = || http::post(collector.otlp_http, "/v1/logs", &headers, body.as_bytes());
    let (mut taken, mut limited) = (0_u32, 0);
    for _ in 0..60 {
        let response = post();
        match response.status {
            200 => taken += 1,
            429 => {
                limited += 1;
                let after: u64 = response.header("retry-after").parse().expect("seconds");
                assert!((1..=60).contains(&after), "{after}");
                assert!(response.text().contains("the team's quota of events"), "{}", response.text());
            }
            other => panic!("{other}: {}", response.text()),
        }
    }
    assert!(taken >= 10 && limited > 0, "{taken} taken, {limited} limited");
    // Another team is not held back by it.
    let anonymous = &headers[1..];
    assert_eq!(http::post(collector.otlp_http, "/v1/logs", anonymous, body.as_bytes()).status, 200);
    let (of_red, of_others) = otlp_items(&collector);
    assert_eq!(
        (of_red, of_others),
        (taken, vec![("default".to_owned(), 1)]),
        "items under the sender's team"
    );
    let outcomes = collector.page();
    let count = |outcome| outcomes.sum("muster_otlp_requests_total", &[("outcome", outcome)]);
    assert_eq!((count("accepted"), count("limited")), (f64::from(taken) + 1.0, f64::from(limited)));
}

/// Items of team red, and of each other entry of the journal.
fn otlp_items(collector: &Collector) -> (u32, Vec<(String, u32)>) {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&collector.data_dir().join("journal"), copy.path());
    let clock = Arc::new(SystemClock::new());
    let (journal, _) = Journal::open(Config::new(copy.path()), Arc::new(RealFs), clock).unwrap();
    let (log, _) = JournalStreamLog::open(Arc::new(journal)).unwrap();
    let (mut of_red, mut others) = (0, Vec::new());
    for item in log.read(Position::ZERO) {
        if let StreamItem::Otlp(entry) = item.unwrap() {
            match entry.team.as_str() {
                "red" => of_red += entry.items,
                other => others.push((other.to_owned(), entry.items)),
            }
        }
    }
    (of_red, others)
}

/// Four slow readers of one team: two have the turns that a team may have, two are told to come again, and another team's
/// queries are answered all the while.
#[test]
fn slow_readers_of_one_team_do_not_hold_the_queries_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let collector = spawn(folder.path(), "http_credentials = \"required\"\n");
    let (red, blue) = (create_token(&collector, "red"), create_token(&collector, "blue"));
    // Of red more than lies between a collector and a reader who takes nothing.
    for (token, batches) in [(&red, 60), (&blue, 1)] {
        let mut agent = RawAgent::connect(collector.grpc, &Identity::with_token(token)).unwrap();
        for _ in 0..batches {
            let runs = (0..1_000).map(|_| run_finished("linter", RunStatus::Success)).collect();
            assert_eq!(agent.send("devloop", "p", runs).outcome(), Outcome::Appended);
        }
    }
    let ask = |token: &str, path: &str| {
        let bearer = format!("Bearer {token}");
        http::try_get(collector.http, path, &[("authorization", &bearer)]).expect("an answer in time")
    };
    let rows = "/api/v1/history/runs?format=ndjson&detailed=true";
    wait_until("the history to be open", SETTLE, || ask(&blue, rows).status == 200);
    let slow = [begin(&collector, &red, rows), begin(&collector, &red, rows)];
    assert!(slow.iter().all(|(_, head)| head.starts_with("HTTP/1.1 200")), "{slow:?}");
    for _ in 0..2 {
        let refused = ask(&red, rows);
        assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
        assert!(refused.text().contains("of team red are running already"), "{}", refused.text());
    }
    for path in
        [rows, "/api/v1/history/summary", "/api/v1/history/recent?n=5", "/api/v1/history/runs?limit=5"]
    {
        let began = Instant::now();
        let answer = ask(&blue, path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(began.elapsed() < Duration::from_secs(10), "{path} took {:?}", began.elapsed());
        assert!(!answer.text().contains("\"red\""), "{path}");
    }
    assert_eq!(ask(&blue, rows).text().lines().count(), 1_000);
    assert_eq!(ask(&red, rows).status, 503, "the slow ones are at it still");
    drop(slow);
    wait_until("their turns to be free", SETTLE, || ask(&red, "/api/v1/history/runs?limit=1").status == 200);
}

/// Asks, and reads the head of the answer and no more.
fn begin(collector: &Collector, token: &str, path: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(collector.http).unwrap();
    stream.set_read_timeout(Some(SETTLE)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: collector\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    (stream, String::from_utf8(answer).unwrap())
}

fn spawn(folder: &std::path::Path, limits: &str) -> Collector {
    Collector::spawn(folder, CollectorOptions { config: limits.to_owned(), ..CollectorOptions::default() })
}

fn create_token(collector: &Collector, team: &str) -> String {
    let output = collector.command(&["token", "create", "--team", team]);
    let said = String::from_utf8(output.stdout).unwrap();
    let token = said.split_whitespace().find(|word| word.starts_with("mst_")).expect("a token").to_owned();
    wait_until("the token to be known", SETTLE, || {
        RawAgent::connect(collector.grpc, &Identity::with_token(&token)).is_ok()
    });
    token
}
