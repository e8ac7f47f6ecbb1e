//! One collector forwards to another, and the operator's commands around it.

use std::process::{Command, Output};

use bytes::Bytes;
use muster::atomic_file::{Access, replace};
use otlp::proto::collector_logs::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use otlp::proto::logs::{LogRecord, ResourceLogs, ScopeLogs};
use server::serve::Server;
use tonic::Request;
use tonic_prost::ProstCodec;

use crate::support::{Agent, DANA, channel, config, get, start, sum, wait_for_sum};

/// A collector that others forward to.
async fn start_sink(dir: &std::path::Path) -> Server {
    start(dir, "").await
}

fn destination(name: &str, endpoint: impl std::fmt::Display, transport: &str) -> String {
    format!(
        "[[destination]]\nname = \"{name}\"\nprofile = \"otlp\"\nendpoint = \"http://{endpoint}\"\n\
         transport = \"{transport}\"\nmetrics_interval_seconds = 1\n"
    )
}

async fn export(server: &Server, records: usize) {
    let record = |n| LogRecord { time_unix_nano: n as u64 + 1, ..Default::default() };
    let scope = ScopeLogs { log_records: (0..records).map(record).collect(), ..Default::default() };
    let resource_logs = vec![ResourceLogs { scope_logs: vec![scope], ..Default::default() }];
    let mut client = tonic::client::Grpc::new(channel(server.grpc_address).await);
    client.ready().await.expect("ready");
    let codec: ProstCodec<ExportLogsServiceRequest, ExportLogsServiceResponse> = ProstCodec::default();
    let path =
        http::uri::PathAndQuery::from_static("/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    client.unary(Request::new(ExportLogsServiceRequest { resource_logs }), path, codec).await.expect("taken");
}

/// The binary, on a thread that may block.
async fn muster(arguments: Vec<String>) -> Output {
    let run = move || Command::new(env!("CARGO_BIN_EXE_muster")).args(arguments).output().expect("runs");
    tokio::task::spawn_blocking(run).await.expect("ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A series' value on a page.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_came_arrives_and_the_figures_add_up() {
    let (one, two) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let sink = start_sink(two.path()).await;
    let otlp_http = sink.otlp_http_address.expect("on");
    let text = destination("grpc", sink.grpc_address, "grpc") + &destination("json", otlp_http, "http/json");
    let server = start(one.path(), &text).await;
    export(&server, 250).await;
    let (mut agent, _) = Agent::welcomed(&server, DANA).await;
    agent.batch(1, 10).await;

    // Twice 250 records, twice 10 events; metrics and spans besides.
    wait_for_sum(sink.http_address, "muster_otlp_items_accepted_total{signal=\"logs\"}", 520.0).await;
    wait_for_sum(
        server.http_address,
        "muster_destination_delivered_items_total{destination=\"grpc\",signal=\"logs\"}",
        260.0,
    )
    .await;
    let page = get(server.http_address, "/metrics").await.text();
    for name in ["grpc", "json"] {
        let of = |figure: &str| {
            let series =
                format!("muster_destination_{figure}_items_total{{destination=\"{name}\",signal=\"logs\"}}");
            value(&page, &series)
        };
        assert_eq!((of("accepted"), of("delivered")), (Some(260.0), Some(260.0)), "{name}");
        let up = value(&page, &format!("muster_destination_up{{destination=\"{name}\"}}"));
        assert_eq!(up, Some(1.0));
    }
    assert_eq!(sum(&page, "muster_destination_dropped_items_total"), 0.0);
    let rows = get(server.http_address, "/api/v1/destinations").await.json();
    assert_eq!(rows["rows"][1]["destination"], "json");
    assert_eq!(rows["rows"][1]["delivered"]["logs"], 260);

    let http = server.http_address.to_string();
    let told = muster(vec!["status".into(), "--server".into(), http]).await;
    let told = self::text(&told.stdout);
    assert!(told.contains("2 destinations") && told.contains("json"), "{told}");
    drop(agent);
    server.stop().await;
    sink.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_adds_changes_and_takes_out_destinations_and_everybody_sees_the_list_as_it_is() {
    let (one, two) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let sink = start_sink(two.path()).await;
    let mut server = start(one.path(), "").await;
    let (mut agent, _) = Agent::welcomed(&server, DANA).await;
    export(&server, 7).await;
    let added = destination("lab", sink.grpc_address, "grpc");
    let report = server.reload(config(one.path(), &added)).expect("valid");
    assert_eq!((report.destinations.added, report.restart_needed), (vec!["lab".to_owned()], vec![]));
    export(&server, 11).await;
    let delivered = "muster_destination_delivered_items_total{destination=\"lab\",signal=\"logs\"}";
    wait_for_sum(server.http_address, delivered, 11.0).await;
    let rows = get(server.http_address, "/api/v1/destinations").await.json();
    assert_eq!(
        (&rows["rows"][0]["destination"], rows["rows"].as_array().map(Vec::len)),
        (&"lab".into(), Some(1))
    );

    // Refused as a whole, with the name and the reason; what was there goes on.
    let own = destination("own", server.grpc_address, "grpc");
    let unreadable = destination("dark", sink.grpc_address, "grpc") + "credential_file = \"/nowhere/key\"\n";
    for (bad, words) in
        [(own, "is this collector itself"), (unreadable, "cannot read credential file /nowhere/key")]
    {
        let changed = added.replace("metrics_interval_seconds = 1", "metrics_interval_seconds = 2");
        let refused = server.reload(config(one.path(), &(changed + &bad))).expect_err("unusable").to_string();
        let name = if words.contains("itself") { "own" } else { "dark" };
        assert!(refused.contains(name) && refused.contains(words), "{refused}");
    }
    export(&server, 13).await;
    wait_for_sum(server.http_address, delivered, 24.0).await;

    let changed = added
        .replace("\"grpc\"", "\"http/protobuf\"")
        .replace(&sink.grpc_address.to_string(), &sink.otlp_http_address.expect("on").to_string());
    let report = server.reload(config(one.path(), &changed)).expect("valid");
    assert_eq!(report.destinations.changed, ["lab"]);
    export(&server, 5).await;
    wait_for_sum(sink.http_address, "muster_otlp_items_accepted_total{signal=\"logs\"}", 29.0).await;
    let report = server.reload(config(one.path(), "")).expect("valid");
    assert_eq!(report.destinations.removed, ["lab"]);
    wait_for_sum(server.http_address, "muster_destination_queued_records", 0.0).await;
    wait_until_gone(&server, "destination=\"lab\"").await;
    let rows = get(server.http_address, "/api/v1/destinations").await.json();
    assert_eq!(rows["rows"].as_array().map(Vec::len), Some(0));
    // The stream of an agent has seen nothing of it.
    agent.batch(1, 3).await;
    server.stop().await;
    sink.stop().await;
    let audit = std::fs::read_to_string(one.path().join("audit.jsonl")).expect("written");
    for what in ["added", "changed", "removed"] {
        let told = audit.lines().filter(|line| line.contains(&format!("\"destinations_{what}\":[\"lab\"]")));
        assert_eq!(told.count(), 1, "{audit}");
    }
}

/// Waits until no line of the page has these words.
async fn wait_until_gone(server: &Server, words: &str) {
    let waited = async {
        while get(server.http_address, "/metrics").await.text().contains(words) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), waited).await.expect("its figures vanish");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_by_another_hop_goes_round_once() {
    let dir = tempfile::tempdir().expect("folder");
    // A hop that hands on bytes: a proxy, or another name of this machine.
    let hop = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let endpoint = hop.local_addr().expect("address");
    let server = start(dir.path(), &destination("loop", endpoint, "grpc")).await;
    let back = server.grpc_address;
    let hop = tokio::spawn(async move {
        while let Ok((mut from, _)) = hop.accept().await {
            let mut to = tokio::net::TcpStream::connect(back).await.expect("listens");
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await });
        }
    });
    export(&server, 250).await;
    let refused =
        "muster_destination_dropped_items_total{destination=\"loop\",reason=\"permanent\",signal=\"logs\"}";
    wait_for_sum(server.http_address, refused, 250.0).await;
    let page = get(server.http_address, "/metrics").await.text();
    assert_eq!(sum(&page, "muster_otlp_items_accepted_total{signal=\"logs\"}"), 250.0, "once");
    let letters = std::fs::read_dir(dir.path().join("destinations/loop/dead-letter")).map(Iterator::count);
    assert!(letters.is_ok_and(|count| count > 0), "kept for whoever mends the endpoint");
    hop.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_the_collector_itself_is_refused_by_check_and_start() {
    let dir = tempfile::tempdir().expect("folder");
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("binds");
    let text = format!("[server]\ngrpc_listen = \"{free}\"\n{}", destination("loop", free, "grpc"));
    let path = dir.path().join("muster.toml");
    replace(&path, text.as_bytes(), Access::Umask).expect("written");
    for command in [vec!["check-config"], vec!["serve", "--data-dir", "unused", "--config"]] {
        let arguments = command.into_iter().map(str::to_owned).chain([path.display().to_string()]).collect();
        let output = muster(arguments).await;
        let said = self::text(&output.stderr);
        assert!(output.status.code() == Some(3) && said.contains("is this collector itself"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_says_what_came_back_and_fails_when_one_does_not_take_requests() {
    let (dir, data) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let sink = start_sink(data.path()).await;
    let path = dir.path().join("muster.toml");
    let probe = |text: String| {
        replace(&path, text.as_bytes(), Access::Umask).expect("written");
        muster(vec!["check-config".into(), "--probe".into(), path.display().to_string()])
    };
    let good = destination("good", sink.grpc_address, "grpc")
        + &destination("web", sink.otlp_http_address.expect("on"), "http/protobuf");
    let output = probe(good.clone()).await;
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stdout).matches(" ok ").count(), 6, "{}", text(&output.stdout));

    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        listener.local_addr().expect("address")
    };
    let pages = sink.http_address;
    let bad = good + &destination("dead", closed, "grpc") + &destination("pages", pages, "http/protobuf");
    let output = probe(bad).await;
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    assert!(told.contains("nothing listens there") && told.contains("wrong path or port"), "{told}");
    sink.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_tried_again_and_dropped_by_hand() {
    let (dir, sink_data) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let sink = start_sink(sink_data.path()).await;
    // The pages of a collector know no OTLP: 404 for ever.
    let wrong = destination("one", sink.http_address, "http/protobuf") + "signals = [\"logs\"]\n";
    let server = start(dir.path(), &wrong).await;
    export(&server, 3).await;
    wait_for_sum(server.http_address, "muster_destination_dropped_items_total", 3.0).await;
    server.stop().await;

    let data = dir.path().display().to_string();
    let command = |words: &[&str]| {
        let words = ["destination", "dead-letter"].iter().chain(words).map(|word| (*word).to_owned());
        muster(words.chain(["--data-dir".to_owned(), data.clone()]).collect())
    };
    let listed = command(&["list", "--json"]).await;
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!((&listed[0]["items"], &listed[0]["destination"]), (&3.into(), &"one".into()), "{listed}");
    let id = listed[0]["id"].as_str().expect("id");
    assert_eq!(command(&["drop", "0000000000000000-000009"]).await.status.code(), Some(1));
    assert!(command(&["retry", id]).await.status.success());

    let right = destination("one", sink.otlp_http_address.expect("on"), "http/protobuf");
    let server = start(dir.path(), &right).await;
    wait_for_sum(sink.http_address, "muster_otlp_items_accepted_total{signal=\"logs\"}", 3.0).await;
    assert!(text(&command(&["list"]).await.stdout).contains("no dead letters"));
    server.stop().await;
    sink.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_cannot_be_used_stops_the_start_with_words() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("muster.toml");
    let text_of = destination("one", "127.0.0.1:1", "grpc") + "credential_env = \"MUSTER_TEST_NO_SUCH\"\n";
    let data = dir.path().join("data");
    let server = format!(
        "[server]\ngrpc_listen = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\notlp_http_listen = \"off\"\ndata_dir = {data:?}\n"
    );
    replace(&path, Bytes::from(server + &text_of).as_ref(), Access::Umask).expect("written");
    let output = muster(vec!["serve".into(), "--config".into(), path.display().to_string()]).await;
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("destination \"one\": variable MUSTER_TEST_NO_SUCH"), "{told}");
}
