//! `muster check-config [FILE] [--probe]`

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use agent::config::{AgentConfig, Overrides as AgentOverrides};
use comfy_table::{Table, presets};
use muster::clock::{Clock, SystemClock};
use muster::reasons::reasons;
use muster::settings;

use super::{Failure, print};
use crate::config::destination::Credential;
use crate::config::remote::never_chosen;
use crate::config::{Config, ConfigError, Overrides};
use crate::forward::probe;
use crate::readers;
use crate::remote_configuration::Offer;

/// Arguments of `muster check-config`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file; the one that `muster serve` would read if none is named.
    #[arg(env = "MUSTER_CONFIG")]
    file: Option<PathBuf>,
    /// Send an empty request to each destination, and say what came back. Fails if one does not take it.
    #[arg(long)]
    probe: bool,
    /// With --probe: one JSON value, for programs.
    #[arg(long, requires = "probe")]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Some(path) = arguments.file.or_else(|| settings::default_file(&settings::process_environment)) else {
        return print("no configuration file: the defaults are in use\n");
    };
    let config = Config::load(Some(&path), &Overrides::default())?;
    if config.others.agent.is_some() {
        AgentConfig::load(Some(&path), AgentOverrides::default(), &settings::process_environment)
            .map_err(|error| Failure::Config(ConfigError::Agent(error)))?;
    }
    check_http_clients(&config)?;
    warn_of_credentials(&config)?;
    warn_of_entries_never_chosen(&config)?;
    if arguments.probe {
        return probe(&config, arguments.json);
    }
    print(&format!("{} is valid\n{}", path.display(), offered(&config)))
}

/// What agents would be offered, by the hashes that `muster status` shows.
fn offered(config: &Config) -> String {
    let line = |offer: Offer| match offer.hash {
        Some(hash) => format!("remote configuration {:?}: {hash}\n", offer.name),
        None => format!("remote configuration {:?}: asks nothing\n", offer.name),
    };
    config.remote_configuration.iter().map(|entry| line(Offer::of(entry))).collect()
}

/// The file is valid with them: they may be what is left of a change that is under way.
fn warn_of_entries_never_chosen(config: &Config) -> Result<(), Failure> {
    for (entry, before) in never_chosen(&config.remote_configuration) {
        let warning = format!(
            "warning: remote configuration {entry:?}: no agent can have it: {before:?} before it takes all of them\n"
        );
        io::stderr().lock().write_all(warning.as_bytes()).map_err(Failure::other)?;
    }
    Ok(())
}

/// The authorities of those who read the pages with a certificate.
fn check_http_clients(config: &Config) -> Result<(), Failure> {
    let Some(clients) = &config.http_clients else { return Ok(()) };
    readers::authorities(&clients.ca_file).map_err(|error| {
        let (setting, problem) = ("server.http_client_ca_file", reasons(&error));
        Failure::Config(ConfigError::Invalid { setting, problem })
    })?;
    let mut warnings = String::new();
    if clients.listed.is_empty() {
        let problem = "no [[server.http_client]] is listed, and nobody reads with a certificate";
        warnings.push_str(&format!("warning: server.http_client_ca_file: {problem}\n"));
    }
    // A flag or a variable may say another address when it serves.
    if let Err(problem) = config.refuse_certificates_on_loopback() {
        warnings.push_str(&format!("warning: {problem}; the collector does not start so\n"));
    }
    io::stderr().lock().write_all(warnings.as_bytes()).map_err(Failure::other)
}

/// A variable may be set for the collector and not here, so that this is no fault of the file.
fn warn_of_credentials(config: &Config) -> Result<(), Failure> {
    for destination in &config.destinations {
        let Some(Err(problem)) = destination.credential.as_ref().map(Credential::read) else { continue };
        let warning = format!(
            "warning: destination {:?}: {} here; the collector does not start without it\n",
            destination.name,
            reasons(&problem)
        );
        io::stderr().lock().write_all(warning.as_bytes()).map_err(Failure::other)?;
    }
    Ok(())
}

/// Asks all destinations at once.
fn probe(config: &Config, as_json: bool) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::other)?;
    let asked: Result<Vec<_>, Failure> = runtime.block_on(async {
        let mut asking = Vec::new();
        for destination in config.destinations.clone() {
            let clock = clock.clone();
            asking.push((
                destination.name.clone(),
                tokio::spawn(async move { probe::probe(&destination, clock).await }),
            ));
        }
        let mut probes = Vec::new();
        for (name, asked) in asking {
            let asked = asked.await.map_err(Failure::other)?;
            probes.extend(asked.map_err(|error| Failure::Other(format!("destination {name:?}: {error}")))?);
        }
        Ok(probes)
    });
    let probes = asked?;
    if as_json {
        print(&format!("{}\n", serde_json::json!(probes)))?;
    } else if probes.is_empty() {
        print("no destinations are configured\n")?;
    } else {
        let mut table = Table::new();
        let header = ["DESTINATION", "SIGNAL", "RESULT", "MS", "ANSWER", "HINT"];
        table.load_style(presets::NOTHING).set_header(header);
        for probe in &probes {
            let result = if probe.ok { "ok" } else { "failed" };
            let (signal, took) = (probe.signal.to_string(), probe.took_ms.to_string());
            table.add_row([&probe.destination, &signal, result, &took, &probe.answer, probe.hint]);
        }
        print(&format!("{}\n", table.trim_fmt()))?;
    }
    match probes.iter().filter(|probe| !probe.ok).count() {
        0 => Ok(()),
        failed => Err(Failure::Other(format!("{failed} of {} probes failed", probes.len()))),
    }
}
