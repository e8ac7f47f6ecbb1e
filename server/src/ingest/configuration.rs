//! One stream's part in remote configuration ([`crate::remote_configuration`]).
//!
//! ```text
//! hello that takes one ─> offer ──(another choice after a reload)─> offer ...
//!                           └─ the agent's report ─> fleet, figures; a rejection is in the audit log
//! ```
//!
//! An offer is sent after the welcome, also when it asks nothing: the agent may still have an older one. It is never sent
//! twice in a row on one stream. An agent that did not say that it takes one is not in here at all.

use std::net::IpAddr;
use std::sync::Arc;

use muster::ids::{StreamKey, Team};
use muster::v1;
use tokio::sync::watch;

use super::Shared;
use crate::audit::{Entry, What, Who};
use crate::figures::ConfigurationAnswer;
use crate::remote_configuration::{Labels, Offer, Offers, Report};

/// What a stream knows of its agent's configuration.
#[derive(Debug)]
pub(super) struct Configuration {
    team: Team,
    labels: Labels,
    peer: IpAddr,
    offers: watch::Receiver<Arc<Offers>>,
    /// The last that was sent.
    sent: Option<Arc<Offer>>,
}

impl Configuration {
    /// Nothing was sent yet. `None`: the agent takes none.
    pub(super) fn of(shared: &Shared, key: &StreamKey, peer: IpAddr, hello: &v1::Hello) -> Option<Self> {
        hello.takes_configuration.then(|| Self {
            team: key.team.clone(),
            labels: Labels::said(&hello.labels),
            peer,
            offers: shared.offers.clone(),
            sent: None,
        })
    }

    /// What is to be sent now; `None` when the agent has it.
    pub(super) fn due(&mut self) -> Option<Arc<Offer>> {
        let chosen = self.offers.borrow_and_update().choose(&self.team, &self.labels).clone();
        if self.sent.as_ref() == Some(&chosen) {
            return None;
        }
        self.sent = Some(chosen.clone());
        Some(chosen)
    }

    /// Notes what the agent says.
    pub(super) fn take(&self, shared: &Shared, key: &StreamKey, report: &v1::ConfigurationReport) {
        let answers = &shared.figures.configuration_answers;
        let report = match Report::read(report) {
            Ok(report) => report,
            Err(error) => {
                tracing::debug!(team = %key.team, agent = %key.agent, %error, "report about a configuration passed over");
                return answers.add(ConfigurationAnswer::Invalid, 1);
            }
        };
        match &report {
            Report::InForce(None) => answers.add(ConfigurationAnswer::Own, 1),
            Report::InForce(Some(_)) => answers.add(ConfigurationAnswer::Applied, 1),
            Report::Rejected { rejected, problem, .. } => {
                answers.add(ConfigurationAnswer::Rejected, 1);
                // In words of the agent's choice and as often as it likes: the audit log, which merges them, is the place.
                tracing::debug!(team = %key.team, agent = %key.agent, problem, "an agent rejected its configuration");
                if let Some(audit) = shared.credentials.audit() {
                    let entry = Entry::new(What::RemoteConfigurationRejected, Who::Peer(self.peer));
                    let entry = entry.team(&key.team).agent(key.agent).refused(problem.as_str());
                    let about =
                        self.sent.as_ref().filter(|sent| rejected.is_none() || sent.hash == *rejected);
                    let entry =
                        about.into_iter().fold(entry, |entry, sent| entry.with("name", sent.name.as_str()));
                    let hash = rejected.map(|hash| hash.to_string());
                    audit.record_often(hash.into_iter().fold(entry, |entry, hash| entry.with("hash", hash)));
                }
            }
        }
        shared.view.fleet.reported(key, &report, shared.clock.wall());
    }
}

/// Waits until other offers are in use; for ever where there is nobody to offer them to.
pub(super) async fn changed(configuration: &mut Option<Configuration>) {
    let is_changed = match configuration {
        Some(configuration) => configuration.offers.changed().await.is_ok(),
        None => false,
    };
    if !is_changed {
        std::future::pending().await
    }
}
