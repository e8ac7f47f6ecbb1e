//! `muster check-config [FILE]`

use std::path::PathBuf;

use super::{Failure, print};
use agent::config::{AgentConfig, Overrides as AgentOverrides};
use muster::settings;

use crate::config::{Config, ConfigError, Overrides};

/// Arguments of `muster check-config`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file; the one that `muster serve` would read if none is named.
    #[arg(env = "MUSTER_CONFIG")]
    file: Option<PathBuf>,
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
    print(&format!("{} is valid\n", path.display()))
}
