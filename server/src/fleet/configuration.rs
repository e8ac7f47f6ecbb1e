//! What became of the configuration that an agent is offered (docs/remote-configuration.md).
//!
//! ```text
//! not_taken ──hello that takes one──> pending ──report──> own | applied | rejected
//!                                        └────another offer────────┘
//! ```
//!
//! A report that is not about the last offer (one of before the stream, one that crossed the offer) says what is in force
//! and leaves the answer pending. While an agent is away its row has what was last heard.

use muster::clock::WallTime;
use serde::{Deserialize, Serialize};

use crate::remote_configuration::{Offer, Report};

/// An agent's configuration. Hashes are hexadecimal digits; an empty text is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// What became of the last offer.
    pub state: ConfigurationState,
    /// The entry that is in force, where it is known.
    pub name: String,
    /// The settings that are in force; empty: the agent's own file alone.
    pub hash: String,
    /// The entry that was offered last; empty: none takes this agent.
    pub offered_name: String,
    /// The settings that were offered last; empty: it asked nothing.
    pub offered_hash: String,
    /// Why the last offer was rejected, in the agent's words.
    pub problem: String,
    /// When the agent last said something about it.
    pub reported_us: u64,
}

/// What became of the last offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigurationState {
    /// The agent's file does not let the collector offer one.
    #[default]
    NotTaken,
    /// It was offered, and the agent has not answered.
    Pending,
    /// The agent's own file alone is in force, as it was offered.
    Own,
    /// It is in force.
    Applied,
    /// The agent refused it; what was in force before still is.
    Rejected,
}

impl ConfigurationState {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::NotTaken, Self::Pending, Self::Own, Self::Applied, Self::Rejected];

    /// The word in the API and on the page of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotTaken => "not_taken",
            Self::Pending => "pending",
            Self::Own => "own",
            Self::Applied => "applied",
            Self::Rejected => "rejected",
        }
    }
}

impl Configuration {
    /// A stream begins.
    pub(super) fn hello(&mut self, takes_configuration: bool) {
        if !takes_configuration {
            *self = Self::default();
        } else if self.state == ConfigurationState::NotTaken {
            self.state = ConfigurationState::Pending;
        }
    }

    /// An offer is sent.
    pub(super) fn offered(&mut self, offer: &Offer) {
        self.state = ConfigurationState::Pending;
        self.offered_name.clone_from(&offer.name);
        self.offered_hash = offer.hash.map(|hash| hash.to_string()).unwrap_or_default();
        self.problem.clear();
    }

    /// The agent answers.
    pub(super) fn reported(&mut self, report: &Report, now: WallTime) {
        let text = |hash: &Option<_>| hash.as_ref().map(ToString::to_string).unwrap_or_default();
        self.reported_us = now.0;
        match report {
            Report::InForce(in_force) => {
                self.in_force(text(in_force));
                if self.hash == self.offered_hash {
                    self.state = match in_force {
                        Some(_) => ConfigurationState::Applied,
                        None => ConfigurationState::Own,
                    };
                    self.name.clone_from(&self.offered_name);
                    self.problem.clear();
                }
            }
            Report::Rejected { in_force, rejected, problem } => {
                self.in_force(text(in_force));
                if rejected.is_none() || text(rejected) == self.offered_hash {
                    self.state = ConfigurationState::Rejected;
                    self.problem.clone_from(problem);
                }
            }
        }
    }

    /// Which entry it is from is known while it stays the same.
    fn in_force(&mut self, hash: String) {
        if self.hash != hash {
            self.name.clear();
            self.hash = hash;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote_configuration::SettingsHash;

    const AT: WallTime = WallTime(5);

    fn offer(name: &str, settings: &str) -> Offer {
        let hash = (!settings.is_empty()).then(|| SettingsHash::of(settings.as_bytes()));
        Offer { name: name.to_owned(), hash, settings: settings.as_bytes().to_vec() }
    }

    fn taken() -> Configuration {
        let mut configuration = Configuration::default();
        configuration.hello(true);
        configuration
    }

    fn rejected(in_force: &Offer, rejected: &Offer) -> Report {
        Report::Rejected { in_force: in_force.hash, rejected: rejected.hash, problem: "no".to_owned() }
    }

    #[test]
    fn states_are_counted_by_their_numbers_and_named_alike_everywhere() {
        for (index, state) in ConfigurationState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index);
            assert_eq!(serde_json::to_value(state).expect("a word"), state.name());
        }
    }

    #[test]
    fn an_offer_is_pending_until_the_agent_answers_about_this_one() {
        let (first, second) = (offer("a", "1"), offer("b", "2"));
        let mut configuration = taken();
        assert_eq!(configuration.state, ConfigurationState::Pending);
        configuration.offered(&first);
        configuration.reported(&Report::InForce(first.hash), AT);
        assert_eq!((configuration.state, configuration.name.as_str()), (ConfigurationState::Applied, "a"));
        configuration.offered(&second);
        // It crossed the second offer.
        configuration.reported(&Report::InForce(first.hash), AT);
        assert_eq!((configuration.state, configuration.name.as_str()), (ConfigurationState::Pending, "a"));
        configuration.reported(&Report::InForce(second.hash), AT);
        assert_eq!((configuration.state, configuration.name.as_str()), (ConfigurationState::Applied, "b"));
        assert_eq!(configuration.hash, second.hash.expect("settings").to_string());
        configuration.offered(&offer("", ""));
        configuration.reported(&Report::InForce(None), AT);
        assert_eq!((configuration.state, configuration.hash.as_str()), (ConfigurationState::Own, ""));
    }

    #[test]
    fn a_rejection_keeps_what_is_in_force_and_ends_with_the_next_offer() {
        let (first, second) = (offer("a", "1"), offer("b", "2"));
        let mut configuration = taken();
        configuration.offered(&first);
        configuration.reported(&Report::InForce(first.hash), AT);
        configuration.offered(&second);
        configuration.reported(&rejected(&first, &offer("x", "older")), AT);
        assert_eq!(configuration.state, ConfigurationState::Pending, "that was about another offer");
        configuration.reported(&rejected(&first, &second), AT);
        assert_eq!(configuration.state, ConfigurationState::Rejected);
        let told = (
            configuration.name.as_str(),
            configuration.offered_name.as_str(),
            configuration.problem.as_str(),
        );
        assert_eq!(told, ("a", "b", "no"));
        configuration.offered(&first);
        assert_eq!((configuration.state, configuration.problem.as_str()), (ConfigurationState::Pending, ""));
    }

    #[test]
    fn an_agent_that_takes_none_any_more_has_none() {
        let mut configuration = taken();
        configuration.offered(&offer("a", "1"));
        configuration.reported(&Report::InForce(SettingsHash::of(b"1").into()), AT);
        configuration.hello(true);
        assert_eq!(
            configuration.state,
            ConfigurationState::Applied,
            "what was heard, until it is offered again"
        );
        configuration.hello(false);
        assert_eq!(configuration, Configuration::default());
    }
}
