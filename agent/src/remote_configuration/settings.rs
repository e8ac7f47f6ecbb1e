//! What the agent does: its own file, less what was asked to be left out.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::facts::{Facts, Privacy, Sampling};

/// What is in force now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What may leave.
    pub privacy: Privacy,
    /// Which events stand for others.
    pub sampling: Sampling,
    /// How often everything is looked at.
    pub rescan_interval: Duration,
    /// How often processes and the machine are measured at most; `None`: as usual.
    pub host_sample_interval: Option<Duration>,
    /// Sources that are not read.
    pub sources_off: BTreeSet<String>,
}

impl Settings {
    /// Those of an agent's own file.
    pub fn own(privacy: Privacy, rescan_interval: Duration) -> Self {
        Self {
            privacy,
            sampling: Sampling::default(),
            rescan_interval,
            host_sample_interval: None,
            sources_off: BTreeSet::new(),
        }
    }

    /// Whether a source is not to be read: a tool by its name, a configured source by its own, `host`, `otlp`, `local`.
    pub fn is_off(&self, source: &str) -> bool {
        self.sources_off.contains(source)
    }

    /// An empty step under these settings.
    pub fn facts(&self) -> Facts {
        Facts::new(self.privacy.clone()).sampled(self.sampling)
    }
}
