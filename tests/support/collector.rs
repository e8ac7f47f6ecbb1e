//! The real collector, `muster serve`, as a process on free loopback ports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::http::{self, Response};
use super::process::Process;
use super::scrape::Page;
use super::wait_for;

/// Longest start, after a crash as well (reliability.md row A1: 2 s; a debug build on a busy machine gets more).
pub const START_MAX: Duration = Duration::from_secs(15);

/// Longest replay of the journal's tail after a start.
const REPLAY_MAX: Duration = Duration::from_secs(20);

/// How a collector is started.
#[derive(Debug, Clone, Default)]
pub struct CollectorOptions {
    /// TOML after the `[server]` keys: more of them, then sections.
    pub config: String,
    pub environment: Vec<(String, String)>,
    /// `prlimit --nofile`.
    pub open_files_max: Option<u32>,
}

/// A running collector. The folder and the ports stay the same over restarts.
pub struct Collector {
    pub process: Process,
    pub folder: PathBuf,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub otlp_http: SocketAddr,
    pub options: CollectorOptions,
}

impl Collector {
    /// Starts one that keeps everything under `folder`.
    #[track_caller]
    pub fn spawn(folder: &Path, options: CollectorOptions) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (process, [grpc, http, otlp_http]) = start(folder, &options, [any; 3]);
        Self { process, folder: folder.to_owned(), grpc, http, otlp_http, options }
    }

    pub fn data_dir(&self) -> PathBuf {
        data_dir(&self.folder)
    }

    /// Starts it again after its end, on the same ports.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.kill9();
        let addresses = [self.grpc, self.http, self.otlp_http];
        (self.process, _) = start(&self.folder, &self.options, addresses);
    }

    /// Kills it as a power cut would, and starts it again.
    #[track_caller]
    pub fn crash(&mut self) {
        self.process.kill9();
        self.restart();
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        http::get(self.http, path)
    }

    /// The page of metrics, as text 0.0.4. While the journal is replayed there is none yet.
    #[track_caller]
    pub fn page(&self) -> Page {
        wait_for("the replay to end", REPLAY_MAX, || self.try_page())
    }

    fn try_page(&self) -> Option<Page> {
        let response = self.get("/metrics");
        match response.status {
            200 => Some(Page::parse(&response.text())),
            503 => None,
            other => panic!("/metrics answers {other}: {}", response.text()),
        }
    }

    /// Waits until the page fulfils something.
    #[track_caller]
    pub fn wait_page(&self, what: &str, deadline: Duration, holds: impl Fn(&Page) -> bool) -> Page {
        let mut last = Page::default();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, deadline, || {
                last = self.try_page()?;
                holds(&last).then(|| last.clone())
            })
        }));
        found.unwrap_or_else(|_| panic!("waited {deadline:?} in vain for {what}; the page is\n{}", last.text))
    }

    /// All rows of a paged list of the API.
    #[track_caller]
    pub fn rows(&self, path: &str) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{separator}limit=500{after}")).json();
            all.extend(
                page["rows"].as_array().unwrap_or_else(|| panic!("no rows in {page}")).iter().cloned(),
            );
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", http::encode(next)),
                None => return all,
            }
        }
    }

    /// Runs the operator's command line on the collector's folder.
    pub fn command(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = muster();
        command.args(arguments).arg("--config").arg(config_path(&self.folder));
        command.output().expect("muster runs")
    }
}

/// The command line of the binary under test, with no setting inherited from the machine.
pub fn muster() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    clean_environment(&mut command);
    command
}

/// Takes out of a command's environment what would change how Muster runs.
pub fn clean_environment(command: &mut Command) {
    command.env_remove("CI");
    for (name, _) in std::env::vars() {
        if ["MUSTER_", "LOKI_", "OTEL_", "XDG_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}

pub fn config_path(folder: &Path) -> PathBuf {
    folder.join("muster.toml")
}

fn data_dir(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// At the addresses of gRPC, the pages and OTLP/HTTP; returns the bound ones.
fn start(
    folder: &Path,
    options: &CollectorOptions,
    [grpc, http, otlp_http]: [SocketAddr; 3],
) -> (Process, [SocketAddr; 3]) {
    let data_dir = data_dir(folder);
    let config = format!(
        "[server]\ngrpc_listen = \"{grpc}\"\nhttp_listen = \"{http}\"\notlp_http_listen = \"{otlp_http}\"\ndata_dir = {data_dir:?}\n{}\n",
        options.config
    );
    std::fs::write(config_path(folder), config).unwrap();
    let mut command = match options.open_files_max {
        None => muster(),
        Some(max) => {
            let mut command = Command::new("prlimit");
            clean_environment(&mut command);
            command.arg(format!("--nofile={max}")).arg(env!("CARGO_BIN_EXE_muster"));
            command
        }
    };
    command.args(["serve", "--config"]).arg(config_path(folder));
    command.envs(options.environment.iter().map(|(k, v)| (k, v)));
    let mut process = Process::spawn("collector", command);
    let ready = process.wait_ready(START_MAX);
    let address = |key: &str| ready[key].parse().unwrap_or_else(|e| panic!("{key} in {ready:?}: {e}"));
    let addresses = ["grpc", "http", "otlp_http"].map(address);
    (process, addresses)
}
