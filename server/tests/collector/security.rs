//! Credentials and certificates (reliability.md D1, D2).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster::atomic_file::{Access, replace};
use muster::clock::{SystemClock, WallTime};
use muster::credential::Token;
use muster::v1::verdict::Outcome;
use server::config::{Config, Overrides};
use server::credentials::{Scope, TokenFile};
use server::figures::{CredentialRefusal, Reload};
use server::serve::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::support::{Agent, DANA, channel, start, wait_for_sum};

fn token(dir: &Path, seed: u8, team: &str) -> Token {
    let token = Token::from_random(std::array::from_fn(|n| (n as u8).wrapping_mul(7).wrapping_add(seed)));
    let file = TokenFile::edit(dir).expect("free");
    file.add(&token, Scope::Team(team.parse().expect("team")), WallTime(1)).expect("written");
    token
}

async fn stream(server: &Server, token: &str) -> Result<Agent, tonic::Status> {
    Agent::open(channel(server.grpc_address).await, Some(token)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_team_comes_from_the_token_and_every_wrong_token_has_the_same_answer() {
    let dir = tempfile::tempdir().expect("folder");
    let (good, revoked) = (token(dir.path(), 1, "red"), token(dir.path(), 2, "red"));
    TokenFile::edit(dir.path()).expect("free").revoke(revoked.id().as_str(), WallTime(2)).expect("known");
    let unknown = Token::from_random([9; 44]);
    let server = start(dir.path(), "").await;
    let mut answers = Vec::new();
    for text in [unknown.expose(), revoked.expose(), &good.expose()[..40], "", "x"] {
        let status = stream(&server, text).await.err().expect("refused");
        answers.push((status.code(), status.message().to_owned()));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0].0, Code::Unauthenticated);

    let mut agent = stream(&server, good.expose()).await.expect("accepted");
    assert_eq!(agent.hello(DANA).await.team, "red");
    assert_eq!(agent.batch(1, 3).await, (Outcome::Appended, 3));
    wait_for_sum(server.http_address, "muster_runs_total", 3.0).await;
    let page =
        crate::support::get(server.http_address, "/metrics?team=red&name[]=muster_runs_total").await.text();
    assert!(page.contains("team=\"red\"") && !page.contains("muster_server_"), "{page}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_cuts_its_open_stream_within_five_seconds_and_no_other() {
    let dir = tempfile::tempdir().expect("folder");
    let (red, blue) = (token(dir.path(), 1, "red"), token(dir.path(), 2, "blue"));
    let server = start(dir.path(), "").await;
    let mut cut = stream(&server, red.expose()).await.expect("accepted");
    let mut kept = stream(&server, blue.expose()).await.expect("accepted");
    cut.hello(DANA).await;
    kept.hello(DANA).await;
    #[expect(clippy::disallowed_methods, reason = "the promise is about real time")]
    let revoked_at = Instant::now();
    TokenFile::edit(dir.path()).expect("free").revoke(red.id().as_str(), WallTime(2)).expect("known");
    assert_eq!(cut.end().await.code(), Code::Unauthenticated);
    assert!(revoked_at.elapsed() < Duration::from_secs(5), "{:?}", revoked_at.elapsed());
    assert_eq!(kept.batch(1, 3).await, (Outcome::Appended, 3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_guesses_are_limited_and_lock_nobody_else_out() {
    let dir = tempfile::tempdir().expect("folder");
    let good = token(dir.path(), 1, "red");
    let guess = Token::from_random([9; 44]);
    let server = start(dir.path(), "").await;
    let connection = channel(server.grpc_address).await;
    for _ in 0..1_000 {
        let refused = Agent::open(connection.clone(), Some(guess.expose())).await.err().expect("refused");
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    assert!(server.figures.credentials_refused.value(CredentialRefusal::Limited) >= 900);
    assert!(stream(&server, good.expose()).await.is_ok());
    server.stop().await;
}

/// A certificate for localhost; its PEM is its own CA.
fn issue(dir: &Path) -> (String, String) {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("certificate");
    let pem = issued.cert.pem();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    replace(&key, issued.signing_key.serialize_pem().as_bytes(), Access::Owner).expect("write");
    replace(&cert, pem.as_bytes(), Access::Umask).expect("write");
    let text = format!("[server.tls]\ncert_file = {cert:?}\nkey_file = {key:?}\n");
    (pem, text)
}

async fn tls_channel(server: &Server, ca: &str) -> Result<Channel, tonic::transport::Error> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", server.grpc_address)).expect("uri");
    endpoint.tls_config(tls).expect("tls").connect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_metrics_read_pages_behind_tls_and_a_token() {
    let dir = tempfile::tempdir().expect("folder");
    let data = dir.path().join("data");
    let (_, text) = issue(dir.path());
    let free = "127.0.0.1:0".parse().expect("address");
    let overrides = Overrides {
        data_dir: Some(data.clone()),
        grpc_listen: Some(free),
        // Others could reach it, so that it wants a token.
        http_listen: "0.0.0.0:0".parse().ok(),
        otlp_http_listen: Some("off".to_owned()),
        ..Default::default()
    };
    let config = Config::parse(&text, &overrides).expect("valid");
    let server = Server::start(config, Arc::new(SystemClock::new())).await.expect("starts");
    let token_file = dir.path().join("token");
    replace(&token_file, token(&data, 1, "red").expose().as_bytes(), Access::Owner).expect("written");
    let url = format!("https://localhost:{}", server.http_address.port());
    let (ca_file, token_file) = (dir.path().join("cert.pem"), token_file);
    let run = |command: &'static str, with_ca: bool, with_token: bool| {
        let mut muster = std::process::Command::new(env!("CARGO_BIN_EXE_muster"));
        muster.args([command, "--server", &url]).env_remove("MUSTER_CA_FILE");
        if with_ca {
            muster.arg("--ca-file").arg(&ca_file);
        }
        if with_token {
            muster.env("MUSTER_TOKEN_FILE", &token_file);
        }
        tokio::task::spawn_blocking(move || muster.output().expect("runs"))
    };
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    // The collector takes up new tokens within a second.
    let output = loop {
        let output = run("status", true, true).await.expect("ends");
        if output.status.success() || tokio::time::Instant::now() > deadline {
            break output;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with(&format!("collector {url}: ready\n0 agents, 0 connected\n")), "{output:?}");
    assert!(run("metrics", true, true).await.expect("ends").status.success());
    for (with_ca, with_token, words) in
        [(true, false, "does not accept the credential"), (false, true, "UnknownIssuer; --ca-file names")]
    {
        let output = run("status", with_ca, with_token).await.expect("ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(words), "{said}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_certificate_is_used_for_new_connections_and_cuts_no_old_one() {
    let dir = tempfile::tempdir().expect("folder");
    let (old_ca, text) = issue(dir.path());
    let server = start(&dir.path().join("data"), &text).await;
    let mut agent =
        Agent::open(tls_channel(&server, &old_ca).await.expect("trusted"), None).await.expect("stream");
    agent.hello(DANA).await;
    let (new_ca, _) = issue(dir.path());
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    while tls_channel(&server, &new_ca).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the new certificate is not used");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(tls_channel(&server, &old_ca).await.is_err(), "the old one is not used any more");
    assert!(server.figures.reloads.value(Reload::TlsApplied) >= 1);
    assert_eq!(agent.batch(1, 3).await, (Outcome::Appended, 3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_tls_hello_is_closed_and_harms_nobody() {
    let dir = tempfile::tempdir().expect("folder");
    let (ca, text) = issue(dir.path());
    let server = start(&dir.path().join("data"), &text).await;
    let mut half = TcpStream::connect(server.grpc_address).await.expect("connects");
    half.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await.expect("sent");
    let mut agent =
        Agent::open(tls_channel(&server, &ca).await.expect("trusted"), None).await.expect("stream");
    agent.hello(DANA).await;
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), half.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "still open after 10 s");
    assert_eq!(agent.batch(1, 3).await, (Outcome::Appended, 3));
    server.stop().await;
}
