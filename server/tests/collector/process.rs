//! `muster` as a process: signals, exit codes, the operator's commands.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use muster::atomic_file::{Access, replace};
use muster::v1::verdict::Outcome;

use crate::support::{Agent, DANA, PATIENCE, channel, get, sum};

fn muster() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    for name in ["MUSTER_CONFIG", "MUSTER_DATA_DIR", "MUSTER_LOG", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
        command.env_remove(name);
    }
    command
}

pub fn output(arguments: &[&str]) -> Output {
    muster().args(arguments).output().expect("runs")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A collector in a process of its own, killed when dropped.
pub struct Process {
    child: Child,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
}

impl Process {
    pub fn start(config: &Path) -> Self {
        let mut command = muster();
        command.args(["serve", "--log-format", "json", "--config"]).arg(config);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let up = loop {
            let line = lines.next().expect("a line about being up").expect("text");
            let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            if line["message"] == "collector is up" {
                break line;
            }
        };
        // Read on, so that the pipe never fills.
        std::thread::spawn(move || lines.for_each(drop));
        let address = |key: &str| up[key].as_str().expect("an address").parse().expect("an address");
        Self { grpc: address("grpc"), http: address("http"), child }
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    async fn exit_code(&mut self) -> Option<i32> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waits") {
                return status.code();
            }
            assert!(tokio::time::Instant::now() < deadline, "still running");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn wait_for_reload(&self, result: &str) {
        let name = format!("muster_server_reloads_total{{result=\"{result}\"}}");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let page = get(self.http, "/metrics").await.text();
            if page.lines().any(|line| line.strip_prefix(&name).is_some_and(|rest| rest.trim() != "0")) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "no {result}: {page}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn write_config(dir: &Path, more: &str) -> std::path::PathBuf {
    let path = dir.join("muster.toml");
    let data = dir.join("data");
    let text = format!(
        "[server]\ngrpc_listen = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\notlp_http_listen = \"127.0.0.1:0\"\ndata_dir = {data:?}\n{more}"
    );
    replace(&path, text.as_bytes(), Access::Umask).expect("write");
    path
}

#[test]
fn a_wrong_key_is_named_with_the_nearest_one_and_its_own_exit_code() {
    let dir = tempfile::tempdir().expect("folder");
    let path = write_config(dir.path(), "[server.limits]\nstream_max = 3\n");
    let path = path.to_str().expect("text");
    for arguments in [&["check-config", path][..], &["serve", "--config", path]] {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(3));
        let said = text(&output.stderr);
        assert!(said.contains("line 7") && said.contains("did you mean `streams_max`?"), "{said}");
    }
    assert!(!dir.path().join("data").exists(), "nothing is touched");
    let path = write_config(dir.path(), "");
    assert!(output(&["check-config", path.to_str().expect("text")]).status.success());
}

#[test]
fn a_credential_that_is_not_there_is_a_warning_of_the_check() {
    let dir = tempfile::tempdir().expect("folder");
    let destination =
        "[[destination]]\nname = \"nr\"\nprofile = \"newrelic\"\ncredential_env = \"MUSTER_TEST_KEY\"\n";
    let path = write_config(dir.path(), destination);
    let check = |key: Option<&str>| {
        let mut command = muster();
        command.arg("check-config").arg(&path).env_remove("MUSTER_TEST_KEY");
        let output = command.envs(key.map(|key| ("MUSTER_TEST_KEY", key))).output().expect("runs");
        assert!(output.status.success() && text(&output.stdout).contains("is valid"), "{output:?}");
        text(&output.stderr)
    };
    let said = check(None);
    assert!(
        said.starts_with("warning: destination \"nr\": variable MUSTER_TEST_KEY (credential_env) is not set"),
        "{said}"
    );
    assert_eq!(check(Some("key")), "");
}

#[test]
fn a_page_without_what_was_asked_for_is_a_failure_as_grep_has_it() {
    let dir = tempfile::tempdir().expect("folder");
    let process = Process::start(&write_config(dir.path(), ""));
    let (host, port) = (process.http.ip().to_string(), process.http.port().to_string());
    let metrics = |name: &str| output(&["metrics", name, "--host", &host, "--port", &port]);
    let found = metrics("muster_server_streams");
    assert!(found.status.success() && text(&found.stdout).contains("muster_server_streams"), "{found:?}");
    let nothing = metrics("lokki_cost");
    assert_eq!((nothing.status.code(), text(&nothing.stdout).as_str()), (Some(1), ""));
    assert!(text(&nothing.stderr).contains("\"lokki_cost\""), "{nothing:?}");
}

#[test]
fn nobody_there_is_said_once() {
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("binds");
    let port = free.port().to_string();
    for arguments in [&["metrics", "--port", &port][..], &["agent", "status", "--page", &free.to_string()]] {
        let said = text(&output(arguments).stderr);
        assert_eq!(said.matches("Connection refused").count(), 1, "{said}");
    }
}

#[test]
fn a_token_is_made_listed_and_revoked() {
    let dir = tempfile::tempdir().expect("folder");
    let data = dir.path().join("data");
    let data = data.to_str().expect("text");
    let made = output(&["token", "create", "--team", "red", "--data-dir", data]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let token = muster::credential::Token::parse(&text(&made.stdout)).expect("a token");
    let listed = text(&output(&["token", "list", "--data-dir", data]).stdout);
    assert!(listed.contains(token.id().as_str()) && listed.contains("red"), "{listed}");
    assert!(!listed.contains(token.expose()));
    assert!(output(&["token", "revoke", token.id().as_str(), "--data-dir", data]).status.success());
    let listed = output(&["token", "list", "--json", "--data-dir", data]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert!(listed[0]["revoked"].is_string(), "{listed}");
    let unknown = output(&["token", "revoke", "nobody", "--data-dir", data]);
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(output(&["token", "create", "--team", "a/b", "--data-dir", data]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_is_applied_or_refused_without_cutting_a_stream() {
    let dir = tempfile::tempdir().expect("folder");
    let path = write_config(dir.path(), "");
    let mut process = Process::start(&path);
    let mut agent = Agent::open(channel(process.grpc).await, None).await.expect("stream");
    agent.hello(DANA).await;

    write_config(dir.path(), "[server.limits]\nstreams_max = 1\n");
    process.signal("HUP");
    process.wait_for_reload("config_applied").await;
    let mut second = Agent::open(channel(process.grpc).await, None).await.expect("stream");
    assert_eq!(second.end().await.code(), tonic::Code::ResourceExhausted, "the new bound is in use");

    write_config(dir.path(), "[server.limits]\nstream_max = 7\n");
    process.signal("HUP");
    process.wait_for_reload("config_refused").await;
    assert_eq!(agent.batch(1, 10).await, (Outcome::Appended, 10));

    process.signal("TERM");
    drop(agent);
    assert_eq!(process.exit_code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_collector_has_everything_that_it_acknowledged() {
    let dir = tempfile::tempdir().expect("folder");
    let path = write_config(dir.path(), "");
    let mut acked = 0;
    for _ in 0..3 {
        let mut process = Process::start(&path);
        let mut agent = Agent::open(channel(process.grpc).await, None).await.expect("stream");
        assert!(agent.hello(DANA).await.high_water_mark >= acked);
        for _ in 0..5 {
            assert_eq!(agent.batch(acked + 1, 10).await, (Outcome::Appended, acked + 10));
            acked += 10;
        }
        process.signal("KILL");
        process.exit_code().await;
    }
    let process = Process::start(&path);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while sum(&get(process.http, "/metrics").await.text(), "muster_runs_total") != acked as f64 {
        assert!(tokio::time::Instant::now() < deadline, "not all is counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_collector_on_the_same_data_is_refused_with_words() {
    let dir = tempfile::tempdir().expect("folder");
    let path = write_config(dir.path(), "");
    let _first = Process::start(&path);
    let second = output(&["serve", "--config", path.to_str().expect("text")]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("in use by another process"), "{}", text(&second.stderr));
}

/// Processor time of a process in clock ticks of 10 ms (proc(5): fields 14 and 15 of `stat`).
#[cfg(target_os = "linux")]
fn processor_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("alive");
    let fields: Vec<_> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("number")).sum()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn without_free_descriptors_the_collector_waits_quietly_and_recovers() {
    let dir = tempfile::tempdir().expect("folder");
    let path = write_config(dir.path(), "");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64 && exec \"$0\" serve --log-format json --config \"$1\""]);
    command.arg(env!("CARGO_BIN_EXE_muster")).arg(&path);
    let process = Process::of(command);
    let mut agent = Agent::open(channel(process.grpc).await, None).await.expect("stream");
    agent.hello(DANA).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients
            .push(tokio::net::TcpStream::connect(process.grpc).await.expect("the kernel's queue takes it"));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = processor_ticks(process.child.id());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ticks = processor_ticks(process.child.id()) - before;
    assert!(ticks <= 20, "{ticks} of 200 ticks while full");
    assert_eq!(agent.batch(1, 10).await, (Outcome::Appended, 10), "who is in is served");
    let page = get(process.http, "/metrics").await.text();
    assert!(page.contains("muster_server_accept_paused{door=\"grpc\"} 1"), "{page}");

    drop(clients);
    let mut late = Agent::open(channel(process.grpc).await, None).await.expect("stream");
    late.hello(crate::support::Who { agent: 2, ..DANA }).await;
    assert_eq!(late.batch(1, 10).await, (Outcome::Appended, 10));
}
