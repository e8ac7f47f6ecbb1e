//! OTLP to the collector, as clients send it: gRPC beside the agents' stream, HTTP on its own port, and what is in the
//! journal afterwards.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use journal::Journal;
use journal::fs::RealFs;
use journal::stream::{JournalStreamLog, OtlpEntry, StreamItem, StreamLog};
use muster::clock::{SystemClock, WallTime};
use muster::credential::Token;
use muster::v1::OtlpSignal;
use otlp::json::Status as RpcStatus;
use otlp::proto::collector_logs::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use otlp::proto::common::{AnyValue, any_value::Value};
use otlp::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message;
use server::credentials::{Scope, TokenFile};
use server::serve::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::support::{Answer, PATIENCE, channel, get, start, sum};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn logs(records: usize, body: &str) -> ExportLogsServiceRequest {
    let record = |n| LogRecord {
        time_unix_nano: n as u64 + 1,
        body: Some(AnyValue { value: Some(Value::StringValue(body.to_owned())) }),
        ..Default::default()
    };
    let scope = ScopeLogs { log_records: (0..records).map(record).collect(), ..Default::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..Default::default() }],
    }
}

/// A unary call as any OTLP client makes it.
async fn export(
    address: SocketAddr,
    request: ExportLogsServiceRequest,
    compression: Option<CompressionEncoding>,
    token: Option<&str>,
) -> Result<Response<ExportLogsServiceResponse>, Status> {
    let mut client = tonic::client::Grpc::new(channel(address).await);
    if let Some(compression) = compression {
        client = client.send_compressed(compression).accept_compressed(compression);
    }
    client.ready().await.expect("ready");
    let mut request = Request::new(request);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("header"));
    }
    let codec: ProstCodec<ExportLogsServiceRequest, ExportLogsServiceResponse> = ProstCodec::default();
    let path =
        http::uri::PathAndQuery::from_static("/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    tokio::time::timeout(PATIENCE, client.unary(request, path, codec)).await.expect("in time")
}

/// One HTTP/1.1 request on a connection of its own. `headers` end with a line break each.
async fn send(address: SocketAddr, line: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(body).await.expect("a refusal is read, and no broken connection");
    let mut answer = Vec::new();
    tokio::time::timeout(3 * PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("in time")
        .expect("read");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).expect("text");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head, body: answer[end + 4..].to_vec() }
}

async fn post(address: SocketAddr, path: &str, kind: &str, headers: &str, body: &[u8]) -> Answer {
    send(address, &format!("POST {path}"), &format!("content-type: {kind}\r\n{headers}"), body).await
}

fn http_address(server: &Server) -> SocketAddr {
    server.otlp_http_address.expect("OTLP/HTTP is on")
}

/// What a collector that died now would find again: its journal's files are copied and opened.
fn durable(dir: &Path) -> Vec<OtlpEntry> {
    let copy = tempfile::tempdir().expect("folder");
    for file in std::fs::read_dir(dir.join("journal")).expect("a journal") {
        let file = file.expect("an entry");
        if file.file_type().expect("a type").is_file() {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("copied");
        }
    }
    let config = journal::Config { reserve_bytes: 0, ..journal::Config::new(copy.path()) };
    let (journal, _) = Journal::open(config, Arc::new(RealFs), Arc::new(SystemClock::new())).expect("opens");
    let (log, _) = JournalStreamLog::open(Arc::new(journal)).expect("opens");
    let items = log.read(journal::Position(0)).map(|item| item.expect("readable"));
    items.filter_map(|item| if let StreamItem::Otlp(entry) = item { Some(entry) } else { None }).collect()
}

fn token(dir: &Path, team: &str) -> Token {
    let token = Token::from_random(std::array::from_fn(|n| (n as u8).wrapping_mul(5)));
    let file = TokenFile::edit(dir).expect("free");
    file.add(&token, Scope::Team(team.parse().expect("team")), WallTime(1)).expect("written");
    token
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

async fn own_figure(server: &Server, sample: &str) -> f64 {
    sum(&get(server.http_address, "/metrics").await.text(), sample)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_over_grpc_is_in_the_journal() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let request = logs(100, "hello");
    let compressions = [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)];
    for (n, compression) in compressions.into_iter().enumerate() {
        let response = export(server.grpc_address, request.clone(), compression, None).await.expect("taken");
        assert_eq!(response.get_ref().partial_success, None);
        let found = durable(dir.path());
        assert_eq!(found.len(), n + 1, "{compression:?}");
        let entry = &found[n];
        assert_eq!((entry.team.as_str(), entry.signal, entry.items), ("default", OtlpSignal::Logs, 100));
        assert_eq!(entry.bytes, request.encode_to_vec());
    }
    let accepted = "muster_otlp_requests_total{outcome=\"accepted\",signal=\"logs\",transport=\"grpc\"}";
    let page = get(server.http_address, "/metrics").await.text();
    assert!(page.lines().any(|line| line == format!("{accepted} 3")), "{page}");
    assert!(page.contains("muster_otlp_items_accepted_total{signal=\"logs\"} 300"), "{page}");
    assert!(page.contains("muster_otlp_memory_bytes 0"), "all room is given back: {page}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_protobuf_over_http_are_the_same_in_the_journal() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let address = http_address(&server);
    let request = logs(3, "hello").encode_to_vec();
    let json = otlp::json::encode(otlp::Signal::Logs, &request).expect("valid");
    let zstd = zstd::stream::encode_all(&request[..], 1).expect("memory");
    let sent = [
        post(address, "/v1/logs", PROTOBUF, "", &request).await,
        post(address, "/v1/logs", PROTOBUF, "content-encoding: gzip\r\n", &gzip(&request)).await,
        post(address, "/v1/logs", PROTOBUF, "content-encoding: zstd\r\n", &zstd).await,
        post(address, "/v1/logs", JSON, "", &json).await,
        post(
            address,
            "/v1/logs",
            "application/json; charset=utf-8",
            "content-encoding: gzip\r\n",
            &gzip(&json),
        )
        .await,
        post(address, "/v1/logs", PROTOBUF, "expect: 100-continue\r\n", &request).await,
    ];
    for (n, answer) in sent.iter().enumerate() {
        assert!(answer.status == 200 || (n == 5 && answer.status == 100), "{n}: {}", answer.head);
    }
    assert_eq!((sent[3].header("content-type"), &sent[3].body[..]), (Some(JSON), &b"{}"[..]));
    let found = durable(dir.path());
    assert_eq!(found.len(), sent.len());
    assert!(found.iter().all(|entry| entry.bytes == request && entry.items == 3));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loki_modes_own_payloads_are_taken() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let address = http_address(&server);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/loki/otlp");
    let read = |file: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(fixtures.join(file)).expect(file)).expect("JSON")
    };
    // What was captured on the wire, whole, is within a record of the capture.
    let captured = read("v1-traces-bridge-captured.json");
    let captured = captured["requests"]
        .as_array()
        .expect("requests")
        .iter()
        .map(|request| (request["path"].as_str().expect("a path").to_owned(), request["body"].clone()));
    let mut payloads: Vec<_> = captured.collect();
    payloads.push(("/v1/metrics".to_owned(), read("v1-metrics.json")));
    payloads.push(("/v1/traces".to_owned(), read("v1-traces-library-spans.json")));
    for (path, body) in &payloads {
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let answer = post(address, path, JSON, "", body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    }
    let found = durable(dir.path());
    assert_eq!(found.len(), payloads.len());
    assert!(found.iter().all(|entry| entry.items > 0));
    let answer = send(address, "GET /v1/traces", "", b"").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_by_prior_knowledge_works_on_the_http_port() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let stream = TcpStream::connect(http_address(&server)).await.expect("connects");
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.expect("HTTP/2");
    tokio::spawn(connection);
    let body = http_body_util::Full::new(Bytes::from(logs(2, "x").encode_to_vec()));
    let request = http::Request::post("http://x/v1/logs").header("content-type", PROTOBUF).body(body);
    let response = sender.send_request(request.expect("a request")).await.expect("an answer");
    assert_eq!(response.status(), 200);
    drop(sender);
    assert_eq!(durable(dir.path()).len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_team_is_the_tokens_and_a_wrong_token_is_refused_on_both_ports() {
    let dir = tempfile::tempdir().expect("folder");
    let good = token(dir.path(), "red");
    let server = start(dir.path(), "").await;
    let address = http_address(&server);
    let wrong = Token::from_random([9; 44]);
    let status =
        export(server.grpc_address, logs(1, "x"), None, Some(wrong.expose())).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unauthenticated);
    let bearer = |token: &Token| format!("authorization: Bearer {}\r\n", token.expose());
    let body = logs(1, "x").encode_to_vec();
    let answer = post(address, "/v1/logs", PROTOBUF, &bearer(&wrong), &body).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
    export(server.grpc_address, logs(1, "x"), None, Some(good.expose())).await.expect("taken");
    assert_eq!(post(address, "/v1/logs", PROTOBUF, &bearer(&good), &body).await.status, 200);
    let teams: Vec<String> = durable(dir.path()).iter().map(|entry| entry.team.to_string()).collect();
    assert_eq!(teams, ["red", "red"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_others_reach_takes_nothing_without_a_token_whatever_the_other_port_allows() {
    let dir = tempfile::tempdir().expect("folder");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let write = |path: &Path, text: String| {
        muster::atomic_file::replace(path, text.as_bytes(), muster::atomic_file::Access::Owner)
            .expect("written");
    };
    write(&cert, certified.cert.pem());
    write(&key, certified.signing_key.serialize_pem());
    // gRPC listens on loopback here, where no token is needed.
    let text = format!("[server.tls]\ncert_file = {cert:?}\nkey_file = {key:?}\n");
    let overrides = server::config::Overrides {
        data_dir: Some(dir.path().join("data")),
        grpc_listen: Some("127.0.0.1:0".parse().expect("address")),
        http_listen: Some("127.0.0.1:0".parse().expect("address")),
        otlp_http_listen: Some("0.0.0.0:0".to_owned()),
        ..Default::default()
    };
    let config = server::config::Config::parse(&text, &overrides).expect("valid");
    let server = Server::start(config, Arc::new(SystemClock::new())).await.expect("starts");
    let port = http_address(&server).port();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.expect("versions").with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let plain = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
    let name = "localhost".try_into().expect("a name");
    let mut stream = connector.connect(name, plain).await.expect("a handshake");
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {PROTOBUF}\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("in time");
    assert!(answer.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&answer));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_the_limit_is_never_to_be_repeated() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "[server.limits]\notlp_request_bytes_max = 1000000\n").await;
    let address = http_address(&server);
    let large = logs(1, &"x".repeat(1_000_000));
    for compression in [None, Some(CompressionEncoding::Gzip)] {
        let status =
            export(server.grpc_address, large.clone(), compression, None).await.expect_err("refused");
        assert_eq!(status.code(), Code::ResourceExhausted, "{compression:?}: {status:?}");
        assert!(status.details().is_empty(), "no RetryInfo");
    }
    let body = large.encode_to_vec();
    for (headers, body) in [("", body.clone()), ("content-encoding: gzip\r\n", gzip(&body))] {
        assert_eq!(post(address, "/v1/logs", PROTOBUF, headers, &body).await.status, 413);
    }
    // More than the windows of the connection hold: the client must not wait for them.
    let larger = logs(1, &"x".repeat(30_000_000));
    let status = export(server.grpc_address, larger, None, None).await.expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    // Larger than any socket's buffers: whoever refuses early and closes breaks the client's writing.
    assert_eq!(post(address, "/v1/logs", PROTOBUF, "", &vec![0; 30_000_000]).await.status, 413);
    assert!(durable(dir.path()).is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_says_when_to_come_back() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "[server.limits]\notlp_memory_bytes_max = 2000\n").await;
    let address = http_address(&server);
    let large = logs(1, &"x".repeat(5000));
    let status = export(server.grpc_address, large.clone(), None, None).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unavailable);
    let details = RpcStatus::of_protobuf(status.details()).expect("a google.rpc.Status");
    assert!(details.retry_after.is_some_and(|after| after > Duration::ZERO), "{details:?}");
    let answer = post(address, "/v1/logs", PROTOBUF, "", &large.encode_to_vec()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    export(server.grpc_address, logs(1, "small"), None, None).await.expect("there is room for a small one");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_with_its_place() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let address = http_address(&server);
    let answer = post(address, "/v1/traces", PROTOBUF, "", b"\x0a\x05abc").await;
    let status = RpcStatus::of_protobuf(&answer.body).expect("a google.rpc.Status");
    assert_eq!((answer.status, status.code), (400, Code::InvalidArgument));
    assert!(status.message.contains("byte"), "{}", status.message);
    let answer = post(address, "/v1/logs", JSON, "", b"{\"resourceLogs\":[}").await;
    assert_eq!((answer.status, answer.json()["code"].as_i64()), (400, Some(3)));
    assert_eq!(post(address, "/v1/logs", "text/plain", "", b"x").await.status, 415);
    assert_eq!(post(address, "/v1/logs", PROTOBUF, "content-encoding: br\r\n", b"x").await.status, 415);
    assert_eq!(post(address, "/v2/logs", PROTOBUF, "", b"x").await.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_request_is_stored_in_parts_and_an_oversize_item_is_left_out() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let mut request = logs(40, &"x".repeat(1 << 20));
    let huge = AnyValue { value: Some(Value::StringValue("y".repeat(5 << 20))) };
    request.resource_logs[0].scope_logs[0].log_records[7].body = Some(huge);
    let response = export(server.grpc_address, request, None, None).await.expect("taken");
    let partial = response.into_inner().partial_success.expect("partial success");
    assert_eq!(partial.rejected_log_records, 1);
    assert!(partial.error_message.contains("1 log records"), "{}", partial.error_message);
    let found = durable(dir.path());
    assert_eq!(found.iter().map(|entry| entry.items).sum::<u32>(), 39);
    let mut times = Vec::new();
    for entry in found {
        assert!(entry.bytes.len() <= muster::limits::BATCH_BYTES_MAX);
        let part = ExportLogsServiceRequest::decode(entry.bytes).expect("a request");
        let scopes = part.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
        times.extend(scopes.flat_map(|scope| &scope.log_records).map(|record| record.time_unix_nano));
    }
    let wanted: Vec<u64> = (1..=40).filter(|time| *time != 8).collect();
    assert_eq!(times, wanted, "in order, each once");
    let rejected = own_figure(&server, "muster_otlp_items_rejected_total").await;
    assert_eq!(rejected, 1.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused_quickly_and_hold_nobody_up() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let address = http_address(&server);
    // 1 GiB of zeros in a megabyte, once with its true size at the end and once with a lie.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..1024 {
        encoder.write_all(&zeros).expect("memory");
    }
    let honest = encoder.finish().expect("memory");
    let mut lying = honest.clone();
    let end = lying.len() - 4;
    lying[end..].copy_from_slice(&7_u32.to_le_bytes());
    let bomb = zstd::stream::encode_all(std::io::Read::take(std::io::repeat(0), 1 << 30), 1).expect("memory");
    for (encoding, body) in [("gzip", &honest), ("gzip", &lying), ("zstd", &bomb)] {
        let began = Instant::now();
        let answer =
            post(address, "/v1/logs", PROTOBUF, &format!("content-encoding: {encoding}\r\n"), body).await;
        assert_eq!(answer.status, 413, "{encoding}");
        println!("{encoding} of {} bytes refused in {:?}", body.len(), began.elapsed());
    }
    assert_eq!(own_figure(&server, "muster_otlp_memory_bytes").await, 0.0);
    export(server.grpc_address, logs(1, "x"), None, None).await.expect("taken");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_to_the_http_port_are_closed_within_ten_seconds() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let address = http_address(&server);
    let mut silent = TcpStream::connect(address).await.expect("connects");
    let mut half = TcpStream::connect(address).await.expect("connects");
    half.write_all(b"POST /v1/logs HTTP/1.1\r\nhost: x\r\n").await.expect("sent");
    let began = Instant::now();
    let mut byte = [0];
    for stream in [&mut silent, &mut half] {
        let read = tokio::time::timeout(Duration::from_secs(13), stream.read(&mut byte)).await;
        assert!(matches!(read.expect("closed in time"), Ok(0) | Err(_)));
    }
    assert!(began.elapsed() > Duration::from_secs(8));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn otlp_over_http_can_be_off_and_its_port_is_named_when_it_is_taken() {
    let dir = tempfile::tempdir().expect("folder");
    let free = || Some("127.0.0.1:0".parse().expect("address"));
    let overrides = |name: &str, otlp: String| server::config::Overrides {
        data_dir: Some(dir.path().join(name)),
        grpc_listen: free(),
        http_listen: free(),
        otlp_http_listen: Some(otlp),
        ..Default::default()
    };
    let config = |name, otlp| server::config::Config::parse("", &overrides(name, otlp)).expect("valid");
    let off =
        Server::start(config("off", "off".to_owned()), Arc::new(SystemClock::new())).await.expect("starts");
    assert_eq!(off.otlp_http_address, None);
    export(off.grpc_address, logs(1, "x"), None, None).await.expect("gRPC takes it all the same");
    let taken = off.http_address.to_string();
    let error =
        Server::start(config("taken", taken), Arc::new(SystemClock::new())).await.err().expect("refused");
    assert!(error.to_string().contains("server.otlp_http_listen"), "{error}");
    off.stop().await;
}
