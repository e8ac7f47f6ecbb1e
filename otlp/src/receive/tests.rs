//! Both protocols over requests in memory, before an intake that remembers.

use std::io::Write;
use std::sync::Mutex;

use ::http::{Request, Response};
use http_body_util::{BodyExt, Full};
use prost::Message;

use super::*;
use crate::json::Status;
use crate::proto::collector_logs::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use crate::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};

#[derive(Clone)]
struct Memory {
    budget: Arc<Budget>,
    taken: Arc<Mutex<Vec<Payload>>>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    answer: Result<Accepted, Refusal>,
}

impl Intake for Memory {
    type Caller = ();

    fn authenticate(&self, head: &Parts) -> Result<(), Refusal> {
        if head.headers.contains_key("x-stranger") { Err(Refusal::Unauthenticated) } else { Ok(()) }
    }

    fn reserve(&self, bytes: usize) -> Result<Room, Refusal> {
        self.budget.reserve(bytes)
    }

    async fn take(&self, _: &(), payload: Payload) -> Result<Accepted, Refusal> {
        assert!(self.budget.bytes_taken() >= payload.request.len(), "it is covered while it is taken");
        self.taken.lock().expect("lock").push(payload);
        self.answer.clone()
    }

    fn finished(&self, _: Signal, _: Transport, outcome: Outcome) {
        self.outcomes.lock().expect("lock").push(outcome);
    }
}

struct Bench {
    door: Door<Memory>,
    memory: Memory,
}

fn bench_with(answer: Result<Accepted, Refusal>, budget: usize) -> Bench {
    let memory =
        Memory { budget: Budget::new(budget), taken: Arc::default(), outcomes: Arc::default(), answer };
    let limits = Limits { request_bytes_max: 1 << 20, ..Limits::default() };
    Bench { door: Door::new(memory.clone(), limits), memory }
}

fn bench() -> Bench {
    bench_with(Ok(Accepted::default()), 16 << 20)
}

fn logs(records: usize) -> Vec<u8> {
    let record = LogRecord { severity_text: "INFO".to_owned(), time_unix_nano: 5, ..Default::default() };
    let scope = ScopeLogs { log_records: vec![record; records], ..Default::default() };
    let resource = ResourceLogs { scope_logs: vec![scope], ..Default::default() };
    ExportLogsServiceRequest { resource_logs: vec![resource] }.encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn frame(is_compressed: bool, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(is_compressed)];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// What a gRPC client sees.
#[derive(Debug)]
struct Called {
    code: i32,
    status: Option<Status>,
    message: Bytes,
    headers: ::http::HeaderMap,
}

impl Bench {
    async fn grpc_as(&self, headers: &[(&str, &str)], body: Vec<u8>) -> Called {
        let mut request = Request::post(Signal::Logs.grpc_path()).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("request");
        let response = self.door.grpc(Signal::Logs, request).await;
        assert_eq!(response.status(), 200, "gRPC's statuses are in grpc-status");
        let headers = response.headers().clone();
        let collected = response.into_body().collect().await.expect("body");
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let find = |name: &str| headers.get(name).or_else(|| trailers.get(name)).cloned();
        let text = find("grpc-status").expect("a status");
        let code = text.to_str().expect("text").parse().expect("number");
        let status = find("grpc-status-details-bin").map(|details| {
            use base64::Engine;
            let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
            Status::of_protobuf(&engine.decode(details.as_bytes()).expect("base64")).expect("a status")
        });
        Called { code, status, message: collected.to_bytes(), headers }
    }

    async fn grpc(&self, body: Vec<u8>) -> Called {
        self.grpc_as(&[], body).await
    }

    async fn http_as(&self, request: ::http::request::Builder, body: impl Into<Bytes>) -> Response<Bytes> {
        let request = request.body(Full::new(body.into())).expect("request");
        let (head, body) = self.door.http(request).await.into_parts();
        Response::from_parts(head, body.collect().await.expect("body").to_bytes())
    }

    async fn post(&self, kind: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Bytes> {
        let mut request = Request::post("/v1/logs").header("content-type", kind);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.http_as(request, body).await
    }

    fn taken(&self) -> Vec<Payload> {
        std::mem::take(&mut self.memory.taken.lock().expect("lock"))
    }

    fn outcome(&self) -> Outcome {
        self.memory.outcomes.lock().expect("lock").pop().expect("a request was finished")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.memory.budget.bytes_taken(), 0, "all room is given back");
        }
    }
}

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

#[tokio::test]
async fn a_call_is_taken_plain_and_compressed() {
    let bench = bench();
    let request = logs(1000);
    let zstd = zstd::stream::encode_all(&request[..], 1).expect("memory");
    let calls = [
        (frame(false, &request), "identity"),
        (frame(true, &gzip(&request)), "gzip"),
        (frame(true, &zstd), "zstd"),
        (frame(false, &request), "zstd"),
    ];
    for (body, encoding) in calls {
        let called = bench.grpc_as(&[("grpc-encoding", encoding)], body).await;
        assert_eq!((called.code, &called.message[..]), (0, &[0, 0, 0, 0, 0][..]), "{encoding}");
        let taken = bench.taken();
        assert_eq!((taken.len(), taken[0].tally.items, &taken[0].request[..]), (1, 1000, &request[..]));
    }
    assert_eq!(bench.outcome(), Outcome::Accepted);
}

#[tokio::test]
async fn large_bodies_are_taken_as_small_ones_are() {
    let bench = bench();
    let request = logs(60_000);
    assert!(request.len() > 512 << 10 && request.len() < 1 << 20);
    for body in [frame(false, &request), frame(true, &gzip(&request))] {
        assert_eq!(bench.grpc_as(&[("grpc-encoding", "gzip")], body).await.code, 0);
        assert_eq!(bench.taken()[0].request, request);
    }
}

#[tokio::test]
async fn a_call_over_the_limit_is_exhausted_without_a_word_of_retrying() {
    let bench = bench();
    let over = vec![0; (1 << 20) + 1];
    let announced = [&[0][..], &u32::MAX.to_be_bytes()].concat();
    for body in [frame(false, &over), frame(true, &gzip(&over)), announced] {
        let called = bench.grpc_as(&[("grpc-encoding", "gzip")], body).await;
        assert_eq!(called.code, tonic::Code::ResourceExhausted as i32);
        assert_eq!(called.status, None, "a RetryInfo would bring it back");
        assert_eq!(bench.outcome(), Outcome::TooLarge);
    }
    assert!(bench.taken().is_empty());
}

#[tokio::test]
async fn a_call_that_cannot_be_read_says_where() {
    let bench = bench();
    let request = logs(3);
    let bodies = [
        frame(false, &request[..request.len() - 1]),
        frame(true, &request),
        frame(false, &request)[..20].to_vec(),
        [frame(false, &request), vec![0]].concat(),
        vec![0, 0],
        Vec::new(),
        frame(true, &gzip(&request))[..5].to_vec(),
        [vec![2], frame(false, &request)[1..].to_vec()].concat(),
    ];
    for body in bodies {
        let called = bench.grpc(body.clone()).await;
        assert_eq!(called.code, tonic::Code::InvalidArgument as i32, "{body:?}");
    }
    let called = bench.grpc(frame(false, &request[..request.len() - 1])).await;
    let message = called.headers["grpc-message"].to_str().expect("text").to_owned();
    assert!(message.contains("byte"), "{message}");
    assert!(bench.taken().is_empty());
}

#[tokio::test]
async fn an_unknown_encoding_is_answered_with_the_known_ones() {
    let bench = bench();
    let called = bench.grpc_as(&[("grpc-encoding", "snappy")], frame(true, b"x")).await;
    assert_eq!(called.code, tonic::Code::Unimplemented as i32);
    assert_eq!(called.headers["grpc-accept-encoding"], "identity,gzip,zstd");
    let response = bench.post(PROTOBUF, &[("content-encoding", "br")], "x").await;
    assert_eq!((response.status().as_u16(), bench.outcome()), (415, Outcome::Unsupported));
}

#[tokio::test]
async fn what_was_rejected_is_counted_in_the_answer_of_each_protocol() {
    let accepted = Accepted { rejected: 3, message: "too large".to_owned() };
    let bench = bench_with(Ok(accepted), 1 << 20);
    let called = bench.grpc(frame(false, &logs(5))).await;
    let response = ExportLogsServiceResponse::decode(&called.message[5..]).expect("a response");
    let partial = response.partial_success.expect("partial");
    assert_eq!((partial.rejected_log_records, partial.error_message.as_str()), (3, "too large"));
    let response = bench.post(PROTOBUF, &[], logs(5)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.body()[..], called.message[5..]);
    let response = bench.post(JSON, &[], r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#).await;
    let json: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!(json["partialSuccess"]["rejectedLogRecords"], "3");
    assert_eq!(bench.outcome(), Outcome::Partial);
}

#[tokio::test]
async fn overload_says_when_to_come_back_in_each_protocol() {
    let retry_after = Duration::from_millis(1500);
    let refusals = [
        (Refusal::Overloaded { retry_after }, tonic::Code::Unavailable, 503),
        (Refusal::Unavailable { retry_after }, tonic::Code::Unavailable, 503),
        (Refusal::Limited { quota: "the team's quota", retry_after }, tonic::Code::ResourceExhausted, 429),
    ];
    for (refusal, code, http_status) in refusals {
        let bench = bench_with(Err(refusal), 1 << 20);
        let called = bench.grpc(frame(false, &logs(1))).await;
        assert_eq!(called.code, code as i32);
        let status = called.status.expect("details");
        assert_eq!(
            (status.code as i32, status.retry_after),
            (called.code, Some(Duration::from_millis(1500)))
        );
        for (kind, body) in [
            (PROTOBUF, logs(1)),
            (JSON, br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}"#.to_vec()),
        ] {
            let response = bench.post(kind, &[], body).await;
            assert_eq!(response.status(), http_status);
            assert_eq!(response.headers()["retry-after"], "2", "in whole seconds, not too early");
            assert_eq!(response.headers()["content-type"], kind);
        }
    }
}

#[tokio::test]
async fn a_request_without_room_is_refused_before_it_is_read() {
    let bench = bench_with(Ok(Accepted::default()), 100);
    let response = bench.post(PROTOBUF, &[("content-length", "101")], logs(1)).await;
    assert_eq!((response.status().as_u16(), bench.outcome()), (503, Outcome::Overloaded));
    let called = bench.grpc(frame(false, &logs(1000))).await;
    assert_eq!(called.code, tonic::Code::Unavailable as i32);
    assert!(called.status.expect("details").retry_after.is_some());
    assert!(bench.taken().is_empty());
}

#[tokio::test]
async fn json_becomes_the_same_payload_as_protobuf() {
    let bench = bench();
    let request = logs(2);
    let json = crate::json::encode(Signal::Logs, &request).expect("valid");
    let response = bench.post("Application/JSON; charset=utf-8", &[], json.clone()).await;
    assert_eq!((response.status().as_u16(), &response.body()[..]), (200, &b"{}"[..]));
    assert_eq!(response.headers()["content-type"], JSON);
    assert_eq!(bench.post(JSON, &[("content-encoding", "gzip")], gzip(&json)).await.status(), 200);
    assert_eq!(bench.post("application/x-protobuf;v=1", &[], request.clone()).await.status(), 200);
    for payload in bench.taken() {
        assert_eq!((payload.request, payload.tally.items), (Bytes::from(request.clone()), 2));
    }
}

#[tokio::test]
async fn an_error_is_a_status_in_the_form_of_the_request() {
    let bench = bench();
    let response = bench.post(PROTOBUF, &[], &b"\x0a\xff"[..]).await;
    assert_eq!(response.status(), 400);
    let status = Status::of_protobuf(response.body()).expect("a status");
    assert_eq!(status.code, tonic::Code::InvalidArgument);
    let response = bench.post(JSON, &[], "{").await;
    let json: serde_json::Value = serde_json::from_slice(response.body()).expect("JSON");
    assert_eq!((response.status().as_u16(), &json["code"]), (400, &serde_json::json!(3)));
    let over = vec![0; (1 << 20) + 1];
    assert_eq!(bench.post(PROTOBUF, &[], over.clone()).await.status(), 413);
    assert_eq!(bench.post(PROTOBUF, &[("content-encoding", "gzip")], gzip(&over)).await.status(), 413);
    assert_eq!(bench.post(PROTOBUF, &[("content-length", "99999999999")], "").await.status(), 413);
    assert_eq!(bench.post("text/plain", &[], "x").await.status(), 415);
    let response = bench.post(PROTOBUF, &[("x-stranger", "1")], "x").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["www-authenticate"]),
        (401, &"Bearer".parse().expect("value"))
    );
}

#[tokio::test]
async fn only_posts_to_the_three_paths_are_telemetry() {
    let bench = bench();
    for method in ["GET", "HEAD", "PUT", "OPTIONS", "DELETE"] {
        let response = bench.http_as(Request::builder().method(method).uri("/v1/traces"), "").await;
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "POST");
    }
    for path in ["/", "/v1/log", "/v1/logs/", "/metrics"] {
        assert_eq!(bench.http_as(Request::post(path), "").await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn a_request_without_items_succeeds_and_is_not_taken() {
    let bench = bench();
    assert_eq!(bench.grpc(frame(false, b"")).await.code, 0);
    assert_eq!(bench.post(PROTOBUF, &[], "").await.status(), 200);
    assert_eq!(bench.post(JSON, &[], "{}").await.status(), 200);
    assert_eq!(bench.post(PROTOBUF, &[("content-encoding", "gzip")], "").await.status(), 200);
    assert!(bench.taken().is_empty());
    assert_eq!(bench.outcome(), Outcome::Accepted);
}

/// A body that says something and then nothing.
struct Stalling(Option<Bytes>);

impl hyper::body::Body for Stalling {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(data) => std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(data)))),
            None => std::task::Poll::Pending,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_given_up_and_may_come_again() {
    let bench = bench();
    let began = tokio::time::Instant::now();
    let request = Request::post("/v1/logs").header("content-type", PROTOBUF);
    let request =
        request.version(::http::Version::HTTP_2).body(Stalling(Some("\n".into()))).expect("request");
    assert_eq!(bench.door.http(request).await.status(), 503);
    assert_eq!((began.elapsed(), bench.outcome()), (Duration::from_secs(10), Outcome::Slow));
    let request =
        Request::post("/").header("content-type", "application/grpc").body(Stalling(None)).expect("request");
    let response = bench.door.grpc(Signal::Logs, request).await;
    assert_eq!(response.headers()["grpc-status"], "4");
}

#[tokio::test]
async fn many_small_pieces_make_the_body_that_one_large_would() {
    let bench = bench();
    let request = logs(5000);
    let framed = frame(false, &request);
    let pieces: Vec<Result<_, std::convert::Infallible>> =
        framed.chunks(3).map(|piece| Ok(hyper::body::Frame::data(Bytes::copy_from_slice(piece)))).collect();
    let body = http_body_util::StreamBody::new(tokio_stream_of(pieces));
    let call = Request::post("/").header("content-type", "application/grpc").body(body).expect("request");
    assert_eq!(bench.door.grpc(Signal::Logs, call).await.status(), 200);
    assert_eq!(bench.taken()[0].request, request);
}

fn tokio_stream_of<T: Unpin>(items: Vec<T>) -> impl tonic::codegen::tokio_stream::Stream<Item = T> + Unpin {
    tonic::codegen::tokio_stream::iter(items)
}
