//! Readers of a collector that are slow, are of one team, or meet a file that cannot be read.

use super::*;

/// Parquet files of a data set in a collector's history.
fn files_of(collector: &Collector, data_set: &str) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![collector.data_dir().join("history").join(data_set)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

#[test]
fn a_corrupt_file_is_set_aside_and_named_and_the_rest_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[history]\nflush_interval_seconds = 1\n".to_owned();
    let collector = Collector::spawn(folder.path(), CollectorOptions { config, ..Default::default() });
    let mut agent = RawAgent::connect(collector.grpc, &Identity::random()).unwrap();
    for round in 1..=3 {
        let runs = (0..100).map(|_| run_finished("linter", RunStatus::Success)).collect();
        assert_eq!(agent.send("devloop", "api", runs).outcome(), Outcome::Appended);
        collector.wait_page("the runs to be in files", DEADLINE, |page| {
            page.sum("muster_history_rows_total", &[("data_set", "runs")]) == f64::from(round * 100)
        });
    }
    let files = files_of(&collector, "runs");
    assert_eq!(files.len(), 3, "{files:?}");
    let victim = files[1].file_name().unwrap().to_str().unwrap().to_owned();
    let damaged = b"no Parquet at all".repeat(100);
    std::fs::write(&files[1], &damaged).unwrap();
    // Streamed, to the command: rows that are there, and a word for those that are not.
    let export = |arguments: &[&str]| {
        let mut command = muster();
        command.args(["telemetry", "export"]).args(arguments).env("MUSTER_HTTP", collector.http.to_string());
        command.output().unwrap()
    };
    let output = export(&[]);
    assert_eq!(succeeds(&output).lines().count(), 201);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(&victim) && told.contains("set aside"), "{told}");
    collector.wait_page("it to be counted", DEADLINE, |page| {
        page.sum("muster_history_set_aside_files_total", &[]) == 1.0
    });
    // From now on it is passed over, and what it was is kept.
    let output = export(&[]);
    assert_eq!(succeeds(&output).lines().count(), 201);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    std::fs::write(&files[2], b"PAR1 neither PAR1").unwrap();
    let page = collector.get("/api/v1/history/runs?limit=1000").json();
    assert_eq!(page["rows"].as_array().unwrap().len(), 100);
    let third = files[2].file_name().unwrap().to_str().unwrap();
    assert!(page["notices"][0].as_str().unwrap().contains(third), "{page}");
    // It is moved with the next upkeep, which comes after a flush.
    agent.send("devloop", "api", vec![run_finished("linter", RunStatus::Success)]);
    let kept = || files_of_corrupt(&collector).into_iter().find(|path| path.ends_with(&victim));
    let kept = wait_for("it to be moved", DEADLINE, kept);
    assert_eq!(std::fs::read(kept).unwrap(), damaged);
}

fn files_of_corrupt(collector: &Collector) -> Vec<PathBuf> {
    files_of(collector, "_corrupt")
}

/// How long a reader may take nothing.
const STALL: Duration = Duration::from_secs(8);

#[test]
fn slow_readers_are_cut_off_and_until_then_the_next_is_told_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[history]\nreader_stall_seconds = {}\n", STALL.as_secs());
    let collector = Collector::spawn(folder.path(), CollectorOptions { config, ..Default::default() });
    let mut agent = RawAgent::connect(collector.grpc, &Identity::random()).unwrap();
    for _ in 0..20 {
        let runs = (0..1_000).map(|_| run_finished("linter", RunStatus::Success)).collect();
        assert_eq!(agent.send("devloop", "api", runs).outcome(), Outcome::Appended);
    }
    let asked = b"GET /api/v1/history/runs?format=ndjson HTTP/1.1\r\nhost: x\r\n\r\n";
    let slow: Vec<std::net::TcpStream> = (0..4)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(collector.http).unwrap();
            stream.write_all(asked).unwrap();
            stream
        })
        .collect();
    // They begin, and then nobody takes any more.
    slow.iter().for_each(|mut stream| stream.read_exact(&mut [0; 12]).unwrap());
    let stalled = std::time::Instant::now();
    let refused = collector.get("/api/v1/history/runs?limit=1");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.json()["error"].as_str().unwrap().contains("4 queries"), "{}", refused.text());
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
    let output =
        muster().args(["telemetry", "export", "--server", &collector.http.to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("4 queries"), "{output:?}");
    wait_for("the slow ones to be cut off", DEADLINE, || {
        (collector.get("/api/v1/history/runs?limit=1").status == 200).then_some(())
    });
    // Not the first of them alone: one that is read from within its time gets all of it.
    support::pause((2 * STALL).saturating_sub(stalled.elapsed()));
    for mut stream in slow {
        let mut rest = Vec::new();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // The connection may be reset: that is a cut as well.
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.ends_with(b"0\r\n\r\n"), "an answer that is not whole says that it is");
    }
}

#[test]
fn a_teams_token_reads_its_own_rows_alone_over_tls() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let options = CollectorOptions {
        config: format!("[server.tls]\ncert_file = {certificate:?}\nkey_file = {key:?}\n"),
        environment: vec![
            ("MUSTER_HTTP_LISTEN".to_owned(), "0.0.0.0:0".to_owned()),
            ("MUSTER_OTLP_HTTP_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ],
        ..CollectorOptions::default()
    };
    let collector = Collector::spawn(&folder.path().join("collector"), options);
    let token = |name: &str, scope: &[&str]| {
        let output = collector.command(&[&["token", "create"], scope].concat());
        let path = folder.path().join(name);
        std::fs::write(&path, output.stdout.trim_ascii()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let operator = token("operator", &["--operator"]);
    let teams = ["red", "blue"].map(|team| token(team, &["--team", team]));
    let server = format!("https://localhost:{}", collector.http.port());
    let otlp = format!("https://localhost:{}/v1/logs", collector.otlp_http.port());
    for (token, count) in teams.iter().zip([1, 2]) {
        let line = serde_json::json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords":
            (0..count).map(|_| serde_json::json!({ "body": { "stringValue": "x" } })).collect::<Vec<_>>() }] }] });
        let secret = std::fs::read_to_string(token).unwrap();
        let sent = wait_for("the token to be known", DEADLINE, || {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--fail", "--cacert"]).arg(&certificate);
            curl.args([
                "-H",
                &format!("Authorization: Bearer {secret}"),
                "-H",
                "Content-Type: application/json",
            ]);
            curl.args(["-d", &line.to_string(), &otlp]);
            curl.status().unwrap().success().then_some(true)
        });
        assert!(sent);
    }
    let export = |token: Option<&Path>, more: &[&str]| {
        let mut command = muster();
        command.args([
            "telemetry",
            "export",
            "--data-set",
            "events",
            "--format",
            "ndjson",
            "--server",
            &server,
        ]);
        command.arg("--ca-file").arg(&certificate).args(more);
        if let Some(token) = token {
            command.arg("--token-file").arg(token);
        }
        command.output().unwrap()
    };
    let counts = |output: &Output| -> Vec<(String, u64)> {
        let rows = succeeds(output);
        let row = |line: &str| {
            let row: Value = serde_json::from_str(line).unwrap();
            (row["team"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap())
        };
        rows.lines().map(row).collect()
    };
    let of = |team: &str, count| (team.to_owned(), count);
    assert_eq!(counts(&export(Some(&teams[0]), &[])), [of("red", 1)]);
    assert_eq!(counts(&export(Some(&teams[1]), &[])), [of("blue", 2)]);
    assert_eq!(counts(&export(Some(&teams[0]), &["--team", "blue"])), [of("red", 1)], "whatever it asks for");
    let mut all = counts(&export(Some(&operator), &[]));
    all.sort();
    assert_eq!(all, [of("blue", 2), of("red", 1)]);
    let refused = export(None, &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--token-file"), "{refused:?}");
}
