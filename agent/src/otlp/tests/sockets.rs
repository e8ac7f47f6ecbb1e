//! A whole agent, spoken to over its sockets by clients that know nothing of it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use muster::clock::{ManualClock, SystemClock};
use otlp::Signal;
use otlp::proto::collector_logs::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use super::rig::{NOON, Spooled, spooled};
use crate::config::{AgentConfig, Overrides};
use crate::otlp::Addresses;
use crate::runtime::{Agent, StartError};
use crate::spool::{Spool, SpoolConfig, SpoolError};

const LOGS: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"codex_exec"}}]},
  "scopeLogs":[{"logRecords":[{"timeUnixNano":"1","body":{"stringValue":"codex.user_prompt"},"attributes":[
  {"key":"prompt","value":{"stringValue":"SECRETPLAN"}},{"key":"prompt_length","value":{"intValue":"10"}}]}]}]}]}"#;

struct Running {
    folder: tempfile::TempDir,
    at: Addresses,
    stop: watch::Sender<bool>,
    running: JoinHandle<Result<(), SpoolError>>,
}

fn config(folder: &std::path::Path, otlp: &str) -> AgentConfig {
    let text = format!(
        "[agent]\nstate_dir = {:?}\nmetrics_listen = \"off\"\nhost_samples = false\n[agent.otlp]\n{otlp}",
        folder.display().to_string()
    );
    AgentConfig::parse(&text, Overrides::default(), &|_| None).expect("valid")
}

async fn start() -> Running {
    let folder = tempfile::tempdir().expect("folder");
    let config = config(
        folder.path(),
        "enabled = true\ngrpc_listen = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\nproject = \"shop\"",
    );
    let (stop, shutdown) = watch::channel(false);
    let (tell, told) = oneshot::channel();
    // On a thread of its own, as it is in its process.
    let running = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let agent = Agent::start(config, Arc::new(SystemClock::new()), shutdown).await.expect("starts");
            tell.send(agent.otlp_addresses()).expect("somebody waits");
            agent.run().await
        })
    });
    Running { folder, at: told.await.expect("it started"), stop, running }
}

impl Running {
    /// Stops the agent and reads what it left.
    async fn stop(self) -> Vec<Spooled> {
        self.stop.send_replace(true);
        let ended =
            tokio::task::spawn_blocking(move || self.running.join().expect("no panic").expect("no error"));
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("stops in time").expect("no panic");
        let spool = Spool::open(SpoolConfig::new(self.folder.path()), Arc::new(ManualClock::at(NOON)));
        spooled(&spool.expect("opens"))
    }
}

/// Sends over HTTP/1.1 and answers the status and all that was said.
async fn http1(running: &Running, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(running.at.http.expect("on")).await.expect("connects");
    let head =
        format!("{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(body).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer)
}

const POST_JSON: &str = "POST /v1/logs HTTP/1.1\r\nContent-Type: application/json";

#[tokio::test]
async fn json_over_http_is_spooled_before_it_is_acknowledged() {
    let running = start().await;
    let (status, answer) = http1(&running, POST_JSON, LOGS.as_bytes()).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.to_ascii_lowercase().contains("content-type: application/json"), "{answer}");
    let spooled = running.stop().await;
    assert_eq!((spooled.len(), spooled[0].items, spooled[0].signal), (1, 1, Signal::Logs));
    assert_eq!((spooled[0].tool.as_str(), spooled[0].project.as_str()), ("codex", "shop"));
    let logs = ExportLogsServiceRequest::decode(spooled[0].request.clone()).expect("logs");
    let said = format!("{logs:?}");
    assert!(said.contains("codex.user_prompt") && !said.contains("SECRETPLAN"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_for_good() {
    let running = start().await;
    let get = http1(&running, "GET /v1/logs HTTP/1.1", b"").await;
    assert_eq!(get.0, 405, "{}", get.1);
    assert_eq!(http1(&running, POST_JSON, b"{\"resourceLogs\": 7}").await.0, 400);
    let from_a_page = format!("{POST_JSON}\r\nOrigin: https://example.com");
    assert_eq!(http1(&running, &from_a_page, LOGS.as_bytes()).await.0, 401);
    let forwarded = format!("{POST_JSON}\r\nMuster-Forwarded-By: 0707");
    let (status, said) = http1(&running, &forwarded, LOGS.as_bytes()).await;
    assert!(status == 400 && said.contains("what tools of its machine send"), "it would go round: {said}");
    // It waits to be told to go on, and is told not to.
    let large = format!(
        "POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nExpect: 100-continue\r\n\
         Content-Length: {}\r\n\r\n",
        17 << 20
    );
    let mut stream = TcpStream::connect(running.at.http.expect("on")).await.expect("connects");
    stream.write_all(large.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
    drop(stream);
    assert_eq!(running.stop().await, []);
}

#[tokio::test]
async fn grpc_is_spooled_before_it_is_acknowledged() {
    let running = start().await;
    let json = otlp::json::decode(Signal::Logs, LOGS.as_bytes()).expect("OTLP/JSON");
    let mut message = vec![0];
    message.extend(u32::try_from(json.len()).expect("small").to_be_bytes());
    message.extend(&json);
    let stream = TcpStream::connect(running.at.grpc.expect("on")).await.expect("connects");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("speaks");
    tokio::spawn(connection);
    let call = |path: &str| {
        Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from(message.clone())))
            .expect("a request")
    };
    let answer = sender.send_request(call(Signal::Logs.grpc_path())).await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let whole = answer.into_body().collect().await.expect("a body");
    let status = whole.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned();
    assert_eq!(status.expect("a status"), "0");
    let body = whole.to_bytes();
    let response = ExportLogsServiceResponse::decode(&body[5..]).expect("a response");
    assert_eq!(response.partial_success, None);
    let unknown = sender.send_request(call("/muster.v1.Collector/Stream")).await.expect("an answer");
    assert_eq!(unknown.headers().get("grpc-status").expect("a status"), "12");
    drop(sender);
    let spooled = running.stop().await;
    assert_eq!((spooled.len(), spooled[0].items, spooled[0].tool.as_str()), (1, 1, "codex"));
}

#[tokio::test]
async fn connections_without_a_request_are_closed_and_an_open_one_does_not_delay_the_end() {
    let running = start().await;
    let silent = TcpStream::connect(running.at.grpc.expect("on")).await.expect("connects");
    let mut kept = TcpStream::connect(running.at.http.expect("on")).await.expect("connects");
    let request = format!("{POST_JSON}\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{LOGS}", LOGS.len());
    kept.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    kept.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(running.stop().await.len(), 1);
    drop((silent, kept));
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_says_whose_it_may_be() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = taken.local_addr().expect("bound");
    let folder = tempfile::tempdir().expect("folder");
    let config =
        config(folder.path(), &format!("enabled = true\ngrpc_listen = \"off\"\nhttp_listen = \"{address}\""));
    let (_stop, shutdown) = watch::channel(false);
    let error = Agent::start(config, Arc::new(SystemClock::new()), shutdown).await.err().expect("refused");
    assert!(matches!(error, StartError::ListenOtlp { .. }));
    let words = error.to_string();
    assert!(
        words.contains("agent.otlp.http_listen") && words.contains("collector on this machine"),
        "{words}"
    );
}

#[tokio::test]
async fn an_agent_without_otlp_has_no_door_and_no_key() {
    let folder = tempfile::tempdir().expect("folder");
    let config = config(folder.path(), "enabled = false");
    let (_stop, shutdown) = watch::channel(false);
    let agent = Agent::start(config, Arc::new(SystemClock::new()), shutdown).await.expect("starts");
    assert_eq!(agent.otlp_addresses(), Addresses::default());
    assert!(!folder.path().join("otlp.key").exists());
}
