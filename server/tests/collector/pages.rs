//! The pages.

use std::io::Read;

use crate::support::{Agent, DANA, Who, ask, get, start, wait_for_sum};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_collector_is_ready_and_every_page_is_there() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let http = server.http_address;
    let ready = get(http, "/readyz").await;
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ok")), "{}", ready.text());
    for path in ["/", "/healthz", "/metrics", "/api/v1/agents", "/api/v1/sessions", "/api/v1/runs"] {
        let answer = get(http, path).await;
        assert_eq!(answer.status, 200, "{path}");
        let head = ask(http, "HEAD", path, "").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(ask(http, "POST", path, "content-length: 0\r\n").await.status, 405, "{path}");
    }
    assert_eq!(get(http, "/secret").await.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_metrics_comes_in_the_format_and_coding_that_the_scraper_asks_for() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let http = server.http_address;
    let (mut agent, _) = Agent::welcomed(&server, DANA).await;
    agent.batch(1, 10).await;
    wait_for_sum(http, "muster_runs_total", 10.0).await;

    let text = get(http, "/metrics").await;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(text.text().contains("# TYPE muster_server_batches_total counter"), "{}", text.text());
    let open = ask(http, "GET", "/metrics", "accept: application/openmetrics-text;version=1.0.0\r\n").await;
    assert!(open.header("content-type").is_some_and(|t| t.starts_with("application/openmetrics-text")));
    assert!(open.text().contains("# TYPE muster_server_batches counter"));
    assert!(open.text().ends_with("# EOF\n"));

    let zipped = ask(http, "GET", "/metrics?name[]=muster_runs_total", "accept-encoding: gzip\r\n").await;
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let mut unzipped = String::new();
    flate2::read::GzDecoder::new(&zipped.body[..]).read_to_string(&mut unzipped).expect("gzip");
    assert_eq!(unzipped, get(http, "/metrics?name[]=muster_runs_total").await.text());
    let samples: Vec<_> = unzipped.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples.len(), 1, "{unzipped}");
    assert!(get(http, "/metrics?project=other").await.text().is_empty());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_told_in_pages_from_the_newest_on() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let http = server.http_address;
    let (mut agent, _) = Agent::welcomed(&server, DANA).await;
    let (mut other, _) = Agent::welcomed(&server, Who { agent: 2, ..DANA }).await;
    agent.batch(1, 25).await;
    other.batch(1, 25).await;
    wait_for_sum(http, "muster_runs_total", 50.0).await;
    let (mut seen, mut path) = (Vec::new(), "/api/v1/runs?limit=20".to_owned());
    loop {
        let page = get(http, &path).await.json();
        let rows = page["rows"].as_array().expect("rows").clone();
        assert!(rows.iter().all(|row| row["worker"] == "linter" && row["status"] == "success"));
        seen.extend(rows.iter().map(|row| (row["position"].as_u64(), row["index"].as_u64())));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/runs?limit=20&after={next}");
    }
    assert_eq!(seen.len(), 50);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "newest first, each once");
    assert_eq!(get(http, "/api/v1/runs?limit=0").await.status, 400);
    assert_eq!(get(http, "/api/v1/runs?limit=x").await.status, 400);
    assert_eq!(get(http, "/api/v1/runs?team=a/b").await.status, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_in_the_audit_log_however_its_request_is_written() {
    let dir = tempfile::tempdir().expect("folder");
    let server = start(dir.path(), "").await;
    let exports = ["runs?format=csv", "runs?for%6Dat=csv", "%72uns?format=c%73v", "runs?%66ormat=nd%6Ason&"];
    for asked in exports.iter().chain(&["runs?format=j%73on", "summary"]) {
        let path = format!("/api/v1/history/{asked}");
        let mut answer = get(server.http_address, &path).await;
        while answer.status == 503 {
            // The history is still being opened.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            answer = get(server.http_address, &path).await;
        }
        assert_eq!(answer.status, 200, "{asked}: {}", answer.text());
    }
    server.stop().await;
    let lines: Vec<serde_json::Value> =
        server::audit::lines(dir.path()).map(|line| serde_json::from_str(&line).expect("JSON")).collect();
    let of = |what: &str| lines.iter().filter(|line| line["what"] == what).collect::<Vec<_>>();
    let applied = of("configuration_applied");
    assert!(applied.len() == 1 && applied[0]["at"] == "start", "{applied:?}");
    assert_eq!(applied[0]["file_sha256"].as_str().map(str::len), Some(64), "{applied:?}");
    let begun = of("export_begun");
    assert_eq!((begun.len(), of("export_ended").len()), (exports.len(), exports.len()), "{lines:?}");
    assert!(begun.iter().all(|line| line["of"] == "runs"), "{begun:?}");
    assert!(begun[..3].iter().all(|line| line["asked"] == "format=csv"), "{begun:?}");
    assert_eq!(of("history_read").len(), 2, "{lines:?}");
}
