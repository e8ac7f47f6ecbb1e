//! The figures of the agent's certificate.

use std::fmt::Write;

use muster::clock::WallTime;

use crate::enrol::{Situation, renewal};

/// How it stands with the certificate.
#[derive(Debug, Clone, PartialEq)]
pub struct CertificateFigures {
    situation: Situation,
    /// Until it ends; negative after.
    seconds_left: f64,
    ends: WallTime,
    renews: WallTime,
    warning: Option<String>,
}

impl CertificateFigures {
    /// Of an enrolled agent.
    pub fn of(situation: &Situation, now: WallTime) -> Option<Self> {
        let stored = situation.stored.as_ref()?;
        Some(Self {
            seconds_left: stored.not_after.as_secs_f64() - now.as_secs_f64(),
            ends: stored.not_after,
            renews: stored.renew_at,
            warning: situation.warning(now),
            situation: situation.clone(),
        })
    }

    /// As Prometheus text 0.0.4.
    pub fn write_text(&self, page: &mut String) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "# HELP muster_agent_certificate_remaining_seconds Seconds until the agent's certificate ends, negative after.\n\
             # TYPE muster_agent_certificate_remaining_seconds gauge\n\
             muster_agent_certificate_remaining_seconds {:.0}\n\
             # HELP muster_agent_certificate_renewals_total Renewals of the agent's certificate, by outcome.\n\
             # TYPE muster_agent_certificate_renewals_total counter\n\
             muster_agent_certificate_renewals_total{{outcome=\"renewed\"}} {}\n\
             muster_agent_certificate_renewals_total{{outcome=\"failed\"}} {}",
            self.seconds_left, self.situation.renewed, self.situation.failed
        );
    }

    /// For `status`.
    pub fn to_json(&self) -> serde_json::Value {
        let stored = self.situation.stored.as_ref();
        serde_json::json!({
            "server": stored.map(|s| &s.server),
            "team": stored.map(|s| &s.team),
            "name": stored.map(|s| &s.name),
            "serial": stored.map(|s| &s.serial),
            "ends": renewal::in_words(self.ends),
            "renews": renewal::in_words(self.renews),
            "seconds_left": self.seconds_left.round(),
            "renewed": self.situation.renewed,
            "failed": self.situation.failed,
            "warning": self.warning,
        })
    }
}
