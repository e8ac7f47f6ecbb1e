//! OTLP peers that nobody here wrote: OpenTelemetry's SDKs for Python and Node as clients, grpcio as a sink, rotel as a hop.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::Process;
use super::python::tool;
use super::{fixture, wait_until};

/// Importing the SDK on a busy machine takes seconds.
const START_MAX: Duration = Duration::from_secs(60);

/// How a client sends.
#[derive(Debug, Clone, Copy)]
pub struct Sending<'a> {
    /// `grpc`, `http/protobuf` or `http/json`.
    pub protocol: &'a str,
    pub endpoint: &'a str,
    pub temporality: &'a str,
    pub histogram: &'a str,
    pub id: &'a str,
}

/// A sink that takes OTLP with Python's grpcio and opentelemetry-proto.
pub struct Sink {
    process: Process,
    folder: PathBuf,
    pub grpc: String,
    pub http: String,
}

impl Sink {
    /// Starts one that writes what it takes into `folder`; loses every `lose_replies`th reply (0: none).
    pub fn spawn(folder: &Path, lose_replies: u32) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mut command = python("otlp_sink.py")?;
        command.arg("--items").arg(folder.join("items")).arg("--ids").arg(folder.join("ids"));
        command.arg("--lose-replies").arg(lose_replies.to_string());
        let mut process = Process::spawn("sink", command);
        let ready = process.wait_ready(START_MAX);
        let (grpc, http) = (ready["grpc"].clone(), ready["http"].clone());
        Some(Self { process, folder: folder.to_owned(), grpc, http })
    }

    /// What it took so far, a line an item, sorted; without what Muster says of itself.
    pub fn items(&self) -> Vec<String> {
        sorted_lines(&self.folder.join("items"), |line| !line.contains("'muster'"))
    }

    /// Identifying attributes of each request that it took.
    pub fn requests(&self) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.folder.join("ids")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| line.split(' ').skip(1).map(str::to_owned).collect()).collect()
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// rotel, a collector of others: takes OTLP and passes it on to `target`.
pub struct Rotel {
    _process: Process,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
}

impl Rotel {
    pub fn spawn(folder: &Path, target: &str) -> Option<Self> {
        std::fs::create_dir_all(folder).unwrap();
        let mut command = Command::new(tool("MUSTER_TEST_ROTEL")?);
        // It tells no port that it chose itself: these were free a moment ago.
        let (grpc, http) = (free_address(), free_address());
        command.arg("start").args(["--exporter", "otlp", "--otlp-exporter-endpoint"]);
        command.arg(format!("http://{target}"));
        command.args(["--otlp-grpc-endpoint", &grpc.to_string(), "--otlp-http-endpoint", &http.to_string()]);
        command.arg("--pid-file").arg(folder.join("pid")).arg("--log-file").arg(folder.join("log"));
        let process = Process::spawn("rotel", command);
        for address in [grpc, http] {
            wait_until("rotel to listen", START_MAX, || TcpStream::connect(address).is_ok());
        }
        Some(Self { _process: process, grpc, http })
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Sends with Python's SDK and returns what it sent, sorted.
#[track_caller]
pub fn send_with_python(sending: Sending<'_>, folder: &Path) -> Option<Vec<String>> {
    let ledger = folder.join(format!("python-{}", sending.id));
    run(python("otlp_client.py")?, sending, &ledger);
    Some(sorted_lines(&ledger, |_| true))
}

/// Sends with Node's SDK and returns what it sent, sorted.
#[track_caller]
pub fn send_with_node(sending: Sending<'_>, folder: &Path) -> Option<Vec<String>> {
    let ledger = folder.join(format!("node-{}", sending.id));
    let mut command = Command::new(tool("MUSTER_TEST_NODE")?);
    command.arg(peers_folder().join("node/otlp_client.mjs"));
    run(command, sending, &ledger);
    let flattened = python("otlp_items.py")?.arg("flatten").arg(&ledger).output().unwrap();
    assert!(flattened.status.success(), "{}", String::from_utf8_lossy(&flattened.stderr));
    let mut lines: Vec<_> = String::from_utf8(flattened.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    Some(lines)
}

/// Waits until the sink has as many items as were sent, and compares them one by one.
#[track_caller]
pub fn assert_arrives(sink: &Sink, sent: &[String], deadline: Duration) {
    let mut expected = sent.to_vec();
    expected.sort();
    let enough = || sink.items().len() >= expected.len();
    let arrived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until("all items to arrive", deadline, enough);
    }));
    let taken = sink.items();
    let (missing, strange) = (difference(&expected, &taken), difference(&taken, &expected));
    assert!(
        missing.is_empty() && strange.is_empty(),
        "{} sent, {} taken; {} missing, for example\n{:#?}\n{} strange, for example\n{:#?}\nsink: {}",
        expected.len(),
        taken.len(),
        missing.len(),
        &missing[..missing.len().min(3)],
        strange.len(),
        &strange[..strange.len().min(3)],
        sink.log(),
    );
    assert!(arrived.is_ok());
}

/// What `a` has oftener than `b`.
fn difference<'a>(a: &'a [String], b: &[String]) -> Vec<&'a str> {
    let mut counts = BTreeMap::<&str, i64>::new();
    b.iter().for_each(|line| *counts.entry(line).or_default() += 1);
    a.iter()
        .filter(|line| {
            let count = counts.entry(line).or_default();
            *count -= 1;
            *count < 0
        })
        .map(String::as_str)
        .collect()
}

#[track_caller]
fn run(mut command: Command, sending: Sending<'_>, ledger: &Path) {
    command.args(["--protocol", sending.protocol, "--endpoint", sending.endpoint, "--id", sending.id]);
    command.args(["--temporality", sending.temporality, "--histogram", sending.histogram]);
    let output = command.arg("--ledger").arg(ledger).output().expect("the client starts");
    assert!(
        output.status.success(),
        "{sending:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn python(script: &str) -> Option<Command> {
    let mut command = Command::new(tool("MUSTER_TEST_PYTHON")?);
    command.arg(peers_folder().join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

fn peers_folder() -> PathBuf {
    fixture("../peers")
}

fn sorted_lines(path: &Path, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last line may be half written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut lines: Vec<_> = whole.lines().filter(|line| wanted(line)).map(str::to_owned).collect();
    lines.sort();
    lines
}
