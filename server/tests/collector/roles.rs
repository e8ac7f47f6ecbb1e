//! What each role may do at each door (docs/enrolment.md).

use std::path::Path;

use muster::clock::WallTime;
use muster::credential::{Token, TokenKind};
use server::credentials::{Scope, TokenFile};
use server::figures::Refusal;
use server::serve::Server;

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::pki::{Client, Pki, SERIAL};
use crate::support::{Agent, DANA, PATIENCE, Who, ask, ask_over, channel, start};

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

/// Who shows a certificate, and perhaps a token with it.
struct Certified {
    name: &'static str,
    client: Client,
    token: Option<String>,
    /// The answer of the ports for telemetry; `None`: its handshake fails.
    sends: Option<u16>,
    reads: (u16, u16),
}

const READER: &str = "prometheus.monitoring.svc";
const READER_OF_RED: &str = "spiffe://cluster.local/ns/red/sa/prometheus";
const AGENT: &str = "muster://red/agent/07070707070707070707070707070707";

fn certified(pki: &Pki) -> Vec<Certified> {
    let dir = pki.data();
    let (red, operator) =
        (keep(&dir, 1, Scope::Team("red".parse().expect("team"))), keep(&dir, 3, Scope::Operator));
    let enrolled = pki.own.issue(AGENT);
    let record = serde_json::json!({
        // As an older collector kept it: by the serial number alone, which every certificate of these authorities has.
        "id": AGENT.rsplit('/').next(), "team": "red", "name": "laptop", "enrolled_us": 1, "serial": SERIAL,
        "not_after_us": u64::MAX / 2,
        "token_id": Token::parse(&red).expect("a token").id(),
    });
    let agents = serde_json::json!({ "version": 1, "agents": [record] }).to_string();
    pki.write("data/agents.json", &agents, muster::atomic_file::Access::Owner);
    let of = |name, client, sends, reads| Certified { name, client, token: None, sends, reads };
    let theirs = |name| pki.scrapers.issue(name);
    vec![
        of("a reader of everything", theirs(READER), None, (200, 200)),
        of("a reader of red", theirs(READER_OF_RED), None, (200, 403)),
        of("one that is not listed", theirs("other.example"), None, (401, 401)),
        of("one that forges an agent's name", theirs(AGENT), None, (401, 401)),
        of("an agent", enrolled, Some(200), (403, 403)),
        of("one of the agents' authority with a listed name", pki.own.issue(READER), Some(401), (401, 401)),
        Certified {
            token: Some(red.clone()),
            ..of("a reader of everything with red's token", theirs(READER), None, (200, 403))
        },
        Certified {
            token: Some(operator),
            ..of("one that is not listed, with an operator's token", theirs("x.example"), None, (200, 200))
        },
        Certified {
            token: Some(Token::from_random([9; 44]).expose().to_owned()),
            ..of("a reader with a wrong token", theirs(READER), None, (401, 401))
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_certificate_passes_the_doors_of_its_role_and_a_token_goes_before_it() {
    let pki = Pki::new();
    let all = certified(&pki);
    let server = pki.start(&[(READER, "operator = true"), (READER_OF_RED, "team = \"red\"")]).await;
    for Certified { name, client, token, sends, reads } in &all {
        let header = token.as_ref().map(|token| format!("authorization: Bearer {token}\r\n"));
        for (page, is_of_no_team) in PAGES {
            let wanted = if is_of_no_team { reads.1 } else { reads.0 };
            let asked =
                pki.ask(server.http_address, Some(client), page, header.as_deref().unwrap_or_default());
            let got = asked.await.expect("an answer");
            assert_eq!(got.status, wanted, "{name} at {page}: {}", String::from_utf8_lossy(&got.body));
        }
        if token.is_some() {
            continue;
        }
        let identity = Identity::from_pem(&client.pem, &client.key_pem);
        let tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pki.own.pem())).identity(identity);
        let endpoint = Endpoint::from_shared(format!("https://{}", server.grpc_address)).expect("uri");
        let connected = endpoint.tls_config(tls.domain_name("localhost")).expect("tls").connect().await;
        let opened = match connected {
            Ok(channel) => Agent::open(channel, None).await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(opened, *sends == Some(200), "{name} at the stream");
        let otlp = server.otlp_http_address.expect("on");
        let head = "content-type: application/x-protobuf\r\ncontent-length: 0\r\n";
        let sent = match pki.connect(otlp, Some(client)).await {
            Ok(stream) => ask_over(stream, "POST", "/v1/logs", head).await.ok().map(|got| got.status),
            Err(_) => None,
        };
        assert_eq!(sent, *sends, "{name} at OTLP");
        let refused = || server.figures.connections_refused.value(Refusal::Handshake);
        let before = refused();
        if let Ok(stream) = pki.connect(server.grpc_address, Some(client)).await {
            // What it says is no HTTP/2; that it may say it is what matters.
            drop(ask_over(stream, "GET", "/", "").await);
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while sends.is_none() && refused() == before {
            assert!(tokio::time::Instant::now() < deadline, "{name} gets through a handshake at gRPC");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(refused() - before, u64::from(sends.is_none()), "{name} at gRPC");
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
