//! The real agent, `muster agent run`, as a process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::collector::muster;
use super::http;
use super::process::Process;
use super::scrape::Page;

/// Longest start, after a crash as well.
const START_MAX: Duration = Duration::from_secs(15);

/// How an agent is started.
#[derive(Debug, Clone, Default)]
pub struct AgentOptions {
    /// Projects, or folders of projects.
    pub watch: Vec<PathBuf>,
    /// The collector; `None`: spool and local page alone.
    pub server: Option<String>,
    pub token_file: Option<PathBuf>,
    /// More TOML under `[agent]`.
    pub config: String,
    pub environment: Vec<(String, String)>,
}

/// A running agent. Its folder and port stay the same over restarts.
pub struct Agent {
    pub process: Process,
    pub folder: PathBuf,
    pub metrics: SocketAddr,
    /// What its line `ready` said.
    pub ready: BTreeMap<String, String>,
    pub options: AgentOptions,
}

impl Agent {
    /// Starts one that keeps everything under `folder`.
    #[track_caller]
    pub fn spawn(folder: &Path, options: AgentOptions) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let (process, ready) = start(folder, &options, SocketAddr::from(([127, 0, 0, 1], 0)));
        Self { process, folder: folder.to_owned(), metrics: metrics_address(&ready), ready, options }
    }

    pub fn state_dir(&self) -> PathBuf {
        state_dir(&self.folder)
    }

    /// Starts it again after its end.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.kill9();
        (self.process, self.ready) = start(&self.folder, &self.options, self.metrics);
    }

    /// Its own page.
    #[track_caller]
    pub fn page(&self) -> Page {
        let response = http::get(self.metrics, "/metrics");
        assert_eq!(response.status, 200, "{}", response.text());
        Page::parse(&response.text())
    }
}

pub fn state_dir(folder: &Path) -> PathBuf {
    folder.join("state")
}

/// The configuration of an agent in `folder`, written to a file there.
pub fn write_config(folder: &Path, options: &AgentOptions, metrics: SocketAddr) -> PathBuf {
    let mut config =
        format!("[agent]\nstate_dir = {:?}\nmetrics_listen = \"{metrics}\"\n", state_dir(folder));
    config.push_str(&format!("watch = {:?}\n", options.watch));
    if let Some(server) = &options.server {
        config.push_str(&format!("server = {server:?}\n"));
    }
    if let Some(file) = &options.token_file {
        config.push_str(&format!("token_file = {file:?}\n"));
    }
    config.push_str(&options.config);
    let path = folder.join("agent.toml");
    std::fs::write(&path, config).unwrap();
    path
}

fn start(folder: &Path, options: &AgentOptions, metrics: SocketAddr) -> (Process, BTreeMap<String, String>) {
    let config = write_config(folder, options, metrics);
    let mut command = muster();
    command.args(["agent", "run", "--config"]).arg(config);
    command.envs(options.environment.iter().map(|(k, v)| (k, v)));
    let mut process = Process::spawn("agent", command);
    let ready = process.wait_ready(START_MAX);
    (process, ready)
}

fn metrics_address(ready: &BTreeMap<String, String>) -> SocketAddr {
    ready["metrics"].parse().unwrap_or_else(|e| panic!("metrics in {ready:?}: {e}"))
}
