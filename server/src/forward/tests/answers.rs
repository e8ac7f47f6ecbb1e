//! What each kind of answer leads to.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use otlp::proto::collector_trace::ExportTraceServiceRequest;
use otlp::proto::trace::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::super::figures::Attempt;
use super::sink::{Answer, Sink, grpc_ok, ok, status};
use super::*;

/// As grpc-go says it.
const TOO_LARGE: &str = "grpc: received message larger than max (5 vs. 4)";

#[tokio::test]
async fn every_2xx_is_success_also_with_an_empty_body() {
    for code in [200, 202, 204] {
        let sink = Sink::start(move |_, _| Answer::Http(code, Vec::new(), Bytes::new())).await;
        let bench = Bench::new();
        let forwarding = bench.start(&[otlp("one", &sink, "http/protobuf", "")]);
        bench.append(&["a", "b"]);
        let observed = forwarding.observed.all()[0].clone();
        eventually("delivered", || observed.figures.delivered.value(Signal::Logs) == 2).await;
        at_rest(&observed).await;
        assert_conserved(&observed).await;
        assert_eq!((sink.count(), observed.figures.is_up()), (1, Some(true)));
        forwarding.stop().await;
    }
}

#[tokio::test]
async fn grpc_and_json_and_compression_arrive_as_they_should() {
    for (transport, compression) in [
        ("grpc", "none"),
        ("grpc", "gzip"),
        ("grpc", "zstd"),
        ("http/protobuf", "gzip"),
        ("http/protobuf", "zstd"),
        ("http/json", "gzip"),
    ] {
        let sink = Sink::start(move |_, _| if transport == "grpc" { grpc_ok() } else { ok() }).await;
        let bench = Bench::new();
        let more = format!(
            "compression = \"{compression}\"\nheaders = {{ x-scope = \"7\" }}\n\
             resource_attributes = {{ \"deployment.environment.name\" = \"lab\" }}\n"
        );
        let forwarding = bench.start(&[otlp("one", &sink, transport, &more)]);
        bench.append(&["a"]);
        at_rest(&forwarding.observed.all()[0]).await;
        eventually("one request", || sink.count() == 1).await;
        let mut received = sink.received().remove(0);
        if transport == "http/json" {
            received.message = otlp::json::decode(Signal::Logs, &received.message).expect("JSON");
        }
        assert_eq!(received.records()[0].1, "a", "{transport} {compression}");
        assert_eq!(received.attribute("muster.team").as_deref(), Some("default"));
        assert_eq!(received.attribute("deployment.environment.name").as_deref(), Some("lab"));
        assert_eq!(received.headers["x-scope"], "7");
        assert_eq!(received.headers["user-agent"], concat!("muster/", env!("CARGO_PKG_VERSION")));
        let path = if transport == "grpc" { Signal::Logs.grpc_path() } else { "/v1/logs" };
        assert_eq!(received.path, path);
        forwarding.stop().await;
    }
}

#[tokio::test]
async fn a_503_is_tried_again_until_it_passes() {
    let sink = Sink::start(|n, _| if n < 2 { status(503) } else { ok() }).await;
    let bench = Bench::new();
    let forwarding = bench.start(&[otlp("one", &sink, "http/protobuf", "")]);
    bench.append(&["a"]);
    let observed = forwarding.observed.all()[0].clone();
    eventually("delivered", || observed.figures.delivered.value(Signal::Logs) == 1).await;
    assert_eq!(sink.bodies(), ["a", "a", "a"]);
    assert_eq!(observed.row().last_error.as_deref(), Some("HTTP 503: as scripted"));
    forwarding.stop().await;
}

#[tokio::test]
async fn retry_after_is_honoured_in_seconds_and_as_a_date() {
    let clock = SystemClock::new();
    // Dates have whole seconds.
    let due_us = (clock.wall().0 / 1_000_000 + 2) * 1_000_000;
    let date = jiff::Timestamp::from_microsecond(due_us as i64).expect("time");
    let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (value, least_us) in [("1".to_owned(), None), (date, Some(due_us))] {
        let sink = Sink::start(move |n, _| match n {
            0 => Answer::Http(429, vec![("retry-after", value.clone())], Bytes::new()),
            _ => ok(),
        })
        .await;
        let bench = Bench::new();
        let forwarding = bench.start(&[otlp("one", &sink, "http/protobuf", "")]);
        bench.append(&["a"]);
        eventually("two requests", || sink.count() == 2).await;
        let received = sink.received();
        let least_us = least_us.unwrap_or(received[0].at_us + 1_000_000);
        // Timers and wall clocks may differ by a little.
        assert!(received[1].at_us + 20_000 >= least_us, "{} before {least_us}", received[1].at_us);
        forwarding.stop().await;
    }
}

#[tokio::test]
async fn a_permanent_error_goes_to_a_dead_letter_and_the_queue_moves_on() {
    let sink = Sink::start(|n, _| if n == 0 { status(400) } else { ok() }).await;
    let bench = Bench::new();
    let forwarding = bench.start(&[otlp("one", &sink, "http/protobuf", "")]);
    bench.append(&["bad", "bad too"]);
    let observed = forwarding.observed.all()[0].clone();
    at_rest(&observed).await;
    bench.append(&["good"]);
    eventually("delivered", || observed.figures.delivered.value(Signal::Logs) == 1).await;
    assert_eq!(observed.figures.dropped().get(&("logs", "permanent")), Some(&2));
    assert_conserved(&observed).await;
    let letters = DeadLetters::of(&folder_of(&bench.source.data_dir, "one"));
    let listed = letters.list().expect("readable");
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].head.items, listed[0].head.reason.as_str()), (2, "HTTP 400: as scripted"));

    // An operator has the cause removed, and tries again.
    letters.retry(&listed[0].id).expect("there");
    eventually("sent again", || observed.figures.retried.value(Signal::Logs) == 2).await;
    assert_eq!(sink.bodies(), ["bad", "bad too", "good", "bad", "bad too"]);
    assert_conserved(&observed).await;
    forwarding.stop().await;
}

#[tokio::test]
async fn a_413_is_sent_in_halves_down_to_what_fits() {
    let sink = Sink::start(|_, received| if received.records().len() > 2 { status(413) } else { ok() }).await;
    let bench = Bench::new();
    let forwarding = bench.start(&[otlp("one", &sink, "http/protobuf", "")]);
    let bodies: Vec<String> = (0..9).map(|n| format!("record {n}")).collect();
    bench.append(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let observed = forwarding.observed.all()[0].clone();
    eventually("delivered", || observed.figures.delivered.value(Signal::Logs) == 9).await;
    let taken = sink.received().into_iter().filter(|received| received.records().len() <= 2);
    let taken: Vec<String> = taken.flat_map(|received| received.records()).map(|(_, body)| body).collect();
    assert_eq!(taken, bodies);
    at_rest(&observed).await;
    assert_conserved(&observed).await;
    forwarding.stop().await;
}

#[tokio::test]
async fn a_partial_success_is_counted_kept_and_not_sent_again() {
    // ExportLogsServiceResponse { partial_success { rejected_log_records: 1, error_message: "old" } }
    let response = Bytes::from_static(&[0x0a, 0x07, 0x08, 0x01, 0x12, 0x03, b'o', b'l', b'd']);
    let sink = Sink::start(move |_, _| Answer::Grpc(0, None, response.clone())).await;
    let bench = Bench::new();
    let forwarding = bench.start(&[otlp("one", &sink, "grpc", "")]);
    bench.append(&["a", "b", "c"]);
    let observed = forwarding.observed.all()[0].clone();
    at_rest(&observed).await;
    assert_eq!(observed.figures.delivered.value(Signal::Logs), 2);
    assert_eq!(observed.figures.dropped().get(&("logs", "rejected")), Some(&1));
    assert_conserved(&observed).await;
    assert_eq!(sink.count(), 1);
    let letters = DeadLetters::of(&folder_of(&bench.source.data_dir, "one")).list().expect("readable");
    assert_eq!((letters.len(), letters[0].head.rejected), (1, 1));
    assert!(letters[0].head.reason.ends_with("old"), "{}", letters[0].head.reason);
    forwarding.stop().await;
}

#[tokio::test]
async fn resource_exhausted_is_tried_again_with_retry_info_and_split_without() {
    // Status { details: [Any { type_url: "x/google.rpc.RetryInfo", value: RetryInfo { delay 0.001 s } }] }
    let mut status = vec![0x08, 8, 0x1a, 0x1f, 0x0a, 22];
    status.extend_from_slice(b"x/google.rpc.RetryInfo");
    status.extend_from_slice(&[0x12, 5, 0x0a, 3, 0x10, 0xe8, 0x07]);
    let details = STANDARD.encode(&status);
    let sink = Sink::start(move |n, received| match (n, received.records().len()) {
        (0, _) => Answer::Grpc(8, Some(details.clone()), Bytes::new()),
        (_, 1) => grpc_ok(),
        _ => Answer::GrpcError(8, TOO_LARGE),
    })
    .await;
    let bench = Bench::new();
    let forwarding = bench.start(&[otlp("one", &sink, "grpc", "")]);
    bench.append(&["a", "b"]);
    let observed = forwarding.observed.all()[0].clone();
    at_rest(&observed).await;
    assert_eq!(sink.bodies(), ["a", "b", "a", "b", "a", "b"]);
    assert_eq!(sink.received()[3].records().len(), 1);
    assert_eq!(observed.figures.delivered.value(Signal::Logs), 2);
    forwarding.stop().await;
}

#[tokio::test]
async fn a_single_item_that_is_too_large_goes_to_a_dead_letter() {
    let sink = Sink::start(|_, _| Answer::GrpcError(8, TOO_LARGE)).await;
    let bench = Bench::new();
    let forwarding = bench.start(&[otlp("one", &sink, "grpc", "")]);
    bench.append(&["a", "b"]);
    let observed = forwarding.observed.all()[0].clone();
    at_rest(&observed).await;
    assert_eq!(observed.figures.dropped().get(&("logs", "too_large")), Some(&2));
    assert_conserved(&observed).await;
    forwarding.stop().await;
}

#[tokio::test]
async fn a_reply_that_is_lost_leads_to_a_repeat_under_the_same_ids() {
    let sink = Sink::start(|n, _| if n == 0 { Answer::Cut } else { ok() }).await;
    let bench = Bench::new();
    let forwarding = bench.start(&[otlp("one", &sink, "http/protobuf", "")]);
    bench.append(&["a", "b"]);
    at_rest(&forwarding.observed.all()[0]).await;
    let received = sink.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].records(), received[1].records());
    let (first, second) = (&received[0].records()[0].0, &received[0].records()[1].0);
    assert!(first.ends_with(".0") && second.ends_with(".1"), "{first} {second}");
    forwarding.stop().await;
}

#[tokio::test]
async fn a_refused_credential_keeps_the_queue_and_shows_no_secret() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("key");
    muster::atomic_file::replace(&path, b"canary-7f3a\n", muster::atomic_file::Access::Owner)
        .expect("written");
    let sink = Sink::start(|_, received| {
        let key = received.headers["authorization"].to_str().expect("text").to_owned();
        Answer::Http(401, Vec::new(), format!("bad key {key}").into())
    })
    .await;
    let bench = Bench::new();
    let destination =
        otlp("one", &sink, "http/protobuf", &format!("credential_file = \"{}\"\n", path.display()));
    let forwarding = bench.start(std::slice::from_ref(&destination));
    bench.append(&["a"]);
    let observed = forwarding.observed.all()[0].clone();
    eventually("refused", || observed.figures.is_up() == Some(false)).await;
    assert_eq!(sink.received()[0].headers["authorization"], "Bearer canary-7f3a");
    let row = observed.row();
    assert_eq!(row.queued_records, 1);
    let client = Client::new(&destination, None, bench.source.clock.clone()).expect("client");
    let told = format!("{row:?} {destination:?} {client:?} {:?}", observed.figures);
    assert!(told.contains("HTTP 401: bad key") && !told.contains("canary"), "{told}");
    forwarding.stop().await;
}

#[tokio::test]
async fn a_probe_says_that_its_request_is_empty() {
    let sink = Sink::start(|_, _| ok()).await;
    let destination = otlp("one", &sink, "http/protobuf", "signals = [\"logs\"]\n");
    let probes = probe::probe(&destination, Bench::new().source.clock).await.expect("asked");
    assert!(probes[0].ok, "{probes:?}");
    let received = sink.received();
    assert_eq!(received[0].headers.get("content-length").map(|length| length.as_bytes()), Some(&b"0"[..]));
}

#[tokio::test]
async fn a_limit_on_the_number_of_requests_is_not_met_with_more_of_them() {
    let sink = Sink::start(|_, _| Answer::GrpcError(8, "request exceeded available capacity")).await;
    let bench = Bench::new();
    let forwarding = bench.start(&[otlp("one", &sink, "grpc", "")]);
    bench.append(&["a", "b", "c", "d"]);
    let observed = forwarding.observed.all()[0].clone();
    at_rest(&observed).await;
    assert_eq!(
        sink.received().len(),
        1,
        "without RetryInfo it is not to be retried, and halves would be more"
    );
    assert_eq!(observed.figures.dropped().get(&("logs", "permanent")), Some(&4));
    assert_conserved(&observed).await;
    forwarding.stop().await;
}

#[tokio::test]
async fn a_signal_that_is_refused_while_another_is_taken_does_not_hold_it_up() {
    let sink = Sink::start(|_, request| match request.path.as_str() {
        "/v1/traces" => Answer::Http(403, Vec::new(), Bytes::new()),
        _ => ok(),
    })
    .await;
    let bench = Bench::new();
    let forwarding = bench.start(&[otlp("one", &sink, "http/protobuf", "")]);
    let observed = forwarding.observed.all()[0].clone();
    bench.append_signal("default", Signal::Traces, span(), 1);
    eventually("the refusal", || observed.figures.attempts.value(Attempt::Refused) == 1).await;
    bench.append(&["a"]);
    eventually("the log record", || observed.figures.delivered.value(Signal::Logs) == 1).await;
    bench.append_signal("default", Signal::Traces, span(), 1);
    eventually("the dead letter", || observed.figures.dropped().get(&("traces", "permanent")) == Some(&1))
        .await;
    forwarding.stop().await;
}

fn span() -> Bytes {
    let span = Span { trace_id: vec![1; 16], span_id: vec![2; 8], ..Default::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }],
    };
    request.encode_to_vec().into()
}
