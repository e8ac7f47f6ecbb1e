//! `muster up [PATH..] [--demo]`: collector and agent in one process, the quick start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::cli::Shutdown;
use agent::config::{AgentConfig, Overrides as AgentOverrides};
use agent::runtime::Agent;
use muster::clock::{Clock, SystemClock};
use muster::settings;

use super::{Failure, print};
use crate::config::{Config, Overrides};
use crate::demo::{Demo, RunningDemo};
use crate::serve::Server;
use crate::telemetry::{self, LogFormat};

/// Arguments of `muster up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Reads no configuration file: for destinations, TLS, tokens and limits run \
                        `muster serve --config FILE` and `muster agent run` beside it.")]
pub(super) struct Arguments {
    /// Projects, or folders of projects [default: the current folder; with --demo none].
    paths: Vec<PathBuf>,
    /// Write a living demo project (Loki Mode and DevLoop) and watch it.
    #[arg(long)]
    demo: bool,
    /// Where everything is kept [default: a folder in your state directory; with --demo one of its own].
    #[arg(long, value_name = "DIR", env = "MUSTER_UP_DIR")]
    dir: Option<PathBuf>,
    /// Where agents connect.
    #[arg(long, default_value = "127.0.0.1:4317")]
    grpc_listen: SocketAddr,
    /// Where pages are read.
    #[arg(long, default_value = "127.0.0.1:9464")]
    http_listen: SocketAddr,
    /// Where OTLP/HTTP is taken; `off` for nowhere.
    #[arg(long, default_value = "127.0.0.1:4318")]
    otlp_http_listen: String,
    /// Where the agent's own page is; `off` for none.
    #[arg(long, default_value = "127.0.0.1:9465")]
    metrics_listen: String,
    /// What to log: a level, or directives like `info,server=debug`.
    #[arg(long, env = "MUSTER_LOG", default_value = "warn")]
    log: String,
    /// Seed of the demo's story.
    #[arg(long, default_value_t = 1, hide = true)]
    seed: u64,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("muster-up")
        .enable_all()
        .build()
        .map_err(Failure::other)?;
    runtime.block_on(async {
        let logging = telemetry::init(&arguments.log, LogFormat::Text).map_err(Failure::other)?;
        let ended = up(&arguments).await;
        logging.finish();
        ended
    })
}

async fn up(arguments: &Arguments) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let shutdown = Shutdown::on_signals().map_err(Failure::other)?;
    let dir = arguments.dir.clone().unwrap_or_else(|| default_dir(arguments.demo));
    let server = start_server(arguments, &dir, clock.clone()).await?;
    let demo =
        if arguments.demo { Some(start_demo(&dir, arguments.seed, clock.clone()).await?) } else { None };
    let watch = watched(arguments, demo.as_ref().map(|(_, projects)| projects.clone()));
    let agent_config = agent_config(arguments, &dir, &watch, server.grpc_address)?;
    let agent = Agent::start(agent_config, clock, shutdown.receiver()).await.map_err(Failure::other)?;
    print(&where_to_look(&server, agent.metrics_address(), &watch, &dir))?;

    let ended = agent.run().await;
    if let Some((demo, _)) = demo {
        // The tools end their sessions as they do in life; what the demo cannot write then is of no consequence.
        let _ = tokio::task::spawn_blocking(move || demo.stop()).await;
    }
    server.stop().await;
    ended.map_err(Failure::other)
}

async fn start_server(arguments: &Arguments, dir: &Path, clock: Arc<dyn Clock>) -> Result<Server, Failure> {
    let overrides = Overrides {
        grpc_listen: Some(arguments.grpc_listen),
        http_listen: Some(arguments.http_listen),
        otlp_http_listen: Some(arguments.otlp_http_listen.clone()),
        data_dir: Some(dir.join("server")),
        ..Overrides::default()
    };
    let config = Config::load(None, &overrides)?;
    Server::start(config, clock).await.map_err(|error| {
        let other = Failure::other(error).to_string();
        Failure::Other(format!(
            "{other}; --grpc-listen, --http-listen and --otlp-http-listen name other ports, --dir another folder"
        ))
    })
}

async fn start_demo(
    dir: &Path,
    seed: u64,
    clock: Arc<dyn Clock>,
) -> Result<(RunningDemo, Vec<PathBuf>), Failure> {
    let root = dir.join("projects");
    let created = tokio::task::spawn_blocking(move || Demo::create(&root, seed, clock)).await;
    let demo = created.map_err(Failure::other)?.map_err(Failure::other)?;
    let projects = demo.projects().to_vec();
    Ok((demo.run().map_err(Failure::other)?, projects))
}

fn watched(arguments: &Arguments, demo: Option<Vec<PathBuf>>) -> Vec<PathBuf> {
    let mut watch = arguments.paths.clone();
    match demo {
        Some(projects) => watch.extend(projects),
        None if watch.is_empty() => watch.push(PathBuf::from(".")),
        None => {}
    }
    watch
}

fn agent_config(
    arguments: &Arguments,
    dir: &Path,
    watch: &[PathBuf],
    collector: SocketAddr,
) -> Result<AgentConfig, Failure> {
    let overrides = AgentOverrides {
        server: Some(format!("http://{collector}")),
        watch: watch.to_vec(),
        state_dir: Some(dir.join("agent")),
        metrics_listen: Some(arguments.metrics_listen.clone()),
        ..AgentOverrides::default()
    };
    AgentConfig::load(None, overrides, &settings::process_environment).map_err(Failure::other)
}

fn default_dir(demo: bool) -> PathBuf {
    let state = settings::process_environment("XDG_STATE_HOME")
        .or_else(|| Some(settings::process_environment("HOME")?.join(".local/state")));
    let state = state.unwrap_or_else(std::env::temp_dir).join("muster");
    state.join(if demo { "demo" } else { "up" })
}

fn where_to_look(server: &Server, page: Option<SocketAddr>, watch: &[PathBuf], dir: &Path) -> String {
    let http = server.http_address;
    let mut text = String::from("Muster is up.\n\n");
    for path in watch {
        text += &format!("  watching        {}\n", path.display());
    }
    text += &format!("  metrics         http://{http}/metrics\n");
    text += &format!("  sessions, runs  http://{http}/api/v1/sessions  http://{http}/api/v1/runs\n");
    if let Some(page) = page {
        text += &format!("  this machine    http://{page}/metrics\n");
    }
    text += &format!("  agents connect  http://{}\n", server.grpc_address);
    text += &format!("  OTLP            grpc http://{}", server.grpc_address);
    text += &server.otlp_http_address.map_or("\n".to_owned(), |address| format!("  http http://{address}\n"));
    text += &format!("  kept in         {}\n\n", dir.display());
    text += &format!(
        "Try:  curl -s http://{http}/metrics | grep -E '^(loki|devloop)_'\n      muster status --server http://{http}\n"
    );
    text += "Ctrl-C stops it; what was acknowledged is on disk.\n";
    text
}
