//! Which collector a command at its own machine is about.

use std::path::PathBuf;

use muster::settings;

use super::Failure;
use crate::config::{Config, Overrides};

/// Its configuration file and its data folder.
#[derive(Debug, clap::Args)]
pub(super) struct OwnArguments {
    /// The collector's configuration file.
    #[arg(long, env = "MUSTER_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The collector's data folder.
    #[arg(long, env = "MUSTER_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl OwnArguments {
    /// The configuration that the collector would start with.
    pub(super) fn load(self) -> Result<Config, Failure> {
        let overrides = Overrides { data_dir: self.data_dir, ..Overrides::default() };
        let path = self.config.or_else(|| settings::default_file(&settings::process_environment));
        Ok(Config::load(path.as_deref(), &overrides)?)
    }
}
