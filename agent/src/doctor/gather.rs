//! Looking: files, the service manager, the running agent's page, the collector.

use std::path::Path;
use std::process::{Command, Stdio};

use muster::clock::Clock;
use muster::private_file;

use super::facts::{CollectorFacts, ConfigurationFacts, Facts, PermissionFacts, ProjectFacts, Running, Unit};
use super::{reach, watches};
use crate::config::{AgentConfig, ConfigError};
use crate::discovery::{Bounds, Discovery};
use crate::enrol::Store;
use crate::sources;
use crate::uplink::{ServerConfig, TokenSource};

/// Looks at everything. `file` is where `configuration` came from.
pub async fn gather(
    configuration: Result<AgentConfig, ConfigError>,
    file: Option<&Path>,
    clock: &dyn Clock,
) -> Facts {
    let problem = configuration.as_ref().err().map(|error| muster::reasons::reasons(error));
    let config = configuration.ok();
    let mut facts = Facts {
        now: clock.wall(),
        unit: unit(),
        running: config.as_ref().and_then(running),
        own_version: env!("CARGO_PKG_VERSION").to_owned(),
        configuration: ConfigurationFacts { file: file.map(Path::to_owned), problem },
        projects: None,
        watches: None,
        permissions: Vec::new(),
        reached: None,
        spool_bytes: 0,
    };
    let mut watched_paths = 0;
    if let Some(config) = &config {
        let (projects, paths) = projects(config);
        watched_paths = paths;
        facts.projects = Some(projects);
        facts.permissions = permissions(config);
        facts.spool_bytes = bytes_in(&config.spool.state_dir.join("spool"));
        if let Some(server) = server(config) {
            facts.reached = Some(reach::reach(&server, clock).await);
        }
    }
    let found = facts.projects.as_ref().map_or(0, |projects| projects.found.len() as u64);
    facts.watches = watches::look(found, watched_paths);
    facts
}

/// The collector that an agent would use.
fn server(config: &AgentConfig) -> Option<ServerConfig> {
    config.server.clone().or_else(|| {
        let store = Store::new(&config.spool.state_dir);
        let held = store.load().ok().flatten()?;
        ServerConfig::of_enrolment(&held, &store)
    })
}

const SYSTEMD_UNIT: &str = "muster-agent.service";

#[cfg(target_os = "linux")]
fn unit() -> Unit {
    let property = |name: &str| {
        let shown = Command::new("systemctl")
            .args(["--user", "show", "--property", name, "--value", SYSTEMD_UNIT])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        shown
            .ok()
            .filter(|o| o.status.success())
            .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
    };
    match (property("LoadState"), property("ActiveState")) {
        (None, _) | (_, None) => Unit::Unknown("there is no systemd of this user to ask".to_owned()),
        (Some(load), _) if load == "not-found" => Unit::NotInstalled,
        (Some(_), Some(state)) => Unit::Installed {
            kind: "systemd user unit muster-agent.service",
            state,
            start: "systemctl --user start muster-agent",
            look: "journalctl --user -u muster-agent -n 30",
        },
    }
}

#[cfg(target_os = "macos")]
fn unit() -> Unit {
    let printed = Command::new("launchctl").arg("list").arg("dev.muster.agent").stdin(Stdio::null()).output();
    match printed {
        Ok(output) if output.status.success() => Unit::Installed {
            kind: "launch agent dev.muster.agent",
            state: "loaded".to_owned(),
            start: "launchctl kickstart gui/$(id -u)/dev.muster.agent",
            look: "launchctl print gui/$(id -u)/dev.muster.agent",
        },
        Ok(_) => Unit::NotInstalled,
        Err(error) => Unit::Unknown(format!("launchctl cannot be asked: {error}")),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn unit() -> Unit {
    Unit::Unknown("services are not looked at on this system".to_owned())
}

/// The running agent by its page, or by its socket alone.
fn running(config: &AgentConfig) -> Option<Running> {
    let page = config.metrics_listen.and_then(|address| {
        let body = muster::page::get(&address.to_string(), "/status").ok()?;
        let status: serde_json::Value = serde_json::from_str(&body).ok()?;
        // Some other service's page has no such thing.
        status.get("spool").is_some().then(|| from_page(&status))
    });
    page.or_else(|| has_socket(&config.spool.state_dir).then(Running::default))
}

fn from_page(status: &serde_json::Value) -> Running {
    let text = |at: &str| status.pointer(at).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let number = |at: &str| status.pointer(at).and_then(serde_json::Value::as_u64);
    let dropped = status.pointer("/events/dropped").and_then(|v| v.as_object());
    Running {
        version: text("/version"),
        has_page: true,
        collector: number("/collector/protocol")
            .map(|protocol| CollectorFacts { version: text("/collector/version"), protocol }),
        is_connected: status["connected"].as_bool().unwrap_or_default(),
        last_error: text("/last_error"),
        events_queued: number("/events/queued").unwrap_or_default(),
        oldest_seconds: number("/oldest_unacked_seconds"),
        events_dropped: dropped
            .map_or(0, |reasons| reasons.values().filter_map(serde_json::Value::as_u64).sum()),
        spool_trouble: text("/spool/trouble"),
        remote_state: text("/remote_configuration/state"),
        remote_words: text("/remote_configuration/words"),
        remote_problem: text("/remote_configuration/problem"),
    }
}

#[cfg(unix)]
fn has_socket(state_dir: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(state_dir.join("agent.sock")).is_ok()
}

#[cfg(not(unix))]
fn has_socket(_: &Path) -> bool {
    false
}

fn projects(config: &AgentConfig) -> (ProjectFacts, u64) {
    let mut discovery = Discovery::new(config.watch.clone(), Bounds::default());
    let rescanned = discovery.rescan(sources::TOOLS);
    let name = |root: &Path| {
        let named = config.project_names.get(root).cloned();
        named.or_else(|| Some(root.file_name()?.to_string_lossy().into_owned())).unwrap_or_default()
    };
    let found = rescanned.added.iter().map(|project| (name(&project.root), project.tools.clone())).collect();
    let facts = ProjectFacts {
        watched: config.watch.len(),
        found,
        missing: rescanned.skipped.missing,
        unreadable: rescanned.skipped.unreadable_first,
        is_cut_short: rescanned.skipped.is_cut_short,
    };
    (facts, discovery.watched_paths().len() as u64)
}

fn permissions(config: &AgentConfig) -> Vec<PermissionFacts> {
    let mut all = Vec::new();
    let state_dir = &config.spool.state_dir;
    if state_dir.exists() {
        let (problem, is_usable) = state_dir_problem(state_dir);
        all.push(PermissionFacts { what: "state directory", problem, is_usable });
    }
    match Store::new(state_dir).load() {
        Ok(None) => {}
        Ok(Some(_)) => all.push(PermissionFacts { what: "private key", problem: None, is_usable: true }),
        Err(error) => {
            let problem = Some(muster::reasons::reasons(&error));
            all.push(PermissionFacts { what: "private key", problem, is_usable: false });
        }
    }
    if let Some(TokenSource::File(path)) = config.server.as_ref().map(|server| &server.token) {
        let loose = std::fs::File::open(path).and_then(|file| private_file::loose_mode(&file));
        let problem = match loose {
            Ok(None) => None,
            Ok(Some(mode)) => {
                Some(format!("{0} can be read by others (mode {mode:o}); run: chmod 600 {0}", path.display()))
            }
            Err(error) => Some(format!("cannot read {}: {error}", path.display())),
        };
        all.push(PermissionFacts { what: "token file", problem, is_usable: false });
    }
    all
}

/// What is wrong with it, and whether an agent works nevertheless.
#[cfg(unix)]
fn state_dir_problem(path: &Path) -> (Option<String>, bool) {
    use std::os::unix::fs::MetadataExt;
    let shown = path.display();
    let problem = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let (user, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
            let mode = metadata.mode() & 0o777;
            if user != own {
                format!(
                    "{shown} belongs to user {user}, and this is user {own}; run as that user, or name another with state_dir"
                )
            } else if mode & 0o700 != 0o700 {
                format!("{shown} cannot be used by its owner (mode {mode:o}); run: chmod 700 {shown}")
            } else if mode & 0o077 != 0 {
                let problem =
                    format!("{shown} can be read by others (mode {mode:o}); run: chmod 700 {shown}");
                return (Some(problem), true);
            } else {
                return (None, true);
            }
        }
        Ok(_) => format!("{shown} is no folder; name another with state_dir in [agent]"),
        Err(error) => format!("cannot look at {shown}: {error}"),
    };
    (Some(problem), false)
}

#[cfg(not(unix))]
fn state_dir_problem(_: &Path) -> (Option<String>, bool) {
    (None, true)
}

/// Of the files below `folder`, two levels deep, as the spool is.
fn bytes_in(folder: &Path) -> u64 {
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    let files = entries(folder).flat_map(|epoch| entries(&epoch.path()).collect::<Vec<_>>());
    files.filter_map(|file| file.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
}
