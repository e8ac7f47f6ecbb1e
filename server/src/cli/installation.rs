//! The collector on this machine that a command works on: by its configuration file, its data folder, or where both usually
//! are.

use std::path::PathBuf;

use muster::settings;

use super::Failure;
use crate::config::{Config, Overrides};

/// Where its things are.
#[derive(Debug, clap::Args)]
pub(super) struct Installation {
    /// The collector's configuration file.
    #[arg(long, env = "MUSTER_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// The collector's data folder.
    #[arg(long, env = "MUSTER_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl Installation {
    /// Reads the configuration, in which the data folder is the one that was named.
    pub(super) fn load(self) -> Result<Config, Failure> {
        let overrides = Overrides { data_dir: self.data_dir, ..Default::default() };
        let path = self.config.or_else(|| settings::default_file(&settings::process_environment));
        Ok(Config::load(path.as_deref(), &overrides)?)
    }
}
