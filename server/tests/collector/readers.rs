//! Reading the pages with a certificate of the operator's own authority (docs/enrolment.md).

use std::time::Duration;

use muster::atomic_file::Access;
use server::figures::{CredentialRefusal, Refusal, Reload};
use server::serve::StartError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pki::{Ca, Pki, write_config};
use crate::process::{Process, output, text};
use crate::support::PATIENCE;

const NAME: &str = "prometheus.monitoring.svc";
const OPERATOR: (&str, &str) = (NAME, "operator = true");

/// Waits until something is so.
async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "{what} in vain");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_ended_or_not_begun_or_is_anybodys_ends_in_the_handshake() {
    let pki = Pki::new();
    let server = pki.start(&[OPERATOR]).await;
    let at = server.http_address;
    assert_eq!(pki.status(at, Some(&pki.scrapers.issue(NAME))).await, 200);
    let refused = || server.figures.connections_refused.value(Refusal::Handshake);
    let strangers = Ca::new("strangers");
    let bad =
        [pki.scrapers.issue_for(NAME, (-2, -1)), pki.scrapers.issue_for(NAME, (1, 2)), strangers.issue(NAME)];
    for (n, client) in bad.iter().enumerate() {
        let before = refused();
        let answer = pki.ask(at, Some(client), "/metrics", "").await;
        assert!(answer.is_err(), "{n} got an answer");
        wait_until("counted", async || refused() == before + 1).await;
    }
    assert_eq!(pki.status(at, None).await, 401, "who shows nothing has an answer");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_listed_has_the_answer_of_all_refusals_and_is_counted_and_audited() {
    let pki = Pki::new();
    let server = pki.start(&[OPERATOR]).await;
    let at = server.http_address;
    let answer = pki.ask(at, Some(&pki.scrapers.issue("other.example")), "/metrics", "").await.expect("one");
    let wrong = "authorization: Bearer mst_agt_none\r\n";
    let as_ever = pki.ask(at, None, "/metrics", wrong).await.expect("one");
    assert_eq!((answer.status, &answer.body), (as_ever.status, &as_ever.body));
    assert_eq!(server.figures.credentials_refused.value(CredentialRefusal::Unknown), 1);
    let reader = pki.scrapers.issue(NAME);
    let rows = pki.ask(at, Some(&reader), "/api/v1/history/runs?format=csv", "").await.expect("an answer");
    assert_eq!(rows.status, 200);
    server.stop().await;
    let told = std::fs::read_to_string(pki.path("data/audit.jsonl")).expect("an audit log");
    let line = |what: &str| told.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{told}"));
    let refused = line("credential_refused");
    assert!(refused.contains("\"reader\":\"other.example\"") && refused.contains("\"unknown\""), "{refused}");
    assert!(line("export_begun").contains(&format!("\"reader\":{NAME:?}")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_out_reads_nothing_more_on_connections_that_are_open_too() {
    let pki = Pki::new();
    let mut server = pki.start(&[OPERATOR]).await;
    let (at, reader) = (server.http_address, pki.scrapers.issue(NAME));
    let follow = "/api/v1/history/recent?follow=true";
    // Once the history is open.
    pki.ask(at, Some(&reader), "/api/v1/history/recent", "").await.expect("an answer");
    let mut kept = pki.connect(at, Some(&reader)).await.expect("connects");
    let mut followed = pki.connect(at, Some(&reader)).await.expect("connects");
    for (stream, path) in [(&mut kept, "/api/v1/agents"), (&mut followed, follow)] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut some = [0; 4_096];
        let got = stream.read(&mut some).await.expect("an answer");
        assert!(some[..got].starts_with(b"HTTP/1.1 200"), "{path}: {}", text(&some[..got]));
    }
    server.reload(pki.config(&[("other.example", "operator = true")])).expect("applied");
    // The next request has no answer that shows anything: the connection ends, or it is refused.
    let _ = kept.write_all(b"GET /api/v1/agents HTTP/1.1\r\nhost: x\r\n\r\n").await;
    for stream in [&mut kept, &mut followed] {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "still open after 5 s");
        assert!(!text(&rest).contains("HTTP/1.1 200"), "{}", text(&rest));
    }
    assert_eq!(pki.status(at, Some(&reader)).await, 401);
    // What it reads may change as well; and the whole authority may go and come.
    server.reload(pki.config(&[(NAME, "team = \"red\"")])).expect("applied");
    let page = |path| pki.ask(at, Some(&reader), path, "");
    assert_eq!(page("/api/v1/agents").await.expect("an answer").status, 200);
    assert_eq!(page("/api/v1/destinations").await.expect("an answer").status, 403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_certificate_has_opened_ends_with_it() {
    let pki = Pki::new();
    let server = pki.start(&[OPERATOR]).await;
    let at = server.http_address;
    pki.ask(at, Some(&pki.scrapers.issue(NAME)), "/api/v1/history/recent", "").await.expect("an answer");
    let ends_soon = pki.scrapers.issue_within(NAME, (-60, 3));
    let [mut followed, mut idle] = [
        pki.connect(at, Some(&ends_soon)).await.expect("connects"),
        pki.connect(at, Some(&ends_soon)).await.expect("connects"),
    ];
    let mut some = [0; 12];
    for (stream, path) in [(&mut followed, "/api/v1/history/recent?follow=true"), (&mut idle, "/readyz")] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream.read_exact(&mut some).await.expect("an answer");
        assert_eq!(&some, b"HTTP/1.1 200", "{path}");
    }
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, followed.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the stream is open still");
    // Who has read nothing is not cut off, and reads nothing from now on.
    idle.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
    idle.read_to_end(&mut rest).await.expect("an answer");
    assert!(text(&rest).contains("HTTP/1.1 401"), "{}", text(&rest));
    assert_eq!(server.figures.credentials_refused.value(CredentialRefusal::Expired), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_authority_is_followed_and_a_broken_file_leaves_the_one_before() {
    let pki = Pki::new();
    let mut server = pki.start(&[OPERATOR]).await;
    let (at, old) = (server.http_address, pki.scrapers.issue(NAME));
    let reloads = |what| server.figures.reloads.value(what);
    pki.write("scrapers.pem", "words", Access::Umask);
    wait_until("told", async || reloads(Reload::HttpClientCaRefused) == 1).await;
    assert_eq!(pki.status(at, Some(&old)).await, 200);
    let next = Ca::new("next");
    pki.write("scrapers.pem", &next.pem(), Access::Umask);
    wait_until("taken", async || reloads(Reload::HttpClientCaApplied) == 1).await;
    assert_eq!(pki.status(at, Some(&next.issue(NAME))).await, 200);
    assert!(pki.ask(at, Some(&old), "/metrics", "").await.is_err(), "the old authority is trusted still");
    // A configuration with a file that is none changes nothing.
    let refused = {
        let config = pki.config(&[]);
        pki.write("scrapers.pem", "words", Access::Umask);
        server.reload(config).expect_err("no authority").to_string()
    };
    assert!(refused.starts_with("server.http_client_ca_file: ") && refused.contains("in PEM"), "{refused}");
    assert_eq!(pki.status(at, Some(&next.issue(NAME))).await, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_authorities_that_is_not_there_keeps_the_collector_from_starting_and_check_config_says_it()
{
    let pki = Pki::new();
    let path = write_config(pki.dir.path(), &pki.text(&[OPERATOR]));
    let path = path.to_str().expect("text");
    assert_eq!(output(&["check-config", path]).status.code(), Some(0));
    std::fs::remove_file(pki.path("scrapers.pem")).expect("there");
    let clock = std::sync::Arc::new(muster::clock::SystemClock::new());
    let started = server::serve::Server::start(pki.config(&[OPERATOR]), clock).await;
    assert!(matches!(started.err(), Some(StartError::Tls(_))));
    let checked = output(&["check-config", path]);
    let said = text(&checked.stderr);
    assert_eq!(checked.status.code(), Some(3), "{said}");
    assert!(
        said.contains("server.http_client_ca_file: cannot read ") && said.contains("scrapers.pem"),
        "{said}"
    );
    pki.write("scrapers.pem", &pki.scrapers.pem(), Access::Umask);
    write_config(pki.dir.path(), &pki.text(&[]));
    let checked = output(&["check-config", path]);
    let said = text(&checked.stderr);
    assert!(checked.status.success() && said.contains("nobody reads with a certificate"), "{said}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_lets_a_reader_in_and_out_as_its_configuration_says_at_sighup() {
    let pki = Pki::new();
    let collector = Process::start(&write_config(pki.dir.path(), &pki.text(&[OPERATOR])));
    let (at, reader) = (collector.http, pki.scrapers.issue(NAME));
    assert_eq!(pki.status(at, Some(&reader)).await, 200);
    for (readers, wanted) in [(&[][..], 401), (&[OPERATOR][..], 200)] {
        write_config(pki.dir.path(), &pki.text(readers));
        collector.signal("HUP");
        wait_until("reloaded", async || pki.status(at, Some(&reader)).await == wanted).await;
    }
}
