//! Enrolment, certificates, revocation and the authority over real processes (reliability.md rows D1, D2, D4).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a test")]

#[path = "enrolment/forged.rs"]
mod forged;
#[path = "enrolment/peer.rs"]
mod peer;
#[path = "enrolment/real_agent.rs"]
mod real_agent;
#[path = "enrolment/repeated.rs"]
mod repeated;
mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use peer::{Machine, NAME, Stream, channel, refused_in_handshake, served, status_of};
use rustls::AlertDescription;
use serde_json::Value;
use support::canary::find_in_folder;
use support::collector::{Collector, CollectorOptions, config_path, muster};
use tonic::Code;

const SETTLE: Duration = Duration::from_secs(20);

fn collector(folder: &Path, certificate_seconds: u64) -> (Collector, String) {
    let config = format!(
        "[server.tls]\nnames = [\"{NAME}\"]\n[server.authority]\ncertificate_seconds = {certificate_seconds}\n"
    );
    let collector = Collector::spawn(folder, CollectorOptions { config, ..Default::default() });
    let ca = said(&collector, &["authority", "show", "--pem"]);
    (collector, ca)
}

/// What a command prints; it must succeed.
#[track_caller]
fn said(collector: &Collector, arguments: &[&str]) -> String {
    let output = collector.command(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn token(collector: &Collector, more: &[&str]) -> String {
    said(collector, &[&["token", "create", "--team", "red"], more].concat()).trim().to_owned()
}

fn agents(collector: &Collector) -> Vec<Value> {
    serde_json::from_str(&said(collector, &["agents", "list", "--json"])).unwrap()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

/// Waits for something that the collector does by itself.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < SETTLE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_token_enrols_as_often_as_it_may_and_every_wrong_one_has_the_same_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, ca) = collector(folder.path(), 3_600);
    let good = token(&collector, &["--enroll", "--name", "for dana"]);
    assert!(good.starts_with("mst_enr_"), "{good}");
    let (of_team, of_agent) = (token(&collector, &[]), token(&collector, &["--role", "agent"]));
    let revoked = token(&collector, &["--enroll"]);
    let id = muster::credential::Token::parse(&revoked).unwrap().id().to_string();
    said(&collector, &["token", "revoke", &id]);
    let expired = token(&collector, &["--enroll", "--ttl", "1s"]);
    std::thread::sleep(Duration::from_millis(1_100));
    run(async {
        // Made a moment ago, and known already.
        let mut dana = Machine::new(1);
        let issued = dana.enrol(collector.grpc, &ca, &good).await.unwrap();
        assert_eq!((issued.team.as_str(), issued.collector_is_of_authority), ("red", true));
        assert!(issued.not_before_us < issued.not_after_us);
        let mut stream = dana.stream(collector.grpc, &ca).await.unwrap();
        assert_eq!(stream.team, "red");
        stream.send().await.unwrap();

        let mut words = std::collections::BTreeSet::new();
        let cut = &good[..good.len() - 1];
        for wrong in [&good, &of_team, &of_agent, &revoked, &expired, cut, "mst_enr_", ""] {
            let refused = Machine::new(2).enrol(collector.grpc, &ca, wrong).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
            words.insert(refused.message().to_owned());
        }
        assert_eq!(words.len(), 1, "the words tell why: {words:?}");
        // And an enrolment token opens no stream.
        let unused = token(&collector, &["--enroll"]);
        let plain = channel(collector.grpc, &ca, None).await.unwrap();
        let refused = Stream::open(plain, [9; 16], Some(&unused)).await.err().unwrap();
        assert_eq!(refused.code(), Code::Unauthenticated);
        for secret in [&good, &unused] {
            assert_eq!(find_in_folder(&collector.data_dir(), secret), None, "a secret is on disk");
            assert!(!collector.process.log().contains(secret.as_str()));
        }
    });
    let known = agents(&collector);
    assert_eq!(known.len(), 1, "{known:?}");
    assert_eq!((&known[0]["name"], &known[0]["state"]), (&"laptop-1".into(), &"valid".into()));
    let tokens: Vec<Value> = serde_json::from_str(&said(&collector, &["token", "list", "--json"])).unwrap();
    let used = tokens.iter().find(|token| token["name"] == "for dana").unwrap();
    assert_eq!((&used["uses_left"], &used["role"]), (&0.into(), &"enrolment".into()));
    let page = collector.page();
    assert_eq!(page.sum("muster_server_enrolments_total", &[("outcome", "enrolled")]), 1.0);
    assert_eq!(page.sum("muster_server_enrolments_total", &[("outcome", "refused")]), 8.0);
}

#[test]
fn machines_that_enrol_at_once_get_no_more_certificates_than_the_token_has_uses() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, ca) = collector(folder.path(), 3_600);
    let shared = token(&collector, &["--enroll", "--uses", "5"]);
    let enrolled = run(async {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..12 {
            let (at, ca, shared) = (collector.grpc, ca.clone(), shared.clone());
            tasks.spawn(async move { Machine::new(n + 1).enrol(at, &ca, &shared).await.is_ok() });
        }
        tasks.join_all().await.into_iter().filter(|is_enrolled| *is_enrolled).count()
    });
    assert_eq!((enrolled, agents(&collector).len()), (5, 5));
}

#[test]
fn a_request_that_is_not_signed_by_its_key_is_refused_and_costs_no_use() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, ca) = collector(folder.path(), 3_600);
    let once = token(&collector, &["--enroll"]);
    run(async {
        let mut machine = Machine::new(1);
        let mut forged = machine.request();
        *forged.last_mut().unwrap() ^= 1;
        for wrong in [forged, vec![0; 5_000], vec![0; 20_000], Vec::new()] {
            let plain = channel(collector.grpc, &ca, None).await.unwrap();
            let refused = machine.enrol_with(plain, &once, wrong).await.unwrap_err();
            assert!(matches!(refused.code(), Code::InvalidArgument | Code::OutOfRange), "{refused:?}");
        }
        machine.enrol(collector.grpc, &ca, &once).await.expect("the use is still there");
    });
}

#[test]
fn an_agent_is_whom_its_certificate_says_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, ca) = collector(folder.path(), 3_600);
    let shared = token(&collector, &["--enroll", "--uses", "2"]);
    run(async {
        let (mut dana, mut kim) = (Machine::new(1), Machine::new(2));
        dana.enrol(collector.grpc, &ca, &shared).await.unwrap();
        kim.enrol(collector.grpc, &ca, &shared).await.unwrap();
        let as_kim = dana.connect(collector.grpc, &ca).await.unwrap();
        let refused = Stream::open(as_kim, kim.agent, None).await.err().unwrap();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        let mut as_self = dana.stream(collector.grpc, &ca).await.unwrap();
        as_self.send().await.unwrap();
    });
    assert!(collector.process.log().contains("says that it is one that it is not"));
    let audit = said(&collector, &["audit", "--json"]);
    let lines: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |what: &str| lines.iter().filter(|line| line["what"] == what).count();
    assert_eq!((count("enrolled"), count("token_created")), (2, 1), "{audit}");
    let refused =
        lines.iter().find(|line| line["what"] == "identity_refused").expect("it is in the audit log");
    assert_eq!((&refused["agent"], &refused["said"]), (&"01".repeat(16).into(), &"02".repeat(16).into()));
    let page = collector.page();
    assert_eq!(page.sum("muster_server_streams_ended_total", &[("reason", "identity")]), 1.0);
}

#[test]
fn a_revoked_agent_is_cut_off_within_five_seconds_and_stays_out() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, ca) = collector(folder.path(), 3_600);
    let shared = token(&collector, &["--enroll", "--uses", "4"]);
    run(async {
        let (mut dana, mut kim) = (Machine::new(1), Machine::new(2));
        dana.enrol(collector.grpc, &ca, &shared).await.unwrap();
        kim.enrol(collector.grpc, &ca, &shared).await.unwrap();
        let mut cut = dana.stream(collector.grpc, &ca).await.unwrap();
        let mut kept = kim.stream(collector.grpc, &ca).await.unwrap();
        let open = dana.connect(collector.grpc, &ca).await.unwrap();

        let wrong = collector.command(&["agents", "revoke", "laptop1"]);
        assert!(!wrong.status.success());
        let words = String::from_utf8_lossy(&wrong.stderr).into_owned();
        assert!(words.contains("did you mean `laptop-1`?"), "{words}");

        let revoked_at = Instant::now();
        said(&collector, &["agents", "revoke", "laptop-1"]);
        assert_eq!(cut.end().await.code(), Code::Unauthenticated);
        println!("the stream ended {:?} after the revocation", revoked_at.elapsed());
        assert!(revoked_at.elapsed() < Duration::from_secs(5), "{:?}", revoked_at.elapsed());
        kept.send().await.expect("nobody else is cut");

        // On a connection that was open before, and on a new one.
        let again = Stream::open(open.clone(), dana.agent, None).await.err().unwrap();
        assert_eq!(again.code(), Code::Unauthenticated);
        assert_eq!(dana.stream(collector.grpc, &ca).await.err().unwrap().code(), Code::Unauthenticated);
        assert_eq!(dana.renew(open).await.unwrap_err().code(), Code::Unauthenticated);
        let refused = dana.enrol(collector.grpc, &ca, &shared).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        // That took no use: two are left.
        Machine::new(3).enrol(collector.grpc, &ca, &shared).await.unwrap();
        kim.enrol(collector.grpc, &ca, &shared).await.expect("an agent may enrol again");
    });
    assert_eq!(agents(&collector).len(), 3);
    said(&collector, &["agents", "rename", "laptop-2", "kim's"]);
    assert!(said(&collector, &["agents", "show", "kim's"]).contains("laptop-2"));
}

#[test]
fn a_certificate_that_has_ended_is_refused_and_one_that_is_renewed_keeps_its_stream() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, ca) = collector(folder.path(), 6);
    let shared = token(&collector, &["--enroll", "--uses", "2"]);
    run(async {
        let (mut lazy, mut busy) = (Machine::new(1), Machine::new(2));
        lazy.enrol(collector.grpc, &ca, &shared).await.unwrap();
        busy.enrol(collector.grpc, &ca, &shared).await.unwrap();
        let mut ends = lazy.stream(collector.grpc, &ca).await.unwrap();
        let mut stays = busy.stream(collector.grpc, &ca).await.unwrap();
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            busy.renew(busy.connect(collector.grpc, &ca).await.unwrap()).await.expect("renewed");
            stays.send().await.expect("goes on");
        }
        assert_eq!(ends.end().await.code(), Code::Unauthenticated);
        let refused = refused_in_handshake(collector.grpc, &ca, &lazy).await;
        assert_eq!(refused, rustls::Error::AlertReceived(AlertDescription::CertificateExpired));
        stays.send().await.unwrap();
        busy.stream(collector.grpc, &ca).await.expect("with its newest");
    });
}

#[test]
fn the_collectors_own_certificate_is_renewed_while_a_stream_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let (collector, ca) = collector(folder.path(), 4);
    let of_team = token(&collector, &[]);
    run(async {
        let first = served(collector.grpc, &ca).await;
        let plain = channel(collector.grpc, &ca, None).await.unwrap();
        let mut stream = Stream::open(plain, [1; 16], Some(&of_team)).await.unwrap();
        until("another certificate", async || {
            stream.send().await.unwrap();
            served(collector.grpc, &ca).await != first
        })
        .await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        stream.send().await.expect("the first has ended, and the stream goes on");
        served(collector.grpc, &ca).await;
        assert_eq!(collector.page().sum("muster_server_streams_ended_total", &[]), 0.0);
    });
}

#[test]
fn a_rotated_authority_takes_old_and_new_certificates_and_is_trusted_by_who_knows_only_the_old() {
    let folder = tempfile::tempdir().unwrap();
    let (mut collector, old_ca) = collector(folder.path(), 3_600);
    let shared = token(&collector, &["--enroll", "--uses", "2"]);
    let new_ca = run(async {
        let (mut dana, mut kim) = (Machine::new(1), Machine::new(2));
        dana.enrol(collector.grpc, &old_ca, &shared).await.unwrap();
        let mut stream = dana.stream(collector.grpc, &old_ca).await.unwrap();
        let before = served(collector.grpc, &old_ca).await;
        let told = said(&collector, &["authority", "rotate"]);
        assert!(told.contains("stays trusted until"), "{told}");
        let new_ca = said(&collector, &["authority", "show", "--pem"]);
        assert_ne!(new_ca, old_ca);
        until("the new authority", async || served(collector.grpc, &old_ca).await != before).await;

        stream.send().await.expect("the open stream goes on");
        dana.stream(collector.grpc, &old_ca).await.expect("an old certificate that knows only the old one");
        kim.enrol(collector.grpc, &new_ca, &shared).await.expect("a new one that knows only the new one");
        kim.stream(collector.grpc, &new_ca).await.expect("a new certificate");
        dana.renew(dana.connect(collector.grpc, &old_ca).await.unwrap()).await.expect("renewed");
        assert_eq!(dana.issued.as_ref().unwrap().authorities_der.len(), 2, "it learns the new one");
        dana.stream(collector.grpc, &new_ca).await.expect("and trusts it");
        new_ca
    });
    collector.restart();
    run(async {
        for ca in [&old_ca, &new_ca] {
            served(collector.grpc, ca).await;
        }
    });
}

#[test]
fn a_key_of_the_authority_that_others_can_read_keeps_the_collector_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let (mut collector, _) = collector(folder.path(), 3_600);
    collector.process.kill9();
    let kept = collector.data_dir().join("authority/authority.json");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = muster().args(["serve", "--config"]).arg(config_path(folder.path())).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && words.contains("chmod 600"), "{output:?}");
    assert!(!words.contains("PRIVATE KEY"), "{words}");
}

#[test]
fn an_agents_certificate_reads_nothing_and_a_token_reads_behind_tls() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[server.tls]\nnames = [\"{NAME}\"]\n");
    // Others could reach the pages, so that they are behind TLS.
    let environment = vec![("MUSTER_HTTP_LISTEN".to_owned(), "0.0.0.0:0".to_owned())];
    let collector =
        Collector::spawn(folder.path(), CollectorOptions { config, environment, ..Default::default() });
    let ca = said(&collector, &["authority", "show", "--pem"]);
    let (once, of_team) = (token(&collector, &["--enroll"]), token(&collector, &[]));
    let operator = said(&collector, &["token", "create", "--operator"]).trim().to_owned();
    run(async {
        let mut dana = Machine::new(1);
        dana.enrol(collector.grpc, &ca, &once).await.unwrap();
        for (who, path, token, wanted) in [
            (None, "/healthz", None, 200),
            (None, "/metrics", None, 401),
            (None, "/metrics", Some(&of_team), 200),
            (None, "/api/v1/destinations", Some(&of_team), 403),
            (None, "/api/v1/destinations", Some(&operator), 200),
            (Some(&dana), "/metrics", None, 403),
            (Some(&dana), "/api/v1/agents", None, 403),
            (Some(&dana), "/api/v1/history/runs", None, 403),
            (Some(&dana), "/api/v1/agents", Some(&of_team), 200),
            (Some(&dana), "/healthz", None, 200),
        ] {
            let token = token.map(String::as_str);
            let got = status_of(collector.http, &ca, who, path, token).await;
            assert_eq!(got, wanted, "{path} with certificate {} and {token:?}", who.is_some());
        }
        said(&collector, &["agents", "revoke", "laptop-1"]);
        until("the revocation", async || {
            status_of(collector.http, &ca, Some(&dana), "/metrics", None).await == 401
        })
        .await;
    });
}

#[test]
fn without_tls_nobody_is_enrolled_and_the_use_stays() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::spawn(folder.path(), CollectorOptions::default());
    let once = token(&collector, &["--enroll"]);
    run(async {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", collector.grpc)).unwrap();
        let mut machine = Machine::new(1);
        let request = machine.request();
        let plain = endpoint.connect().await.unwrap();
        let refused = machine.enrol_with(plain, &once, request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("[server.tls]"), "{refused:?}");
    });
    let tokens: Vec<Value> = serde_json::from_str(&said(&collector, &["token", "list", "--json"])).unwrap();
    assert_eq!(tokens[0]["uses_left"], 1);
}
