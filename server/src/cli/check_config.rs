//! `muster check-config [FILE]`

use std::path::PathBuf;

use super::{Failure, print};
use crate::config::{Config, Overrides, default_config_path, environment};

/// Arguments of `muster check-config`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file; the one that `muster serve` would read if none is named.
    #[arg(env = "MUSTER_CONFIG")]
    file: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Some(path) = arguments.file.or_else(|| default_config_path(environment)) else {
        return print("no configuration file: the defaults are in use\n");
    };
    Config::load(Some(&path), &Overrides::default())?;
    print(&format!("{} is valid\n", path.display()))
}
