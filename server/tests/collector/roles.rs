//! What each role may do at each door (docs/enrolment.md).

use std::path::Path;

use muster::clock::WallTime;
use muster::credential::{Token, TokenKind};
use server::credentials::{Scope, TokenFile};
use server::serve::Server;

use crate::support::{Agent, DANA, Who, ask, channel, start};

/// A reader's doors, and whether they are of no team: for operators alone.
const PAGES: [(&str, bool); 8] = [
    ("/metrics", false),
    ("/api/v1/agents", false),
    ("/api/v1/sessions", false),
    ("/api/v1/runs", false),
    ("/api/v1/history/runs", false),
    ("/api/v1/history/runs?format=csv", false),
    ("/api/v1/history/summary", false),
    ("/api/v1/destinations", true),
];

struct Role {
    name: &'static str,
    token: Option<String>,
    sends: bool,
    /// The answer of a page, and of one that is of no team.
    reads: (u16, u16),
}

fn keep(dir: &Path, seed: u8, scope: Scope) -> String {
    let kind = if matches!(scope, Scope::Enrolment(_)) { TokenKind::Enrolment } else { TokenKind::Access };
    let token = Token::of_kind(kind, std::array::from_fn(|n| (n as u8).wrapping_mul(7).wrapping_add(seed)));
    TokenFile::edit(dir).expect("free").add(&token, scope, WallTime(1)).expect("written");
    token.expose().to_owned()
}

fn roles(dir: &Path, anonymous: bool) -> Vec<Role> {
    let red = || "red".parse().expect("team");
    let known =
        |name, seed, scope, sends, reads| Role { name, token: Some(keep(dir, seed, scope)), sends, reads };
    let wrong = Token::from_random([9; 44]).expose().to_owned();
    vec![
        known("team", 1, Scope::Team(red()), true, (200, 403)),
        known("agent", 2, Scope::Agent(red()), true, (403, 403)),
        known("operator", 3, Scope::Operator, false, (200, 200)),
        known("enrolment", 4, Scope::Enrolment(red()), false, (401, 401)),
        Role { name: "unknown", token: Some(wrong), sends: false, reads: (401, 401) },
        Role {
            name: "nobody",
            token: None,
            // A loopback listener takes from nobody what it is given; the pages were told to ask.
            sends: true,
            reads: if anonymous { (200, 200) } else { (401, 401) },
        },
    ]
}

async fn check(server: &Server, roles: &[Role]) {
    for (n, role) in roles.iter().enumerate() {
        let name = role.name;
        let header = role.token.as_ref().map(|token| format!("authorization: Bearer {token}\r\n"));
        let header = header.unwrap_or_default();
        for (page, is_of_no_team) in PAGES {
            let wanted = if is_of_no_team { role.reads.1 } else { role.reads.0 };
            let mut got = ask(server.http_address, "GET", page, &header).await;
            while got.status == 503 {
                // The history is still being opened.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                got = ask(server.http_address, "GET", page, &header).await;
            }
            assert_eq!(got.status, wanted, "{name} at {page}: {}", String::from_utf8_lossy(&got.body));
        }
        let who = Who { agent: n as u8 + 1, ..DANA };
        let streams = match Agent::open(channel(server.grpc_address).await, role.token.as_deref()).await {
            Ok(mut agent) => {
                let team = agent.hello(who).await.team;
                assert_eq!(team, if role.token.is_some() { "red" } else { "default" }, "{name}");
                true
            }
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::Unauthenticated, "{name}");
                false
            }
        };
        assert_eq!(streams, role.sends, "{name} at the stream");
        let otlp = server.otlp_http_address.expect("on");
        let head = format!("{header}content-type: application/x-protobuf\r\ncontent-length: 0\r\n");
        for path in ["/v1/logs", "/v1/metrics", "/v1/traces"] {
            let got = ask(otlp, "POST", path, &head).await;
            assert_eq!(got.status, if role.sends { 200 } else { 401 }, "{name} at OTLP {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_passes_its_own_doors_and_no_other_on_loopback() {
    let dir = tempfile::tempdir().expect("folder");
    let roles = roles(dir.path(), true);
    let server = start(dir.path(), "").await;
    check(&server, &roles).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_require_a_credential_show_nothing_to_nobody_and_the_rest_to_its_role() {
    let dir = tempfile::tempdir().expect("folder");
    let roles = roles(dir.path(), false);
    let server = start(dir.path(), "[server]\nhttp_credentials = \"required\"\n").await;
    check(&server, &roles).await;
    for open in ["/healthz", "/readyz"] {
        assert_eq!(ask(server.http_address, "GET", open, "").await.status, 200, "{open}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxys_own_credential_is_no_matter_at_an_open_page() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    for header in ["authorization: Basic eDp5\r\n", "authorization: Bearer eyJhbGciOi.x.y\r\n"] {
        assert_eq!(ask(server.http_address, "GET", "/api/v1/agents", header).await.status, 200, "{header}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_follows_is_cut_off_when_its_token_is_revoked() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let dir = tempfile::tempdir().expect("folder");
    let token = keep(dir.path(), 1, Scope::Team("red".parse().expect("team")));
    let server = start(dir.path(), "").await;
    let mut stream = tokio::net::TcpStream::connect(server.http_address).await.expect("connects");
    let header = format!("authorization: Bearer {token}\r\n");
    let recent = "/api/v1/history/recent";
    while ask(server.http_address, "GET", recent, &header).await.status == 503 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let request = format!("GET {recent}?follow=true HTTP/1.1\r\nhost: x\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
    let id = Token::parse(&token).expect("a token").id().to_string();
    TokenFile::edit(dir.path()).expect("free").revoke(&id, WallTime(2)).expect("known");
    let mut rest = Vec::new();
    // Whether the end comes as an error is the system's choice.
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "still open after 5 s");
    server.stop().await;
}
