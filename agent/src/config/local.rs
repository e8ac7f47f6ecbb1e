//! What `emit` and `exec` need of the configuration, and nothing else: where the spool is, its bounds, what may leave
//! (less what the collector asked the agent of this state directory to withhold), and projects' names.
//!
//! Keys that are not theirs are not checked: a hook must not break because a destination is misspelt. The agent and
//! `check-config` say that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use muster::settings::{self, Environment};
use serde::Deserialize;

use super::{ConfigError, RESCAN_INTERVAL_DEFAULT, RawPrivacy, RawSpool};
use crate::facts::Privacy;
use crate::remote_configuration::{self, Settings};
use crate::spool::SpoolConfig;

/// A checked part of the configuration.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// The spool and its bounds.
    pub spool: SpoolConfig,
    /// What may leave the machine, and whether anything is taken.
    pub settings: Settings,
    /// Names given to projects by their folder.
    pub project_names: BTreeMap<PathBuf, String>,
}

#[derive(Debug, Default, Deserialize)]
struct RawFile {
    #[serde(default)]
    agent: RawAgent,
}

#[derive(Debug, Default, Deserialize)]
struct RawAgent {
    state_dir: Option<PathBuf>,
    #[serde(default)]
    privacy: RawPrivacy,
    #[serde(default)]
    spool: RawSpool,
    #[serde(default)]
    projects: BTreeMap<PathBuf, String>,
    #[serde(default)]
    remote_configuration: bool,
}

impl LocalConfig {
    /// Reads `path`, or the usual place. `state_dir` wins over the file's.
    pub fn load(
        path: Option<&Path>,
        state_dir: Option<&Path>,
        environment: Environment<'_>,
    ) -> Result<Self, ConfigError> {
        let path = path.map(Path::to_owned).or_else(|| settings::default_file(environment));
        let read = |path: &PathBuf| {
            settings::read_file(path).map_err(|source| ConfigError::Io { path: path.clone(), source })
        };
        let text = path.as_ref().map(read).transpose()?.unwrap_or_default();
        let file: RawFile = toml::from_str(&text).map_err(|e| ConfigError::Syntax(e.to_string()))?;
        let agent = file.agent;
        let state_dir = state_dir
            .map(Path::to_owned)
            .or(agent.state_dir)
            .unwrap_or_else(|| settings::default_state_dir(environment, "agent"));
        let own = Settings::own(Privacy::including(agent.privacy.include), RESCAN_INTERVAL_DEFAULT);
        let settings = match agent.remote_configuration {
            true => remote_configuration::at_rest(own, &state_dir),
            false => own,
        };
        Ok(Self { spool: agent.spool.validate(state_dir)?, settings, project_names: agent.projects })
    }
}
